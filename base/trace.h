/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trace: a ring that keeps the newest events, written as Chrome-trace JSON.
 *
 * Recording allocates nothing and takes no lock but one atomic add, so the loop
 * may record every chunk.  Writing it out wants all recorders quiet.
 */
#ifndef WL_TRACE_H
#define WL_TRACE_H

#include <stdint.h>

#include "wload.h"

struct wl_trace;

/* A span of work on one lane, a row of the viewer: a staging buffer's number, for example. */
struct wl_trace_event {
    const char *name; /* a constant string */
    int64_t begin_ns;
    int64_t end_ns;
    uint64_t offset; /* in the file */
    uint64_t size_bytes;
    uint32_t file_index;
    uint32_t lane;
};

int wl_trace_new(uint32_t event_count, struct wl_trace **out, struct wload_error *err);
void wl_trace_free(struct wl_trace *trace);

/* `trace` may be NULL: nothing is recorded. */
void wl_trace_add(struct wl_trace *trace, const struct wl_trace_event *event);

int wl_trace_write(const struct wl_trace *trace, const char *path, struct wload_error *err);

#endif /* WL_TRACE_H */
