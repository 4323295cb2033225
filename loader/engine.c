/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/engine.h"

#include <errno.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/sys.h"

#define REAP_MAX 64u

int wl_engine_init(struct wl_engine *engine, struct wload_error *err)
{
    uint32_t slots = engine->staging->slot_count;

    engine->thread = pthread_self();
    engine->left_bytes = wl_sys_array(engine->want_count, sizeof(engine->left_bytes[0]));
    engine->flights = wl_sys_array(slots, sizeof(engine->flights[0]));
    engine->consuming = wl_sys_array(slots, sizeof(engine->consuming[0]));
    engine->copying = wl_sys_array(slots, sizeof(engine->copying[0]));
    if (!engine->left_bytes || !engine->flights || !engine->consuming || !engine->copying) {
        wl_engine_clear(engine);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to load %u tensors", engine->want_count);
    }
    for (uint32_t i = 0; i < engine->want_count; i++) {
        engine->left_bytes[i] = engine->wants[i].tensor->size_bytes;
    }
    return WLOAD_OK;
}

void wl_engine_clear(struct wl_engine *engine)
{
    wl_sys->free(engine->left_bytes);
    wl_sys->free(engine->flights);
    wl_sys->free(engine->consuming);
    wl_sys->free(engine->copying);
    engine->left_bytes = NULL;
    engine->flights = NULL;
    engine->consuming = NULL;
    engine->copying = NULL;
}

static void trace(struct wl_engine *engine, const char *name, uint32_t slot)
{
    struct wl_flight *flight = &engine->flights[slot];

    if (engine->trace) {
        const struct wl_extent *extent = &engine->plan->extents[flight->extent];
        int64_t now = wl_clock_ns();
        struct wl_trace_event event = {
            .name = name,
            .begin_ns = flight->begin_ns,
            .end_ns = now,
            .offset = extent->offset,
            .size_bytes = extent->needed_bytes,
            .file_index = extent->file_index,
            .lane = slot,
        };

        wl_trace_add(engine->trace, &event);
        flight->begin_ns = now;
    }
}

/* Ask the reader for what the slot's extent still lacks. */
static void submit(struct wl_engine *engine, uint32_t slot)
{
    struct wl_flight *flight = &engine->flights[slot];
    const struct wl_extent *extent = &engine->plan->extents[flight->extent];
    const struct wl_job_file *file = &engine->files->items[extent->file_index];
    struct wl_read read = {
        .offset = extent->offset + flight->done_bytes,
        .target = flight->memory + flight->done_bytes,
        .size_bytes = extent->size_bytes - flight->done_bytes,
        .slot = slot,
        .file_index = extent->file_index,
        .is_direct =
            extent->is_direct && file->is_direct && flight->done_bytes % file->align_bytes == 0,
        .is_staged = !extent->straight,
    };

    flight->is_direct = read.is_direct;
    if (extent->straight) {
        atomic_store(&engine->has_written, true);
    }
    engine->reader->ops->submit(engine->reader, &read);
}

static bool feed_one(struct wl_engine *engine, enum wl_lane lane)
{
    uint32_t at = engine->cursor[lane];
    uint32_t index;
    uint32_t slot;
    struct wl_flight *flight;

    if (at == engine->plan->order_count[lane] || engine->in_flight[lane] == engine->depth[lane]) {
        return false;
    }
    index = engine->plan->order[lane][at];
    if (engine->populate && !wl_populate_is_ready(engine->populate, index)) {
        return false;
    }
    slot = wl_staging_take(engine->staging);
    if (slot == WL_SLOT_NONE) {
        return false;
    }
    flight = &engine->flights[slot];
    *flight = (struct wl_flight){.extent = index, .begin_ns = engine->trace ? wl_clock_ns() : 0};
    flight->memory = engine->plan->extents[index].straight;
    if (!flight->memory) {
        flight->memory =
            wl_staging_buffer(engine->staging, slot, engine->plan->extents[index].is_kept);
    }
    engine->cursor[lane]++;
    engine->in_flight[lane]++;
    submit(engine, slot);
    return true;
}

/* Give free slots extents to read, turn about between the lanes. */
static void feed(struct wl_engine *engine)
{
    bool is_fed = true;

    while (is_fed) {
        is_fed = feed_one(engine, WL_LANE_STORAGE);
        is_fed |= feed_one(engine, WL_LANE_MEMORY);
    }
}

