/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "double.h"

#define SAMPLE_STEP 251

enum kind {
    COPY,
    RECORD,
    WAIT,
    CALLBACK,
    HOST_FUNC
};

struct operation {
    struct operation *next;
    enum kind kind;
    uint64_t number; /* in its stream, from 1 */

    void *target; /* COPY: host addresses, shadows in place of device memory */
    const void *source;
    size_t size;
    bool is_into_device;
    uint64_t sum; /* of the source when the copy was asked for */

    struct double_event *event; /* RECORD and WAIT */
    uint64_t record;
    struct double_stream *awaited; /* WAIT: who reaches that record, and by which operation */
    uint64_t awaited_number;

    double_callback callback;
    double_host_func function;
    void *user;
};

struct double_stream {
    struct double_stream *next;
    pthread_t thread;
    struct operation *first; /* being carried out, or next to be */
    struct operation **last;
    uint64_t queued;
    uint64_t done;
    uint64_t allowed; /* lazy mode: somebody waits for the operations up to this one */
    unsigned seed;
    bool is_ending;
};

static struct double_stream *streams;

static void lock(void)
{
    (void)pthread_mutex_lock(&double_state.lock);
}

static void unlock(void)
{
    (void)pthread_mutex_unlock(&double_state.lock);
}

static void wait_for_change(void)
{
    (void)pthread_cond_wait(&double_state.changed, &double_state.lock);
}

static void signal_change(void)
{
    (void)pthread_cond_broadcast(&double_state.changed);
}

/* ---- The thread of a stream -------------------------------------------------------- */

/* Of every 251st byte and the last: enough to see a buffer read into again. */
static uint64_t sum_of(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    uint64_t sum = bytes[size - 1];

    for (size_t i = 0; i < size; i += SAMPLE_STEP) {
        sum = (sum ^ bytes[i]) * 0x100000001b3ull;
    }
    return sum;
}

static void take_time(struct double_stream *stream, const struct operation *operation)
{
    const struct double_settings *settings = &double_state.settings;
    double us = 0;
    struct timespec time;

    if (settings->jitter_us > 0) {
        us += (double)((unsigned)rand_r(&stream->seed) % (settings->jitter_us + 1));
    }
    if (settings->gbps > 0 && operation->kind == COPY) {
        us += (double)operation->size / (settings->gbps * 1e3);
    }
    if (us > 0) {
        time.tv_sec = (time_t)(us / 1e6);
        time.tv_nsec = (long)((us - (double)time.tv_sec * 1e6) * 1e3);
        (void)nanosleep(&time, NULL);
    }
}

static void copy(const struct operation *operation)
{
    bool is_changed, is_written;

    if (operation->is_into_device) {
        is_changed = sum_of(operation->source, operation->size) != operation->sum;
        lock();
        if (is_changed) {
            double_blame("a source changed before its copy ran");
        }
        if (double_state.sticky == DOUBLE_OK) {
            double_state.sticky = double_injected("copy");
        }
        is_written = double_state.sticky == DOUBLE_OK && !double_state.settings.is_discarding;
        unlock();
        if (!is_written) {
            return;
        }
    }
    memcpy(operation->target, operation->source, operation->size);
}

static void wait_for_record(const struct operation *operation)
{
    lock();
    while (operation->event->reached < operation->record) {
        double_stream_demand(operation->awaited, operation->awaited_number);
        wait_for_change();
    }
    unlock();
}

/* A failed device still calls callbacks, but no host function. */
static void call_back(struct double_stream *stream, const struct operation *operation)
{
    int status;

    lock();
    status = double_state.sticky;
    double_state.counters.notices++;
    unlock();
    double_in_callback = true;
    if (operation->kind == CALLBACK) {
        operation->callback(stream, status, operation->user);
    } else if (status == DOUBLE_OK) {
        operation->function(operation->user);
    }
    double_in_callback = false;
}

