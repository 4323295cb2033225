/* SPDX-License-Identifier: Apache-2.0 */
/* The readers of a fetch: files are opened, pieces of them asked for and written. */
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/sys.h"
#include "cache/fetch.h"

#define PIECE_BYTES_MAX   (64u << 20) /* of one request */
#define PIECE_BYTES_MIN   (8u << 20)  /* towards the end, so that all connections end together */
#define PIECES_PER_READER 2u
#define PATIENCE_NS       (200 * 1000000ll)
#define LOCK_RETRY_NS     (50 * 1000000ll)

struct piece {
    struct wl_fetch *fetch;
    struct wl_fetch_item *item;
    uint64_t begin;
    uint64_t end;
    struct wl_window_block *block; /* bytes come in small parts; whole blocks are written: */
    uint32_t filled;               /* those at its start are not written yet */
    struct wl_transfer_pace pace;
    bool is_uncounted; /* it is about to end, and the next may be asked for */
    struct wload_error *err;
};

/* ---- Opening a file ----------------------------------------------------------------------- */

/* WLOAD_ERR_LOCKED: not now.  1: it is there already. */
static int open_item(struct wl_fetch *fetch, struct wl_fetch_item *item, struct wload_error *err)
{
    struct wl_store *store = &fetch->snapshot->store;
    bool is_forced = fetch->options->is_forced != 0 && !item->is_twin;
    struct wl_partial_place place;
    int rc = store->ops->lock(store, item->file, &item->lock, err);

    if (rc < 0) {
        return rc;
    }
    rc = is_forced ? 0 : store->ops->adopt(store, item->file, &fetch->transfer.is_canceled, err);
    if (rc != 0) {
        goto out_unlock;
    }
    rc = store->ops->place(store, item->file, &place, err);
    if (rc < 0) {
        goto out_unlock;
    }
    rc = wl_partial_open(&store->log, &place, is_forced, &item->partial, err);
    wl_store_place_clear(&place);
    if (rc < 0) {
        goto out_unlock;
    }
    rc = wl_partial_set_io(&item->partial, &store->log, fetch->options->io_policy, err);
    rc = rc < 0 ? rc
                : wl_digest_of_file(item->file->hash, item->file->size_bytes, &item->digest, err);
    if (rc < 0) {
        goto out_close;
    }
    return WLOAD_OK;

out_close:
    wl_partial_close(&item->partial);
out_unlock:
    wl_lock_release(&item->lock);
    return rc;
}

/* Another process has the file, which is no failure unless it takes too long. */
static int wait_for_lock(struct wl_fetch *fetch, struct wl_fetch_item *item,
                         struct wload_error *err)
{
    int64_t now = wl_clock_ns();

    if (item->refused_ns == 0) {
        item->refused_ns = now;
        fetch->refused_count++;
    }
    item->retry_ns = now + LOCK_RETRY_NS;
    return wl_lock_wait(&fetch->snapshot->log, item->file->name, now - item->refused_ns,
                        fetch->snapshot->config.lock_timeout_ms, &item->is_noticed, err);
}

/* With the mutex, which it gives up meanwhile. */
static void begin_item(struct wl_fetch *fetch, struct wl_fetch_item *item)
{
    struct wload_error err = {0};
    int rc;

    item->state = WL_FETCH_OPENING;
    fetch->opening_count++;
    pthread_mutex_unlock(&fetch->mutex);
    rc = open_item(fetch, item, &err);
    pthread_mutex_lock(&fetch->mutex);
    fetch->opening_count--;
    item->state = WL_FETCH_WAITING;
    if (rc == WLOAD_ERR_LOCKED) {
        rc = wait_for_lock(fetch, item, &err);
    } else {
        fetch->refused_count -= item->refused_ns != 0;
        item->refused_ns = 0;
    }
    if (rc < 0) {
        wl_fetch_fail(fetch, rc, &err);
    } else if (rc > 0) {
        wl_fetch_leave(fetch, item, WL_FETCH_DONE);
    } else if (item->refused_ns == 0) {
        item->state = WL_FETCH_READING;
        item->next = 0;
        item->proven = 0;
        fetch->open[fetch->open_count++] = item;
        pthread_cond_broadcast(&fetch->reads);
        pthread_cond_signal(&fetch->proves);
    }
}

