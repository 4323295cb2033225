/* SPDX-License-Identifier: Apache-2.0 */
/* The slots and files of keep, and what is due of them; keep_work.c does it. */
#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"
#include "loader/keep_inner.h"

#define SECOND_NS 1000000000

/* ---- With the mutex ------------------------------------------------------------------ */

static void push(struct wl_keep_queue *queue, uint32_t item)
{
    WL_ASSERT(queue->count < queue->room);
    queue->items[(queue->first + queue->count++) % queue->room] = item;
    pthread_cond_signal(&queue->condition);
}

uint32_t wl_keep_pop(struct wl_keep_queue *queue)
{
    uint32_t item;

    if (queue->count == 0) {
        return WL_KEEP_NONE;
    }
    item = queue->items[queue->first];
    queue->first = (queue->first + 1) % queue->room;
    queue->count--;
    return item;
}

/* Of `arrived` bytes, those that can be worked on: up to a border of blocks, or all. */
static uint32_t ready_of(const struct wl_keep_slot *slot, uint32_t arrived)
{
    uint64_t until = wl_round_down(slot->offset + arrived, WL_PARTIAL_BLOCK_BYTES);

    return arrived == slot->size_bytes ? arrived
                                       : (uint32_t)(wl_max(until, slot->offset) - slot->offset);
}

uint32_t wl_keep_ready(const struct wl_keep_slot *slot)
{
    return ready_of(slot, atomic_load_explicit(&slot->arrived, memory_order_acquire));
}

void wl_keep_push_write(struct wl_keep *keep, uint32_t index)
{
    struct wl_keep_slot *slot = &keep->slots[index];
    bool is_kept = keep->files[slot->file].keeping == WL_KEEPING;
    uint32_t until = is_kept ? wl_keep_ready(slot) : slot->size_bytes;

    if ((slot->held & WL_KEEP_WRITE) != 0 && !slot->is_write_due && until > slot->written) {
        slot->is_write_due = true;
        push(&keep->writes, index);
    }
}

void wl_keep_push_hash(struct wl_keep *keep, uint32_t index)
{
    struct wl_keep_state *file = &keep->files[index];
    uint32_t slot = file->hash_slot;

    if (slot != WL_KEEP_NONE && !file->is_hash_due &&
        wl_keep_ready(&keep->slots[slot]) > keep->slots[slot].hashed) {
        file->is_hash_due = true;
        push(&keep->hashes, index);
    }
}

void wl_keep_push_end(struct wl_keep *keep, uint32_t file)
{
    push(&keep->writes, keep->request.slot_count + file);
}

void wl_keep_give_up(struct wl_keep *keep, uint32_t index)
{
    struct wl_keep_state *file = &keep->files[index];

    if (file->keeping != WL_KEEPING) {
        return;
    }
    file->keeping = WL_KEEPING_GIVEN_UP;
    if (file->writers == 0) { /* else the last of them */
        wl_keep_push_end(keep, index);
    }
    for (uint32_t i = 0; i < keep->request.slot_count; i++) {
        if (keep->slots[i].file == index) {
            wl_keep_push_write(keep, i);
        }
    }
}

void wl_keep_advance(struct wl_keep *keep, uint32_t index)
{
    struct wl_keep_state *file = &keep->files[index];

    if (!file->is_proven) {
        return;
    }
    if (file->keeping == WL_KEEPING && file->written == keep->request.files[index].size_bytes) {
        file->keeping = WL_KEEPING_PUBLISHING;
        wl_keep_push_end(keep, index);
    }
    if (file->keeping == WL_KEEPING_ENDED && file->is_open) {
        file->is_open = false;
        keep->open_count--;
        pthread_cond_broadcast(&keep->ends);
    }
}

