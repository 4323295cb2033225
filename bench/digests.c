/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/digests.h"

#include "base/base.h"
#include "bench/team.h"

struct work {
    struct wload_arena *arena;
    struct landed *items;
};

static int add_content(struct wload_arena *arena, const struct landed *item,
                       struct wl_digest *digest, void *buffer, struct wload_error *err)
{
    const unsigned char *address = item->address;
    uint64_t left = item->tensor->size_bytes;

    while (left > 0) {
        uint64_t part = wl_min(left, TEAM_BUFFER_BYTES);
        int rc = wload_arena_read(arena, address, part, buffer, err);

        if (rc == WLOAD_OK) {
            rc = wl_digest_add(digest, buffer, part, err);
        }
        if (rc < 0) {
            return rc;
        }
        address += part;
        left -= part;
    }
    return WLOAD_OK;
}

static int compute_one(void *user, size_t index, void *buffer, struct wload_error *err)
{
    const struct work *work = user;
    struct landed *item = &work->items[index];
    struct wl_digest *digest;
    int rc;

    if (!item->tensor) {
        return WLOAD_OK;
    }
    rc = wl_digest_new(WL_DIGEST_SHA256, &digest, err);
    if (rc < 0) {
        return rc;
    }
    rc = add_content(work->arena, item, digest, buffer, err);
    rc = rc < 0 ? rc : wl_digest_finish(digest, item->hex, err);
    wl_digest_free(digest);
    return rc;
}

int digests_compute(struct wload_arena *arena, struct landed *items, size_t count,
                    struct wload_error *err)
{
    struct work work = {.arena = arena, .items = items};

    return team_run(count, compute_one, &work, err);
}
