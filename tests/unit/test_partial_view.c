/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: who watches a partial file sees what its writer has marked, and never more; what was
 * published meanwhile is whole; what is no partial file is not watched.
 * Method: random writes, looked at through a view and through the writer's own map; a writer on
 * a thread of its own; a map longer than one look; planted files; each system call fails once.
 */
#include "cache/partial_view.h"

#include <errno.h>
#include <pthread.h>

#include "base/base.h"
#include "base/sys.h"
#include "faults.h"
#include "tree.h"

#define BLOCK  ((uint64_t)WL_PARTIAL_BLOCK_BYTES)
#define BLOCKS 37u
#define SIZE   (36 * BLOCK + 1000)
#define HASH   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct wl_log quiet;
static unsigned char content[SIZE];
static uint64_t state = 88172645463325252u;

static uint64_t random_below(uint64_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % limit;
}

/* Each with a folder of its own, whose path stays. */
static struct wl_partial_place place_of(const char *folder, uint64_t size_bytes)
{
    static char paths[16][TREE_PATH_BYTES];
    static unsigned count;
    char *path = paths[count++];

    CHECK(count <= WL_COUNT_OF(paths));
    (void)snprintf(path, TREE_PATH_BYTES, "%s", tree_path(folder));
    return (struct wl_partial_place){.folder = path,
                                     .stem = HASH,
                                     .hash = HASH,
                                     .size_bytes = size_bytes};
}

static struct wl_partial open_partial(const struct wl_partial_place *place)
{
    struct wl_partial partial;
    struct wload_error err = {0};

    CHECK_OK(wl_partial_open(&quiet, place, false, &partial, &err), &err);
    return partial;
}

static void put(struct wl_partial *partial, uint64_t offset, uint64_t size)
{
    struct wload_error err = {0};

    CHECK_OK(wl_partial_write(partial, offset, offset, content + offset, size, &err), &err);
}

static void put_block(struct wl_partial *partial, uint64_t block)
{
    put(partial, block * BLOCK, wl_min(BLOCK, SIZE - block * BLOCK));
}

static void put_all(struct wl_partial *partial)
{
    put(partial, 0, SIZE);
}

static void publish(struct wl_partial *partial, const char *name)
{
    struct wload_error err = {0};

    CHECK_OK(wl_partial_publish(partial, tree_path(name), false, &err), &err);
}

static struct wl_partial_view open_view(const struct wl_partial_place *place)
{
    struct wl_partial_view view = {.fd = -1};

    CHECK(wl_partial_view_open(place, &view));
    CHECK(view.fd >= 0);
    CHECK_EQ(view.size_bytes, place->size_bytes);
    return view;
}

static void check_bytes(const struct wl_partial_view *view, uint64_t offset, uint64_t end)
{
    static unsigned char read_back[SIZE];

    CHECK_EQ(wl_sys_read(view->fd, read_back, end - offset, offset), (int64_t)(end - offset));
    CHECK(memcmp(read_back, content + offset, end - offset) == 0);
}

/* ---- What is there ----------------------------------------------------------------------- */

static void check_like_writer(const struct wl_partial_view *view, const struct wl_partial *partial)
{
    for (int i = 0; i < 100; i++) {
        uint64_t offset = random_below(SIZE);
        uint64_t end = offset + 1 + random_below(SIZE - offset);
        uint64_t ready = wl_partial_view_ready(view, offset, end);

        CHECK_EQ(ready, wl_min(wl_partial_ready(partial, offset), end));
        CHECK_EQ(wl_partial_view_present(view), (wl_partial_present(partial) + BLOCK - 1) / BLOCK);
        check_bytes(view, offset, ready);
    }
}

static void check_random_order(void)
{
    const struct wl_partial_place place = place_of("random", SIZE);
    struct wl_partial partial = open_partial(&place);
    struct wl_partial_view view = open_view(&place);

    CHECK_EQ(wl_partial_view_ready(&view, 0, SIZE), 0);
    CHECK_EQ(wl_partial_view_ready(&view, 12345, SIZE), 12345);
    for (int i = 0; i < 80; i++) {
        put_block(&partial, random_below(BLOCKS));
        check_like_writer(&view, &partial);
    }
    put_all(&partial);
    CHECK_EQ(wl_partial_view_ready(&view, 0, SIZE), SIZE);
    CHECK_EQ(wl_partial_view_ready(&view, SIZE - 1, SIZE), SIZE);
    wl_partial_view_close(&view);
    CHECK_EQ(view.fd, -1);
    wl_partial_view_close(&view);
    wl_partial_discard(&partial);
}

