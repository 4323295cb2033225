/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of a file: asked for, checked, resumed where they broke off. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/transfer_inner.h"

#define ENOUGH 1 /* of on_body: the rest of the body is not wanted */

/* One call of wl_transfer_range(), in one exchange after the other. */
struct filling {
    struct wl_transfer *transfer;
    struct wl_http *http;
    struct wl_remote *remote;
    wl_transfer_sink_fn sink;
    void *user;
    struct wload_error *failure;
    int sink_rc;   /* it wants no more */
    uint64_t next; /* byte that the sink wants */
    uint64_t end;
    /* The exchange now: */
    struct wl_trail trail;
    char etag[WL_HTTP_TEXT_BYTES]; /* what the file was when it was asked before; "": unknown */
    uint64_t asked;                /* first byte that was asked for */
    uint64_t at;                   /* next byte of the file that the body brings */
    uint64_t body_end;             /* that the answer promises */
    bool is_checked;
    bool is_passing; /* what is wrong with it may be right the next time */
    bool is_surplus; /* in this or an earlier one: more came than was promised */
};

/* ---- What is known of the remote ------------------------------------------------ */

static void forget(struct wl_remote *remote)
{
    wl_sys->free(remote->state.location);
    wl_sys->free(remote->state.etag);
    remote->state.location = NULL;
    remote->state.etag = NULL;
}

void wl_remote_clear(struct wl_remote *remote)
{
    forget(remote);
    *remote = (struct wl_remote){0};
}

void wl_remote_reset(struct wl_transfer *transfer, struct wl_remote *remote)
{
    (void)pthread_mutex_lock(&transfer->mutex);
    forget(remote);
    remote->state.refuses_ranges = false;
    (void)pthread_mutex_unlock(&transfer->mutex);
}

bool wl_remote_refuses_ranges(struct wl_transfer *transfer, struct wl_remote *remote)
{
    bool refuses;

    (void)pthread_mutex_lock(&transfer->mutex);
    refuses = remote->state.refuses_ranges;
    (void)pthread_mutex_unlock(&transfer->mutex);
    return refuses;
}

/* Forget an address that does not serve any more, unless there is none but the hub's, or another
 * thread knows a newer one. */
static void forget_location(struct filling *filling)
{
    struct wl_remote *remote = filling->remote;

    (void)pthread_mutex_lock(&filling->transfer->mutex);
    if (remote->state.location && strcmp(remote->state.location, remote->url) != 0 &&
        strcmp(remote->state.location, filling->trail.url) == 0) {
        forget(remote);
    }
    (void)pthread_mutex_unlock(&filling->transfer->mutex);
}

/* A good answer came from the end of the trail: later ranges go there at once.  Without memory
 * they take the way through the hub again. */
static void remember(struct filling *filling, const struct wl_http_response *response)
{
    struct wl_remote *remote = filling->remote;

    (void)pthread_mutex_lock(&filling->transfer->mutex);
    if (!remote->state.location) {
        remote->state.location = wl_str_new("%s", filling->trail.url);
        if (remote->state.location && response->etag[0] == '"') { /* else weak: bytes may differ */
            remote->state.etag = wl_str_new("%s", response->etag);
        }
    }
    if (response->status == 200) {
        remote->state.refuses_ranges = true;
    }
    (void)pthread_mutex_unlock(&filling->transfer->mutex);
}

/* ---- Checks of an answer -------------------------------------------------------- */

/* It is not the file that it should be. */
__attribute__((format(printf, 3, 4))) static int differs(const struct filling *filling, int status,
                                                         const char *fmt, ...)
{
    char what[WL_HTTP_TEXT_BYTES];
    char shown[WL_HTTP_TEXT_BYTES];
    va_list ap;
    int rc;

    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    rc = wl_err_set(filling->failure, WLOAD_ERR_CHECKSUM, "'%.128s': %.192s (from '%.128s')",
                    filling->remote->name, what, wl_http_shown(filling->remote->url, shown));
    filling->failure->http_status = status;
    return rc;
}

/* What the hub itself says of the file, in a redirect or with the bytes. */
static int check_hub(const struct filling *filling, const struct wl_http_response *response)
{
    const struct wl_remote *remote = filling->remote;
    bool is_linked = response->linked_etag[0] != '\0';
    char hash[WL_HUB_HASH_BYTES];

    if (response->linked_bytes >= 0 && (uint64_t)response->linked_bytes != remote->size_bytes) {
        return differs(filling, response->status,
                       "the hub says it has %" PRId64 " bytes, its listing %" PRIu64,
                       response->linked_bytes, remote->size_bytes);
    }
    if (!is_linked && !wl_status_is_good(response->status)) {
        return WLOAD_OK; /* the ETag of a redirect is the redirect's */
    }
    if (remote->hash[0] == '\0' ||
        !wl_hub_etag_hash(is_linked ? response->linked_etag : response->etag, hash)) {
        return WLOAD_OK;
    }
    /* A server's own ETag may be a hash of another kind, over something else. */
    if (strcmp(hash, remote->hash) != 0 && (is_linked || strlen(hash) == strlen(remote->hash))) {
        return differs(filling, response->status, "the hub says its hash is %s, its listing %s",
                       hash, remote->hash);
    }
    return WLOAD_OK;
}

