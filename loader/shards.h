/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard index, `*.safetensors.index.json`: which tensor lies in which shard.
 *
 *   wl_shards_read() -> the shards' names -> each shard's table --wl_shards_take()-->
 *   the tensors that the index maps there --wl_shards_check()--> none is missing
 *
 * Where the index and a shard disagree, the index is followed: a tensor that it
 * does not map to that shard is left out, one that it maps must be there.
 */
#ifndef WL_SHARDS_H
#define WL_SHARDS_H

#include "base/json.h"
#include "base/map.h"
#include "loader/index.h"

struct wl_shards_place {
    uint32_t shard;
    bool is_found; /* by wl_shards_take(); each is written for one shard only */
};

struct wl_shards_name {
    const char *text; /* a bare file name */
    uint32_t met;     /* as which one it was met */
};

struct wl_shards {
    char *path; /* of the index */
    char *text;
    struct wl_json_object root;
    struct wl_json_object weight_map; /* its keys are the tensors */
    struct wl_shards_place *places;   /* by member of weight_map */
    struct wl_shards_name *names;     /* of the shards, sorted */
    uint32_t name_count;
};

int wl_shards_read(const char *path, struct wl_shards *out, struct wload_error *err);

/* The same for a text already in memory.  Takes `text`, of wl_sys->alloc(), also on failure. */
int wl_shards_parse(const char *path, char *text, size_t text_bytes, struct wl_shards *out,
                    struct wload_error *err);
void wl_shards_clear(struct wl_shards *shards);

/*
 * Leave in a shard's table only what the index maps there; `prefix_bytes` of the
 * names are not the index's.  Returns how many were left out, and in *first the
 * name of one; it lives as long as the table.  Threads may do this at once, each
 * for another shard.
 */
uint32_t wl_shards_take(struct wl_shards *shards, uint32_t shard, size_t prefix_bytes,
                        struct wl_table *table, const char **first);

/* After all shards: every tensor that the index maps must have been found. */
int wl_shards_check(const struct wl_shards *shards, struct wload_error *err);

#endif /* WL_SHARDS_H */
