/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/cgroup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/components.h"
#include "cache/partial_view.h"
#include "cache/wanted_name.h"

#define PROVERS_MAX  8u
#define WINDOW_BYTES (256ull << 20)
#define REST_NS      (50 * 1000000ll)
#define PROGRESS_NS  (100 * 1000000ll)

/* ---- For the threads ------------------------------------------------------------------- */

static void wake_all(struct wl_fetch *fetch)
{
    pthread_cond_broadcast(&fetch->reads);
    pthread_cond_broadcast(&fetch->proves);
    pthread_cond_broadcast(&fetch->frees);
    pthread_cond_broadcast(&fetch->ends);
}

void wl_fetch_fail(struct wl_fetch *fetch, int rc, const struct wload_error *why)
{
    if (fetch->rc == WLOAD_OK) {
        fetch->rc = rc;
        fetch->error = *why;
    }
    fetch->is_ending = true;
    wl_transfer_cancel(&fetch->transfer);
    wake_all(fetch);
}

static void try_again(struct wl_fetch *fetch, struct wl_fetch_item *item)
{
    item->refused_ns = wl_clock_ns();
    fetch->refused_count++;
}

void wl_fetch_leave(struct wl_fetch *fetch, struct wl_fetch_item *item, enum wl_fetch_state state)
{
    for (uint32_t i = 0; i < fetch->open_count; i++) {
        if (fetch->open[i] == item) {
            fetch->open[i] = fetch->open[--fetch->open_count];
            break;
        }
    }
    item->state = state;
    if (state == WL_FETCH_WAITING) {
        try_again(fetch, item);
        fetch->left_bytes += item->file->size_bytes;
    } else {
        fetch->done_count++;
        if (item->twin) {
            try_again(fetch, item->twin);
        }
    }
    if (fetch->done_count == fetch->count) {
        fetch->is_ending = true;
        wake_all(fetch);
    }
    pthread_cond_broadcast(&fetch->reads);
}

static void wait_until(struct wl_fetch *fetch, pthread_cond_t *condition, int64_t ns)
{
    struct timespec at = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

    (void)pthread_cond_timedwait(condition, &fetch->mutex, &at);
}

void wl_fetch_rest(struct wl_fetch *fetch, pthread_cond_t *condition)
{
    wait_until(fetch, condition, wl_clock_ns() + REST_NS);
}

void wl_fetch_close(struct wl_fetch_item *item)
{
    wl_digest_free(item->digest);
    item->digest = NULL;
    wl_partial_close(&item->partial);
    wl_lock_release(&item->lock);
}

/* ---- Before the first byte ------------------------------------------------------------------ */

static int compare_items(const void *a, const void *b)
{
    const struct wl_fetch_item *one = a, *other = b;
    uint64_t x = one->file->size_bytes, y = other->file->size_bytes;

    return x != y ? (x < y ? 1 : -1) : strcmp(one->file->name, other->file->name);
}

/* Where several items have one content, the first brings it, and the others have their turn after
 * it, one after the other: they would find its lock held. */
static int chain_twins(struct wl_fetch *fetch, struct wload_error *err)
{
    const struct wl_snapshot *snapshot = fetch->snapshot;
    uint32_t count = snapshot->shown.file_count;
    struct wl_fetch_item **items = wl_sys_array(count, sizeof(items[0])); /* by number */

    if (!items) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for %u files", snapshot->spec.path,
                          count);
    }
    for (uint32_t i = 0; i < fetch->count; i++) {
        items[fetch->items[i].number] = &fetch->items[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        struct wl_fetch_item *first = items[snapshot->firsts[i]];
        struct wl_fetch_item *item = items[i];

        if (item && first && item != first) {
            item->is_twin = true;
            item->found_bytes = item->file->size_bytes;
            item->twin = first->twin;
            first->twin = item;
            fetch->left_bytes -= item->file->size_bytes;
        }
    }
    wl_sys->free(items);
    return WLOAD_OK;
}

