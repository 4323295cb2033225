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
#include "base/str.h"
#include "base/sys.h"
#include "cache/components.h"
#include "cache/listing.h"
#include "cache/locate.h"
#include "cache/select.h"

/* What the spec names, and where its files' names are had from. */
struct place {
    const struct wl_log *log;
    const struct wl_spec *spec;
    const struct wl_source_options *options;
};

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

static int take_name(struct listing *listing, const char *folder, const char *name,
                     struct wload_error *err)
{
    if (strcmp(name, WL_PIPELINE_FILE) == 0) {
        listing->is_pipeline = true;
    } else if (wl_str_ends(name, "pytorch_model.bin")) {
        (void)snprintf(listing->pickled, sizeof(listing->pickled), "%s", name);
    } else if (wl_select_knows(name)) {
        return add_name(listing, folder, name, err);
    }
    return WLOAD_OK;
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
        rc = take_name(listing, folder, entry->d_name, err);
        if (rc < 0) {
            return rc;
        }
    }
}

static int read_directory(int fd, const char *folder, struct listing *listing,
                          struct wload_error *err)
{
    DIR *dir = wl_sys->fdopendir(fd);
    int rc;

    if (!dir) {
        rc = wl_err_sys(err, errno, "cannot list '%s'", folder);
        (void)wl_sys->close(fd);
        return rc;
    }
    rc = read_names(dir, folder, listing, err);
    (void)wl_sys->closedir(dir);
    return rc;
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

/* The names that are given for a folder: `within` is its path as they have it.  Returns whether
 * there are any, or an error. */
static int take_given(const struct wl_listing *given, const char *within, const char *folder,
                      struct listing *listing, struct wload_error *err)
{
    int is_there = 0;

    for (uint32_t i = 0; i < given->count; i++) {
        const char *name = given->files[i].name;
        int rc;

        if (!wl_str_starts(name, within)) {
            continue;
        }
        is_there = 1;
        name += strlen(within);
        rc = strchr(name, '/') ? WLOAD_OK : take_name(listing, folder, name, err);
        if (rc < 0) {
            return rc;
        }
    }
    return is_there;
}

static int list_given(const struct place *place, const struct wl_listing *given,
                      const char *component, const char *folder, struct listing *out,
                      struct wload_error *err)
{
    char *within = wl_str_new("%s%s%s", place->options->folder, component ? component : "",
                              component ? "/" : "");
    int rc = within ? take_given(given, within, folder, out, err)
                    : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'", folder);

    wl_sys->free(within);
    return rc;
}

/* Weights that cannot be loaded are not downloaded either: the repository has them all the same. */
static int find_pickled(const struct place *place, const char *component, const char *folder,
                        struct listing *out, struct wload_error *err)
{
    struct listing known = {0};
    int rc = list_given(place, place->options->known, component, folder, &known, err);

    if (rc >= 0 && known.count == 0 && known.pickled[0] != '\0') {
        memcpy(out->pickled, known.pickled, sizeof(out->pickled));
    }
    clear_listing(&known);
    return rc < 0 ? rc : 1;
}

/*
 * The names in a folder: the spec's own with `component` NULL.  Returns 1, 0 if
 * there is no such folder, or an error; *sys_errno says why it is 0.
 */
static int list(const struct place *place, const char *component, const char *folder,
                struct listing *out, int *sys_errno, struct wload_error *err)
{
    int rc;

    *out = (struct listing){0};
    *sys_errno = ENOENT;
    if (place->options->listing) {
        rc = list_given(place, place->options->listing, component, folder, out, err);
    } else {
        int fd = open_folder(folder);

        *sys_errno = fd < 0 ? -fd : 0;
        rc = fd < 0 ? 0 : read_directory(fd, folder, out, err);
        rc = rc < 0 ? rc : fd >= 0;
        if (rc > 0 && out->count == 0 && place->options->known) {
            rc = find_pickled(place, component, folder, out, err);
        }
    }
    if (rc <= 0) {
        clear_listing(out);
    } else if (out->count > 1) {
        qsort(out->names, out->count, sizeof(out->names[0]), compare_names);
    }
    return rc;
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

struct pipeline {
    const struct place *place;
    uint32_t of_variant_count; /* components that have the variant asked for */
};

/* A component that has weights, which cannot be loaded: whoever shows the load shows that, too. */
static int pass_over(const char *folder, const char *pickled, struct wl_manifest *out,
                     struct wload_error *err)
{
    char *before = out->note;

