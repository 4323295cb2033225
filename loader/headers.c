/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/headers.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/sys.h"
#include "cache/hub_api.h"
#include "loader/safetensors.h"

#define THREADS_MAX      16u
#define THREADS_MAX_DISK 4u /* there it is a matter of CPUs, on a hub one of waiting */
#define SECOND_NS        1000000000
#define PROGRESS_NS      (SECOND_NS / 10)
#define FIRST_BYTES      (16u << 10) /* of a file, asked for at once: most headers are shorter */

struct team {
    struct wl_snapshot *snapshot; /* NULL: all files are here */
    struct wl_transfer transfer;  /* with a snapshot, as are the next three */
    const struct wload_fetch_options *fetch;
    int64_t begin_ns;
    bool is_stopped; /* on_progress has enough */
    struct wl_weights *files;
    struct wl_table *tables;
    uint32_t count;
    atomic_uint next;       /* the next file to read */
    atomic_bool has_failed; /* take no more files */
};

struct worker {
    struct team *team;
    struct wl_http *http; /* NULL: not asked anything yet */
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

/* ---- From a file ------------------------------------------------------------------ */

static int read_here(struct wl_weights *file, struct wl_safetensors_file *described,
                     struct wl_table *table, struct wload_error *err)
{
    int fd = open_one(file, &file->identity, err);
    int rc;

    if (fd < 0) {
        return fd;
    }
    described->size_bytes = file->identity.size_bytes;
    rc = wl_safetensors_read(fd, described, table, err);
    (void)wl_sys->close(fd);
    return rc;
}

/* ---- From a hub ------------------------------------------------------------------- */

struct part {
    char *bytes;
    uint64_t offset; /* in the file */
};

static int take_bytes(void *user, uint64_t offset, const void *data, size_t size_bytes)
{
    struct part *part = user;

    memcpy(part->bytes + (offset - part->offset), data, size_bytes);
    return 0;
}

static int ask(struct worker *worker, struct wl_remote *remote, uint64_t begin, uint64_t end,
               void *target, struct wload_error *err)
{
    struct part part = {.bytes = target, .offset = begin};

    return wl_transfer_range(&worker->team->transfer, worker->http, remote, begin, end, take_bytes,
                             &part, err);
}

static int ask_header(struct worker *worker, struct wl_remote *remote,
                      const struct wl_safetensors_file *described, struct wl_table *table,
                      struct wload_error *err)
{
    const uint64_t before = WL_SAFETENSORS_LENGTH_BYTES;
    unsigned char first[FIRST_BYTES];
    uint64_t got = wl_min(sizeof(first), remote->size_bytes);
    uint64_t length = 0;
    char *text;
    int rc = wl_safetensors_check_size(described, err);

    rc = rc < 0 ? rc : ask(worker, remote, 0, got, first, err);
    rc = rc < 0 ? rc : wl_safetensors_length(first, described, &length, err);
    if (rc < 0) {
        return rc;
    }
    text = wl_sys_array((size_t)length, 1);
    if (!text) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its header", described->path);
    }
    got = wl_min(got - before, length);
    memcpy(text, first + before, got);
    rc = ask(worker, remote, before + got, before + length, text + got, err);
    rc = rc < 0 ? rc : wl_safetensors_parse(text, (size_t)length, described, table, err);
    wl_sys->free(text);
    return rc;
}

static int ask_hub(struct worker *worker, struct wl_weights *file,
                   struct wl_safetensors_file *described, struct wl_table *table,
                   struct wload_error *err)
{
    struct wl_snapshot *snapshot = worker->team->snapshot;
    const struct wl_hub_repo repo = {.kind = snapshot->spec.kind, .name = snapshot->spec.path};
    char *url =
        wl_hub_file_url(&snapshot->config, &repo, snapshot->store.commit, file->listed->name);
    struct wl_remote remote = {.url = url,
                               .name = file->listed->name,
                               .size_bytes = file->listed->size_bytes,
                               .hash = file->listed->hash};
    int rc = url ? WLOAD_OK
                 : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the address of '%s'",
                              file->listed->name);

    file->identity = (struct wl_file_identity){.size_bytes = file->listed->size_bytes};
    described->size_bytes = file->listed->size_bytes;
    if (rc == WLOAD_OK && !worker->http) {
        rc = wl_lines_take(&snapshot->lines, &worker->http, err);
    }
    rc = rc < 0 ? rc : ask_header(worker, &remote, described, table, err);
    wl_remote_clear(&remote);
    wl_sys->free(url);
    return rc;
}

