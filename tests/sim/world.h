/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world that engine_sim.c runs the engine in: files, a reader, a device, a
 * sink and keepers, that do things when a seeded generator says so.
 */
#ifndef WORLD_H
#define WORLD_H

#include <errno.h>

#include "base/base.h"
#include "loader/engine.h"
#include "test.h"

#define FILES        3u
#define FILE_BYTES   (300u << 10)
#define WANTS_MAX    60u
#define SLOTS_MAX    6u
#define COPIES_MAX   65536u
#define HELD_MAX     65536u
#define DEVICE_BYTES (FILES * FILE_BYTES + WANTS_MAX * 64u)

enum plant {
    PLANT_NONE,
    PLANT_EARLY_MARK,   /* a device that says done before its copies are */
    PLANT_LOST_NOTICE,  /* a device that forgets to wake the loop */
    PLANT_EARLY_CHUNK,  /* a sink's chunk that the library takes back too early */
    PLANT_SHORT_COUNT,  /* a reader that claims more bytes than it wrote */
    PLANT_EARLY_DIGEST, /* a digest that is counted as done before it is */
    PLANT_EARLY_KEEPER, /* a keeper that is done with a slot before it is counted */
    PLANT_LOST_KEEPER,  /* a keeper that forgets to wake the loop */
    PLANT_END
};

static enum plant plant;
static uint64_t state;

static uint32_t roll(uint32_t sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % sides;
}

/* ---- The world: files, tensors, memory ----------------------------------- */

struct held {
    uint32_t piece;
    uint32_t slot;
    const uint8_t *data;
};

/* A write or a digest of a slot, still to be done. */
struct keeper {
    const uint8_t *data;
    uint64_t offset;
    uint32_t size_bytes;
    uint32_t file;
    uint32_t slot;
    bool is_digest;
    bool is_released; /* too early */
};

struct promise {
    uint8_t *target;
    const uint8_t *source;
    uint64_t size_bytes;
};

struct world {
    struct wl_engine engine;
    struct wl_staging staging;
    struct wl_plan plan;
    struct wl_files files;
    struct wl_populate populate;
    struct wload_tensor tensors[WANTS_MAX];
    struct wl_want wants[WANTS_MAX];
    uint32_t landed_times[WANTS_MAX];
    uint32_t want_count;
    struct wl_job_file job_files[FILES];
    struct wl_plan_file plan_files[FILES];
    bool refuses_direct[FILES];
    uint64_t end[FILES]; /* where the file ends while it is read */

    struct wl_reader reader;
    struct wl_read queue[SLOTS_MAX];
    uint32_t queue_count;
    uint32_t fault_in; /* reads until one fails with EIO; 0: never */
    uint32_t stop_in;  /* landings or chunks until the callback stops; 0: never */
    bool is_awake;

    struct wl_device device;
    struct wl_queue copies;
    uint64_t promise_count;
    uint64_t kept_count;
    uint64_t marks[SLOTS_MAX]; /* promises before each mark */
    void (*notice)(void *user);
    void *notice_user;
    uint64_t notice_at;

    struct held held[HELD_MAX];
    uint32_t held_count;

    struct keeper keepers[2 * SLOTS_MAX];
    uint32_t keeper_count;
    uint64_t written_bytes[FILES];
    uint64_t digested_bytes[FILES]; /* digests are made in the order of the file */
    uint32_t check_in;              /* turns until the keepers refuse the load; 0: never */
    bool is_checked;                /* in this turn */
    bool knows_why;                 /* the reader can say more of a failed read */
    uint32_t populated[WL_LANE_COUNT];
};

static struct world world;
static struct promise promises[COPIES_MAX];
static uint8_t file_data[FILES][FILE_BYTES + 4096];
static uint8_t mirror_data[FILES][FILE_BYTES + 4096];
static uint8_t device_data[DEVICE_BYTES];

static const uint8_t *truth(uint32_t want)
{
    return file_data[world.tensors[want].file_index] + world.tensors[want].file_offset;
}

/* ---- Parts that act when the generator says so ---------------------------- */

static void keep_promises(uint64_t count)
{
    while (world.kept_count < count) {
        const struct promise *next = &promises[world.kept_count++];

        memcpy(next->target, next->source, next->size_bytes);
    }
}

