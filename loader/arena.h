/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: one block of device memory that a job lays its tensors out in.
 *
 *   EMPTY --wl_arena_claim--> CLAIMED --wl_arena_unclaim--> SETTLED --claim--> ...
 *
 * One job claims it at a time.  A claim that fits keeps the block, and whether
 * its memory has been faulted in before; a larger one replaces it.
 */
#ifndef WL_ARENA_H
#define WL_ARENA_H

#include <stdatomic.h>

#include "kernels/device.h"
#include "loader/context.h"

#define WL_ARENA_ALIGN_BYTES  (2u << 20) /* of the block: a huge page */
#define WL_TENSOR_ALIGN_BYTES 256u       /* of tensors in device memory */

struct wload_arena {
    atomic_uint references;
    atomic_bool is_claimed;
    struct wload_context *context;
    struct wl_device *device;
    uint32_t device_index;
    uint8_t *memory;
    uint64_t size_bytes;
    uint64_t touched_bytes; /* of the start: faulted in by an earlier job */
};

struct wload_arena *wl_arena_share(struct wload_arena *arena);

/* Own the arena, of at least size_bytes, for one job. */
int wl_arena_claim(struct wload_arena *arena, uint64_t size_bytes, struct wload_error *err);
/* The job is over; `touched_bytes` from the start hold its tensors (0: it failed, or they lie
 * scattered). */
void wl_arena_unclaim(struct wload_arena *arena, uint64_t touched_bytes);

#endif /* WL_ARENA_H */
