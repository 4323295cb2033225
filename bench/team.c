/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/team.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

#define WORKERS_MAX 16u

struct work {
    team_item_fn do_item;
    void *user;
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

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    struct work *work = worker->work;
    void *buffer = malloc(TEAM_BUFFER_BYTES);
    size_t i;

    if (!buffer) {
        worker->status = wl_err_set(&worker->err, WLOAD_ERR_NOMEM,
                                    "no memory for %zu items of work", work->count);
    }
    while (worker->status == WLOAD_OK && !work->has_failed &&
           (i = atomic_fetch_add(&work->next, 1)) < work->count) {
        worker->status = work->do_item(work->user, i, buffer, &worker->err);
    }
    if (worker->status < 0) {
        work->has_failed = true;
    }
    free(buffer);
    return NULL;
}

int team_run(size_t count, team_item_fn do_item, void *user, struct wload_error *err)
{
    struct work work = {.do_item = do_item, .user = user, .count = count};
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
        if (rc < 0 && err) {
            *err = workers[i].err;
        }
    }
    return rc;
}