/* The slot is read: `consumers` and the keepers may release it from now on. */
static void fill(struct wl_engine *engine, uint32_t slot, uint32_t consumers)
{
    bool is_kept = engine->plan->extents[engine->flights[slot].extent].is_kept;

    wl_staging_filled(engine->staging, slot, consumers + (is_kept ? WL_ENGINE_KEEPERS : 0));
    if (is_kept) {
        engine->events.kept(engine->events.user, slot);
    }
}

static int start_copies(struct wl_engine *engine, uint32_t slot, struct wload_error *err)
{
    const struct wl_flight *flight = &engine->flights[slot];
    const struct wl_extent *extent = &engine->plan->extents[flight->extent];
    const struct wl_device_ops *ops;
    uint32_t last = extent[1].copy_first;
    int rc = WLOAD_OK;

    if (extent->copy_first == last) { /* all of it is in its place, or wanted nowhere */
        fill(engine, slot, 0);
        return WLOAD_OK;
    }
    ops = engine->queue->device->ops;
    atomic_store(&engine->has_written, true);
    for (uint32_t i = extent->copy_first; i < last && rc == WLOAD_OK; i++) {
        const struct wl_copy *copy = &engine->plan->copies[i];

        rc = ops->copy_start(engine->queue, copy->target, flight->memory + copy->extent_offset,
                             copy->size_bytes, err);
    }
    if (rc == WLOAD_OK) {
        rc = ops->mark_put(engine->queue, slot, err);
    }
    if (rc < 0) {
        return rc;
    }
    fill(engine, slot, 1);
    engine
        ->copying[(engine->copying_first + engine->copying_count++) % engine->staging->slot_count] =
        slot;
    return WLOAD_OK;
}

static int hand_out_chunks(struct wl_engine *engine, uint32_t slot, struct wload_error *err)
{
    const struct wl_flight *flight = &engine->flights[slot];
    const struct wl_extent *extent = &engine->plan->extents[flight->extent];
    uint32_t last = extent[1].piece_first;

    fill(engine, slot, last - extent->piece_first);
    for (uint32_t i = extent->piece_first; i < last; i++) {
        const struct wl_piece *piece = &engine->plan->pieces[i];

        if (engine->events.chunk(engine->events.user, i, slot,
                                 flight->memory + piece->extent_offset) != 0) {
            return wl_err_set(err, WLOAD_ERR_CALLBACK, "on_chunk stopped the load at tensor '%s'",
                              engine->wants[piece->want].tensor->name);
        }
    }
    return WLOAD_OK;
}

/* The tensor that byte `offset` of the extent belongs to, for messages; "": it has no pieces. */
static const char *tensor_at(const struct wl_engine *engine, const struct wl_extent *extent,
                             uint32_t offset)
{
    uint32_t i = extent->piece_first;

    if (i == extent[1].piece_first) {
        return "";
    }
    while (i + 1 < extent[1].piece_first &&
           engine->plan->pieces[i].extent_offset + engine->plan->pieces[i].size_bytes <= offset) {
        i++;
    }
    return engine->wants[engine->plan->pieces[i].want].tensor->name;
}

static int check(const struct wl_engine *engine, struct wload_error *err)
{
    return engine->events.check ? engine->events.check(engine->events.user, err) : WLOAD_OK;
}

static int fail_read(const struct wl_engine *engine, uint32_t slot, int32_t result,
                     struct wload_error *err)
{
    const struct wl_flight *flight = &engine->flights[slot];
    const struct wl_extent *extent = &engine->plan->extents[flight->extent];
    const char *path = engine->files->items[extent->file_index].path;
    const char *tensor = tensor_at(engine, extent, flight->done_bytes);
    const char *quote = tensor[0] ? "'" : "";
    uint64_t offset = extent->offset + flight->done_bytes;
    int rc = check(engine, err); /* it may know more than a number */

    if (rc < 0) {
        return rc;
    }
    if (result == 0) {
        return wl_err_at(err, WLOAD_ERR_FORMAT, offset,
                         "'%s' ends at byte %llu%s%s%s%s: it shrank while it was read", path,
                         (unsigned long long)offset, tensor[0] ? ", inside tensor " : "", quote,
                         tensor, quote);
    }
    rc = wl_err_sys(err, -result, "cannot read '%s' at offset %llu%s%s%s%s", path,
                    (unsigned long long)offset, tensor[0] ? ", tensor " : "", quote, tensor, quote);
    if (err) {
        err->file_offset = offset;
    }
    return rc;
}

static bool refuses_direct(int32_t result)
{
    return result == -EINVAL || result == -EFAULT || result == -EOPNOTSUPP;
}

struct way {
    const char *name; /* for the trace */
    uint64_t *bytes;  /* where what came that way is counted */
};