/* ---- All of them ------------------------------------------------------------------- */

static int read_one(struct worker *worker, uint32_t index, struct wload_error *err)
{
    struct wl_weights *file = &worker->team->files[index];
    struct wl_table *table = &worker->team->tables[index];
    struct wl_safetensors_file described = {.path = file->path,
                                            .prefix = file->prefix,
                                            .file_index = index};
    int rc = file->listed ? ask_hub(worker, file, &described, table, err)
                          : read_here(file, &described, table, err);

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
        worker->rc = read_one(worker, i, &worker->err);
        if (worker->rc < 0) {
            worker->file = i;
            atomic_store(&team->has_failed, true);
        }
    }
    if (team->snapshot) {
        wl_lines_give(&team->snapshot->lines, worker->http);
    }
    return NULL;
}

static uint32_t threads_wanted(const struct team *team)
{
    uint64_t most = team->snapshot ? wl_min(team->transfer.connection_count, THREADS_MAX)
                                   : wl_min(wl_sys_cpu_count(), THREADS_MAX_DISK);

    return (uint32_t)wl_min(most, team->count);
}

static bool is_watched(const struct team *team)
{
    return team->snapshot && team->fetch->on_progress && !team->is_stopped;
}

static void report(struct team *team)
{
    const struct wload_snapshot *shown = &team->snapshot->shown;
    const struct wload_fetch_progress progress = {
        .total_bytes = shown->total_bytes,
        .present_bytes = shown->total_bytes - shown->missing_bytes,
        .received_bytes = shown->received_bytes + atomic_load(&team->transfer.received_bytes),
        .elapsed_ns = wl_clock_ns() - team->begin_ns,
        .file_count = shown->file_count,
        .done_count = shown->file_count - shown->missing_count,
    };

    if (team->fetch->on_progress(team->fetch->user, &progress) != 0) {
        team->is_stopped = true;
        atomic_store(&team->has_failed, true);
        wl_transfer_cancel(&team->transfer);
    }
}

/* Until the thread has ended; the caller hears of it meanwhile. */
static void join(struct team *team, pthread_t thread)
{
    bool has_ended = false;

    while (is_watched(team) && !has_ended) {
        struct timespec until;

        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PROGRESS_NS;
        until.tv_sec += until.tv_nsec / SECOND_NS;
        until.tv_nsec %= SECOND_NS;
        has_ended = pthread_timedjoin_np(thread, NULL, &until) != ETIMEDOUT;
        if (!has_ended) {
            report(team);
        }
    }
    if (!has_ended) {
        (void)pthread_join(thread, NULL);
    }
}

/* Returns how many of them have worked, and ended. */
static uint32_t work_all(struct team *team, struct worker *workers)
{
    /* Where it need not watch the caller's thread is the first. */
    const uint32_t first = is_watched(team) ? 0 : 1;
    uint32_t wanted = threads_wanted(team);
    uint32_t started = first;

    while (started < wanted &&
           wl_sys->thread_start(&workers[started].thread, work, &workers[started]) == 0) {
        started++;
    }
    if (first == 1 || started == 0) { /* where no more can be had it does all */
        (void)work(&workers[0]);
    }
    for (uint32_t i = first; i < started; i++) {
        join(team, workers[i].thread);
    }
    return (uint32_t)wl_max(started, 1);
}

/* Returns the error of the first file that has one. */
static int run(struct team *team, struct wload_error *err)
{
    struct worker workers[THREADS_MAX] = {0};
    const struct worker *failed = NULL;
    uint32_t started;

    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        workers[i].team = team;
    }
    started = work_all(team, workers);
    if (team->is_stopped) {
        return wl_err_set(err, WLOAD_ERR_CALLBACK, "'%s': on_progress stopped the download",
                          team->snapshot->spec.path);
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

int wl_headers_read(struct wl_weights *files, struct wl_table *tables, uint32_t count,
                    struct wl_snapshot *snapshot, const struct wload_fetch_options *fetch,
                    struct wload_error *err)
{
    struct team team = {.snapshot = snapshot,
                        .fetch = fetch,
                        .files = files,
                        .tables = tables,
                        .count = count,
                        .begin_ns = wl_clock_ns()};
    int rc;

    if (!snapshot) {
        return run(&team, err);
    }
    rc = wl_transfer_init(&team.transfer, &snapshot->config, &snapshot->log,
                          fetch->connection_count, err);
    if (rc == WLOAD_OK) {
        rc = run(&team, err);
        wl_transfer_clear(&team.transfer);
    }
    return rc;
}
