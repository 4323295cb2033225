/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what comes is hashed and written while it comes, in whatever order, and
 * published only if it is whole and right; a disk that fails ends the keeping and
 * not the load; a slot is released twice, after it was settled, and its memory is
 * not looked at after that.
 * Method: real partial files and a small ring, filled by threads in random steps,
 * several files at once; memory is overwritten as soon as it is released.  System
 * calls fail one by one, or all from some moment on; one blocks until it may go on.
 */
#include <sched.h>

#include "base/clock.h"
#include "faults.h"
#include "keep_rig.h"

/* ---- Tests ---------------------------------------------------------------------------------- */

/* Some files are kept, some of these were begun before, some are only proven, some not used. */
static void check_random(uint64_t seed)
{
    static const uint32_t sizes[] = {BLOCK_BYTES, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES, SLOT_BYTES};
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1, written = 0;
    struct rig rig = {.slot_bytes = sizes[roll(&state, WL_COUNT_OF(sizes))]};
    bool is_kept[FILES];
    struct wload_error err;

    for (uint32_t i = 0; i < FILES; i++) {
        is_kept[i] = roll(&state, 4) != 0;
        make_file(&files[i], i, roll(&state, 6) == 0 ? 0 : 1 + roll(&state, FILE_BYTES), &state);
        if (is_kept[i] && files[i].size_bytes > 0) {
            CHECK_OK(open_partial(&files[i], &err), &err);
            written += files[i].size_bytes;
            written -= roll(&state, 2) ? write_some(&files[i], &state) : 0;
        }
        rig.given[i] = given_of(&files[i], is_kept[i]);
    }
    use_disk(UINT64_MAX);
    CHECK_OK(open_keep(&rig, NULL, &err), &err);
    CHECK_OK(run(&rig, UINT32_MAX, seed, &err), &err);
    CHECK(!wl_keep_gave_up(rig.keep, &err));
    close_keep(&rig);
    wl_sys = &wl_sys_real;
    CHECK_EQ(rig.release_count, 2 * rig.flight_count);
    CHECK_EQ(atomic_load(&disk_bytes), written); /* what was there was not written again */
    for (uint32_t i = 0; i < FILES; i++) {
        if (is_kept[i] && files[i].size_bytes > 0) {
            check_published(&files[i]);
        } else {
            CHECK_EQ(files[i].published + files[i].discarded, 0);
        }
    }
    CHECK_EQ(partials_left(), 0);
    CHECK_EQ(atomic_load(&warnings), 0);
}

/* All files are kept, of sizes that are no multiples of anything. */
static void make_all(struct rig *rig, uint32_t slot_bytes)
{
    uint64_t state = slot_bytes;

    *rig = (struct rig){.slot_bytes = slot_bytes};
    for (uint32_t i = 0; i < FILES; i++) {
        make_file(&files[i], i, FILE_BYTES - 1000 * i - 1, &state);
        rig->given[i] = given_of(&files[i], true);
    }
}

static void open_all(void)
{
    struct wload_error err;

    for (uint32_t i = 0; i < FILES; i++) {
        CHECK_OK(open_partial(&files[i], &err), &err);
    }
}

/* One file is not what it should be, kept or not: the load fails, and that file is nowhere. */
static void check_wrong_hash(bool is_kept)
{
    struct rig rig;
    struct wload_error err = {0}, again;

    make_all(&rig, 512u << 10);
    files[2].hash[5] = files[2].hash[5] == '0' ? '1' : '0';
    open_all();
    if (!is_kept) {
        wl_partial_discard(&files[2].partial);
        files[2].is_kept = false;
    }
    CHECK_OK(open_keep(&rig, NULL, &err), &err);
    CHECK_EQ(run(&rig, UINT32_MAX, 3, &err), WLOAD_ERR_CHECKSUM);
    CHECK_EQ(err.code, WLOAD_ERR_CHECKSUM);
    CHECK(strstr(err.message, "blob-2") && strstr(err.message, "layer.weight"));
    CHECK_EQ(wl_keep_check(rig.keep, &again), WLOAD_ERR_CHECKSUM);
    CHECK_STR(again.message, err.message);
    CHECK(!wl_keep_gave_up(rig.keep, NULL)); /* it is no fault of the disk */
    close_keep(&rig);
    CHECK_EQ(files[2].published, 0);
    CHECK_EQ(files[2].discarded, is_kept);
    CHECK(!exists(files[2].path));
    for (uint32_t i = 0; i < FILES; i++) {
        if (files[i].published > 0) {
            check_published(&files[i]);
        } else if (i != 2) { /* stopped on its way: left to the next load */
            CHECK_EQ(files[i].discarded, 0);
            wl_partial_discard(&files[i].partial);
        }
    }
    CHECK_EQ(partials_left(), 0);
    CHECK_EQ(atomic_load(&warnings), 0);
}

