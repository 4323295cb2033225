/* SPDX-License-Identifier: Apache-2.0 */
/* What a job needs before it can run: tensors chosen, files open, a plan, a data plane. */
#include "base/base.h"
#include "base/err.h"
#include "base/pagecache.h"
#include "base/sys.h"
#include "loader/choose.h"
#include "loader/job.h"

#define SLOTS_MAX 4096u

/* A block of a partial file is marked by the chunk that brings it: each chunk has whole ones. */
static void enlarge_chunks(struct wload_job *job)
{
    if (job->intake.stream_count > 0) {
        job->options.chunk_bytes = wl_max(job->options.chunk_bytes, WL_PARTIAL_BLOCK_BYTES);
        job->options.staging_bytes = wl_max(job->options.staging_bytes, job->options.chunk_bytes);
    }
}

/* The wants, and which files they are in. */
static int choose_tensors(struct wload_job *job, bool *is_file_wanted, struct wload_error *err)
{
    const struct wload_model *model = job->model;
    struct wl_layout *layout = &job->layout;
    bool *is_chosen = NULL;
    int rc = wl_choose(model, job->options.patterns, job->options.pattern_count, &is_chosen, err);

    if (rc < 0) {
        return rc;
    }
    layout->wants = wl_sys_array(model->info.tensor_count, sizeof(layout->wants[0]));
    layout->files = wl_sys_array(model->info.file_count, sizeof(layout->files[0]));
    layout->file_count = model->info.file_count;
    if (!layout->wants || !layout->files) {
        wl_sys->free(is_chosen);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to load %u tensors",
                          model->info.tensor_count);
    }
    for (uint32_t i = 0; i < model->info.tensor_count; i++) {
        if (is_chosen[i]) {
            const struct wload_tensor *tensor = &model->index.tensors[i];

            layout->wants[layout->want_count++].tensor = tensor;
            is_file_wanted[tensor->file_index] = true;
            job->tensor_bytes += tensor->size_bytes;
        }
    }
    wl_sys->free(is_chosen);
    return WLOAD_OK;
}

static int choose_and_open(struct wload_job *job, struct wload_error *err)
{
    uint32_t count = job->model->info.file_count;
    bool *is_wanted = wl_sys_array(count, sizeof(is_wanted[0]));
    bool *is_remote = wl_sys_array(count, sizeof(is_remote[0]));
    int rc;

    if (!is_wanted || !is_remote) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to load from %u files", count);
        goto out_free;
    }
    rc = choose_tensors(job, is_wanted, err);
    rc = rc < 0 ? rc : wl_intake_open(job->model, is_wanted, is_remote, &job->intake, err);
    if (rc < 0) {
        goto out_free;
    }
    enlarge_chunks(job);
    for (uint32_t i = 0; i < count; i++) {
        is_wanted[i] &= !is_remote[i];
    }
    rc = wl_files_open(job->model, is_wanted, (enum wload_io_policy)job->options.io_policy,
                       &job->files, err);

out_free:
    wl_sys->free(is_wanted);
    wl_sys->free(is_remote);
    return rc;
}

static int open_device(struct wload_job *job, struct wload_error *err)
{
    const struct wload_job_options *options = &job->options;
    struct wload_context *context = job->model->context;
    int rc;

    if (options->on_chunk) {
        return WLOAD_OK;
    }
    if (options->on_place) {
        return wl_device_open(&context->log, (enum wload_device_kind)options->device_kind,
                              options->device_index, &job->device, err);
    }
    if (options->arena) {
        job->arena = wl_arena_share(options->arena);
    } else {
        rc = wload_arena_new(context, (enum wload_device_kind)options->device_kind,
                             options->device_index, &job->arena, err);
        if (rc < 0) {
            return rc;
        }
    }
    job->device = wl_device_share(job->arena->device);
    if (options->arena && options->device_kind != WLOAD_DEVICE_AUTO &&
        (options->device_kind != (uint32_t)job->device->ops->kind ||
         options->device_index != job->arena->device_index)) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "the arena is on %s:%u, the job on another device: give its kind and "
                          "index, or WLOAD_DEVICE_AUTO",
                          job->device->ops->name, job->arena->device_index);
    }
    return WLOAD_OK;
}

static int place_by_caller(struct wload_job *job, struct wload_error *err)
{
    for (uint32_t i = 0; i < job->layout.want_count; i++) {
        struct wl_want *want = &job->layout.wants[i];
        void *address = NULL;

        if (job->options.on_place(job->options.user, want->tensor, &address) != 0) {
            return wl_err_set(err, WLOAD_ERR_CALLBACK, "on_place stopped the load at tensor '%s'",
                              want->tensor->name);
        }
        if (!address && want->tensor->size_bytes > 0) {
            return wl_err_set(err, WLOAD_ERR_INVALID, "on_place gave no address for tensor '%s'",
                              want->tensor->name);
        }
        want->address = address;
    }
    return WLOAD_OK;
}

