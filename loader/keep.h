/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keep: what comes from a network is proven and kept, out of the ring's slots,
 * while the device copy goes on beside.
 *
 *   begin(slot) ---> arrived(slot, bytes) ... ---> settle(slot)
 *                      |-- write:  into the partial file, as it arrives --> release(slot)
 *                      |-- digest: in file order, as it arrives ----------> release(slot)
 *
 * A slot has two consumers here, and each releases it once, after settle().  The
 * digest of a file waits for the bytes before: a slot that begins later in a file
 * is released after those before it.  When the last byte of a file is hashed, and
 * written, the hash is compared and the file published, or the load fails.
 *
 *   KEEPING --whole and proven--> PUBLISHING --done------> ENDED
 *      |                               | disk fails           ^
 *      +-- disk fails, hash is wrong --+--> GIVEN_UP --discarded
 *
 * A disk that cannot take the bytes ends the keeping, not the load: the partial
 * files of all that is not yet published are removed, their writes count as done,
 * one warning is logged.
 *
 * Threads: a few of its own, which call nothing of the user's but the log; begin()
 * and settle() on the job's, arrived() on any, of one slot on one at a time.
 */
#ifndef WL_KEEP_H
#define WL_KEEP_H

#include "base/trace.h"
#include "cache/partial.h"

struct wl_keep;

struct wl_keep_file {
    const char *name;   /* for errors */
    const char *hash;   /* what the content must have; never "" */
    const char *tensor; /* one that is in it, for errors */
    uint64_t size_bytes;
    /* The file is whole and proven: give it its name.  On a thread of keep's.  A failure of it ends
     * the keeping of this file, not the load. */
    int (*publish)(void *user, struct wload_error *err);
    /* The partial file is not to be: remove it.  On a thread of keep's or within wl_keep_stop(), at
     * most once; readers may be at it. */
    void (*discard)(void *user);
    void *user;
};

struct wl_keep_request {
    struct wl_keep_file *files; /* by number; borrowed; size_bytes 0: not used */
    uint32_t file_count;
    uint32_t slot_count;
    void (*release)(void *user, uint32_t slot); /* a thread of keep's, or within settle() */
    void *user;
    const struct wl_log *log;
    /* Or NULL: "write" and "digest" of each slot, on rows after those of the slots themselves, and
     * "publish" of each file. */
    struct wl_trace *trace;
};

/* `request->files` is used until close. */
int wl_keep_open(const struct wl_keep_request *request, struct wl_keep **out,
                 struct wload_error *err);

/* The slot will take bytes [offset, offset + size_bytes) of the file, at `memory`.  Slots of one
 * file begin in the order of their offsets, without gaps from 0 to the end, each at a border of
 * WL_PARTIAL_BLOCK_BYTES: then a block is marked by one slot alone, which has all of it. */
void wl_keep_begin(struct wl_keep *keep, uint32_t slot, uint32_t file, uint64_t offset,
                   const void *memory, uint32_t size_bytes);
/*
 * The file has a partial file from now on: what is in slots that are not settled,
 * and what comes, is written.  The rest is there already, or the file will not be
 * published.  Without this a file is proven, and not kept.  Any thread, once,
 * before all of the file has arrived.
 */
void wl_keep_attach(struct wl_keep *keep, uint32_t file, struct wl_partial *partial);
/* The first `bytes` of the slot are there.  Never fewer than said before. */
void wl_keep_arrived(struct wl_keep *keep, uint32_t slot, uint32_t bytes);
/* The slot's consumers have been counted: it may be released from now on. */
void wl_keep_settle(struct wl_keep *keep, uint32_t slot);

/* WLOAD_OK, or why the load must end: a file whose hash is wrong. */
int wl_keep_check(struct wl_keep *keep, struct wload_error *err);

/*
 * All slots have arrived: wait until each file is proven, and published or given
 * up.  Returns what wl_keep_check() would then.  WLOAD_PENDING: the deadline on the
 * monotonic clock has passed, and it goes on; call again.
 */
int wl_keep_finish(struct wl_keep *keep, int64_t deadline_ns, struct wload_error *err);
/* A wl_keep_finish() that has to wait, now or later, returns WLOAD_ERR_CANCELED.  Any thread. */
void wl_keep_cancel(struct wl_keep *keep);

/* Whether the disk ended the keeping of some file; `why` (may be NULL) is the first reason. */
bool wl_keep_gave_up(struct wl_keep *keep, struct wload_error *why);

/*
 * Stops at once: what is written stays in the partial files, and those that are
 * to be removed are.  Nothing is released, published or discarded any more when
 * this returns; readers may still say what arrived, until close.
 */
void wl_keep_stop(struct wl_keep *keep);

/* Stops, if it has not. */
void wl_keep_close(struct wl_keep *keep);

#endif /* WL_KEEP_H */
