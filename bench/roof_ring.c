/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The barest ring: O_DIRECT reads of blocks in order, `depth` of them in flight, with registered
 * files, and either registered buffers that are reused or memory of the model's size.
 *
 * A slot is a read in flight.  Reused memory has one buffer per slot.
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "bench/roof.h"

#define AHEAD_STEP_BYTES (2ull << 20)
#define DEPTH_MAX        64u

struct slot {
    struct roof_block block;
    uint64_t done_bytes;
};

/* A thread that touches fresh memory from its beginning, in steps. */
struct ahead {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    char *memory;
    uint64_t size_bytes;
    uint64_t touched_bytes;
    bool is_started;
    bool is_stopped;
};

struct bare {
    struct io_uring ring;
    const struct roof_plan *plan;
    const struct roof_way *way;
    struct roof_block *blocks;
    size_t block_count;
    size_t next_block;
    size_t done_count;
    unsigned in_flight;
    char *memory;
    uint64_t memory_bytes;
    struct ahead ahead;
    bool is_registered; /* the buffers */
    unsigned free_slots[DEPTH_MAX];
    struct slot slots[DEPTH_MAX];
};

/* ---- Touching ahead ------------------------------------------------------- */

static void *touch_ahead(void *argument)
{
    struct ahead *ahead = argument;
    bool is_stopped = false;

    for (uint64_t at = 0; at < ahead->size_bytes && !is_stopped; at += AHEAD_STEP_BYTES) {
        uint64_t size_bytes = wl_min(AHEAD_STEP_BYTES, ahead->size_bytes - at);

        roof_memory_touch(ahead->memory + at, size_bytes);
        (void)pthread_mutex_lock(&ahead->lock);
        ahead->touched_bytes = at + size_bytes;
        is_stopped = ahead->is_stopped;
        (void)pthread_cond_signal(&ahead->moved);
        (void)pthread_mutex_unlock(&ahead->lock);
    }
    return NULL;
}

/* 0 or an errno. */
static int ahead_start(struct ahead *ahead, char *memory, uint64_t size_bytes)
{
    int rc;

    *ahead = (struct ahead){.memory = memory, .size_bytes = size_bytes};
    (void)pthread_mutex_init(&ahead->lock, NULL);
    (void)pthread_cond_init(&ahead->moved, NULL);
    rc = pthread_create(&ahead->thread, NULL, touch_ahead, ahead);
    ahead->is_started = rc == 0;
    return rc;
}

static void ahead_stop(struct ahead *ahead)
{
    if (!ahead->is_started) {
        return;
    }
    (void)pthread_mutex_lock(&ahead->lock);
    ahead->is_stopped = true;
    (void)pthread_mutex_unlock(&ahead->lock);
    (void)pthread_join(ahead->thread, NULL);
}

/* Whether the first `bytes` are touched; waits for it if told to. */
static bool ahead_reaches(struct ahead *ahead, uint64_t bytes, bool is_waiting)
{
    bool is_reached;

    (void)pthread_mutex_lock(&ahead->lock);
    while (is_waiting && ahead->touched_bytes < bytes) {
        (void)pthread_cond_wait(&ahead->moved, &ahead->lock);
    }
    is_reached = ahead->touched_bytes >= bytes;
    (void)pthread_mutex_unlock(&ahead->lock);
    return is_reached;
}

/* ---- The ring -------------------------------------------------------------- */

static int ring_open(struct bare *bare, struct wload_error *err)
{
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    int rc = io_uring_queue_init_params(DEPTH_MAX, &bare->ring, &params);

    if (rc == -EINVAL) {
        params = (struct io_uring_params){0};
        rc = io_uring_queue_init_params(DEPTH_MAX, &bare->ring, &params);
    }
    if (rc < 0) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "no bare ring for the roof: %s",
                          strerror(-rc));
    }
    return WLOAD_OK;
}

