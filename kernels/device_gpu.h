/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one body of logic behind the cuda and the hip device.  A vendor is a struct
 * wl_gpu_vendor: its names, and its way to say which device a thread means.
 *
 * Every entry makes its device the calling thread's current one and puts back the
 * one before: the caller may use another device through the same driver.
 */
#ifndef WL_DEVICE_GPU_H
#define WL_DEVICE_GPU_H

#include <pthread.h>

#include "kernels/device.h"
#include "kernels/gpu_api.h"

struct wl_gpu_device;

struct wl_gpu_vendor {
    const struct wl_device_ops *ops;
    const struct wl_library *driver; /* its calls: by enum wl_gpu_call */
    const char *(*error_text)(const struct wl_gpu_api *api, int code);

    /* Hold what the device needs to be used, for as long as it is open. */
    int (*acquire)(struct wl_gpu_device *gpu, struct wload_error *err);
    void (*release)(struct wl_gpu_device *gpu);
    /* Make the device current on this thread until leave(), which is given *previous. */
    int (*enter)(const struct wl_gpu_device *gpu, int *previous, struct wload_error *err);
    void (*leave)(const struct wl_gpu_device *gpu, int previous);

    pthread_mutex_t lock; /* over the two below */
    bool is_ready;        /* loaded and initialized: `api` changes no more */
    struct wl_gpu_api api;
};

struct wl_gpu_device {
    struct wl_device base;
    struct wl_gpu_vendor *vendor;
    wl_gpu_context context;    /* CUDA only */
    wl_gpu_stream read_stream; /* of memory_read() */
    wl_gpu_ordinal ordinal;
    unsigned index;
};

static inline struct wl_gpu_device *wl_gpu_of(struct wl_device *device)
{
    return (struct wl_gpu_device *)device;
}

static inline const struct wl_gpu_api *wl_gpu_api_of(const struct wl_gpu_device *gpu)
{
    return &gpu->vendor->api;
}

/* For what undoes and cannot report: it is tried even if the device cannot be entered. */
struct wl_gpu_visit {
    bool is_entered;
    int previous;
};

struct wl_gpu_visit wl_gpu_enter_to_undo(const struct wl_gpu_device *gpu);
void wl_gpu_leave_after_undo(const struct wl_gpu_device *gpu, struct wl_gpu_visit visit);

/* WLOAD_OK, or the error that `code` of a call is. */
int wl_gpu_check(const struct wl_gpu_device *gpu, enum wl_gpu_call call, int code,
                 struct wload_error *err);

/* Make a driver call by its member of struct wl_gpu_api and check it. */
#define WL_GPU_TRY(gpu, err, call, ...) \
    wl_gpu_check(gpu, WL_GPU_CALL_##call, (gpu)->vendor->api.call(__VA_ARGS__), err)

/* The slots of struct wl_device_ops; the first two want their vendor. */
int wl_gpu_count(struct wl_gpu_vendor *vendor, struct wload_error *err);
int wl_gpu_open(struct wl_gpu_vendor *vendor, unsigned index, struct wl_device **out,
                struct wload_error *err);
void wl_gpu_close(struct wl_device *device);
int wl_gpu_describe(struct wl_device *device, struct wload_device_info *info,
                    struct wload_error *err);
int wl_gpu_pin(struct wl_device *device, void *memory, uint64_t size_bytes,
               struct wload_error *err);
void wl_gpu_unpin(struct wl_device *device, void *memory);
int wl_gpu_memory_alloc(struct wl_device *device, uint64_t size_bytes, void **out,
                        struct wload_error *err);
void wl_gpu_memory_free(struct wl_device *device, void *memory, uint64_t size_bytes);
int wl_gpu_memory_read(struct wl_device *device, const void *memory, uint64_t size_bytes,
                       void *target, struct wload_error *err);
int wl_gpu_queue_open(struct wl_device *device, uint32_t mark_count, struct wl_queue **out,
                      struct wload_error *err);
void wl_gpu_queue_close(struct wl_queue *queue);
int wl_gpu_copy_start(struct wl_queue *queue, void *target, const void *source, uint64_t size_bytes,
                      struct wload_error *err);
int wl_gpu_mark_put(struct wl_queue *queue, uint32_t mark, struct wload_error *err);
int wl_gpu_mark_poll(struct wl_queue *queue, uint32_t mark, struct wload_error *err);
int wl_gpu_mark_notify(struct wl_queue *queue, uint32_t mark, void (*notice)(void *user),
                       void *user, struct wload_error *err);

#endif /* WL_DEVICE_GPU_H */
