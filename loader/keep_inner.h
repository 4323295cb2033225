/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of keep share: keep.c has the slots and files, keep_work.c the threads. */
#ifndef WL_KEEP_INNER_H
#define WL_KEEP_INNER_H

#include <pthread.h>

#include "base/digest.h"
#include "loader/keep.h"

#define WL_KEEP_WRITERS_MAX 2u
#define WL_KEEP_HASHERS_MAX 4u
#define WL_KEEP_NONE        UINT32_MAX

/* Bits of who has not yet released a slot. */
enum wl_keep_holder {
    WL_KEEP_WRITE = 1,
    WL_KEEP_DIGEST = 2
};

struct wl_keep_slot {
    const uint8_t *memory;
    uint64_t offset;  /* in the file */
    int64_t write_ns; /* when it began; for the trace */
    int64_t digest_ns;
    atomic_uint arrived; /* bytes; all else but the constants of a flight with the mutex */
    uint32_t size_bytes;
    uint32_t written;
    uint32_t hashed;
    uint32_t file;
    uint32_t after; /* the next of the same file, or WL_KEEP_NONE */
    uint32_t held;  /* wl_keep_holder bits; 0: not in use */
    bool is_settled;
    bool is_write_due; /* queued, or with a writer */
};

enum wl_keeping {
    WL_KEEPING,
    WL_KEEPING_PUBLISHING,
    WL_KEEPING_GIVEN_UP,
    WL_KEEPING_ENDED /* there is no partial file, or no more */
};

struct wl_keep_state { /* of a file */
    struct wl_partial *partial;
    struct wl_digest *digest;
    uint64_t begun; /* bytes */
    uint64_t written;
    uint64_t hashed;
    uint32_t hash_slot; /* where hashing goes on */
    uint32_t last_slot; /* the one begun last, while it is in use */
    uint32_t writers;   /* in wl_partial_write() now */
    enum wl_keeping keeping;
    bool is_open; /* has begun, and is not at its end */
    bool is_proven;
    bool is_hash_due; /* queued, or with a hasher */
};

/* What is due, in order of request; each thing is in it once at most, so there is room. */
struct wl_keep_queue {
    uint32_t *items;
    uint32_t room;
    uint32_t first;
    uint32_t count;
    pthread_cond_t condition;
};

struct wl_keep {
    struct wl_keep_request request;
    struct wl_keep_slot *slots;
    struct wl_keep_state *files;
    pthread_t threads[WL_KEEP_WRITERS_MAX + WL_KEEP_HASHERS_MAX];
    uint32_t thread_count;

    pthread_mutex_t mutex;
    pthread_cond_t ends;
    struct wl_keep_queue writes; /* slot numbers, and slot_count + the number of a file to end */
    struct wl_keep_queue hashes; /* file numbers */
    uint32_t open_count;
    bool is_stopping;
    bool is_canceled;
    bool is_off; /* nothing can be written */
    bool has_given_up;
    struct wload_error why; /* it has given up */
    atomic_int rc;          /* of the load */
    struct wload_error error;
};

/* ---- With the mutex ---- */

/* How much of the slot can be worked on: up to a border of blocks, or all. */
uint32_t wl_keep_ready(const struct wl_keep_slot *slot);
/* Queue the slot for writing, the file for hashing, if there is something to do. */
void wl_keep_push_write(struct wl_keep *keep, uint32_t slot);
void wl_keep_push_hash(struct wl_keep *keep, uint32_t file);
/* Queue the file to be published, or discarded.  Once. */
void wl_keep_push_end(struct wl_keep *keep, uint32_t file);
/* The next item, or WL_KEEP_NONE. */
uint32_t wl_keep_pop(struct wl_keep_queue *queue);

/* The file is not to be kept. */
void wl_keep_give_up(struct wl_keep *keep, uint32_t file);
/* Something of the file is done: see whether it can be published, or is at its end. */
void wl_keep_advance(struct wl_keep *keep, uint32_t file);
/* Release the slot for this holder if its part is done.  Gives the mutex up meanwhile. */
void wl_keep_let_go(struct wl_keep *keep, uint32_t slot, enum wl_keep_holder holder);

void *wl_keep_write_all(void *keep);
void *wl_keep_hash_all(void *keep);

#endif /* WL_KEEP_INNER_H */
