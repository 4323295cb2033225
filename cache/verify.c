/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashing what is there: whole files side by side, the largest first so that no
 * thread is left alone with one at the end.
 *
 *   threads: take --> hash --+--> done: list of numbers, under the mutex
 *   caller:                  +--- takes them from there, tells on_file()
 *
 * Only the caller's thread tells and moves files aside.  Where files are moved
 * aside, it does so when all are hashed: two names may have one content.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/snapshot.h"

#define THREADS_MAX 16u
#define READ_BYTES  (1u << 20)

/* One file, by its number in the snapshot. */
struct check {
    char *detail; /* NULL: "", or there was no memory for it */
    int status;
};

struct verify {
    struct wl_snapshot *snapshot;
    const struct wload_verify_options *options;
    struct check *checks; /* by file */
    uint32_t *order;      /* files by size */
    uint32_t *done;       /* files by the time of their end */
    uint32_t count;
    uint32_t moved_count;
    atomic_uint next; /* in order */
    atomic_bool is_stopping;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t ended;
    uint32_t done_count;
};

struct worker {
    struct verify *verify;
    pthread_t thread;
    void *buffer;
};

/* ---- One file, on any thread ------------------------------------------------------------ */

/* WLOAD_OK, or WLOAD_ERR_CANCELED when the others are told to stop, or an error. */
static int hash_file(struct worker *worker, int fd, const char *path, struct wl_digest *digest,
                     struct wload_error *err)
{
    uint64_t offset = 0;
    int64_t got;
    int rc;

    (void)wl_sys->fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    do {
        if (atomic_load(&worker->verify->is_stopping)) {
            return wl_err_set(err, WLOAD_ERR_CANCELED, "'%s': stopped", path);
        }
        got = wl_sys_read(fd, worker->buffer, READ_BYTES, offset);
        if (got < 0) {
            return wl_err_sys(err, (int)-got, "cannot read '%s' at %" PRIu64, path, offset);
        }
        rc = wl_digest_add(digest, worker->buffer, (size_t)got, err);
        if (rc < 0) {
            return rc;
        }
        offset += (uint64_t)got;
    } while (got == READ_BYTES);
    return WLOAD_OK;
}

static int open_and_hash(struct worker *worker, const char *path, const char *expected,
                         char hex[WL_DIGEST_HEX_BYTES], struct wload_error *err)
{
    struct wl_file_identity identity;
    struct wl_digest *digest;
    int fd = wl_file_open(path, 0, &identity, err);
    int rc;

    if (fd < 0) {
        return fd;
    }
    rc = wl_digest_of_file(expected, identity.size_bytes, &digest, err);
    if (rc == WLOAD_OK) {
        rc = hash_file(worker, fd, path, digest, err);
        rc = rc < 0 ? rc : wl_digest_finish(digest, hex, err);
        wl_digest_free(digest);
    }
    (void)wl_sys->close(fd);
    return rc;
}

/* The hash that the file must have; false: nothing says. */
static bool find_hash(const struct wl_snapshot *snapshot, const struct wload_snapshot_file *file,
                      char hash[WL_HUB_HASH_BYTES])
{
    if (snapshot->store.ops && wl_store_hash(&snapshot->store, file->name, hash)) {
        return true;
    }
    if (!wl_hub_is_hash(file->digest)) {
        return false;
    }
    memcpy(hash, file->digest, strlen(file->digest) + 1);
    return true;
}

