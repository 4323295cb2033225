/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: bytes may come in any order and the process may die at any time; what is marked is there,
 * and what is published is whole.
 * Method: random runs against a plain model of the blocks, a process that is killed, damaged and
 * planted files, and a table of system calls for a full disk and for file systems that can do
 * less.
 */
#include "cache/partial.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "base/base.h"
#include "base/digest.h"
#include "base/sys.h"
#include "tree.h"

#define BLOCK      ((uint64_t)WL_PARTIAL_BLOCK_BYTES)
#define SIZE       (9 * BLOCK + 1000)
#define BLOCKS     10u
#define MAP_OFFSET wl_round_up(SIZE, 65536)
#define MAP_BITS   (MAP_OFFSET + 128)
#define HASH       "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct wl_log quiet;
static unsigned char content[SIZE];

/* Each with a folder of its own, whose path stays. */
static struct wl_partial_place place_of(const char *folder, uint64_t size_bytes)
{
    static char paths[32][TREE_PATH_BYTES];
    static unsigned count;
    char *path = paths[count++];

    CHECK(count <= WL_COUNT_OF(paths));
    (void)snprintf(path, TREE_PATH_BYTES, "%s", tree_path(folder));
    return (struct wl_partial_place){.folder = path,
                                     .stem = HASH,
                                     .hash = HASH,
                                     .size_bytes = size_bytes};
}

/* What the name is to be, by the rule. */
static const char *shared_path(const struct wl_partial_place *place)
{
    static char path[TREE_PATH_BYTES];
    struct wl_digest *digest;
    char hex[WL_DIGEST_HEX_BYTES];
    struct wload_error err;

    CHECK_OK(wl_digest_new(WL_DIGEST_SHA256, &digest, &err), &err);
    CHECK_OK(wl_digest_add(digest, "wload-resume", 12, &err), &err);
    CHECK_OK(wl_digest_add(digest, place->hash, strlen(place->hash), &err), &err);
    CHECK_OK(wl_digest_finish(digest, hex, &err), &err);
    wl_digest_free(digest);
    (void)snprintf(path, sizeof(path), "%s/%s.%.8s.incomplete", place->folder, place->stem, hex);
    return path;
}

static struct wl_partial open_partial(const struct wl_partial_place *place, bool is_fresh)
{
    struct wl_partial partial;
    struct wload_error err = {0};

    CHECK_OK(wl_partial_open(&quiet, place, is_fresh, &partial, &err), &err);
    return partial;
}

static void put(struct wl_partial *partial, uint64_t begun, uint64_t offset, uint64_t size)
{
    struct wload_error err = {0};

    CHECK_OK(wl_partial_write(partial, begun, offset, content + offset, size, &err), &err);
}

static void put_all(struct wl_partial *partial)
{
    put(partial, 0, 0, partial->size_bytes);
    CHECK_EQ(wl_partial_present(partial), partial->size_bytes);
}

static void check_content(const char *path, uint64_t size)
{
    static unsigned char read_back[SIZE + 1];
    int fd = open(path, O_RDONLY | O_NOFOLLOW);

    CHECK(fd >= 0);
    CHECK_EQ(read(fd, read_back, sizeof(read_back)), (ssize_t)size);
    CHECK(memcmp(read_back, content, size) == 0);
    CHECK_EQ(close(fd), 0);
}

static unsigned entries_in(const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;

    CHECK(dir != NULL);
    while (readdir(dir)) {
        count++;
    }
    CHECK_EQ(closedir(dir), 0);
    return count - 2;
}

static bool exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

/* ---- The map ------------------------------------------------------------------------ */

static uint64_t state = 88172645463325252u;

static uint64_t random_below(uint64_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % limit;
}

static uint64_t border(uint64_t block)
{
    return wl_min(block * BLOCK, SIZE);
}

