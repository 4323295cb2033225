/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a file that a job reads while it comes is read right in every state of a stream, nobody
 * asks the hub for what is on its way or there already, and what becomes of the file in the cache
 * is what stream.h says.
 * Method: streams over a cache of their own, with a stand-in for wl_transfer_range() that hands
 * out the content and writes down what it was asked for.  Two streams of one process are two
 * processes to each other, for locks hold between descriptors.
 */
#include <errno.h>

#include "faults.h"
#include "stream_rig.h"

/* ---- Alone --------------------------------------------------------------------------------------
 */

static void check_passing(void)
{
    struct wl_stream stream;

    begin_cache("passing");
    open_stream(&stream, WL_STREAM_PASSING);
    CHECK_EQ(stored_count(cache, ".lock") + stored_count(cache, ".incomplete"), 0);
    read_range(&stream, 0, 3 * BLOCK, WLOAD_OK);
    read_range(&stream, SIZE - 5, 5, WLOAD_OK);
    check_asked(0, 3 * BLOCK);
    check_asked(SIZE - 5, SIZE);
    publish(&stream); /* which is nothing to it, as are the next two */
    wl_stream_discard(&stream);
    wl_stream_finish(&stream);
    wl_stream_close(&stream);
    wl_stream_close(&stream);
    end_cache(0, false);
}

static void check_leading(void)
{
    struct wl_stream stream, second;

    begin_cache("leading");
    open_stream(&stream, WL_STREAM_LEADING);
    read_range(&stream, 0, SIZE, WLOAD_OK);
    CHECK_EQ(hub.count, 1);
    put(&stream, 0, 13); /* as the keeping does */
    publish(&stream);
    expect_nothing();
    open_stream(&second, WL_STREAM_WHOLE);
    read_range(&second, 0, SIZE, WLOAD_OK);
    read_range(&second, 1234567, 7, WLOAD_OK);
    CHECK_EQ(hub.count, 0);
    wl_stream_discard(&second); /* it is not its to remove */
    wl_stream_close(&second);
    wl_stream_close(&stream);
    CHECK_EQ(told.lead_count, 0);
    end_cache(0, true);
}

/* What an earlier process left is read from the disk, and the gaps alone asked for. */
static void check_resumed(void)
{
    struct wl_stream stream;

    begin_cache("resumed");
    open_stream(&stream, WL_STREAM_LEADING);
    put(&stream, 1, 3);
    put(&stream, 6, 7);
    put(&stream, 12, 13);
    wl_stream_close(&stream);
    open_stream(&stream, WL_STREAM_LEADING);
    read_range(&stream, 0, 8 * BLOCK, WLOAD_OK);
    read_range(&stream, 8 * BLOCK, SIZE - 8 * BLOCK, WLOAD_OK);
    CHECK_EQ(hub.count, 4);
    check_asked(0, BLOCK);
    check_asked(3 * BLOCK, 6 * BLOCK);
    check_asked(7 * BLOCK, 8 * BLOCK);
    check_asked(8 * BLOCK, 12 * BLOCK);
    expect_nothing();
    read_range(&stream, 2 * BLOCK + 100, 2 * BLOCK, WLOAD_OK); /* borders of none */
    check_asked(3 * BLOCK, 4 * BLOCK + 100);
    read_range(&stream, 3 * BLOCK + 100, 1000, WLOAD_OK);
    check_asked(3 * BLOCK + 100, 3 * BLOCK + 1100);
    CHECK_EQ(hub.count, 2);
    wl_stream_close(&stream);
    end_cache(1, false);
}

static void check_failing_line(void)
{
    static const enum wl_stream_state states[] = {WL_STREAM_LEADING, WL_STREAM_PASSING};

    for (size_t i = 0; i < WL_COUNT_OF(states); i++) {
        struct wl_stream stream;
        struct read read;

        begin_cache(i == 0 ? "line-kept" : "line-passed");
        hub.fails_after = 2 * PART;
        open_stream(&stream, states[i]);
        prepare_read(&read, &stream, BLOCK, 2 * BLOCK);
        (void)run_read(&read);
        CHECK_EQ(read.rc, WLOAD_ERR_NETWORK);
        CHECK_STR(read.err.message, "the line is cut");
        CHECK_EQ(read.arrived, 2 * PART);
        clear_read(&read);
        wl_stream_close(&stream);
        end_cache(0, false); /* one without bytes is not left */
    }
}

static struct wl_stream *discarded;

static void discard_in_the_middle(uint64_t offset)
{
    if (offset >= 3 * BLOCK) {
        wl_stream_discard(discarded);
    }
}

