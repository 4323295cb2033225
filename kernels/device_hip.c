/* SPDX-License-Identifier: Apache-2.0 */
/* AMD: a thread's current device, by number; there is no context to hold. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/sys.h"
#include "kernels/device_gpu.h"

WL_LIBRARY_NAMES(names, "hip", "loads into the memory of AMD GPUs", "suggested", "libamdhip64.so.7",
                 "libamdhip64.so.6", "libamdhip64.so.5");

static const struct wl_library driver = {
    .names = names,
    .noun = "driver library",
    .remedy = "",
    .broken = WLOAD_ERR_DEVICE,
    .calls = wl_gpu_hip_calls,
    .call_count = WL_GPU_CALL_COUNT,
};

static const char *hip_error_text(const struct wl_gpu_api *api, int code)
{
    return api->error_text(code);
}

static int hip_acquire(struct wl_gpu_device *gpu, struct wload_error *err)
{
    (void)gpu;
    (void)err;
    return WLOAD_OK;
}

static void hip_release(struct wl_gpu_device *gpu)
{
    (void)gpu;
}

static int hip_enter(const struct wl_gpu_device *gpu, int *previous, struct wload_error *err)
{
    int rc = WL_GPU_TRY(gpu, err, current_get, previous);

    return rc < 0 ? rc : WL_GPU_TRY(gpu, err, current_set, gpu->ordinal);
}

static void hip_leave(const struct wl_gpu_device *gpu, int previous)
{
    (void)gpu->vendor->api.current_set(previous);
}

static struct wl_gpu_vendor hip = {
    .ops = &wl_device_hip,
    .driver = &driver,
    .error_text = hip_error_text,
    .acquire = hip_acquire,
    .release = hip_release,
    .enter = hip_enter,
    .leave = hip_leave,
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

/*
 * The kernel driver's node tells an AMD machine at no cost; loading the library
 * takes tens of milliseconds.  A double of the driver has no node.
 */
static bool has_kernel_driver(void)
{
    const char *force = getenv("WLOAD_HIP_FORCE");
    struct statx node;

    return (force && strcmp(force, "1") == 0) ||
           wl_sys->statx(AT_FDCWD, "/dev/kfd", 0, STATX_TYPE, &node) == 0;
}

static int hip_count(struct wload_error *err)
{
    if (!has_kernel_driver()) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "no AMD kernel driver: there is no /dev/kfd");
    }
    return wl_gpu_count(&hip, err);
}

static int hip_open(unsigned index, struct wl_device **out, struct wload_error *err)
{
    return wl_gpu_open(&hip, index, out, err);
}

const struct wl_device_ops wl_device_hip = {
    .name = "hip",
    .kind = WLOAD_DEVICE_HIP,
    .is_host = false,
    .count = hip_count,
    .open = hip_open,
    .close = wl_gpu_close,
    .describe = wl_gpu_describe,
    .pin = wl_gpu_pin,
    .unpin = wl_gpu_unpin,
    .memory_alloc = wl_gpu_memory_alloc,
    .memory_free = wl_gpu_memory_free,
    .memory_read = wl_gpu_memory_read,
    .queue_open = wl_gpu_queue_open,
    .queue_close = wl_gpu_queue_close,
    .copy_start = wl_gpu_copy_start,
    .mark_put = wl_gpu_mark_put,
    .mark_poll = wl_gpu_mark_poll,
    .mark_notify = wl_gpu_mark_notify,
};