static struct way way_of(struct wl_engine *engine, uint32_t slot)
{
    const struct wl_flight *flight = &engine->flights[slot];

    if (engine->plan->extents[flight->extent].is_kept) {
        return (struct way){"network", &engine->kept_bytes};
    }
    return flight->is_direct ? (struct way){"read direct", &engine->direct_bytes}
                             : (struct way){"read buffered", &engine->buffered_bytes};
}

/* A read is back: ask again for what is missing, or let the consumers begin. */
static int settle(struct wl_engine *engine, const struct wl_read_done *done,
                  struct wload_error *err)
{
    struct wl_flight *flight = &engine->flights[done->slot];
    const struct wl_extent *extent = &engine->plan->extents[flight->extent];
    struct way way = way_of(engine, done->slot);

    if (done->result == -EINTR || done->result == -EAGAIN) {
        submit(engine, done->slot);
        return WLOAD_OK;
    }
    if (flight->is_direct && refuses_direct(done->result)) {
        int rc = wl_files_refuse_direct(engine->files, extent->file_index, -done->result, err);

        if (rc == WLOAD_OK) {
            submit(engine, done->slot);
        }
        return rc;
    }
    if (done->result <= 0) {
        return fail_read(engine, done->slot, done->result, err);
    }
    WL_ASSERT((uint32_t)done->result <= extent->size_bytes - flight->done_bytes);
    flight->done_bytes += (uint32_t)done->result;
    *way.bytes += (uint64_t)done->result;
    if (flight->done_bytes < extent->needed_bytes) {
        submit(engine, done->slot);
        return WLOAD_OK;
    }
    engine->straight_bytes += extent->straight ? extent->needed_bytes : 0;
    engine->in_flight[extent->lane]--;
    engine->consuming[engine->consuming_count++] = done->slot;
    trace(engine, way.name, done->slot);
    return engine->events.chunk ? hand_out_chunks(engine, done->slot, err)
                                : start_copies(engine, done->slot, err);
}

static void on_notice(void *user)
{
    struct wl_engine *engine = user;

    atomic_store(&engine->is_notice_due, false);
    engine->reader->ops->wake(engine->reader);
}

/* Before sleeping: have the oldest copy wake the reader's wait, which is the only one. */
static int arm_notice(struct wl_engine *engine, struct wload_error *err)
{
    if (engine->copying_count == 0 || atomic_exchange(&engine->is_notice_due, true)) {
        return WLOAD_OK;
    }
    return engine->queue->device->ops->mark_notify(
        engine->queue, engine->copying[engine->copying_first], on_notice, engine, err);
}

static bool waits_for_device(const struct wl_engine *engine)
{
    uint32_t reads = engine->in_flight[WL_LANE_STORAGE] + engine->in_flight[WL_LANE_MEMORY];

    return engine->consuming_count > 0 && (reads == 0 || engine->staging->free_count == 0);
}

/* Take finished reads from the reader, waiting for one if there is time.  Returns how many. */
static int collect(struct wl_engine *engine, int64_t timeout_ns, struct wload_error *err)
{
    struct wl_read_done done[REAP_MAX];
    int64_t begin_ns = 0;
    int count;

    if (timeout_ns != 0) {
        int rc = arm_notice(engine, err);

        if (rc < 0) {
            return rc;
        }
        begin_ns = wl_clock_ns();
    }
    count = engine->reader->ops->reap(engine->reader, done, REAP_MAX, timeout_ns);
    if (timeout_ns != 0) {
        *(waits_for_device(engine) ? &engine->wait_device_ns : &engine->wait_storage_ns) +=
            wl_clock_ns() - begin_ns;
    }
    if (count < 0) {
        return wl_err_sys(err, -count, "cannot collect finished reads");
    }
    for (int i = 0; i < count; i++) {
        int rc = settle(engine, &done[i], err);

        if (rc < 0) {
            return rc;
        }
    }
    return count;
}

static int land(struct wl_engine *engine, uint32_t want, struct wload_error *err)
{
    if (engine->events.landed(engine->events.user, want) != 0) {
        return wl_err_set(err, WLOAD_ERR_CALLBACK, "on_landed stopped the load at tensor '%s'",
                          engine->wants[want].tensor->name);
    }
    return WLOAD_OK;
}

