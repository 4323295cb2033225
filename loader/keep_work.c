/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of keep: one kind writes and publishes, the other hashes. */
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "loader/keep_inner.h"

#define TURN_BYTES  (4u << 20) /* of one slot, before another has its turn */
#define BEHIND_PART 4u         /* of the slots: more than that waiting to be written are too many */

static void trace(const struct wl_keep *keep, const char *name, int64_t begin_ns, uint64_t offset,
                  uint64_t size_bytes, uint32_t file, uint32_t lane)
{
    if (keep->request.trace) {
        struct wl_trace_event event = {
            .name = name,
            .begin_ns = begin_ns,
            .end_ns = wl_clock_ns(),
            .offset = offset,
            .size_bytes = size_bytes,
            .file_index = file,
            .lane = lane,
        };

        wl_trace_add(keep->request.trace, &event);
    }
}

static int64_t now(const struct wl_keep *keep)
{
    return keep->request.trace ? wl_clock_ns() : 0;
}

/* ---- Writing ----------------------------------------------------------------------------- */

/* The disk failed: people are told of the first time. */
static enum wload_log_level note(struct wl_keep *keep, const struct wload_error *why)
{
    bool is_first;

    pthread_mutex_lock(&keep->mutex);
    is_first = !keep->has_given_up;
    if (is_first) {
        keep->has_given_up = true;
        keep->why = *why;
    }
    pthread_mutex_unlock(&keep->mutex);
    return is_first ? WLOAD_LOG_WARN : WLOAD_LOG_INFO;
}

/* Write what the partial file lacks of the slot's bytes [from, until). */
static int write_range(const struct wl_keep_slot *slot, struct wl_partial *partial, uint32_t from,
                       uint32_t until, bool is_behind, struct wload_error *err)
{
    int (*put)(struct wl_partial *, uint64_t, uint64_t, const void *, uint64_t,
               struct wload_error *) = is_behind ? wl_partial_write_cached : wl_partial_write;
    uint64_t at = slot->offset + from;
    uint64_t end = slot->offset + until;
    int rc = WLOAD_OK;

    while (at < end && rc == WLOAD_OK) {
        uint64_t stop = wl_partial_ready(partial, at);

        if (stop > at) { /* another process left it here */
            at = stop;
            continue;
        }
        while (stop < end && wl_partial_ready(partial, stop) == stop) {
            stop =
                wl_min(wl_round_down(stop, WL_PARTIAL_BLOCK_BYTES) + WL_PARTIAL_BLOCK_BYTES, end);
        }
        rc = put(partial, slot->offset, at, slot->memory + (at - slot->offset), stop - at, err);
        at = stop;
    }
    return rc;
}

/* With the mutex, which it gives up meanwhile.  Returns how far the slot is written. */
static uint32_t write_turn(struct wl_keep *keep, struct wl_keep_slot *slot)
{
    uint32_t index = slot->file;
    struct wl_keep_state *file = &keep->files[index];
    struct wl_partial *partial = file->partial;
    uint32_t from = slot->written;
    uint32_t until = (uint32_t)wl_min(wl_keep_ready(slot), (uint64_t)from + TURN_BYTES);
    /* A disk that the network outruns shall not keep the ring from the device. */
    bool is_behind = keep->writes.count > keep->request.slot_count / BEHIND_PART;
    struct wload_error why = {0};
    int rc;

    slot->write_ns = from == 0 ? now(keep) : slot->write_ns;
    file->writers++;
    pthread_mutex_unlock(&keep->mutex);
    rc = write_range(slot, partial, from, until, is_behind, &why);
    if (rc < 0) {
        enum wload_log_level level = note(keep, &why);

        WL_LOG(keep->request.log, level, "cache", "the cache is off for this load: %s",
               why.message);
    }
    pthread_mutex_lock(&keep->mutex);
    file->writers--;
    if (file->writers == 0 && file->keeping == WL_KEEPING_GIVEN_UP) {
        wl_keep_push_end(keep, index);
    }
    if (rc < 0) {
        keep->is_off = true;
        for (uint32_t i = 0; i < keep->request.file_count; i++) {
            wl_keep_give_up(keep, i);
        }
    }
    return rc < 0 ? slot->size_bytes : until;
}

/* With the mutex, which it gives up meanwhile. */
static void write_slot(struct wl_keep *keep, uint32_t index)
{
    struct wl_keep_slot *slot = &keep->slots[index];
    struct wl_keep_state *file = &keep->files[slot->file];
    bool is_kept = file->keeping == WL_KEEPING;
    uint32_t until = is_kept ? write_turn(keep, slot) : slot->size_bytes;

    file->written += until - slot->written;
    slot->written = until;
    slot->is_write_due = false;
    if (until < slot->size_bytes) {
        wl_keep_push_write(keep, index);
        return;
    }
    if (is_kept) {
        trace(keep, "write", slot->write_ns, slot->offset, slot->size_bytes, slot->file,
              keep->request.slot_count + index);
    }
    wl_keep_advance(keep, slot->file);
    wl_keep_let_go(keep, index, WL_KEEP_WRITE);
}

