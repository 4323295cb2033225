/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source answers which files make up a spec, and moves no bytes.
 *
 *   spec --wl_resolve()--> source of its scheme --resolve()--> manifest
 *
 * Names in a manifest are checked: none leads out of the place that the spec names.
 */
#ifndef WL_SOURCE_H
#define WL_SOURCE_H

#include "base/log.h"

struct wl_spec {
    char *scheme;  /* "file", "hf": lower case, owned */
    char *path;    /* what follows "scheme://", or the path as it was given; owned */
    char *variant; /* NULL: the plain files; owned */
};

enum wl_entry_kind {
    WL_ENTRY_WEIGHTS,    /* a weights file */
    WL_ENTRY_SHARD_INDEX /* an index: the shards that it names lie beside it */
};

struct wl_manifest_entry {
    char *path;
    char *prefix; /* of the names of its tensors: "unet/", or empty */
    enum wl_entry_kind kind;
};

/* In the order in which the files become files of the model. */
struct wl_manifest {
    struct wl_manifest_entry *entries;
    uint32_t count;
    uint32_t room;
};

struct wl_source_ops {
    const char *name;
    const char *const *schemes; /* ends with NULL */

    /* Add the files of `spec` to `out`, at least one; on failure the caller clears it.
     * Logs as "spec" what was chosen and why. */
    int (*resolve)(const struct wl_log *log, const struct wl_spec *spec, struct wl_manifest *out,
                   struct wload_error *err);
};

extern const struct wl_source_ops wl_source_local;

/* Copies both strings. */
int wl_manifest_add(struct wl_manifest *manifest, enum wl_entry_kind kind, const char *path,
                    const char *prefix, struct wload_error *err);
void wl_manifest_clear(struct wl_manifest *manifest);

#endif /* WL_SOURCE_H */
