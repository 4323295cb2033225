/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GPU driver's calls, found at run time: no vendor's header or library is
 * needed to build, and one binary serves NVIDIA, AMD or neither.
 */
#ifndef WL_GPU_API_H
#define WL_GPU_API_H

#include <stddef.h>
#include <stdint.h>

#include "base/library.h"
#include "kernels/gpu_calls.h"
#include "wload.h"

typedef int wl_gpu_status;
typedef int wl_gpu_ordinal;
typedef uintptr_t wl_gpu_address;
typedef const void *wl_gpu_source;
typedef void *wl_gpu_stream;
typedef void *wl_gpu_event;
typedef void *wl_gpu_context;
typedef void (*wl_gpu_callback)(wl_gpu_stream stream, wl_gpu_status status, void *user);
typedef void (*wl_gpu_host_func)(void *user);

enum wl_gpu_number {
#define WL_GPU_NUMBER(name, cuda, hip, value) WL_GPU_##name = (value),
    WL_GPU_NUMBERS(WL_GPU_NUMBER)
#undef WL_GPU_NUMBER
};

enum wl_gpu_call {
#define WL_GPU_BOTH(result, member, arguments, cuda, hip) WL_GPU_CALL_##member,
#define WL_GPU_SINGLE(result, member, arguments, symbol)  WL_GPU_CALL_##member,
    WL_GPU_CALLS(WL_GPU_BOTH, WL_GPU_SINGLE, WL_GPU_SINGLE)
#undef WL_GPU_BOTH
#undef WL_GPU_SINGLE
    WL_GPU_CALL_COUNT
};

/* The other vendor's calls are NULL; so is one of stream_callback and stream_host_func where
 * the driver no longer, or not yet, has it. */
struct wl_gpu_api {
#define WL_GPU_BOTH(result, member, arguments, cuda, hip) result(*member) arguments;
#define WL_GPU_SINGLE(result, member, arguments, symbol)  result(*member) arguments;
    WL_GPU_CALLS(WL_GPU_BOTH, WL_GPU_SINGLE, WL_GPU_SINGLE)
#undef WL_GPU_BOTH
#undef WL_GPU_SINGLE
};

/* One vendor's, by enum wl_gpu_call. */
extern const struct wl_library_call wl_gpu_cuda_calls[WL_GPU_CALL_COUNT];
extern const struct wl_library_call wl_gpu_hip_calls[WL_GPU_CALL_COUNT];

/* As wl_library_load(). */
int wl_gpu_api_load(const struct wl_library *driver, struct wl_gpu_api *out,
                    struct wload_error *err);

#endif /* WL_GPU_API_H */
