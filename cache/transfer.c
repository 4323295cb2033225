/* SPDX-License-Identifier: Apache-2.0 */
/* One request with its redirects, and its tries: what texts and ranges share. */
#include "cache/transfer_inner.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/base.h"
#include "base/cgroup.h"
#include "base/clock.h"
#include "base/err.h"

#define NS_PER_S     INT64_C(1000000000)
#define NS_PER_MS    INT64_C(1000000)
#define RETRY_MS_MAX 3600000
#define LINE_BYTES   256
#define WAIT_NS_MAX  NS_PER_S /* a server that wants to be left in peace is not one that is far */

/* What a connection needs of a control group's memory: the kernel counts what waits in its socket,
 * up to 6 MiB where the network is quicker than this process. */
#define CONNECTION_BYTES (16ull << 20)

/* ---- Life cycle ----------------------------------------------------------------- */

static int64_t first_wait_ms(void)
{
    const char *text = getenv("WLOAD_RETRY_MS");
    char *end;
    long value;

    if (!text || text[0] == '\0') {
        return WL_TRANSFER_RETRY_MS;
    }
    value = strtol(text, &end, 10);
    return *end == '\0' && value >= 0 && value <= RETRY_MS_MAX ? value : WL_TRANSFER_RETRY_MS;
}

static uint32_t default_connections(void)
{
    uint64_t bearable = wl_cgroup_memory().limit_bytes / CONNECTION_BYTES;

    return (uint32_t)wl_max(wl_min(bearable, WL_TRANSFER_CONNECTIONS), 1);
}

int wl_transfer_init(struct wl_transfer *transfer, const struct wl_config *config,
                     const struct wl_log *log, uint32_t connection_count, struct wload_error *err)
{
    pthread_condattr_t attributes;
    int sys_errno;

    WL_ASSERT(connection_count <= WL_TRANSFER_CONNECTIONS_MAX);
    if (config->token_error.code != 0) { /* never as somebody else, or as nobody */
        if (err) {
            *err = config->token_error;
        }
        return config->token_error.code;
    }
    *transfer = (struct wl_transfer){
        .config = config,
        .log = *log,
        .connection_count = connection_count ? connection_count : default_connections(),
        .retry_ms = first_wait_ms(),
    };
    sys_errno = pthread_condattr_init(&attributes);
    if (sys_errno == 0) {
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        sys_errno = pthread_cond_init(&transfer->wakes, &attributes);
        (void)pthread_condattr_destroy(&attributes);
    }
    if (sys_errno != 0) {
        return wl_err_sys(err, sys_errno, "cannot prepare to download");
    }
    sys_errno = pthread_mutex_init(&transfer->mutex, NULL);
    if (sys_errno != 0) {
        (void)pthread_cond_destroy(&transfer->wakes);
        return wl_err_sys(err, sys_errno, "cannot prepare to download");
    }
    return WLOAD_OK;
}

void wl_transfer_clear(struct wl_transfer *transfer)
{
    (void)pthread_mutex_destroy(&transfer->mutex);
    (void)pthread_cond_destroy(&transfer->wakes);
}

void wl_transfer_cancel(struct wl_transfer *transfer)
{
    (void)pthread_mutex_lock(&transfer->mutex);
    atomic_store(&transfer->is_canceled, true);
    (void)pthread_cond_broadcast(&transfer->wakes);
    (void)pthread_mutex_unlock(&transfer->mutex);
}

static bool is_canceled(void *user)
{
    struct wl_transfer *transfer = user;

    return atomic_load(&transfer->is_canceled);
}

/* ---- Pace --------------------------------------------------------------------- */

void wl_transfer_pace_begin(struct wl_transfer_pace *pace)
{
    *pace = (struct wl_transfer_pace){.asked_ns = wl_clock_ns()};
}

bool wl_transfer_is_ending(struct wl_transfer_pace *pace, int64_t now_ns, uint64_t got_bytes,
                           uint64_t left_bytes)
{
    double wait_ns, pace_ns; /* until the first bytes; of each since */

    if (pace->first_ns == 0) {
        pace->first_ns = now_ns;
        pace->first_bytes = got_bytes;
    }
    if (left_bytes == 0 || got_bytes == pace->first_bytes) {
        return left_bytes == 0;
    }
    wait_ns = (double)wl_min((uint64_t)(pace->first_ns - pace->asked_ns), WAIT_NS_MAX);
    pace_ns = (double)(now_ns - pace->first_ns) / (double)(got_bytes - pace->first_bytes);
    return left_bytes <= got_bytes && (double)left_bytes * pace_ns <= wait_ns;
}

/* ---- Warnings and waits --------------------------------------------------------- */

