/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job: everything that one load needs, made at start and kept to the end.
 *
 *   start   choose -> open files -> lay out -> plan -> device, staging, reader, engine
 *   run     who brings what is not here, the first time; the engine's loop
 *   free    the same backwards, after reads and copies in flight
 */
#ifndef WL_JOB_H
#define WL_JOB_H

#include "loader/arena.h"
#include "loader/engine.h"
#include "loader/intake.h"
#include "loader/layout.h"
#include "loader/model.h"

/* One per piece of a sink's job, so that handing out a chunk allocates nothing. */
struct wl_chunk {
    struct wload_chunk chunk; /* first: what the caller sees */
    struct wload_job *job;
    uint32_t slot;
};

struct wload_job {
    struct wload_model *model;
    struct wload_job_options options; /* defaults filled in */
    struct wload_arena *arena;        /* NULL: placed by the caller, or a sink */
    struct wl_device *device;         /* NULL: a sink */
    struct wl_files files;
    struct wl_intake intake; /* of files that are not on this machine */
    struct wl_layout layout;
    struct wl_plan plan;
    struct wl_staging staging;
    struct wl_reader *reader;
    struct wl_queue *queue;
    struct wl_populate populate;
    struct wl_engine engine;
    struct wl_chunk *chunks; /* NULL: not a sink */
    pthread_t thread;
    atomic_uint visitors; /* calls of any thread that have not come to their end */
    uint32_t reader_kind; /* as used: enum wload_reader_kind */
    uint64_t tensor_bytes;
    uint64_t resident_bytes;
    int64_t elapsed_ns;
    int status;       /* of the last run; negative: the job is over */
    bool is_mirrored; /* straight into a host arena */
    bool has_arena;   /* claimed */
    bool is_populating;
    bool is_running; /* inside wload_job_run() */
};

/* Fill in the defaults of options that were taken, and refuse what cannot be. */
int wl_job_options_fill(struct wload_job_options *options, const struct wl_log *log,
                        struct wload_error *err);

/* All that can be done before the first run; options are filled in first. */
int wl_job_prepare(struct wload_job *job, struct wload_error *err);

/* Others wait for what is brought here from now on, so it is not begun before somebody runs it. */
int wl_job_begin_intake(struct wload_job *job, struct wload_error *err);

#endif /* WL_JOB_H */
