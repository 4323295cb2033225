/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source answers which files make up a spec: where it brings them here for that,
 * it has others move the bytes.
 *
 *   spec --wl_resolve()--> source of its scheme --resolve()--> manifest
 *
 * Names in a manifest are checked: none leads out of the place that the spec names.
 */
#ifndef WL_SOURCE_H
#define WL_SOURCE_H

#include "base/hub.h"
#include "base/log.h"

/* Strings are owned. */
struct wl_spec {
    char *scheme;          /* "file", "hf": lower case */
    char *path;            /* the path as it was given, or "org/name" */
    char *variant;         /* NULL: the plain files */
    enum wl_hub_kind kind; /* the rest with "hf" only */
    char *revision;        /* NULL: not said */
    char *subfolder;       /* NULL: not said */
};

enum wl_entry_kind {
    WL_ENTRY_WEIGHTS,    /* a weights file */
    WL_ENTRY_SHARD_INDEX /* an index: the shards that it names lie beside it */
};

struct wl_manifest_entry {
    char *path;
    char *prefix; /* of the names of its tensors: "unet/", or empty */
    char *text;   /* what an index says, where it is not at its path; else NULL */
    size_t text_bytes;
    enum wl_entry_kind kind;
};

struct wl_snapshot;

/* In the order in which the files become files of the model. */
struct wl_manifest {
    struct wl_manifest_entry *entries;
    uint32_t count;
    uint32_t room;
    struct wl_snapshot *snapshot; /* that has yet to bring some of the files; or NULL */
    bool is_unkept;               /* what it brings is not to be kept, or cannot be: */
    char *unkept_why;             /* why it cannot; NULL: it could */
    char *note;                   /* what has no weights to load, and why; NULL: nothing */
};

struct wl_listing;

/* How a model that is named is looked for and brought here; the first two were taken. */
struct wl_source_options {
    const struct wload_snapshot_options *snapshot;
    const struct wload_fetch_options *fetch;
    /* Where the spec's directory has gaps still: the names that it will have, each behind `folder`,
     * which is "" or ends with '/'.  NULL: the directory's own. */
    const struct wl_listing *listing;
    const struct wl_listing *known; /* alike, where it has none: what else the repository has */
    const char *folder;
    const char *pipeline; /* what the list of a pipeline's components says; NULL: it is in a file */
    size_t pipeline_bytes;
};

struct wl_source_ops {
    const char *name;
    const char *const *schemes; /* ends with NULL */

    /* Add the files of `spec` to `out`, at least one; on failure the caller clears it.
     * Logs as "spec" what was chosen and why. */
    int (*resolve)(const struct wl_log *log, const struct wl_spec *spec,
                   const struct wl_source_options *options, struct wl_manifest *out,
                   struct wload_error *err);
};

extern const struct wl_source_ops wl_source_local;
extern const struct wl_source_ops wl_source_hub;

/* Copies both strings. */
int wl_manifest_add(struct wl_manifest *manifest, enum wl_entry_kind kind, const char *path,
                    const char *prefix, struct wload_error *err);
void wl_manifest_clear(struct wl_manifest *manifest);

#endif /* WL_SOURCE_H */