/* A file that nobody has looked at, or one that is back at its beginning. */
static struct wl_fetch_item *next_waiting(struct wl_fetch *fetch)
{
    int64_t now;

    if (fetch->open_count + fetch->opening_count == fetch->transfer.connection_count) {
        return NULL;
    }
    while (fetch->begun_count < fetch->count) {
        struct wl_fetch_item *item = &fetch->items[fetch->begun_count++];

        if (!item->is_twin) {
            return item;
        }
    }
    now = wl_clock_ns();
    for (uint32_t i = 0; i < fetch->count && fetch->refused_count > 0; i++) {
        struct wl_fetch_item *item = &fetch->items[i];

        if (item->state == WL_FETCH_WAITING && item->refused_ns != 0 && item->retry_ns <= now) {
            return item;
        }
    }
    return NULL;
}

/* ---- Pieces --------------------------------------------------------------------------------- */

/*
 * With the mutex, which it gives up meanwhile: a block for the item's bytes from
 * `offset` on.  A reader that is ahead of the provers at work waits for them a
 * little, where it would push others' bytes out of the window.
 */
static struct wl_window_block *next_block(struct wl_fetch *fetch, const struct wl_fetch_item *item,
                                          uint64_t offset)
{
    int64_t until = wl_clock_ns() + PATIENCE_NS;

    while (fetch->window.free_count == 0 && fetch->hashing_count > 0 && offset > item->proven &&
           !fetch->is_ending && wl_clock_ns() < until) {
        wl_fetch_rest(fetch, &fetch->frees);
    }
    return wl_window_take(&fetch->window);
}

/* With the mutex: the next piece may be asked for. */
static void stop_counting(struct piece *piece)
{
    if (!piece->is_uncounted) {
        piece->is_uncounted = true;
        piece->fetch->reading_count--;
        pthread_cond_signal(&piece->fetch->reads);
    }
}

/* The block is whole, or the piece is, at `end`: write it, and leave it to the provers. */
static int write_block(struct piece *piece, uint64_t end)
{
    struct wl_fetch *fetch = piece->fetch;
    uint32_t size = piece->filled;
    int rc = wl_partial_write(&piece->item->partial, piece->begin, end - size, piece->block->memory,
                              size, piece->err);

    piece->filled = 0;
    if (rc == WLOAD_OK) {
        pthread_mutex_lock(&fetch->mutex);
        wl_window_keep(&fetch->window, piece->block, piece->item, end - size, size);
        pthread_cond_signal(&fetch->proves);
        if (wl_transfer_is_ending(&piece->pace, wl_clock_ns(), end - piece->begin,
                                  piece->end - end)) {
            stop_counting(piece);
        }
        piece->block = next_block(fetch, piece->item, end);
        pthread_mutex_unlock(&fetch->mutex);
    }
    return rc;
}

static int take_bytes(void *user, uint64_t offset, const void *data, size_t size_bytes)
{
    struct piece *piece = user;
    const uint8_t *from = data;
    int rc = WLOAD_OK;

    while (size_bytes > 0 && rc == WLOAD_OK) {
        size_t room = WL_WINDOW_BLOCK_BYTES - offset % WL_WINDOW_BLOCK_BYTES;
        size_t size = wl_min(size_bytes, room);

        memcpy(piece->block->memory + piece->filled, from, size);
        piece->filled += (uint32_t)size;
        from += size;
        offset += size;
        size_bytes -= size;
        rc = size == room || offset == piece->end ? write_block(piece, offset) : WLOAD_OK;
    }
    return rc;
}

