/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream: one file of a model that a job reads while it comes.
 *
 *   CHECKING   we have its lock, and a file is at its path: the first read hashes that
 *   LEADING    we have its lock: from the hub, or what its partial file has already
 *   FOLLOWING  another has: from that one's partial file, as it grows
 *   WHOLE      it has been published by now: from the file
 *   PASSING    nothing is kept, or wl_stream_begin() is still to come: from the hub
 *
 *   CHECKING  --it is the file-----------------------> WHOLE
 *   CHECKING  --it is another------------------------> LEADING
 *   FOLLOWING --the lock is free, the file is there--> WHOLE
 *   FOLLOWING --the same, but it may be another------> CHECKING
 *   FOLLOWING --the lock is free, no file------------> LEADING: the other one has died
 *   FOLLOWING --the same, and the disk takes nothing-> PASSING
 *   CHECKING  --the disk takes nothing---------------> PASSING
 *   LEADING   --the disk is full---------------------> PASSING
 *
 * So no two processes ask for the same bytes, and no file is written twice.  Who
 * follows waits as long as the other one gets on, and from then on as long as
 * WLOAD_LOCK_TIMEOUT allows.
 *
 * Threads: wl_stream_read() from any, each for other bytes of the file.
 */
#ifndef WL_STREAM_H
#define WL_STREAM_H

#include <pthread.h>

#include "cache/partial_view.h"
#include "cache/snapshot.h"
#include "cache/transfer.h"

enum wl_stream_state {
    WL_STREAM_CHECKING,
    WL_STREAM_LEADING,
    WL_STREAM_FOLLOWING,
    WL_STREAM_WHOLE,
    WL_STREAM_PASSING
};

struct wl_stream {
    struct wl_snapshot *snapshot; /* borrowed, as are the next three */
    struct wl_transfer *transfer;
    const struct wl_listing_file *file;
    const char *path;               /* that it has when it is published */
    enum wload_io_policy io_policy; /* of what is written */
    /* It has followed, or checked, and leads from now on: what comes has to be written.  With the
     * mutex. */
    void (*on_lead)(void *user, struct wl_stream *stream);
    /* It would lead, and the disk takes nothing: so it is PASSING.  With the mutex. */
    void (*on_refusal)(void *user, const struct wload_error *why);
    void *user;
    char *url;
    struct wl_remote remote;
    pthread_mutex_t mutex; /* of what follows */
    enum wl_stream_state state;
    struct wl_lock lock;         /* LEADING */
    struct wl_partial partial;   /* LEADING */
    struct wl_partial_view view; /* FOLLOWING: fd -1 until there is something to watch */
    int whole_fd;                /* WHOLE */
    int64_t retry_ns;            /* FOLLOWING: when the lock is tried again, */
    int64_t progress_ns;         /* when the leader was last seen to have got on, */
    uint64_t present;            /* how far, as wl_partial_view_present() tells, */
    bool is_noticed;             /* and that it does not get on was logged */
    bool is_open;
    bool is_discarded; /* the partial file goes when the stream is closed */
};

/* snapshot, transfer, file and path are set, the next three before the first read; the rest is
 * zero. */
int wl_stream_open(struct wl_stream *stream, struct wload_error *err);

/* Before the first read, if the file is to be kept: from now on it is CHECKING, LEADING, FOLLOWING
 * or WHOLE, and in the first two others wait for it.  Nothing is hashed here, so that this takes
 * no time.  An error leaves it PASSING. */
int wl_stream_begin(struct wl_stream *stream, struct wload_error *err);

/*
 * Fill `memory` with bytes [offset, offset + size_bytes) of the file, in order;
 * `arrived` is told how many of them are there.  Blocks until all are.
 */
int wl_stream_read(struct wl_stream *stream, struct wl_http *http, uint64_t offset, void *memory,
                   uint32_t size_bytes, void (*arrived)(void *user, uint32_t bytes), void *user,
                   struct wload_error *err);

/* All is there and proven: give the file its name, if it is ours to do. */
int wl_stream_publish(struct wl_stream *stream, struct wload_error *err);

/* All was read and proven: where another process brought it, and died before it could give the file
 * its name, that is done now. */
void wl_stream_finish(struct wl_stream *stream);

/* What has come is not to be kept: no partial file is left once the stream is closed.  Whoever
 * follows, as a stream of the same job does whose file has the same content, need not wait for
 * that. */
void wl_stream_discard(struct wl_stream *stream);

/* The partial file stays for the next load. */
void wl_stream_close(struct wl_stream *stream);

#endif /* WL_STREAM_H */
