/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: when a file's hash is wrong, nothing of the first download is hashed in the second.
 * Method: a prover, and a test that plays its reader: a block is kept whose bytes the prover has
 * read from the file, one byte is wrong, and then all is kept again as it should be.
 */
#include "base/base.h"
#include "base/sys.h"
#include "cache/fetch.h"
#include "tree.h"

#define HALF  ((uint64_t)WL_PARTIAL_BLOCK_BYTES)
#define SIZE  (3 * HALF)
#define COUNT 8u

static unsigned char content[SIZE];
static const char *published;

static int publish(struct wl_store *store, const struct wl_listing_file *file,
                   struct wl_partial *partial, struct wload_error *err)
{
    (void)store;
    (void)file;
    return wl_partial_publish(partial, published, false, err);
}

static const struct wl_store_ops ops = {.name = "test", .publish = publish};

static struct wl_listing_file listed(void)
{
    static char name[] = "model.safetensors";
    struct wl_listing_file file = {.name = name, .size_bytes = SIZE};
    struct wload_error err = {0};
    struct wl_digest *digest;

    CHECK_OK(wl_digest_new(WL_DIGEST_SHA256, &digest, &err), &err);
    CHECK_OK(wl_digest_add(digest, content, SIZE, &err), &err);
    CHECK_OK(wl_digest_finish(digest, file.hash, &err), &err);
    wl_digest_free(digest);
    return file;
}

static void open_item(const struct wl_listing_file *file, struct wl_fetch_item *item)
{
    static const struct wl_log quiet;
    static char folder[TREE_PATH_BYTES];
    const struct wl_partial_place place = {.folder = folder,
                                           .stem = file->hash,
                                           .hash = file->hash,
                                           .size_bytes = SIZE};
    struct wload_error err = {0};

    (void)snprintf(folder, sizeof(folder), "%s", tree_path("prove"));
    *item = (struct wl_fetch_item){.file = file,
                                   .state = WL_FETCH_READING,
                                   .next = SIZE,
                                   .lock = {.fd = -1}};
    item->remote = (struct wl_remote){.url = "http://127.0.0.1/model",
                                      .name = file->name,
                                      .size_bytes = SIZE,
                                      .hash = file->hash};
    CHECK_OK(wl_partial_open(&quiet, &place, true, &item->partial, &err), &err);
    CHECK_OK(wl_digest_of_file(file->hash, SIZE, &item->digest, &err), &err);
}

/* As a reader does, with the mutex. */
static void write_and_keep(struct wl_fetch *fetch, uint64_t offset, uint64_t size, bool is_kept)
{
    struct wl_window_block *block = wl_window_take(&fetch->window);
    struct wl_fetch_item *item = &fetch->items[0];
    struct wload_error err = {0};

    memcpy(block->memory, content + offset, size);
    CHECK_OK(wl_partial_write(&item->partial, offset, offset, block->memory, size, &err), &err);
    if (is_kept) {
        wl_window_keep(&fetch->window, block, item, offset, (uint32_t)size);
    } else {
        wl_window_give(&fetch->window, block);
    }
}

/* The middle is not kept, so that the prover reads it with what is behind it from the file. */
static void write_wrong(struct wl_fetch *fetch)
{
    content[SIZE - 1] ^= 1;
    write_and_keep(fetch, 2 * HALF, HALF, true);
    write_and_keep(fetch, HALF, HALF, false);
    write_and_keep(fetch, 0, HALF, true);
    content[SIZE - 1] ^= 1;
}

static void check_empty(const struct wl_window *window)
{
    CHECK_EQ(window->free_count, COUNT - 1); /* the prover has one */
    for (unsigned i = 0; i < COUNT; i++) {
        CHECK(!window->blocks[i].item);
    }
}

static void check_second(struct wl_fetch *fetch)
{
    pthread_t prover;

    CHECK_EQ(pthread_mutex_lock(&fetch->mutex), 0);
    write_wrong(fetch);
    CHECK_EQ(pthread_create(&prover, NULL, wl_fetch_prove, fetch), 0);
    while (!fetch->items[0].is_second && !fetch->is_ending) {
        wl_fetch_rest(fetch, &fetch->reads);
    }
    CHECK_EQ(fetch->rc, WLOAD_OK);
    CHECK_EQ(fetch->items[0].proven, 0);
    check_empty(&fetch->window);
    write_and_keep(fetch, 0, 2 * HALF, true);
    write_and_keep(fetch, 2 * HALF, HALF, true);
    CHECK_EQ(pthread_cond_signal(&fetch->proves), 0);
    CHECK_EQ(pthread_mutex_unlock(&fetch->mutex), 0);
    CHECK_EQ(pthread_join(prover, NULL), 0);
    CHECK_OK(fetch->rc, &fetch->error);
    CHECK_EQ(fetch->items[0].state, WL_FETCH_DONE);
    CHECK_EQ(fetch->window.free_count, COUNT);
    CHECK_EQ(access(published, R_OK), 0);
}

static void init_conditions(struct wl_fetch *fetch)
{
    pthread_cond_t *conditions[] = {&fetch->reads, &fetch->proves, &fetch->frees, &fetch->ends};
    pthread_condattr_t attributes;

    CHECK_EQ(pthread_condattr_init(&attributes), 0);
    CHECK_EQ(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), 0);
    for (size_t i = 0; i < WL_COUNT_OF(conditions); i++) {
        CHECK_EQ(pthread_cond_init(conditions[i], &attributes), 0);
    }
    CHECK_EQ(pthread_condattr_destroy(&attributes), 0);
}

int main(void)
{
    struct wl_listing_file file;
    struct wl_snapshot snapshot = {.store.ops = &ops};
    struct wl_fetch_item item;
    struct wl_fetch_item *open[1] = {&item};
    struct wl_fetch fetch = {.snapshot = &snapshot,
                             .mutex = PTHREAD_MUTEX_INITIALIZER,
                             .items = &item,
                             .count = 1,
                             .open = open,
                             .open_count = 1};
    struct wload_error err = {0};

    for (size_t i = 0; i < SIZE; i++) {
        content[i] = (unsigned char)(i * 31 + i / 977);
    }
    init_conditions(&fetch);
    published = tree_path("prove/done");
    file = listed();
    open_item(&file, &item);
    CHECK_OK(wl_transfer_init(&fetch.transfer, &snapshot.config, &snapshot.log, 1, &err), &err);
    CHECK_OK(wl_window_open(&fetch.window, COUNT, &err), &err);
    check_second(&fetch);
    wl_window_close(&fetch.window);
    wl_remote_clear(&item.remote);
    wl_transfer_clear(&fetch.transfer);
    return 0;
}