void wl_keep_let_go(struct wl_keep *keep, uint32_t index, enum wl_keep_holder holder)
{
    struct wl_keep_slot *slot = &keep->slots[index];
    struct wl_keep_state *file = &keep->files[slot->file];
    uint32_t done = holder == WL_KEEP_WRITE ? slot->written : slot->hashed;

    if (!slot->is_settled || (slot->held & holder) == 0 || done < slot->size_bytes) {
        return;
    }
    slot->held &= ~(uint32_t)holder;
    if (slot->held == 0 && file->last_slot == index) {
        file->last_slot = WL_KEEP_NONE;
    }
    pthread_mutex_unlock(&keep->mutex);
    keep->request.release(keep->request.user, index);
    pthread_mutex_lock(&keep->mutex);
}

/* ---- The job's calls ------------------------------------------------------------------ */

void wl_keep_begin(struct wl_keep *keep, uint32_t index, uint32_t file_index, uint64_t offset,
                   const void *memory, uint32_t size_bytes)
{
    struct wl_keep_slot *slot = &keep->slots[index];
    struct wl_keep_state *file = &keep->files[file_index];

    WL_ASSERT(index < keep->request.slot_count && file_index < keep->request.file_count);
    pthread_mutex_lock(&keep->mutex);
    WL_ASSERT(slot->held == 0 && size_bytes > 0 && file->begun == offset);
    WL_ASSERT(size_bytes <= keep->request.files[file_index].size_bytes - offset);
    WL_ASSERT(offset % WL_PARTIAL_BLOCK_BYTES == 0); /* so no block is of two slots */
    *slot = (struct wl_keep_slot){
        .memory = memory,
        .offset = offset,
        .size_bytes = size_bytes,
        .file = file_index,
        .after = WL_KEEP_NONE,
        .held = WL_KEEP_WRITE | WL_KEEP_DIGEST,
    };
    if (file->begun == 0) {
        file->is_open = true;
        keep->open_count++;
    }
    file->begun += size_bytes;
    if (file->keeping != WL_KEEPING) {
        slot->written = size_bytes;
        file->written += size_bytes;
    }
    if (file->last_slot != WL_KEEP_NONE) {
        keep->slots[file->last_slot].after = index;
    }
    if (file->hash_slot == WL_KEEP_NONE) {
        file->hash_slot = index;
    }
    file->last_slot = index;
    pthread_mutex_unlock(&keep->mutex);
}

void wl_keep_attach(struct wl_keep *keep, uint32_t index, struct wl_partial *partial)
{
    struct wl_keep_state *file = &keep->files[index];

    pthread_mutex_lock(&keep->mutex);
    WL_ASSERT(file->keeping == WL_KEEPING_ENDED && !file->partial && !file->is_proven);
    file->partial = partial;
    file->keeping = WL_KEEPING;
    for (uint32_t i = 0; i < keep->request.slot_count; i++) {
        struct wl_keep_slot *slot = &keep->slots[i];

        if (slot->file == index && (slot->held & WL_KEEP_WRITE) != 0) {
            slot->written = 0;
            file->written -= slot->size_bytes;
        }
    }
    for (uint32_t i = 0; i < keep->request.slot_count; i++) {
        if (keep->slots[i].file == index) {
            wl_keep_push_write(keep, i);
        }
    }
    if (keep->is_off) {
        wl_keep_give_up(keep, index);
    }
    pthread_mutex_unlock(&keep->mutex);
}

void wl_keep_arrived(struct wl_keep *keep, uint32_t index, uint32_t bytes)
{
    struct wl_keep_slot *slot = &keep->slots[index];
    uint32_t before = atomic_exchange_explicit(&slot->arrived, bytes, memory_order_release);

    WL_ASSERT(before <= bytes && bytes <= slot->size_bytes);
    if (ready_of(slot, bytes) > ready_of(slot, before)) {
        pthread_mutex_lock(&keep->mutex);
        wl_keep_push_write(keep, index);
        wl_keep_push_hash(keep, slot->file);
        pthread_mutex_unlock(&keep->mutex);
    }
}