static void check_file(struct worker *worker, uint32_t number)
{
    const struct wl_snapshot *snapshot = worker->verify->snapshot;
    const struct wload_snapshot_file *file = &snapshot->files[number];
    struct check *check = &worker->verify->checks[number];
    char expected[WL_HUB_HASH_BYTES];
    char hex[WL_DIGEST_HEX_BYTES];
    struct wload_error err;

    if (!find_hash(snapshot, file, expected)) {
        check->status = file->is_present ? WLOAD_ERR_UNSUPPORTED : WLOAD_ERR_NOT_FOUND;
        return;
    }
    check->status = open_and_hash(worker, file->path, expected, hex, &err);
    if (check->status < 0) {
        check->detail = wl_str_new("%s", err.message);
    } else if (strcmp(hex, expected) != 0) {
        check->status = WLOAD_ERR_CHECKSUM;
        check->detail = wl_str_new("expected %s (%s), got %s", expected,
                                   wl_hub_is_sha256(expected) ? "sha256" : "git-sha1", hex);
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct verify *verify = worker->verify;

    while (!atomic_load(&verify->is_stopping)) {
        uint32_t at = atomic_fetch_add(&verify->next, 1);

        if (at >= verify->count) {
            break;
        }
        check_file(worker, verify->order[at]);
        (void)pthread_mutex_lock(&verify->mutex);
        verify->done[verify->done_count++] = verify->order[at];
        (void)pthread_cond_signal(&verify->ended);
        (void)pthread_mutex_unlock(&verify->mutex);
    }
    return NULL;
}

/* ---- All files, on the caller's thread ---------------------------------------------------- */

static const char *detail_of(const struct check *check)
{
    if (check->detail) {
        return check->detail;
    }
    return check->status == WLOAD_OK ? "" : wload_strerror(check->status);
}

static int tell(struct verify *verify, uint32_t number, struct wload_error *err)
{
    const struct wload_verify_options *options = verify->options;
    const struct check *check = &verify->checks[number];
    const struct wload_snapshot_file *file = &verify->snapshot->files[number];

    WL_LOG(&verify->snapshot->log, WLOAD_LOG_DEBUG, "cache", "'%s': %s", file->name,
           check->status == WLOAD_OK ? "has its hash" : detail_of(check));
    if (options->on_file &&
        options->on_file(options->user, file, check->status, detail_of(check)) != 0) {
        return wl_err_set(err, WLOAD_ERR_CALLBACK, "a callback stopped the check at '%s'",
                          file->name);
    }
    return WLOAD_OK;
}

/* Tell of each file as it ends; bad ones that shall be moved aside are told of later. */
static int collect(struct verify *verify, struct wload_error *err)
{
    int rc = WLOAD_OK;

    for (uint32_t i = 0; i < verify->count && rc == WLOAD_OK; i++) {
        uint32_t number;

        (void)pthread_mutex_lock(&verify->mutex);
        while (verify->done_count <= i) {
            (void)pthread_cond_wait(&verify->ended, &verify->mutex);
        }
        number = verify->done[i];
        (void)pthread_mutex_unlock(&verify->mutex);
        if (!verify->options->quarantines || verify->checks[number].status != WLOAD_ERR_CHECKSUM) {
            rc = tell(verify, number, err);
        }
    }
    return rc;
}

/* The other name of a content that is moved aside already is no failure. */
static void move_aside(struct verify *verify, uint32_t number)
{
    struct wl_snapshot *snapshot = verify->snapshot;
    struct check *check = &verify->checks[number];
    const struct wl_listing_file *file = &snapshot->listing.files[snapshot->wanted[number]];
    struct wload_error err;
    char *moved_to = NULL;
    char *detail;
    int rc = wl_store_quarantine(&snapshot->store, file, &moved_to, &err);

    if (rc < 0) {
        detail = rc == WLOAD_ERR_NOT_FOUND && verify->moved_count > 0
                     ? wl_str_new("%s; moved aside with another", detail_of(check))
                     : wl_str_new("%s; %s", detail_of(check), err.message);
    } else {
        verify->moved_count++;
        detail = wl_str_new("%s; moved to '%s'", detail_of(check), moved_to);
        wl_sys->free(moved_to);
    }
    wl_sys->free(check->detail);
    check->detail = detail;
}

static int quarantine(struct verify *verify, struct wload_error *err)
{
    int rc = WLOAD_OK;

    for (uint32_t i = 0; i < verify->count && rc == WLOAD_OK; i++) {
        if (verify->checks[i].status == WLOAD_ERR_CHECKSUM) {
            move_aside(verify, i);
            rc = tell(verify, i, err);
        }
    }
    if (verify->moved_count > 0) {
        int refreshed = wl_snapshot_refresh(verify->snapshot, rc == WLOAD_OK ? err : NULL);

        rc = rc < 0 ? rc : refreshed;
    }
    return rc;
}

/* The first bad file, by name. */
static int judge(const struct verify *verify, struct wload_error *err)
{
    for (uint32_t i = 0; i < verify->count; i++) {
        const struct check *check = &verify->checks[i];

        if (check->status < 0 && check->status != WLOAD_ERR_NOT_FOUND &&
            check->status != WLOAD_ERR_UNSUPPORTED) {
            return wl_err_set(err, check->status, "'%s': %s", verify->snapshot->files[i].name,
                              detail_of(check));
        }
    }
    return WLOAD_OK;
}

/* Threads are started, and the caller's own takes what they bring; where none can be had it
 * does their work first. */
static int hash_all(struct verify *verify, struct wload_error *err)
{
    struct worker workers[THREADS_MAX] = {0};
    uint32_t wanted = (uint32_t)wl_min(wl_min(wl_sys_cpu_count(), THREADS_MAX), verify->count);
    uint32_t started = 0;
    int rc;

    for (; started < wanted; started++) {
        struct worker *worker = &workers[started];

        worker->verify = verify;
        worker->buffer = wl_sys->alloc(READ_BYTES);
        if (!worker->buffer || wl_sys->thread_start(&worker->thread, work, worker) != 0) {
            break;
        }
    }
    if (started == 0 && workers[0].buffer) {
        (void)work(&workers[0]);
    }
    rc = workers[0].buffer ? collect(verify, err)
                           : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to read files into");
    atomic_store(&verify->is_stopping, true);
    for (uint32_t i = 0; i < started; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    for (uint32_t i = 0; i < wanted; i++) {
        wl_sys->free(workers[i].buffer);
    }
    return rc;
}

static int by_size(const void *a, const void *b, void *files)
{
    uint64_t left = ((const struct wload_snapshot_file *)files)[*(const uint32_t *)a].size_bytes;
    uint64_t right = ((const struct wload_snapshot_file *)files)[*(const uint32_t *)b].size_bytes;

    return (left < right) - (left > right);
}

static int run(struct verify *verify, struct wload_error *err)
{
    int rc;

    for (uint32_t i = 0; i < verify->count; i++) {
        verify->order[i] = i;
    }
    qsort_r(verify->order, verify->count, sizeof(verify->order[0]), by_size,
            verify->snapshot->files);
    rc = hash_all(verify, err);
    if (rc == WLOAD_OK && verify->options->quarantines) {
        rc = quarantine(verify, err);
    }
    return rc < 0 ? rc : judge(verify, err);
}

/* Whether anything says which hashes the files must have. */
static int check_known(const struct wl_snapshot *snapshot, bool quarantines,
                       struct wload_error *err)
{
    const char *path = snapshot->shown.path;

    if (snapshot->store.ops || (snapshot->shown.file_count > 0 && !quarantines)) {
        return WLOAD_OK;
    }
    if (snapshot->shown.origin[0] == '\0') {
        return wl_snapshot_refuse_absent(snapshot, false, err);
    }
    return wl_store_is_filled(path)
               ? wl_err_set(err, WLOAD_ERR_UNSUPPORTED,
                            "'%s' is a path: name the model that was fetched into it, as "
                            "org/name, and this as its local directory",
                            path)
               : wl_err_set(err, WLOAD_ERR_UNSUPPORTED,
                            "'%s' is a path: nothing says which hashes its files must have; name "
                            "the model as org/name",
                            path);
}

int wl_snapshot_verify(struct wl_snapshot *snapshot, const struct wload_verify_options *options,
                       struct wload_error *err)
{
    struct verify verify = {.snapshot = snapshot,
                            .options = options,
                            .count = snapshot->shown.file_count};
    int rc = check_known(snapshot, options->quarantines != 0, err);

    if (rc < 0 || verify.count == 0) {
        return rc;
    }
    (void)pthread_mutex_init(&verify.mutex, NULL);
    (void)pthread_cond_init(&verify.ended, NULL);
    verify.checks = wl_sys_array(verify.count, sizeof(verify.checks[0]));
    verify.order = wl_sys_array(verify.count, sizeof(verify.order[0]));
    verify.done = wl_sys_array(verify.count, sizeof(verify.done[0]));
    rc = verify.checks && verify.order && verify.done
             ? run(&verify, err)
             : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to check %u files", verify.count);
    for (uint32_t i = 0; verify.checks && i < verify.count; i++) {
        wl_sys->free(verify.checks[i].detail);
    }
    wl_sys->free(verify.checks);
    wl_sys->free(verify.order);
    wl_sys->free(verify.done);
    (void)pthread_cond_destroy(&verify.ended);
    (void)pthread_mutex_destroy(&verify.mutex);
    return rc;
}
