/* SPDX-License-Identifier: Apache-2.0 */
/* The hub layout: what names mean a commit, and what a commit is known not to have. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/store_layout.h"

#define REF_BYTES_MAX 4096u
#define REF_READS_MAX 6u
#define REF_PAUSE_NS  20000000

/* 1: the file is a ref.  0: it has anything else in it, as when its writer is just at it. */
static int read_ref_once(const char *path, char commit[WL_HUB_COMMIT_BYTES],
                         struct wload_error *err)
{
    char *text;
    size_t size;
    int rc = wl_store_read(path, REF_BYTES_MAX, &text, &size, err);

    if (rc < 0) {
        return rc;
    }
    while (size > 0 && strchr("\r\n\t ", text[size - 1])) {
        text[--size] = '\0';
    }
    rc = strlen(text) == size && wl_hub_is_commit(text);
    if (rc > 0) {
        memcpy(commit, text, WL_HUB_COMMIT_BYTES);
    }
    wl_sys->free(text);
    return rc;
}

static int read_ref(const char *path, char commit[WL_HUB_COMMIT_BYTES], struct wload_error *err)
{
    const struct timespec pause = {.tv_nsec = REF_PAUSE_NS};
    int rc = read_ref_once(path, commit, err);

    for (unsigned reads = 1; rc == 0 && reads < REF_READS_MAX; reads++) {
        (void)nanosleep(&pause, NULL);
        rc = read_ref_once(path, commit, err);
    }
    if (rc == 0) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' names no commit", path);
    }
    return rc < 0 ? rc : WLOAD_OK;
}

int wl_store_hub_ref(const char *cache, enum wl_hub_kind kind, const char *repo,
                     const char *revision, char commit[WL_HUB_COMMIT_BYTES],
                     struct wload_error *err)
{
    char *folder;
    char *path;
    int rc;

    if (!wl_hub_is_repo(repo) || !wl_hub_is_revision(revision)) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "no cache has revision '%.200s' of '%.200s'",
                          revision, repo);
    }
    if (wl_hub_is_commit(revision)) {
        memcpy(commit, revision, WL_HUB_COMMIT_BYTES);
        return WLOAD_OK;
    }
    folder = wl_hub_folder(kind, repo);
    path = folder ? wl_str_new("%s/%s/refs/%s", cache, folder, revision) : NULL;
    rc = path ? read_ref(path, commit, err)
              : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a path in '%s'", cache);
    wl_sys->free(path);
    wl_sys->free(folder);
    return rc;
}

static int write_ref(const struct wl_store *store, const char *path, struct wload_error *err)
{
    char *text;
    size_t size_bytes;
    bool is_same;
    int rc;

    if (wl_store_read(path, REF_BYTES_MAX, &text, &size_bytes, NULL) == WLOAD_OK) {
        is_same = strcmp(text, store->commit) == 0; /* with a newline it would not be */
        wl_sys->free(text);
        if (is_same) {
            return WLOAD_OK;
        }
    }
    rc = wl_store_make_folders(store, store->snapshot_path, err);
    return rc < 0 ? rc : wl_store_write(store, store->repo_path, "ref", path, store->commit, err);
}

/* All that was wanted is there, whether the ref can be written or not: in a cache that is only
 * read, or where another ref's name, as 'a' for 'a/b', is in the way. */
static bool is_no_loss(const struct wload_error *why)
{
    switch (why->sys_errno) {
    case EROFS:
    case EACCES:
    case EPERM:
    case ENOTDIR:
    case EISDIR:
    case EEXIST:
        return true;
    default:
        return false;
    }
}

int wl_store_hub_finish(struct wl_store *store, const char *revision, struct wload_error *err)
{
    struct wload_error why = {0};
    char *path;
    int rc;

    if (strcmp(revision, store->commit) == 0) {
        return WLOAD_OK;
    }
    if (!wl_hub_is_revision(revision)) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "'%.200s' cannot be a revision", revision);
    }
    path = wl_str_new("%s/refs/%s", store->repo_path, revision);
    rc = path ? write_ref(store, path, &why) : wl_store_no_memory(store, &why);
    wl_sys->free(path);
    if (rc < 0 && is_no_loss(&why)) {
        WL_LOG(&store->log, WLOAD_LOG_WARN, "cache", "going on without the ref: %s", why.message);
        return WLOAD_OK;
    }
    if (rc < 0 && err) {
        *err = why;
    }
    return rc;
}

static int make_empty(const struct wl_store *store, const char *path, struct wload_error *err)
{
    int rc = wl_store_make_room(store, path, err);
    int fd;

    if (rc < 0) {
        return rc;
    }
    fd = wl_sys->openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                        0666);
    if (fd < 0) {
        return wl_err_sys(err, errno, "cannot make '%s'", path);
    }
    (void)wl_sys->close(fd);
    return WLOAD_OK;
}

void wl_store_hub_note_absent(const struct wl_store *store, const char *name)
{
    struct wload_error why = {0};
    char *path;

    WL_ASSERT(wl_hub_is_path(name));
    path = wl_str_new("%s/.no_exist/%s/%s", store->repo_path, store->commit, name);
    if ((path ? make_empty(store, path, &why) : wl_store_no_memory(store, &why)) < 0) {
        WL_LOG(&store->log, WLOAD_LOG_WARN, "cache", "going on without a file: %s", why.message);
    }
    wl_sys->free(path);
}
