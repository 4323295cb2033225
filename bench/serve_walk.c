/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "bench/serve.h"

struct walk {
    const char *root;
    const char *top;
    serve_visit visit;
    void *user;
    char **folders; /* still to be entered */
    size_t folder_count;
    size_t folder_max;
};

static int no_memory(const struct walk *walk, struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for what is in '%s'", walk->top);
}

bool serve_is_below(int fd, const char *root)
{
    size_t root_size = strcmp(root, "/") == 0 ? 0 : strlen(root);
    char place[WL_PATH_BYTES_MAX + 1];
    char link[32];
    ssize_t size;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    size = readlink(link, place, sizeof(place) - 1);
    if (size < (ssize_t)root_size || size == (ssize_t)sizeof(place) - 1) {
        return false;
    }
    place[size] = '\0';
    return strncmp(place, root, root_size) == 0 &&
           (place[root_size] == '/' || place[root_size] == '\0');
}

/* Takes the path over. */
static int push(struct walk *walk, char *path, struct wload_error *err)
{
    if (walk->folder_count == walk->folder_max) {
        size_t max = wl_max(16, walk->folder_max * 2);
        char **folders = reallocarray(walk->folders, max, sizeof(*folders));

        if (!folders) {
            free(path);
            return no_memory(walk, err);
        }
        walk->folders = folders;
        walk->folder_max = max;
    }
    walk->folders[walk->folder_count++] = path;
    return WLOAD_OK;
}

static int visit_entry(struct walk *walk, DIR *dir, const char *folder, const char *name,
                       struct wload_error *err)
{
    struct stat status;
    char *path;
    int rc;

    if (asprintf(&path, "%s%s%s", folder, *folder ? "/" : "", name) < 0) {
        return no_memory(walk, err);
    }
    if (!wl_hub_is_path(path) || fstatat(dirfd(dir), name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
        free(path); /* "." and "..", too */
        return WLOAD_OK;
    }
    rc = walk->visit(walk->user, path, &status, err);
    if (rc == WLOAD_OK && S_ISDIR(status.st_mode)) {
        return push(walk, path, err);
    }
    free(path);
    return rc < 0 ? rc : WLOAD_OK;
}

/* The descriptor of a folder that lies below the root, or a failure. */
static int open_folder(const struct walk *walk, const char *path, struct wload_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) {
        return wl_err_sys(err, errno, "cannot open '%s'", path);
    }
    if (!serve_is_below(fd, walk->root)) {
        (void)close(fd);
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' leads out of '%s'", path, walk->root);
    }
    return fd;
}

static int read_folder(struct walk *walk, DIR *dir, const char *folder, struct wload_error *err)
{
    const struct dirent *entry;

    errno = 0;
    while ((entry = readdir(dir)) != NULL) {
        int rc = visit_entry(walk, dir, folder, entry->d_name, err);

        if (rc < 0) {
            return rc;
        }
        errno = 0;
    }
    return errno == 0 ? WLOAD_OK
                      : wl_err_sys(err, errno, "cannot read '%s' in '%s'", folder, walk->top);
}

static int walk_folder(struct walk *walk, const char *folder, struct wload_error *err)
{
    struct stat status;
    char *path = NULL;
    int rc = WLOAD_OK;
    DIR *dir;
    int fd;

    if (asprintf(&path, "%s%s%s", walk->top, *folder ? "/" : "", folder) < 0) {
        return no_memory(walk, err);
    }
    fd = open_folder(walk, path, err);
    free(path);
    if (fd < 0) {
        return fd;
    }
    dir = fdopendir(fd);
    if (!dir) {
        (void)close(fd);
        return no_memory(walk, err);
    }
    if (*folder == '\0' && fstat(fd, &status) == 0) {
        rc = walk->visit(walk->user, "", &status, err);
    }
    if (rc >= 0) {
        rc = read_folder(walk, dir, folder, err);
    }
    (void)closedir(dir);
    return rc;
}

int serve_walk(const char *root, const char *top, serve_visit visit, void *user,
               struct wload_error *err)
{
    struct walk walk = {.root = root, .top = top, .visit = visit, .user = user};
    int rc = walk_folder(&walk, "", err);

    while (rc >= 0 && walk.folder_count > 0) {
        char *folder = walk.folders[--walk.folder_count];

        rc = walk_folder(&walk, folder, err);
        if (rc == WLOAD_ERR_NOT_FOUND) {
            rc = WLOAD_OK; /* it has gone since it was listed */
        }
        free(folder);
    }
    while (walk.folder_count > 0) {
        free(walk.folders[--walk.folder_count]);
    }
    free(walk.folders);
    return rc;
}