static void check_discarded(void)
{
    struct wl_stream stream;

    begin_cache("discarded");
    open_stream(&stream, WL_STREAM_LEADING);
    put(&stream, 0, 2);
    discarded = &stream;
    hub.meanwhile = discard_in_the_middle;
    read_range(&stream, 0, 6 * BLOCK, WLOAD_OK);
    CHECK_EQ(hub.count, 1); /* what was on its way went on */
    CHECK_EQ(stream.state, WL_STREAM_PASSING);
    hub.meanwhile = NULL;
    read_range(&stream, 0, BLOCK, WLOAD_OK);
    check_asked(0, BLOCK); /* what is there is nobody's any more */
    publish(&stream);
    wl_stream_finish(&stream);
    wl_stream_close(&stream);
    end_cache(0, false);
}

/* ---- With another
 * ---------------------------------------------------------------------------------- */

static void check_following(void)
{
    static const unsigned order[] = {1, 0, 2, 5, 4, 3, 12, 6, 7, 8, 9, 10, 11};
    struct wl_stream leader, follower;
    struct read reads[3];

    begin_cache("following");
    open_stream(&leader, WL_STREAM_LEADING);
    open_stream(&follower, WL_STREAM_FOLLOWING);
    start_read(&reads[0], &follower, 0, 3 * BLOCK);
    start_read(&reads[1], &follower, 3 * BLOCK, 9 * BLOCK);
    start_read(&reads[2], &follower, 12 * BLOCK, SIZE - 12 * BLOCK);
    for (size_t i = 0; i < WL_COUNT_OF(order); i++) {
        put(&leader, order[i], order[i] + 1);
        if (order[i] == 2) {
            wait_arrived(&reads[0], 3 * BLOCK); /* before the rest is there */
        }
        if (order[i] == 3) {
            wait_arrived(&reads[1], 3 * BLOCK);
        }
    }
    for (size_t i = 0; i < WL_COUNT_OF(reads); i++) {
        finish_read(&reads[i], WLOAD_OK);
    }
    CHECK_EQ(follower.state, WL_STREAM_FOLLOWING);
    wl_stream_finish(&follower); /* the leader lives */
    CHECK_EQ(follower.state, WL_STREAM_FOLLOWING);
    CHECK_EQ(access(published, F_OK), -1);
    publish(&leader);
    read_range(&follower, 5 * BLOCK + 1, 3 * BLOCK, WLOAD_OK);
    wl_stream_close(&follower);
    wl_stream_close(&leader);
    CHECK_EQ(hub.count, 0);
    end_cache(0, true);
}

/* Published while there is somebody who follows and has not seen anything yet. */
static void check_published_meanwhile(void)
{
    struct wl_stream stream;
    struct wl_lock lock;
    struct wload_error err = {0};
    struct read reads[2];

    begin_cache("published");
    CHECK_OK(snapshot.store.ops->lock(&snapshot.store, &file, &lock, &err), &err);
    open_stream(&stream, WL_STREAM_FOLLOWING);
    start_read(&reads[0], &stream, 0, 4 * BLOCK);
    start_read(&reads[1], &stream, 4 * BLOCK, SIZE - 4 * BLOCK);
    CHECK_OK(stored_bring(&snapshot.store, &file, content, &err), &err);
    wl_lock_release(&lock);
    finish_read(&reads[0], WLOAD_OK);
    finish_read(&reads[1], WLOAD_OK);
    CHECK_EQ(hub.count, 0);
    wl_stream_finish(&stream);
    wl_stream_close(&stream);
    end_cache(0, true);
}

/* One of many readers leads, once; the hub is asked for what the dead one had not. */
static void check_takeover(void)
{
    struct wl_stream leader, follower;
    struct read reads[6];

    begin_cache("takeover");
    open_stream(&leader, WL_STREAM_LEADING);
    open_stream(&follower, WL_STREAM_FOLLOWING);
    for (unsigned i = 0; i < 6; i++) {
        start_read(&reads[i], &follower, 2 * i * BLOCK, i < 5 ? 2 * BLOCK : SIZE - 2 * i * BLOCK);
    }
    put(&leader, 0, 3);
    put(&leader, 7, 8);
    wait_arrived(&reads[1], BLOCK);
    wl_stream_close(&leader);
    for (unsigned i = 0; i < 6; i++) {
        finish_read(&reads[i], WLOAD_OK);
    }
    CHECK_EQ(told.lead_count, 1);
    CHECK(told.leader == &follower);
    CHECK_EQ(follower.state, WL_STREAM_LEADING);
    CHECK_EQ(asked_bytes(), SIZE - 4 * BLOCK);
    check_asked(3 * BLOCK, 4 * BLOCK);
    put(&follower, 3, 7); /* what was marked before is there still */
    put(&follower, 8, 13);
    publish(&follower);
    wl_stream_close(&follower);
    end_cache(0, true);
}

