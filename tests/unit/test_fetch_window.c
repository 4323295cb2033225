/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the window of a fetch gives back the bytes that were kept, or none; when it is full, what
 * is hashed last is given up first. Method: two files beside a plain model of their blocks: kept in
 * any order, hashed in order, forgotten, for many seeded steps.
 */
#include "base/base.h"
#include "cache/fetch.h"
#include "test.h"

#define BLOCK  ((uint64_t)WL_WINDOW_BLOCK_BYTES)
#define COUNT  8u
#define BLOCKS 32u
#define STEPS  20000u

static struct wl_fetch_item items[2];
static bool is_kept[2][BLOCKS]; /* as far as we know; the window may have given it up */

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

/* The one that the window must give up next. */
static void give_up_furthest(void)
{
    uint64_t distance_max = 0;
    bool *furthest = NULL;
    unsigned equal = 0;

    for (unsigned which = 0; which < 2; which++) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            uint64_t distance = i * BLOCK - items[which].proven;

            if (is_kept[which][i] && distance > distance_max) {
                furthest = &is_kept[which][i];
                distance_max = distance;
                equal = 0;
            } else if (is_kept[which][i] && distance == distance_max) {
                equal++;
            }
        }
    }
    CHECK(furthest && equal == 0);
    *furthest = false;
}

static void check_keep(struct wl_window *window, unsigned which, unsigned index)
{
    struct wl_window_block *block;

    if (is_kept[which][index] || index * BLOCK < items[which].proven) {
        return;
    }
    if (kept_count() == COUNT - 1) { /* one is taken by the test */
        return;
    }
    block = wl_window_take(window);
    CHECK(!block->item);
    memset(block->memory, (int)(which * BLOCKS + index), WL_WINDOW_BLOCK_BYTES);
    wl_window_keep(window, block, &items[which], index * BLOCK, WL_WINDOW_BLOCK_BYTES);
    is_kept[which][index] = true;
}

/* Any byte of a block finds it; whoever finds it has it alone. */
static void check_find(struct wl_window *window, unsigned which, unsigned index)
{
    uint64_t offset = index * BLOCK + roll(WL_WINDOW_BLOCK_BYTES);
    struct wl_window_block *block = wl_window_find(window, &items[which], offset);

    CHECK_EQ(block != NULL, is_kept[which][index]);
    if (block) {
        CHECK_EQ(block->offset, index * BLOCK);
        CHECK_EQ(block->memory[offset - block->offset], which * BLOCKS + index);
        CHECK(!wl_window_find(window, &items[which], offset));
        wl_window_give(window, block);
        is_kept[which][index] = false;
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
            wl_window_forget(&window, &items[which]);
            memset(is_kept[which], 0, sizeof(is_kept[which]));
            items[which].proven = 0;
            break;
        case 1:
        case 2:
            check_find(&window, which, roll(BLOCKS));
            break;
        default:
            check_keep(&window, which, roll(BLOCKS));
        }
    }
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
        struct wl_window_block *block = wl_window_take(&window);

        give_up_furthest();
        CHECK(block && !block->item);
    }
    for (unsigned which = 0; which < 2; which++) {
        for (unsigned index = 0; index < BLOCKS; index++) {
            check_find(&window, which, index);
        }
    }
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
