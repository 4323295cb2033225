/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The intake of a job: the files that it reads from a network, while they come.
 *
 *   hub --stream--> ring --engine--> device         landed
 *                     \----keep----> cache, proven  published
 *
 * A job whose files are all on this machine has none.
 */
#ifndef WL_INTAKE_H
#define WL_INTAKE_H

#include "loader/engine.h"
#include "loader/keep.h"
#include "loader/stream.h"

struct wl_intake {
    struct wl_snapshot *snapshot; /* the model's */
    struct wl_transfer transfer;
    struct wl_stream *streams;       /* by file of the model; file NULL: on this machine */
    struct wl_keep_file *keep_files; /* by file of the model */
    struct wl_keep *keep;            /* NULL before wl_intake_start() */
    uint32_t file_count;
    uint32_t stream_count;
    bool is_kept;
    bool has_begun;
    struct wload_error disk;    /* why the cache is off; message "": it is not */
    pthread_mutex_t mutex;      /* of the next three */
    struct wload_error refusal; /* why a stream that was to lead is not kept; message "": all are */
    int rc;                     /* of the first read that failed */
    struct wload_error error;
    bool is_open;
};

/*
 * Open a stream for each wanted file of the model that is not on this machine;
 * is_remote[i] tells which.  Without any the intake stays empty: stream_count 0.
 */
int wl_intake_open(const struct wload_model *model, const bool *is_wanted, bool *is_remote,
                   struct wl_intake *intake, struct wload_error *err);

static inline bool wl_intake_has(const struct wl_intake *intake, uint32_t file_index)
{
    return intake->stream_count > 0 && intake->streams[file_index].is_open;
}

/* Once it has begun, before the first read: whether another job or process brings the file. */
static inline bool wl_intake_follows(const struct wl_intake *intake, uint32_t file_index)
{
    return wl_intake_has(intake, file_index) &&
           intake->streams[file_index].state == WL_STREAM_FOLLOWING;
}

/* The engine's slots are known: start to prove and to keep. */
int wl_intake_start(struct wl_intake *intake, struct wl_engine *engine, uint32_t slot_count,
                    struct wl_trace *trace, struct wload_error *err);

/* Before the first read: lead each file, or follow.  Others wait for what is led from now on. */
int wl_intake_begin(struct wl_intake *intake, struct wload_error *err);

/* A reader that brings remote files, and leaves the others to `local`, which it takes. */
int wl_reader_net_open(struct wl_intake *intake, const struct wl_reader_request *request,
                       struct wl_reader *local, struct wl_reader **out, struct wload_error *err);

extern const struct wl_reader_ops wl_reader_net;

/* A read failed: the first one's reason is the load's.  Any thread. */
void wl_intake_fail(struct wl_intake *intake, int rc, const struct wload_error *why);

/* Why the load must end, or WLOAD_OK.  For the engine's `check`. */
int wl_intake_check(void *intake, struct wload_error *err);

/* Everything has landed: wait until all is proven and published, or WLOAD_PENDING, call again: the
 * deadline on the monotonic clock has passed. */
int wl_intake_finish(struct wl_intake *intake, int64_t deadline_ns, struct wload_error *err);
/* A wl_intake_finish() that has to wait returns WLOAD_ERR_CANCELED.  Any thread. */
void wl_intake_cancel(struct wl_intake *intake);

/* Before the reader is closed: reads end soon, with errors; nothing is kept any more. */
void wl_intake_stop(struct wl_intake *intake);
/* After it is.  What is not published stays for the next load. */
void wl_intake_close(struct wl_intake *intake);

/* Bytes of files that were received. */
uint64_t wl_intake_received(const struct wl_intake *intake);
/* Why what was received is not kept; "": it is, or nobody wanted that. */
const char *wl_intake_note(const struct wl_intake *intake);

#endif /* WL_INTAKE_H */
