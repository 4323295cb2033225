/* SPDX-License-Identifier: Apache-2.0 */
/* One load of the benchmark, as a user's program would do it. */
#include <stdio.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "bench/interrupt.h"

#define STEP_MS 100

struct landing {
    int64_t last_ns;
};

static int note_landed(void *user, const struct wload_tensor *tensor, void *address)
{
    struct landing *landing = user;

    (void)tensor;
    (void)address;
    landing->last_ns = wl_clock_ns();
    return 0;
}

static int drop_chunk(void *user, const struct wload_chunk *chunk)
{
    (void)user;
    wload_chunk_release(chunk);
    return 0;
}

static struct wload_job_options options_for(const struct bench_settings *settings,
                                            enum bench_target target, struct wload_arena *arena,
                                            struct landing *landing)
{
    struct wload_job_options options = settings->job;

    options.struct_size = sizeof(options);
    options.on_landed = note_landed;
    options.user = landing;
    options.device_kind = WLOAD_DEVICE_HOST;
    switch (target) {
    case BENCH_SINK:
    case BENCH_DOWNLOAD:
    case BENCH_DOWNLOAD_LOAD:
    case BENCH_FIRST:
        options.on_chunk = drop_chunk;
        break;
    case BENCH_HOST:
        break;
    case BENCH_HOST_REUSED:
        options.arena = arena;
        break;
    case BENCH_DEVICE:
        options.device_kind = settings->device_kind;
        options.device_index = settings->device_index;
        break;
    }
    return options;
}

/* What a network may keep waiting looks for signals now and then. */
static int run_job(struct wload_job *job, enum bench_target target, struct wload_error *err)
{
    int64_t step_ms = target == BENCH_FIRST ? STEP_MS : -1;
    int rc;

    while ((rc = wload_job_run(job, step_ms, err)) == WLOAD_PENDING) {
        if (interrupt_came()) {
            wload_job_cancel(job);
        }
    }
    return rc;
}

int bench_load(const struct bench_settings *settings, enum bench_target target,
               struct wload_arena *arena, struct bench_load *out, struct wload_error *err)
{
    const struct wload_fetch_options fetch = {.struct_size = sizeof(fetch),
                                              .connection_count = settings->connection_count};
    const struct wload_model_options model_options = {
        .struct_size = sizeof(model_options),
        .variant = settings->snapshot.variant,
        .snapshot = &settings->snapshot,
        .fetch = &fetch,
    };
    int64_t begin_ns = wl_clock_ns();
    int64_t begin_cpu_ns = wl_clock_cpu_ns();
    struct landing landing = {.last_ns = begin_ns};
    struct wload_job_options options = options_for(settings, target, arena, &landing);
    struct bench_load load = {.stats.struct_size = sizeof(load.stats)};
    struct wload_model *model;
    struct wload_job *job;
    int rc = wload_model_open(settings->context, settings->spec, &model_options, &model, err);

    if (rc < 0) {
        return rc;
    }
    rc = wload_job_start(model, &options, &job, err);
    if (rc < 0) {
        goto out_model;
    }
    rc = run_job(job, target, err);
    if (rc < 0) {
        goto out_job;
    }
    load.proven_ns = wl_clock_ns() - begin_ns;
    load.figure.elapsed_ns = landing.last_ns - begin_ns;
    load.figure.cpu_ns = wl_clock_cpu_ns() - begin_cpu_ns;
    wload_job_stats(job, &load.stats);
    (void)snprintf(load.reader_note, sizeof(load.reader_note), "%s", load.stats.reader_note);
    (void)snprintf(load.io_note, sizeof(load.io_note), "%s", load.stats.io_note);
    load.stats.reader_note = NULL; /* they die with the job */
    load.stats.io_note = NULL;
    *out = load;

out_job:
    wload_job_free(job);
out_model:
    wload_model_free(model);
    return rc;
}
