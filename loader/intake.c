/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/intake.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

/* Its lock, and its partial file, which is open for O_DIRECT, too. */
#define DESCRIPTORS_PER_FILE 3u

/* ---- Files ------------------------------------------------------------------------------ */

static const char *first_tensor(const struct wload_model *model, uint32_t file_index)
{
    for (uint32_t i = 0; i < model->index.count; i++) {
        if (model->index.tensors[i].file_index == file_index) {
            return model->index.tensors[i].name;
        }
    }
    return "";
}

static int publish(void *user, struct wload_error *err)
{
    return wl_stream_publish(user, err);
}

static void discard(void *user)
{
    wl_stream_discard(user);
}

/* What lies at its path may be of another revision, or broken. */
static bool is_on_this_machine(const struct wl_snapshot *snapshot, uint32_t number)
{
    const struct wl_store *store = &snapshot->store;

    return store->ops->find(store, &snapshot->listing.files[number], NULL) > 0;
}

static int open_one(struct wl_intake *intake, const struct wload_model *model, uint32_t i,
                    struct wload_error *err)
{
    struct wl_stream *stream = &intake->streams[i];

    stream->snapshot = intake->snapshot;
    stream->transfer = &intake->transfer;
    stream->file = &intake->snapshot->listing.files[model->listed[i]];
    stream->path = model->files[i].path;
    stream->io_policy = model->write_policy;
    intake->keep_files[i] = (struct wl_keep_file){
        .name = model->files[i].path,
        .hash = stream->file->hash,
        .tensor = first_tensor(model, i),
        .size_bytes = stream->file->size_bytes,
        .publish = publish,
        .discard = discard,
        .user = stream,
    };
    intake->stream_count++;
    return wl_stream_open(stream, err);
}

static int open_streams(struct wl_intake *intake, const struct wload_model *model,
                        const bool *is_wanted, bool *is_remote, struct wload_error *err)
{
    int rc = WLOAD_OK;

    for (uint32_t i = 0; i < intake->file_count && rc == WLOAD_OK; i++) {
        is_remote[i] = is_wanted[i] && model->listed[i] != WL_NOT_LISTED &&
                       !is_on_this_machine(intake->snapshot, model->listed[i]);
        rc = is_remote[i] ? open_one(intake, model, i, err) : WLOAD_OK;
    }
    return rc;
}

int wl_intake_open(const struct wload_model *model, const bool *is_wanted, bool *is_remote,
                   struct wl_intake *intake, struct wload_error *err)
{
    struct wl_snapshot *snapshot = model->snapshot;
    int rc;

    *intake = (struct wl_intake){.snapshot = snapshot, .file_count = model->info.file_count};
    if (!snapshot) {
        return WLOAD_OK;
    }
    intake->is_kept = !model->is_unkept;
    if (model->unkept_why) {
        (void)snprintf(intake->disk.message, sizeof(intake->disk.message), "%s", model->unkept_why);
    }
    rc = wl_transfer_init(&intake->transfer, &snapshot->config, &snapshot->log,
                          model->connection_count, err);
    if (rc < 0) {
        return rc;
    }
    WL_ASSERT(pthread_mutex_init(&intake->mutex, NULL) == 0);
    intake->is_open = true;
    intake->streams = wl_sys_array(intake->file_count, sizeof(intake->streams[0]));
    intake->keep_files = wl_sys_array(intake->file_count, sizeof(intake->keep_files[0]));
    if (!intake->streams || !intake->keep_files) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to download %u files",
                          intake->file_count);
    }
    return open_streams(intake, model, is_wanted, is_remote, err);
}

/* ---- Keeping ------------------------------------------------------------------------------- */

static void release(void *user, uint32_t slot)
{
    wl_engine_release(user, slot);
}

static void on_lead(void *user, struct wl_stream *stream)
{
    struct wl_intake *intake = user;

    wl_keep_attach(intake->keep, (uint32_t)(stream - intake->streams), &stream->partial);
}

/* The process may have no more descriptors: say how many the files take, and what the limit is. */
static void explain_count(const struct wl_intake *intake, struct wload_error *why)
{
    struct rlimit limit = {0};

    if (why->sys_errno == EMFILE) {
        (void)getrlimit(RLIMIT_NOFILE, &limit);
        (void)wl_err_sys(why, EMFILE,
                         "to keep %u files takes up to %u descriptors, and this process may have "
                         "%llu open: raise its limit (ulimit -n, setrlimit)",
                         intake->stream_count, DESCRIPTORS_PER_FILE * intake->stream_count,
                         (unsigned long long)limit.rlim_cur);
    }
}

static void on_refusal(void *user, const struct wload_error *why)
{
    struct wl_intake *intake = user;

    (void)pthread_mutex_lock(&intake->mutex);
    if (intake->refusal.message[0] == '\0') {
        intake->refusal = *why;
        explain_count(intake, &intake->refusal);
    }
    (void)pthread_mutex_unlock(&intake->mutex);
}

