/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/headers.h"

#include <stdatomic.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"
#include "loader/safetensors.h"

#define THREADS_MAX 4u

struct team {
    struct wl_weights *files;
    struct wl_table *tables;
    uint32_t count;
    atomic_uint next;       /* the next file to read */
    atomic_bool has_failed; /* take no more files */
};

struct worker {
    struct team *team;
    pthread_t thread;
    uint32_t file; /* that failed */
    int rc;
    struct wload_error err;
};

static int open_one(const struct wl_weights *file, struct wl_file_identity *identity,
                    struct wload_error *err)
{
    int fd = wl_file_open(file->path, 0, identity, err);

    if (fd == WLOAD_ERR_NOT_FOUND && file->shards) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "shard '%s' is missing; '%s' names it",
                          file->path, file->shards->path);
    }
    return fd;
}

static int read_one(struct wl_weights *file, uint32_t index, struct wl_table *table,
                    struct wload_error *err)
{
    struct wl_safetensors_file described = {.path = file->path,
                                            .prefix = file->prefix,
                                            .file_index = index};
    int fd = open_one(file, &file->identity, err);
    int rc;

    if (fd < 0) {
        return fd;
    }
    described.size_bytes = file->identity.size_bytes;
    rc = wl_safetensors_read(fd, &described, table, err);
    (void)wl_sys->close(fd);
    if (rc == WLOAD_OK && file->shards) {
        file->left_out_count =
            wl_shards_take(file->shards, file->shard, strlen(file->prefix), table, &file->left_out);
    }
    return rc;
}

/*
 * Files are taken in order, and one that is taken is finished.  So when one fails,
 * all before it have been taken, and the first failure in order is among the workers'.
 */
static void *work(void *argument)
{
    struct worker *worker = argument;
    struct team *team = worker->team;

    while (!atomic_load(&team->has_failed)) {
        uint32_t i = atomic_fetch_add(&team->next, 1);

        if (i >= team->count) {
            break;
        }
        worker->rc = read_one(&team->files[i], i, &team->tables[i], &worker->err);
        if (worker->rc < 0) {
            worker->file = i;
            atomic_store(&team->has_failed, true);
        }
    }
    return NULL;
}

int wl_headers_read(struct wl_weights *files, struct wl_table *tables, uint32_t count,
                    struct wload_error *err)
{
    struct team team = {.files = files, .tables = tables, .count = count};
    struct worker workers[THREADS_MAX] = {0};
    const struct worker *failed = NULL;
    uint32_t wanted = (uint32_t)wl_min(wl_min(wl_sys_cpu_count(), THREADS_MAX), count);
    uint32_t started = 1;

    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        workers[i].team = &team;
    }
    /* The caller's thread is the first; where no more can be had it does all. */
    while (started < wanted &&
           wl_sys->thread_start(&workers[started].thread, work, &workers[started]) == 0) {
        started++;
    }
    (void)work(&workers[0]);
    for (uint32_t i = 1; i < started; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    for (uint32_t i = 0; i < started; i++) {
        if (workers[i].rc < 0 && (!failed || workers[i].file < failed->file)) {
            failed = &workers[i];
        }
    }
    if (!failed) {
        return WLOAD_OK;
    }
    if (err) {
        *err = failed->err;
    }
    return failed->rc;
}
