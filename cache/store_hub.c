/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of the cache that all tools of the field share. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/store_layout.h"

#define COPY_BYTES      (1u << 20)
#define LINK_IMPOSSIBLE 1

/* ---- Links ---------------------------------------------------------------------- */

/* "../" from the folder of snapshots/<commit>/<name> up to the repository's. */
static char *link_target(const char *name, const char *hash)
{
    size_t depth = 2;
    char *target;

    for (const char *at = name; *at; at++) {
        depth += *at == '/';
    }
    target = wl_str_new("%*sblobs/%s", (int)(3 * depth), "", hash);
    for (size_t i = 0; target && i < depth; i++) {
        memcpy(target + 3 * i, "../", 3);
    }
    return target;
}

/* Make the link elsewhere and move it there: nobody ever finds the name missing. */
static int replace_link(const struct wl_store *store, const char *target, const char *path,
                        struct wload_error *err)
{
    char unique[WL_FILE_UNIQUE_BYTES];
    int rc = wl_file_unique(unique);
    char *temp;

    if (rc < 0) {
        return wl_err_sys(err, -rc, "no name for a link in '%s'", store->repo_path);
    }
    temp = wl_str_new("%s/%s.link", store->repo_path, unique);
    if (!temp) {
        return wl_store_no_memory(store, err);
    }
    if (wl_sys->symlinkat(target, AT_FDCWD, temp) < 0) {
        rc = wl_err_sys(err, errno, "cannot make the link '%s'", temp);
    } else if (wl_sys->renameat(AT_FDCWD, temp, AT_FDCWD, path) < 0) {
        rc = wl_err_sys(err, errno, "cannot make the link '%s'", path);
        (void)wl_sys->unlinkat(AT_FDCWD, temp, 0);
    }
    wl_sys->free(temp);
    return rc;
}

static int make_link(const struct wl_store *store, const char *target, const char *path,
                     struct wload_error *err)
{
    char there[PATH_MAX];

    if (wl_sys->symlinkat(target, AT_FDCWD, path) == 0) {
        return WLOAD_OK;
    }
    switch (errno) {
    case EEXIST:
        return wl_store_read_link(path, there) == 0 && strcmp(there, target) == 0
                   ? WLOAD_OK
                   : replace_link(store, target, path, err);
    case EPERM:
    case EOPNOTSUPP:
    case ENOSYS:
        return LINK_IMPOSSIBLE;
    default:
        return wl_err_sys(err, errno, "cannot make the link '%s'", path);
    }
}

/* The folder of `path` is there.  LINK_IMPOSSIBLE: this file system has none, or none are wanted.
 */
static int link_blob(const struct wl_store *store, const struct wl_listing_file *file,
                     const char *path, struct wload_error *err)
{
    char *target;
    int rc;

    if (store->config->has_no_links) {
        return LINK_IMPOSSIBLE;
    }
    target = link_target(file->name, file->hash);
    rc = target ? make_link(store, target, path, err) : wl_store_no_memory(store, err);
    wl_sys->free(target);
    return rc;
}

/* ---- Is it there ---------------------------------------------------------------- */

static int hub_find(const struct wl_store *store, const struct wl_listing_file *file,
                    struct wload_error *err)
{
    char *path = wl_store_file_path(store, file->name);
    int rc =
        path ? wl_store_examine(path, file->size_bytes, NULL, err) : wl_store_no_memory(store, err);

    wl_sys->free(path);
    return rc;
}

static int copy_bytes(int fd, const char *path, struct wl_partial *partial, struct wload_error *err)
{
    void *buffer = wl_sys->alloc(COPY_BYTES);
    int rc = buffer ? WLOAD_OK : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to copy '%s'", path);

    for (uint64_t at = 0; at < partial->size_bytes && rc == WLOAD_OK; at += COPY_BYTES) {
        size_t size = (size_t)wl_min(partial->size_bytes - at, COPY_BYTES);
        int64_t got = wl_sys_read(fd, buffer, size, at);

        if (got == (int64_t)size) {
            rc = wl_partial_write(partial, 0, at, buffer, size, err);
        } else {
            rc = got < 0 ? wl_err_sys(err, (int)-got, "cannot read '%s'", path)
                         : wl_err_set(err, WLOAD_ERR_IO, "'%s' shrank while it was read", path);
        }
    }
    wl_sys->free(buffer);
    return rc;
}

static int copy_to_partial(const struct wl_store *store, const struct wl_listing_file *file,
                           const char *blob, struct wl_partial *out, struct wload_error *err)
{
    struct wl_file_identity identity;
    struct wl_partial_place place;
    int fd = wl_file_open(blob, 0, &identity, err);
    int rc;

    if (fd < 0) {
        return fd;
    }
    rc = wl_store_hub.place(store, file, &place, err);
    if (rc == WLOAD_OK) {
        rc = wl_partial_open(&store->log, &place, true, out, err);
        wl_store_place_clear(&place);
    }
    if (rc == WLOAD_OK) {
        rc = copy_bytes(fd, blob, out, err);
        if (rc < 0) {
            wl_partial_discard(out);
        }
    }
    (void)wl_sys->close(fd);
    return rc;
}

/* Without links each commit has its own copy of the content. */
static int copy_blob(const struct wl_store *store, const struct wl_listing_file *file,
                     const char *blob, const char *path, struct wload_error *err)
{
    struct wl_partial partial;
    int rc = copy_to_partial(store, file, blob, &partial, err);

    if (rc == WLOAD_OK) {
        rc = wl_partial_publish(&partial, path, wl_store_flushes(store), err);
        wl_partial_discard(&partial);
    }
    return rc;
}

