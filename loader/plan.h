/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: which bytes are read, how, and where they go.  Arithmetic alone.
 *
 *   tensors of one file   [--- a ---][ b ][-- c --]        [---- d ----]
 *   spans                 |<------- rounded outward ----->||<--------->|   short gaps read through
 *   extents               |---------|---------|-----------||-----------|   cut at chunk multiples
 *   pieces                |  a      | a  b  c | c         || d         |   what lands
 *   copies                staged: extent -> tensor memory, neighbours merged; straight: none
 *
 * Staged extents are read into a staging buffer and copied; straight ones are
 * read into their place.  Both have the same pieces and land the same way.  A file
 * that is kept is one span from its first byte to its last, so that some of its
 * extents may have no pieces: its header, gaps, tensors that nobody wants.
 *
 * Invariants: no block is read twice; extents are in order of file and offset;
 * every byte of a chosen tensor is in exactly one piece.
 */
#ifndef WL_PLAN_H
#define WL_PLAN_H

#include <stdbool.h>

#include "wload.h"

/* Reads that wait for storage, and reads that copy from the page cache: each has its own depth. */
enum wl_lane {
    WL_LANE_STORAGE,
    WL_LANE_MEMORY,
    WL_LANE_COUNT
};

struct wl_extent {
    uint64_t offset;
    uint8_t *straight;     /* read to here; NULL: staged */
    uint32_t size_bytes;   /* may reach past the end of the file: rounded outward */
    uint32_t needed_bytes; /* from `offset`: the end of the last piece; kept: all */
    uint32_t file_index;
    uint32_t piece_first; /* to the next extent's piece_first */
    uint32_t copy_first;  /* to the next extent's copy_first */
    uint16_t lane;        /* enum wl_lane */
    bool is_direct;
    bool is_kept;
};

/* The part of an extent that belongs to one tensor. */
struct wl_piece {
    uint64_t tensor_offset;
    uint32_t want; /* index into the wanted tensors */
    uint32_t extent_offset;
    uint32_t size_bytes;
};

struct wl_copy {
    uint8_t *target;
    uint32_t extent_offset;
    uint32_t size_bytes;
};

struct wl_plan {
    struct wl_extent *extents; /* extent_count + 1: the last is a sentinel */
    struct wl_piece *pieces;
    struct wl_copy *copies;
    /* Extent numbers, in the order to read: of each file in that of their offsets. */
    uint32_t *order[WL_LANE_COUNT];
    uint32_t order_count[WL_LANE_COUNT];
    uint32_t extent_count;
    uint32_t piece_count;
    uint32_t copy_count;
};

/* A chosen tensor and where it lands. */
struct wl_want {
    const struct wload_tensor *tensor;
    uint8_t *address; /* NULL: nowhere, a sink takes it */
};

/* How one file is read. */
struct wl_plan_file {
    uint64_t size_bytes;
    uint32_t align_bytes; /* 1: reads need no alignment */
    bool is_direct;
    /*
     * Kept: it comes from a network and must be proven whole.  As soon as one want lies in it, all
     * of it is read, staged, from WL_LANE_STORAGE, each extent from a multiple of chunk_bytes on,
     * whatever else is said here.
     */
    bool is_kept;
    bool is_followed; /* kept, and another brings it: reads of it wait for that one */
    /*
     * Straight: memory mirrors the file, byte `offset` at address mirror + offset
     * (modulo 2^64: the mirror may begin before the memory does), with room for
     * the rounding.
     */
    bool is_mirrored;
    uintptr_t mirror;
};

struct wl_plan_request {
    const struct wl_want *wants; /* in order of file and offset */
    uint32_t want_count;
    const struct wl_plan_file *files;
    uint32_t chunk_bytes; /* a power of two, at least each file's align_bytes */
    /*
     * Bytes of a range that the page cache holds, or negative: not known, taken for
     * half.  Nearly resident extents go to WL_LANE_MEMORY, the others to storage; half
     * resident ones are read through the page cache there.
     */
    int64_t (*resident)(void *user, uint32_t file_index, uint64_t offset, uint64_t size_bytes);
    void *user;
    /* Whether resident extents are read through the page cache even of a direct file. */
    bool prefers_resident;
    /* Whether reads can write tensor memory: an extent that is one run of it goes straight. */
    bool is_host;
};

int wl_plan_build(const struct wl_plan_request *request, struct wl_plan *out,
                  struct wload_error *err);
/* Before the first is read: put the extents in order anew, now that it is known which files are
 * followed. */
void wl_plan_order(struct wl_plan *plan, const struct wl_plan_file *files);
void wl_plan_clear(struct wl_plan *plan);

#endif /* WL_PLAN_H */
