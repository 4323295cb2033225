/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/staging.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

#define HUGE_PAGE_BYTES (2u << 20)

static void move(struct wl_staging *staging, uint32_t slot, enum wl_slot_state from,
                 enum wl_slot_state to)
{
    WL_ASSERT(slot < staging->slot_count);
    WL_ASSERT(staging->slots[slot].state == from);
    staging->slots[slot].state = to;
}

int wl_staging_init(struct wl_staging *staging, uint32_t slot_bytes, uint32_t slot_count,
                    int numa_node, struct wload_error *err)
{
    uint64_t bytes = (uint64_t)slot_bytes * slot_count + HUGE_PAGE_BYTES;
    void *memory;

    *staging = (struct wl_staging){.slot_bytes = slot_bytes,
                                   .slot_count = slot_count,
                                   .ring_bytes = bytes};
    staging->slots = wl_sys_array(slot_count, sizeof(staging->slots[0]));
    staging->free_slots = wl_sys_array(slot_count, sizeof(staging->free_slots[0]));
    memory = wl_sys->mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!staging->slots || !staging->free_slots || memory == MAP_FAILED) {
        staging->memory = memory == MAP_FAILED ? NULL : memory;
        wl_staging_clear(staging);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u staging buffers of %u bytes",
                          slot_count, slot_bytes);
    }
    staging->memory = memory;
    (void)wl_sys->madvise(memory, bytes, MADV_HUGEPAGE);
    if (numa_node >= 0) {
        (void)wl_sys->numa_prefer(memory, bytes, (unsigned)numa_node);
    }
    for (uint32_t i = 0; i < slot_count; i++) {
        staging->free_slots[i] = slot_count - 1 - i; /* slot 0 is taken first */
    }
    staging->free_count = slot_count;
    return WLOAD_OK;
}

/* The first buffer begins on a huge page, as the others then do if they are that large. */
static uint8_t *buffer_at(const struct wl_staging *staging, uint32_t slot)
{
    uint64_t skip = -(uintptr_t)staging->memory & (HUGE_PAGE_BYTES - 1);

    return staging->memory + skip + (uint64_t)slot * staging->slot_bytes;
}

void wl_staging_clear(struct wl_staging *staging)
{
    for (uint32_t i = 0; i < staging->slot_count && staging->slots; i++) {
        if (staging->slots[i].is_pinned) {
            staging->device->ops->unpin(staging->device, buffer_at(staging, i));
        }
    }
    if (staging->memory) {
        (void)wl_sys->munmap(staging->memory, staging->ring_bytes);
    }
    wl_sys->free(staging->slots);
    wl_sys->free(staging->free_slots);
    *staging = (struct wl_staging){0};
}

uint32_t wl_staging_take(struct wl_staging *staging)
{
    uint32_t slot;

    if (staging->free_count == 0) {
        return WL_SLOT_NONE;
    }
    slot = staging->free_slots[--staging->free_count];
    move(staging, slot, WL_SLOT_FREE, WL_SLOT_READING);
    return slot;
}

static bool pin(struct wl_staging *staging, uint32_t slot, uint8_t *buffer)
{
    struct wl_device *device = staging->device;
    struct wload_error err;

    if (!device || device->ops->is_host) {
        return false;
    }
    if (device->ops->pin(device, buffer, staging->slot_bytes, &err) < 0) {
        WL_LOG(staging->log, WLOAD_LOG_INFO, "staging",
               "buffer %u is not pinned, copies from it are slower: %s", slot, err.message);
        return false;
    }
    return true;
}

/* Refusals cost speed, not correctness: pages fault in later, copies bounce. */
static void prepare(struct wl_staging *staging, uint32_t slot, uint8_t *buffer, bool is_received)
{
    struct wl_reader *reader = staging->reader;

    reader->ops->flush(reader); /* faulting and pinning take a millisecond */
    if (!is_received) {
        (void)wl_sys->madvise(buffer, staging->slot_bytes, MADV_POPULATE_WRITE);
    }
    staging->slots[slot].is_pinned = pin(staging, slot, buffer);
    if (!is_received) {
        reader->ops->buffer_add(reader, slot, buffer, staging->slot_bytes);
    }
    staging->slots[slot].is_prepared = true;
    staging->prepared_count++;
}

uint8_t *wl_staging_buffer(struct wl_staging *staging, uint32_t slot, bool is_received)
{
    uint8_t *buffer = buffer_at(staging, slot);

    WL_ASSERT(slot < staging->slot_count);
    if (!staging->slots[slot].is_prepared) {
        prepare(staging, slot, buffer, is_received);
    }
    return buffer;
}

void wl_staging_filled(struct wl_staging *staging, uint32_t slot, uint32_t consumers)
{
    move(staging, slot, WL_SLOT_READING, WL_SLOT_CONSUMING);
    atomic_store_explicit(&staging->slots[slot].consumers, consumers, memory_order_release);
}

bool wl_staging_release(struct wl_staging *staging, uint32_t slot)
{
    unsigned before =
        atomic_fetch_sub_explicit(&staging->slots[slot].consumers, 1, memory_order_acq_rel);

    WL_ASSERT(before > 0);
    return before == 1;
}

bool wl_staging_is_consumed(const struct wl_staging *staging, uint32_t slot)
{
    WL_ASSERT(staging->slots[slot].state == WL_SLOT_CONSUMING);
    return atomic_load_explicit(&staging->slots[slot].consumers, memory_order_acquire) == 0;
}

void wl_staging_free(struct wl_staging *staging, uint32_t slot)
{
    WL_ASSERT(wl_staging_is_consumed(staging, slot));
    move(staging, slot, WL_SLOT_CONSUMING, WL_SLOT_FREE);
    staging->free_slots[staging->free_count++] = slot;
}
