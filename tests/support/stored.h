/* SPDX-License-Identifier: Apache-2.0 */
/* Stores in sample_dir(), and what a fetch does to them. */
#ifndef STORED_H
#define STORED_H

#include <dirent.h>
#include <stdbool.h>

#include "base/digest.h"
#include "cache/store.h"
#include "tree.h"

#define STORED_COMMIT "0123456789abcdef0123456789abcdef01234567"
#define STORED_OTHER  "fedcba9876543210fedcba9876543210fedcba98"

/* A file of a listing, with the hash of its text: of a git blob, or as large files have it. */
static inline struct wl_listing_file stored_file(const char *name, const char *text, bool is_large)
{
    struct wl_listing_file file = {.name = (char *)(uintptr_t)name, .size_bytes = strlen(text)};
    const char *kind = is_large ? "0000000000000000000000000000000000000000000000000000000000000000"
                                : STORED_COMMIT;
    struct wl_digest *digest;
    struct wload_error err;

    CHECK_OK(wl_digest_of_file(kind, file.size_bytes, &digest, &err), &err);
    CHECK_OK(wl_digest_add(digest, text, file.size_bytes, &err), &err);
    CHECK_OK(wl_digest_finish(digest, file.hash, &err), &err);
    wl_digest_free(digest);
    (void)snprintf(file.blob_id, sizeof(file.blob_id), "%.40s",
                   is_large ? STORED_OTHER : file.hash);
    return file;
}

/* Download and publish as a fetch does, the lock being had. */
static inline int stored_bring(struct wl_store *store, const struct wl_listing_file *file,
                               const char *text, struct wload_error *err)
{
    struct wl_partial_place place;
    struct wl_partial partial;
    int rc = store->ops->place(store, file, &place, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_partial_open(&store->log, &place, false, &partial, err);
    wl_store_place_clear(&place);
    if (rc < 0) {
        return rc;
    }
    rc = wl_partial_write(&partial, 0, 0, text, strlen(text), err);
    rc = rc < 0 ? rc : store->ops->publish(store, file, &partial, err);
    wl_partial_close(&partial);
    return rc;
}

static const atomic_bool never_canceled;

/* 1: it was there.  0: it was downloaded. */
static inline int stored_fetch(struct wl_store *store, const struct wl_listing_file *file,
                               const char *text, struct wload_error *err)
{
    struct wl_lock lock;
    int rc = store->ops->lock(store, file, &lock, err);

    if (rc < 0) {
        return rc;
    }
    rc = store->ops->adopt(store, file, &never_canceled, err);
    rc = rc == 0 ? stored_bring(store, file, text, err) : rc;
    wl_lock_release(&lock);
    return rc;
}

/* Files and links below the folder whose names have `part` in them. */
static inline unsigned stored_count(const char *folder, const char *part)
{
    char path[TREE_PATH_BYTES];
    unsigned count = 0;
    const struct dirent *entry;
    DIR *dir = opendir(folder);

    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        struct stat status;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        CHECK(snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) < TREE_PATH_BYTES);
        CHECK_EQ(lstat(path, &status), 0);
        count += S_ISDIR(status.st_mode) ? stored_count(path, part)
                                         : strstr(entry->d_name, part) != NULL;
    }
    CHECK_EQ(closedir(dir), 0);
    return count;
}

static inline void stored_check_text(const char *path, const char *text)
{
    char read_back[4096] = "";
    int fd = open(path, O_RDONLY);

    if (fd < 0) {
        (void)fprintf(stderr, "no file '%s'\n", path);
        exit(1);
    }
    CHECK_EQ(read(fd, read_back, sizeof(read_back) - 1), (ssize_t)strlen(text));
    CHECK_EQ(close(fd), 0);
    CHECK_STR(read_back, text);
}

static inline void stored_check_link(const char *path, const char *target)
{
    char there[TREE_PATH_BYTES] = "";

    CHECK(readlink(path, there, sizeof(there) - 1) > 0);
    CHECK_STR(there, target);
}

static inline struct stat stored_status(const char *path)
{
    struct stat status;

    CHECK_EQ(lstat(path, &status), 0);
    return status;
}

#endif /* STORED_H */