/* The part of a block that was written is not there before the block is. */
static void check_parts_of_blocks(void)
{
    const struct wl_partial_place place = place_of("parts", SIZE);
    struct wl_partial partial = open_partial(&place);
    struct wl_partial_view view = open_view(&place);
    struct wload_error err = {0};

    put(&partial, 0, BLOCK + 100);
    CHECK_EQ(wl_partial_view_ready(&view, 5, SIZE), BLOCK);
    CHECK_EQ(wl_partial_view_ready(&view, BLOCK + 5, SIZE), BLOCK + 5);
    CHECK_OK(wl_partial_write(&partial, 0, BLOCK + 100, content + BLOCK + 100, BLOCK - 100, &err),
             &err);
    CHECK_EQ(wl_partial_view_ready(&view, 5, SIZE), 2 * BLOCK);
    CHECK_EQ(wl_partial_view_ready(&view, 5, BLOCK + 7), BLOCK + 7);
    wl_partial_view_close(&view);
    wl_partial_discard(&partial);
}

/* One look does not reach the end; several do. */
static void check_long_map(void)
{
    const uint64_t blocks = 5000;
    unsigned char bits[5000 / 8];
    const struct wl_partial_place place = place_of("long", blocks * BLOCK);
    struct wl_partial_view view;
    struct wl_partial partial;
    uint64_t at = 3 * BLOCK + 17;
    unsigned looks = 0;

    partial = open_partial(&place);
    view = open_view(&place);
    memset(bits, 0xff, sizeof(bits));
    bits[4003 / 8] = (unsigned char)~(1u << 4003 % 8);
    CHECK_EQ(pwrite(partial.fd, bits, sizeof(bits), (off_t)partial.map_offset), sizeof(bits));
    while (at < 4003 * BLOCK) {
        uint64_t ready = wl_partial_view_ready(&view, at, blocks * BLOCK);

        CHECK(ready > at && ready <= 4003 * BLOCK);
        at = ready;
        looks++;
    }
    CHECK(looks < 10);
    CHECK_EQ(wl_partial_view_ready(&view, at, blocks * BLOCK), at);
    CHECK_EQ(wl_partial_view_present(&view), blocks - 1);
    CHECK_EQ(wl_partial_view_ready(&view, 4004 * BLOCK, blocks * BLOCK), blocks * BLOCK);
    wl_partial_view_close(&view);
    wl_partial_discard(&partial);
}

/* ---- What becomes of it -------------------------------------------------------------------- */

static void check_published(void)
{
    const struct wl_partial_place place = place_of("published", SIZE);
    struct wl_partial partial = open_partial(&place);
    struct wl_partial_view view = open_view(&place);

    put_all(&partial);
    publish(&partial, "published/done");
    CHECK_EQ(wl_partial_view_ready(&view, 0, SIZE), SIZE);
    CHECK_EQ(wl_partial_view_ready(&view, 7, 9), 9);
    check_bytes(&view, 0, SIZE);
    wl_partial_view_close(&view);
    CHECK(!wl_partial_view_open(&place, &view)); /* under its old name there is nothing */
}

/* Its writer died after it had cut the map off. */
static void check_whole(void)
{
    const struct wl_partial_place place = place_of("whole", SIZE);
    struct wl_partial partial = open_partial(&place);
    struct wl_partial_view view;

    put_all(&partial);
    CHECK_EQ(ftruncate(partial.fd, (off_t)SIZE), 0);
    view = open_view(&place);
    CHECK_EQ(wl_partial_view_ready(&view, 0, SIZE), SIZE);
    check_bytes(&view, 0, SIZE);
    wl_partial_view_close(&view);
    CHECK_EQ(unlink(partial.path), 0);
    wl_partial_discard(&partial);
}

static void check_discarded(void)
{
    const struct wl_partial_place place = place_of("discarded", SIZE);
    struct wl_partial partial = open_partial(&place);
    struct wl_partial_view view = open_view(&place);
    struct wl_partial second;

    put_block(&partial, 0);
    put_block(&partial, 1);
    wl_partial_discard(&partial);
    CHECK_EQ(wl_partial_view_ready(&view, 0, SIZE), 2 * BLOCK);
    check_bytes(&view, 0, 2 * BLOCK);
    second = open_partial(&place); /* another file, which is nothing of this view's */
    put_all(&second);
    CHECK_EQ(wl_partial_view_ready(&view, 0, SIZE), 2 * BLOCK);
    wl_partial_view_close(&view);
    wl_partial_discard(&second);
}

static void check_restarted(void)
{
    const struct wl_partial_place place = place_of("restarted", SIZE);
    struct wl_partial partial = open_partial(&place);
    struct wl_partial_view view = open_view(&place);
    struct wload_error err = {0};

    put_all(&partial);
    CHECK_OK(wl_partial_restart(&partial, &err), &err);
    CHECK_EQ(wl_partial_view_ready(&view, 0, SIZE), 0);
    wl_partial_view_close(&view);
    wl_partial_discard(&partial);
}

/* ---- What is not watched ------------------------------------------------------------------- */