static void check_map(const struct wl_partial *partial, const bool *is_there)
{
    uint64_t present = 0;

    for (uint64_t block = 0; block < BLOCKS; block++) {
        uint64_t until = block;
        uint64_t gap = block;
        uint64_t begin, end;

        present += is_there[block] ? border(block + 1) - border(block) : 0;
        while (until < BLOCKS && is_there[until]) {
            until++;
        }
        CHECK_EQ(wl_partial_ready(partial, border(block)), border(until));
        CHECK_EQ(wl_partial_ready(partial, border(block) + 7),
                 until > block ? border(until) : border(block) + 7);
        while (gap < BLOCKS && is_there[gap]) {
            gap++;
        }
        until = gap;
        while (until < BLOCKS && !is_there[until]) {
            until++;
        }
        CHECK_EQ(wl_partial_gap(partial, border(block), &begin, &end), gap < BLOCKS);
        if (gap < BLOCKS) {
            CHECK_EQ(begin, border(gap));
            CHECK_EQ(end, border(until));
        }
    }
    CHECK_EQ(wl_partial_present(partial), present);
    CHECK(!wl_partial_gap(partial, SIZE, &present, &present));
    CHECK_EQ(wl_partial_ready(partial, SIZE), SIZE);
}

/* A run that begins and ends anywhere, in writes of any size. */
static void put_run(struct wl_partial *partial, bool *is_there)
{
    uint64_t begun = random_below(SIZE);
    uint64_t end = begun + 1 + random_below(SIZE - begun);

    for (uint64_t at = begun; at < end;) {
        uint64_t size = wl_min(end - at, 1 + random_below(3 * BLOCK / 2));

        put(partial, begun, at, size);
        at += size;
        for (uint64_t block = 0; block < BLOCKS; block++) {
            is_there[block] |= begun <= border(block) && border(block + 1) <= at;
        }
    }
}

static void check_any_order(void)
{
    const struct wl_partial_place place = place_of("order", SIZE);
    struct wload_error err = {0};

    for (unsigned round = 0; round < 40; round++) {
        struct wl_partial partial = open_partial(&place, round % 2 == 0);
        bool is_there[BLOCKS] = {false};
        uint64_t begin, end;

        CHECK(!partial.is_private);
        CHECK_STR(partial.path, shared_path(&place));
        for (unsigned run = 0; run < 6; run++) {
            check_map(&partial, is_there);
            put_run(&partial, is_there);
        }
        check_map(&partial, is_there);
        while (wl_partial_gap(&partial, 0, &begin, &end)) {
            put(&partial, begin, begin, end - begin);
        }
        CHECK_EQ(wl_partial_present(&partial), SIZE);
        CHECK_OK(wl_partial_publish(&partial, tree_path("order/done"), round % 3 == 0, &err), &err);
        CHECK_EQ(partial.fd, -1);
        wl_partial_close(&partial); /* harmless */
        wl_partial_discard(&partial);
        check_content(tree_path("order/done"), SIZE);
        CHECK_EQ(entries_in(place.folder), 1);
    }
}

/* ---- Many threads ------------------------------------------------------------------- */

struct writer {
    struct wl_partial *partial;
    unsigned number;
};

/* Every third block, the last ones first. */
static void *write_blocks(void *argument)
{
    const struct writer *writer = argument;

    for (unsigned block = BLOCKS; block-- > 0;) {
        if (block % 3 == writer->number) {
            put(writer->partial, border(block), border(block), border(block + 1) - border(block));
        }
    }
    return NULL;
}

static atomic_int map_writers;

/* Blocks of all three have their bits in one byte: two that write it at once would undo each
 * other's. */
static ssize_t watched_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    int is_map = offset >= (off_t)MAP_BITS;
    ssize_t put;

    CHECK(atomic_fetch_add(&map_writers, is_map) == 0 || !is_map);
    for (int i = 0; i < 100 * is_map; i++) {
        (void)sched_yield();
    }
    put = pwrite(fd, buffer, size, offset);
    atomic_fetch_sub(&map_writers, is_map);
    return put;
}

