/* SPDX-License-Identifier: Apache-2.0 */
/* A listing of what a directory has.  Links are followed: a snapshot in a cache is full of them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/listing.h"

#define COMPONENT  "cache"
#define DEPTH_MAX  64u    /* folders in one another */
#define LINKED_MAX 10000u /* folders behind links: they can make many of few */

static const char *const tool_folders[] = {".cache", ".git"}; /* of the top folder only */

/* A folder on the way to where the walk is. */
struct folder {
    const struct folder *parent; /* NULL: the top */
    const char *prefix;          /* of the names in it: "", "unet/" */
    uint64_t device;
    uint64_t inode;
    unsigned depth;
    bool is_linked; /* it, or one that it lies in, is behind a link */
    int fd;
};

/* What an entry of a folder is, links followed. */
struct entry {
    const char *name;      /* in the folder */
    const char *full_name; /* in the listing */
    struct statx status;
    bool is_link;
    char hash[WL_HUB_HASH_BYTES]; /* that the link's target is named by, or "" */
};

struct walk {
    const struct wl_log *log;
    const char *path;
    struct wl_listing *listing;
    uint32_t linked_count;
};

static int visit(struct walk *walk, struct folder *folder, struct wload_error *err);

static int open_quietly(int dir, const char *name)
{
    int fd;

    do {
        fd = wl_sys->openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* Whether a folder is one that it lies in, come back to by a link. */
static bool is_loop(const struct folder *folder)
{
    for (const struct folder *above = folder->parent; above; above = above->parent) {
        if (above->device == folder->device && above->inode == folder->inode) {
            return true;
        }
    }
    return false;
}

static void take_link_hash(const struct folder *folder, struct entry *entry)
{
    char target[PATH_MAX];
    ssize_t bytes = wl_sys->readlinkat(folder->fd, entry->name, target, sizeof(target) - 1);
    const char *last;

    if (bytes <= 0) {
        return;
    }
    target[bytes] = '\0';
    last = strrchr(target, '/');
    last = last ? last + 1 : target;
    if (wl_hub_is_hash(last)) {
        memcpy(entry->hash, last, strlen(last) + 1);
    }
}

static int enter(struct walk *walk, const struct folder *parent, const struct entry *entry,
                 struct wload_error *err)
{
    char *prefix = wl_str_new("%s/", entry->full_name);
    struct folder folder = {
        .parent = parent,
        .prefix = prefix,
        .device = (uint64_t)entry->status.stx_dev_major << 32 | entry->status.stx_dev_minor,
        .inode = entry->status.stx_ino,
        .depth = parent->depth + 1,
        .is_linked = parent->is_linked || entry->is_link,
    };
    int rc;

    if (!prefix) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'", walk->path);
    }
    if (is_loop(&folder)) {
        WL_LOG(walk->log, WLOAD_LOG_DEBUG, COMPONENT, "'%s/%s' leads back to itself: left out",
               walk->path, entry->full_name);
        rc = WLOAD_OK;
        goto out_free;
    }
    walk->linked_count += folder.is_linked;
    if (folder.depth > DEPTH_MAX || walk->linked_count > LINKED_MAX) {
        rc = wl_err_set(err, WLOAD_ERR_FORMAT,
                        "'%s' has more than %u folders in one another, or %u behind links",
                        walk->path, DEPTH_MAX, LINKED_MAX);
        goto out_free;
    }
    folder.fd = open_quietly(parent->fd, entry->name);
    rc = folder.fd < 0 ? wl_err_sys(err, errno, "cannot list '%s/%s'", walk->path, entry->full_name)
                       : visit(walk, &folder, err);

out_free:
    wl_sys->free(prefix);
    return rc;
}

/* Returns 0 if the entry is nothing: gone, or a link that leads nowhere and names no content. */
static int examine(const struct walk *walk, const struct folder *folder, struct entry *entry,
                   struct wload_error *err)
{
    const unsigned mask = STATX_TYPE | STATX_SIZE | STATX_INO;
    int rc = wl_sys->statx(folder->fd, entry->name, AT_SYMLINK_NOFOLLOW, mask, &entry->status);

    if (rc == 0 && S_ISLNK(entry->status.stx_mode)) {
        entry->is_link = true;
        take_link_hash(folder, entry);
        rc = wl_sys->statx(folder->fd, entry->name, 0, mask, &entry->status);
    }
    if (rc == 0) {
        return 1;
    }
    if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
        return wl_err_sys(err, errno, "cannot examine '%s/%s'", walk->path, entry->full_name);
    }
    entry->status = (struct statx){.stx_mode = S_IFREG};
    return entry->hash[0] != '\0';
}

