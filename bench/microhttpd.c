/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/microhttpd.h"

#include "base/base.h"

WL_LIBRARY_NAMES(names, "serve", "serves models to other machines", "suggested",
                 "libmicrohttpd.so.12");

static const struct wl_library_call calls[] = {
#define CALL(name) {.symbol = "MHD_" #name, .offset = offsetof(struct microhttpd, name)},
    MICROHTTPD_CALLS(CALL)
#undef CALL
};

const struct wl_library microhttpd_library = {
    .names = names,
    .noun = "library",
    .remedy = "; Debian and Ubuntu have it in libmicrohttpd12",
    .broken = WLOAD_ERR_UNSUPPORTED,
    .calls = calls,
    .call_count = WL_COUNT_OF(calls),
};

static struct microhttpd table;

const struct microhttpd *const microhttpd = &table;

int microhttpd_load(struct wload_error *err)
{
    return wl_library_load(&microhttpd_library, &table, err);
}