/* What is said to be there is there, at any moment. */
static void check_threads(void)
{
    static unsigned char read_back[SIZE];
    const struct wl_partial_place place = place_of("threads", SIZE);
    struct wl_partial partial = open_partial(&place, false);
    struct wl_sys table = wl_sys_real;
    struct writer writers[3];
    pthread_t threads[3];
    uint64_t ready = 0;

    table.pwrite = watched_pwrite;
    wl_sys = &table;
    for (unsigned i = 0; i < 3; i++) {
        writers[i] = (struct writer){&partial, i};
        CHECK_EQ(pthread_create(&threads[i], NULL, write_blocks, &writers[i]), 0);
    }
    while (ready < SIZE) {
        uint64_t until = wl_partial_ready(&partial, ready);

        CHECK_EQ(pread(partial.fd, read_back, until - ready, (off_t)ready),
                 (ssize_t)(until - ready));
        CHECK(memcmp(read_back, content + ready, until - ready) == 0);
        CHECK(wl_partial_present(&partial) >= until);
        ready = until;
    }
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    wl_sys = &wl_sys_real;
    CHECK_EQ(wl_partial_peek(&place), SIZE);
    wl_partial_discard(&partial);
}

static uint64_t flushed_bytes;
static unsigned flushes;

static int counting_sync_range(int fd, off_t offset, off_t size, unsigned flags)
{
    CHECK(fd >= 0);
    CHECK_EQ(flags, SYNC_FILE_RANGE_WRITE);
    CHECK_EQ(offset, 4096 + flushed_bytes); /* each byte once, in order */
    flushed_bytes += (uint64_t)size;
    flushes++;
    errno = EIO;
    return -1; /* of no account */
}

static void check_early_flush(void)
{
    static const char zeros[1u << 20];
    const struct wl_partial_place place = place_of("flush", 40u << 20);
    struct wl_partial partial = open_partial(&place, false);
    struct wl_sys table = wl_sys_real;
    struct wload_error err = {0};

    table.sync_range = counting_sync_range;
    wl_sys = &table;
    for (uint64_t at = 0; at < 20; at++) {
        CHECK_OK(wl_partial_write(&partial, 4096, 4096 + (at << 20), zeros, sizeof(zeros), &err),
                 &err);
    }
    wl_sys = &wl_sys_real;
    CHECK_EQ(flushed_bytes, 16u << 20);
    CHECK_EQ(flushes, 2);
    wl_partial_discard(&partial);
    CHECK_EQ(entries_in(place.folder), 0);
}

/* ---- From one process to the next --------------------------------------------------- */

static void check_killed(void)
{
    const struct wl_partial_place place = place_of("killed", SIZE);
    struct wl_partial partial;
    bool is_there[BLOCKS] = {[2] = true, [3] = true, [9] = true};
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        partial = open_partial(&place, false);
        put(&partial, 2 * BLOCK, 2 * BLOCK, 2 * BLOCK + 100);
        put(&partial, 9 * BLOCK - 1, 9 * BLOCK - 1, 1001);
        (void)raise(SIGKILL);
    }
    CHECK_EQ(waitpid(child, NULL, 0), child);
    CHECK_EQ(wl_partial_peek(&place), 2 * BLOCK + 1000);
    partial = open_partial(&place, false);
    check_map(&partial, is_there);
    wl_partial_close(&partial);
    CHECK(exists(shared_path(&place)));
    partial = open_partial(&place, true); /* asked to begin anew */
    CHECK_EQ(wl_partial_present(&partial), 0);
    CHECK_EQ(wl_partial_peek(&place), 0);
    wl_partial_discard(&partial);
    CHECK_EQ(entries_in(place.folder), 0);
    CHECK_EQ(wl_partial_peek(&place), 0);
}

