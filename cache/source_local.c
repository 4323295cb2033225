/* SPDX-License-Identifier: Apache-2.0 */
/* Source: files already on this machine.  Links are followed: a snapshot in a cache is full of
 * them. */
#include "cache/source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/select.h"

#define PIPELINE_FILE "model_index.json"

/* ---- A directory's names, those that matter, sorted ---------------------------- */

struct listing {
    char **names;
    uint32_t count;
    uint32_t room;
    bool is_pipeline;
    char pickled[NAME_MAX + 1]; /* weights in a format that is not read here; empty: none */
};

static void clear_listing(struct listing *listing)
{
    for (uint32_t i = 0; i < listing->count; i++) {
        wl_sys->free(listing->names[i]);
    }
    wl_sys->free(listing->names);
    *listing = (struct listing){0};
}

static int add_name(struct listing *listing, const char *folder, const char *name,
                    struct wload_error *err)
{
    if (listing->count == listing->room) {
        uint32_t room = listing->room ? listing->room * 2 : 16;
        char **names = wl_sys_array(room, sizeof(names[0]));

        if (!names) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the %u files of '%s'", room,
                              folder);
        }
        if (listing->count > 0) {
            memcpy(names, listing->names, listing->count * sizeof(names[0]));
        }
        wl_sys->free(listing->names);
        listing->names = names;
        listing->room = room;
    }
    listing->names[listing->count] = wl_str_new("%s", name);
    if (!listing->names[listing->count]) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'", folder);
    }
    listing->count++;
    return WLOAD_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_names(DIR *dir, const char *folder, struct listing *listing,
                      struct wload_error *err)
{
    for (;;) {
        const struct dirent *entry;
        int rc;

        errno = 0;
        entry = wl_sys->readdir(dir);
        if (!entry) {
            return errno ? wl_err_sys(err, errno, "cannot list '%s'", folder) : WLOAD_OK;
        }
        if (strcmp(entry->d_name, PIPELINE_FILE) == 0) {
            listing->is_pipeline = true;
        } else if (wl_str_ends(entry->d_name, "pytorch_model.bin")) {
            (void)snprintf(listing->pickled, sizeof(listing->pickled), "%s", entry->d_name);
        } else if (wl_select_knows(entry->d_name)) {
            rc = add_name(listing, folder, entry->d_name, err);
            if (rc < 0) {
                return rc;
            }
        }
    }
}

/* Takes `fd`, a directory. */
static int list(int fd, const char *folder, struct listing *out, struct wload_error *err)
{
    DIR *dir = wl_sys->fdopendir(fd);
    int rc;

    *out = (struct listing){0};
    if (!dir) {
        rc = wl_err_sys(err, errno, "cannot list '%s'", folder);
        (void)wl_sys->close(fd);
        return rc;
    }
    rc = read_names(dir, folder, out, err);
    (void)wl_sys->closedir(dir);
    if (rc < 0) {
        clear_listing(out);
        return rc;
    }
    if (out->count > 1) {
        qsort(out->names, out->count, sizeof(out->names[0]), compare_names);
    }
    return WLOAD_OK;
}

/* A descriptor, or a negative errno. */
static int open_folder(const char *path)
{
    int fd;

    do {
        fd = wl_sys->openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/* ---- One folder ------------------------------------------------------------------ */

static char *join(const char *folder, const char *name)
{
    return wl_str_new("%s%s%s", folder, wl_str_ends(folder, "/") ? "" : "/", name);
}

static int add_picks(const struct listing *listing, const uint32_t *picks, int picked,
                     const char *folder, const char *prefix, struct wl_manifest *out,
                     struct wload_error *err)
{
    for (int i = 0; i < picked; i++) {
        const char *name = listing->names[picks[i]];
        char *path = join(folder, name);
        int rc;

        if (!path) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'", folder);
        }
        rc = wl_manifest_add(out,
                             wl_str_ends(name, ".json") ? WL_ENTRY_SHARD_INDEX : WL_ENTRY_WEIGHTS,
                             path, prefix, err);
        wl_sys->free(path);
        if (rc < 0) {
            return rc;
        }
    }
    return picked;
}

/* Returns how many entries were added; 0: the folder has no weights of that variant. */
static int add_folder(const struct listing *listing, const char *folder, const char *variant,
                      const char *prefix, struct wl_manifest *out, struct wload_error *err)
{
    uint32_t *picks = wl_sys_array(listing->count, sizeof(picks[0]));
    int rc;

    if (!picks) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'", folder);
    }
    rc =
        wl_select(folder, (const char *const *)listing->names, listing->count, variant, picks, err);
    if (rc > 0) {
        rc = add_picks(listing, picks, rc, folder, prefix, out, err);
    }
    wl_sys->free(picks);
    return rc;
}

