/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/job.h"

#include <sched.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/sys.h"
#include "loader/options.h"

int wload_job_start(struct wload_model *model, const struct wload_job_options *options,
                    struct wload_job **out, struct wload_error *err)
{
    int64_t begin_ns = wl_clock_ns();
    struct wload_job *job;
    int rc;

    if (!model || !out) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "%s is NULL", model ? "out" : "model");
    }
    job = wl_sys->alloc(sizeof(*job));
    if (!job) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a job");
    }
    job->model = wl_model_share(model);
    job->thread = pthread_self();
    job->status = WLOAD_PENDING;
    rc = wl_options_take(&job->options, sizeof(job->options), options, err);
    if (rc == WLOAD_OK) {
        rc = wl_job_prepare(job, err);
    }
    if (rc < 0) {
        wload_job_free(job);
        return rc;
    }
    job->elapsed_ns = wl_clock_ns() - begin_ns;
    *out = job;
    return WLOAD_OK;
}

static int64_t deadline_after(int64_t begin_ns, int64_t timeout_ms)
{
    int64_t deadline_ns;

    if (timeout_ms < 0 || __builtin_mul_overflow(timeout_ms, 1000000, &deadline_ns) ||
        __builtin_add_overflow(deadline_ns, begin_ns, &deadline_ns)) {
        return INT64_MAX;
    }
    return deadline_ns;
}

/* Turn until everything has landed, is proven and has its name. */
static int work(struct wload_job *job, int64_t deadline_ns, struct wload_error *err)
{
    bool has_intake = job->intake.stream_count > 0;
    int rc = has_intake && !job->intake.has_begun ? wl_job_begin_intake(job, err) : WLOAD_OK;

    rc = rc < 0 ? rc : wl_engine_run(&job->engine, deadline_ns, err);
    return rc == WLOAD_OK && has_intake ? wl_intake_finish(&job->intake, deadline_ns, err) : rc;
}

static void log_end(const struct wload_job *job)
{
    WL_LOG(&job->model->context->log, WLOAD_LOG_INFO, "job",
           "%llu bytes landed; read by %s, %llu direct, %llu buffered%s%s",
           (unsigned long long)job->engine.landed_bytes, job->reader->ops->name,
           (unsigned long long)job->engine.direct_bytes,
           (unsigned long long)job->engine.buffered_bytes, job->files.note[0] ? ": " : "",
           job->files.note);
}

/* A call that cannot be obeyed, and leaves the job as it is. */
static int check_call(const struct wload_job *job, struct wload_error *err)
{
    if (!pthread_equal(job->thread, pthread_self())) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "a job is run by the thread that started it");
    }
    if (job->is_running) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "a job is not run by its own callbacks");
    }
    if (job->status < 0) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "the job has failed and can only be freed");
    }
    return WLOAD_OK;
}

static int go_on(struct wload_job *job, int64_t timeout_ms, struct wload_error *err)
{
    int64_t begin_ns = wl_clock_ns();

    job->is_running = true;
    job->status = work(job, deadline_after(begin_ns, timeout_ms), err);
    job->is_running = false;
    job->elapsed_ns += wl_clock_ns() - begin_ns;
    if (job->status == WLOAD_OK) {
        log_end(job);
    }
    return job->status;
}

int wload_job_run(struct wload_job *job, int64_t timeout_ms, struct wload_error *err)
{
    int rc;

    if (!job) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "job is NULL");
    }
    rc = check_call(job, err);
    if (rc == WLOAD_OK && job->status == WLOAD_PENDING) {
        rc = go_on(job, timeout_ms, err);
    }
    if (rc < 0 && err) {
        err->memory_state = atomic_load(&job->engine.has_written) ? WLOAD_MEMORY_PARTLY_WRITTEN
                                                                  : WLOAD_MEMORY_UNTOUCHED;
    }
    return rc;
}

void wload_job_cancel(struct wload_job *job)
{
    if (job) {
        atomic_fetch_add(&job->visitors, 1);
        wl_engine_cancel(&job->engine);
        wl_intake_cancel(&job->intake);
        atomic_fetch_sub(&job->visitors, 1);
    }
}

void wload_chunk_release(const struct wload_chunk *chunk)
{
    const struct wl_chunk *own = (const struct wl_chunk *)chunk;

    if (own) {
        struct wload_job *job = own->job;

        atomic_fetch_add(&job->visitors, 1);
        wl_engine_release(&job->engine, own->slot);
        atomic_fetch_sub(&job->visitors, 1);
    }
}

static struct wload_stats all_stats(const struct wload_job *job)
{
    const struct wl_engine *engine = &job->engine;

    return (struct wload_stats){
        .tensor_count = job->layout.want_count,
        .tensor_bytes = job->tensor_bytes,
        .landed_bytes = engine->landed_bytes,
        .direct_bytes = engine->direct_bytes,
        .buffered_bytes = engine->buffered_bytes,
        .resident_bytes = job->resident_bytes,
        .staging_bytes = (uint64_t)job->staging.prepared_count * job->staging.slot_bytes,
        .straight_bytes = engine->straight_bytes,
        .network_bytes = wl_intake_received(&job->intake),
        .elapsed_ns = job->elapsed_ns,
        .wait_storage_ns = engine->wait_storage_ns,
        .wait_device_ns = engine->wait_device_ns,
        .device_kind = job->device ? (uint32_t)job->device->ops->kind : WLOAD_DEVICE_HOST,
        .device_index = job->arena ? job->arena->device_index : job->options.device_index,
        .reader_kind = job->reader_kind,
        .queue_depth = job->options.queue_depth,
        .reader_note = job->reader->note,
        .io_note = job->files.note,
        .cache_note = wl_intake_note(&job->intake),
    };
}

void wload_job_stats(const struct wload_job *job, struct wload_stats *stats)
{
    if (job && stats) {
        size_t size = stats->struct_size;
        struct wload_stats all = all_stats(job);

        all.struct_size = size;
        memcpy(stats, &all, wl_min(size, sizeof(all)));
    }
}

/* Of the arena's start, faulted in.  A job that left much of it alone says nothing of the rest. */
static uint64_t touched_bytes(const struct wload_job *job)
{
    uint64_t bytes = job->layout.straight_bytes;

    return job->status == WLOAD_OK && job->engine.straight_bytes >= bytes / 4 * 3 ? bytes : 0;
}

void wload_job_free(struct wload_job *job)
{
    if (!job) {
        return;
    }
    while (atomic_load(&job->visitors) > 0) {
        (void)sched_yield(); /* what ended the load, a release or a cancel, has yet to return */
    }
    if (job->is_populating) {
        wl_populate_stop(&job->populate); /* before the reader that it wakes */
    }
    wl_intake_stop(&job->intake); /* before the reader that it wakes */
    if (job->queue) {
        job->device->ops->queue_close(job->queue); /* waits for copies out of the staging ring */
    }
    if (job->reader) {
        job->reader->ops->close(job->reader); /* waits for reads into it */
    }
    wl_intake_close(&job->intake); /* waits for what is written and hashed out of it */
    wl_engine_clear(&job->engine);
    wl_staging_clear(&job->staging);
    wl_plan_clear(&job->plan);
    wl_files_clear(&job->files);
    wl_sys->free(job->chunks);
    wl_sys->free(job->layout.wants);
    wl_sys->free(job->layout.files);
    if (job->has_arena) {
        wl_arena_unclaim(job->arena, touched_bytes(job));
    }
    wload_arena_free(job->arena);
    wl_device_close(job->device);
    wload_model_free(job->model);
    wl_sys->free(job);
}
