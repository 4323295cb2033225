/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staging: slots, each with a buffer of its own in one ring of host memory.
 *
 *   FREE --take--> READING --filled--> CONSUMING --last consumer done--> FREE
 *
 * Fixed in number and size from start to end; a slot is in one state and has one
 * owner at a time.  While CONSUMING it has a count of consumers (the device copy,
 * each chunk that a sink holds) and is free again when the last is done.
 *
 * A slot whose extent goes straight to its place is used without its buffer.
 * Memory is paid for as it is used: the ring is only an address range until a
 * slot is prepared, and slots used last are used again first, so that a load
 * touches no more buffers than it keeps busy.
 */
#ifndef WL_STAGING_H
#define WL_STAGING_H

#include <stdatomic.h>

#include "kernels/device.h"
#include "loader/reader.h"

#define WL_SLOT_NONE UINT32_MAX

enum wl_slot_state {
    WL_SLOT_FREE,
    WL_SLOT_READING,
    WL_SLOT_CONSUMING
};

struct wl_slot {
    enum wl_slot_state state;
    bool is_prepared;
    bool is_pinned;
    atomic_uint consumers; /* only while CONSUMING; any thread may take one off */
};

struct wl_staging {
    uint8_t *memory;
    struct wl_slot *slots;
    uint32_t *free_slots; /* a stack of free_count numbers */
    uint64_t ring_bytes;
    uint32_t slot_bytes;
    uint32_t slot_count;
    uint32_t free_count;
    uint32_t prepared_count;
    struct wl_device *device; /* pins buffers; NULL where nothing copies from them */
    struct wl_reader *reader; /* registers buffers */
    const struct wl_log *log; /* with `device`: told where pinning is refused */
};

/* `numa_node`: where the memory should be; negative: anywhere. */
int wl_staging_init(struct wl_staging *staging, uint32_t slot_bytes, uint32_t slot_count,
                    int numa_node, struct wload_error *err);
/* All slots are free, the reader is closed. */
void wl_staging_clear(struct wl_staging *staging);

/* A free slot, now READING; WL_SLOT_NONE when there is none. */
uint32_t wl_staging_take(struct wl_staging *staging);
/* The buffer of a slot, pinned on first use, and faulted in and registered for reads by the kernel:
 * what is received a thread puts there, which faults it in while others do the same. */
uint8_t *wl_staging_buffer(struct wl_staging *staging, uint32_t slot, bool is_received);

/* The read is done; `consumers` parties will each call wl_staging_release(). */
void wl_staging_filled(struct wl_staging *staging, uint32_t slot, uint32_t consumers);
/* One consumer is done.  True: it was the last.  Any thread. */
bool wl_staging_release(struct wl_staging *staging, uint32_t slot);
/* Whether a CONSUMING slot has no consumer left. */
bool wl_staging_is_consumed(const struct wl_staging *staging, uint32_t slot);
/* A consumed slot becomes FREE. */
void wl_staging_free(struct wl_staging *staging, uint32_t slot);

#endif /* WL_STAGING_H */