static int resolve_folder(const struct wl_spec *spec, const struct listing *listing,
                          struct wl_manifest *out, struct wload_error *err)
{
    int rc = add_folder(listing, spec->path, spec->variant, "", out, err);

    if (rc != 0) {
        return rc < 0 ? rc : WLOAD_OK;
    }
    if (spec->variant) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' has no weights of variant '%s'",
                          spec->path, spec->variant);
    }
    if (listing->pickled[0] != '\0') {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED,
                          "'%s' has weights only in '%s': convert them to safetensors", spec->path,
                          listing->pickled);
    }
    return wl_err_set(err, WLOAD_ERR_NOT_FOUND,
                      "'%s' has no weights: no *.safetensors, no *.safetensors.index.json and no "
                      "model_index.json",
                      spec->path);
}

/* ---- A pipeline -------------------------------------------------------------------- */

/* ["library", "Class"] is a component; [null, null] is one that is absent, and all else is
 * configuration, as is every key that begins with '_'. */
static bool is_component(const cJSON *item)
{
    const cJSON *library = cJSON_IsArray(item) ? item->child : NULL;
    const cJSON *class = library ? library->next : NULL;

    return class && !class->next && cJSON_IsString(library) && cJSON_IsString(class) &&
           item->string[0] != '_';
}

struct pipeline {
    const struct wl_log *log;
    const struct wl_spec *spec;
    uint32_t of_variant_count; /* components that have the variant asked for */
};

static int add_listed(struct pipeline *pipeline, const struct listing *listing, const char *folder,
                      const char *prefix, struct wl_manifest *out, struct wload_error *err)
{
    int rc = 0;

    if (listing->count == 0) {
        WL_LOG(pipeline->log, listing->pickled[0] ? WLOAD_LOG_WARN : WLOAD_LOG_INFO, "spec",
               "component '%s' has no weights in safetensors%s%s: passed over", folder,
               listing->pickled[0] ? ", only " : "", listing->pickled);
        return WLOAD_OK;
    }
    if (pipeline->spec->variant) {
        rc = add_folder(listing, folder, pipeline->spec->variant, prefix, out, err);
        pipeline->of_variant_count += rc > 0;
    }
    if (rc == 0) {
        rc = add_folder(listing, folder, NULL, prefix, out, err);
    }
    return rc < 0 ? rc : WLOAD_OK;
}

static int add_component(struct pipeline *pipeline, const char *name, struct wl_manifest *out,
                         struct wload_error *err)
{
    struct listing listing = {0};
    char *folder = join(pipeline->spec->path, name);
    char *prefix = wl_str_new("%s/", name);
    int rc;
    int fd;

    if (!folder || !prefix) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for component '%s'", name);
        goto out_free;
    }
    fd = open_folder(folder);
    if (fd == -ENOENT) {
        WL_LOG(pipeline->log, WLOAD_LOG_WARN, "spec",
               "component '%s' is listed but has no folder: passed over", folder);
        rc = WLOAD_OK;
        goto out_free;
    }
    rc =
        fd < 0 ? wl_err_sys(err, -fd, "cannot list '%s'", folder) : list(fd, folder, &listing, err);
    if (rc == WLOAD_OK) {
        rc = add_listed(pipeline, &listing, folder, prefix, out, err);
    }
    clear_listing(&listing);

