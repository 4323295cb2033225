/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/arena.h"

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

int wload_arena_new(struct wload_context *context, enum wload_device_kind kind,
                    uint32_t device_index, struct wload_arena **out, struct wload_error *err)
{
    struct wload_arena *arena;
    int rc;

    if (!out) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "out is NULL");
    }
    arena = wl_sys->alloc(sizeof(*arena));
    if (!arena) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for an arena");
    }
    atomic_init(&arena->references, 1);
    rc = wl_context_share(context, &arena->context, err);
    if (rc < 0) {
        goto out_free;
    }
    rc = wl_device_open(&arena->context->log, kind, device_index, &arena->device, err);
    if (rc < 0) {
        goto out_context;
    }
    arena->device_index = device_index;
    *out = arena;
    return WLOAD_OK;

out_context:
    wload_context_free(arena->context);
out_free:
    wl_sys->free(arena);
    return rc;
}

struct wload_arena *wl_arena_share(struct wload_arena *arena)
{
    atomic_fetch_add(&arena->references, 1);
    return arena;
}

static void release_memory(struct wload_arena *arena)
{
    if (arena->memory) {
        arena->device->ops->memory_free(arena->device, arena->memory, arena->size_bytes);
    }
    arena->memory = NULL;
    arena->size_bytes = 0;
    arena->touched_bytes = 0;
}

void wload_arena_free(struct wload_arena *arena)
{
    if (arena && atomic_fetch_sub(&arena->references, 1) == 1) {
        release_memory(arena);
        wl_device_close(arena->device);
        wload_context_free(arena->context);
        wl_sys->free(arena);
    }
}

int wl_arena_claim(struct wload_arena *arena, uint64_t size_bytes, struct wload_error *err)
{
    void *memory = NULL;
    int rc;

    if (atomic_exchange(&arena->is_claimed, true)) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "the arena is in use by another job");
    }
    if (size_bytes <= arena->size_bytes) {
        return WLOAD_OK;
    }
    release_memory(arena); /* first: there may not be room for both */
    rc = arena->device->ops->memory_alloc(arena->device, size_bytes, &memory, err);
    if (rc < 0) {
        atomic_store(&arena->is_claimed, false);
        return rc;
    }
    arena->memory = memory;
    arena->size_bytes = size_bytes;
    return WLOAD_OK;
}

void wl_arena_unclaim(struct wload_arena *arena, uint64_t touched_bytes)
{
    arena->touched_bytes = wl_max(arena->touched_bytes, touched_bytes);
    atomic_store(&arena->is_claimed, false);
}

int wload_arena_read(struct wload_arena *arena, const void *address, uint64_t size_bytes,
                     void *target, struct wload_error *err)
{
    uint64_t offset;

    if (!arena || !target) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "%s is NULL", arena ? "target" : "arena");
    }
    offset = (uint64_t)((uintptr_t)address - (uintptr_t)arena->memory);
    if (size_bytes == 0) {
        return WLOAD_OK;
    }
    if (!arena->memory || offset > arena->size_bytes || size_bytes > arena->size_bytes - offset) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "%llu bytes at %p are not in the arena",
                          (unsigned long long)size_bytes, address);
    }
    return arena->device->ops->memory_read(arena->device, address, size_bytes, target, err);
}
