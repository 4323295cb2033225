/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "double.h"

#define POLLS_BEFORE_SERVICE 3 /* in lazy mode */
#define DISABLE_TIMING       2u

static struct double_event *events;

static void lock(void)
{
    (void)pthread_mutex_lock(&double_state.lock);
}

static void unlock(void)
{
    (void)pthread_mutex_unlock(&double_state.lock);
}

/* Under the lock. */
static struct double_event *find(void *handle)
{
    for (struct double_event *event = events; event; event = event->next) {
        if (event == handle) {
            return event;
        }
    }
    double_blame("an unknown event");
    return NULL;
}

void double_event_drop(struct double_event *event)
{
    event->users--;
    if (event->users == 0) {
        free(event);
    }
}

int double_event_create(void **out, unsigned flags)
{
    struct double_event *event;

    if (flags != DISABLE_TIMING) { /* times are not doubled */
        return DOUBLE_INVALID_VALUE;
    }
    event = calloc(1, sizeof(*event));
    if (!event) {
        return DOUBLE_OUT_OF_MEMORY;
    }
    event->users = 1;
    lock();
    event->next = events;
    events = event;
    double_state.counters.live_events++;
    unlock();
    *out = event;
    return DOUBLE_OK;
}

int double_event_destroy(void *handle)
{
    struct double_event *event;

    lock();
    event = find(handle);
    for (struct double_event **at = &events; event && *at; at = &(*at)->next) {
        if (*at == event) {
            *at = event->next;
            double_state.counters.live_events--;
            double_event_drop(event);
            break;
        }
    }
    unlock();
    return event ? DOUBLE_OK : DOUBLE_INVALID_HANDLE;
}

int double_event_record(void *handle, void *stream_handle)
{
    struct double_stream *stream;
    struct double_event *event;

    lock();
    event = find(handle);
    stream = double_stream_find(stream_handle);
    if (event && stream) {
        event->recorded++;
        event->polls = 0;
        event->stream = stream;
        event->number = double_stream_record(stream, event);
    }
    unlock();
    return event && stream ? DOUBLE_OK : DOUBLE_INVALID_HANDLE;
}

int double_event_query(void *handle)
{
    struct double_event *event;
    int code = DOUBLE_INVALID_HANDLE;

    lock();
    event = find(handle);
    if (event) {
        code = event->reached >= event->recorded ? double_state.sticky : DOUBLE_NOT_READY;
        if (code == DOUBLE_NOT_READY && ++event->polls > POLLS_BEFORE_SERVICE) {
            double_stream_demand(event->stream, event->number);
        }
    }
    unlock();
    return code;
}

int double_stream_wait_event(void *stream_handle, void *handle, unsigned flags)
{
    struct double_stream *stream;
    struct double_event *event;

    if (flags != 0) {
        return DOUBLE_INVALID_VALUE;
    }
    lock();
    stream = double_stream_find(stream_handle);
    event = find(handle);
    if (event && stream && event->recorded > event->reached) {
        double_stream_wait(stream, event);
    }
    unlock();
    return event && stream ? DOUBLE_OK : DOUBLE_INVALID_HANDLE;
}
