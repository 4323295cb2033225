/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: models by name, from a cache of this machine, and from a hub where that
 * has gaps.  Weights that are missing are not brought here: the manifest names
 * them, and its snapshot tells where they are to be had.
 */
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/components.h"
#include "cache/hub_api.h"
#include "cache/snapshot.h"

/* ---- Small files in memory: nothing is to be left on this machine --------------------------- */

struct asking {
    struct wl_snapshot *snapshot;
    struct wl_transfer transfer;
    struct wl_http *http;
};

static int begin_asking(struct asking *asking, struct wl_snapshot *snapshot,
                        struct wload_error *err)
{
    int rc = wl_transfer_init(&asking->transfer, &snapshot->config, &snapshot->log, 0, err);

    asking->snapshot = snapshot;
    asking->http = NULL;
    if (rc < 0) {
        return rc;
    }
    rc = wl_lines_take(&snapshot->lines, &asking->http, err);
    if (rc < 0) {
        wl_transfer_clear(&asking->transfer);
    }
    return rc;
}

static void end_asking(struct asking *asking)
{
    wl_lines_give(&asking->snapshot->lines, asking->http);
    wl_transfer_clear(&asking->transfer);
}

/* *text stays as it is if the hub has no file of that name. */
static int ask(struct asking *asking, const char *name, char **text, size_t *text_bytes,
               struct wload_error *err)
{
    const struct wl_snapshot *snapshot = asking->snapshot;
    const struct wl_hub_repo repo = {.kind = snapshot->spec.kind, .name = snapshot->spec.path};
    int64_t number = wl_listing_find(&snapshot->listing, name);
    const struct wl_listing_file *file;

    if (number < 0) {
        return WLOAD_OK;
    }
    file = &snapshot->listing.files[number];
    *text_bytes = file->size_bytes;
    return wl_hub_read(&asking->transfer, asking->http, &repo, snapshot->store.commit, file, text,
                       err);
}

static int read_indexes(struct wl_snapshot *snapshot, struct wl_manifest *manifest,
                        struct wload_error *err)
{
    size_t root_bytes = strlen(snapshot->store.snapshot_path) + 1;
    struct asking asking;
    int rc = begin_asking(&asking, snapshot, err);

    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = 0; i < manifest->count && rc == WLOAD_OK; i++) {
        struct wl_manifest_entry *entry = &manifest->entries[i];

        if (entry->kind == WL_ENTRY_SHARD_INDEX) {
            rc = ask(&asking, entry->path + root_bytes, &entry->text, &entry->text_bytes, err);
        }
    }
    end_asking(&asking);
    return rc;
}

/* `folder` is the spec's, "" or with a '/' at its end. */
static int read_pipeline(struct wl_snapshot *snapshot, const char *folder, char **text,
                         size_t *text_bytes, struct wload_error *err)
{
    char *name = wl_str_new("%s%s", folder, WL_PIPELINE_FILE);
    struct asking asking;
    int rc = name ? begin_asking(&asking, snapshot, err)
                  : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'",
                               snapshot->spec.path);

    if (rc == WLOAD_OK) {
        rc = ask(&asking, name, text, text_bytes, err);
        end_asking(&asking);
    }
    wl_sys->free(name);
    return rc;
}

/* ---- Gaps ------------------------------------------------------------------------------------ */

static bool is_here(const struct wl_snapshot *snapshot)
{
    return snapshot->shown.origin[0] != '\0' && snapshot->shown.missing_count == 0;
}

/* The manifest of a snapshot; of one that has gaps, by the names that it will have. */
static int resolve_files(const struct wl_log *log, struct wl_snapshot *snapshot,
                         const struct wl_spec *local, const struct wl_source_options *options,
                         struct wl_manifest *out, struct wload_error *err)
{
    const char *subfolder = snapshot->spec.subfolder;
    char *folder = wl_str_new("%s%s", subfolder ? subfolder : "", subfolder ? "/" : "");
    struct wl_source_options given = *options;
    char *pipeline = NULL;
    int rc = WLOAD_OK;

    if (!folder) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'",
                          snapshot->spec.path);
    }
    given.listing = out->snapshot ? &snapshot->listing : NULL;
    given.known = snapshot->listing.is_complete ? &snapshot->listing : NULL;
    given.folder = folder;
    if (out->is_unkept) {
        rc = read_pipeline(snapshot, folder, &pipeline, &given.pipeline_bytes, err);
    }
    given.pipeline = pipeline;
    rc = rc < 0 ? rc : wl_source_local.resolve(log, local, &given, out, err);
    rc = rc < 0 || !out->is_unkept ? rc : read_indexes(snapshot, out, err);
    wl_sys->free(pipeline);
    wl_sys->free(folder);
    return rc;
}

/* The small files beside the weights go into the cache; one that takes nothing is no reason not to
 * load. */
static int bring_small(struct wl_snapshot *snapshot, const struct wl_source_options *options,
                       struct wl_manifest *manifest, struct wload_error *err)
{
    struct wload_error why = {0};
    int rc = manifest->is_unkept && !snapshot->config.is_offline
                 ? WLOAD_OK
                 : wl_snapshot_fetch(snapshot, options->fetch, WL_FETCH_SMALL, &why);

    if (rc == WLOAD_ERR_IO || rc == WLOAD_ERR_NOSPACE) {
        WL_LOG(&snapshot->log, WLOAD_LOG_WARN, "cache", "the cache is off for this load: %s",
               why.message);
        manifest->is_unkept = true;
        manifest->unkept_why = wl_str_new("%s", why.message);
        return manifest->unkept_why ? WLOAD_OK
                                    : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a note");
    }
    if (rc < 0 && err) {
        *err = why;
    }
    return rc;
}

/* The hub was asked what the revision is, and all of it is here: whoever brought the last of it
 * died before that was written down. */
static void note_revision(struct wl_snapshot *snapshot, bool is_unkept)
{
    if (!is_unkept && snapshot->is_asked && is_here(snapshot)) {
        wl_snapshot_note_revision(snapshot);
    }
}

static int hub_resolve(const struct wl_log *log, const struct wl_spec *spec,
                       const struct wl_source_options *options, struct wl_manifest *out,
                       struct wload_error *err)
{
    static char local_scheme[] = "file";
    struct wload_snapshot_options wanted = *options->snapshot;
    struct wl_spec local = {.scheme = local_scheme, .variant = spec->variant};
    bool is_unkept = options->fetch->is_unkept != 0;
    struct wl_snapshot *snapshot;
    int rc;

    if (wanted.scope == WLOAD_SCOPE_ALL) {
        wanted.scope = is_unkept ? WLOAD_SCOPE_WEIGHTS : WLOAD_SCOPE_LOAD;
    }
    rc = wl_snapshot_open(log, spec, &wanted, &snapshot, err);
    if (rc < 0) {
        return rc;
    }
    local.path = snapshot->path;
    if (is_here(snapshot)) {
        note_revision(snapshot, is_unkept);
        rc = resolve_files(log, snapshot, &local, options, out, err);
        wl_snapshot_free(snapshot);
        return rc;
    }
    out->snapshot = snapshot; /* now the manifest's */
    out->is_unkept = is_unkept;
    rc = bring_small(snapshot, options, out, err);
    note_revision(snapshot, rc < 0 || out->is_unkept);
    return rc < 0 ? rc : resolve_files(log, snapshot, &local, options, out, err);
}

static const char *const hub_schemes[] = {"hf", NULL};

const struct wl_source_ops wl_source_hub = {
    .name = "hub",
    .schemes = hub_schemes,
    .resolve = hub_resolve,
};