/* What several read of one file at once has to wait in the window until it is hashed. */
static uint64_t piece_bytes(const struct wl_fetch *fetch)
{
    uint64_t connections = fetch->transfer.connection_count;
    bool is_in_order = fetch->open_count >= connections;
    uint64_t room = (uint64_t)fetch->window.count * WL_WINDOW_BLOCK_BYTES;
    uint64_t most = is_in_order ? PIECE_BYTES_MAX : room / (connections * PIECES_PER_READER);
    uint64_t share = fetch->left_bytes / (connections * PIECES_PER_READER);
    uint64_t piece = wl_min(wl_min(wl_max(share, PIECE_BYTES_MIN), most), PIECE_BYTES_MAX);

    return wl_round_down(wl_max(piece, WL_WINDOW_BLOCK_BYTES), WL_WINDOW_BLOCK_BYTES);
}

/* The next gap of an open file that a reader may take. */
static bool find_gap(struct wl_fetch *fetch, struct wl_fetch_item *item, uint64_t *begin,
                     uint64_t *end)
{
    bool is_whole = wl_remote_refuses_ranges(&fetch->transfer, &item->remote);

    if (item->state != WL_FETCH_READING || (is_whole && item->readers > 0) ||
        !wl_partial_gap(&item->partial, item->next, begin, end)) {
        return false;
    }
    if (!is_whole) {
        *end = wl_min(*end, *begin + piece_bytes(fetch));
    }
    return true;
}

/* A piece of the open file that the fewest are reading. */
static bool take_piece(struct wl_fetch *fetch, struct piece *out)
{
    struct wl_fetch_item *best = NULL;

    if (fetch->reading_count == fetch->transfer.connection_count) {
        return false;
    }
    for (uint32_t i = 0; i < fetch->open_count; i++) {
        struct wl_fetch_item *item = fetch->open[i];
        uint64_t begin, end;

        if ((!best || item->readers < best->readers) && find_gap(fetch, item, &begin, &end)) {
            best = item;
            *out = (struct piece){.fetch = fetch, .item = item, .begin = begin, .end = end};
        }
    }
    if (!best) {
        return false;
    }
    fetch->left_bytes -= wl_min(fetch->left_bytes, out->end - best->next);
    best->next = out->end;
    best->readers++;
    fetch->reading_count++;
    return true;
}

/* With the mutex, which it gives up meanwhile. */
static void read_piece(struct wl_fetch *fetch, struct piece *piece)
{
    struct wl_lines *lines = &fetch->snapshot->lines;
    struct wl_http *http = NULL;
    struct wload_error err = {0};
    int rc;

    piece->err = &err;
    pthread_mutex_unlock(&fetch->mutex);
    wl_transfer_pace_begin(&piece->pace);
    rc = wl_lines_take(lines, &http, &err);
    rc = rc < 0 ? rc
                : wl_transfer_range(&fetch->transfer, http, &piece->item->remote, piece->begin,
                                    piece->end, take_bytes, piece, &err);
    wl_lines_give(lines, http);
    pthread_mutex_lock(&fetch->mutex);
    piece->item->readers--;
    stop_counting(piece);
    if (rc < 0) {
        wl_fetch_fail(fetch, rc, &err);
    }
    pthread_cond_signal(&fetch->proves);
}

void *wl_fetch_read(void *argument)
{
    struct wl_fetch *fetch = argument;
    struct wl_window_block *block;

    pthread_mutex_lock(&fetch->mutex);
    block = wl_window_take(&fetch->window);
    while (!fetch->is_ending) {
        struct wl_fetch_item *item = next_waiting(fetch);
        struct piece piece;

        if (item) {
            begin_item(fetch, item);
        } else if (take_piece(fetch, &piece)) {
            piece.block = block;
            read_piece(fetch, &piece);
            block = piece.block;
        } else {
            wl_fetch_rest(fetch, &fetch->reads);
        }
    }
    wl_window_give(&fetch->window, block);
    pthread_mutex_unlock(&fetch->mutex);
    return NULL;
}