/* The disk is full at some moment: all that is not published by then is removed. */
static void check_full_disk(uint64_t room)
{
    struct rig rig;
    struct wload_error err = {0};
    uint32_t published = 0;

    make_all(&rig, 512u << 10);
    open_all();
    use_disk(room);
    CHECK_OK(open_keep(&rig, NULL, &err), &err);
    CHECK_OK(run(&rig, UINT32_MAX, room + 1, &err), &err);
    CHECK(wl_keep_gave_up(rig.keep, &err));
    CHECK_EQ(err.code, WLOAD_ERR_NOSPACE);
    close_keep(&rig);
    wl_sys = &wl_sys_real;
    CHECK_EQ(rig.release_count, 2 * rig.flight_count);
    CHECK_EQ(atomic_load(&warnings), 1);
    CHECK(strstr(warning, "the cache is off for this load: ") && strstr(warning, "blob-"));
    for (uint32_t i = 0; i < FILES; i++) {
        CHECK_EQ(files[i].published + files[i].discarded, 1);
        if (files[i].published) {
            check_published(&files[i]);
            published++;
        }
    }
    CHECK(published < FILES);
    CHECK_EQ(partials_left(), 0);
}

/* With one call failing: the load goes on, or could not begin. */
static uint64_t run_with_fault(uint64_t fail_at)
{
    struct faults faults = {.fail_at = fail_at};
    struct wload_error err = {0};
    struct rig rig;
    uint64_t calls;
    int rc = WLOAD_OK;
    bool gave_up = false;

    make_all(&rig, SLOT_BYTES);
    faults_begin(&faults);
    for (uint32_t i = 0; i < FILES; i++) {
        rig.given[i].size_bytes = i < 2 ? files[i].size_bytes : 0; /* two will do */
        files[i].begun_bytes = i < 2 ? 0 : files[i].size_bytes;
        rc = rc == WLOAD_OK && i < 2 ? open_partial(&files[i], &err) : rc;
    }
    rc = rc < 0 ? rc : open_keep(&rig, NULL, &err);
    if (rc == WLOAD_OK) {
        CHECK_OK(run(&rig, UINT32_MAX, fail_at, &err), &err);
        gave_up = wl_keep_gave_up(rig.keep, &err);
        CHECK_EQ(atomic_load(&warnings), gave_up);
        CHECK_EQ(rig.release_count, 2 * rig.flight_count);
        close_keep(&rig);
    }
    for (uint32_t i = 0; i < 2; i++) {
        wl_partial_close(&files[i].partial);
        CHECK_EQ(exists(files[i].path), files[i].published);
        if (rc == WLOAD_OK) {
            CHECK_EQ(files[i].published + files[i].discarded, 1);
            CHECK(gave_up || files[i].published == 1);
        }
    }
    CHECK_EQ(faults_live_blocks(), 0);
    calls = faults_end();
    for (uint32_t i = 0; i < 2; i++) {
        if (files[i].published) {
            check_published(&files[i]);
        }
    }
    CHECK(rc == WLOAD_OK || err.code == rc);
    CHECK(rc < 0 || partials_left() == 0);
    return calls;
}

static void check_faults(void)
{
    unsigned descriptors = faults_open_descriptors();
    uint64_t calls = run_with_fault(0);

    for (uint64_t fail_at = 1; fail_at <= calls; fail_at++) {
        (void)run_with_fault(fail_at);
        CHECK_EQ(faults_open_descriptors(), descriptors);
    }
    CHECK(calls > 20);
}

