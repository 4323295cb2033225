/* SPDX-License-Identifier: Apache-2.0 */
/* Specs that are no names: paths, and what looks like neither. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/locate.h"

#define NAME_FORM "hf://org/name[@revision][/folder]"

/* Where a model's page is: its address there is no spec, and tells one. */
static const char *const hub_pages[] = {"huggingface.co/", "hf.co/"};

bool wl_locate_exists(const char *path)
{
    struct statx status;

    return wl_sys->statx(AT_FDCWD, path, 0, STATX_TYPE, &status) == 0;
}

/* "org/name", as a path can be written, too. */
static bool is_like_name(const char *path)
{
    return strchr(path, '/') && wl_hub_is_repo(path);
}

bool wl_locate_is_name(const struct wl_spec *spec)
{
    return strcmp(spec->scheme, "hf") == 0 ||
           (strcmp(spec->scheme, "file") == 0 && is_like_name(spec->path) &&
            !wl_locate_exists(spec->path));
}

/* ---- A path ------------------------------------------------------------------------------ */

/* Why what is asked for cannot be had of a path; NULL: it can. */
static const char *find_excess(const struct wload_snapshot_options *options)
{
    if (options->revision) {
        return "has no revisions";
    }
    return options->include_count > 0 || options->exclude_count > 0 ? "takes no patterns" : NULL;
}

int wl_locate_path(const struct wl_spec *spec, const struct wload_snapshot_options *options,
                   char **out, struct wload_error *err)
{
    const char *excess = find_excess(options);
    const char *subfolder = options->subfolder ? options->subfolder : "";
    size_t bytes = strlen(subfolder);
    char *path;

    if (excess && wl_locate_exists(spec->path)) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "'%s' is a path here, which %s: a model that is named is hf://%s",
                          spec->path, excess, is_like_name(spec->path) ? spec->path : "org/name");
    }
    while (bytes > 0 && subfolder[bytes - 1] == '/') {
        bytes--;
    }
    path = wl_str_new("%s%s%.*s", spec->path, options->subfolder ? "/" : "", (int)bytes, subfolder);
    if (!path) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the path '%s'", spec->path);
    }
    if (options->subfolder && !wl_hub_is_path(path + strlen(spec->path) + 1)) {
        wl_sys->free(path);
        return wl_err_set(err, WLOAD_ERR_INVALID, "'%.80s' cannot be a folder of '%s'", subfolder,
                          spec->path);
    }
    *out = path;
    return WLOAD_OK;
}

/* ---- Neither a path nor a name ------------------------------------------------------------ */

/* Whether somebody may have meant a model: nothing says that it is a path or a file. */
static bool may_be_meant_as_name(const char *path)
{
    return path[0] != '/' && path[0] != '.' && !wl_str_ends(path, ".safetensors") &&
           !wl_str_ends(path, ".json");
}

int wl_locate_no_path(const char *path, int sys_errno, struct wload_error *err)
{
    bool is_explained = sys_errno == ENOENT && may_be_meant_as_name(path);

    return wl_err_sys(err, sys_errno, "cannot open '%s'%s", path,
                      is_explained ? " (a model is named org/name or " NAME_FORM ")" : "");
}

/* The repository that a page is of, "org/name" or "datasets/org/name", to its end; 0: none. */
static size_t repo_bytes(const char *page)
{
    size_t bytes = wl_str_starts(page, "datasets/") ? strlen("datasets/") : 0;

    bytes += strcspn(page + bytes, "/?#");
    if (page[bytes] == '/') {
        bytes += 1 + strcspn(page + bytes + 1, "/?#");
    }
    return bytes;
}

int wl_locate_no_source(const struct wl_spec *spec, struct wload_error *err)
{
    bool is_web = strcmp(spec->scheme, "https") == 0 || strcmp(spec->scheme, "http") == 0;

    for (size_t i = 0; i < WL_COUNT_OF(hub_pages) && is_web; i++) {
        size_t bytes = strlen(hub_pages[i]);

        if (wl_str_starts(spec->path, hub_pages[i]) && spec->path[bytes] != '\0') {
            const char *page = spec->path + bytes;

            return wl_err_set(err, WLOAD_ERR_SPEC,
                              "'%s://%.200s' is a page of the hub: its spec is hf://%.*s",
                              spec->scheme, spec->path, (int)repo_bytes(page), page);
        }
    }
    return wl_err_set(err, WLOAD_ERR_SPEC, "no source serves '%s://' in this build%s", spec->scheme,
                      is_web ? "; a model on the hub is " NAME_FORM : "");
}