/* Every want gets its address, every file its way. */
static int lay_out(struct wload_job *job, struct wload_error *err)
{
    struct wl_layout *layout = &job->layout;
    int rc;

    for (uint32_t i = 0; i < layout->file_count; i++) {
        layout->files[i] = (struct wl_plan_file){
            .size_bytes = job->files.items[i].size_bytes,
            .align_bytes = job->files.items[i].align_bytes,
            .is_direct = job->files.items[i].is_direct,
            .is_kept = wl_intake_has(&job->intake, i),
        };
    }
    if (job->options.on_chunk) {
        return WLOAD_OK;
    }
    if (job->options.on_place) {
        return place_by_caller(job, err);
    }
    job->is_mirrored = job->device->ops->is_host;
    rc = wl_layout_measure(layout, job->is_mirrored, err);
    if (rc < 0) {
        return rc;
    }
    rc = wl_arena_claim(job->arena, layout->size_bytes, err);
    if (rc < 0) {
        return rc;
    }
    job->has_arena = true;
    wl_layout_place(layout, job->arena->memory);
    return WLOAD_OK;
}

static int64_t resident(void *user, uint32_t file_index, uint64_t offset, uint64_t size_bytes)
{
    struct wload_job *job = user;
    int64_t bytes = wl_pagecache_estimate(job->files.items[file_index].fd, offset, size_bytes);

    job->resident_bytes += bytes > 0 ? (uint64_t)bytes : 0;
    return bytes;
}

static int make_plan(struct wload_job *job, struct wload_error *err)
{
    struct wl_plan_request request = {
        .wants = job->layout.wants,
        .want_count = job->layout.want_count,
        .files = job->layout.files,
        .chunk_bytes = (uint32_t)job->options.chunk_bytes,
        .resident = resident,
        .user = job,
        .prefers_resident = job->options.io_policy == WLOAD_IO_AUTO,
        .is_host = job->device && job->device->ops->is_host,
    };
    int rc = wl_plan_build(&request, &job->plan, err);

    if (rc == WLOAD_OK) {
        WL_LOG(&job->model->context->log, WLOAD_LOG_INFO, "plan",
               "%u tensors, %llu bytes in %u reads (%u from the page cache), %u copies",
               job->layout.want_count, (unsigned long long)job->tensor_bytes,
               job->plan.extent_count, job->plan.order_count[WL_LANE_MEMORY], job->plan.copy_count);
    }
    return rc;
}

static int numa_node(const struct wload_job *job)
{
    struct wload_device_info info = {.struct_size = sizeof(info), .numa_node = -1};

    if (!job->device || job->device->ops->is_host ||
        job->device->ops->describe(job->device, &info, NULL) < 0) {
        return -1;
    }
    return info.numa_node;
}

/* How many reads each lane keeps in flight, and how many slots that can use. */
static uint32_t choose_depths(struct wload_job *job)
{
    uint32_t slots =
        (uint32_t)wl_min(job->options.staging_bytes / job->options.chunk_bytes, SLOTS_MAX);

    /* Copying from the page cache keeps a CPU busy per read; more would only queue. */
    job->engine.depth[WL_LANE_MEMORY] = wl_sys_cpu_count();
    job->engine.depth[WL_LANE_STORAGE] = (uint32_t)wl_max(
        job->options.queue_depth,
        job->intake.stream_count > 0 ? wl_transfer_threads(&job->intake.transfer) : 0);
    return (uint32_t)wl_max(wl_min(slots, job->plan.extent_count), 1);
}

/* Storage leaves CPUs idle; copies from the page cache outrun one thread that faults memory in. */
static uint32_t populate_threads(const struct wload_job *job)
{
    uint32_t cpus = wl_sys_cpu_count();
    bool is_warm = job->plan.order_count[WL_LANE_MEMORY] > job->plan.order_count[WL_LANE_STORAGE];

    return (uint32_t)wl_min(is_warm ? cpus : (cpus + 1) / 2, WL_POPULATE_THREADS_MAX);
}

/* Fault in the memory that is read into straight, ahead of the reads. */
static int populate(struct wload_job *job, struct wload_error *err)
{
    int rc;

    if (!job->is_mirrored || job->arena->touched_bytes >= job->layout.straight_bytes) {
        return WLOAD_OK;
    }
    rc = wl_populate_start(&job->populate, &job->plan, job->reader, job->arena->memory,
                           job->layout.straight_bytes, populate_threads(job), err);
    if (rc == WLOAD_OK) {
        job->is_populating = true;
        job->engine.populate = &job->populate;
    }
    return rc;
}

