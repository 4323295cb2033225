/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the window of a fetch gives back the bytes that were kept, or none; when it is full, what
 * is hashed last is given up first; what was hashed without it is free again. Method: two files
 * beside a plain model of their blocks: kept in any order, hashed in order, out of the window or
 * past it, forgotten, for many seeded steps.
 */
#include "base/base.h"
#include "cache/fetch.h"
#include "test.h"

#define BLOCK  ((uint64_t)WL_WINDOW_BLOCK_BYTES)
#define COUNT  8u
#define BLOCKS 32u
#define STEPS  20000u

static struct wl_fetch_item items[2];
static bool is_kept[2][BLOCKS];
static unsigned given_up_count, stale_count;

static uint64_t state = 88172645463325252u;

static unsigned roll(unsigned limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 11) % limit);
}

static struct wl_window open_window(uint32_t count)
{
    struct wl_window window;
    struct wload_error err = {0};

    CHECK_OK(wl_window_open(&window, count, &err), &err);
    return window;
}

static unsigned kept_count(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < BLOCKS; i++) {
        count += is_kept[0][i] + is_kept[1][i];
    }
    return count;
}

/* Of what is not hashed in part, the furthest from being hashed. */
static uint64_t furthest_kept(void)
{
    uint64_t furthest = 0;

    for (unsigned which = 0; which < 2; which++) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            if (is_kept[which][i] && i * BLOCK >= items[which].proven) {
                furthest = wl_max(furthest, i * BLOCK - items[which].proven);
            }
        }
    }
    return furthest;
}

/* What was kept in it is given up, if no block is free; never what is hashed before others. */
static struct wl_window_block *check_take(struct wl_window *window)
{
    const struct wl_fetch_item *owners[COUNT];
    bool is_full = window->free_count == 0;
    uint64_t furthest = furthest_kept();
    struct wl_window_block *block;
    const struct wl_fetch_item *owner;

    for (unsigned i = 0; i < COUNT; i++) {
        owners[i] = window->blocks[i].item;
    }
    block = wl_window_take(window);
    owner = owners[block - window->blocks];
    CHECK(!block->item);
    CHECK_EQ(owner != NULL, is_full);
    if (owner) {
        CHECK(is_kept[owner - items][block->offset / BLOCK]);
        CHECK(block->offset < owner->proven || block->offset - owner->proven == furthest);
        is_kept[owner - items][block->offset / BLOCK] = false;
        given_up_count++;
    }
    return block;
}

static void check_keep(struct wl_window *window, unsigned which, unsigned index)
{
    struct wl_window_block *block;

    if (is_kept[which][index] || index * BLOCK < items[which].proven) {
        return;
    }
    block = check_take(window);
    memset(block->memory, (int)(which * BLOCKS + index), WL_WINDOW_BLOCK_BYTES);
    wl_window_keep(window, block, &items[which], index * BLOCK, WL_WINDOW_BLOCK_BYTES);
    is_kept[which][index] = true;
}

/* Any byte of a block finds it, as the next one to hash; whoever finds it has it alone.  Those
 * before it are free again. */
static bool check_find(struct wl_window *window, unsigned which)
{
    uint64_t offset = items[which].proven;
    unsigned index = (unsigned)(offset / BLOCK);
    struct wl_window_block *block = wl_window_find(window, &items[which], offset);

    CHECK_EQ(block != NULL, is_kept[which][index]);
    for (unsigned i = 0; i < index; i++) {
        stale_count += is_kept[which][i];
        is_kept[which][i] = false;
    }
    if (!block) {
        return false;
    }
    CHECK_EQ(block->offset, index * BLOCK);
    CHECK_EQ(block->memory[offset - block->offset], which * BLOCKS + index);
    CHECK(!wl_window_find(window, &items[which], offset));
    items[which].proven = block->offset + block->size_bytes;
    wl_window_give(window, block);
    is_kept[which][index] = false;
    return true;
}

static void forget(struct wl_window *window, unsigned which)
{
    wl_window_forget(window, &items[which]);
    memset(is_kept[which], 0, sizeof(is_kept[which]));
    items[which].proven = 0;
}

/* As a prover does: out of the window or, while a reader may keep these very bytes, of the file. */
static void check_prove(struct wl_window *window, unsigned which)
{
    struct wl_fetch_item *item = &items[which];

    if (item->proven == BLOCKS * BLOCK) {
        forget(window, which);
    }
    if (!check_find(window, which)) {
        uint64_t size = roll(2) ? BLOCK : 1 + roll(WL_WINDOW_BLOCK_BYTES);

        if (roll(2)) {
            check_keep(window, which, (unsigned)(item->proven / BLOCK));
        }
        item->proven = wl_min(item->proven + size, BLOCKS * BLOCK);
    }
}

static void check_steps(void)
{
    struct wl_window window = open_window(COUNT);
    struct wl_window_block *taken = wl_window_take(&window);

    for (unsigned step = 0; step < STEPS; step++) {
        unsigned which = roll(2);

        switch (roll(8)) {
        case 0:
            if (roll(16) == 0) {
                forget(&window, which);
            }
            break;
        case 1:
        case 2:
        case 3:
            check_prove(&window, which);
            break;
        default:
            check_keep(&window, which, roll(BLOCKS));
        }
        CHECK_EQ(window.free_count + kept_count() + 1, COUNT);
    }
    CHECK(stale_count > STEPS / 1000 && given_up_count > STEPS / 100);
    wl_window_give(&window, taken);
    wl_window_close(&window);
}

static void check_full(void)
{
    struct wl_window window = open_window(COUNT);

    memset(is_kept, 0, sizeof(is_kept));
    items[0].proven = 4 * BLOCK;
    items[1].proven = 0;
    for (unsigned i = 0; i < COUNT - 1; i++) { /* distances 0, 3, 2, 5, ... */
        check_keep(&window, i % 2, i % 2 == 0 ? 4 + i : 2 + i);
    }
    CHECK_EQ(kept_count(), COUNT - 1);
    while (window.free_count > 0) {
        (void)wl_window_take(&window);
    }
    for (unsigned i = 0; i < 3; i++) {
        (void)check_take(&window);
    }
    for (unsigned which = 0; which < 2; which++) {
        while (items[which].proven < BLOCKS * BLOCK) {
            items[which].proven += check_find(&window, which) ? 0 : BLOCK;
        }
    }
    CHECK_EQ(kept_count(), 0);
    wl_window_close(&window);
}

/* A prover that read some of the bytes from the file has no use for them. */
static void check_late(void)
{
    struct wl_window window = open_window(COUNT);

    items[0].proven = BLOCK / 2;
    wl_window_keep(&window, wl_window_take(&window), &items[0], 0, WL_WINDOW_BLOCK_BYTES);
    CHECK_EQ(window.free_count, COUNT);
    CHECK(!wl_window_find(&window, &items[0], BLOCK / 2));
    wl_window_close(&window);
}

int main(void)
{
    check_steps();
    check_full();
    check_late();
    return 0;
}
