/* SPDX-License-Identifier: Apache-2.0 */
/* Specs that are no names: paths, and what may be asked for beside one. */
#include <fcntl.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/locate.h"

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