/* The files that are to be fetched, largest first. */
static int list_items(struct wl_fetch *fetch, struct wload_error *err)
{
    struct wl_snapshot *snapshot = fetch->snapshot;

    fetch->items = wl_sys_array(snapshot->shown.file_count, sizeof(fetch->items[0]));
    fetch->open = wl_sys_array(fetch->transfer.connection_count, sizeof(struct wl_fetch_item *));
    if (!fetch->items || !fetch->open) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for %u files", snapshot->spec.path,
                          snapshot->shown.file_count);
    }
    for (uint32_t i = 0; i < snapshot->shown.file_count; i++) {
        const struct wl_listing_file *file = &snapshot->listing.files[snapshot->wanted[i]];

        if ((snapshot->files[i].is_present && fetch->options->is_forced == 0) ||
            (fetch->part == WL_FETCH_SMALL && wl_str_ends(file->name, ".safetensors"))) {
            continue;
        }
        fetch->left_bytes += file->size_bytes;
        fetch->items[fetch->count++] = (struct wl_fetch_item){
            .file = file,
            .number = i,
            .found_bytes = fetch->options->is_forced ? 0 : snapshot->files[i].present_bytes,
            .remote = {.url = snapshot->files[i].url,
                       .name = file->name,
                       .size_bytes = file->size_bytes,
                       .hash = file->hash},
        };
    }
    qsort(fetch->items, fetch->count, sizeof(fetch->items[0]), compare_items);
    return chain_twins(fetch, err);
}

/* Whether the file takes no more space: what is there under another name is linked, and a partial
 * file, whoever writes it, has claimed its space. */
static bool has_space(const struct wl_fetch *fetch, const struct wl_fetch_item *item)
{
    const struct wl_store *store = &fetch->snapshot->store;
    struct wl_partial_place place;
    struct wl_partial_view view;
    bool is_claimed;

    if (item->found_bytes > 0 || store->ops->place(store, item->file, &place, NULL) < 0) {
        return item->found_bytes > 0;
    }
    is_claimed = wl_partial_view_open(&place, &view);
    if (is_claimed) {
        wl_partial_view_close(&view);
    }
    wl_store_place_clear(&place);
    return is_claimed;
}

static int check_space(struct wl_fetch *fetch, struct wload_error *err)
{
    const char *path = fetch->snapshot->store.repo_path;
    struct statvfs status;
    uint64_t needed = 0, free_bytes;
    int fd;
    int rc;

    for (uint32_t i = 0; i < fetch->count; i++) {
        needed += has_space(fetch, &fetch->items[i]) ? 0 : fetch->items[i].file->size_bytes;
    }
    fd = wl_sys->openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        return wl_err_sys(err, errno, "cannot open '%s'", path);
    }
    rc = wl_sys->fstatvfs(fd, &status) < 0 ? -errno : 0;
    (void)wl_sys->close(fd);
    if (rc < 0) { /* the disk will tell */
        return WLOAD_OK;
    }
    free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    if (needed > free_bytes) {
        return wl_err_set(err, WLOAD_ERR_NOSPACE,
                          "'%s' needs %" PRIu64 " bytes in '%s', where %" PRIu64 " are free",
                          fetch->snapshot->spec.path, needed, path, free_bytes);
    }
    return WLOAD_OK;
}

/* ---- The caller's thread -----------------------------------------------------------------------
 */

/* With the mutex. */
static struct wload_fetch_progress measure(const struct wl_fetch *fetch, int64_t since_ns)
{
    const struct wload_snapshot *shown = &fetch->snapshot->shown;
    struct wload_fetch_progress progress = {
        .total_bytes = shown->total_bytes,
        .received_bytes = atomic_load(&fetch->transfer.received_bytes),
        .elapsed_ns = wl_clock_ns() - since_ns,
        .file_count = shown->file_count,
        .done_count = shown->file_count - fetch->count + fetch->done_count,
    };
    uint64_t missing = 0;