static atomic_bool is_full;

static int full_fallocate(int fd, int mode, off_t offset, off_t size)
{
    errno = ENOSPC;
    return atomic_load(&is_full) ? -1 : wl_sys_real.fallocate(fd, mode, offset, size);
}

/* It would be ours to lead, and the disk has no room by now: the load goes on without. */
static void check_refused_takeover(void)
{
    struct wl_sys table = wl_sys_real;
    struct wl_stream leader, follower;
    struct read reads[2];

    begin_cache("refused");
    table.fallocate = full_fallocate;
    wl_sys = &table;
    atomic_store(&is_full, false);
    open_stream(&leader, WL_STREAM_LEADING);
    open_stream(&follower, WL_STREAM_FOLLOWING);
    put(&leader, 0, 1);
    start_read(&reads[0], &follower, 0, 4 * BLOCK);
    start_read(&reads[1], &follower, 4 * BLOCK, SIZE - 4 * BLOCK);
    wait_arrived(&reads[0], BLOCK);
    atomic_store(&is_full, true);
    wl_stream_discard(&leader); /* and its job, which may be the follower's, goes on */
    finish_read(&reads[0], WLOAD_OK);
    finish_read(&reads[1], WLOAD_OK);
    wl_stream_close(&leader);
    CHECK_EQ(follower.state, WL_STREAM_PASSING);
    CHECK_EQ(told.lead_count, 0);
    CHECK_EQ(told.refusal_count, 1);
    CHECK_EQ(told.why.code, WLOAD_ERR_NOSPACE);
    publish(&follower);
    wl_stream_finish(&follower);
    wl_stream_close(&follower);
    wl_sys = &wl_sys_real;
    end_cache(0, false);
}

static void check_canceled(void)
{
    struct wl_stream leader, follower;
    struct read read;

    begin_cache("canceled");
    open_stream(&leader, WL_STREAM_LEADING);
    open_stream(&follower, WL_STREAM_FOLLOWING);
    put(&leader, 0, 1);
    start_read(&read, &follower, 0, 2 * BLOCK);
    wait_arrived(&read, BLOCK);
    atomic_store(&transfer.is_canceled, true);
    finish_read(&read, WLOAD_ERR_CANCELED);
    wl_stream_close(&follower);
    wl_stream_close(&leader);
    end_cache(1, false);
}

/* ---- A leader that does not get on ----------------------------------------------------------- */

static struct {
    struct wl_stream leader;
    uint64_t next_block; /* before which it brings one, but for the first, which is waited for */
    int64_t moved_ns;
    int64_t pause_ns;
} slow;

static void bring_slowly(int64_t ns)
{
    if (slow.next_block > 1 && ns - slow.moved_ns >= slow.pause_ns) {
        slow.moved_ns = ns;
        slow.next_block--;
        put(&slow.leader, slow.next_block, slow.next_block + 1);
    }
}

/* While it gets on it is waited for, wherever in the file it is, and then for the time allowed. */
static void check_stalled(int64_t limit_s, unsigned warnings)
{
    struct wl_stream follower;
    struct read read;
    int64_t waited_ns;

    begin_cache(warnings == 0 ? "stalled" : "stalled-long");
    snapshot.config.lock_timeout_ms = limit_s * 1000;
    open_stream(&slow.leader, WL_STREAM_LEADING);
    open_stream(&follower, WL_STREAM_FOLLOWING);
    slow.next_block = 5;
    slow.moved_ns = atomic_load(&clock_ns);
    slow.pause_ns = limit_s * SECOND_NS * 4 / 5;
    at_look = bring_slowly;
    prepare_read(&read, &follower, 0, 2 * BLOCK);
    (void)run_read(&read);
    CHECK_EQ(read.rc, WLOAD_ERR_LOCKED);
    CHECK(strstr(read.err.message, "'" NAME "' has been another process's to download for"));
    CHECK_EQ(slow.next_block, 1);
    waited_ns = atomic_load(&clock_ns) - slow.moved_ns;
    CHECK(waited_ns > limit_s * SECOND_NS && waited_ns < (limit_s + 1) * SECOND_NS);
    CHECK_EQ(atomic_load(&warning_count), warnings);
    clear_read(&read);
    at_look = NULL;
    put(&slow.leader, 0, 1);
    read_range(&follower, 0, 2 * BLOCK, WLOAD_OK);
    wl_stream_close(&follower);
    wl_stream_close(&slow.leader);
    CHECK_EQ(hub.count + told.lead_count, 0);
    end_cache(1, false);
}

