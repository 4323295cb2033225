/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader: files that come from a network, each read by one of a few threads: as many
 * as there are connections, and some that ask for the next read while one ends.
 * Reads of files on this machine go to another reader, whose wait is the only one:
 * threads wake it when a read is done.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/sys.h"
#include "loader/intake.h"

struct net_reader {
    struct wl_reader base;
    struct wl_intake *intake;
    struct wl_reader *local;
    pthread_mutex_t mutex;
    pthread_cond_t work_ready;
    struct wl_read *queued;    /* a circle of slot_count reads; queued_first is the oldest */
    struct wl_read_done *done; /* a stack of slot_count results */
    uint32_t slot_count;
    uint32_t queued_first;
    uint32_t queued_count;
    uint32_t done_count;
    uint32_t reading_count; /* reads on their way, but for those about to end */
    uint32_t thread_count;
    bool is_closing;
    pthread_t threads[WL_TRANSFER_THREADS_MAX];
};

struct arrival {
    struct net_reader *reader;
    const struct wl_read *read;
    struct wl_transfer_pace pace;
    bool is_uncounted; /* it is about to end, and the next may begin */
};

/* The next read may begin. */
static void stop_counting(struct arrival *arrival)
{
    struct net_reader *reader = arrival->reader;

    if (!arrival->is_uncounted) {
        arrival->is_uncounted = true;
        (void)pthread_mutex_lock(&reader->mutex);
        reader->reading_count--;
        (void)pthread_cond_signal(&reader->work_ready);
        (void)pthread_mutex_unlock(&reader->mutex);
    }
}

static void take_note(void *user, uint32_t bytes)
{
    struct arrival *arrival = user;
    const struct wl_read *read = arrival->read;

    wl_keep_arrived(arrival->reader->intake->keep, read->slot, bytes);
    if (wl_transfer_is_ending(&arrival->pace, wl_clock_ns(), bytes, read->size_bytes - bytes)) {
        stop_counting(arrival);
    }
}

static int32_t read_one(struct net_reader *reader, const struct wl_read *read)
{
    struct wl_intake *intake = reader->intake;
    struct wl_lines *lines = &intake->snapshot->lines;
    struct arrival arrival = {.reader = reader, .read = read};
    struct wl_http *http = NULL;
    struct wload_error err = {0};
    int rc;

    wl_transfer_pace_begin(&arrival.pace);
    rc = wl_lines_take(lines, &http, &err);
    rc = rc < 0 ? rc
                : wl_stream_read(&intake->streams[read->file_index], http, read->offset,
                                 read->target, read->size_bytes, take_note, &arrival, &err);
    wl_lines_give(lines, http);
    stop_counting(&arrival);
    if (rc == WLOAD_OK) {
        return (int32_t)read->size_bytes;
    }
    wl_intake_fail(intake, rc, &err);
    return -EIO;
}

/* With the mutex. */
static bool can_begin(const struct net_reader *reader)
{
    return reader->queued_count > 0 &&
           reader->reading_count < reader->intake->transfer.connection_count;
}

static void *work(void *argument)
{
    struct net_reader *reader = argument;

    (void)pthread_mutex_lock(&reader->mutex);
    for (;;) {
        struct wl_read read;
        int32_t result;

        while (!can_begin(reader) && !reader->is_closing) {
            (void)pthread_cond_wait(&reader->work_ready, &reader->mutex);
        }
        if (reader->queued_count == 0) {
            break;
        }
        read = reader->queued[reader->queued_first];
        reader->queued_first = (reader->queued_first + 1) % reader->slot_count;
        reader->queued_count--;
        reader->reading_count++;
        (void)pthread_mutex_unlock(&reader->mutex);
        result = read_one(reader, &read);
        (void)pthread_mutex_lock(&reader->mutex);
        reader->done[reader->done_count++] =
            (struct wl_read_done){.slot = read.slot, .result = result};
        reader->local->ops->wake(reader->local);
    }
    (void)pthread_mutex_unlock(&reader->mutex);
    return NULL;
}

static void net_close(struct wl_reader *base)
{
    struct net_reader *reader = (struct net_reader *)base;

    (void)pthread_mutex_lock(&reader->mutex);
    reader->is_closing = true;
    reader->queued_count = 0; /* what has not begun need not */
    (void)pthread_cond_broadcast(&reader->work_ready);
    (void)pthread_mutex_unlock(&reader->mutex);
    for (uint32_t i = 0; i < reader->thread_count; i++) {
        (void)pthread_join(reader->threads[i], NULL);
    }
    if (reader->local) {
        reader->local->ops->close(reader->local);
    }
    (void)pthread_cond_destroy(&reader->work_ready);
    (void)pthread_mutex_destroy(&reader->mutex);
    wl_sys->free(reader->queued);
    wl_sys->free(reader->done);
    wl_sys->free(reader);
}

