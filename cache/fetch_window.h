/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window of a fetch: memory that bytes stay in from when they are received
 * until they are hashed, so that nobody has to read them back.
 *
 *   FREE --take--> TAKEN --keep--> KEPT --find--> TAKEN --give--> FREE
 *                    ^               |
 *                    +-- no FREE one +    the file has its bytes: they are read from there
 *
 * What is furthest from being hashed is given up first.  Memory is touched when it
 * is used, and what was used last is used next.
 *
 * With the mutex of the fetch held.
 */
#ifndef WL_FETCH_WINDOW_H
#define WL_FETCH_WINDOW_H

#include "cache/partial.h"

#define WL_WINDOW_BLOCK_BYTES (2 * WL_PARTIAL_BLOCK_BYTES)

struct wl_fetch_item;

struct wl_window_block {
    uint8_t *memory;                  /* WL_WINDOW_BLOCK_BYTES, page-aligned */
    const struct wl_fetch_item *item; /* whose bytes are kept here; NULL: FREE or TAKEN */
    uint64_t offset;
    uint32_t size_bytes;
};

struct wl_window {
    uint8_t *memory;
    struct wl_window_block *blocks;
    struct wl_window_block **free; /* a stack */
    uint32_t count;
    uint32_t free_count;
};

int wl_window_open(struct wl_window *window, uint32_t block_count, struct wload_error *err);
void wl_window_close(struct wl_window *window);

/* A block to fill.  There must be more than are TAKEN. */
struct wl_window_block *wl_window_take(struct wl_window *window);
void wl_window_give(struct wl_window *window, struct wl_window_block *block);

/* The block holds these bytes of the item, and they are written. */
void wl_window_keep(struct wl_window *window, struct wl_window_block *block,
                    const struct wl_fetch_item *item, uint64_t offset, uint32_t size_bytes);

/* What is kept of the item's bytes is worth nothing any more. */
void wl_window_forget(struct wl_window *window, const struct wl_fetch_item *item);

/* Take the block that holds the item's byte at `offset`, which is hashed next; NULL: there is none.
 * Those before it are given back. */
struct wl_window_block *wl_window_find(struct wl_window *window, const struct wl_fetch_item *item,
                                       uint64_t offset);

#endif /* WL_FETCH_WINDOW_H */