/* ---- A file that lies there already -----------------------------------------------------------
 */

static atomic_uint hashed_count;

static ssize_t counting_pread(int fd, void *memory, size_t size_bytes, off_t offset)
{
    atomic_fetch_add(&hashed_count, size_bytes == 1u << 20);
    return wl_sys_real.pread(fd, memory, size_bytes, offset);
}

/* It has no record, so that its content alone tells. */
static void write_there(const char *directory, bool is_right)
{
    char path[TREE_PATH_BYTES];

    content[SIZE / 2] ^= is_right ? 0 : 1;
    (void)snprintf(path, sizeof(path), "%s/" NAME, directory);
    tree_write_text(path, content);
    content[SIZE / 2] ^= is_right ? 0 : 1;
}

/* Who begins hashes nothing: one of the reads does, once, and the others wait for it. */
static void check_there(bool is_right)
{
    struct wl_sys table = wl_sys_real;
    struct wl_stream stream;
    struct read reads[3];

    begin_store(is_right ? "right" : "another", &wl_store_plain);
    write_there(is_right ? "right" : "another", is_right);
    table.pread = counting_pread;
    wl_sys = &table;
    atomic_store(&hashed_count, 0);
    open_stream(&stream, WL_STREAM_CHECKING);
    CHECK_EQ(atomic_load(&hashed_count), 0);
    for (unsigned i = 0; i < 3; i++) {
        start_read(&reads[i], &stream, 4 * i * BLOCK, i < 2 ? 4 * BLOCK : SIZE - 8 * BLOCK);
    }
    for (unsigned i = 0; i < 3; i++) {
        finish_read(&reads[i], WLOAD_OK);
    }
    CHECK_EQ(atomic_load(&hashed_count), SIZE >> 20);
    wl_sys = &wl_sys_real;
    CHECK_EQ(stream.state, is_right ? WL_STREAM_WHOLE : WL_STREAM_LEADING);
    CHECK_EQ(told.lead_count, !is_right);
    CHECK_EQ(asked_bytes(), is_right ? 0 : SIZE);
    if (!is_right) {
        put(&stream, 0, 13);
    }
    publish(&stream);
    wl_stream_close(&stream);
    end_cache(0, true);
}

static void check_there_canceled(void)
{
    struct wl_stream stream, next;

    begin_store("there-canceled", &wl_store_plain);
    write_there("there-canceled", true);
    open_stream(&stream, WL_STREAM_CHECKING);
    atomic_store(&transfer.is_canceled, true);
    read_range(&stream, 0, BLOCK, WLOAD_ERR_CANCELED);
    open_stream(&next, WL_STREAM_CHECKING); /* the lock is free */
    wl_stream_close(&next);
    wl_stream_close(&stream);
    CHECK_EQ(hub.count + told.lead_count + told.refusal_count, 0);
    end_cache(0, true);
}

static void check_there_refused(void)
{
    struct wl_sys table = wl_sys_real;
    struct wl_stream stream;

    begin_store("there-refused", &wl_store_plain);
    write_there("there-refused", false);
    table.fallocate = full_fallocate;
    wl_sys = &table;
    atomic_store(&is_full, true);
    open_stream(&stream, WL_STREAM_CHECKING);
    read_range(&stream, 0, SIZE, WLOAD_OK);
    CHECK_EQ(stream.state, WL_STREAM_PASSING);
    CHECK_EQ(told.refusal_count, 1);
    CHECK_EQ(told.why.code, WLOAD_ERR_NOSPACE);
    wl_stream_close(&stream);
    wl_sys = &wl_sys_real;
    CHECK_EQ(unlink(published), 0);
    end_cache(0, false);
}

/* The leader dies before the end, or at it: then what was read of it is better known. */
static void check_there_left(bool is_all_read)
{
    const char *name = is_all_read ? "there-read" : "there-left";
    struct wl_sys table = wl_sys_real;
    struct wl_stream leader, follower;

    begin_store(name, &wl_store_plain);
    open_stream(&leader, WL_STREAM_LEADING);
    open_stream(&follower, WL_STREAM_FOLLOWING);
    put(&leader, 0, 13);
    if (is_all_read) {
        read_range(&follower, 0, SIZE, WLOAD_OK);
    } else {
        wl_stream_discard(&leader);
    }
    wl_stream_close(&leader);
    write_there(name, !is_all_read);
    table.pread = counting_pread;
    wl_sys = &table;
    atomic_store(&hashed_count, 0);
    if (!is_all_read) {
        read_range(&follower, 0, SIZE, WLOAD_OK);
        CHECK_EQ(follower.state, WL_STREAM_WHOLE);
    }
    wl_stream_finish(&follower);
    CHECK_EQ(atomic_load(&hashed_count), is_all_read ? 0 : SIZE >> 20);
    wl_sys = &wl_sys_real;
    wl_stream_close(&follower);
    CHECK_EQ(hub.count + told.lead_count, 0);
    end_cache(0, true);
}