    for (uint32_t i = 0; i < fetch->count; i++) {
        const struct wl_fetch_item *item = &fetch->items[i];

        switch (item->state) {
        case WL_FETCH_READING:
            missing += item->file->size_bytes - wl_partial_present(&item->partial);
            break;
        case WL_FETCH_WAITING:
        case WL_FETCH_OPENING:
            missing += item->file->size_bytes - item->found_bytes;
            if (item->is_noticed || (item->refused_ns != 0 && fetch->open_count == 0)) {
                progress.waiting_for = item->file->name;
            }
            break;
        case WL_FETCH_PROVING:
        case WL_FETCH_DONE:
            break;
        }
    }
    progress.present_bytes = progress.total_bytes - missing;
    return progress;
}

/* With the mutex, which it gives up meanwhile. */
static void report(struct wl_fetch *fetch, int64_t since_ns)
{
    struct wload_fetch_progress progress;
    struct wload_error err;
    int answer;

    if (!fetch->options->on_progress) {
        return;
    }
    progress = measure(fetch, since_ns);
    pthread_mutex_unlock(&fetch->mutex);
    answer = fetch->options->on_progress(fetch->options->user, &progress);
    pthread_mutex_lock(&fetch->mutex);
    if (answer != 0) {
        wl_fetch_fail(fetch,
                      wl_err_set(&err, WLOAD_ERR_CALLBACK, "'%s': on_progress stopped the download",
                                 fetch->snapshot->spec.path),
                      &err);
    }
}

static void watch(struct wl_fetch *fetch)
{
    int64_t since_ns = wl_clock_ns();

    pthread_mutex_lock(&fetch->mutex);
    while (!fetch->is_ending) {
        int64_t until = wl_clock_ns() + PROGRESS_NS;

        while (!fetch->is_ending && wl_clock_ns() < until) {
            wait_until(fetch, &fetch->ends, until);
        }
        if (!fetch->is_ending) {
            report(fetch, since_ns);
        }
    }
    if (fetch->rc == WLOAD_OK) {
        report(fetch, since_ns);
    }
    pthread_mutex_unlock(&fetch->mutex);
}

/* Start up to `count` threads.  Returns how many there are: fewer will do, none will not. */
static uint32_t start(struct wl_fetch *fetch, pthread_t *threads, uint32_t count,
                      void *(*run)(void *))
{
    uint32_t started = 0;

    while (started < count && wl_sys->thread_start(&threads[started], run, fetch) == 0) {
        started++;
    }
    if (started == 0) {
        struct wload_error err;
        int rc = wl_err_set(&err, WLOAD_ERR_NOMEM, "'%s': no thread can be started",
                            fetch->snapshot->spec.path);

        pthread_mutex_lock(&fetch->mutex);
        wl_fetch_fail(fetch, rc, &err);
        pthread_mutex_unlock(&fetch->mutex);
    }
    return started;
}

static uint32_t prover_max(void)
{
    return (uint32_t)wl_min(wl_sys_cpu_count(), PROVERS_MAX);
}

static void work(struct wl_fetch *fetch)
{
    pthread_t readers[WL_TRANSFER_THREADS_MAX];
    pthread_t provers[PROVERS_MAX];
    uint32_t reader_count =
        start(fetch, readers, wl_transfer_threads(&fetch->transfer), wl_fetch_read);
    uint32_t prover_count = start(fetch, provers, prover_max(), wl_fetch_prove);

    watch(fetch);
    for (uint32_t i = 0; i < reader_count; i++) {
        (void)pthread_join(readers[i], NULL);
    }
    for (uint32_t i = 0; i < prover_count; i++) {
        (void)pthread_join(provers[i], NULL);
    }
}

