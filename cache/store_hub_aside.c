/* SPDX-License-Identifier: Apache-2.0 */
/* The hub layout: what a file must hold, and where it goes if it does not. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/store_layout.h"

char *wl_store_blob_path(const struct wl_store *store, const char *hash)
{
    WL_ASSERT(wl_hub_is_hash(hash));
    return wl_str_new("%s/blobs/%s", store->repo_path, hash);
}

int wl_store_read_link(const char *path, char target[PATH_MAX])
{
    ssize_t size = wl_sys->readlinkat(AT_FDCWD, path, target, PATH_MAX);

    if (size < 0) {
        return -errno;
    }
    if (size == PATH_MAX) {
        return -ENAMETOOLONG;
    }
    target[size] = '\0';
    return 0;
}

bool wl_store_link_hash(const char *path, char hash[WL_HUB_HASH_BYTES])
{
    char target[PATH_MAX];
    const char *last;

    if (wl_store_read_link(path, target) < 0) {
        return false;
    }
    last = strrchr(target, '/');
    last = last ? last + 1 : target;
    if (!wl_hub_is_hash(last)) {
        return false;
    }
    memcpy(hash, last, strlen(last) + 1);
    return true;
}

bool wl_store_hub_hash(const struct wl_store *store, const char *name, char hash[WL_HUB_HASH_BYTES])
{
    char *path = wl_store_file_path(store, name);
    bool is_known = path && wl_store_link_hash(path, hash);

    wl_sys->free(path);
    return is_known;
}

/* Folders still to be walked through, the next one first. */
struct folder {
    struct folder *next;
    char *path;
};

static int push_folder(struct folder **folders, const char *path)
{
    struct folder *folder = wl_sys->alloc(sizeof(*folder));

    if (!folder) {
        return -ENOMEM;
    }
    folder->path = wl_str_new("%s", path);
    if (!folder->path) {
        wl_sys->free(folder);
        return -ENOMEM;
    }
    folder->next = *folders;
    *folders = folder;
    return 0;
}

/* The first folder's path, which the caller frees. */
static char *pop_folder(struct folder **folders)
{
    struct folder *folder = *folders;
    char *path = folder->path;

    *folders = folder->next;
    wl_sys->free(folder);
    return path;
}

/* One entry of a folder: a link to the blob goes, a folder is noted. */
static int unlink_entry(struct folder **folders, const char *path, const char *name,
                        unsigned char type, const char *hash)
{
    char *entry = wl_str_new("%s/%s", path, name);
    char linked[WL_HUB_HASH_BYTES];
    int rc = 0;

    if (!entry) {
        return -ENOMEM;
    }
    if (wl_store_link_hash(entry, linked)) {
        if (strcmp(linked, hash) == 0 && wl_sys->unlinkat(AT_FDCWD, entry, 0) < 0 &&
            errno != ENOENT) {
            rc = -errno;
        }
    } else if (type == DT_DIR || type == DT_UNKNOWN) {
        rc = push_folder(folders, entry);
    }
    wl_sys->free(entry);
    return rc;
}

/* Takes the first folder off the list and puts those in it on. */
static int unlink_in_folder(struct folder **folders, const char *hash)
{
    char *path = pop_folder(folders);
    int fd = wl_sys->openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    DIR *dir = NULL;
    int rc = 0;

    if (fd < 0) { /* it was no folder, or is gone */
        rc = errno == ENOTDIR || errno == ELOOP || errno == ENOENT ? 0 : -errno;
        goto out_free;
    }
    dir = wl_sys->fdopendir(fd);
    if (!dir) {
        rc = -errno;
        (void)wl_sys->close(fd);
        goto out_free;
    }
    while (rc == 0) {
        const struct dirent *entry;

        errno = 0;
        entry = wl_sys->readdir(dir);
        if (!entry) {
            rc = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            rc = unlink_entry(folders, path, entry->d_name, entry->d_type, hash);
        }
    }
    (void)wl_sys->closedir(dir);

out_free:
    wl_sys->free(path);
    return rc;
}

/* Remove every link to the blob, of any commit. */
static int unlink_all(const struct wl_store *store, const char *hash, struct wload_error *err)
{
    struct folder *folders = NULL;
    char *snapshots = wl_str_new("%s/snapshots", store->repo_path);
    int rc = snapshots ? push_folder(&folders, snapshots) : -ENOMEM;

    wl_sys->free(snapshots);
    while (folders && rc == 0) {
        rc = unlink_in_folder(&folders, hash);
    }
    while (folders) {
        wl_sys->free(pop_folder(&folders));
    }
    return rc < 0
               ? wl_err_sys(err, -rc, "cannot remove the links to '%s' of '%s'", hash, store->repo)
               : WLOAD_OK;
}

/* With the lock, if there is one to have. */
static int set_aside(const struct wl_store *store, const char *path, const char *hash,
                     char **moved_to, struct wload_error *err)
{
    char linked[WL_HUB_HASH_BYTES];
    bool is_link = wl_store_link_hash(path, linked);
    char *blobs = wl_str_new("%s/blobs", store->repo_path);
    char *blob = is_link ? wl_store_blob_path(store, linked) : NULL;
    char *moved = NULL;
    int rc = WLOAD_OK;

    if (!blobs || (is_link && !blob)) {
        rc = wl_store_no_memory(store, err);
        goto out_free;
    }
    /* The blob first: links that dangle are missing files, a blob without links would be used. */
    rc = wl_store_move_aside(store, is_link ? blob : path, blobs, hash, &moved, err);
    if (rc == WLOAD_OK && is_link) {
        rc = unlink_all(store, linked, err);
    }
    if (rc < 0) {
        wl_sys->free(moved);
    } else {
        *moved_to = moved;
    }

out_free:
    wl_sys->free(blob);
    wl_sys->free(blobs);
    return rc;
}

int wl_store_hub_quarantine(struct wl_store *store, const struct wl_listing_file *file,
                            char **moved_to, struct wload_error *err)
{
    struct wl_listing_file known = *file;
    struct wl_lock lock = {.fd = -1};
    char *path = wl_store_file_path(store, file->name);
    int rc = WLOAD_OK;

    if (!path) {
        return wl_store_no_memory(store, err);
    }
    (void)wl_store_link_hash(path, known.hash);
    if (known.hash[0] != '\0') {
        rc = wl_store_hub.lock(store, &known, &lock, err);
    }
    if (rc == WLOAD_OK) {
        rc = set_aside(store, path, known.hash, moved_to, err);
        wl_lock_release(&lock);
    }
    wl_sys->free(path);
    return rc;
}