/* 1: the blob was there, and the file is now.  0: it was not. */
static int adopt_blob(const struct wl_store *store, const struct wl_listing_file *file,
                      const char *blob, const char *path, struct wload_error *err)
{
    int rc = wl_store_examine(blob, file->size_bytes, NULL, err);

    if (rc <= 0) {
        return rc;
    }
    rc = wl_store_make_room(store, path, err);
    rc = rc < 0 ? rc : link_blob(store, file, path, err);
    rc = rc == LINK_IMPOSSIBLE ? copy_blob(store, file, blob, path, err) : rc;
    return rc < 0 ? rc : 1;
}

/* Names tell contents: nothing is hashed. */
static int hub_adopt(struct wl_store *store, const struct wl_listing_file *file,
                     const atomic_bool *is_canceled, struct wload_error *err)
{
    int rc = hub_find(store, file, err);

    (void)is_canceled;
    if (rc == 0 && file->hash[0] != '\0') {
        char *blob = wl_store_blob_path(store, file->hash);
        char *path = wl_store_file_path(store, file->name);

        rc = blob && path ? adopt_blob(store, file, blob, path, err)
                          : wl_store_no_memory(store, err);
        wl_sys->free(blob);
        wl_sys->free(path);
    }
    if (rc > 0) {
        wl_store_sweep(store, file);
    }
    return rc;
}

/* ---- Making it so --------------------------------------------------------------- */

static int make_folders(const struct wl_store *store, struct wload_error *err)
{
    char *blobs = wl_str_new("%s/blobs", store->repo_path);
    int rc = blobs ? wl_store_make_folders(store, blobs, err) : wl_store_no_memory(store, err);

    wl_sys->free(blobs);
    return rc < 0 ? rc : wl_store_make_folders(store, store->snapshot_path, err);
}

static int hub_begin(struct wl_store *store, const struct wl_listing *listing,
                     struct wload_error *err)
{
    int rc = make_folders(store, err);
    char *tag;

    rc = rc < 0 ? rc : wl_store_refuse_folds(store, listing, err);
    if (rc < 0) {
        return rc;
    }
    tag = wl_str_new("%s/CACHEDIR.TAG", store->root);
    if (!tag) {
        return wl_store_no_memory(store, err);
    }
    wl_store_note_absent(store, store->repo_path, tag, wl_store_tag);
    wl_sys->free(tag);
    wl_store_note_listing(store, store->repo_path, listing);
    return WLOAD_OK;
}

static int hub_lock(struct wl_store *store, const struct wl_listing_file *file,
                    struct wl_lock *lock, struct wload_error *err)
{
    char *path;
    int rc;

    if (!wl_hub_is_hash(file->hash)) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "no hash is known of '%s' of '%s'", file->name,
                          store->repo);
    }
    path =
        wl_str_new("%s/.locks%s/%s.lock", store->root, strrchr(store->repo_path, '/'), file->hash);
    rc = path ? wl_lock_try(&store->log, path, lock, err) : wl_store_no_memory(store, err);
    wl_sys->free(path);
    return rc;
}

static int hub_place(const struct wl_store *store, const struct wl_listing_file *file,
                     struct wl_partial_place *out, struct wload_error *err)
{
    struct wl_partial_place place = {
        .folder = wl_str_new("%s/blobs", store->repo_path),
        .stem = wl_str_new("%s", file->hash[0] != '\0' ? file->hash : "file"),
        .hash = wl_str_new("%s", file->hash),
        .size_bytes = file->size_bytes,
    };

    if (!place.folder || !place.stem || !place.hash) {
        wl_store_place_clear(&place);
        return wl_store_no_memory(store, err);
    }
    *out = place;
    return WLOAD_OK;
}

static int publish_blob(const struct wl_store *store, const struct wl_listing_file *file,
                        struct wl_partial *partial, const char *blob, const char *path,
                        struct wload_error *err)
{
    bool flushes = wl_store_flushes(store);
    int rc = wl_store_make_room(store, path, err);

    if (rc < 0) {
        return rc;
    }
    if (store->config->has_no_links) {
        return wl_partial_publish(partial, path, flushes, err);
    }
    rc = wl_partial_publish(partial, blob, flushes, err);
    rc = rc < 0 ? rc : link_blob(store, file, path, err);
    if (rc == LINK_IMPOSSIBLE) {
        rc = wl_sys->renameat(AT_FDCWD, blob, AT_FDCWD, path) < 0
                 ? wl_err_sys(err, errno, "cannot move '%s' to '%s'", blob, path)
                 : WLOAD_OK;
    }
    return rc;
}

static int hub_publish(struct wl_store *store, const struct wl_listing_file *file,
                       struct wl_partial *partial, struct wload_error *err)
{
    char *blob = wl_store_blob_path(store, file->hash);
    char *path = wl_store_file_path(store, file->name);
    int rc = blob && path ? publish_blob(store, file, partial, blob, path, err)
                          : wl_store_no_memory(store, err);

    wl_sys->free(blob);
    wl_sys->free(path);
    if (rc == WLOAD_OK) {
        wl_store_sweep(store, file);
    }
    return rc;
}

const struct wl_store_ops wl_store_hub = {
    .name = "hub",
    .begin = hub_begin,
    .find = hub_find,
    .adopt = hub_adopt,
    .lock = hub_lock,
    .place = hub_place,
    .publish = hub_publish,
    .finish = wl_store_hub_finish,
    .hash = wl_store_hub_hash,
    .quarantine = wl_store_hub_quarantine,
};