void wl_keep_settle(struct wl_keep *keep, uint32_t index)
{
    pthread_mutex_lock(&keep->mutex);
    keep->slots[index].is_settled = true;
    wl_keep_let_go(keep, index, WL_KEEP_WRITE);
    wl_keep_let_go(keep, index, WL_KEEP_DIGEST);
    pthread_mutex_unlock(&keep->mutex);
}

int wl_keep_check(struct wl_keep *keep, struct wload_error *err)
{
    int rc = atomic_load_explicit(&keep->rc, memory_order_acquire);

    if (rc < 0 && err) {
        *err = keep->error; /* written before, once */
    }
    return rc;
}

int wl_keep_finish(struct wl_keep *keep, int64_t deadline_ns, struct wload_error *err)
{
    const struct timespec deadline = {.tv_sec = deadline_ns / SECOND_NS,
                                      .tv_nsec = deadline_ns % SECOND_NS};
    bool has_ended, is_canceled;
    int rc = 0;

    pthread_mutex_lock(&keep->mutex);
    for (uint32_t i = 0; i < keep->request.file_count; i++) {
        WL_ASSERT(!keep->files[i].is_open ||
                  keep->files[i].begun == keep->request.files[i].size_bytes);
    }
    while (atomic_load(&keep->rc) == WLOAD_OK && keep->open_count > 0 && !keep->is_canceled &&
           rc == 0) {
        rc = pthread_cond_timedwait(&keep->ends, &keep->mutex, &deadline);
    }
    has_ended = keep->open_count == 0;
    is_canceled = keep->is_canceled;
    pthread_mutex_unlock(&keep->mutex);
    rc = wl_keep_check(keep, err);
    if (rc < 0 || has_ended) {
        return rc;
    }
    return is_canceled ? wl_err_set(err, WLOAD_ERR_CANCELED, "the load was canceled")
                       : WLOAD_PENDING;
}

void wl_keep_cancel(struct wl_keep *keep)
{
    pthread_mutex_lock(&keep->mutex);
    keep->is_canceled = true;
    pthread_cond_broadcast(&keep->ends);
    pthread_mutex_unlock(&keep->mutex);
}

bool wl_keep_gave_up(struct wl_keep *keep, struct wload_error *why)
{
    bool has_given_up;

    pthread_mutex_lock(&keep->mutex);
    has_given_up = keep->has_given_up;
    if (has_given_up && why) {
        *why = keep->why;
    }
    pthread_mutex_unlock(&keep->mutex);
    return has_given_up;
}

/* ---- From open to close ---------------------------------------------------------------- */

static int make_queue(struct wl_keep_queue *queue, uint64_t room)
{
    queue->room = (uint32_t)room;
    queue->items = room <= UINT32_MAX ? wl_sys_array(room, sizeof(queue->items[0])) : NULL;
    return queue->items ? WLOAD_OK : WLOAD_ERR_NOMEM;
}

/* Everything that a load will need. */
static int prepare(struct wl_keep *keep, struct wload_error *err)
{
    const struct wl_keep_request *request = &keep->request;

    keep->slots = wl_sys_array(request->slot_count, sizeof(keep->slots[0]));
    keep->files = wl_sys_array(request->file_count, sizeof(keep->files[0]));
    if (!keep->slots || !keep->files ||
        make_queue(&keep->writes, (uint64_t)request->slot_count + request->file_count) < 0 ||
        make_queue(&keep->hashes, request->file_count) < 0) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to keep %u files", request->file_count);
    }
    for (uint32_t i = 0; i < request->file_count; i++) {
        const struct wl_keep_file *given = &request->files[i];
        struct wl_keep_state *file = &keep->files[i];

        file->hash_slot = file->last_slot = WL_KEEP_NONE;
        file->keeping = WL_KEEPING_ENDED;
        if (given->size_bytes > 0) {
            int rc = wl_digest_of_file(given->hash, given->size_bytes, &file->digest, err);

            if (rc < 0) {
                return rc;
            }
        }
    }
    return WLOAD_OK;
}