/* Start to bring remote files, by a reader in front of the one that reads the others. */
static int take_in(struct wload_job *job, const struct wl_reader_request *request,
                   struct wload_error *err)
{
    struct wl_reader *local = job->reader;
    int rc = wl_intake_start(&job->intake, &job->engine, request->slot_count,
                             job->model->context->trace, err);

    if (rc == WLOAD_OK) {
        job->reader = NULL; /* now the other's */
        rc = wl_reader_net_open(&job->intake, request, local, &job->reader, err);
    }
    return rc;
}

static int make_data_plane(struct wload_job *job, struct wload_error *err)
{
    const struct wl_log *log = &job->model->context->log;
    uint32_t slot_count = choose_depths(job);
    struct wl_reader_request request = {
        .files = &job->files,
        .slot_count = slot_count,
        .parallel_count = (uint32_t)wl_min((uint64_t)job->engine.depth[WL_LANE_MEMORY] +
                                               job->engine.depth[WL_LANE_STORAGE],
                                           slot_count),
        .log = log,
    };
    int rc = wl_staging_init(&job->staging, (uint32_t)job->options.chunk_bytes, slot_count,
                             numa_node(job), err);

    if (rc < 0) {
        return rc;
    }
    job->staging.device = job->device;
    job->staging.log = log;
    rc = wl_reader_open((enum wload_reader_kind)job->options.reader_kind, &request, &job->reader,
                        err);
    if (rc == WLOAD_OK) {
        job->reader_kind = (uint32_t)job->reader->ops->kind;
        rc = job->intake.stream_count > 0 ? take_in(job, &request, err) : WLOAD_OK;
    }
    if (rc < 0) {
        return rc;
    }
    job->staging.reader = job->reader;
    if (job->device) {
        rc = job->device->ops->queue_open(job->device, slot_count, &job->queue, err);
    }
    /* With an intake the plan's order, which it goes by, is still to come. */
    return rc < 0 || job->intake.stream_count > 0 ? rc : populate(job, err);
}

static int on_landed(void *user, uint32_t want_index)
{
    struct wload_job *job = user;
    const struct wl_want *want = &job->layout.wants[want_index];

    return job->options.on_landed
               ? job->options.on_landed(job->options.user, want->tensor, want->address)
               : 0;
}

static int on_chunk(void *user, uint32_t piece_index, uint32_t slot, const uint8_t *data)
{
    struct wload_job *job = user;
    const struct wl_piece *piece = &job->plan.pieces[piece_index];
    struct wl_chunk *chunk = &job->chunks[piece_index];

    *chunk = (struct wl_chunk){
        .chunk = {.tensor = job->layout.wants[piece->want].tensor,
                  .data = data,
                  .tensor_offset = piece->tensor_offset,
                  .size_bytes = piece->size_bytes},
        .job = job,
        .slot = slot,
    };
    return job->options.on_chunk(job->options.user, &chunk->chunk);
}

static void on_kept(void *user, uint32_t slot)
{
    struct wload_job *job = user;

    wl_keep_settle(job->intake.keep, slot);
}

static int on_check(void *user, struct wload_error *err)
{
    struct wload_job *job = user;

    return wl_intake_check(&job->intake, err);
}

static int make_engine(struct wload_job *job, struct wload_error *err)
{
    struct wl_engine *engine = &job->engine;

    engine->reader = job->reader;
    engine->queue = job->queue;
    engine->staging = &job->staging;
    engine->files = &job->files;
    engine->plan = &job->plan;
    engine->wants = job->layout.wants;
    engine->want_count = job->layout.want_count;
    engine->trace = job->model->context->trace;
    engine->events = (struct wl_engine_events){.landed = on_landed, .user = job};
    if (job->intake.stream_count > 0) {
        engine->events.kept = on_kept;
        engine->events.check = on_check;
    }
    if (job->options.on_chunk) {
        job->chunks = wl_sys_array(job->plan.piece_count, sizeof(job->chunks[0]));
        if (!job->chunks) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u chunks",
                              job->plan.piece_count);
        }
        engine->events.chunk = on_chunk;
    }
    return wl_engine_init(engine, err);
}

int wl_job_prepare(struct wload_job *job, struct wload_error *err)
{
    static int (*const steps[])(struct wload_job *, struct wload_error *) = {
        choose_and_open, open_device, lay_out, make_plan, make_data_plane, make_engine,
    };
    int rc = wl_job_options_fill(&job->options, &job->model->context->log, err);

    for (size_t i = 0; i < WL_COUNT_OF(steps) && rc == WLOAD_OK; i++) {
        rc = steps[i](job, err);
    }
    return rc;
}

int wl_job_begin_intake(struct wload_job *job, struct wload_error *err)
{
    int rc = wl_intake_begin(&job->intake, err);

    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = 0; i < job->layout.file_count; i++) {
        job->layout.files[i].is_followed = wl_intake_follows(&job->intake, i);
    }
    wl_plan_order(&job->plan, job->layout.files);
    return populate(job, err);
}
