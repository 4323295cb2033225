/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A partial file that another process is writing, watched: what its map says is
 * there can be read.  When it is published it stays readable, and is whole.
 *
 * The map is read, not mapped: it is cut off when the file is published.
 */
#ifndef WL_PARTIAL_VIEW_H
#define WL_PARTIAL_VIEW_H

#include "cache/partial.h"

struct wl_partial_view {
    int fd; /* -1: not open */
    uint64_t size_bytes;
};

/* False: there is no such file yet, or it is not one that can be watched. */
bool wl_partial_view_open(const struct wl_partial_place *place, struct wl_partial_view *out);

/* The end of what is there from `offset` on without a gap, at most `end`. */
uint64_t wl_partial_view_ready(const struct wl_partial_view *view, uint64_t offset, uint64_t end);

/* Blocks that are there.  While its writer gets on their number changes. */
uint64_t wl_partial_view_present(const struct wl_partial_view *view);

void wl_partial_view_close(struct wl_partial_view *view);

#endif /* WL_PARTIAL_VIEW_H */
