/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl, loaded when something is first to be downloaded: with its dozens of
 * libraries it costs more than most of what wload does without a network.
 *
 * libcurl's own check of the types that curl_easy_setopt() is given does not see
 * calls through a pointer: numbers must be long, and texts char pointers.
 */
#ifndef WL_LIBCURL_H
#define WL_LIBCURL_H

#include <curl/curl.h>

#include "base/library.h"

#define WL_LIBCURL_CALLS(CALL) \
    CALL(easy_cleanup)         \
    CALL(easy_getinfo)         \
    CALL(easy_init)            \
    CALL(easy_perform)         \
    CALL(easy_setopt)          \
    CALL(easy_strerror)        \
    CALL(free)                 \
    CALL(global_init)          \
    CALL(slist_append)         \
    CALL(slist_free_all)       \
    CALL(url)                  \
    CALL(url_cleanup)          \
    CALL(url_get)              \
    CALL(url_set)              \
    CALL(version_info)

/* curl_easy_init() is wl_libcurl->easy_init(). */
struct wl_libcurl {
#define WL_LIBCURL_MEMBER(name) __typeof__(curl_##name) *name;
    WL_LIBCURL_CALLS(WL_LIBCURL_MEMBER)
#undef WL_LIBCURL_MEMBER
};

/* To be used once wl_libcurl_load() has succeeded. */
extern const struct wl_libcurl *const wl_libcurl;
extern const struct wl_library wl_libcurl_library;

/* Any thread, any number of times.  WLOAD_ERR_UNSUPPORTED: it is absent or too old. */
int wl_libcurl_load(struct wload_error *err);

#endif /* WL_LIBCURL_H */