/* Without the mutex: a file on its way to its name is left alone by all others. */
static bool publish(struct wl_keep *keep, uint32_t index)
{
    const struct wl_keep_file *given = &keep->request.files[index];
    int64_t begin_ns = now(keep);
    struct wload_error why = {0};
    uint64_t begin, end;
    /* What has come was proven, not what is on the disk: that must be all of it. */
    int rc = wl_partial_gap(keep->files[index].partial, 0, &begin, &end)
                 ? wl_err_at(&why, WLOAD_ERR_IO, begin, "'%s' lacks bytes that were there before",
                             keep->files[index].partial->path)
                 : given->publish(given->user, &why);

    if (rc < 0) {
        enum wload_log_level level = note(keep, &why);

        WL_LOG(keep->request.log, level, "cache", "'%s' is loaded but not kept: %s", given->name,
               why.message);
        return false;
    }
    trace(keep, "publish", begin_ns, 0, given->size_bytes, index, 3 * keep->request.slot_count);
    return true;
}

/* With the mutex, which it gives up meanwhile. */
static void end_file(struct wl_keep *keep, uint32_t index)
{
    const struct wl_keep_file *given = &keep->request.files[index];
    struct wl_keep_state *file = &keep->files[index];
    bool is_published = file->keeping == WL_KEEPING_PUBLISHING;

    pthread_mutex_unlock(&keep->mutex);
    is_published = is_published && publish(keep, index);
    if (!is_published) {
        given->discard(given->user);
    }
    pthread_mutex_lock(&keep->mutex);
    file->keeping = WL_KEEPING_ENDED;
    wl_keep_advance(keep, index);
}

void *wl_keep_write_all(void *argument)
{
    struct wl_keep *keep = argument;

    pthread_mutex_lock(&keep->mutex);
    while (!keep->is_stopping) {
        uint32_t item = wl_keep_pop(&keep->writes);

        if (item == WL_KEEP_NONE) {
            pthread_cond_wait(&keep->writes.condition, &keep->mutex);
        } else if (item < keep->request.slot_count) {
            write_slot(keep, item);
        } else {
            end_file(keep, item - keep->request.slot_count);
        }
    }
    pthread_mutex_unlock(&keep->mutex);
    return NULL;
}

/* ---- Hashing ------------------------------------------------------------------------------ */

static void fail(struct wl_keep *keep, uint32_t index, int rc, const struct wload_error *why)
{
    if (atomic_load(&keep->rc) == WLOAD_OK) {
        keep->error = *why;
        atomic_store_explicit(&keep->rc, rc, memory_order_release);
    }
    wl_keep_give_up(keep, index);
    pthread_cond_broadcast(&keep->ends);
}

/* The whole file is hashed. */
static int prove(struct wl_keep *keep, uint32_t index, struct wload_error *err)
{
    const struct wl_keep_file *given = &keep->request.files[index];
    char hex[WL_DIGEST_HEX_BYTES];
    int rc = wl_digest_finish(keep->files[index].digest, hex, err);

    if (rc == WLOAD_OK && strcmp(hex, given->hash) != 0) {
        rc = wl_err_set(err, WLOAD_ERR_CHECKSUM,
                        "'%s' has hash %s and should have %s: tensor '%s' is in it and cannot be "
                        "trusted",
                        given->name, hex, given->hash, given->tensor);
    }
    if (rc == WLOAD_OK) {
        keep->files[index].is_proven = true;
        wl_keep_advance(keep, index);
    }
    return rc;
}

/* With the mutex, which it gives up meanwhile: some more of the slot that the file's hash is at. */
static void hash_turn(struct wl_keep *keep, uint32_t index)
{
    struct wl_keep_state *file = &keep->files[index];
    uint32_t number = file->hash_slot;
    struct wl_keep_slot *slot = &keep->slots[number];
    uint32_t from = slot->hashed;
    uint32_t until = (uint32_t)wl_min(wl_keep_ready(slot), (uint64_t)from + TURN_BYTES);
    struct wload_error why = {0};
    int rc;

    slot->digest_ns = from == 0 ? now(keep) : slot->digest_ns;
    pthread_mutex_unlock(&keep->mutex);
    rc = wl_digest_add(file->digest, slot->memory + from, until - from, &why);
    pthread_mutex_lock(&keep->mutex);
    slot->hashed = until;
    file->hashed += until - from;
    if (until == slot->size_bytes) {
        file->hash_slot = slot->after; /* not hashed either, so it has not been freed */
        trace(keep, "digest", slot->digest_ns, slot->offset, slot->size_bytes, index,
              2 * keep->request.slot_count + number);
    }
    if (rc == WLOAD_OK && file->hashed == keep->request.files[index].size_bytes) {
        rc = prove(keep, index, &why);
    }
    if (rc < 0) { /* before the slot is released: whoever is woken by that finds it */
        fail(keep, index, rc, &why);
    }
    file->is_hash_due = false;
    wl_keep_push_hash(keep, index);
    wl_keep_let_go(keep, number, WL_KEEP_DIGEST);
}

void *wl_keep_hash_all(void *argument)
{
    struct wl_keep *keep = argument;

    pthread_mutex_lock(&keep->mutex);
    while (!keep->is_stopping) {
        uint32_t file = wl_keep_pop(&keep->hashes);

        if (file == WL_KEEP_NONE) {
            pthread_cond_wait(&keep->hashes.condition, &keep->mutex);
        } else {
            hash_turn(keep, file);
        }
    }
    pthread_mutex_unlock(&keep->mutex);
    return NULL;
}
