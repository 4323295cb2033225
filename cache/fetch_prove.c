/* SPDX-License-Identifier: Apache-2.0 */
/* The provers of a fetch: files are hashed in order, and published if the hash is right. */
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "cache/fetch.h"

#define TURN_BYTES (32u << 20) /* of one file, before another has its turn */

/* Hash the item's next bytes that are there before `until`, out of `block`, which holds them, or
 * out of the file.  Returns how many. */
static int64_t hash_next(struct wl_fetch_item *item, const struct wl_window_block *block,
                         void *buffer, uint64_t until, struct wload_error *err)
{
    const uint8_t *bytes = buffer;
    uint64_t size = wl_min(until - item->proven, WL_WINDOW_BLOCK_BYTES);
    int rc = WLOAD_OK;

    if (block) {
        bytes = block->memory + (item->proven - block->offset);
        size = block->offset + block->size_bytes - item->proven;
    } else {
        rc = wl_partial_read(&item->partial, item->proven, buffer, size, err);
    }
    rc = rc < 0 ? rc : wl_digest_add(item->digest, bytes, size, err);
    return rc < 0 ? rc : (int64_t)size;
}

/* With the mutex, which it gives up meanwhile: hash what is there beyond what is proven, up to a
 * turn's worth. */
static int hash_turn(struct wl_fetch *fetch, struct wl_fetch_item *item, void *buffer,
                     struct wload_error *err)
{
    uint64_t ready = wl_partial_ready(&item->partial, item->proven);
    uint64_t until = wl_min(ready, item->proven + TURN_BYTES);

    while (item->proven < until && !fetch->is_ending) {
        struct wl_window_block *block = wl_window_find(&fetch->window, item, item->proven);
        int64_t size;

        pthread_mutex_unlock(&fetch->mutex);
        size = hash_next(item, block, buffer, until, err);
        pthread_mutex_lock(&fetch->mutex);
        if (block) {
            wl_window_give(&fetch->window, block);
        }
        if (size < 0) {
            return (int)size;
        }
        item->proven += (uint64_t)size;
        if (block) { /* for one reader: all of them would cost more than a block is worth */
            pthread_cond_signal(&fetch->frees);
        }
    }
    return WLOAD_OK;
}

/* The content is wrong: from the start once more, then no more. */
static int reject(struct wl_fetch *fetch, struct wl_fetch_item *item, const char *hex,
                  struct wload_error *err)
{
    char shown[WL_HTTP_TEXT_BYTES];
    int rc;

    if (item->is_second) {
        wl_partial_discard(&item->partial);
        return wl_err_set(err, WLOAD_ERR_CHECKSUM,
                          "'%s' has hash %s and should have %s, in two downloads from %s",
                          item->file->name, hex, item->file->hash,
                          wl_http_shown(item->remote.url, shown));
    }
    WL_LOG(&fetch->snapshot->log, WLOAD_LOG_WARN, "cache",
           "'%s' has hash %s and should have %s: downloading it again", item->file->name, hex,
           item->file->hash);
    item->proven = 0;
    item->next = 0;
    wl_remote_reset(&fetch->transfer, &item->remote);
    wl_digest_free(item->digest); /* a new one begins with what stands before a git blob */
    item->digest = NULL;
    rc = wl_digest_of_file(item->file->hash, item->file->size_bytes, &item->digest, err);
    return rc < 0 ? rc : wl_partial_restart(&item->partial, err);
}

/* The whole file is hashed.  Returns its next state, or an error. */
static int prove(struct wl_fetch *fetch, struct wl_fetch_item *item, struct wload_error *err)
{
    const struct wl_store *store = &fetch->snapshot->store;
    char hex[WL_DIGEST_HEX_BYTES];
    int rc = wl_digest_finish(item->digest, hex, err);

    if (rc < 0) {
        return rc;
    }
    if (strcmp(hex, item->file->hash) != 0) {
        rc = reject(fetch, item, hex, err);
        return rc < 0 ? rc : WL_FETCH_READING;
    }
    rc = store->ops->publish(&fetch->snapshot->store, item->file, &item->partial, err);
    if (rc == WLOAD_ERR_NOT_FOUND && !item->is_second) {
        WL_LOG(&store->log, WLOAD_LOG_WARN, "cache", "%s: downloading it again", err->message);
        return WL_FETCH_WAITING;
    }
    return rc < 0 ? rc : WL_FETCH_DONE;
}

/* The open file that is whole, else the one with the most bytes to hash. */
static struct wl_fetch_item *next_to_hash(struct wl_fetch *fetch)
{
    struct wl_fetch_item *best = NULL;
    uint64_t best_bytes = 0;

    for (uint32_t i = 0; i < fetch->open_count; i++) {
        struct wl_fetch_item *item = fetch->open[i];
        uint64_t ready;

        if (item->state != WL_FETCH_READING || item->is_hashed) {
            continue;
        }
        ready = wl_partial_ready(&item->partial, item->proven);
        if (ready == item->file->size_bytes && item->readers == 0) {
            return item;
        }
        if (ready - item->proven > best_bytes) {
            best = item;
            best_bytes = ready - item->proven;
        }
    }
    return best;
}

/* With the mutex, which it gives up meanwhile. */
static int prove_item(struct wl_fetch *fetch, struct wl_fetch_item *item, struct wload_error *err)
{
    int state;

    item->state = WL_FETCH_PROVING;
    wl_window_forget(&fetch->window, item);
    pthread_cond_broadcast(&fetch->frees);
    pthread_mutex_unlock(&fetch->mutex);
    state = prove(fetch, item, err);
    if (state == WL_FETCH_DONE || state == WL_FETCH_WAITING) {
        wl_fetch_close(item);
    }
    pthread_mutex_lock(&fetch->mutex);
    if (state < 0) {
        item->state = WL_FETCH_READING;
        return state;
    }
    item->is_second |= state != WL_FETCH_DONE;
    if (state == WL_FETCH_READING) {
        item->state = WL_FETCH_READING;
        fetch->left_bytes += item->file->size_bytes;
        pthread_cond_broadcast(&fetch->reads);
    } else {
        wl_fetch_leave(fetch, item, (enum wl_fetch_state)state);
    }
    return WLOAD_OK;
}

/* With the mutex, which it gives up meanwhile. */
static void hash_item(struct wl_fetch *fetch, struct wl_fetch_item *item, void *buffer)
{
    struct wload_error err = {0};
    int rc;

    item->is_hashed = true;
    rc = hash_turn(fetch, item, buffer, &err);
    if (rc == WLOAD_OK && item->readers == 0 && item->proven == item->file->size_bytes &&
        !fetch->is_ending) {
        rc = prove_item(fetch, item, &err);
    }
    item->is_hashed = false;
    if (rc < 0) {
        wl_fetch_fail(fetch, rc, &err);
    }
}

void *wl_fetch_prove(void *argument)
{
    struct wl_fetch *fetch = argument;
    struct wl_window_block *buffer;

    pthread_mutex_lock(&fetch->mutex);
    buffer = wl_window_take(&fetch->window);
    while (!fetch->is_ending) {
        struct wl_fetch_item *item = next_to_hash(fetch);

        if (item) {
            fetch->hashing_count++;
            hash_item(fetch, item, buffer->memory);
            fetch->hashing_count--;
            pthread_cond_broadcast(&fetch->frees);
        } else {
            wl_fetch_rest(fetch, &fetch->proves);
        }
    }
    wl_window_give(&fetch->window, buffer);
    pthread_mutex_unlock(&fetch->mutex);
    return NULL;
}
