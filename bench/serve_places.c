/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/sys.h"
#include "bench/serve.h"

#define REF_BYTES_MAX 255u
#define REF_TRIES     5
#define REF_PAUSE_NS  20000000

static int no_memory(struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for where repositories lie");
}

static bool is_folder(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

void serve_spot_clear(struct serve_spot *spot)
{
    free(spot->directory);
    free(spot->tree_path);
}

/* ---- The layout of the hub ------------------------------------------------------- */

/* The commit that a ref names.  Some clients write it in place: for a moment it is empty. */
static bool read_ref(const char *path, char commit[WL_HUB_COMMIT_BYTES])
{
    for (int i = 0; i < REF_TRIES; i++) {
        char line[REF_BYTES_MAX + 1] = "";
        char *text;
        size_t size;

        if (wl_file_read(path, REF_BYTES_MAX, &text, &size, NULL) < 0) {
            return false;
        }
        memcpy(line, text, size);
        wl_sys->free(text);
        line[strcspn(line, " \t\r\n")] = '\0';
        if (wl_hub_is_commit(line)) {
            memcpy(commit, line, WL_HUB_COMMIT_BYTES);
            return true;
        }
        serve_sleep_until(wl_clock_ns() + REF_PAUSE_NS);
    }
    return false;
}

char *serve_place_folder(const struct serve_place *place, enum wl_hub_kind kind, const char *repo)
{
    char *folder = wl_hub_folder(kind, repo);
    char *path = NULL;

    if (!folder || asprintf(&path, "%s/%s", place->root, folder) < 0) {
        path = NULL;
    }
    wl_sys->free(folder);
    return path;
}

int serve_place_commit(const char *folder, const char *revision, struct serve_spot *spot,
                       struct wload_error *err)
{
    char *path;
    bool is_known = wl_hub_is_commit(revision);

    if (is_known) {
        memcpy(spot->commit, revision, WL_HUB_COMMIT_BYTES);
    } else {
        if (asprintf(&path, "%s/refs/%s", folder, revision) < 0) {
            return no_memory(err);
        }
        is_known = read_ref(path, spot->commit);
        free(path);
    }
    if (!is_known) {
        return SERVE_NO_REVISION;
    }
    if (asprintf(&spot->directory, "%s/snapshots/%s", folder, spot->commit) < 0) {
        spot->directory = NULL;
        return no_memory(err);
    }
    if (asprintf(&spot->tree_path, "%s/trees/%s.json", folder, spot->commit) < 0) {
        spot->tree_path = NULL;
        return no_memory(err);
    }
    return is_folder(spot->directory) ? SERVE_FOUND : SERVE_NO_REVISION;
}

static int find_in_cache(const struct serve_place *place, const struct serve_query *query,
                         struct serve_spot *spot, struct wload_error *err)
{
    char *folder = serve_place_folder(place, query->kind, query->repo);
    char *snapshots = NULL;
    int rc;

    if (!folder || asprintf(&snapshots, "%s/snapshots", folder) < 0) {
        free(folder);
        return no_memory(err);
    }
    if (!is_folder(folder) || !is_folder(snapshots)) {
        rc = SERVE_NO_REPO;
    } else if (!wl_hub_is_revision(query->revision)) {
        rc = SERVE_NO_REVISION;
    } else {
        rc = serve_place_commit(folder, query->revision, spot, err);
    }
    free(snapshots);
    free(folder);
    return rc;
}

/* ---- Places ---------------------------------------------------------------------- */

/* Whether what a directory lies in may hold models: it is in the place, and none itself. */
static bool is_in_org(const struct serve_place *place, char *directory)
{
    char *slash = strrchr(directory, '/');
    bool is;
    int fd;

    *slash = '\0';
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    is = fd >= 0 && serve_is_below(fd, place->root) && !serve_is_model(directory);
    *slash = '/';
    if (fd >= 0) {
        (void)close(fd);
    }
    return is;
}

static int find_plain(const struct serve_place *place, const struct serve_query *query,
                      struct serve_spot *spot, struct wload_error *err)
{
    if (query->kind != WL_HUB_MODEL) {
        return SERVE_NO_REPO;
    }
    if (place->layout == SERVE_MODEL) {
        if (strcmp(place->repo, query->repo) != 0) {
            return SERVE_NO_REPO;
        }
        spot->directory = strdup(place->root);
    } else if (!strchr(query->repo, '/')) {
        return SERVE_NO_REPO;
    } else if (asprintf(&spot->directory, "%s/%s", place->root, query->repo) < 0) {
        spot->directory = NULL;
    }
    if (!spot->directory) {
        return no_memory(err);
    }
    if (!is_folder(spot->directory) ||
        (place->layout == SERVE_MODELS && !is_in_org(place, spot->directory))) {
        return SERVE_NO_REPO;
    }
    return SERVE_FOUND;
}

int serve_place_find(const struct serve_place *place, const struct serve_query *query,
                     struct serve_spot *spot, struct wload_error *err)
{
    return place->layout == SERVE_CACHE ? find_in_cache(place, query, spot, err)
                                        : find_plain(place, query, spot, err);
}

/* ---- All of a place -------------------------------------------------------------- */

static bool leads_to_folder(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static int visit_cached(const struct serve_place *place, const char *name, serve_repo_visit visit,
                        serve_left_out left_out, void *user, struct wload_error *err)
{
    enum wl_hub_kind kind;
    char *snapshots = NULL;
    char *folder = NULL;
    char *repo;
    int rc = wl_hub_folder_repo(name, &kind, &repo);

    if (rc < 0) {
        return rc == WLOAD_ERR_NOT_FOUND ? WLOAD_OK : no_memory(err);
    }
    folder = serve_place_folder(place, kind, repo);
    if (!folder || asprintf(&snapshots, "%s/snapshots", folder) < 0) {
        snapshots = NULL;
        rc = no_memory(err);
    } else if (is_folder(folder) && is_folder(snapshots)) {
        rc = visit(user, kind, repo, err);
    } else if (left_out && leads_to_folder(snapshots)) {
        left_out(user, kind, repo, folder);
    }
    free(snapshots);
    free(folder);
    wl_sys->free(repo);
    return rc;
}

/* Each model in the directory ROOT/ORG; that it is no directory does not matter. */
static int visit_models_of(const struct serve_place *place, const char *org, serve_repo_visit visit,
                           serve_left_out left_out, void *user, struct wload_error *err)
{
    const char *name = org + strlen(place->root) + 1;
    const struct dirent *entry;
    int rc = WLOAD_OK;
    bool is_below;
    DIR *dir;

    if (serve_is_model(org)) {
        if (left_out) {
            left_out(user, WL_HUB_MODEL, name, org);
        }
        return WLOAD_OK;
    }
    dir = opendir(org);
    is_below = dir && serve_is_below(dirfd(dir), place->root);
    while (dir && rc >= 0 && (entry = readdir(dir)) != NULL) {
        char *path;

        if (entry->d_name[0] == '.') {
            continue; /* hidden, and meant to be */
        }
        if (asprintf(&path, "%s/%s", org, entry->d_name) < 0) {
            rc = no_memory(err);
            break;
        }
        name = path + strlen(place->root) + 1;
        if (is_below && wl_hub_is_repo(name) && is_folder(path)) {
            rc = visit(user, WL_HUB_MODEL, name, err);
        } else if (left_out && serve_is_model(path)) {
            left_out(user, WL_HUB_MODEL, name, path);
        }
        free(path);
    }
    if (dir) {
        (void)closedir(dir);
    }
    return rc;
}

static int visit_entry(const struct serve_place *place, const char *name, serve_repo_visit visit,
                       serve_left_out left_out, void *user, struct wload_error *err)
{
    char *org;
    int rc;

    if (place->layout == SERVE_CACHE) {
        return visit_cached(place, name, visit, left_out, user, err);
    }
    if (name[0] == '.') {
        return WLOAD_OK;
    }
    if (asprintf(&org, "%s/%s", place->root, name) < 0) {
        return no_memory(err);
    }
    rc = visit_models_of(place, org, visit, left_out, user, err);
    free(org);
    return rc;
}

int serve_place_each(const struct serve_place *place, serve_repo_visit visit,
                     serve_left_out left_out, void *user, struct wload_error *err)
{
    const struct dirent *entry;
    int rc = WLOAD_OK;
    DIR *dir;

    if (place->layout == SERVE_MODEL) {
        return visit(user, WL_HUB_MODEL, place->repo, err);
    }
    dir = opendir(place->root);
    if (!dir) {
        return wl_err_sys(err, errno, "cannot read '%s'", place->root);
    }
    while (rc >= 0 && (entry = readdir(dir)) != NULL) {
        rc = visit_entry(place, entry->d_name, visit, left_out, user, err);
    }
    (void)closedir(dir);
    return rc;
}
