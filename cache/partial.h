/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file on its way into a cache: bytes in any order, a map of those that have
 * come, and a new name once it is whole and proven.
 *
 *   open ---> write, mark ... ---> publish      its final name exists, and is whole
 *     ^            |        \----> discard      nothing is left
 *     |            | kill -9
 *     +-- <hash>.<8 hex>.incomplete             what was marked is there for the next
 *
 * The map lies behind the file's own bytes, and is written as they are, so that the
 * kernel keeps it when the process dies: one bit for each block, set after the
 * block was written.
 * After a loss of power it may claim more than the disk has; the hash, for which
 * the next process reads what was there, tells.  The name is the same for every
 * process, so that the next one finds it; flock(2) on the file itself keeps them
 * apart, and one that does not get that lock, or not one that is known to keep all
 * others away, takes a name of its own, which nobody resumes.
 *
 * Threads: wl_partial_write() from any, each for ranges of its own; the readers of
 * the map from any.
 */
#ifndef WL_PARTIAL_H
#define WL_PARTIAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hub.h"
#include "base/log.h"

#define WL_PARTIAL_BLOCK_BYTES (256u << 10)

/* Which blocks are there, as the file says it, too. */
struct wl_partial_map {
    pthread_mutex_t changes; /* one at a time: no older byte is written over a newer one */
    atomic_uchar bits[];
};

/* For partial_open.c. */
void wl_partial_map_free(struct wl_partial_map *map);

struct wl_partial {
    int fd;
    char *path;
    uint64_t size_bytes; /* of the file as it will be */
    uint64_t block_count;
    uint64_t map_offset;        /* in the file, behind a head */
    struct wl_partial_map *map; /* NULL: no bytes, no map */
    bool is_private; /* a name of its own: discarded on failure, not resumed, its map not written */
    bool is_direct;  /* direct_fd means something */
    bool is_strict;  /* WLOAD_IO_DIRECT was asked for */
    atomic_int direct_fd;     /* opened by the first write past the page cache; -1: not yet */
    atomic_uint direct_align; /* of these writes; 0: all go through the page cache */
};

struct wl_partial_place {
    const char *folder; /* where it lies and its final name will; made where missing */
    const char *stem;   /* its name up to ".<8 hex>.incomplete"; alone: of the whole file */
    const char *hash;   /* of the content; "" unknown: always private */
    uint64_t size_bytes;
};

/*
 * Open or make the partial file and claim its space on the disk.  What an earlier
 * process marked stays marked unless `is_fresh`.  WLOAD_ERR_NOSPACE: removed again.
 */
int wl_partial_open(const struct wl_log *log, const struct wl_partial_place *place, bool is_fresh,
                    struct wl_partial *out, struct wload_error *err);

/*
 * Write past the page cache, before the first write.  With WLOAD_IO_AUTO where the
 * file system has that way, at the alignment that it asks for, and in whole pages:
 * the rest, as the end of the file, goes through the page cache.  With
 * WLOAD_IO_DIRECT it is an error, WLOAD_ERR_UNSUPPORTED, if the file system has not.
 */
int wl_partial_set_io(struct wl_partial *partial, const struct wl_log *log,
                      enum wload_io_policy policy, struct wload_error *err);

/* Write at `offset` and mark the blocks that this completes: `begun` is where the run of bytes
 * that are written one after the other began. */
int wl_partial_write(struct wl_partial *partial, uint64_t begun, uint64_t offset, const void *data,
                     uint64_t size_bytes, struct wload_error *err);

/* The same through the page cache, which takes more than the disk does, for a while. */
int wl_partial_write_cached(struct wl_partial *partial, uint64_t begun, uint64_t offset,
                            const void *data, uint64_t size_bytes, struct wload_error *err);

/* Read what is there, past the page cache where that is how it is written. */
int wl_partial_read(struct wl_partial *partial, uint64_t offset, void *memory, uint64_t size_bytes,
                    struct wload_error *err);

/* The end of what is there from `offset` on without a gap. */
uint64_t wl_partial_ready(const struct wl_partial *partial, uint64_t offset);

/* The next gap at or after `offset`: *begin and *end, at block borders or the file's end.
 * False: there is none. */
bool wl_partial_gap(const struct wl_partial *partial, uint64_t offset, uint64_t *begin,
                    uint64_t *end);

/* Bytes that are there. */
uint64_t wl_partial_present(const struct wl_partial *partial);

/* Of a partial file that is not open, how many bytes it says it has; 0: none, or no such file.
 * All of them, if the whole file is there. */
uint64_t wl_partial_peek(const struct wl_partial_place *place);

/* The file has come by another way: remove what an earlier process left of it, if none has it. */
void wl_partial_sweep(const struct wl_partial_place *place);

/* Forget all that is there, in the file, too: the content was not what it should be. */
int wl_partial_restart(struct wl_partial *partial, struct wload_error *err);

/*
 * The whole file is there and its hash is right: cut the map off, flush if
 * `flushes`, and rename it to `path`, replacing what is there.  WLOAD_ERR_NOT_FOUND: somebody
 * removed it meanwhile; start again.  Closed in any case but an error's, where
 * wl_partial_discard() or wl_partial_close() follow.
 */
int wl_partial_publish(struct wl_partial *partial, const char *path, bool flushes,
                       struct wload_error *err);

/* Leave it for the next process; a private one, or one without bytes, is removed. */
void wl_partial_close(struct wl_partial *partial);
/* Remove it. */
void wl_partial_discard(struct wl_partial *partial);

#endif /* WL_PARTIAL_H */
