/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/resolve.h"

#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/locate.h"

#define ROOM_AT_FIRST 16u

static const struct wl_source_ops *const sources[] = {
    &wl_source_local,
    &wl_source_hub,
};

static const struct wl_source_ops *find_source(const char *scheme)
{
    for (size_t i = 0; i < WL_COUNT_OF(sources); i++) {
        for (const char *const *at = sources[i]->schemes; *at; at++) {
            if (strcmp(*at, scheme) == 0) {
                return sources[i];
            }
        }
    }
    return NULL;
}

static int resolve_by(const struct wl_source_ops *source, const struct wl_log *log,
                      const struct wl_spec *spec, const struct wl_source_options *options,
                      struct wl_manifest *out, struct wload_error *err)
{
    struct wl_manifest manifest = {0};
    int rc = source->resolve(log, spec, options, &manifest, err);

    if (manifest.note) {
        WL_LOG(log, WLOAD_LOG_WARN, "spec", "%s", manifest.note);
    }
    if (rc < 0) {
        wl_manifest_clear(&manifest);
        return rc;
    }
    for (uint32_t i = 0; i < manifest.count; i++) {
        WL_LOG(log, WLOAD_LOG_INFO, "spec", "%s '%s'%s%s",
               manifest.entries[i].kind == WL_ENTRY_WEIGHTS ? "file" : "index",
               manifest.entries[i].path, manifest.entries[i].prefix[0] ? " as " : "",
               manifest.entries[i].prefix);
    }
    *out = manifest;
    return WLOAD_OK;
}

int wl_resolve(const struct wl_log *log, const struct wl_spec *spec,
               const struct wl_source_options *options, struct wl_manifest *out,
               struct wload_error *err)
{
    const struct wl_source_ops *source = find_source(spec->scheme);
    struct wl_spec local = *spec;
    int rc;

    if (wl_locate_is_name(spec)) {
        return resolve_by(&wl_source_hub, log, spec, options, out, err);
    }
    if (!source) {
        return wl_locate_no_source(spec, err);
    }
    rc = wl_locate_path(spec, options->snapshot, &local.path, err);
    if (rc == WLOAD_OK) {
        rc = resolve_by(source, log, &local, options, out, err);
        wl_sys->free(local.path);
    }
    return rc;
}

/* ---- The manifest ------------------------------------------------------------ */

static bool grow(struct wl_manifest *manifest)
{
    uint32_t room = manifest->room ? manifest->room * 2 : ROOM_AT_FIRST;
    struct wl_manifest_entry *entries = wl_sys_array(room, sizeof(entries[0]));

    if (!entries) {
        return false;
    }
    if (manifest->count > 0) {
        memcpy(entries, manifest->entries, manifest->count * sizeof(entries[0]));
    }
    wl_sys->free(manifest->entries);
    manifest->entries = entries;
    manifest->room = room;
    return true;
}

int wl_manifest_add(struct wl_manifest *manifest, enum wl_entry_kind kind, const char *path,
                    const char *prefix, struct wload_error *err)
{
    struct wl_manifest_entry *entry;

    if (manifest->count == WL_FILES_MAX) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s': more than %u files", path, WL_FILES_MAX);
    }
    if (manifest->count == manifest->room && !grow(manifest)) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the list of files");
    }
    entry = &manifest->entries[manifest->count++];
    *entry = (struct wl_manifest_entry){.path = wl_str_new("%s", path),
                                        .prefix = wl_str_new("%s", prefix),
                                        .kind = kind};
    if (!entry->path || !entry->prefix) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the list of files");
    }
    return WLOAD_OK;
}

void wl_manifest_clear(struct wl_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->count; i++) {
        wl_sys->free(manifest->entries[i].path);
        wl_sys->free(manifest->entries[i].prefix);
        wl_sys->free(manifest->entries[i].text);
    }
    wl_snapshot_free(manifest->snapshot);
    wl_sys->free(manifest->unkept_why);
    wl_sys->free(manifest->note);
    wl_sys->free(manifest->entries);
    *manifest = (struct wl_manifest){0};
}