static void carry_out(struct double_stream *stream, const struct operation *operation)
{
    take_time(stream, operation);
    switch (operation->kind) {
    case COPY:
        copy(operation);
        break;
    case RECORD:
        lock();
        if (operation->event->reached < operation->record) {
            operation->event->reached = operation->record;
        }
        unlock();
        break;
    case WAIT:
        wait_for_record(operation);
        break;
    case CALLBACK:
    case HOST_FUNC:
        call_back(stream, operation);
        break;
    }
}

static bool may_go_on(const struct double_stream *stream)
{
    return stream->first &&
           (!double_state.settings.is_lazy || stream->first->number <= stream->allowed);
}

static void *run(void *argument)
{
    struct double_stream *stream = argument;

    lock();
    for (;;) {
        struct operation *operation;

        while (!may_go_on(stream) && !(stream->is_ending && !stream->first)) {
            wait_for_change();
        }
        operation = stream->first;
        if (!operation) {
            break;
        }
        unlock();
        carry_out(stream, operation);
        lock();
        stream->first = operation->next;
        if (!stream->first) {
            stream->last = &stream->first;
        }
        stream->done = operation->number;
        if (operation->event) {
            double_event_drop(operation->event);
        }
        free(operation);
        signal_change();
    }
    unlock();
    return NULL;
}

/* ---- Streams, under the lock --------------------------------------------------------- */

struct double_stream *double_stream_find(void *handle)
{
    for (struct double_stream *stream = streams; stream; stream = stream->next) {
        if (stream == handle) {
            return stream;
        }
    }
    double_blame("an unknown stream");
    return NULL;
}

void double_stream_demand(struct double_stream *stream, uint64_t number)
{
    if (stream->allowed < number) {
        stream->allowed = number;
        signal_change();
    }
}

static uint64_t queue(struct double_stream *stream, struct operation values)
{
    struct operation *operation = malloc(sizeof(*operation));

    if (!operation) {
        abort();
    }
    *operation = values;
    operation->number = ++stream->queued;
    *stream->last = operation;
    stream->last = &operation->next;
    signal_change();
    return operation->number;
}

uint64_t double_stream_record(struct double_stream *stream, struct double_event *event)
{
    event->users++;
    return queue(stream,
                 (struct operation){.kind = RECORD, .event = event, .record = event->recorded});
}

void double_stream_wait(struct double_stream *stream, struct double_event *event)
{
    event->users++;
    (void)queue(stream, (struct operation){.kind = WAIT,
                                           .event = event,
                                           .record = event->recorded,
                                           .awaited = event->stream,
                                           .awaited_number = event->number});
}

static void drain(struct double_stream *stream)
{
    uint64_t number = stream->queued;

    double_stream_demand(stream, number);
    while (stream->done < number) {
        wait_for_change();
    }
}

static bool overlaps(const void *a, size_t a_size, const void *b, size_t b_size)
{
    return (uintptr_t)a < (uintptr_t)b + b_size && (uintptr_t)b < (uintptr_t)a + a_size;
}

bool double_is_busy(const void *memory, size_t size)
{
    for (struct double_stream *stream = streams; stream; stream = stream->next) {
        for (struct operation *at = stream->first; at; at = at->next) {
            if (at->kind == COPY && (overlaps(at->source, at->size, memory, size) ||
                                     overlaps(at->target, at->size, memory, size))) {
                return true;
            }
        }
    }
    return false;
}

/* ---- The driver's calls --------------------------------------------------------------- */

int double_stream_create(int device, void **out, unsigned flags)
{
    struct double_stream *stream;

    if (device < 0) {
        return DOUBLE_INVALID_CONTEXT;
    }
    if (flags != 1) { /* the other kind waits for the default stream, which is not doubled */
        return DOUBLE_INVALID_VALUE;
    }
    stream = calloc(1, sizeof(*stream));
    if (!stream) {
        return DOUBLE_OUT_OF_MEMORY;
    }
    stream->last = &stream->first;
    lock();
    stream->seed = (unsigned)double_state.counters.calls;
    if (pthread_create(&stream->thread, NULL, run, stream) != 0) {
        unlock();
        free(stream);
        return DOUBLE_OUT_OF_MEMORY;
    }
    stream->next = streams;
    streams = stream;
    double_state.counters.live_streams++;
    unlock();
    *out = stream;
    return DOUBLE_OK;
}

