/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GPU driver's calls, found at run time: no vendor's header or library is
 * needed to build, and one binary serves NVIDIA, AMD or neither.
 *
 * A driver once loaded stays: its threads and exit handlers outlive any dlclose().
 */
#ifndef WL_GPU_API_H
#define WL_GPU_API_H

#include <stddef.h>
#include <stdint.h>

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

/* The symbols of one vendor, by enum wl_gpu_call; NULL: it has no such call. */
extern const char *const wl_gpu_cuda_symbols[WL_GPU_CALL_COUNT];
extern const char *const wl_gpu_hip_symbols[WL_GPU_CALL_COUNT];

/*
 * Load the first of `libraries` (NULL ends them) that is there, and find `symbols`
 * in it.  WLOAD_ERR_UNSUPPORTED: none is there.  WLOAD_ERR_DEVICE: one is there
 * and does not load, or is too old.
 */
int wl_gpu_api_load(const char *const *libraries, const char *const *symbols,
                    struct wl_gpu_api *out, struct wload_error *err);

#endif /* WL_GPU_API_H */
