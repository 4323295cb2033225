/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/pagecache.h"
#include "bench/interrupt.h"
#include "bench/load.h"
#include "bench/snapshot.h"
#include "bench/text.h"

#define STEP_MS 100 /* ten lines of progress a second; a signal is noticed as soon */

static int take_chunk(void *user, const struct wload_chunk *chunk)
{
    (void)user;
    wload_chunk_release(chunk);
    return 0;
}

static int note_landed(void *user, const struct wload_tensor *tensor, void *address)
{
    struct load_result *result = user;

    if (result->landed) {
        result->landed[tensor->tensor_index].tensor = tensor;
        result->landed[tensor->tensor_index].address = address;
    }
    return 0;
}

/* ---- Eviction ------------------------------------------------------------------- */

static int evict_file(const char *path, struct wload_error *err)
{
    struct wl_file_identity identity;
    int fd = wl_file_open(path, 0, &identity, err);
    int rc;

    if (fd < 0) { /* a file that is still to come is not in the page cache either */
        return fd == WLOAD_ERR_NOT_FOUND ? WLOAD_OK : fd;
    }
    rc = wl_pagecache_evict(fd);
    (void)close(fd);
    return rc < 0 ? wl_err_sys(err, -rc, "'%s': cannot evict it from the page cache", path)
                  : WLOAD_OK;
}

static int evict_model(const struct wload_model *model, struct wload_error *err)
{
    int rc = WLOAD_OK;

    for (size_t i = 0; i < wload_model_info(model)->file_count && rc == WLOAD_OK; i++) {
        rc = evict_file(wload_model_file(model, i)->path, err);
    }
    return rc;
}

/* ---- One run --------------------------------------------------------------------- */

static void show_progress(const struct wload_job *job, int64_t begin_ns)
{
    struct wload_stats stats = {.struct_size = sizeof(stats)};
    char landed[TEXT_SIZE_BYTES];
    char total[TEXT_SIZE_BYTES];
    double seconds = (double)(wl_clock_ns() - begin_ns) / 1e9;

    wload_job_stats(job, &stats);
    (void)fprintf(stderr, "\r%s of %s, %.2f GB/s\033[K", text_size(stats.landed_bytes, landed),
                  text_size(stats.tensor_bytes, total), (double)stats.landed_bytes / 1e9 / seconds);
}

/* All the way to the last tensor, or to the signal that stops it. */
static int finish_job(struct wload_job *job, int64_t begin_ns, struct wload_error *err)
{
    bool has_terminal = isatty(STDERR_FILENO) == 1;
    bool is_shown = false;
    int rc;

    interrupt_begin();
    while ((rc = wload_job_run(job, STEP_MS, err)) == WLOAD_PENDING) {
        if (interrupt_came()) {
            wload_job_cancel(job);
        }
        if (has_terminal) {
            show_progress(job, begin_ns);
            is_shown = true;
        }
    }
    if (is_shown) {
        (void)fputs("\r\033[K", stderr);
    }
    return rc;
}

static int keep_stats(const struct wload_job *job, struct load_result *result,
                      struct wload_error *err)
{
    result->stats.struct_size = sizeof(result->stats);
    wload_job_stats(job, &result->stats);
    result->reader_note = strdup(result->stats.reader_note);
    result->io_note = strdup(result->stats.io_note);
    result->cache_note = strdup(result->stats.cache_note);
    return result->reader_note && result->io_note && result->cache_note
               ? WLOAD_OK
               : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the report");
}

static int prepare_landed(const struct load_request *request, struct load_result *result,
                          struct wload_error *err)
{
    free(result->landed);
    result->landed = NULL;
    if (request->has_digests) {
        result->landed = calloc((size_t)wload_model_info(result->model)->tensor_count + 1,
                                sizeof(struct landed));
        if (!result->landed) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the digests");
        }
    }
    return WLOAD_OK;
}

