/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where tensors lie in an arena.
 *
 * mirrored   host memory: each file's range lies as in the file, on the same byte
 *            of a huge page, so that reads go straight into place.  A tensor that
 *            the file leaves unaligned for its type gets a place of its own behind.
 * packed     device memory: one tensor after the other, each at 256 bytes
 *
 * Both first compute offsets, then, the arena being claimed, addresses.
 */
#ifndef WL_LAYOUT_H
#define WL_LAYOUT_H

#include "loader/files.h"
#include "loader/plan.h"

struct wl_layout {
    struct wl_want *wants; /* in order of file and offset; address is an offset until placed */
    struct wl_plan_file *files;
    uint64_t size_bytes;     /* that the arena must have */
    uint64_t straight_bytes; /* of these, from the start: what reads go straight into */
    uint32_t want_count;
    uint32_t file_count;
};

/* Offsets of all wants; files' mirrors become offsets too where `is_mirrored`. */
int wl_layout_measure(struct wl_layout *layout, bool is_mirrored, struct wload_error *err);
/* Offsets become addresses. */
void wl_layout_place(struct wl_layout *layout, uint8_t *memory);

#endif /* WL_LAYOUT_H */
