/* SPDX-License-Identifier: Apache-2.0 */
/* Texts: what an API answers, whole or not at all. */
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/transfer_inner.h"

#define TEXT_BYTES_FIRST (64u << 10)

struct collecting {
    struct wl_transfer *transfer;
    const char *url;
    size_t max_bytes;
    char *text;
    size_t size_bytes;
    size_t room_bytes; /* with one more for the NUL */
    struct wload_error *err;
};

static int grow(struct collecting *collecting, size_t wanted_bytes)
{
    size_t room = collecting->room_bytes ? collecting->room_bytes : TEXT_BYTES_FIRST;
    char *text;

    while (room < wanted_bytes) {
        room *= 2;
    }
    text = wl_sys->alloc(room + 1);
    if (!text) {
        return wl_err_set(collecting->err, WLOAD_ERR_NOMEM, "no memory for an answer of %zu bytes",
                          wanted_bytes);
    }
    if (collecting->size_bytes > 0) {
        memcpy(text, collecting->text, collecting->size_bytes);
    }
    wl_sys->free(collecting->text);
    collecting->text = text;
    collecting->room_bytes = room;
    return WLOAD_OK;
}

static int collect(void *user, const struct wl_http_response *response, const void *data,
                   size_t size_bytes)
{
    struct collecting *collecting = user;
    size_t end = collecting->size_bytes + size_bytes;
    char shown[WL_HTTP_TEXT_BYTES];
    int rc;

    atomic_fetch_add(&collecting->transfer->received_bytes, size_bytes);
    if (end > collecting->max_bytes || response->is_encoded) {
        return wl_err_set(collecting->err, WLOAD_ERR_HTTP, "'%.256s': %s",
                          wl_http_shown(collecting->url, shown),
                          response->is_encoded ? "the answer is encoded, which was not asked for"
                                               : "the answer is longer than any should be");
    }
    if (end > collecting->room_bytes) {
        rc = grow(collecting, end);
        if (rc < 0) {
            return rc;
        }
    }
    memcpy(collecting->text + collecting->size_bytes, data, size_bytes);
    collecting->size_bytes = end;
    return 0;
}

/* All steps of one try.  0: an answer, good or bad. */
static int ask_text(struct collecting *collecting, struct wl_http *http, struct wl_trail *trail,
                    struct wl_http_response *response)
{
    const struct wl_config *config = collecting->transfer->config;
    struct wl_http_request request = {
        .connect_timeout_ms = config->metadata_timeout_ms,
        .stall_timeout_ms = config->metadata_timeout_ms,
        .on_body = collect,
        .user = collecting,
    };
    int rc = wl_trail_begin(trail, collecting->url, true, collecting->err);

    if (rc < 0) {
        return rc;
    }
    collecting->size_bytes = 0;
    do {
        wl_http_response_clear(response);
        rc = wl_trail_step(collecting->transfer, http, trail, &request, response, collecting->err);
    } while (rc > 0);
    return rc;
}

/* Hand over what came.  A next page elsewhere could read the token, or send others' pages. */
static int finish_text(struct collecting *collecting, const struct wl_http_response *response,
                       struct wl_transfer_text *out, struct wload_error *err)
{
    char shown[WL_HTTP_TEXT_BYTES];
    char *next = NULL;

    if (response->next[0] != '\0') {
        if (!wl_http_is_same_origin(response->next, collecting->transfer->config->endpoint)) {
            return wl_err_set(err, WLOAD_ERR_HTTP,
                              "the next page, '%.256s', is at another place than the hub",
                              wl_http_shown(response->next, shown));
        }
        next = wl_str_new("%s", response->next);
        if (!next) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for an address");
        }
    }
    collecting->text[collecting->size_bytes] = '\0';
    *out = (struct wl_transfer_text){.text = collecting->text,
                                     .size_bytes = collecting->size_bytes,
                                     .next = next};
    collecting->text = NULL;
    return WLOAD_OK;
}

int wl_transfer_text(struct wl_transfer *transfer, struct wl_http *http, const char *url,
                     size_t max_bytes, struct wl_transfer_text *out, struct wload_error *err)
{
    struct wload_error failure = {0};
    struct collecting collecting = {.transfer = transfer,
                                    .url = url,
                                    .max_bytes = max_bytes,
                                    .err = err};
    struct wl_http_response response = {0};
    struct wl_trail trail;
    uint32_t tries = 0;
    int rc = grow(&collecting, 1);

    if (rc < 0) {
        return rc;
    }
    collecting.err = &failure;
    do {
        rc = ask_text(&collecting, http, &trail, &response);
        if (rc == 0 && wl_status_is_good(response.status)) {
            rc = finish_text(&collecting, &response, out, err);
            break;
        }
        rc = wl_transfer_again(transfer, &tries, rc, &trail, &response, &failure, err);
    } while (rc == 0);
    wl_http_response_clear(&response);
    wl_sys->free(collecting.text);
    return rc;
}