/* Stopped at some moment: what was written is there for the next load, which writes the rest. */
static void check_stop(uint32_t flight_max, uint32_t slot_bytes)
{
    struct rig rig;
    struct wload_error err;
    uint64_t missing = 0;
    uint32_t released;

    make_all(&rig, slot_bytes);
    open_all();
    CHECK_OK(open_keep(&rig, NULL, &err), &err);
    CHECK_OK(run(&rig, flight_max, flight_max, &err), &err);
    released = rig.release_count;
    close_keep(&rig);
    CHECK_EQ(rig.release_count, released);
    CHECK_EQ(partials_left() + files[0].published + files[1].published + files[2].published +
                 files[3].published,
             FILES);
    for (uint32_t i = 0; i < FILES; i++) {
        CHECK_EQ(files[i].discarded, 0);
        wl_partial_close(&files[i].partial);
    }

    rig = (struct rig){.slot_bytes = slot_bytes};
    for (uint32_t i = 0; i < FILES; i++) {
        bool is_left = files[i].published == 0;

        files[i].begun_bytes = is_left ? 0 : files[i].size_bytes;
        if (is_left) {
            CHECK_OK(open_partial(&files[i], &err), &err);
            missing += files[i].size_bytes - wl_partial_present(&files[i].partial);
            rig.given[i] = given_of(&files[i], true);
        }
    }
    use_disk(UINT64_MAX);
    CHECK_OK(open_keep(&rig, NULL, &err), &err);
    CHECK_OK(run(&rig, UINT32_MAX, flight_max, &err), &err);
    close_keep(&rig);
    wl_sys = &wl_sys_real;
    CHECK_EQ(atomic_load(&disk_bytes), missing);
    for (uint32_t i = 0; i < FILES; i++) {
        check_published(&files[i]);
    }
}

/* ---- Step by step ---------------------------------------------------------------------------- */

static void fill_and_settle(struct rig *rig, uint32_t slot)
{
    uint64_t state = slot + 1;

    rig->flights[slot].state = FILLING;
    fill(rig, slot, &state);
    rig->flights[slot].state = FILLED;
    settle(rig, slot);
}

static void await_releases(struct rig *rig, uint32_t count)
{
    (void)pthread_mutex_lock(&rig->mutex);
    while (rig->release_count < count) {
        (void)pthread_cond_wait(&rig->changed, &rig->mutex);
    }
    (void)pthread_mutex_unlock(&rig->mutex);
}

static void make_one(struct rig *rig, uint64_t size_bytes, uint32_t slot_bytes)
{
    uint64_t state = 5;

    *rig = (struct rig){.slot_bytes = slot_bytes};
    make_file(&files[0], 0, size_bytes, &state);
    rig->given[0] = given_of(&files[0], true);
}

/* While the disk does nothing at all, bytes arrive and are hashed; the trace tells of each step. */
static void check_blocked_disk(void)
{
    const char *path = tree_path("trace.json");
    struct rig rig;
    struct wl_trace *trace;
    struct wload_error err;
    char text[8192] = "";
    uint32_t found[3] = {0};
    static const char *const names[] = {"\"write\"", "\"digest\"", "\"publish\""};
    int fd;

    CHECK_OK(wl_trace_new(100, &trace, &err), &err);
    make_one(&rig, SLOTS * (512u << 10), 512u << 10);
    CHECK_OK(open_partial(&files[0], &err), &err);
    use_disk(UINT64_MAX);
    CHECK_OK(open_keep(&rig, trace, &err), &err);
    (void)pthread_mutex_lock(&disk_gate);
    for (uint32_t i = 0; i < SLOTS; i++) {
        begin(&rig, i, 0);
    }
    for (uint32_t i = SLOTS; i-- > 0;) {
        fill_and_settle(&rig, i);
    }
    await_releases(&rig, SLOTS);
    CHECK_EQ(wl_partial_present(&files[0].partial), 0);
    CHECK_EQ(wl_keep_finish(rig.keep, 0, &err), WLOAD_PENDING);
    CHECK_EQ(wl_keep_finish(rig.keep, wl_clock_ns() + 1000000, &err), WLOAD_PENDING);
    (void)pthread_mutex_unlock(&disk_gate);
    CHECK_OK(wl_keep_finish(rig.keep, INT64_MAX, &err), &err);
    close_keep(&rig);
    wl_sys = &wl_sys_real;
    CHECK_EQ(rig.release_count, 2 * SLOTS);
    check_published(&files[0]);

    CHECK_OK(wl_trace_write(trace, path, &err), &err);
    wl_trace_free(trace);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(read(fd, text, sizeof(text) - 1) > 0);
    CHECK_EQ(close(fd), 0);
    for (uint32_t i = 0; i < 3; i++) {
        for (const char *at = text; (at = strstr(at, names[i])) != NULL; at++) {
            found[i]++;
        }
    }
    CHECK_EQ(found[0], SLOTS);
    CHECK_EQ(found[1], SLOTS);
    CHECK_EQ(found[2], 1);
}

