/* SPDX-License-Identifier: Apache-2.0 */
/* Reader: threads that call pread().  For kernels and containers that bar io_uring. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"
#include "loader/reader.h"

#define THREADS_MAX 64u

struct pread_reader {
    struct wl_reader base;
    const struct wl_files *files;
    pthread_mutex_t mutex;
    pthread_cond_t work_ready;
    pthread_cond_t done_ready;
    struct wl_read *queued;    /* a circle of slot_count reads; queued_first is the oldest */
    struct wl_read_done *done; /* a stack of slot_count results */
    uint32_t slot_count;
    uint32_t queued_first;
    uint32_t queued_count;
    uint32_t done_count;
    uint32_t in_flight; /* submitted and not yet reaped */
    uint32_t thread_count;
    bool is_woken;
    bool is_closing;
    pthread_t threads[THREADS_MAX];
};

static int32_t read_once(const struct pread_reader *pool, const struct wl_read *read)
{
    const struct wl_job_file *file = &pool->files->items[read->file_index];
    ssize_t got = wl_sys->pread(read->is_direct ? file->direct_fd : file->fd, read->target,
                                read->size_bytes, (off_t)read->offset);

    return got < 0 ? -errno : (int32_t)got;
}

static void *work(void *argument)
{
    struct pread_reader *pool = argument;

    (void)pthread_mutex_lock(&pool->mutex);
    for (;;) {
        struct wl_read read;
        int32_t result;

        while (pool->queued_count == 0 && !pool->is_closing) {
            (void)pthread_cond_wait(&pool->work_ready, &pool->mutex);
        }
        if (pool->queued_count == 0) {
            break;
        }
        read = pool->queued[pool->queued_first];
        pool->queued_first = (pool->queued_first + 1) % pool->slot_count;
        pool->queued_count--;
        (void)pthread_mutex_unlock(&pool->mutex);
        result = read_once(pool, &read);
        (void)pthread_mutex_lock(&pool->mutex);
        pool->done[pool->done_count++] = (struct wl_read_done){.slot = read.slot, .result = result};
        (void)pthread_cond_signal(&pool->done_ready);
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static void pread_close(struct wl_reader *reader)
{
    struct pread_reader *pool = (struct pread_reader *)reader;

    (void)pthread_mutex_lock(&pool->mutex);
    pool->is_closing = true;
    pool->queued_count = 0; /* what has not begun need not */
    (void)pthread_cond_broadcast(&pool->work_ready);
    (void)pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->thread_count; i++) {
        (void)pthread_join(pool->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&pool->done_ready);
    (void)pthread_cond_destroy(&pool->work_ready);
    (void)pthread_mutex_destroy(&pool->mutex);
    wl_sys->free(pool->queued);
    wl_sys->free(pool->done);
    wl_sys->free(pool);
}

/* Time-outs are counted on the monotonic clock, so a step of the other one cannot stretch them. */
static void init_locks(struct pread_reader *pool)
{
    pthread_condattr_t monotonic;

    (void)pthread_mutex_init(&pool->mutex, NULL);
    (void)pthread_cond_init(&pool->work_ready, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&pool->done_ready, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

static int pread_open(const struct wl_reader_request *request, struct wl_reader **out,
                      struct wload_error *err)
{
    struct pread_reader *pool = wl_sys->alloc(sizeof(*pool));
    uint32_t wanted = request->parallel_count < THREADS_MAX ? request->parallel_count : THREADS_MAX;
    int rc = 0;

    if (!pool) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a pread reader");
    }
    pool->base.ops = &wl_reader_pread;
    pool->files = request->files;
    pool->slot_count = request->slot_count;
    init_locks(pool);
    pool->queued = wl_sys_array(request->slot_count, sizeof(pool->queued[0]));
    pool->done = wl_sys_array(request->slot_count, sizeof(pool->done[0]));
    if (!pool->queued || !pool->done) {
        pread_close(&pool->base);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a pread reader");
    }
    while (pool->thread_count < wanted && rc == 0) {
        rc = wl_sys->thread_start(&pool->threads[pool->thread_count], work, pool);
        pool->thread_count += rc == 0;
    }
    if (pool->thread_count == 0) {
        pread_close(&pool->base);
        return wl_err_sys(err, rc, "cannot start a thread to read with");
    }
    (void)snprintf(pool->base.note, WL_NOTE_BYTES, "pread by %u threads", pool->thread_count);
    *out = &pool->base;
    return WLOAD_OK;
}

static void pread_buffer_add(struct wl_reader *reader, uint32_t slot, void *memory,
                             size_t size_bytes)
{
    (void)reader;
    (void)slot;
    (void)memory;
    (void)size_bytes;
}

static void pread_submit(struct wl_reader *reader, const struct wl_read *read)
{
    struct pread_reader *pool = (struct pread_reader *)reader;

    (void)pthread_mutex_lock(&pool->mutex);
    WL_ASSERT(pool->in_flight < pool->slot_count);
    pool->queued[(pool->queued_first + pool->queued_count++) % pool->slot_count] = *read;
    pool->in_flight++;
    (void)pthread_cond_signal(&pool->work_ready);
    (void)pthread_mutex_unlock(&pool->mutex);
}

/* Submitted reads are begun at once. */
static void pread_flush(struct wl_reader *reader)
{
    (void)reader;
}

static struct timespec deadline_after(int64_t timeout_ns)
{
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ns / 1000000000;
    at.tv_nsec += timeout_ns % 1000000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

static int pread_reap(struct wl_reader *reader, struct wl_read_done *done, uint32_t max,
                      int64_t timeout_ns)
{
    struct pread_reader *pool = (struct pread_reader *)reader;
    struct timespec deadline = deadline_after(timeout_ns < 0 ? 0 : timeout_ns);
    uint32_t count = 0;
    int rc = timeout_ns == 0 ? ETIMEDOUT : 0;

    (void)pthread_mutex_lock(&pool->mutex);
    while (pool->done_count == 0 && !pool->is_woken && rc == 0) {
        rc = timeout_ns < 0 ? pthread_cond_wait(&pool->done_ready, &pool->mutex)
                            : pthread_cond_timedwait(&pool->done_ready, &pool->mutex, &deadline);
    }
    pool->is_woken = false;
    while (count < max && pool->done_count > 0) {
        done[count++] = pool->done[--pool->done_count];
        pool->in_flight--;
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return (int)count;
}

static void pread_wake(struct wl_reader *reader)
{
    struct pread_reader *pool = (struct pread_reader *)reader;

    (void)pthread_mutex_lock(&pool->mutex);
    pool->is_woken = true;
    (void)pthread_cond_signal(&pool->done_ready);
    (void)pthread_mutex_unlock(&pool->mutex);
}

const struct wl_reader_ops wl_reader_pread = {
    .name = "pread",
    .kind = WLOAD_READER_PREAD,
    .open = pread_open,
    .buffer_add = pread_buffer_add,
    .submit = pread_submit,
    .flush = pread_flush,
    .reap = pread_reap,
    .wake = pread_wake,
    .close = pread_close,
};