static int start_threads(struct net_reader *reader, struct wload_error *err)
{
    uint32_t wanted = wl_transfer_threads(&reader->intake->transfer);
    int rc = 0;

    while (reader->thread_count < wanted && rc == 0) {
        rc = wl_sys->thread_start(&reader->threads[reader->thread_count], work, reader);
        reader->thread_count += rc == 0;
    }
    return reader->thread_count > 0 ? WLOAD_OK
                                    : wl_err_sys(err, rc, "cannot start a thread to download with");
}

/* The other reader's note may grow with each buffer. */
static void write_note(struct net_reader *reader)
{
    (void)snprintf(reader->base.note, WL_NOTE_BYTES, "%u connections; %.200s",
                   reader->intake->transfer.connection_count, reader->local->note);
}

int wl_reader_net_open(struct wl_intake *intake, const struct wl_reader_request *request,
                       struct wl_reader *local, struct wl_reader **out, struct wload_error *err)
{
    struct net_reader *reader = wl_sys->alloc(sizeof(*reader));
    int rc = WLOAD_OK;

    if (!reader) {
        local->ops->close(local);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to download with");
    }
    reader->base.ops = &wl_reader_net;
    reader->intake = intake;
    reader->local = local;
    reader->slot_count = request->slot_count;
    (void)pthread_mutex_init(&reader->mutex, NULL);
    (void)pthread_cond_init(&reader->work_ready, NULL);
    reader->queued = wl_sys_array(request->slot_count, sizeof(reader->queued[0]));
    reader->done = wl_sys_array(request->slot_count, sizeof(reader->done[0]));
    if (!reader->queued || !reader->done) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to download with");
    }
    rc = rc < 0 ? rc : start_threads(reader, err);
    if (rc < 0) {
        net_close(&reader->base);
        return rc;
    }
    write_note(reader);
    *out = &reader->base;
    return WLOAD_OK;
}

static void net_buffer_add(struct wl_reader *base, uint32_t slot, void *memory, size_t size_bytes)
{
    struct net_reader *reader = (struct net_reader *)base;

    reader->local->ops->buffer_add(reader->local, slot, memory, size_bytes);
    write_note(reader);
}

static void net_submit(struct wl_reader *base, const struct wl_read *read)
{
    struct net_reader *reader = (struct net_reader *)base;

    if (!wl_intake_has(reader->intake, read->file_index)) {
        reader->local->ops->submit(reader->local, read);
        return;
    }
    wl_keep_begin(reader->intake->keep, read->slot, read->file_index, read->offset, read->target,
                  read->size_bytes);
    (void)pthread_mutex_lock(&reader->mutex);
    WL_ASSERT(reader->queued_count < reader->slot_count);
    reader->queued[(reader->queued_first + reader->queued_count++) % reader->slot_count] = *read;
    (void)pthread_cond_signal(&reader->work_ready);
    (void)pthread_mutex_unlock(&reader->mutex);
}

static void net_flush(struct wl_reader *base)
{
    struct net_reader *reader = (struct net_reader *)base;

    reader->local->ops->flush(reader->local);
}

static uint32_t take_done(struct net_reader *reader, struct wl_read_done *done, uint32_t max)
{
    uint32_t count = 0;

    (void)pthread_mutex_lock(&reader->mutex);
    while (count < max && reader->done_count > 0) {
        done[count++] = reader->done[--reader->done_count];
    }
    (void)pthread_mutex_unlock(&reader->mutex);
    return count;
}

/* A thread that is done after take_done() wakes the other reader's wait, or its next one. */
static int net_reap(struct wl_reader *base, struct wl_read_done *done, uint32_t max,
                    int64_t timeout_ns)
{
    struct net_reader *reader = (struct net_reader *)base;
    uint32_t count = take_done(reader, done, max);
    int local = reader->local->ops->reap(reader->local, done + count, max - count,
                                         count > 0 ? 0 : timeout_ns);

    if (local < 0) {
        return local;
    }
    count += (uint32_t)local;
    return (int)(count + take_done(reader, done + count, max - count));
}

static void net_wake(struct wl_reader *base)
{
    struct net_reader *reader = (struct net_reader *)base;

    reader->local->ops->wake(reader->local);
}

const struct wl_reader_ops wl_reader_net = {
    .name = "net",
    .kind = WLOAD_READER_AUTO, /* that of the other reader is told */
    .buffer_add = net_buffer_add,
    .submit = net_submit,
    .flush = net_flush,
    .reap = net_reap,
    .wake = net_wake,
    .close = net_close,
};