static void give_notice(void)
{
    if (world.notice && world.kept_count >= world.notice_at) {
        void (*notice)(void *) = world.notice;

        world.notice = NULL;
        if (plant != PLANT_LOST_NOTICE) {
            notice(world.notice_user);
        }
    }
}

static void release_one(void)
{
    uint32_t pick = roll(world.held_count);
    struct held held = world.held[pick];
    const struct wl_piece *piece = &world.plan.pieces[held.piece];

    CHECK(memcmp(held.data, truth(piece->want) + piece->tensor_offset, piece->size_bytes) == 0);
    world.held[pick] = world.held[--world.held_count];
    if (plant != PLANT_EARLY_CHUNK) {
        if (wl_staging_release(&world.staging, held.slot)) {
            world.is_awake = true;
        }
    }
}

static bool is_due(const struct keeper *keeper)
{
    return !keeper->is_digest || world.digested_bytes[keeper->file] == keeper->offset;
}

static void keep_one(uint32_t pick)
{
    struct keeper keeper = world.keepers[pick];

    if (!is_due(&keeper)) {
        return;
    }
    CHECK(memcmp(keeper.data, file_data[keeper.file] + keeper.offset, keeper.size_bytes) == 0);
    *(keeper.is_digest ? &world.digested_bytes[keeper.file] : &world.written_bytes[keeper.file]) +=
        keeper.size_bytes;
    world.keepers[pick] = world.keepers[--world.keeper_count];
    if (!keeper.is_released && wl_staging_release(&world.staging, keeper.slot) &&
        plant != PLANT_LOST_KEEPER) {
        world.is_awake = true;
    }
}

static bool is_keeping(void)
{
    for (uint32_t i = 0; i < world.keeper_count; i++) {
        if (is_due(&world.keepers[i])) {
            return true;
        }
    }
    return false;
}

static void populate_one(enum wl_lane lane)
{
    if (world.engine.populate && world.populated[lane] < world.plan.order_count[lane]) {
        atomic_store(&world.populate.ready[world.plan.order[lane][world.populated[lane]++]].flag,
                     1);
        world.is_awake = true;
    }
}

/* Time passes: some of what may happen happens. */
static void pass_time(void)
{
    if (world.kept_count < world.promise_count && roll(2) == 0) {
        keep_promises(world.kept_count + 1 +
                      roll((uint32_t)(world.promise_count - world.kept_count)));
    }
    give_notice();
    while (world.held_count > 0 && roll(3) != 0) {
        release_one();
    }
    while (world.keeper_count > 0 && roll(3) != 0) {
        keep_one(roll(world.keeper_count));
    }
    populate_one((enum wl_lane)roll(WL_LANE_COUNT));
}

/* ---- The reader ------------------------------------------------------------ */

static void sim_submit(struct wl_reader *reader, const struct wl_read *read)
{
    const struct wl_job_file *file = &world.job_files[read->file_index];

    (void)reader;
    CHECK(world.queue_count < world.staging.slot_count);
    for (uint32_t i = 0; i < world.queue_count; i++) {
        CHECK(world.queue[i].slot != read->slot); /* one read a slot */
    }
    for (uint32_t i = 0; i < world.keeper_count; i++) {
        CHECK(world.keepers[i].slot != read->slot); /* still to be written, or hashed */
    }
    if (read->is_direct) {
        CHECK_EQ(read->offset % file->align_bytes, 0);
        CHECK_EQ(read->size_bytes % file->align_bytes, 0);
    }
    memset(read->target, 0xee, wl_min(read->size_bytes, 64));
    world.queue[world.queue_count++] = *read;
}

static int32_t carry_out(const struct wl_read *read)
{
    uint64_t end = world.end[read->file_index];
    uint64_t size = end > read->offset ? wl_min(end - read->offset, read->size_bytes) : 0;

    if (world.fault_in != 0 && --world.fault_in == 0) {
        world.knows_why = world.plan_files[read->file_index].is_kept && roll(2) == 0;
        return -EIO;
    }
    if (read->is_direct && world.refuses_direct[read->file_index]) {
        return roll(2) ? -EINVAL : -EOPNOTSUPP;
    }
    if (roll(12) == 0) {
        return roll(2) ? -EINTR : -EAGAIN;
    }
    if (size > 1 && roll(4) == 0) {
        size = 1 + roll((uint32_t)size - 1);
    }
    memcpy(read->target, file_data[read->file_index] + read->offset, size);
    if (plant == PLANT_SHORT_COUNT && size > 1 && roll(8) == 0) {
        memset((uint8_t *)read->target + size / 2, 0xee, size - size / 2);
    }
    return (int32_t)size;
}

