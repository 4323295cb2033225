/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fetch: files of a snapshot on their way from a hub into a store.
 *
 *   WAITING --lock, partial file--> READING --all hashed--> PROVING --right--> DONE
 *    ^ |  ^                            ^                       | |
 *    | |  +--- removed by somebody ----|-----------------------+ |
 *    | |                               +---- wrong, once --------+
 *    | +--- brought by another process, or another item ---> DONE
 *    +----- another process has the lock: looked at again
 *
 * Two kinds of threads work on them.  Readers (fetch_read.c)
 * open the next file or take the next piece of an open one.  Provers
 * (fetch_prove.c) hash files in order behind the readers, out of the window
 * (fetch_window.h) or, what is no more there, out of the file, and publish.  The
 * caller's thread (fetch.c) reports progress.
 *
 * One mutex guards all of struct fetch and the items, held for moments.  What an
 * item has open belongs to the threads that are at work on it: `readers`, and the
 * one prover that set `is_hashed`.
 */
#ifndef WL_FETCH_H
#define WL_FETCH_H

#include <pthread.h>

#include "base/digest.h"
#include "cache/fetch_window.h"
#include "cache/snapshot.h"
#include "cache/transfer.h"

enum wl_fetch_state {
    WL_FETCH_WAITING,
    WL_FETCH_OPENING,
    WL_FETCH_READING,
    WL_FETCH_PROVING,
    WL_FETCH_DONE
};

struct wl_fetch_item {
    const struct wl_listing_file *file;
    uint64_t found_bytes; /* that were there when the fetch began */
    enum wl_fetch_state state;
    uint32_t number; /* in the snapshot */
    bool is_twin;    /* its content comes with another item, after which it is its turn */
    struct wl_fetch_item *twin; /* whose turn it is after this one */
    bool is_hashed;             /* a prover is at it */
    bool is_second;             /* it had to begin again once */
    bool is_noticed;            /* that it waits for a lock was logged */
    uint32_t readers;           /* at work on it */
    uint64_t next;              /* pieces before this are given out */
    uint64_t proven;            /* hashed so far */
    int64_t refused_ns;         /* since when it is to be tried again; 0: it is not */
    int64_t retry_ns;           /* when it is tried again */
    struct wl_digest *digest;
    struct wl_lock lock;
    struct wl_partial partial;
    struct wl_remote remote;
};

struct wl_fetch {
    struct wl_snapshot *snapshot;
    const struct wload_fetch_options *options;
    enum wl_fetch_part part;
    struct wl_transfer transfer;
    struct wl_window window;
    pthread_mutex_t mutex;
    pthread_cond_t reads;        /* there may be a piece to read or a file to open */
    pthread_cond_t proves;       /* there may be bytes to hash */
    pthread_cond_t frees;        /* there may be a block free in the window */
    pthread_cond_t ends;         /* all is done, or something has failed */
    struct wl_fetch_item *items; /* largest first */
    uint32_t count;
    uint32_t begun_count;   /* items before this have been tried at least once, but for twins */
    uint32_t refused_count; /* to be tried again: for most, another has the lock */
    uint32_t done_count;
    struct wl_fetch_item **open; /* READING or PROVING */
    uint32_t open_count;
    uint32_t opening_count;
    uint32_t reading_count; /* pieces that are being read, but for those about to end */
    uint32_t hashing_count; /* provers at work */
    uint64_t left_bytes;    /* not given out as pieces yet */
    bool is_ending;         /* nothing new is begun */
    int rc;                 /* of the first failure */
    struct wload_error error;
};

/* The threads' functions; each takes a struct wl_fetch. */
void *wl_fetch_read(void *fetch);
void *wl_fetch_prove(void *fetch);

/* The following with the mutex held. */

/* The first failure counts, and is the end of all others. */
void wl_fetch_fail(struct wl_fetch *fetch, int rc, const struct wload_error *why);
/* The item is at its end, or back at its beginning; it has nothing open. */
void wl_fetch_leave(struct wl_fetch *fetch, struct wl_fetch_item *item, enum wl_fetch_state state);
/* Wait a moment, or until somebody says that there is something to do. */
void wl_fetch_rest(struct wl_fetch *fetch, pthread_cond_t *condition);

/* Without the mutex: close what the item has open. */
void wl_fetch_close(struct wl_fetch_item *item);

#endif /* WL_FETCH_H */
