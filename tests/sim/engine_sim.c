/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: in any order of events every tensor lands once and whole, or an error
 * comes out; no buffer is reused before its copies and chunks are done; the loop
 * never sleeps when nobody will wake it.
 * Method: a reader, a device, a populate stage and a sink that do things when a
 * seeded generator says so: reads end in any order, short, interrupted, refused;
 * copies are promises carried out when their mark is reached; chunks are held
 * and compared when released.  A failing seed is printed, and replayed with
 * `engine_sim SEED`.  At the end bugs are planted in the parts, each of which must
 * be caught.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "loader/engine.h"
#include "test.h"

#define FILES      3u
#define FILE_BYTES (300u << 10)
#define WANTS_MAX  60u
#define SLOTS_MAX  6u
#define COPIES_MAX 65536u
#define HELD_MAX   65536u
#ifdef __SANITIZE_THREAD__ /* one thread: there is nothing to find, slowly */
#define SEEDS 200u
#else
#define SEEDS 5000u
#endif
#define SEEDS_PLANTED 2000u
#define DEVICE_BYTES  (FILES * FILE_BYTES + WANTS_MAX * 64u)

enum plant {
    PLANT_NONE,
    PLANT_EARLY_MARK,  /* a device that says done before its copies are */
    PLANT_LOST_NOTICE, /* a device that forgets to wake the loop */
    PLANT_EARLY_CHUNK, /* a sink's chunk that the library takes back too early */
    PLANT_SHORT_COUNT, /* a reader that claims more bytes than it wrote */
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
           is_populating;
}