/* Registered where the memory lock limit allows it; unregistered reads are as fast. */
static void register_buffers(struct bare *bare)
{
    struct iovec buffers[DEPTH_MAX];

    for (unsigned i = 0; i < bare->way->depth; i++) {
        buffers[i] =
            (struct iovec){bare->memory + i * bare->way->block_bytes, bare->way->block_bytes};
    }
    bare->is_registered = io_uring_register_buffers(&bare->ring, buffers, bare->way->depth) == 0;
}

static int register_files(struct bare *bare, struct wload_error *err)
{
    uint32_t count = bare->plan->file_count;
    int *fds = calloc(count, sizeof(*fds));
    int rc;

    if (!fds) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u descriptors", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        fds[i] = bare->plan->files[i].direct_fd;
    }
    rc = io_uring_register_files(&bare->ring, fds, count);
    free(fds);
    return rc < 0 ? wl_err_sys(err, -rc, "cannot register the files for the roof") : WLOAD_OK;
}

static void submit_slot(struct bare *bare, unsigned index)
{
    struct slot *slot = &bare->slots[index];
    struct io_uring_sqe *sqe = io_uring_get_sqe(&bare->ring);
    int file = (int)slot->block.file_index;
    unsigned size = (unsigned)(slot->block.size_bytes - slot->done_bytes);
    uint64_t offset = slot->block.offset + slot->done_bytes;
    uint64_t at = bare->way->memory == ROOF_MEMORY_REUSED ? index * bare->way->block_bytes
                                                          : slot->block.target_offset;
    char *target = bare->memory + at + slot->done_bytes;

    WL_ASSERT(sqe != NULL);
    if (bare->is_registered) {
        io_uring_prep_read_fixed(sqe, file, target, size, offset, (int)index);
    } else {
        io_uring_prep_read(sqe, file, target, size, offset);
    }
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(sqe, index);
}

/* Start reads while slots are free, and memory is touched where it must be. */
static void feed(struct bare *bare)
{
    while (bare->next_block < bare->block_count && bare->in_flight < bare->way->depth) {
        const struct roof_block *block = &bare->blocks[bare->next_block];
        unsigned index;

        if (bare->way->memory == ROOF_MEMORY_HUGE_AHEAD &&
            !ahead_reaches(&bare->ahead, block->target_offset + block->size_bytes,
                           bare->in_flight == 0)) {
            return;
        }
        index = bare->free_slots[bare->way->depth - 1 - bare->in_flight];
        bare->slots[index] = (struct slot){.block = *block};
        bare->next_block++;
        bare->in_flight++;
        submit_slot(bare, index);
    }
}

/* A short read is legal: read the rest of the block again, unless the file ends there. */
static int settle(struct bare *bare, const struct io_uring_cqe *cqe, struct wload_error *err)
{
    unsigned index = (unsigned)io_uring_cqe_get_data64(cqe);
    struct slot *slot = &bare->slots[index];
    const struct roof_file *file = &bare->plan->files[slot->block.file_index];

    if (cqe->res <= 0 && cqe->res != -EINTR && cqe->res != -EAGAIN) {
        return wl_err_sys(err, cqe->res < 0 ? -cqe->res : ENODATA,
                          "the roof's ring cannot read at offset %llu",
                          (unsigned long long)slot->block.offset);
    }
    if (cqe->res > 0) {
        slot->done_bytes += (uint64_t)cqe->res;
    }
    if (slot->done_bytes < slot->block.size_bytes &&
        slot->block.offset + slot->done_bytes < file->size_bytes) {
        slot->done_bytes = wl_round_down(slot->done_bytes, bare->plan->align_bytes);
        submit_slot(bare, index);
        return WLOAD_OK;
    }
    bare->in_flight--;
    bare->done_count++;
    bare->free_slots[bare->way->depth - 1 - bare->in_flight] = index;
    return WLOAD_OK;
}