static void *cancel(void *keep)
{
    wl_keep_cancel(keep);
    return NULL;
}

/* Who waits for a disk that does nothing is told; what is not there yet stays for the next load. */
static void check_canceled(void)
{
    struct rig rig;
    struct wload_error err = {0};
    pthread_t thread;

    make_one(&rig, 512u << 10, 512u << 10);
    CHECK_OK(open_partial(&files[0], &err), &err);
    use_disk(UINT64_MAX);
    CHECK_OK(open_keep(&rig, NULL, &err), &err);
    (void)pthread_mutex_lock(&disk_gate);
    begin(&rig, 0, 0);
    fill_and_settle(&rig, 0);
    await_releases(&rig, 1);
    CHECK_EQ(pthread_create(&thread, NULL, cancel, rig.keep), 0);
    CHECK_EQ(wl_keep_finish(rig.keep, INT64_MAX, &err), WLOAD_ERR_CANCELED);
    CHECK_EQ(err.code, WLOAD_ERR_CANCELED);
    CHECK_EQ(wl_keep_check(rig.keep, &err), WLOAD_OK); /* nothing is wrong with the files */
    CHECK_EQ(pthread_join(thread, NULL), 0);
    (void)pthread_mutex_unlock(&disk_gate);
    close_keep(&rig);
    wl_sys = &wl_sys_real;
    CHECK_EQ(files[0].discarded, 0);
    wl_partial_discard(&files[0].partial);
}

/* A disk that falls behind gets what waits for it through the page cache, and no more than that. */
static void check_slow_disk(void)
{
    struct rig rig;
    struct wload_error err;

    make_one(&rig, SLOTS * (512u << 10), 512u << 10);
    CHECK_OK(open_partial(&files[0], &err), &err);
    CHECK_OK(wl_partial_set_io(&files[0].partial, &counting, WLOAD_IO_AUTO, &err), &err);
    if (!files[0].partial.is_direct) { /* all goes through it here */
        wl_partial_discard(&files[0].partial);
        return;
    }
    use_disk(UINT64_MAX);
    atomic_store(&cached_fd, files[0].partial.fd);
    CHECK_OK(open_keep(&rig, NULL, &err), &err);
    (void)pthread_mutex_lock(&disk_gate);
    for (uint32_t i = 0; i < SLOTS; i++) {
        begin(&rig, i, 0);
        fill_and_settle(&rig, i);
    }
    await_releases(&rig, SLOTS);
    (void)pthread_mutex_unlock(&disk_gate);
    CHECK_OK(wl_keep_finish(rig.keep, INT64_MAX, &err), &err);
    CHECK(atomic_load(&cached_bytes) > 0);
    CHECK(atomic_load(&cached_bytes) < files[0].size_bytes);
    CHECK_EQ(atomic_load(&disk_bytes), files[0].size_bytes);
    atomic_store(&cached_fd, -1);
    close_keep(&rig);
    wl_sys = &wl_sys_real;
    check_published(&files[0]);
}