    out->note = wl_str_new("%s%scomponent '%s' has no weights in safetensors, only %s: passed over",
                           before ? before : "", before ? "; " : "", folder, pickled);
    wl_sys->free(before);
    if (!out->note) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a note");
    }
    return WLOAD_OK;
}

static int add_listed(struct pipeline *pipeline, const struct listing *listing, const char *folder,
                      const char *prefix, struct wl_manifest *out, struct wload_error *err)
{
    int rc = 0;

    if (listing->count == 0 && listing->pickled[0] != '\0') {
        return pass_over(folder, listing->pickled, out, err);
    }
    if (listing->count == 0) {
        WL_LOG(pipeline->place->log, WLOAD_LOG_INFO, "spec",
               "component '%s' has no weights in safetensors: passed over", folder);
        return WLOAD_OK;
    }
    if (pipeline->place->spec->variant) {
        rc = add_folder(listing, folder, pipeline->place->spec->variant, prefix, out, err);
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
    char *folder = join(pipeline->place->spec->path, name);
    char *prefix = wl_str_new("%s/", name);
    int sys_errno;
    int rc;

    if (!folder || !prefix) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for component '%s'", name);
        goto out_free;
    }
    rc = list(pipeline->place, name, folder, &listing, &sys_errno, err);
    if (rc == 0 && sys_errno == ENOENT) {
        WL_LOG(pipeline->place->log, WLOAD_LOG_WARN, "spec",
               "component '%s' is listed but has no folder: passed over", folder);
    } else if (rc == 0) {
        rc = wl_err_sys(err, sys_errno, "cannot list '%s'", folder);
    } else if (rc > 0) {
        rc = add_listed(pipeline, &listing, folder, prefix, out, err);
    }
    clear_listing(&listing);

out_free:
    wl_sys->free(prefix);
    wl_sys->free(folder);
    return rc;
}

static int add_components(struct pipeline *pipeline, const struct wl_components *components,
                          const char *index_path, struct wl_manifest *out, struct wload_error *err)
{
    for (uint32_t i = 0; i < components->count; i++) {
        int rc = add_component(pipeline, components->names[i], out, err);

        if (rc < 0) {
            return rc;
        }
    }
    if (out->count == 0) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' lists no component that has weights",
                          index_path);
    }
    if (pipeline->place->spec->variant && pipeline->of_variant_count == 0) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s': no component has variant '%s'",
                          index_path, pipeline->place->spec->variant);
    }
    return WLOAD_OK;
}

static int resolve_pipeline(const struct place *place, struct wl_manifest *out,
                            struct wload_error *err)
{
    const struct wl_spec *spec = place->spec;
    struct pipeline pipeline = {.place = place};
    struct wl_components components = {0};
    char *path = join(spec->path, WL_PIPELINE_FILE);
    int rc;

    if (!path) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'", spec->path);
    }
    WL_LOG(place->log, WLOAD_LOG_INFO, "spec", "'%s' is a pipeline", spec->path);
    rc = place->options->pipeline
             ? wl_components_parse(place->options->pipeline, place->options->pipeline_bytes, path,
                                   &components, err)
             : wl_components_read(path, &components, err);
    if (rc == WLOAD_OK) {
        rc = add_components(&pipeline, &components, path, out, err);
    }
    wl_components_clear(&components);
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

static int local_resolve(const struct wl_log *log, const struct wl_spec *spec,
                         const struct wl_source_options *options, struct wl_manifest *out,
                         struct wload_error *err)
{
    const struct place place = {.log = log, .spec = spec, .options = options};
    struct listing listing;
    int sys_errno;
    int rc = list(&place, NULL, spec->path, &listing, &sys_errno, err);

    if (rc == 0) {
        return sys_errno == ENOTDIR || options->listing
                   ? resolve_file(spec, out, err)
                   : wl_locate_no_path(spec->path, sys_errno, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = listing.is_pipeline ? resolve_pipeline(&place, out, err)
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