out_free:
    wl_sys->free(prefix);
    wl_sys->free(folder);
    return rc;
}

static int add_components(struct pipeline *pipeline, const cJSON *root, const char *index_path,
                          struct wl_manifest *out, struct wload_error *err)
{
    if (!cJSON_IsObject(root)) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' is not a JSON object", index_path);
    }
    wl_json_each (item, root) {
        int rc;

        if (!is_component(item)) {
            continue;
        }
        if (!wl_str_is_file_name(item->string)) {
            return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s': component '%s' cannot name a folder",
                              index_path, item->string);
        }
        rc = add_component(pipeline, item->string, out, err);
        if (rc < 0) {
            return rc;
        }
    }
    if (out->count == 0) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' lists no component that has weights",
                          index_path);
    }
    if (pipeline->spec->variant && pipeline->of_variant_count == 0) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s': no component has variant '%s'",
                          index_path, pipeline->spec->variant);
    }
    return WLOAD_OK;
}

static int resolve_pipeline(const struct wl_log *log, const struct wl_spec *spec,
                            struct wl_manifest *out, struct wload_error *err)
{
    struct pipeline pipeline = {.log = log, .spec = spec};
    char *path = join(spec->path, PIPELINE_FILE);
    char *text = NULL;
    cJSON *root = NULL;
    size_t size = 0;
    int rc;

    if (!path) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'", spec->path);
    }
    WL_LOG(log, WLOAD_LOG_INFO, "spec", "'%s' is a pipeline", spec->path);
    rc = wl_file_read(path, WL_INDEX_BYTES_MAX, &text, &size, err);
    if (rc == WLOAD_OK) {
        rc = wl_json_parse(text, size, path, 0, &root, err);
    }
    if (rc == WLOAD_OK) {
        rc = add_components(&pipeline, root, path, out, err);
    }
    cJSON_Delete(root);
    wl_sys->free(text);
    wl_sys->free(path);
    return rc;
}

/* ---- The spec -------------------------------------------------------------------------- */

static int resolve_file(const struct wl_spec *spec, struct wl_manifest *out,
                        struct wload_error *err)
{
    if (spec->variant) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "'%s' is one file: variant '%s' is looked for in a directory", spec->path,
                          spec->variant);
    }
    return wl_manifest_add(
        out, wl_str_ends(spec->path, ".json") ? WL_ENTRY_SHARD_INDEX : WL_ENTRY_WEIGHTS, spec->path,
        "", err);
}

/* "org/name" is what a model is called on a hub, and most paths are not. */
static bool looks_like_hub_name(const char *path)
{
    const char *slash = strchr(path, '/');

    return slash && slash != path && slash[1] != '\0' && path[0] != '.' && path[0] != '~' &&
           !strchr(slash + 1, '/') && !wl_str_ends(path, ".safetensors") &&
           !wl_str_ends(path, ".json");
}

static int refuse_path(const char *path, int sys_errno, struct wload_error *err)
{
    if (sys_errno == ENOENT && looks_like_hub_name(path)) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND,
                          "'%s' is no file or directory here, and this build fetches no model by "
                          "name: give the path of its directory",
                          path);
    }
    return wl_err_sys(err, sys_errno, "cannot open '%s'", path);
}

static int local_resolve(const struct wl_log *log, const struct wl_spec *spec,
                         struct wl_manifest *out, struct wload_error *err)
{
    struct listing listing;
    int fd = open_folder(spec->path);
    int rc;

    if (fd == -ENOTDIR) {
        return resolve_file(spec, out, err);
    }
    if (fd < 0) {
        return refuse_path(spec->path, -fd, err);
    }
    rc = list(fd, spec->path, &listing, err);
    if (rc < 0) {
        return rc;
    }
    rc = listing.is_pipeline ? resolve_pipeline(log, spec, out, err)
                             : resolve_folder(spec, &listing, out, err);
    clear_listing(&listing);
    return rc;
}

static const char *const local_schemes[] = {"file", NULL};

const struct wl_source_ops wl_source_local = {
    .name = "local",
    .schemes = local_schemes,
    .resolve = local_resolve,
};
