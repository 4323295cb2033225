/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gpu_api.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"

#define BOTH(result, member, arguments, cuda, hip) [WL_GPU_CALL_##member] = #cuda,
#define SINGLE(result, member, arguments, symbol)  [WL_GPU_CALL_##member] = #symbol,
#define NONE(result, member, arguments, symbol)
const char *const wl_gpu_cuda_symbols[WL_GPU_CALL_COUNT] = {WL_GPU_CALLS(BOTH, SINGLE, NONE)};
#undef BOTH
#define BOTH(result, member, arguments, cuda, hip) [WL_GPU_CALL_##member] = #hip,
const char *const wl_gpu_hip_symbols[WL_GPU_CALL_COUNT] = {WL_GPU_CALLS(BOTH, NONE, SINGLE)};
#undef BOTH
#undef SINGLE
#undef NONE

#define BOTH(result, member, arguments, cuda, hip) \
    [WL_GPU_CALL_##member] = offsetof(struct wl_gpu_api, member),
#define SINGLE(result, member, arguments, symbol) BOTH(result, member, arguments, symbol, symbol)
static const size_t offsets[WL_GPU_CALL_COUNT] = {WL_GPU_CALLS(BOTH, SINGLE, SINGLE)};
#undef BOTH
#undef SINGLE

/*
 * The C library's message begins with the file that it could not open: our own
 * name if there is no such library, else the path of one that is there and
 * damaged, or the name of another that it needs.
 */
static bool is_absent(const char *message, const char *library)
{
    size_t length = strlen(library);

    return strncmp(message, library, length) == 0 && message[length] == ':';
}

static int open_first(const char *const *libraries, void **out, struct wload_error *err)
{
    for (const char *const *library = libraries; *library; library++) {
        const char *message;

        *out = dlopen(*library, RTLD_NOW | RTLD_LOCAL);
        if (*out) {
            return WLOAD_OK;
        }
        message = dlerror();
        if (!is_absent(message, *library)) {
            return wl_err_set(err, WLOAD_ERR_DEVICE, "'%s' does not load: %s", *library, message);
        }
    }
    return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "no driver library '%s' on this machine",
                      libraries[0]);
}

int wl_gpu_api_load(const char *const *libraries, const char *const *symbols,
                    struct wl_gpu_api *out, struct wload_error *err)
{
    struct wl_gpu_api api = {0};
    const char *missing = NULL;
    void *library;
    int rc = open_first(libraries, &library, err);

    if (rc < 0) {
        return rc;
    }
    for (size_t call = 0; call < WL_GPU_CALL_COUNT; call++) {
        void *address = symbols[call] ? dlsym(library, symbols[call]) : NULL;

        memcpy((char *)&api + offsets[call], &address, sizeof(address));
        if (symbols[call] && !address && call != WL_GPU_CALL_stream_callback &&
            call != WL_GPU_CALL_stream_host_func) {
            missing = symbols[call];
        }
    }
    if (!api.stream_callback && !api.stream_host_func) {
        missing = symbols[WL_GPU_CALL_stream_host_func];
    }
    if (missing) {
        return wl_err_set(err, WLOAD_ERR_DEVICE, "'%s' has no %s: the driver is too old",
                          libraries[0], missing);
    }
    *out = api;
    return WLOAD_OK;
}