static int turn(struct bare *bare, struct wload_error *err)
{
    struct io_uring_cqe *cqes[DEPTH_MAX];
    unsigned count;
    int rc;

    while (bare->done_count < bare->block_count) {
        feed(bare);
        rc = io_uring_submit_and_wait(&bare->ring, 1);
        if (rc < 0 && rc != -EINTR) {
            return wl_err_sys(err, -rc, "the roof's ring cannot wait");
        }
        count = io_uring_peek_batch_cqe(&bare->ring, cqes, DEPTH_MAX);
        for (unsigned i = 0; i < count; i++) {
            rc = settle(bare, cqes[i], err);
            if (rc < 0) {
                return rc;
            }
        }
        io_uring_cq_advance(&bare->ring, count);
    }
    return WLOAD_OK;
}

/* Fresh memory is part of what is measured. */
static int map_fresh(struct bare *bare, struct wload_error *err)
{
    int rc;

    bare->memory = roof_memory_map(bare->memory_bytes, bare->way->memory == ROOF_MEMORY_SMALL);
    if (!bare->memory) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory of the model's size");
    }
    if (bare->way->memory != ROOF_MEMORY_HUGE_AHEAD) {
        return WLOAD_OK;
    }
    rc = ahead_start(&bare->ahead, bare->memory, bare->memory_bytes);
    return rc != 0 ? wl_err_sys(err, rc, "no thread to touch memory") : WLOAD_OK;
}

static int map_reused(struct bare *bare, struct wload_error *err)
{
    bare->memory_bytes = bare->way->depth * bare->way->block_bytes;
    bare->memory = roof_memory_map(bare->memory_bytes, false);
    if (!bare->memory) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the roof's buffers");
    }
    roof_memory_touch(bare->memory, bare->memory_bytes);
    register_buffers(bare);
    return WLOAD_OK;
}

/* All that is ready before the clock starts, but for the ring. */
static int prepare(struct bare *bare, uint64_t bytes_max, struct wload_error *err)
{
    const struct roof_block *last;
    int rc = roof_plan_cut(bare->plan, bare->way->block_bytes, bytes_max, &bare->blocks,
                           &bare->block_count, err);

    if (rc < 0) {
        return rc;
    }
    for (unsigned i = 0; i < bare->way->depth; i++) {
        bare->free_slots[i] = i;
    }
    if (bare->way->memory == ROOF_MEMORY_REUSED) {
        rc = map_reused(bare, err);
    } else if (bare->block_count > 0) {
        last = &bare->blocks[bare->block_count - 1];
        bare->memory_bytes = last->target_offset + last->size_bytes;
    }
    return rc < 0 ? rc : register_files(bare, err);
}

static int read_timed(struct bare *bare, struct roof_figure *out, struct wload_error *err)
{
    int64_t begin_ns = wl_clock_ns();
    int64_t begin_cpu_ns = wl_clock_cpu_ns();
    int rc = WLOAD_OK;

    if (bare->way->memory != ROOF_MEMORY_REUSED) {
        rc = map_fresh(bare, err);
    }
    if (rc == WLOAD_OK) {
        rc = turn(bare, err);
    }
    if (rc == WLOAD_OK) {
        out->elapsed_ns = wl_clock_ns() - begin_ns;
        out->cpu_ns = wl_clock_cpu_ns() - begin_cpu_ns;
    }
    ahead_stop(&bare->ahead);
    return rc;
}

int roof_ring_read(const struct roof_plan *plan, const struct roof_way *way, uint64_t bytes_max,
                   struct roof_figure *out, struct wload_error *err)
{
    struct bare bare = {.plan = plan, .way = way};
    int rc;

    WL_ASSERT(way->is_ring && way->depth <= DEPTH_MAX);
    rc = ring_open(&bare, err);
    if (rc < 0) {
        return rc;
    }
    rc = prepare(&bare, bytes_max, err);
    if (rc == WLOAD_OK && bare.block_count > 0) {
        rc = read_timed(&bare, out, err);
    }
    io_uring_queue_exit(&bare.ring);
    roof_memory_unmap(bare.memory, bare.memory_bytes);
    free(bare.blocks);
    return rc;
}
