/* SPDX-License-Identifier: Apache-2.0 */
#include "base/libcurl.h"

#include <pthread.h>

#include "base/base.h"
#include "base/err.h"

#define VERSION_MIN 0x075100u /* 7.81.0 */

WL_LIBRARY_NAMES(names, "net", "downloads models", "recommended", "libcurl.so.4",
                 "libcurl-gnutls.so.4");

static const struct wl_library_call calls[] = {
#define CALL(name) {.symbol = "curl_" #name, .offset = offsetof(struct wl_libcurl, name)},
    WL_LIBCURL_CALLS(CALL)
#undef CALL
};

const struct wl_library wl_libcurl_library = {
    .names = names,
    .noun = "library",
    .remedy = "; Debian and Ubuntu have it in libcurl4",
    .broken = WLOAD_ERR_UNSUPPORTED,
    .calls = calls,
    .call_count = WL_COUNT_OF(calls),
};

static struct wl_libcurl table;
static struct wload_error failure;

const struct wl_libcurl *const wl_libcurl = &table;

static void load(void)
{
    const curl_version_info_data *version;
    CURLcode code;

    if (wl_library_load(&wl_libcurl_library, &table, &failure) < 0) {
        return;
    }
    version = table.version_info(CURLVERSION_NOW);
    if (version->version_num < VERSION_MIN) {
        (void)wl_err_set(&failure, WLOAD_ERR_UNSUPPORTED,
                         "'%s' is version %s, and 7.81.0 the oldest that will do%s", names[0],
                         version->version, wl_libcurl_library.remedy);
        return;
    }
    code = table.global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK) {
        (void)wl_err_set(&failure, WLOAD_ERR_INTERNAL, "libcurl does not start: %s",
                         table.easy_strerror(code));
    }
}

int wl_libcurl_load(struct wload_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, load);
    if (failure.code < 0 && err) {
        *err = failure;
    }
    return failure.code;
}