/* Up to `count` threads: fewer will do, none will not. */
static int start(struct wl_keep *keep, uint32_t count, void *(*run)(void *),
                 struct wload_error *err)
{
    uint32_t before = keep->thread_count;

    for (uint32_t i = 0; i < count; i++) {
        if (wl_sys->thread_start(&keep->threads[keep->thread_count], run, keep) == 0) {
            keep->thread_count++;
        }
    }
    return count > 0 && keep->thread_count == before
               ? wl_err_set(err, WLOAD_ERR_NOMEM, "no thread can be started to keep files")
               : WLOAD_OK;
}

static int start_all(struct wl_keep *keep, struct wload_error *err)
{
    uint64_t count = 0;
    int rc;

    for (uint32_t i = 0; i < keep->request.file_count; i++) {
        count += keep->files[i].digest != NULL;
    }
    rc = start(keep, (uint32_t)wl_min(count, WL_KEEP_WRITERS_MAX), wl_keep_write_all, err);
    return rc < 0
               ? rc
               : start(keep, (uint32_t)wl_min(count, WL_KEEP_HASHERS_MAX), wl_keep_hash_all, err);
}

/* Deadlines are on the monotonic clock. */
static void init_locks(struct wl_keep *keep)
{
    pthread_condattr_t monotonic;

    WL_ASSERT(pthread_condattr_init(&monotonic) == 0);
    WL_ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    WL_ASSERT(pthread_cond_init(&keep->ends, &monotonic) == 0);
    (void)pthread_condattr_destroy(&monotonic);
    WL_ASSERT(pthread_cond_init(&keep->writes.condition, NULL) == 0);
    WL_ASSERT(pthread_cond_init(&keep->hashes.condition, NULL) == 0);
    WL_ASSERT(pthread_mutex_init(&keep->mutex, NULL) == 0);
}

int wl_keep_open(const struct wl_keep_request *request, struct wl_keep **out,
                 struct wload_error *err)
{
    struct wl_keep *keep = wl_sys->alloc(sizeof(*keep));
    int rc;

    if (!keep) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to keep %u files", request->file_count);
    }
    keep->request = *request;
    init_locks(keep);
    rc = prepare(keep, err);
    rc = rc < 0 ? rc : start_all(keep, err);
    if (rc < 0) {
        wl_keep_close(keep);
        return rc;
    }
    *out = keep;
    return WLOAD_OK;
}

void wl_keep_stop(struct wl_keep *keep)
{
    pthread_mutex_lock(&keep->mutex);
    keep->is_stopping = true;
    pthread_cond_broadcast(&keep->writes.condition);
    pthread_cond_broadcast(&keep->hashes.condition);
    pthread_mutex_unlock(&keep->mutex);
    for (uint32_t i = 0; i < keep->thread_count; i++) {
        (void)pthread_join(keep->threads[i], NULL);
    }
    keep->thread_count = 0;
    for (uint32_t i = 0; i < keep->request.file_count && keep->files; i++) {
        if (keep->files[i].keeping == WL_KEEPING_GIVEN_UP) {
            keep->request.files[i].discard(keep->request.files[i].user);
            keep->files[i].keeping = WL_KEEPING_ENDED;
        }
    }
}

void wl_keep_close(struct wl_keep *keep)
{
    if (!keep) {
        return;
    }
    wl_keep_stop(keep);
    for (uint32_t i = 0; i < keep->request.file_count && keep->files; i++) {
        wl_digest_free(keep->files[i].digest);
    }
    wl_sys->free(keep->hashes.items);
    wl_sys->free(keep->writes.items);
    wl_sys->free(keep->files);
    wl_sys->free(keep->slots);
    (void)pthread_cond_destroy(&keep->hashes.condition);
    (void)pthread_cond_destroy(&keep->writes.condition);
    (void)pthread_cond_destroy(&keep->ends);
    (void)pthread_mutex_destroy(&keep->mutex);
    wl_sys->free(keep);
}