/* A child has the descriptor, and with it the file's lock, for as long as it lives. */
static void check_closed_after_fork(void)
{
    const struct wl_partial_place place = place_of("forked", SIZE);
    struct wl_partial partial = open_partial(&place, false);
    pid_t child;

    put(&partial, 0, 0, BLOCK);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)pause();
        _exit(0);
    }
    wl_partial_close(&partial);
    partial = open_partial(&place, false);
    CHECK(!partial.is_private);
    CHECK_EQ(wl_partial_present(&partial), BLOCK);
    wl_partial_discard(&partial);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
}

static void check_restart(void)
{
    const struct wl_partial_place place = place_of("restart", SIZE);
    struct wl_partial partial = open_partial(&place, false);
    struct wload_error err = {0};

    put_all(&partial);
    CHECK_OK(wl_partial_restart(&partial, &err), &err);
    CHECK_EQ(wl_partial_present(&partial), 0);
    wl_partial_close(&partial);
    CHECK_EQ(wl_partial_peek(&place), 0);
}

/* Between cutting off the map and the rename: the file is whole, and nothing says so. */
static void check_killed_in_publish(void)
{
    const struct wl_partial_place place = place_of("late", SIZE);
    struct wl_partial partial = open_partial(&place, false);
    struct wload_error err = {0};

    put_all(&partial);
    CHECK_EQ(wl_partial_publish(&partial, tree_path("late/no/such"), true, &err),
             WLOAD_ERR_NOT_FOUND);
    wl_partial_close(&partial);
    CHECK_EQ(wl_partial_peek(&place), SIZE);
    partial = open_partial(&place, false);
    CHECK_EQ(wl_partial_present(&partial), SIZE);
    CHECK_OK(wl_partial_publish(&partial, tree_path("late/done"), false, &err), &err);
    check_content(tree_path("late/done"), SIZE);
    CHECK_EQ(entries_in(place.folder), 1);
}

static void check_second(void)
{
    const struct wl_partial_place place = place_of("second", SIZE);
    struct wl_partial first = open_partial(&place, false);
    struct wl_partial second = open_partial(&place, false);
    struct wload_error err = {0};
    char *at;

    CHECK(!first.is_private && second.is_private);
    CHECK(strncmp(second.path, first.path, strlen(place.folder) + 1 + strlen(HASH) + 1) == 0);
    at = second.path + strlen(place.folder) + strlen(HASH) + 2;
    CHECK_EQ(strspn(at, "0123456789abcdef"), 8);
    CHECK_STR(at + 8, ".incomplete");
    put_all(&first);
    CHECK_EQ(wl_partial_present(&second), 0);
    CHECK_EQ(entries_in(place.folder), 2);
    wl_partial_close(&second); /* nobody would resume it */
    CHECK_EQ(entries_in(place.folder), 1);
    CHECK_OK(wl_partial_publish(&first, tree_path("second/done"), false, &err), &err);
}

/* What is left of a file that has come by another way goes, but for one that is in use. */
static void check_sweep(void)
{
    const struct wl_partial_place place = place_of("sweep", SIZE);
    struct wl_partial partial = open_partial(&place, false);

    put_all(&partial);
    wl_partial_sweep(&place);
    CHECK_EQ(wl_partial_peek(&place), SIZE);
    wl_partial_close(&partial);
    wl_partial_sweep(&place);
    CHECK_EQ(entries_in(place.folder), 0);
    wl_partial_sweep(&place);
    tree_write_text("sweep/other", "other");
    CHECK_EQ(symlink("other", shared_path(&place)), 0);
    wl_partial_sweep(&place);
    CHECK_EQ(entries_in(place.folder), 2);
}

/* Its holder publishes the file between our open and our lock: what we have is the final file. */
static struct wl_partial *publishing;