/* ---- A fetch
 * --------------------------------------------------------------------------------------- */

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    WL_ASSERT(pthread_condattr_init(&attributes) == 0);
    WL_ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    WL_ASSERT(pthread_cond_init(condition, &attributes) == 0);
    (void)pthread_condattr_destroy(&attributes);
}

/* How large a window leaves the rest of a small control group's memory to others.  A reader has one
 * block at a time, a prover two: one to read into, and one that it hashes. */
static uint32_t window_blocks(const struct wl_fetch *fetch)
{
    uint64_t limit = wl_cgroup_memory().limit_bytes;
    uint64_t least = (uint64_t)wl_transfer_threads(&fetch->transfer) + 2 * prover_max();
    uint64_t count = wl_max(wl_min(WINDOW_BYTES, limit / 4) / WL_WINDOW_BLOCK_BYTES, least);

    if (count < WINDOW_BYTES / WL_WINDOW_BLOCK_BYTES) {
        WL_LOG(&fetch->snapshot->log, WLOAD_LOG_INFO, "cache",
               "a window of %" PRIu64 " bytes: the control group's memory limit is %" PRIu64,
               count * WL_WINDOW_BLOCK_BYTES, limit);
    }
    return (uint32_t)count;
}

static int init(struct wl_fetch *fetch, struct wload_error *err)
{
    int rc = wl_transfer_init(&fetch->transfer, &fetch->snapshot->config, &fetch->snapshot->log,
                              fetch->options->connection_count, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_window_open(&fetch->window, window_blocks(fetch), err);
    if (rc < 0) {
        wl_transfer_clear(&fetch->transfer);
        return rc;
    }
    WL_ASSERT(pthread_mutex_init(&fetch->mutex, NULL) == 0);
    init_condition(&fetch->reads);
    init_condition(&fetch->proves);
    init_condition(&fetch->frees);
    init_condition(&fetch->ends);
    return WLOAD_OK;
}

/* What is not published stays for the next fetch, unless the disk is full. */
static void clear(struct wl_fetch *fetch)
{
    for (uint32_t i = 0; i < fetch->count; i++) {
        struct wl_fetch_item *item = &fetch->items[i];

        if (item->state == WL_FETCH_READING) {
            if (fetch->rc == WLOAD_ERR_NOSPACE) {
                wl_partial_discard(&item->partial);
            }
            wl_fetch_close(item);
        }
        wl_remote_clear(&item->remote);
    }
    wl_window_close(&fetch->window);
    wl_sys->free(fetch->open);
    wl_sys->free(fetch->items);
    (void)pthread_cond_destroy(&fetch->ends);
    (void)pthread_cond_destroy(&fetch->frees);
    (void)pthread_cond_destroy(&fetch->proves);
    (void)pthread_cond_destroy(&fetch->reads);
    (void)pthread_mutex_destroy(&fetch->mutex);
    wl_transfer_clear(&fetch->transfer);
}

/* What the revision means, and what it does not have.  Of a commit that the cache's own ref told
 * nobody knows whether the revision means it still. */
static int finish(struct wl_snapshot *snapshot, struct wload_error *err)
{
    struct wl_store *store = &snapshot->store;

    for (uint32_t i = 0; i < snapshot->absent_count && store->ops == &wl_store_hub; i++) {
        wl_store_hub_note_absent(store, snapshot->absent[i]);
    }
    return snapshot->is_asked ? store->ops->finish(store, snapshot->spec.revision, err) : WLOAD_OK;
}

static int run(struct wl_fetch *fetch, struct wload_error *err)
{
    struct wl_store *store = &fetch->snapshot->store;
    int rc = list_items(fetch, err);

    rc = rc < 0 ? rc : store->ops->begin(store, &fetch->snapshot->listing, err);
    rc = rc < 0 ? rc : check_space(fetch, err);
    if (rc < 0) {
        return rc;
    }
    WL_LOG(&store->log, WLOAD_LOG_INFO, "cache",
           "'%s': %u files to fetch, %" PRIu64 " bytes, over %u connections",
           fetch->snapshot->spec.path, fetch->count, fetch->left_bytes,
           fetch->transfer.connection_count);
    if (fetch->count > 0) {
        work(fetch);
    }
    if (fetch->rc < 0) {
        if (err) {
            *err = fetch->error;
        }
        return fetch->rc;
    }
    return fetch->part == WL_FETCH_ALL ? finish(fetch->snapshot, err) : WLOAD_OK;
}

void wl_snapshot_note_revision(struct wl_snapshot *snapshot)
{
    struct wload_error why = {0};

    if (snapshot->store.ops && snapshot->store.commit[0] != '\0' && finish(snapshot, &why) < 0) {
        WL_LOG(&snapshot->log, WLOAD_LOG_INFO, "cache", "%s", why.message);
    }
}

static bool is_of_weights(const char *name)
{
    return wl_wanted_is_weights(name) || wl_str_ends(name, WL_PIPELINE_FILE);
}

/* Whether nothing but small files beside the weights is missing. */
static bool has_all_weights(const struct wl_snapshot *snapshot)
{
    bool has_weights = false;

    for (uint32_t i = 0; i < snapshot->shown.file_count; i++) {
        bool is_weights = is_of_weights(snapshot->files[i].name);

        if (is_weights && !snapshot->files[i].is_present) {
            return false;
        }
        has_weights = has_weights || is_weights;
    }
    return has_weights;
}

static int check_fetchable(const struct wl_snapshot *snapshot, enum wl_fetch_part part,
                           struct wload_error *err)
{
    const char *name = snapshot->spec.path;

    if (!snapshot->config.is_offline) {
        return snapshot->store.ops != &wl_store_plain || snapshot->store.commit[0] != '\0'
                   ? WLOAD_OK
                   : wl_err_set(err, WLOAD_ERR_UNSUPPORTED,
                                "'%s': nothing says which commit '%s' is of, and so it cannot be "
                                "downloaded again",
                                name, snapshot->shown.path);
    }
    if (snapshot->shown.origin[0] == '\0') {
        return wl_snapshot_refuse_absent(snapshot, true, err);
    }
    if (snapshot->shown.missing_count == 0) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "'%s' is to be downloaded again, and the network is off", name);
    }
    return wl_err_set(
        err, WLOAD_ERR_NOT_FOUND,
        "'%s': %u of %u files are not on this machine, as '%s', and the network is off%s", name,
        snapshot->shown.missing_count, snapshot->shown.file_count,
        wl_snapshot_first_missing(snapshot),
        part == WL_FETCH_SMALL && has_all_weights(snapshot)
            ? "; the weights are all here, and can be loaded alone"
            : "");
}

int wl_snapshot_fetch(struct wl_snapshot *snapshot, const struct wload_fetch_options *options,
                      enum wl_fetch_part part, struct wload_error *err)
{
    struct wl_fetch fetch = {
        .snapshot = snapshot,
        .options = options,
        .part = part,
    };
    int rc;

    snapshot->shown.received_bytes = 0;
    if (snapshot->shown.origin[0] != '\0' && snapshot->shown.missing_count == 0 &&
        (options->is_forced == 0 || !snapshot->store.ops)) {
        wl_snapshot_note_revision(snapshot);
        return WLOAD_OK;
    }
    rc = check_fetchable(snapshot, part, err);
    rc = rc < 0 ? rc : init(&fetch, err);
    if (rc < 0) {
        return rc;
    }
    rc = run(&fetch, err);
    snapshot->shown.received_bytes = atomic_load(&fetch.transfer.received_bytes);
    clear(&fetch);
    if (part == WL_FETCH_ALL) {
        wl_lines_close(&snapshot->lines);
    }
    if (rc == WLOAD_OK) {
        rc = wl_snapshot_refresh(snapshot, err);
    } else {
        (void)wl_snapshot_refresh(snapshot, NULL);
    }
    return rc;
}
