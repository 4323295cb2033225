/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/fetch_window.h"

#include <sys/mman.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"
#include "cache/fetch.h"

int wl_window_open(struct wl_window *window, uint32_t block_count, struct wload_error *err)
{
    void *memory = wl_sys->mmap(NULL, (size_t)block_count * WL_WINDOW_BLOCK_BYTES,
                                PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *window = (struct wl_window){
        .memory = memory == MAP_FAILED ? NULL : memory,
        .blocks = wl_sys_array(block_count, sizeof(window->blocks[0])),
        .free = wl_sys_array(block_count, sizeof(struct wl_window_block *)),
        .count = block_count,
    };
    if (!window->memory || !window->blocks || !window->free) {
        wl_window_close(window);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to download into");
    }
    for (uint32_t i = 0; i < block_count; i++) {
        window->blocks[i].memory = window->memory + (size_t)i * WL_WINDOW_BLOCK_BYTES;
        wl_window_give(window, &window->blocks[i]);
    }
    return WLOAD_OK;
}

void wl_window_close(struct wl_window *window)
{
    if (window->memory) {
        (void)wl_sys->munmap(window->memory, (size_t)window->count * WL_WINDOW_BLOCK_BYTES);
    }
    wl_sys->free(window->blocks);
    wl_sys->free(window->free);
    *window = (struct wl_window){0};
}

void wl_window_give(struct wl_window *window, struct wl_window_block *block)
{
    WL_ASSERT(!block->item && window->free_count < window->count);
    window->free[window->free_count++] = block;
}

/* Of the blocks that are kept, the one that will be hashed last.  One that is hashed already, if
 * only in part, counts as the furthest of all: its distance is below zero, and it is of least use.
 */
static struct wl_window_block *find_furthest(struct wl_window *window)
{
    struct wl_window_block *furthest = NULL;
    uint64_t distance_max = 0;

    for (uint32_t i = 0; i < window->count; i++) {
        struct wl_window_block *block = &window->blocks[i];
        uint64_t distance = block->item ? block->offset - block->item->proven : 0;

        if (block->item && distance >= distance_max) {
            furthest = block;
            distance_max = distance;
        }
    }
    return furthest;
}

struct wl_window_block *wl_window_take(struct wl_window *window)
{
    struct wl_window_block *block =
        window->free_count > 0 ? window->free[--window->free_count] : find_furthest(window);

    WL_ASSERT(block);
    block->item = NULL;
    return block;
}

void wl_window_keep(struct wl_window *window, struct wl_window_block *block,
                    const struct wl_fetch_item *item, uint64_t offset, uint32_t size_bytes)
{
    if (offset < item->proven) { /* a prover was faster, and read them from the file */
        wl_window_give(window, block);
        return;
    }
    block->item = item;
    block->offset = offset;
    block->size_bytes = size_bytes;
}

struct wl_window_block *wl_window_find(struct wl_window *window, const struct wl_fetch_item *item,
                                       uint64_t offset)
{
    struct wl_window_block *found = NULL;

    for (uint32_t i = 0; i < window->count; i++) {
        struct wl_window_block *block = &window->blocks[i];

        if (block->item != item || block->offset > offset) {
            continue;
        }
        block->item = NULL;
        if (!found && offset - block->offset < block->size_bytes) {
            found = block;
        } else { /* it was kept when its bytes had been read from the file */
            wl_window_give(window, block);
        }
    }
    return found;
}

void wl_window_forget(struct wl_window *window, const struct wl_fetch_item *item)
{
    for (uint32_t i = 0; i < window->count; i++) {
        if (window->blocks[i].item == item) {
            window->blocks[i].item = NULL;
            wl_window_give(window, &window->blocks[i]);
        }
    }
}