static int publishing_flock(int fd, int operation)
{
    if (publishing) {
        struct wl_partial *partial = publishing;
        struct wload_error err = {0};

        publishing = NULL;
        CHECK_OK(wl_partial_publish(partial, tree_path("handed/done"), false, &err), &err);
    }
    return flock(fd, operation);
}

static void check_handed_over(void)
{
    const struct wl_partial_place place = place_of("handed", SIZE);
    struct wl_partial first = open_partial(&place, false);
    struct wl_sys table = wl_sys_real;
    struct wl_partial second;

    put_all(&first);
    publishing = &first;
    table.flock = publishing_flock;
    wl_sys = &table;
    second = open_partial(&place, false);
    wl_sys = &wl_sys_real;
    CHECK(!second.is_private);
    CHECK_EQ(wl_partial_present(&second), 0);
    check_content(tree_path("handed/done"), SIZE);
    wl_partial_discard(&second);
}

/* ---- Files that are not as they should be ------------------------------------------- */

static void overwrite(const char *path, uint64_t offset, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY);

    CHECK(fd >= 0);
    CHECK_EQ(pwrite(fd, bytes, size, (off_t)offset), (ssize_t)size);
    CHECK_EQ(close(fd), 0);
}

static void check_from_zero(const struct wl_partial_place *place)
{
    struct wl_partial partial;

    CHECK_EQ(wl_partial_peek(place), 0);
    partial = open_partial(place, false);
    CHECK(!partial.is_private);
    CHECK_EQ(wl_partial_present(&partial), 0);
    put_all(&partial);
    wl_partial_close(&partial);
}

static void check_damaged(void)
{
    struct wl_partial_place place = place_of("damaged", SIZE);
    struct wl_partial_place other = place;
    const char *path = shared_path(&place);
    struct wl_partial partial;

    check_from_zero(&place);
    for (uint64_t offset = 0; offset < 24; offset += 8) { /* magic, version, size */
        overwrite(path, MAP_OFFSET + (offset ? 8 + offset : 0), "damaged!", 8);
        check_from_zero(&place);
    }
    overwrite(path, MAP_OFFSET + 40, "another hash", 12);
    check_from_zero(&place);
    CHECK_EQ(truncate(path, (off_t)MAP_OFFSET), 0);
    check_from_zero(&place);
    CHECK_EQ(truncate(path, (off_t)MAP_OFFSET + 4096), 0);
    check_from_zero(&place);
    CHECK_EQ(truncate(path, 0), 0);
    check_from_zero(&place);

    /* Bits beyond the last block claim nothing. */
    overwrite(path, MAP_BITS, "\0\xff", 2);
    CHECK_EQ(wl_partial_peek(&place), BLOCK + 1000);
    other.size_bytes = SIZE - 1;
    CHECK_EQ(wl_partial_peek(&other), 0);
    partial = open_partial(&other, false);
    CHECK_EQ(wl_partial_present(&partial), 0);
    wl_partial_discard(&partial);
}

static void check_private_beside(const struct wl_partial_place *place, const char *planted)
{
    struct wload_error err = {0};
    struct wl_partial partial = open_partial(place, false);
    struct stat before, after;

    CHECK_EQ(lstat(planted, &before), 0);
    CHECK(partial.is_private);
    put_all(&partial);
    CHECK_OK(wl_partial_publish(&partial, tree_path("planted/done"), false, &err), &err);
    check_content(tree_path("planted/done"), SIZE);
    CHECK_EQ(lstat(planted, &after), 0);
    CHECK_EQ(before.st_size, after.st_size);
    CHECK_EQ(before.st_ino, after.st_ino);
}