static int sim_reap(struct wl_reader *reader, struct wl_read_done *done, uint32_t max,
                    int64_t timeout_ns)
{
    uint32_t count = 0;

    (void)reader;
    CHECK(timeout_ns == 0 || will_wake()); /* else the loop would sleep for ever */
    pass_time();
    while (world.queue_count > 0 && count < max && roll(3) != 0) {
        uint32_t pick = roll(world.queue_count);
        struct wl_read read = world.queue[pick];

        world.queue[pick] = world.queue[--world.queue_count];
        done[count].slot = read.slot;
        done[count++].result = carry_out(&read);
    }
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

/* ---- The caller -------------------------------------------------------------- */

static bool stops_now(void)
{
    return world.stop_in != 0 && --world.stop_in == 0;
}

static int on_landed(void *user, uint32_t want)
{
    (void)user;
    CHECK_EQ(world.landed_times[want]++, 0);
    if (world.wants[want].address) {
        CHECK(memcmp(world.wants[want].address, truth(want), world.tensors[want].size_bytes) == 0);
    }
    return stops_now();
}

static int on_chunk(void *user, uint32_t piece, uint32_t slot, const uint8_t *data)
{
    (void)user;
    CHECK(world.held_count < HELD_MAX);
    if (stops_now()) {
        return 1;
    }
    world.held[world.held_count++] = (struct held){.piece = piece, .slot = slot, .data = data};
    if (plant == PLANT_EARLY_CHUNK) {
        (void)wl_staging_release(&world.staging, slot);
    }
    if (roll(3) == 0) {
        release_one();
    }
    return 0;
}

static int64_t residency(void *user, uint32_t file_index, uint64_t offset, uint64_t size_bytes)
{
    (void)user;
    (void)file_index;
    (void)offset;
    return roll(4) == 0 ? -ENOSYS : (int64_t)roll((uint32_t)size_bytes + 1);
}

/* ---- One seed ---------------------------------------------------------------- */

static void make_files(bool is_mirrored)
{
    for (uint32_t i = 0; i < FILES; i++) {
        uint32_t align = roll(3) == 0 ? 1 : 16u << roll(3);

        world.job_files[i] = (struct wl_job_file){.path = "sim",
                                                  .size_bytes = FILE_BYTES,
                                                  .align_bytes = align,
                                                  .is_direct = align > 1};
        world.plan_files[i] = (struct wl_plan_file){
            .size_bytes = FILE_BYTES,
            .align_bytes = align,
            .is_direct = align > 1,
            .is_mirrored = is_mirrored,
            .mirror = (uintptr_t)mirror_data[i],
        };
        world.refuses_direct[i] = roll(3) == 0;
        world.end[i] = FILE_BYTES;
    }
    world.files = (struct wl_files){.items = world.job_files, .count = FILES};
}

static void make_wants(bool is_sink, bool is_mirrored)
{
    uint64_t packed = 0;

    world.want_count = 0;
    for (uint32_t file = 0; file < FILES; file++) {
        uint64_t at = roll(5000);

        while (world.want_count < (file + 1) * WANTS_MAX / FILES) {
            struct wload_tensor *tensor = &world.tensors[world.want_count];
            struct wl_want *want = &world.wants[world.want_count];

            *tensor = (struct wload_tensor){.name = "t",
                                            .file_index = file,
                                            .file_offset = at,
                                            .size_bytes = roll(8) == 0 ? 0 : 1 + roll(9000)};
            if (at + tensor->size_bytes > FILE_BYTES) {
                break;
            }
            *want = (struct wl_want){.tensor = tensor};
            if (is_mirrored && roll(6) != 0) {
                want->address = mirror_data[file] + at;
            } else if (!is_sink) {
                want->address = device_data + packed;
                packed += tensor->size_bytes + roll(2) * roll(64);
            }
            at += tensor->size_bytes + (roll(4) == 0 ? roll(140u << 10) : 0);
            world.want_count++;
        }
    }
}

static void make_parts(bool is_sink, bool is_mirrored)
{
    struct wl_plan_request request = {
        .wants = world.wants,
        .want_count = world.want_count,
        .files = world.plan_files,
        .chunk_bytes = 64u << roll(7),
        .resident = residency,
        .prefers_resident = roll(2) == 0,
        .is_host = !is_sink && roll(2) == 0,
    };
    struct wload_error err;

    CHECK_OK(wl_plan_build(&request, &world.plan, &err), &err);
    CHECK_OK(wl_staging_init(&world.staging, request.chunk_bytes, 1 + roll(SLOTS_MAX), -1, &err),
             &err);
    world.reader.ops = &sim_reader_ops;
    world.staging.reader = &world.reader;
    world.device.ops = &sim_device_ops;
    world.copies.device = &world.device;
    world.engine = (struct wl_engine){
        .reader = &world.reader,
        .queue = is_sink ? NULL : &world.copies,
        .staging = &world.staging,
        .files = &world.files,
        .plan = &world.plan,
        .wants = world.wants,
        .events = {.landed = on_landed, .chunk = is_sink ? on_chunk : NULL},
        .want_count = world.want_count,
        .depth = {1 + roll(SLOTS_MAX), 1 + roll(3)},
    };
    if (is_mirrored && roll(2) == 0) {
        world.populate.ready = calloc(world.plan.extent_count + 1, sizeof(struct wl_ready));
        world.engine.populate = &world.populate;
    }
    CHECK_OK(wl_engine_init(&world.engine, &err), &err);
}

static void check_error(int rc, const struct wload_error *err, bool had_fault, bool had_stop)
{
    CHECK_EQ(err->code, rc);
    CHECK(err->message[0] != '\0');
    if (rc == WLOAD_ERR_IO) {
        CHECK(had_fault);
        CHECK_EQ(err->sys_errno, EIO);
    } else if (rc == WLOAD_ERR_CALLBACK) {
        CHECK(had_stop);
    } else {
        CHECK_EQ(rc, WLOAD_ERR_FORMAT);
        CHECK(world.end[0] < FILE_BYTES);
    }
}

static void check_success(void)
{
    CHECK_EQ(world.staging.free_count, world.staging.slot_count);
    CHECK_EQ(world.queue_count, 0);
    CHECK_EQ(world.held_count, 0);
    for (uint32_t i = 0; i < world.want_count; i++) {
        CHECK_EQ(world.landed_times[i], 1);
        if (world.wants[i].address) { /* still: nothing was written to it after it landed */
            CHECK(memcmp(world.wants[i].address, truth(i), world.tensors[i].size_bytes) == 0);
        }
    }
}

static void run_one(uint64_t seed)
{
    struct wload_error err = {0};
    uint32_t turns = 0;
    bool is_sink, is_mirrored;
    int rc;

    memset(&world, 0, sizeof(world));
    memset(device_data, 0, sizeof(device_data));
    memset(mirror_data, 0, sizeof(mirror_data));
    state = seed * 0x9e3779b97f4a7c15u + 1;
    is_sink = roll(3) == 0;
    is_mirrored = !is_sink && roll(2) == 0;
    make_files(is_mirrored);
    make_wants(is_sink, is_mirrored);
    make_parts(is_sink, is_mirrored);
    world.fault_in = roll(6) == 0 ? 1 + roll(200) : 0;
    world.stop_in = roll(8) == 0 ? 1 + roll(200) : 0;
    world.end[0] = roll(10) == 0 ? roll(FILE_BYTES) : FILE_BYTES;
    {
        bool had_fault = world.fault_in != 0, had_stop = world.stop_in != 0;

        do {
            rc = wl_engine_run(&world.engine, roll(2) ? INT64_MAX : 0, &err);
            CHECK(++turns < 10000000);
        } while (rc == WLOAD_PENDING);
        if (rc < 0) {
            check_error(rc, &err, had_fault, had_stop);
        } else {
            check_success();
        }
    }
    free(world.populate.ready);
    wl_engine_clear(&world.engine);
    wl_staging_clear(&world.staging);
    wl_plan_clear(&world.plan);
}

static uint64_t current_seed;

static void name_seed(void)
{
    if (current_seed != 0) {
        (void)fprintf(stderr, "failed with: engine_sim %" PRIu64 "\n", current_seed);
    }
}

static void run_seeds(uint64_t first, uint64_t last)
{
    for (current_seed = first; current_seed <= last; current_seed++) {
        run_one(current_seed);
    }
    current_seed = 0;
}

/* A simulation that cannot fail proves nothing: each planted bug must be found by some seed. */
static void check_is_caught(enum plant bug)
{
    int status = 0;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        CHECK(freopen("/dev/null", "w", stderr) != NULL);
        plant = bug;
        run_seeds(1, SEEDS_PLANTED);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        (void)fprintf(stderr, "planted bug %d was not found in %u seeds\n", (int)bug,
                      SEEDS_PLANTED);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    for (uint32_t file = 0; file < FILES; file++) {
        for (size_t i = 0; i < sizeof(file_data[0]); i++) {
            file_data[file][i] = (uint8_t)(i * 31 + (i >> 8) * 7 + file * 101 + 1);
        }
    }
    CHECK(atexit(name_seed) == 0);
    if (argc > 1) {
        uint64_t seed = strtoull(argv[1], NULL, 0);

        run_seeds(seed, seed);
        return 0;
    }
    for (int bug = PLANT_NONE + 1; bug < PLANT_END; bug++) {
        check_is_caught((enum plant)bug);
    }
    run_seeds(1, SEEDS);
    return 0;
}