/* A slot need not be full for its bytes to be on the disk. */
static void check_early_write(void)
{
    struct rig rig;
    struct wload_error err;

    make_one(&rig, SLOT_BYTES, SLOT_BYTES);
    CHECK_OK(open_partial(&files[0], &err), &err);
    CHECK_OK(open_keep(&rig, NULL, &err), &err);
    begin(&rig, 0, 0);
    memcpy(ring[0], files[0].data, SLOT_BYTES);
    wl_keep_arrived(rig.keep, 0, 3 * BLOCK_BYTES + 1);
    while (wl_partial_ready(&files[0].partial, 0) < 3 * BLOCK_BYTES) {
        (void)sched_yield();
    }
    CHECK_EQ(wl_partial_present(&files[0].partial), 3 * BLOCK_BYTES);
    CHECK_EQ(rig.release_count, 0);
    wl_keep_arrived(rig.keep, 0, SLOT_BYTES);
    rig.flights[0].state = FILLED;
    settle(&rig, 0);
    CHECK_OK(wl_keep_finish(rig.keep, INT64_MAX, &err), &err);
    close_keep(&rig);
    check_published(&files[0]);
}

/* A file that another process was writing becomes ours in the middle.  What came before is in its
 * partial file, or was lost: then it is not published. */
static void check_attach(bool is_lost)
{
    struct rig rig;
    struct wload_error err;

    make_one(&rig, 4 * (512u << 10) + 1, 512u << 10);
    files[0].is_kept = false;
    CHECK_OK(open_partial(&files[0], &err), &err);
    if (!is_lost) {
        CHECK_OK(wl_partial_write(&files[0].partial, 0, 0, files[0].data, 512u << 10, &err), &err);
    }
    CHECK_OK(open_keep(&rig, NULL, &err), &err);
    begin(&rig, 0, 0);
    fill_and_settle(&rig, 0);
    await_releases(&rig, 2);
    begin(&rig, 0, 0);
    begin(&rig, 1, 0);
    memcpy(ring[1], files[0].data + (1024u << 10), 512u << 10);
    wl_keep_arrived(rig.keep, 1, 512u << 10); /* before */
    wl_keep_attach(rig.keep, 0, &files[0].partial);
    rig.flights[1].state = FILLED;
    settle(&rig, 1);
    fill_and_settle(&rig, 0);
    for (uint32_t i = 2; i < 4; i++) {
        begin(&rig, i, 0);
        fill_and_settle(&rig, i);
    }
    CHECK_OK(wl_keep_finish(rig.keep, INT64_MAX, &err), &err);
    CHECK_EQ(wl_keep_gave_up(rig.keep, NULL), is_lost);
    close_keep(&rig);
    CHECK_EQ(rig.release_count, 10);
    CHECK_EQ(atomic_load(&warnings), is_lost);
    CHECK_EQ(partials_left(), 0);
    CHECK_EQ(files[0].discarded, is_lost);
    if (!is_lost) {
        check_published(&files[0]);
    }
}

/* It becomes ours when the disk has failed already. */
static void check_attach_in_vain(void)
{
    struct rig rig;
    struct wload_error err;

    make_all(&rig, SLOT_BYTES);
    files[0].is_kept = false;
    open_all();
    use_disk(0);
    CHECK_OK(open_keep(&rig, NULL, &err), &err);
    begin(&rig, 0, 0);
    begin(&rig, 1, 1);
    fill_and_settle(&rig, 1);
    await_releases(&rig, 2);
    CHECK(wl_keep_gave_up(rig.keep, NULL));
    wl_keep_attach(rig.keep, 0, &files[0].partial);
    fill_and_settle(&rig, 0);
    await_releases(&rig, 4);
    close_keep(&rig);
    wl_sys = &wl_sys_real;
    CHECK_EQ(atomic_load(&warnings), 1);
    CHECK_EQ(files[0].discarded, 1);
    CHECK_EQ(partials_left(), 0);
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
    const uint64_t seeds = 40;
#else
    const uint64_t seeds = 150;
#endif

    for (uint64_t seed = 1; seed <= seeds; seed++) {
        check_random(seed);
    }
    check_wrong_hash(true);
    check_wrong_hash(false);
    for (uint64_t room = 0; room < FILES * FILE_BYTES - (64u << 10); room += 1500000) {
        check_full_disk(room);
    }
    check_faults();
    for (uint32_t flight_max = 0; flight_max < 24; flight_max += 5) {
        check_stop(flight_max, 512u << 10);
        check_stop(2 * flight_max, BLOCK_BYTES);
    }
    check_blocked_disk();
    check_canceled();
    check_slow_disk();
    check_early_write();
    check_attach(false);
    check_attach(true);
    check_attach_in_vain();
    return 0;
}