static void check_planted(void)
{
    const struct wl_partial_place place = place_of("planted", SIZE);
    const char *path = shared_path(&place);
    char victim[TREE_PATH_BYTES];

    (void)snprintf(victim, sizeof(victim), "%s", tree_path("victim"));
    tree_write_text("victim", "precious");
    tree_write_text("planted/none", "");
    CHECK_EQ(symlink("../victim", path), 0);
    check_private_beside(&place, victim);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(link(victim, path), 0);
    check_private_beside(&place, victim);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(mkdir(path, 0755), 0);
    check_private_beside(&place, path);
    CHECK_EQ(rmdir(path), 0);
    CHECK_EQ(mkfifo(path, 0666), 0);
    check_private_beside(&place, path);
    CHECK_EQ(wl_partial_peek(&place), 0);
}

/* ---- The end ------------------------------------------------------------------------ */

static void check_publish_over_link(void)
{
    const struct wl_partial_place place = place_of("store/blobs", SIZE);
    struct wl_partial partial = open_partial(&place, false);
    struct wload_error err = {0};
    struct stat status;
    mode_t mask;

    tree_write_text("store/shared/payload", "shared");
    CHECK_EQ(symlink("../shared/payload", tree_path("store/blobs/" HASH)), 0);
    wl_partial_discard(&partial);
    mask = umask(0027);
    partial = open_partial(&place, false);
    (void)umask(mask);
    put_all(&partial);
    CHECK_OK(wl_partial_publish(&partial, tree_path("store/blobs/" HASH), true, &err), &err);
    check_content(tree_path("store/blobs/" HASH), SIZE);
    CHECK_EQ(stat(tree_path("store/blobs/" HASH), &status), 0);
    CHECK_EQ(status.st_mode & 07777, 0640);
    CHECK_EQ(stat(tree_path("store/shared/payload"), &status), 0);
    CHECK_EQ(status.st_size, 6);
}

static void check_removed(void)
{
    const struct wl_partial_place place = place_of("removed", SIZE);
    struct wl_partial first = open_partial(&place, false);
    struct wload_error err = {0};
    struct wl_partial second;

    put_all(&first);
    CHECK_EQ(unlink(first.path), 0);
    second = open_partial(&place, false); /* another's, under the same name */
    CHECK(!second.is_private);
    CHECK_EQ(wl_partial_publish(&first, tree_path("removed/done"), false, &err),
             WLOAD_ERR_NOT_FOUND);
    CHECK(!exists(tree_path("removed/done")));
    wl_partial_discard(&first);
    CHECK(exists(second.path)); /* not ours to remove */
    wl_partial_discard(&second);
    CHECK_EQ(entries_in(place.folder), 0);
}

static void check_empty(void)
{
    const struct wl_partial_place place = place_of("empty", 0);
    struct wload_error err = {0};
    struct wl_partial partial;
    uint64_t begin, end;

    tree_write_text("empty/old", "old");
    CHECK_EQ(rename(tree_path("empty/old"), shared_path(&place)), 0);
    partial = open_partial(&place, false);
    CHECK(partial.map == NULL);
    CHECK(!wl_partial_gap(&partial, 0, &begin, &end));
    CHECK_EQ(wl_partial_ready(&partial, 0), 0);
    CHECK_EQ(wl_partial_present(&partial), 0);
    CHECK_OK(wl_partial_write(&partial, 0, 0, "", 0, &err), &err);
    CHECK_OK(wl_partial_restart(&partial, &err), &err);
    CHECK_OK(wl_partial_publish(&partial, tree_path("empty/done"), true, &err), &err);
    check_content(tree_path("empty/done"), 0);
    CHECK_EQ(entries_in(place.folder), 1);
}

static void check_unknown_hash(void)
{
    const struct wl_partial_place place = {.folder = tree_path("unknown"),
                                           .stem = "file",
                                           .hash = "",
                                           .size_bytes = SIZE};
    struct wl_partial partial = open_partial(&place, false);

    CHECK(partial.is_private);
    put_all(&partial);
    CHECK_EQ(wl_partial_peek(&place), 0);
    wl_partial_close(&partial);
    CHECK_EQ(entries_in(place.folder), 0);
}