static bool can_open(const struct wl_partial_place *place)
{
    struct wl_partial_view view;
    bool is_open = wl_partial_view_open(place, &view);

    if (is_open) {
        wl_partial_view_close(&view);
    }
    return is_open;
}

static void check_no_partial_files(void)
{
    struct wl_partial_place place = place_of("none", SIZE);
    struct wl_partial partial;
    char path[TREE_PATH_BYTES];
    unsigned before = faults_open_descriptors();
    int fd;

    CHECK(!can_open(&place)); /* not even a folder */
    partial = open_partial(&place);
    (void)snprintf(path, sizeof(path), "%s", partial.path);
    put_block(&partial, 0);
    CHECK(can_open(&place));
    place.size_bytes = SIZE - 1;
    CHECK(!can_open(&place));
    place.size_bytes = UINT64_MAX;
    CHECK(!can_open(&place));
    place.size_bytes = SIZE;
    place.hash = "";
    CHECK(!can_open(&place));
    place.hash = HASH;

    CHECK_EQ(ftruncate(partial.fd, (off_t)SIZE + 10), 0); /* without its map */
    CHECK(!can_open(&place));
    wl_partial_discard(&partial);

    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK(!can_open(&place)); /* empty */
    CHECK_EQ(write(fd, "garbage", 7), 7);
    CHECK(!can_open(&place));
    CHECK_EQ(close(fd), 0);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(mkdir(path, 0700), 0);
    CHECK(!can_open(&place));
    CHECK_EQ(rmdir(path), 0);
    CHECK_EQ(symlink("/etc/hostname", path), 0);
    CHECK(!can_open(&place));
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(mkfifo(path, 0600), 0); /* nobody waits for its other end */
    CHECK(!can_open(&place));
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(faults_open_descriptors(), before);
}

/* A map that is cut off while it is read, or cannot be read, says nothing. */
static void check_lost_map(void)
{
    const struct wl_partial_place place = place_of("lost", SIZE);
    struct wl_partial partial = open_partial(&place);
    struct wl_partial_view view = open_view(&place);

    put_all(&partial);
    CHECK_EQ(ftruncate(partial.fd, (off_t)SIZE + 1), 0);
    CHECK_EQ(wl_partial_view_ready(&view, 0, SIZE), 0);
    CHECK_EQ(wl_partial_view_ready(&view, 3 * BLOCK + 1, SIZE), 3 * BLOCK + 1);
    CHECK_EQ(ftruncate(partial.fd, 10), 0);
    CHECK_EQ(wl_partial_view_ready(&view, 0, SIZE), 0);
    wl_partial_view_close(&view);
    CHECK_EQ(unlink(partial.path), 0);
    wl_partial_discard(&partial);
}

static void check_faults(void)
{
    const struct wl_partial_place place = place_of("faults", SIZE);
    struct wl_partial partial = open_partial(&place);
    struct faults faults = {0};
    unsigned before = faults_open_descriptors();
    uint64_t calls;
    unsigned failed_count = 0;

    put_block(&partial, 0);
    do {
        struct wl_partial_view view = {.fd = -1};
        bool is_open;

        faults.fail_at++;
        faults_begin(&faults);
        is_open = wl_partial_view_open(&place, &view);
        if (is_open) {
            uint64_t ready = wl_partial_view_ready(&view, 0, SIZE);

            CHECK(ready == 0 || ready == BLOCK);
            wl_partial_view_close(&view);
        }
        CHECK_EQ(faults_live_blocks(), 0);
        calls = faults_end();
        failed_count += !is_open;
        CHECK_EQ(faults_open_descriptors(), before);
    } while (faults.fail_at <= calls);
    CHECK(failed_count >= 3);
    wl_partial_discard(&partial);
}

/* ---- A writer beside ------------------------------------------------------------------------- */

static void *write_blocks(void *argument)
{
    struct wl_partial *partial = argument;

    for (uint64_t i = 0; i < BLOCKS; i++) {
        put_block(partial, i * 10 % BLOCKS); /* each once: 37 is a prime */
    }
    publish(partial, "beside/done");
    return NULL;
}

static void check_writer_beside(void)
{
    const struct wl_partial_place place = place_of("beside", SIZE);
    struct wl_partial partial = open_partial(&place);
    struct wl_partial_view view = open_view(&place);
    uint64_t at = 0;
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, write_blocks, &partial), 0);
    while (at < SIZE) {
        uint64_t ready = wl_partial_view_ready(&view, at, SIZE);

        check_bytes(&view, at, ready);
        at = ready;
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    wl_partial_view_close(&view);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(content); i++) {
        content[i] = (unsigned char)random_below(256);
    }
    check_random_order();
    check_parts_of_blocks();
    check_long_map();
    check_published();
    check_whole();
    check_discarded();
    check_restarted();
    check_no_partial_files();
    check_lost_map();
    check_faults();
    check_writer_beside();
    return 0;
}
