/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers: texts and ranges of files from a server, brought to an end if that
 * can be done at all.  Retry, back-off, resume, redirects, refreshed addresses
 * and checks of what the server claims to send exist here and nowhere else.
 *
 * A call blocks until it is done; whoever wants several at once makes them from
 * several threads, each with a line of its own (http.h), over one wl_transfer.
 * What one learns holds for all: a server that says 429 is left in peace by every
 * thread, and an address that a redirect led to is used by all until it expires.
 *
 *   url --redirects--> location --range--> bytes          one remote, many ranges
 *    ^                    |
 *    +----- expired ------+
 *
 * Between the end of one answer and the first byte of the next a connection would
 * have nothing to do.  So whoever reads pieces of a file asks for the next one, over
 * another connection, when the answer before it is about to end.
 *
 * The token goes to the endpoint's own origin alone.  Nothing from https goes on
 * over http.  No token and no query of another origin's address is ever logged.
 */
#ifndef WL_TRANSFER_H
#define WL_TRANSFER_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/http.h"

#define WL_TRANSFER_TRIES     6u /* of one request in a row that brings no byte */
#define WL_TRANSFER_REACHES   2u /* of these, while no server was ever reached */
#define WL_TRANSFER_HOPS_MAX  10u
#define WL_TRANSFER_PAUSE_MAX 330u  /* seconds that a server may ask for */
#define WL_TRANSFER_RETRY_MS  1000u /* the first wait; WLOAD_RETRY_MS replaces it */

#define WL_TRANSFER_TOPICS      8u
#define WL_TRANSFER_TOPIC_BYTES 64

/* Shared by threads. */
struct wl_transfer {
    const struct wl_config *config; /* borrowed */
    struct wl_log log;
    uint32_t connection_count; /* pieces of files that are asked for at once */
    pthread_mutex_t mutex;
    pthread_cond_t wakes;                                     /* on CLOCK_MONOTONIC */
    int64_t paused_until_ns;                                  /* no request starts before */
    char topics[WL_TRANSFER_TOPICS][WL_TRANSFER_TOPIC_BYTES]; /* that were warned about */
    uint32_t topic_count;
    int64_t retry_ms; /* the first wait; the later ones are 2, 4, 8, 8 times as long */
    atomic_bool is_canceled;
    atomic_bool is_reached;              /* some server answered something */
    atomic_uint_fast64_t received_bytes; /* of bodies, thrown away or not */
};

#define WL_TRANSFER_CONNECTIONS     16u /* where the user says nothing */
#define WL_TRANSFER_CONNECTIONS_MAX 256u

/* `connection_count` 0: WL_TRANSFER_CONNECTIONS, or as many as a small control group can bear.
 * Fails with the configuration's token_error. */
int wl_transfer_init(struct wl_transfer *transfer, const struct wl_config *config,
                     const struct wl_log *log, uint32_t connection_count, struct wload_error *err);

void wl_transfer_clear(struct wl_transfer *transfer);

/* Any thread: calls in progress return WLOAD_ERR_CANCELED soon, later ones at once. */
void wl_transfer_cancel(struct wl_transfer *transfer);

/* ---- Texts: what an API answers ---- */

struct wl_transfer_text {
    char *text; /* NUL-terminated; free with wl_sys->free() */
    size_t size_bytes;
    char *next; /* of Link rel="next", or NULL; on the endpoint's origin, else the call fails */
};

/* GET `url` on the endpoint's origin; at most max_bytes.  Its redirects stay on that origin.
 * A status >= 400 becomes an error as wl_transfer_refusal() says. */
int wl_transfer_text(struct wl_transfer *transfer, struct wl_http *http, const char *url,
                     size_t max_bytes, struct wl_transfer_text *out, struct wload_error *err);

/* ---- Ranges: what a file holds ---- */

/* A file on a server.  All of `state` is the transfer's, under its mutex. */
struct wl_remote {
    const char *url;  /* on the endpoint's origin; borrowed */
    const char *name; /* for errors; borrowed */
    uint64_t size_bytes;
    const char *hash; /* what X-Linked-Etag or a hub's own ETag must name; borrowed; "" unknown */
    struct {
        char *location;      /* where redirects led; NULL: not asked yet */
        char *etag;          /* strong, of that location's answers; NULL: none */
        bool refuses_ranges; /* it answered 200 to a range */
    } state;
};

void wl_remote_clear(struct wl_remote *remote);
/* Forget address and ETag, as if the file had never been asked for. */
void wl_remote_reset(struct wl_transfer *transfer, struct wl_remote *remote);
/* Whether ranges of it are had only by reading from its start: give it one thread. */
bool wl_remote_refuses_ranges(struct wl_transfer *transfer, struct wl_remote *remote);

/*
 * Take bytes at `offset` of the file; they come in order from `begin` on, each
 * once.  Not 0: stop; a negative value is returned as it is, a positive one
 * becomes WLOAD_ERR_CANCELED.
 */
typedef int (*wl_transfer_sink_fn)(void *user, uint64_t offset, const void *data,
                                   size_t size_bytes);

/*
 * Hand bytes [begin, end) of the file to `sink`.  A break in the middle is resumed
 * where it was.  Errors: the server's refusal; WLOAD_ERR_CHECKSUM when the file has
 * another ETag, size or range than it should have; WLOAD_ERR_NETWORK or
 * WLOAD_ERR_TIMEOUT after WL_TRANSFER_TRIES without a byte; the sink's.
 */
int wl_transfer_range(struct wl_transfer *transfer, struct wl_http *http, struct wl_remote *remote,
                      uint64_t begin, uint64_t end, wl_transfer_sink_fn sink, void *user,
                      struct wload_error *err);

/* ---- Pieces, side by side ---- */

/* Threads that are to ask for pieces: some ask for the next one while others end theirs.  Who wants
 * one connection gets one. */
static inline uint32_t wl_transfer_threads(const struct wl_transfer *transfer)
{
    return transfer->connection_count + transfer->connection_count / 2;
}

#define WL_TRANSFER_THREADS_MAX (WL_TRANSFER_CONNECTIONS_MAX + WL_TRANSFER_CONNECTIONS_MAX / 2)

/* How a piece comes. */
struct wl_transfer_pace {
    int64_t asked_ns;
    int64_t first_ns; /* when its first bytes came */
    uint64_t first_bytes;
};

void wl_transfer_pace_begin(struct wl_transfer_pace *pace);

/* Told of each part, `got_bytes` in all: whether the rest is about to come in the time that the
 * first part took to come. */
bool wl_transfer_is_ending(struct wl_transfer_pace *pace, int64_t now_ns, uint64_t got_bytes,
                           uint64_t left_bytes);

/* ---- Refusals ---- */

/* The error of a status >= 400: which code, and a text that says what to do about it. */
int wl_transfer_refusal(const struct wl_transfer *transfer, const char *url,
                        const struct wl_http_response *response, struct wload_error *err);

#endif /* WL_TRANSFER_H */