/* ---- Disks that are full, file systems that can do less ----------------------------- */

static int allocate_errno;
static int interruptions;
static uint64_t free_blocks;

static int failing_fallocate(int fd, int mode, off_t offset, off_t size)
{
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    if (allocate_errno == 0) {
        return fallocate(fd, mode, offset, size);
    }
    errno = allocate_errno;
    return -1;
}

static int small_disk(int fd, struct statvfs *out)
{
    CHECK(fd >= 0);
    *out = (struct statvfs){.f_frsize = 4096, .f_bavail = free_blocks};
    return 0;
}

static int no_flock(int fd, int operation)
{
    (void)fd;
    (void)operation;
    errno = ENOLCK;
    return -1;
}

static void check_no_space(const struct wl_partial_place *place)
{
    struct wl_partial partial = {.fd = 7};
    struct wload_error err = {0};

    CHECK_EQ(wl_partial_open(&quiet, place, false, &partial, &err), WLOAD_ERR_NOSPACE);
    CHECK(strstr(err.message, "no room for the 2360296 bytes") != NULL);
    CHECK_EQ(partial.fd, 7);
    CHECK_EQ(entries_in(place->folder), 0);
}

static void check_publishes(const struct wl_partial_place *place, bool is_private)
{
    struct wload_error err = {0};
    struct wl_partial partial = open_partial(place, false);

    CHECK_EQ(partial.is_private, is_private);
    put_all(&partial);
    CHECK_OK(wl_partial_publish(&partial, tree_path("less/done"), true, &err), &err);
    check_content(tree_path("less/done"), SIZE);
    CHECK_EQ(entries_in(place->folder), 1);
    CHECK_EQ(unlink(tree_path("less/done")), 0);
}

/* A whole file that only lacks its name needs no room for another one. */
static void check_whole_on_a_small_disk(const struct wl_partial_place *place)
{
    int fd = open(shared_path(place), O_WRONLY | O_CREAT | O_EXCL, 0600);
    struct wload_error err = {0};
    struct wl_partial partial;

    CHECK_EQ(write(fd, content, SIZE), SIZE);
    CHECK_EQ(close(fd), 0);
    partial = open_partial(place, false);
    CHECK_EQ(wl_partial_present(&partial), SIZE);
    CHECK_OK(wl_partial_publish(&partial, tree_path("less/done"), true, &err), &err);
    check_content(tree_path("less/done"), SIZE);
    CHECK_EQ(unlink(tree_path("less/done")), 0);
}

static void check_less(void)
{
    const struct wl_partial_place place = place_of("less", SIZE);
    struct wl_sys table = wl_sys_real;

    wl_sys = &table;
    table.fallocate = failing_fallocate;
    interruptions = 3;
    check_publishes(&place, false);
    allocate_errno = ENOSPC;
    check_no_space(&place);
    allocate_errno = EDQUOT;
    check_no_space(&place);
    allocate_errno = EOPNOTSUPP; /* then what is free decides */
    check_publishes(&place, false);
    table.fstatvfs = small_disk;
    free_blocks = SIZE / 4096 - 1;
    check_no_space(&place);
    check_whole_on_a_small_disk(&place);
    free_blocks = SIZE;
    check_publishes(&place, false);
    table = wl_sys_real;

    table.flock = no_flock;
    check_publishes(&place, true);
    wl_sys = &wl_sys_real;
}

int main(void)
{
    for (size_t i = 0; i < sizeof(content); i++) {
        content[i] = (unsigned char)(i * 31 + i / 977);
    }
    check_any_order();
    check_threads();
    check_early_flush();
    check_killed();
    check_closed_after_fork();
    check_restart();
    check_killed_in_publish();
    check_second();
    check_sweep();
    check_handed_over();
    check_damaged();
    check_planted();
    check_publish_over_link();
    check_removed();
    check_empty();
    check_unknown_hash();
    check_less();
    return 0;
}