static int add_examined(struct walk *walk, const struct folder *folder, const struct entry *entry,
                        struct wload_error *err)
{
    struct wl_listing_file file = {.name = (char *)(uintptr_t)entry->full_name};

    if (!wl_hub_is_path(entry->full_name)) {
        WL_LOG(walk->log, WLOAD_LOG_WARN, COMPONENT,
               "'%s' has a file of a name that no repository has: left out", walk->path);
        return WLOAD_OK;
    }
    if (S_ISDIR(entry->status.stx_mode)) {
        return enter(walk, folder, entry, err);
    }
    if (!S_ISREG(entry->status.stx_mode)) {
        return WLOAD_OK;
    }
    file.size_bytes = entry->status.stx_size;
    memcpy(file.hash, entry->hash, sizeof(file.hash));
    return wl_listing_add(walk->listing, &file, walk->path, err);
}

static bool is_passed_over(const struct folder *folder, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return true;
    }
    for (size_t i = 0; i < WL_COUNT_OF(tool_folders) && !folder->parent; i++) {
        if (strcmp(name, tool_folders[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int add_entry(struct walk *walk, const struct folder *folder, const char *name,
                     struct wload_error *err)
{
    struct entry entry;
    char *full_name;
    int rc;

    if (is_passed_over(folder, name)) {
        return WLOAD_OK;
    }
    full_name = wl_str_new("%s%s", folder->prefix, name);
    if (!full_name) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'", walk->path);
    }
    entry = (struct entry){.name = name, .full_name = full_name};
    rc = examine(walk, folder, &entry, err);
    if (rc > 0) {
        rc = add_examined(walk, folder, &entry, err);
    }
    wl_sys->free(full_name);
    return rc;
}

/* Takes the folder's descriptor. */
static int visit(struct walk *walk, struct folder *folder, struct wload_error *err)
{
    DIR *dir = wl_sys->fdopendir(folder->fd);
    int rc = WLOAD_OK;

    if (!dir) {
        rc = wl_err_sys(err, errno, "cannot list '%s/%s'", walk->path, folder->prefix);
        (void)wl_sys->close(folder->fd);
        return rc;
    }
    while (rc == WLOAD_OK) {
        const struct dirent *entry;

        errno = 0;
        entry = wl_sys->readdir(dir);
        if (!entry) {
            rc = errno ? wl_err_sys(err, errno, "cannot list '%s/%s'", walk->path, folder->prefix)
                       : WLOAD_OK;
            break;
        }
        rc = add_entry(walk, folder, entry->d_name, err);
    }
    (void)wl_sys->closedir(dir);
    return rc;
}

int wl_listing_walk(const struct wl_log *log, const char *path, struct wl_listing *out,
                    struct wload_error *err)
{
    struct wl_listing listing = {0};
    struct walk walk = {.log = log, .path = path, .listing = &listing};
    struct folder top = {.prefix = "", .fd = open_quietly(AT_FDCWD, path)};
    struct stat status;
    int rc;

    if (top.fd < 0) {
        return wl_err_sys(err, errno, "cannot list '%s'", path);
    }
    if (wl_sys->fstat(top.fd, &status) < 0) {
        rc = wl_err_sys(err, errno, "cannot examine '%s'", path);
        (void)wl_sys->close(top.fd);
        return rc;
    }
    top.device = (uint64_t)major(status.st_dev) << 32 | minor(status.st_dev);
    top.inode = status.st_ino;
    rc = visit(&walk, &top, err);
    if (rc == WLOAD_OK) {
        rc = wl_listing_finish(&listing, path, err);
    }
    if (rc < 0) {
        wl_listing_clear(&listing);
        return rc;
    }
    *out = listing;
    return WLOAD_OK;
}