static bool will_wake(void)
{
    bool is_populating = false;

    for (uint32_t lane = 0; lane < WL_LANE_COUNT && world.engine.populate; lane++) {
        is_populating |= world.populated[lane] < world.plan.order_count[lane];
    }
    return world.is_awake || world.queue_count > 0 || world.notice || world.held_count > 0 ||
           is_keeping() || is_populating;
}

/* Results of some of the reads. */
static uint32_t end_reads(struct wl_read_done *done, uint32_t max)
{
    uint32_t count = 0;

    while (world.queue_count > 0 && count < max && roll(3) != 0) {
        uint32_t pick = roll(world.queue_count);
        struct wl_read read = world.queue[pick];

        world.queue[pick] = world.queue[--world.queue_count];
        done[count].slot = read.slot;
        done[count++].result = carry_out(&read);
        if (plant == PLANT_EARLY_KEEPER && world.plan_files[read.file_index].is_kept) {
            (void)wl_staging_release(&world.staging, read.slot);
        }
    }
    return count;
}

/* Sleeps until a read is done or somebody wakes it. */
static int sim_reap(struct wl_reader *reader, struct wl_read_done *done, uint32_t max,
                    int64_t timeout_ns)
{
    uint32_t count;

    (void)reader;
    CHECK(world.is_checked); /* once a turn */
    world.is_checked = false;
    do {
        CHECK(timeout_ns == 0 || will_wake()); /* else the loop would sleep for ever */
        pass_time();
        count = end_reads(done, max);
    } while (timeout_ns < 0 && count == 0 && !world.is_awake);
    world.is_awake = false;
    return (int)count;
}

static void sim_wake(struct wl_reader *reader)
{
    (void)reader;
    world.is_awake = true;
}

static void sim_buffer_add(struct wl_reader *reader, uint32_t slot, void *memory, size_t size)
{
    (void)reader;
    (void)memory;
    CHECK(slot < world.staging.slot_count && size == world.staging.slot_bytes);
}

static void sim_flush(struct wl_reader *reader)
{
    (void)reader;
}

static const struct wl_reader_ops sim_reader_ops = {
    .name = "sim",
    .submit = sim_submit,
    .flush = sim_flush,
    .reap = sim_reap,
    .wake = sim_wake,
    .buffer_add = sim_buffer_add,
};

/* ---- The device: promises kept in order ------------------------------------ */

static int sim_copy_start(struct wl_queue *queue, void *target, const void *source,
                          uint64_t size_bytes, struct wload_error *err)
{
    (void)queue;
    (void)err;
    CHECK(world.promise_count < COPIES_MAX);
    promises[world.promise_count++] =
        (struct promise){.target = target, .source = source, .size_bytes = size_bytes};
    return WLOAD_OK;
}

static int sim_mark_put(struct wl_queue *queue, uint32_t mark, struct wload_error *err)
{
    (void)queue;
    (void)err;
    world.marks[mark] = world.promise_count;
    return WLOAD_OK;
}

static int sim_mark_poll(struct wl_queue *queue, uint32_t mark, struct wload_error *err)
{
    (void)queue;
    (void)err;
    if (roll(4) == 0) {
        keep_promises(world.marks[mark]);
    }
    if (plant == PLANT_EARLY_MARK && roll(8) == 0) {
        return 1;
    }
    return world.kept_count >= world.marks[mark];
}

static int sim_mark_notify(struct wl_queue *queue, uint32_t mark, void (*notice)(void *user),
                           void *user, struct wload_error *err)
{
    (void)queue;
    (void)err;
    CHECK(world.notice == NULL);
    world.notice = notice;
    world.notice_user = user;
    world.notice_at = world.marks[mark];
    return WLOAD_OK;
}

static const struct wl_device_ops sim_device_ops = {
    .name = "sim",
    .copy_start = sim_copy_start,
    .mark_put = sim_mark_put,
    .mark_poll = sim_mark_poll,
    .mark_notify = sim_mark_notify,
};

#endif /* WORLD_H */
