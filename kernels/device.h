/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device: memory that tensors land in, and copies into it that finish later.
 * The loader sees nothing else of CUDA or HIP; plain memory is a device too.
 *
 *   device   one GPU (or the host), shared by the arenas and jobs that use it
 *   queue    copies of one job, carried out in the order they were started
 *   mark     a point in a queue: "all copies started before this one"
 *
 * Life cycle: wl_device_open() ... any number of queue_open()/queue_close() and
 * memory_alloc()/memory_free() ... wl_device_close().  A device is reference
 * counted and may be used by several threads; a queue belongs to one thread.
 */
#ifndef WL_DEVICE_H
#define WL_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "wload.h"

struct wl_log;
struct wl_device_ops;

struct wl_device { /* first member of every backend's own struct */
    const struct wl_device_ops *ops;
    atomic_uint references;
};

struct wl_queue { /* first member of every backend's own struct */
    struct wl_device *device;
};

struct wl_device_ops {
    const char *name; /* "host", "cuda", "hip" */
    enum wload_device_kind kind;
    /* Whether tensor memory can be written by the CPU and by reads: the straight way. */
    bool is_host;

    /* How many devices, 0 included.  WLOAD_ERR_UNSUPPORTED: no runtime here, try the next backend.
     * Any other error: the runtime is present and broken; say so and stop. */
    int (*count)(struct wload_error *err);
    /* `index` is below count().  The opened device has one reference. */
    int (*open)(unsigned index, struct wl_device **out, struct wload_error *err);
    /* Called by wl_device_close() for the last reference; all queues and memory are gone. */
    void (*close)(struct wl_device *device);
    /* Fill all fields but struct_size. */
    int (*describe)(struct wl_device *device, struct wload_device_info *info,
                    struct wload_error *err);

    /* Make host memory fit for asynchronous copies, page-aligned.  WLOAD_ERR_UNSUPPORTED or
     * _NOMEM: copies from it work all the same, more slowly. */
    int (*pin)(struct wl_device *device, void *memory, uint64_t size_bytes,
               struct wload_error *err);
    void (*unpin)(struct wl_device *device, void *memory);

    /* Tensor memory, at least 256-byte aligned.  WLOAD_ERR_NOMEM names size and device. */
    int (*memory_alloc)(struct wl_device *device, uint64_t size_bytes, void **out,
                        struct wload_error *err);
    void (*memory_free)(struct wl_device *device, void *memory, uint64_t size_bytes);
    /* Copy from tensor memory to host memory; done on return.  Any thread. */
    int (*memory_read)(struct wl_device *device, const void *memory, uint64_t size_bytes,
                       void *target, struct wload_error *err);

    /* Queue with marks 0 .. mark_count - 1, all made here: the calls below allocate nothing. */
    int (*queue_open)(struct wl_device *device, uint32_t mark_count, struct wl_queue **out,
                      struct wload_error *err);
    /* Waits for copies in flight and for notices not yet given. */
    void (*queue_close)(struct wl_queue *queue);
    /* Start a copy from host memory; the source stays untouched until a later mark is reached. */
    int (*copy_start)(struct wl_queue *queue, void *target, const void *source, uint64_t size_bytes,
                      struct wload_error *err);
    /* Put `mark` behind the copies started so far.  It may be put again once reached. */
    int (*mark_put)(struct wl_queue *queue, uint32_t mark, struct wload_error *err);
    /* 1: reached.  0: not yet.  Negative: a copy before it failed.  Never blocks. */
    int (*mark_poll)(struct wl_queue *queue, uint32_t mark, struct wload_error *err);
    /* Call notice(user) once, on any thread, when `mark` is reached or the device has failed.
     * Returns at once.  A queue has one notice and user for life; ask in the order of the marks. */
    int (*mark_notify)(struct wl_queue *queue, uint32_t mark, void (*notice)(void *user),
                       void *user, struct wload_error *err);
};

extern const struct wl_device_ops wl_device_host;
extern const struct wl_device_ops wl_device_cuda;
extern const struct wl_device_ops wl_device_hip;

/*
 * Open device `index` of `kind`.  WLOAD_DEVICE_AUTO: the first of cuda, hip, host
 * that has devices; a runtime that is absent is passed over, one that is present
 * and broken is an error.
 */
int wl_device_open(const struct wl_log *log, enum wload_device_kind kind, uint32_t index,
                   struct wl_device **out, struct wload_error *err);
/* One more owner. */
struct wl_device *wl_device_share(struct wl_device *device);
/* NULL is nothing to close. */
void wl_device_close(struct wl_device *device);

#endif /* WL_DEVICE_H */
