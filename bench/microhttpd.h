/* SPDX-License-Identifier: Apache-2.0 */
/* libmicrohttpd, loaded by `wload serve` alone. */
#ifndef WLOAD_MICROHTTPD_H
#define WLOAD_MICROHTTPD_H

#include <microhttpd.h>

#include "base/library.h"

#define MICROHTTPD_CALLS(CALL)                \
    CALL(add_response_header)                 \
    CALL(create_response_from_buffer)         \
    CALL(create_response_from_fd_at_offset64) \
    CALL(destroy_response)                    \
    CALL(get_version)                         \
    CALL(lookup_connection_value)             \
    CALL(queue_response)                      \
    CALL(start_daemon)                        \
    CALL(stop_daemon)

/* MHD_stop_daemon() is microhttpd->stop_daemon(). */
struct microhttpd {
#define MICROHTTPD_MEMBER(name) __typeof__(MHD_##name) *name;
    MICROHTTPD_CALLS(MICROHTTPD_MEMBER)
#undef MICROHTTPD_MEMBER
};

/* To be used once microhttpd_load() has succeeded. */
extern const struct microhttpd *const microhttpd;
extern const struct wl_library microhttpd_library;

/* Before any thread starts.  WLOAD_ERR_UNSUPPORTED: it is absent or too old. */
int microhttpd_load(struct wload_error *err);

#endif /* WLOAD_MICROHTTPD_H */
