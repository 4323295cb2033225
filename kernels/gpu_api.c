/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gpu_api.h"

#include "base/err.h"

/* A driver has at least one of the two ways to call back. */
#define IS_CALLBACK(call) \
    ((call) == WL_GPU_CALL_stream_callback || (call) == WL_GPU_CALL_stream_host_func)

#define ENTRY(member, name)                               \
    [WL_GPU_CALL_##member] = {                            \
        .symbol = #name,                                  \
        .offset = offsetof(struct wl_gpu_api, member),    \
        .is_optional = IS_CALLBACK(WL_GPU_CALL_##member), \
    },
#define SINGLE(result, member, arguments, symbol) ENTRY(member, symbol)
#define NONE(result, member, arguments, symbol)
#define BOTH(result, member, arguments, cuda, hip) ENTRY(member, cuda)
const struct wl_library_call wl_gpu_cuda_calls[WL_GPU_CALL_COUNT] = {
    WL_GPU_CALLS(BOTH, SINGLE, NONE)};
#undef BOTH
#define BOTH(result, member, arguments, cuda, hip) ENTRY(member, hip)
const struct wl_library_call wl_gpu_hip_calls[WL_GPU_CALL_COUNT] = {
    WL_GPU_CALLS(BOTH, NONE, SINGLE)};

int wl_gpu_api_load(const struct wl_library *driver, struct wl_gpu_api *out,
                    struct wload_error *err)
{
    struct wl_gpu_api api = {0};
    int rc = wl_library_load(driver, &api, err);

    if (rc < 0) {
        return rc;
    }
    if (!api.stream_callback && !api.stream_host_func) {
        return wl_err_set(err, driver->broken, "'%s' has no %s: the %s is too old",
                          driver->names[0], driver->calls[WL_GPU_CALL_stream_host_func].symbol,
                          driver->noun);
    }
    *out = api;
    return WLOAD_OK;
}