static int land_pieces(struct wl_engine *engine, uint32_t slot, struct wload_error *err)
{
    const struct wl_extent *extent = &engine->plan->extents[engine->flights[slot].extent];

    for (uint32_t i = extent->piece_first; i < extent[1].piece_first; i++) {
        const struct wl_piece *piece = &engine->plan->pieces[i];
        uint64_t *left_bytes = &engine->left_bytes[piece->want];
        int rc;

        WL_ASSERT(*left_bytes >= piece->size_bytes);
        *left_bytes -= piece->size_bytes;
        engine->landed_bytes += piece->size_bytes;
        rc = *left_bytes == 0 ? land(engine, piece->want, err) : WLOAD_OK;
        if (rc < 0) {
            return rc;
        }
    }
    return WLOAD_OK;
}

/* Empty tensors have no pieces; they land before the first byte is read. */
static int land_empty(struct wl_engine *engine, struct wload_error *err)
{
    while (engine->empty_cursor < engine->want_count) {
        uint32_t want = engine->empty_cursor++;
        int rc = engine->wants[want].tensor->size_bytes == 0 ? land(engine, want, err) : WLOAD_OK;

        if (rc < 0) {
            return rc;
        }
    }
    return WLOAD_OK;
}

/* Copies are carried out in the order started: only the oldest need be asked after. */
static int release_copied(struct wl_engine *engine, struct wload_error *err)
{
    while (engine->copying_count > 0) {
        uint32_t slot = engine->copying[engine->copying_first];
        int rc = engine->queue->device->ops->mark_poll(engine->queue, slot, err);

        if (rc <= 0) {
            return rc;
        }
        engine->copying_first = (engine->copying_first + 1) % engine->staging->slot_count;
        engine->copying_count--;
        if (engine->plan->extents[engine->flights[slot].extent].is_kept) {
            trace(engine, "copy", slot); /* of what others go on to consume */
        }
        (void)wl_staging_release(engine->staging, slot);
    }
    return WLOAD_OK;
}

/* Land and free the slots that nobody consumes any more.  Returns how many. */
static int drain(struct wl_engine *engine, struct wload_error *err)
{
    int rc = release_copied(engine, err);
    int drained = 0;
    uint32_t i = 0;

    while (rc == WLOAD_OK && i < engine->consuming_count) {
        uint32_t slot = engine->consuming[i];

        if (!wl_staging_is_consumed(engine->staging, slot)) {
            i++;
            continue;
        }
        trace(engine, "consume", slot);
        rc = land_pieces(engine, slot, err);
        wl_staging_free(engine->staging, slot);
        engine->consuming[i] = engine->consuming[--engine->consuming_count];
        drained++;
    }
    return rc < 0 ? rc : drained;
}

static bool is_done(const struct wl_engine *engine)
{
    bool is_done = engine->consuming_count == 0;

    for (uint32_t lane = 0; lane < WL_LANE_COUNT; lane++) {
        is_done &=
            engine->cursor[lane] == engine->plan->order_count[lane] && engine->in_flight[lane] == 0;
    }
    return is_done;
}

/* How long to sleep: not at all after progress, else until the deadline. */
static int64_t patience(int64_t deadline_ns, bool has_progress)
{
    int64_t left_ns;

    if (has_progress) {
        return 0;
    }
    if (deadline_ns == INT64_MAX) {
        return -1;
    }
    left_ns = deadline_ns - wl_clock_ns();
    return left_ns > 0 ? left_ns : 0;
}

static bool is_past(int64_t deadline_ns)
{
    return deadline_ns != INT64_MAX && wl_clock_ns() >= deadline_ns;
}

int wl_engine_run(struct wl_engine *engine, int64_t deadline_ns, struct wload_error *err)
{
    int rc = land_empty(engine, err);

    while (rc == WLOAD_OK) {
        int drained;
        int collected;

        if (atomic_load(&engine->is_canceled)) {
            return wl_err_set(err, WLOAD_ERR_CANCELED, "the load was canceled");
        }
        rc = check(engine, err);
        /* First: buffers just used are read into again, still warm. */
        drained = rc < 0 ? rc : drain(engine, err);
        if (drained < 0) {
            return drained;
        }
        feed(engine);
        if (is_done(engine)) {
            return WLOAD_OK;
        }
        collected = collect(engine, patience(deadline_ns, drained > 0), err);
        if (collected < 0) {
            return collected;
        }
        if (is_past(deadline_ns)) {
            return WLOAD_PENDING;
        }
    }
    return rc;
}

void wl_engine_release(struct wl_engine *engine, uint32_t slot)
{
    if (wl_staging_release(engine->staging, slot) &&
        !pthread_equal(pthread_self(), engine->thread)) {
        engine->reader->ops->wake(engine->reader);
    }
}

void wl_engine_cancel(struct wl_engine *engine)
{
    atomic_store(&engine->is_canceled, true);
    engine->reader->ops->wake(engine->reader);
}