/* Whether this is the first time; when the list is full nothing is new any more. */
static bool is_new(struct wl_transfer *transfer, const char *topic)
{
    uint32_t i = 0;
    bool found;

    (void)pthread_mutex_lock(&transfer->mutex);
    while (i < transfer->topic_count &&
           strncmp(transfer->topics[i], topic, WL_TRANSFER_TOPIC_BYTES - 1) != 0) {
        i++;
    }
    found = i < transfer->topic_count || i == WL_TRANSFER_TOPICS;
    if (!found) {
        (void)snprintf(transfer->topics[i], WL_TRANSFER_TOPIC_BYTES, "%s", topic);
        transfer->topic_count++;
    }
    (void)pthread_mutex_unlock(&transfer->mutex);
    return !found;
}

/* Unless it was said on this topic before. */
__attribute__((format(printf, 3, 4))) static void warn(struct wl_transfer *transfer,
                                                       const char *topic, const char *fmt, ...)
{
    char line[WL_HTTP_TEXT_BYTES];
    va_list ap;

    if (!is_new(transfer, topic)) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    WL_LOG(&transfer->log, WLOAD_LOG_WARN, "http", "%s", line);
}

/* Until then, and until no server wants a pause any more. */
static int wait_until(struct wl_transfer *transfer, int64_t until_ns, struct wload_error *err)
{
    (void)pthread_mutex_lock(&transfer->mutex);
    for (;;) {
        int64_t end_ns =
            until_ns > transfer->paused_until_ns ? until_ns : transfer->paused_until_ns;
        struct timespec end = {.tv_sec = end_ns / NS_PER_S, .tv_nsec = end_ns % NS_PER_S};

        if (is_canceled(transfer) || wl_clock_ns() >= end_ns) {
            break;
        }
        (void)pthread_cond_timedwait(&transfer->wakes, &transfer->mutex, &end);
    }
    (void)pthread_mutex_unlock(&transfer->mutex);
    return is_canceled(transfer) ? wl_err_set(err, WLOAD_ERR_CANCELED, "canceled") : WLOAD_OK;
}

/* No thread of this transfer asks anything for so long. */
static void pause_all(struct wl_transfer *transfer, int64_t seconds)
{
    int64_t until_ns = wl_clock_ns() + seconds * NS_PER_S;

    (void)pthread_mutex_lock(&transfer->mutex);
    if (until_ns > transfer->paused_until_ns) {
        transfer->paused_until_ns = until_ns;
    }
    (void)pthread_mutex_unlock(&transfer->mutex);
}

/* ---- One request ---------------------------------------------------------------- */

bool wl_transfer_withholds_token(const struct wl_transfer *transfer)
{
    const struct wl_config *config = transfer->config;

    return config->token && !config->allows_http_token &&
           strncasecmp(config->endpoint, "https:", 6) != 0 &&
           !wl_http_is_loopback(config->endpoint);
}

/* The token where it may go: to the endpoint's own origin, not for all to read on the way. */
static const char *token_for(const struct wl_transfer *transfer, const struct wl_trail *trail)
{
    return trail->is_own && !wl_transfer_withholds_token(transfer) ? transfer->config->token : NULL;
}

int wl_trail_begin(struct wl_trail *trail, const char *url, bool stays, struct wload_error *err)
{
    char shown[WL_HTTP_TEXT_BYTES];

    if (strlen(url) >= sizeof(trail->url)) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "an address of more than %d bytes: '%.256s'",
                          WL_HTTP_URL_BYTES - 1, wl_http_shown(url, shown));
    }
    *trail = (struct wl_trail){.stays = stays};
    memcpy(trail->url, url, strlen(url) + 1);
    return WLOAD_OK;
}

/* Go where a redirect leads, if one may. */
static int redirect(struct wl_trail *trail, const struct wl_http_response *response,
                    struct wload_error *err)
{
    const char *problem = NULL;
    char to[WL_HTTP_TEXT_BYTES];
    char from[WL_HTTP_TEXT_BYTES];

    if (response->location[0] == '\0') {
        problem = "a redirect without an address to go to";
    } else if (strncasecmp(trail->url, "https:", 6) == 0 &&
               strncasecmp(response->location, "https:", 6) != 0) {
        problem = "a redirect from https to something else";
    } else if (trail->hop_count == WL_TRANSFER_HOPS_MAX) {
        problem = "redirected too often";
    }
    if (problem) {
        int rc = wl_err_set(err, WLOAD_ERR_HTTP, "'%.200s' (HTTP %d): %s: '%.200s'",
                            wl_http_shown(trail->url, from), response->status, problem,
                            wl_http_shown(response->location, to));

        if (err) {
            err->http_status = response->status;
        }
        return rc;
    }
    trail->hop_count++;
    memcpy(trail->url, response->location, sizeof(trail->url));
    return 1;
}

/* A hub's word to its users: "topic; text". */
static void heed(struct wl_transfer *transfer, const char *warning)
{
    char topic[WL_TRANSFER_TOPIC_BYTES];
    char text[LINE_BYTES];

    if (warning[0] == '\0') {
        return;
    }
    (void)snprintf(topic, sizeof(topic), "%.*s", (int)strcspn(warning, ";"), warning);
    warning += strcspn(warning, ";");
    wl_transfer_clean(transfer, *warning == ';' ? warning + 1 : topic, text, sizeof(text));
    warn(transfer, topic, "the hub warns: %s", text);
}

