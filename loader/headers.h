/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of a model's files, read or asked for, and checked, by a few threads.
 *
 * What comes out does not depend on the threads: each file has its own table, and
 * the error is that of the first file in order that has one.
 */
#ifndef WL_HEADERS_H
#define WL_HEADERS_H

#include "base/file.h"
#include "cache/snapshot.h"
#include "loader/shards.h"

struct wl_weights {
    char *path;
    const char *prefix;                   /* put before the names of its tensors */
    struct wl_shards *shards;             /* the index that names it, or NULL */
    uint32_t shard;                       /* its number there */
    const struct wl_listing_file *listed; /* not on this machine, and had from where this says */
    /* Known once read: */
    struct wl_file_identity identity;
    uint32_t left_out_count; /* tensors that the index does not map to it */
    const char *left_out;    /* one of them */
};

/*
 * Fill tables[i] from files[i]; headers of files that are `listed` come from the
 * hub that `snapshot` is of, as `fetch` says: its connections, and its on_progress,
 * which may stop it.  On failure the tables are the caller's to clear all the same.
 */
int wl_headers_read(struct wl_weights *files, struct wl_table *tables, uint32_t count,
                    struct wl_snapshot *snapshot, const struct wload_fetch_options *fetch,
                    struct wload_error *err);

#endif /* WL_HEADERS_H */