int double_stream_destroy(void *handle)
{
    struct double_stream *stream;

    lock();
    stream = double_stream_find(handle);
    if (!stream) {
        unlock();
        return DOUBLE_INVALID_HANDLE;
    }
    if (stream->first && double_state.counters.failures == 0) {
        double_blame("a stream destroyed with work in flight");
    }
    drain(stream);
    stream->is_ending = true;
    for (struct double_stream **at = &streams; *at; at = &(*at)->next) {
        if (*at == stream) {
            *at = stream->next;
            break;
        }
    }
    double_state.counters.live_streams--;
    signal_change();
    unlock();
    (void)pthread_join(stream->thread, NULL);
    free(stream);
    return DOUBLE_OK;
}

int double_stream_sync(void *handle)
{
    struct double_stream *stream;
    int code = DOUBLE_INVALID_HANDLE;

    lock();
    stream = double_stream_find(handle);
    if (stream) {
        drain(stream);
        code = double_state.sticky;
    }
    unlock();
    return code;
}

int double_copy_in(uintptr_t target, const void *source, size_t size, void *handle)
{
    struct double_stream *stream;
    struct operation operation = {.kind = COPY,
                                  .source = source,
                                  .size = size,
                                  .is_into_device = true};
    int code = DOUBLE_INVALID_VALUE;

    lock();
    stream = double_stream_find(handle);
    operation.target = double_shadow(target, size);
    if (stream && operation.target && size > 0 && !double_is_device_address((uintptr_t)source)) {
        code = DOUBLE_OK;
        operation.sum = sum_of(source, size);
        double_state.counters.copies_in++;
        double_state.counters.bytes_in += size;
        (void)queue(stream, operation);
        if (!double_is_registered((uintptr_t)source, size)) {
            double_state.counters.pageable++;
            if (double_state.counters.refused == 0) {
                double_blame("an asynchronous copy from memory that is not registered");
            }
            drain(stream); /* as a real driver does: through a buffer of its own */
        }
    }
    unlock();
    return code;
}

int double_copy_out(void *target, uintptr_t source, size_t size, void *handle)
{
    struct double_stream *stream;
    struct operation operation = {.kind = COPY, .target = target, .size = size};
    int code = DOUBLE_INVALID_VALUE;

    lock();
    stream = double_stream_find(handle);
    operation.source = double_shadow(source, size);
    if (stream && operation.source && size > 0 && !double_is_device_address((uintptr_t)target)) {
        code = DOUBLE_OK;
        double_state.counters.bytes_out += size;
        (void)queue(stream, operation);
        if (!double_is_registered((uintptr_t)target, size)) {
            drain(stream);
        }
    }
    unlock();
    return code;
}

static int queue_call(void *handle, struct operation operation)
{
    struct double_stream *stream;

    lock();
    stream = double_stream_find(handle);
    if (stream) {
        double_stream_demand(stream, queue(stream, operation)); /* its caller waits elsewhere */
    }
    unlock();
    return stream ? DOUBLE_OK : DOUBLE_INVALID_HANDLE;
}

int double_stream_callback(void *stream, double_callback callback, void *user, unsigned flags)
{
    if (flags != 0) {
        return DOUBLE_INVALID_VALUE;
    }
    return queue_call(stream,
                      (struct operation){.kind = CALLBACK, .callback = callback, .user = user});
}

int double_stream_host_func(void *stream, double_host_func function, void *user)
{
    return queue_call(stream,
                      (struct operation){.kind = HOST_FUNC, .function = function, .user = user});
}
