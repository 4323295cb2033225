/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/digests.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

#define BUFFER_BYTES (4u << 20)
#define WORKERS_MAX  16u

/* What the workers share: each takes the next tensor until there is none, or one failed. */
struct work {
    struct wload_arena *arena;
    struct landed *items;
    size_t count;
    atomic_size_t next;
    atomic_bool has_failed;
};

struct worker {
    struct work *work;
    pthread_t thread;
    int status;
    struct wload_error err;
};

static int compute_one(struct work *work, struct landed *item, struct wl_digest *digest,
                       unsigned char *buffer, struct wload_error *err)
{
    const unsigned char *address = item->address;
    uint64_t left = item->tensor->size_bytes;

    while (left > 0) {
        uint64_t part = wl_min(left, BUFFER_BYTES);
        int rc = wload_arena_read(work->arena, address, part, buffer, err);

        if (rc == WLOAD_OK) {
            rc = wl_digest_add(digest, buffer, part, err);
        }
        if (rc < 0) {
            return rc;
        }
        address += part;
        left -= part;
    }
    return wl_digest_finish(digest, item->hex, err);
}

static int compute_all(struct work *work, struct wl_digest *digest, unsigned char *buffer,
                       struct wload_error *err)
{
    size_t i;

    while (!work->has_failed && (i = atomic_fetch_add(&work->next, 1)) < work->count) {
        int rc = WLOAD_OK;

        if (work->items[i].tensor) {
            rc = compute_one(work, &work->items[i], digest, buffer, err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return WLOAD_OK;
}

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    unsigned char *buffer = malloc(BUFFER_BYTES);
    struct wl_digest *digest = NULL;

    worker->status =
        buffer ? wl_digest_new(WL_DIGEST_SHA256, &digest, &worker->err)
               : wl_err_set(&worker->err, WLOAD_ERR_NOMEM, "no memory to compute digests");
    if (worker->status == WLOAD_OK) {
        worker->status = compute_all(worker->work, digest, buffer, &worker->err);
    }
    if (worker->status < 0) {
        worker->work->has_failed = true;
    }
    wl_digest_free(digest);
    free(buffer);
    return NULL;
}

int digests_compute(struct wload_arena *arena, struct landed *items, size_t count,
                    struct wload_error *err)
{
    struct work work = {.arena = arena, .items = items, .count = count};
    struct worker workers[WORKERS_MAX] = {0};
    size_t wanted = wl_min(wl_min(wl_sys_cpu_count(), WORKERS_MAX), count);
    size_t started = 0;
    int rc = WLOAD_OK;

    for (size_t i = 0; i < wanted; i++) {
        workers[i].work = &work;
    }
    /* The first worker is this thread; one that cannot be had leaves its share to the others. */
    while (started + 1 < wanted && pthread_create(&workers[started + 1].thread, NULL, run_worker,
                                                  &workers[started + 1]) == 0) {
        started++;
    }
    if (wanted > 0) {
        (void)run_worker(&workers[0]);
    }
    for (size_t i = 1; i <= started; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    for (size_t i = 0; i <= started && rc == WLOAD_OK; i++) {
        rc = workers[i].status;
        if (rc < 0) {
            *err = workers[i].err;
        }
    }
    return rc;
}
