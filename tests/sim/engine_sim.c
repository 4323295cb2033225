/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: in any order of events every tensor lands once and whole, and every kept
 * file is written and hashed whole, or an error comes out; no buffer is reused
 * before its copies, chunks, write and digest are done; the loop never sleeps when
 * nobody will wake it.
 * Method: a reader, a device, a populate stage, a sink and keepers that do things
 * when a seeded generator says so: reads end in any order, short, interrupted,
 * refused; copies are promises carried out when their mark is reached; chunks are
 * held and compared when released, and so is what is written and hashed, in any
 * order, the hash in that of the file.  A failing seed is printed, and replayed with
 * `engine_sim SEED`.  First bugs are planted in the parts, each of which must be
 * caught.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "world.h"

#ifdef __SANITIZE_THREAD__ /* one thread: there is nothing to find, slowly */
#define SEEDS 200u
#else
#define SEEDS 5000u
#endif
#define SEEDS_PLANTED 2000u

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

static void add_keeper(uint32_t slot, bool is_digest)
{
    const struct wl_flight *flight = &world.engine.flights[slot];
    const struct wl_extent *extent = &world.plan.extents[flight->extent];

    CHECK(world.keeper_count < WL_COUNT_OF(world.keepers));
    world.keepers[world.keeper_count++] = (struct keeper){
        .data = flight->memory,
        .offset = extent->offset,
        .size_bytes = extent->size_bytes,
        .file = extent->file_index,
        .slot = slot,
        .is_digest = is_digest,
        .is_released = is_digest && plant == PLANT_EARLY_DIGEST,
    };
    if (world.keepers[world.keeper_count - 1].is_released) {
        (void)wl_staging_release(&world.staging, slot);
    }
}

/* What was done while the bytes came is released at once. */
static void on_kept(void *user, uint32_t slot)
{
    (void)user;
    CHECK(
        world.plan_files[world.plan.extents[world.engine.flights[slot].extent].file_index].is_kept);
    add_keeper(slot, false);
    if (roll(3) == 0) {
        keep_one(world.keeper_count - 1);
    }
    add_keeper(slot, true);
    if (roll(3) == 0) {
        keep_one(world.keeper_count - 1);
    }
}

static int on_check(void *user, struct wload_error *err)
{
    (void)user;
    world.is_checked = true;
    if (world.knows_why) {
        return wl_err_set(err, WLOAD_ERR_NETWORK, "the server is gone");
    }
    if (world.check_in != 0 && --world.check_in == 0) {
        return wl_err_set(err, WLOAD_ERR_CHECKSUM, "the hash is wrong");
    }
    return WLOAD_OK;
}

static int64_t residency(void *user, uint32_t file_index, uint64_t offset, uint64_t size_bytes)
{
    (void)user;
    (void)offset;
    CHECK(!world.plan_files[file_index].is_kept);
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
            .is_kept = roll(3) == 0,
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
        .events = {.landed = on_landed,
                   .chunk = is_sink ? on_chunk : NULL,
                   .kept = on_kept,
                   .check = on_check},
        .want_count = world.want_count,
        .depth = {1 + roll(SLOTS_MAX), 1 + roll(3)},
    };
    if (is_mirrored && roll(2) == 0) {
        world.populate.ready = calloc(world.plan.extent_count + 1, sizeof(struct wl_ready));
        world.engine.populate = &world.populate;
    }
    CHECK_OK(wl_engine_init(&world.engine, &err), &err);
}

/* What may go wrong in a run: 0: never. */
struct trouble {
    uint32_t fault_in;
    uint32_t stop_in;
    uint32_t check_in;
};

static bool has_pieces(uint32_t file, uint64_t offset)
{
    const struct wl_extent *extent = world.plan.extents;

    while (extent->file_index != file || extent->offset + extent->size_bytes <= offset) {
        CHECK(++extent < world.plan.extents + world.plan.extent_count);
    }
    return extent[1].piece_first > extent->piece_first;
}

static void check_error(int rc, const struct wload_error *err, const struct trouble *trouble)
{
    CHECK_EQ(err->code, rc);
    CHECK(err->message[0] != '\0');
    if (rc == WLOAD_ERR_IO) {
        CHECK(trouble->fault_in != 0 && !world.knows_why);
        CHECK_EQ(err->sys_errno, EIO);
    } else if (rc == WLOAD_ERR_NETWORK) {
        CHECK(trouble->fault_in != 0 && world.knows_why);
    } else if (rc == WLOAD_ERR_CALLBACK) {
        CHECK(trouble->stop_in != 0);
    } else if (rc == WLOAD_ERR_CHECKSUM) {
        CHECK(trouble->check_in != 0);
    } else {
        CHECK_EQ(rc, WLOAD_ERR_FORMAT);
        CHECK(world.end[0] < FILE_BYTES);
        CHECK_EQ(strstr(err->message, "tensor 't'") != NULL, has_pieces(0, err->file_offset));
    }
}

static void check_kept(void)
{
    uint64_t kept_bytes[FILES] = {0};

    CHECK_EQ(world.keeper_count, 0);
    for (uint32_t i = 0; i < world.want_count; i++) {
        uint32_t file = world.tensors[i].file_index;

        kept_bytes[file] = world.plan_files[file].is_kept ? FILE_BYTES : 0;
    }
    for (uint32_t i = 0; i < FILES; i++) {
        CHECK_EQ(world.written_bytes[i], kept_bytes[i]);
        CHECK_EQ(world.digested_bytes[i], kept_bytes[i]);
    }
}

static void check_success(void)
{
    CHECK_EQ(world.staging.free_count, world.staging.slot_count);
    CHECK_EQ(world.queue_count, 0);
    CHECK_EQ(world.held_count, 0);
    check_kept();
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
    struct trouble trouble;
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
    trouble.fault_in = world.fault_in = roll(6) == 0 ? 1 + roll(200) : 0;
    trouble.stop_in = world.stop_in = roll(8) == 0 ? 1 + roll(200) : 0;
    trouble.check_in = world.check_in = roll(8) == 0 ? 1 + roll(400) : 0;
    world.end[0] = roll(10) == 0 ? roll(FILE_BYTES) : FILE_BYTES;
    do {
        rc = wl_engine_run(&world.engine, roll(2) ? INT64_MAX : 0, &err);
        CHECK(++turns < 10000000);
    } while (rc == WLOAD_PENDING);
    if (rc < 0) {
        check_error(rc, &err, &trouble);
    } else {
        check_success();
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
