/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faulting fresh memory in ahead of the reads that go straight into it.
 *
 * A read into memory that is not there yet faults it in page by page inside the
 * submission, and is up to ten times slower.  Threads of this stage do it ahead,
 * in the order that each lane reads; an extent is fed only when it is ready.
 */
#ifndef WL_POPULATE_H
#define WL_POPULATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "loader/plan.h"
#include "loader/reader.h"

#define WL_POPULATE_THREADS_MAX 4u

struct wl_ready {
    atomic_uchar flag;
};

/*
 * Which size of pages is the cheaper one to fault in.  Huge pages are, where
 * memory is at hand; they are several times the dearer where a hypervisor has
 * taken free blocks of that size back.  Which it is changes from one moment to
 * the next, so we go by what the last steps have cost, and try the other size now
 * and then: less often while it loses.  Where what lands would fill less than half of
 * the huge pages under it, small ones are taken throughout, whatever they cost.
 */
struct wl_pace {
    pthread_mutex_t mutex;
    int64_t cost_ns[2];  /* of a step: small pages, huge pages; 0: not tried */
    uint32_t steps_left; /* until the other size is tried */
    uint32_t interval;
    bool prefers_huge;
};

struct wl_populate {
    const struct wl_plan *plan;
    struct wl_reader *reader; /* woken when something became ready */
    uint8_t *memory;          /* all that extents go straight into */
    uint64_t size_bytes;
    struct wl_ready *ready; /* per extent; NULL: nothing to wait for */
    struct wl_pace pace;
    bool is_sparse; /* small pages throughout */
    atomic_uint cursor[WL_LANE_COUNT];
    atomic_bool is_stopping;
    pthread_t threads[WL_POPULATE_THREADS_MAX];
    uint32_t thread_count;
};

/*
 * Begin to fault in what extents of the plan need of `memory`, which nothing has
 * been read into.  With no thread to be had everything is ready at once, and slow.
 */
int wl_populate_start(struct wl_populate *populate, const struct wl_plan *plan,
                      struct wl_reader *reader, uint8_t *memory, uint64_t size_bytes,
                      uint32_t thread_count, struct wload_error *err);
bool wl_populate_is_ready(const struct wl_populate *populate, uint32_t extent);
/* Stops early where it is not done.  The reader is still open. */
void wl_populate_stop(struct wl_populate *populate);

#endif /* WL_POPULATE_H */
