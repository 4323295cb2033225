/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/populate.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/sys.h"

#define STEP_BYTES      (2u << 20) /* a huge page */
#define SMALL_BYTES     4096u
#define PROBE_STEPS_MIN 8u
#define PROBE_STEPS_MAX 128u

/* Writing is allowed: nothing has been read into these pages yet. */
static void fault_in(uint8_t *begin, uint64_t size_bytes)
{
    if (wl_sys->madvise(begin, size_bytes, MADV_POPULATE_WRITE) < 0 && errno == EINVAL) {
        for (uint64_t at = 0; at < size_bytes; at += SMALL_BYTES) { /* a kernel before 5.14 */
            *(volatile uint8_t *)(begin + at) = 0;
        }
    }
}

/* For memory that is not there yet.  Excludes all faults for a moment, so it is done rarely. */
static void set_size(uint8_t *begin, uint64_t size_bytes, bool is_huge)
{
    (void)wl_sys->madvise(begin, size_bytes, is_huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

/* Learn what a step cost.  True: the other size is now preferred. */
static bool learn(struct wl_pace *pace, bool is_probe, bool is_huge, int64_t cost_ns)
{
    int64_t *cost = &pace->cost_ns[is_huge];
    bool is_better = is_probe && cost_ns < pace->cost_ns[!is_huge];

    *cost = *cost == 0 || is_probe ? cost_ns : *cost * 3 / 4 + cost_ns / 4;
    if (is_probe) {
        pace->interval =
            is_better ? PROBE_STEPS_MIN : (uint32_t)wl_min(pace->interval * 2, PROBE_STEPS_MAX);
        pace->steps_left = pace->interval;
    }
    return is_better && pace->prefers_huge != is_huge;
}

static void fault_step(struct wl_populate *populate, uint8_t *begin)
{
    struct wl_pace *pace = &populate->pace;
    bool is_probe;
    bool is_huge;
    int64_t begin_ns;

    (void)pthread_mutex_lock(&pace->mutex);
    is_probe = pace->steps_left == 0;
    pace->steps_left = is_probe ? pace->interval : pace->steps_left - 1;
    is_huge = pace->prefers_huge != is_probe;
    (void)pthread_mutex_unlock(&pace->mutex);

    if (is_probe) {
        set_size(begin, STEP_BYTES, is_huge);
    }
    begin_ns = wl_clock_ns();
    fault_in(begin, STEP_BYTES);

    (void)pthread_mutex_lock(&pace->mutex);
    if (learn(pace, is_probe, is_huge, wl_clock_ns() - begin_ns)) {
        pace->prefers_huge = is_huge;
        set_size(populate->memory, populate->size_bytes, is_huge);
    }
    (void)pthread_mutex_unlock(&pace->mutex);
}

static void populate_one(struct wl_populate *populate, uint32_t index)
{
    const struct wl_extent *extent = &populate->plan->extents[index];
    uint8_t *end = extent->straight + extent->size_bytes;

    for (uint8_t *at = extent->straight; extent->straight && at < end;) {
        uint64_t into_page = (uintptr_t)at & (SMALL_BYTES - 1);
        uint64_t into_step = (uintptr_t)at & (STEP_BYTES - 1);
        uint64_t size = wl_min(STEP_BYTES - into_step, (uint64_t)(end - at));

        if (size == STEP_BYTES && !populate->is_sparse) {
            fault_step(populate, at);
        } else {
            fault_in(at - into_page, wl_round_up(into_page + size, SMALL_BYTES));
        }
        at += size;
    }
    atomic_store_explicit(&populate->ready[index].flag, 1, memory_order_release);
    populate->reader->ops->wake(populate->reader);
}

/* Turn about between the lanes, so that neither waits for all of the other. */
static void *run(void *argument)
{
    struct wl_populate *populate = argument;
    const struct wl_plan *plan = populate->plan;
    bool is_busy = true;

    while (is_busy && !atomic_load(&populate->is_stopping)) {
        is_busy = false;
        for (uint32_t lane = 0; lane < WL_LANE_COUNT; lane++) {
            uint32_t at = atomic_fetch_add(&populate->cursor[lane], 1);

            if (at < plan->order_count[lane]) {
                populate_one(populate, plan->order[lane][at]);
                is_busy = true;
            }
        }
    }
    return NULL;
}

/* Ranges in ascending order, and the steps that they lie in. */
struct tally {
    uint64_t bytes;
    uint64_t step_count;
    uintptr_t step_last;
};

static void count(struct tally *tally, const uint8_t *begin, uint64_t size_bytes)
{
    uintptr_t first = (uintptr_t)begin / STEP_BYTES;
    uintptr_t last = ((uintptr_t)begin + size_bytes - 1) / STEP_BYTES;

    tally->bytes += size_bytes;
    tally->step_count += last - first + (first != tally->step_last);
    tally->step_last = last;
}

/* Whether what is read or copied to that memory fills less than half of the steps it lies in. */
static bool is_sparse(const struct wl_plan *plan, const uint8_t *memory, uint64_t size_bytes)
{
    struct tally tally = {0};

    for (uint32_t i = 0; i < plan->extent_count; i++) {
        const struct wl_extent *extent = &plan->extents[i];

        if (extent->straight) {
            count(&tally, extent->straight, extent->size_bytes);
            continue;
        }
        for (uint32_t j = extent->copy_first; j < extent[1].copy_first; j++) {
            const struct wl_copy *copy = &plan->copies[j];

            if ((uintptr_t)copy->target - (uintptr_t)memory < size_bytes) {
                count(&tally, copy->target, copy->size_bytes);
            }
        }
    }
    return tally.bytes < tally.step_count * STEP_BYTES / 2;
}

int wl_populate_start(struct wl_populate *populate, const struct wl_plan *plan,
                      struct wl_reader *reader, uint8_t *memory, uint64_t size_bytes,
                      uint32_t thread_count, struct wload_error *err)
{
    *populate = (struct wl_populate){.plan = plan,
                                     .reader = reader,
                                     .memory = memory,
                                     .size_bytes = size_bytes,
                                     .is_sparse = is_sparse(plan, memory, size_bytes)};
    populate->pace =
        (struct wl_pace){.steps_left = 1, .interval = PROBE_STEPS_MIN, .prefers_huge = true};
    populate->ready = wl_sys_array(plan->extent_count, sizeof(populate->ready[0]));
    if (!populate->ready) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to track %u reads", plan->extent_count);
    }
    (void)pthread_mutex_init(&populate->pace.mutex, NULL);
    set_size(memory, size_bytes, !populate->is_sparse); /* an earlier job may have chosen another */
    WL_ASSERT(thread_count <= WL_POPULATE_THREADS_MAX);
    for (uint32_t i = 0; i < thread_count; i++) {
        if (wl_sys->thread_start(&populate->threads[populate->thread_count], run, populate) == 0) {
            populate->thread_count++;
        }
    }
    for (uint32_t i = 0; i < plan->extent_count && populate->thread_count == 0; i++) {
        atomic_store(&populate->ready[i].flag, 1);
    }
    return WLOAD_OK;
}

bool wl_populate_is_ready(const struct wl_populate *populate, uint32_t extent)
{
    return !populate->ready ||
           atomic_load_explicit(&populate->ready[extent].flag, memory_order_acquire) != 0;
}

void wl_populate_stop(struct wl_populate *populate)
{
    atomic_store(&populate->is_stopping, true);
    for (uint32_t i = 0; i < populate->thread_count; i++) {
        (void)pthread_join(populate->threads[i], NULL);
    }
    (void)pthread_mutex_destroy(&populate->pace.mutex);
    wl_sys->free(populate->ready);
    *populate = (struct wl_populate){0};
}