int wl_trail_step(struct wl_transfer *transfer, struct wl_http *http, struct wl_trail *trail,
                  struct wl_http_request *request, struct wl_http_response *response,
                  struct wload_error *err)
{
    char shown[WL_HTTP_TEXT_BYTES];
    int rc = wait_until(transfer, 0, err);

    if (rc < 0) {
        return rc;
    }
    wl_http_shown(trail->url, shown);
    if (transfer->config->is_offline) {
        return wl_err_set(err, WLOAD_ERR_NETWORK, "'%.256s': offline, nothing is asked", shown);
    }
    trail->is_own = wl_http_is_same_origin(trail->url, transfer->config->endpoint);
    if (trail->stays && !trail->is_own) {
        return wl_err_set(err, WLOAD_ERR_HTTP, "'%.256s' is at another place than the hub", shown);
    }
    request->url = trail->url;
    request->token = token_for(transfer, trail);
    request->is_canceled = is_canceled;
    request->cancel_user = transfer;
    rc = wl_http_perform(http, request, response, err);
    if (response->status > 0) {
        atomic_store(&transfer->is_reached, true);
    }
    WL_LOG(&transfer->log, WLOAD_LOG_DEBUG, "http",
           "'%.256s' bytes %" PRIu64 " to %" PRIu64 ": status %d", shown, request->range_begin,
           request->range_end, response->status);
    if (rc < 0) {
        return rc;
    }
    if (trail->is_own) {
        heed(transfer, response->warning);
    }
    return response->status >= 300 && response->status < 400 ? redirect(trail, response, err) : 0;
}

/* ---- Tries ---------------------------------------------------------------------- */

bool wl_status_is_passing(int status)
{
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

/* Seconds that the answer asks for, or -1. */
static int64_t asked_wait_s(const struct wl_http_response *response)
{
    int64_t wait_s = response->retry_after_s;

    if (response->status == 429 && response->rate_limit_left == 0 &&
        response->rate_limit_reset_s >= 0) {
        wait_s = response->rate_limit_reset_s;
    }
    return wait_s < 0 ? -1 : (int64_t)wl_min((uint64_t)wait_s + 1, WL_TRANSFER_PAUSE_MAX);
}

/* How long this thread waits before try number `tries`, up to a fifth more or less than planned. */
static int64_t wait_ns(const struct wl_transfer *transfer, uint32_t tries)
{
    static const int64_t factors[] = {1, 2, 4, 8};
    int64_t factor = factors[wl_min(tries - 1, WL_COUNT_OF(factors) - 1)];

    return transfer->retry_ms * factor * NS_PER_MS / 1000 * (800 + wl_clock_ns() % 401);
}

int wl_transfer_again(struct wl_transfer *transfer, uint32_t *tries, int rc,
                      const struct wl_trail *trail, const struct wl_http_response *response,
                      const struct wload_error *failure, struct wload_error *err)
{
    bool is_final = rc < 0 ? !response->is_retryable : !wl_status_is_passing(response->status);
    bool is_hopeless = response->is_unreached && !atomic_load(&transfer->is_reached);
    int64_t asked_s = rc < 0 ? -1 : asked_wait_s(response);
    char shown[WL_HTTP_TEXT_BYTES];
    int64_t pause_ns;

    *tries += 1;
    if (is_final || *tries >= (is_hopeless ? WL_TRANSFER_REACHES : WL_TRANSFER_TRIES)) {
        if (rc == 0) {
            return wl_transfer_refusal(transfer, trail->url, response, err);
        }
        if (err) {
            *err = *failure;
        }
        return rc;
    }
    wl_http_shown(trail->url, shown);
    if (rc == 0 && response->status == 429 && asked_s >= 0) {
        WL_LOG(&transfer->log, WLOAD_LOG_WARN, "http",
               "'%.200s': too many requests, all wait for %" PRId64 " s", shown, asked_s);
        pause_all(transfer, asked_s);
        return wait_until(transfer, 0, err);
    }
    pause_ns = asked_s >= 0 ? asked_s * NS_PER_S : wait_ns(transfer, *tries);
    if (rc < 0) {
        WL_LOG(&transfer->log, WLOAD_LOG_INFO, "http", "%.400s; again in %" PRId64 " ms",
               failure->message, pause_ns / NS_PER_MS);
    } else {
        WL_LOG(&transfer->log, WLOAD_LOG_INFO, "http",
               "'%.256s': status %d; again in %" PRId64 " ms", shown, response->status,
               pause_ns / NS_PER_MS);
    }
    return wait_until(transfer, wl_clock_ns() + pause_ns, err);
}
