/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a transfer share: the trail of one request through its
 * redirects, and the tries of a request that fails.
 *
 *   begin --> step --1: redirect--> step ... --0: an answer, good or bad
 *     ^         |
 *     |         v failed
 *     +------ again: waits, or gives up
 */
#ifndef WL_TRANSFER_INNER_H
#define WL_TRANSFER_INNER_H

#include "cache/transfer.h"

struct wl_trail {
    char url[WL_HTTP_URL_BYTES]; /* asked next; once there is an answer: whose it is */
    uint32_t hop_count;
    bool stays;  /* redirects to other origins are an error */
    bool is_own; /* the last step was on the endpoint's origin */
};

int wl_trail_begin(struct wl_trail *trail, const char *url, bool stays, struct wload_error *err);

/*
 * One exchange, after a pause that a server asked for.  `request` gets its
 * address, token and cancellation here.  1: redirected, step again; 0: an answer.
 * Clear the response before the next step.
 */
int wl_trail_step(struct wl_transfer *transfer, struct wl_http *http, struct wl_trail *trail,
                  struct wl_http_request *request, struct wl_http_response *response,
                  struct wload_error *err);

/* Whether there is a token, and all could read it on its way to the endpoint. */
bool wl_transfer_withholds_token(const struct wl_transfer *transfer);

static inline bool wl_status_is_good(int status)
{
    return status >= 200 && status < 300;
}

/* Whether the same request may be answered better later. */
bool wl_status_is_passing(int status);

/*
 * A request failed: with `rc` < 0, filled into *failure, or with a status >= 400.
 * WLOAD_OK: the wait before the next try is over.  Else the final error.  *tries
 * counts those without a byte.
 */
int wl_transfer_again(struct wl_transfer *transfer, uint32_t *tries, int rc,
                      const struct wl_trail *trail, const struct wl_http_response *response,
                      const struct wload_error *failure, struct wload_error *err);

/* Text of a server made fit to be shown: one line, bounded, without the token. */
void wl_transfer_clean(const struct wl_transfer *transfer, const char *text, char *out,
                       size_t out_bytes);

#endif /* WL_TRANSFER_INNER_H */
