/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP exchange over libcurl: a request and its answer.  No retry, no
 * redirect, no opinion on status codes: transfer.h has those.
 *
 * A line belongs to one thread at a time and keeps its connections open between
 * exchanges.  Only headers of the last response count: an interim or proxy answer
 * before it leaves nothing behind.
 */
#ifndef WL_HTTP_H
#define WL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hub.h"
#include "cache/config.h"

#define WL_HTTP_TEXT_BYTES  512         /* of a header's value that is kept as text */
#define WL_HTTP_URL_BYTES   8192        /* of an address: signed ones are long */
#define WL_HTTP_ERROR_BYTES (64u << 10) /* of an error's body that is read */

struct wl_http;

/*
 * Take a part of the body of a 2xx answer; `response` has its headers.  Not 0: end
 * the exchange, which then returns WLOAD_ERR_CALLBACK if positive, else the value.
 */
struct wl_http_response;
typedef int (*wl_http_body_fn)(void *user, const struct wl_http_response *response,
                               const void *data, size_t size_bytes);

struct wl_http_request {
    const char *url;
    const char *token;    /* NULL: none; the caller has checked the origin */
    const char *if_range; /* NULL: none; an ETag with its quotes */
    uint64_t range_begin; /* begin = end = 0: the whole */
    uint64_t range_end;   /* behind the last byte */
    int64_t connect_timeout_ms;
    int64_t stall_timeout_ms; /* without a byte */
    wl_http_body_fn on_body;
    void *user;
    bool (*is_canceled)(void *user); /* looked at at least every second; NULL: never */
    void *cancel_user;
};

/* Text fields are "" and numbers -1 where the header was not there or not well formed. */
struct wl_http_response {
    int status;
    int64_t content_bytes; /* Content-Length */
    int64_t range_begin;   /* Content-Range */
    int64_t range_end;     /* behind the last byte */
    int64_t range_total;
    int64_t retry_after_s;
    int64_t rate_limit_left;    /* RateLimit's r */
    int64_t rate_limit_reset_s; /* RateLimit's t */
    bool is_encoded;            /* Content-Encoding other than identity */
    char etag[WL_HTTP_TEXT_BYTES];
    char linked_etag[WL_HTTP_TEXT_BYTES];
    int64_t linked_bytes; /* X-Linked-Size */
    char commit[WL_HTTP_TEXT_BYTES];
    char error_code[WL_HTTP_TEXT_BYTES];
    char error_message[WL_HTTP_TEXT_BYTES];
    char request_id[WL_HTTP_TEXT_BYTES];
    char warning[WL_HTTP_TEXT_BYTES];
    char location[WL_HTTP_URL_BYTES]; /* of a 3xx, made absolute */
    char next[WL_HTTP_URL_BYTES];     /* Link rel="next", made absolute */
    char *body; /* of a status >= 400, at most WL_HTTP_ERROR_BYTES, NUL-terminated */
    size_t body_bytes;
    bool is_retryable; /* of a failed exchange: another try may succeed */
    bool is_unreached; /* of a failed exchange: there was no connection at all */
};

int wl_http_new(const struct wl_config *config, struct wl_http **out, struct wload_error *err);
void wl_http_free(struct wl_http *http);

/*
 * WLOAD_OK: an answer came, whatever its status, and its body was handed over
 * whole.  Else WLOAD_ERR_NETWORK, WLOAD_ERR_TIMEOUT, WLOAD_ERR_CANCELED, or what
 * on_body returned.  `response` is filled as far as it came in both cases; clear
 * it with wl_http_response_clear().
 */
int wl_http_perform(struct wl_http *http, const struct wl_http_request *request,
                    struct wl_http_response *response, struct wload_error *err);
void wl_http_response_clear(struct wl_http_response *response);

/* Whether both have the same scheme, host and port. */
bool wl_http_is_same_origin(const char *url, const char *other);

/* Whether the host is this machine by its address: 127.0.0.0/8, ::1, localhost. */
bool wl_http_is_loopback(const char *url);

/* The URL as it may be shown: no user, no query, no fragment, control characters escaped. */
const char *wl_http_shown(const char *url, char out[WL_HTTP_TEXT_BYTES]);

#endif /* WL_HTTP_H */
