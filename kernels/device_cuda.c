/* SPDX-License-Identifier: Apache-2.0 */
/* NVIDIA: the process's primary context, which the CUDA runtime in it uses as well. */
#include "base/err.h"
#include "kernels/device_gpu.h"

WL_LIBRARY_NAMES(names, "cuda", "loads into the memory of NVIDIA GPUs", "suggested",
                 "libcuda.so.1");

static const struct wl_library driver = {
    .names = names,
    .noun = "driver library",
    .remedy = "",
    .broken = WLOAD_ERR_DEVICE,
    .calls = wl_gpu_cuda_calls,
    .call_count = WL_GPU_CALL_COUNT,
};

static const char *cuda_error_text(const struct wl_gpu_api *api, int code)
{
    const char *text = NULL;

    return api->error_string(code, &text) == WL_GPU_SUCCESS && text ? text : "unknown error";
}

static int cuda_acquire(struct wl_gpu_device *gpu, struct wload_error *err)
{
    return WL_GPU_TRY(gpu, err, context_retain, &gpu->context, gpu->ordinal);
}

static void cuda_release(struct wl_gpu_device *gpu)
{
    (void)gpu->vendor->api.context_release(gpu->ordinal);
}

static int cuda_enter(const struct wl_gpu_device *gpu, int *previous, struct wload_error *err)
{
    (void)previous; /* the driver keeps a stack of its own */
    return WL_GPU_TRY(gpu, err, context_push, gpu->context);
}

static void cuda_leave(const struct wl_gpu_device *gpu, int previous)
{
    wl_gpu_context popped;

    (void)previous;
    (void)gpu->vendor->api.context_pop(&popped);
}

static struct wl_gpu_vendor cuda = {
    .ops = &wl_device_cuda,
    .driver = &driver,
    .error_text = cuda_error_text,
    .acquire = cuda_acquire,
    .release = cuda_release,
    .enter = cuda_enter,
    .leave = cuda_leave,
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

static int cuda_count(struct wload_error *err)
{
    return wl_gpu_count(&cuda, err);
}

static int cuda_open(unsigned index, struct wl_device **out, struct wload_error *err)
{
    return wl_gpu_open(&cuda, index, out, err);
}

const struct wl_device_ops wl_device_cuda = {
    .name = "cuda",
    .kind = WLOAD_DEVICE_CUDA,
    .is_host = false,
    .count = cuda_count,
    .open = cuda_open,
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