/* ---- A leader that dies at the end
 * ------------------------------------------------------------------- */

/* All was read from it, and it can give the file its name no more. */
static void check_finished_for_another(void)
{
    struct wl_stream leader, follower;

    begin_cache("finished");
    open_stream(&leader, WL_STREAM_LEADING);
    open_stream(&follower, WL_STREAM_FOLLOWING);
    put(&leader, 0, 13);
    read_range(&follower, 0, SIZE, WLOAD_OK);
    wl_stream_close(&leader);
    wl_stream_finish(&follower);
    CHECK_EQ(access(published, F_OK), 0);
    wl_stream_finish(&follower);
    wl_stream_close(&follower);
    CHECK_EQ(hub.count + told.lead_count, 0);
    end_cache(0, true);
}

/* What was read is not what lies there now: that is not proven. */
static void check_finished_for_a_stranger(void)
{
    struct wl_stream leader, follower, stranger;

    begin_cache("stranger");
    open_stream(&leader, WL_STREAM_LEADING);
    open_stream(&follower, WL_STREAM_FOLLOWING);
    put(&leader, 0, 13);
    read_range(&follower, 0, SIZE, WLOAD_OK);
    wl_stream_discard(&leader);
    wl_stream_close(&leader);
    open_stream(&stranger, WL_STREAM_LEADING);
    put(&stranger, 0, 13);
    wl_stream_close(&stranger);
    wl_stream_finish(&follower);
    wl_stream_close(&follower);
    end_cache(1, false);
}

static void check_finished_with_gaps(void)
{
    struct wl_stream leader, follower;
    struct wload_error err = {0};

    begin_cache("gaps");
    open_stream(&leader, WL_STREAM_LEADING);
    open_stream(&follower, WL_STREAM_FOLLOWING);
    put(&leader, 0, 13);
    read_range(&follower, 0, SIZE, WLOAD_OK);
    CHECK_OK(wl_partial_restart(&leader.partial, &err), &err);
    put(&leader, 0, 12);
    wl_stream_close(&leader);
    wl_stream_finish(&follower);
    wl_stream_close(&follower);
    end_cache(1, false);
}

/* ---- Every call fails once
 * -------------------------------------------------------------------------------- */

static void check_faults(void)
{
    struct faults faults = {0};
    unsigned failed_count = 0;
    uint64_t calls;

    begin_cache("faults");
    do {
        struct wl_stream stream = new_stream();
        struct wload_error err = {0};
        unsigned before = faults_open_descriptors();
        int rc;

        faults.fail_at++;
        faults_begin(&faults);
        rc = wl_stream_open(&stream, &err);
        rc = rc < 0 ? rc : wl_stream_begin(&stream, &err);
        if (rc < 0) {
            CHECK_EQ(err.code, rc);
            CHECK(err.message[0] != '\0');
        } else {
            read_range(&stream, 0, BLOCK, WLOAD_OK);
        }
        wl_stream_close(&stream);
        CHECK_EQ(faults_live_blocks(), 0);
        calls = faults_end();
        failed_count += rc < 0;
        CHECK_EQ(faults_open_descriptors(), before);
        hub.count = 0;
    } while (faults.fail_at <= calls);
    CHECK(failed_count >= 5);
    end_cache(0, false); /* the last one left nothing, of those before it either */
}

int main(void)
{
    for (size_t i = 0; i < SIZE; i++) {
        content[i] = (char)('a' + (i * 7 + i / 251 + i / BLOCK) % 26);
    }
    file = stored_file(NAME, content, true);
    check_passing();
    check_leading();
    check_resumed();
    check_failing_line();
    check_discarded();
    check_following();
    check_published_meanwhile();
    check_takeover();
    check_refused_takeover();
    check_canceled();
    check_stalled(2, 0);
    check_stalled(12, 1);
    check_there(true);
    check_there(false);
    check_there_canceled();
    check_there_refused();
    check_there_left(false);
    check_there_left(true);
    check_finished_for_another();
    check_finished_for_a_stranger();
    check_finished_with_gaps();
    check_faults();
    return 0;
}
