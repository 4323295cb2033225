/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: the one loop that moves bytes.
 *
 *   extents --feed--> reader --collect--> consumers --drain--> landed()
 *                                         copies, chunks; write and digest
 *
 * Per lane as many reads are in flight as its depth says; a slot that is read is
 * consumed (copied to the device, or held by a sink as chunks; of a kept extent
 * also written and hashed), then its pieces land and it is free again.  Straight
 * extents have nothing to be consumed.
 *
 * It opens nothing and allocates only in wl_engine_init(): reader, queue and
 * staging are handed in, so tests hand in their own and play through any order
 * of events.
 */
#ifndef WL_ENGINE_H
#define WL_ENGINE_H

#include "base/trace.h"
#include "loader/plan.h"
#include "loader/populate.h"
#include "loader/reader.h"
#include "loader/staging.h"

struct wl_engine_events {
    /* The wanted tensor is complete.  Non-zero stops the load. */
    int (*landed)(void *user, uint32_t want);
    /*
     * A sink: the piece's bytes are at `data` until wl_engine_release(slot).
     * Non-zero stops the load, and counts as released.  NULL: pieces are copied.
     */
    int (*chunk)(void *user, uint32_t piece, uint32_t slot, const uint8_t *data);
    /*
     * All of a kept extent is in the slot, and WL_ENGINE_KEEPERS more consumers are
     * counted, each of which calls wl_engine_release(slot) once, from now on: from
     * within this call, too.  NULL: no extent is kept.
     */
    void (*kept)(void *user, uint32_t slot);
    /* Once in each turn, and before a failed read is reported: negative ends the load with that
     * error.  NULL: nothing to ask. */
    int (*check)(void *user, struct wload_error *err);
    void *user;
};

#define WL_ENGINE_KEEPERS 2u /* the write and the digest */

/* What a slot carries while it is not free. */
struct wl_flight {
    uint8_t *memory;
    int64_t begin_ns; /* of what it does now; for the trace */
    uint32_t extent;
    uint32_t done_bytes;
    bool is_direct; /* the read in flight now */
};

struct wl_engine {
    /* handed in; not owned */
    struct wl_reader *reader;
    struct wl_queue *queue; /* NULL: a sink */
    struct wl_staging *staging;
    struct wl_files *files;
    struct wl_populate *populate; /* NULL: nothing to wait for */
    const struct wl_plan *plan;
    const struct wl_want *wants;
    struct wl_trace *trace; /* or NULL */
    struct wl_engine_events events;
    uint32_t want_count;
    uint32_t depth[WL_LANE_COUNT];

    /* the loop's own */
    pthread_t thread;          /* the one that runs it; it need not wake itself */
    uint64_t *left_bytes;      /* per want, still to land */
    struct wl_flight *flights; /* per slot */
    uint32_t *consuming;       /* slots being consumed, in no order */
    uint32_t *copying;         /* of these, with copies in flight: a circle, oldest first */
    uint32_t consuming_count;
    uint32_t copying_first;
    uint32_t copying_count;
    uint32_t cursor[WL_LANE_COUNT];
    uint32_t in_flight[WL_LANE_COUNT];
    uint32_t empty_cursor; /* wants before it have been looked at for being empty */
    atomic_bool is_canceled;
    atomic_bool is_notice_due;
    atomic_bool has_written; /* some tensor's memory may have been written to; any thread may ask */

    uint64_t landed_bytes;
    uint64_t direct_bytes;
    uint64_t buffered_bytes;
    uint64_t kept_bytes; /* of kept extents; the two above do not count them */
    uint64_t straight_bytes;
    int64_t wait_storage_ns;
    int64_t wait_device_ns;
};

/* The handed-in members are set and the rest is zero. */
int wl_engine_init(struct wl_engine *engine, struct wload_error *err);
void wl_engine_clear(struct wl_engine *engine);

/*
 * Turn until everything has landed (WLOAD_OK), the deadline on the monotonic
 * clock has passed (WLOAD_PENDING; INT64_MAX: never), or an error.
 */
int wl_engine_run(struct wl_engine *engine, int64_t deadline_ns, struct wload_error *err);

/* One consumer of the slot, a chunk or a keeper, is done.  Any thread. */
void wl_engine_release(struct wl_engine *engine, uint32_t slot);
/* A running wl_engine_run(), or the next, returns WLOAD_ERR_CANCELED.  Any thread. */
void wl_engine_cancel(struct wl_engine *engine);

#endif /* WL_ENGINE_H */