/* Of a 206.  Fewer bytes than were asked for are legal. */
static int check_range(struct filling *filling, const struct wl_http_response *response)
{
    const struct wl_remote *remote = filling->remote;

    if (response->range_begin < 0) {
        return differs(filling, response->status, "the server says no range that can be read");
    }
    if ((uint64_t)response->range_begin != filling->asked ||
        (uint64_t)response->range_end > filling->end ||
        (response->range_total >= 0 && (uint64_t)response->range_total != remote->size_bytes)) {
        return differs(filling, response->status,
                       "bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64
                       " were asked for, and %" PRId64 " to %" PRId64 " of %" PRId64 " sent",
                       filling->asked, filling->end, remote->size_bytes, response->range_begin,
                       response->range_end, response->range_total);
    }
    filling->at = filling->asked;
    filling->body_end = (uint64_t)response->range_end;
    return WLOAD_OK;
}

/* Of a 200: the whole file comes, whatever was asked for. */
static int check_whole(struct filling *filling, const struct wl_http_response *response)
{
    const struct wl_remote *remote = filling->remote;

    if (response->content_bytes >= 0 && (uint64_t)response->content_bytes != remote->size_bytes) {
        return differs(filling, response->status,
                       "it has %" PRId64 " bytes and should have %" PRIu64, response->content_bytes,
                       remote->size_bytes);
    }
    filling->at = 0;
    filling->body_end = remote->size_bytes;
    return WLOAD_OK;
}

/* Before the first byte of a 2xx body is believed. */
static int check_answer(struct filling *filling, const struct wl_http_response *response)
{
    uint64_t promised;
    int rc = filling->trail.is_own ? check_hub(filling, response) : WLOAD_OK;

    if (rc < 0) {
        return rc;
    }
    if (response->is_encoded || (response->status != 200 && response->status != 206)) {
        return differs(filling, response->status, "the server answers %d with %s", response->status,
                       response->is_encoded ? "an encoded body" : "neither all bytes nor a range");
    }
    if (filling->etag[0] != '\0' && response->etag[0] != '\0' &&
        strcmp(filling->etag, response->etag) != 0) {
        return differs(filling, response->status, "it changed while it was downloaded");
    }
    rc = response->status == 206 ? check_range(filling, response) : check_whole(filling, response);
    if (rc < 0) {
        return rc;
    }
    promised = filling->body_end - filling->at;
    if (response->content_bytes >= 0 && (uint64_t)response->content_bytes != promised) {
        filling->is_passing = true;
        return wl_err_set(filling->failure, WLOAD_ERR_NETWORK,
                          "'%.256s': a body of %" PRId64 " bytes for a range of %" PRIu64,
                          filling->remote->name, response->content_bytes, promised);
    }
    remember(filling, response);
    filling->is_checked = true;
    return WLOAD_OK;
}

/* ---- One exchange --------------------------------------------------------------- */

/* Hand on those of `fits` bytes at filling->at that the sink wants. */
static int hand_on(struct filling *filling, const char *data, uint64_t fits)
{
    uint64_t skip = wl_min(filling->next - filling->at, fits);
    uint64_t wanted = wl_min(fits - skip, filling->end - filling->next);
    int rc;

    filling->at += fits;
    if (wanted == 0) {
        return 0;
    }
    rc = filling->sink(filling->user, filling->next, data + skip, wanted);
    if (rc > 0) {
        return wl_err_set(filling->failure, WLOAD_ERR_CANCELED, "'%.256s': canceled",
                          filling->remote->name);
    }
    filling->next += rc == 0 ? wanted : 0;
    filling->sink_rc = rc;
    return rc;
}

static int take(void *user, const struct wl_http_response *response, const void *data,
                size_t size_bytes)
{
    struct filling *filling = user;
    uint64_t fits;
    int rc = 0;

    atomic_fetch_add(&filling->transfer->received_bytes, size_bytes);
    if (!filling->is_checked) {
        rc = check_answer(filling, response);
        if (rc < 0) {
            return rc;
        }
    }
    fits = wl_min(size_bytes, filling->body_end - filling->at);
    rc = hand_on(filling, data, fits);
    if (rc < 0) {
        return rc;
    }
    if (fits < size_bytes) {
        filling->is_surplus = true;
        filling->is_passing = true;
        return wl_err_set(filling->failure, WLOAD_ERR_NETWORK,
                          "'%.256s': the server sends more bytes than it promised",
                          filling->remote->name);
    }
    /* After a surplus the end of the body is what is looked for. */
    return filling->next == filling->end && filling->at < filling->body_end && !filling->is_surplus
               ? ENOUGH
               : 0;
}

/* To where redirects led before, else to the hub. */
static int begin_trail(struct filling *filling)
{
    struct wl_remote *remote = filling->remote;
    int rc;

    (void)pthread_mutex_lock(&filling->transfer->mutex);
    rc = wl_trail_begin(&filling->trail,
                        remote->state.location ? remote->state.location : remote->url, false,
                        filling->failure);
    (void)snprintf(filling->etag, sizeof(filling->etag), "%s",
                   remote->state.etag ? remote->state.etag : "");
    (void)pthread_mutex_unlock(&filling->transfer->mutex);
    return rc;
}

