/* SPDX-License-Identifier: Apache-2.0 */
/* Header lines of an answer, read into its struct.  Text in, no libcurl. */
#ifndef WL_HTTP_HEADERS_H
#define WL_HTTP_HEADERS_H

#include "cache/http.h"

/* A new response begins: nothing is known of it. */
void wl_http_headers_begin(struct wl_http_response *response);

/*
 * One line without its end.  Those that nobody asks for, and those that are not
 * well formed, are passed over.  False: it contradicts an earlier one in what the
 * body is or where to go.  `location` and `next` are kept as they came.
 */
bool wl_http_headers_add(struct wl_http_response *response, const char *line, size_t size);

#endif /* WL_HTTP_HEADERS_H */
