/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

#define LINE_BYTES_MAX 320

struct wl_trace {
    _Atomic uint64_t added; /* ever; the newest event_count of them are in the ring */
    uint32_t event_count;
    struct wl_trace_event events[];
};

int wl_trace_new(uint32_t event_count, struct wl_trace **out, struct wload_error *err)
{
    struct wl_trace *trace =
        wl_sys->alloc(sizeof(*trace) + (size_t)event_count * sizeof(trace->events[0]));

    if (!trace) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a trace of %u events", event_count);
    }
    trace->event_count = event_count;
    *out = trace;
    return WLOAD_OK;
}

void wl_trace_free(struct wl_trace *trace)
{
    wl_sys->free(trace);
}

void wl_trace_add(struct wl_trace *trace, const struct wl_trace_event *event)
{
    if (trace && trace->event_count > 0) {
        uint64_t at = atomic_fetch_add_explicit(&trace->added, 1, memory_order_relaxed);

        trace->events[at % trace->event_count] = *event;
    }
}

/* Chrome's format: complete events ("X") with microseconds, one thread ID per lane. */
static int write_event(int fd, const struct wl_trace_event *event, bool first)
{
    char line[LINE_BYTES_MAX];
    int size = snprintf(line, sizeof(line),
                        "%s\n{\"name\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%u,"
                        "\"ts\":%" PRId64 ".%03d,\"dur\":%" PRId64 ".%03d,\"args\":"
                        "{\"file\":%u,\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64 "}}",
                        first ? "" : ",", event->name, event->lane, event->begin_ns / 1000,
                        (int)(event->begin_ns % 1000), (event->end_ns - event->begin_ns) / 1000,
                        (int)((event->end_ns - event->begin_ns) % 1000), event->file_index,
                        event->offset, event->size_bytes);

    WL_ASSERT(size > 0 && size < LINE_BYTES_MAX);
    return wl_sys_write(fd, line, (size_t)size);
}

static int write_all(const struct wl_trace *trace, int fd)
{
    static const char head[] = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
    static const char tail[] = "\n]}\n";
    uint64_t added = trace->added;
    uint64_t first = added > trace->event_count ? added - trace->event_count : 0;
    int rc = wl_sys_write(fd, head, sizeof(head) - 1);

    for (uint64_t i = first; i < added && rc == 0; i++) {
        rc = write_event(fd, &trace->events[i % trace->event_count], i == first);
    }
    return rc < 0 ? rc : wl_sys_write(fd, tail, sizeof(tail) - 1);
}

int wl_trace_write(const struct wl_trace *trace, const char *path, struct wload_error *err)
{
    int fd = wl_sys->openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc;

    if (fd < 0) {
        return wl_err_sys(err, errno, "cannot create the trace '%s'", path);
    }
    rc = write_all(trace, fd);
    if (wl_sys->close(fd) < 0 && rc == 0) {
        rc = -errno;
    }
    return rc < 0 ? wl_err_sys(err, -rc, "cannot write the trace '%s'", path) : WLOAD_OK;
}