static int exchange(struct filling *filling, struct wl_http_response *response)
{
    const struct wl_config *config = filling->transfer->config;
    struct wl_http_request request = {
        .range_end = filling->end,
        .connect_timeout_ms = config->download_timeout_ms,
        .stall_timeout_ms = config->download_timeout_ms,
        .on_body = take,
        .user = filling,
    };
    int rc = begin_trail(filling);

    /* All is here, but one body did not end where it should: look at its end once more. */
    filling->asked = filling->next < filling->end ? filling->next : filling->end - 1;
    filling->is_checked = false;
    filling->is_passing = false;
    request.range_begin = filling->asked;
    request.if_range = filling->etag[0] != '\0' ? filling->etag : NULL;
    if (rc < 0) {
        return rc;
    }
    do {
        wl_http_response_clear(response);
        rc = wl_trail_step(filling->transfer, filling->http, &filling->trail, &request, response,
                           filling->failure);
        if (rc > 0) {
            request.if_range = NULL;
            filling->etag[0] = '\0';
            rc = filling->trail.is_own ? check_hub(filling, response) : WLOAD_OK;
            rc = rc < 0 ? rc : 1;
        }
    } while (rc > 0);
    if (rc == 0 && wl_status_is_good(response->status) && !filling->is_checked) {
        rc = check_answer(filling, response); /* there was no body at all */
    }
    response->is_retryable |= rc < 0 && filling->is_passing;
    return rc;
}

/* ---- A range -------------------------------------------------------------------- */

/* Whether all is handed on; after a surplus, whether an answer ended where it should, too. */
static bool is_finished(const struct filling *filling, int rc,
                        const struct wl_http_response *response)
{
    return filling->next == filling->end &&
           (!filling->is_surplus || (rc == 0 && wl_status_is_good(response->status)));
}

/* An address that a redirect led to does not serve: signed ones expire. */
static bool is_stale(const struct filling *filling, int rc, const struct wl_http_response *response)
{
    return rc == 0 && response->status >= 400 && response->status < 500 &&
           !wl_status_is_passing(response->status) &&
           strcmp(filling->trail.url, filling->remote->url) != 0;
}

/* An answer that is good by its status, and still no good: the error for it. */
static int judge(struct filling *filling, int rc, struct wl_http_response *response)
{
    if (rc == 0 && response->status == 416) {
        return differs(filling, response->status,
                       "bytes %" PRIu64 " to %" PRIu64
                       " were asked for, and the server has %" PRId64,
                       filling->asked, filling->end, response->range_total);
    }
    if (rc == 0 && wl_status_is_good(response->status)) {
        response->is_retryable = true;
        return wl_err_set(filling->failure, WLOAD_ERR_NETWORK,
                          "'%.256s': the body ended %" PRIu64 " bytes early", filling->remote->name,
                          filling->body_end - filling->at);
    }
    return rc;
}

static int fill(struct filling *filling, struct wl_http_response *response, struct wload_error *err)
{
    bool is_refreshed = false;
    uint32_t tries = 0;

    for (;;) {
        uint64_t before = filling->next;
        int rc = exchange(filling, response);

        if (is_finished(filling, rc, response)) {
            return WLOAD_OK;
        }
        if (filling->sink_rc < 0) {
            return filling->sink_rc;
        }
        if (filling->next > before) {
            tries = 0;
            is_refreshed = false;
            if (rc == 0 && filling->at == filling->body_end) {
                continue; /* a shorter range than was asked for */
            }
        } else {
            forget_location(filling);
        }
        if (!is_refreshed && is_stale(filling, rc, response)) {
            char shown[WL_HTTP_TEXT_BYTES];

            WL_LOG(&filling->transfer->log, WLOAD_LOG_INFO, "http",
                   "'%.256s': status %d; its address is asked again",
                   wl_http_shown(filling->trail.url, shown), response->status);
            is_refreshed = true;
            continue;
        }
        rc = judge(filling, rc, response);
        rc = wl_transfer_again(filling->transfer, &tries, rc, &filling->trail, response,
                               filling->failure, err);
        if (rc < 0) {
            return rc;
        }
    }
}

int wl_transfer_range(struct wl_transfer *transfer, struct wl_http *http, struct wl_remote *remote,
                      uint64_t begin, uint64_t end, wl_transfer_sink_fn sink, void *user,
                      struct wload_error *err)
{
    struct wload_error failure = {0};
    struct filling filling = {
        .transfer = transfer,
        .http = http,
        .remote = remote,
        .sink = sink,
        .user = user,
        .failure = &failure,
        .next = begin,
        .end = end,
    };
    struct wl_http_response response = {0};
    int rc;

    WL_ASSERT(begin <= end && end <= remote->size_bytes);
    if (begin == end) {
        return WLOAD_OK;
    }
    rc = fill(&filling, &response, err);
    wl_http_response_clear(&response);
    return rc;
}