int wl_intake_start(struct wl_intake *intake, struct wl_engine *engine, uint32_t slot_count,
                    struct wl_trace *trace, struct wload_error *err)
{
    const struct wl_keep_request request = {
        .files = intake->keep_files,
        .file_count = intake->file_count,
        .slot_count = slot_count,
        .release = release,
        .user = engine,
        .log = &intake->snapshot->log,
        .trace = trace,
    };

    for (uint32_t i = 0; i < intake->file_count; i++) {
        struct wl_stream *stream = &intake->streams[i];

        stream->on_lead = on_lead;
        stream->on_refusal = on_refusal;
        stream->user = intake;
    }
    return wl_keep_open(&request, &intake->keep, err);
}

/* A cache that takes nothing is no reason not to load. */
static void give_up(struct wl_intake *intake, const struct wload_error *why)
{
    WL_LOG(&intake->snapshot->log, WLOAD_LOG_WARN, "cache", "the cache is off for this load: %s",
           why->message);
    intake->is_kept = false;
    intake->disk = *why;
}

static int begin_one(struct wl_intake *intake, struct wl_stream *stream, struct wload_error *err)
{
    struct wload_error why = {0};
    int rc = wl_stream_begin(stream, &why);

    if (rc == WLOAD_ERR_IO || rc == WLOAD_ERR_NOSPACE) {
        explain_count(intake, &why);
        give_up(intake, &why);
        return WLOAD_OK;
    }
    if (rc < 0 && err) {
        *err = why;
    }
    if (rc == WLOAD_OK && stream->state == WL_STREAM_LEADING) {
        on_lead(intake, stream);
    }
    return rc;
}

int wl_intake_begin(struct wl_intake *intake, struct wload_error *err)
{
    int rc = WLOAD_OK;

    intake->has_begun = true;
    for (uint32_t i = 0; i < intake->file_count && intake->is_kept && rc == WLOAD_OK; i++) {
        if (intake->streams[i].is_open) {
            rc = begin_one(intake, &intake->streams[i], err);
        }
    }
    return rc;
}

/* ---- Ends -------------------------------------------------------------------------------------
 */

void wl_intake_fail(struct wl_intake *intake, int rc, const struct wload_error *why)
{
    (void)pthread_mutex_lock(&intake->mutex);
    if (intake->rc == WLOAD_OK) {
        intake->rc = rc;
        intake->error = *why;
    }
    (void)pthread_mutex_unlock(&intake->mutex);
}

int wl_intake_check(void *user, struct wload_error *err)
{
    struct wl_intake *intake = user;
    int rc;

    (void)pthread_mutex_lock(&intake->mutex);
    rc = intake->rc;
    if (rc < 0 && err) {
        *err = intake->error;
    }
    (void)pthread_mutex_unlock(&intake->mutex);
    return rc < 0 ? rc : wl_keep_check(intake->keep, err);
}

/* What happened to the cache meanwhile. */
static void take_losses(struct wl_intake *intake)
{
    bool is_off = wl_keep_gave_up(intake->keep, &intake->disk);

    (void)pthread_mutex_lock(&intake->mutex);
    if (intake->refusal.message[0] != '\0') {
        intake->disk = intake->refusal;
        is_off = true;
    }
    (void)pthread_mutex_unlock(&intake->mutex);
    if (is_off) {
        intake->is_kept = false;
    }
}

int wl_intake_finish(struct wl_intake *intake, int64_t deadline_ns, struct wload_error *err)
{
    int rc = wl_keep_finish(intake->keep, deadline_ns, err);

    if (rc == WLOAD_PENDING) {
        return rc;
    }
    take_losses(intake);
    for (uint32_t i = 0; i < intake->file_count && rc == WLOAD_OK; i++) {
        if (intake->streams[i].is_open) {
            wl_stream_finish(&intake->streams[i]);
        }
    }
    if (rc == WLOAD_OK && intake->is_kept) {
        wl_snapshot_note_revision(intake->snapshot);
    }
    return rc;
}

void wl_intake_cancel(struct wl_intake *intake)
{
    if (intake->keep) {
        wl_keep_cancel(intake->keep);
    }
}

uint64_t wl_intake_received(const struct wl_intake *intake)
{
    return intake->is_open ? atomic_load(&intake->transfer.received_bytes) : 0;
}

const char *wl_intake_note(const struct wl_intake *intake)
{
    return intake->disk.message;
}

void wl_intake_stop(struct wl_intake *intake)
{
    if (intake->is_open) {
        wl_transfer_cancel(&intake->transfer);
    }
    if (intake->keep) {
        wl_keep_stop(intake->keep);
    }
}

void wl_intake_close(struct wl_intake *intake)
{
    if (!intake->is_open) {
        return;
    }
    if (intake->keep) {
        wl_keep_close(intake->keep);
    }
    for (uint32_t i = 0; intake->streams && i < intake->file_count; i++) {
        wl_stream_close(&intake->streams[i]);
    }
    wl_sys->free(intake->streams);
    wl_sys->free(intake->keep_files);
    (void)pthread_mutex_destroy(&intake->mutex);
    wl_transfer_clear(&intake->transfer);
    wl_lines_close(&intake->snapshot->lines);
    *intake = (struct wl_intake){0};
}