/* Open the model and start the job; the model of the run before is closed. */
static int start_job(const struct load_request *request, struct load_result *result,
                     struct wload_job **job, struct wload_error *err)
{
    struct wload_job_options options = request->job;
    int rc;

    wload_model_free(result->model);
    result->model = NULL;
    rc = snapshot_open_model(request->context, request->spec, &request->snapshot, &request->fetch,
                             &result->model, err);
    if (rc == WLOAD_OK && !request->is_sink && !result->arena) {
        rc = wload_arena_new(request->context, (enum wload_device_kind)options.device_kind,
                             options.device_index, &result->arena, err);
    }
    if (rc == WLOAD_OK) {
        rc = prepare_landed(request, result, err);
    }
    if (rc < 0) {
        return rc;
    }
    options.arena = result->arena;
    options.on_chunk = request->is_sink ? take_chunk : NULL;
    options.on_landed = note_landed;
    options.user = result;
    return wload_job_start(result->model, &options, job, err);
}

static int try_once(const struct load_request *request, struct load_result *result,
                    struct wload_error *err)
{
    struct load_times *times = &result->times[result->run_count];
    int64_t begin_cpu_ns = wl_clock_cpu_ns();
    int64_t begin_ns = wl_clock_ns();
    struct wload_job *job = NULL;
    int rc = start_job(request, result, &job, err);

    if (rc < 0) {
        return rc;
    }
    rc = finish_job(job, begin_ns, err);
    times->seconds = (double)(wl_clock_ns() - begin_ns) / 1e9;
    times->cpu_seconds = (double)(wl_clock_cpu_ns() - begin_cpu_ns) / 1e9;
    if (rc == WLOAD_OK && result->run_count == 0) {
        rc = keep_stats(job, result, err);
    }
    wload_job_free(job);
    if (rc == WLOAD_OK) {
        interrupt_end();
        result->run_count++;
    }
    return rc;
}

/* Content that came from a network and was wrong is not kept: once more, from the start. */
static int run_once(const struct load_request *request, struct load_result *result,
                    struct wload_error *err)
{
    int rc = try_once(request, result, err);

    return rc == WLOAD_ERR_CHECKSUM ? try_once(request, result, err) : rc;
}

/* ---- All runs --------------------------------------------------------------------- */

static int run_all(const struct load_request *request, const struct wload_model *evicted,
                   struct load_result *result, struct wload_error *err)
{
    int rc = WLOAD_OK;

    while (result->run_count < request->run_count && rc == WLOAD_OK) {
        if (evicted) {
            rc = evict_model(evicted, err);
        }
        if (rc == WLOAD_OK) {
            rc = run_once(request, result, err);
        }
    }
    return rc;
}

static uint64_t peak_rss_bytes(void)
{
    struct rusage usage = {0};

    (void)getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_maxrss * 1024;
}

int load_run(const struct load_request *request, struct load_result *result,
             struct wload_error *err)
{
    struct wload_model *evicted = NULL;
    int rc = WLOAD_OK;

    *result = (struct load_result){0};
    result->times = calloc(request->run_count, sizeof(result->times[0]));
    if (!result->times) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %zu runs", request->run_count);
    }
    if (request->drops_cache) {
        rc = snapshot_open_model(NULL, request->spec, &request->snapshot, &request->fetch, &evicted,
                                 err);
    }
    if (rc == WLOAD_OK) {
        rc = run_all(request, evicted, result, err);
    }
    wload_model_free(evicted);
    result->peak_rss_bytes = peak_rss_bytes();
    if (rc == WLOAD_OK && request->has_digests) {
        rc = digests_compute(result->arena, result->landed,
                             wload_model_info(result->model)->tensor_count, err);
    }
    if (rc == WLOAD_OK && request->trace_path) {
        rc = wload_context_trace(request->context, request->trace_path, err);
    }
    return rc;
}

void load_clear(struct load_result *result)
{
    wload_model_free(result->model);
    wload_arena_free(result->arena);
    free(result->times);
    free(result->landed);
    free(result->reader_note);
    free(result->io_note);
    free(result->cache_note);
}
