/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of a model that is named: from the hub through an empty cache, and how long finding it
 * takes.
 *
 * Each download has a cache of its own in a directory of ours, below $TMPDIR or /var/tmp, which is
 * gone at the end, also when a signal ends it.
 */
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "bench/bench.h"
#include "bench/interrupt.h"
#include "bench/text.h"

#define SPARE_BYTES   (256ull << 20)
#define DESCRIPTORS   16
#define LOOKS_PER_RUN 10u
#define NOWHERE       "hf://wload-bench/nowhere-on-this-machine"

struct bench_net {
    const struct bench_settings *settings;
    char *directory; /* of the caches */
    struct roof_net *roof;
    unsigned cache_count;
};

/* ---- Caches of our own ------------------------------------------------------------------ */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status;
    (void)type;
    (void)at;
    (void)remove(path);
    return 0;
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_entry, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
}

static int make_directory(char **out, struct wload_error *err)
{
    const char *parent = getenv("TMPDIR");
    char *path = NULL;

    if (!parent || parent[0] != '/') {
        parent = "/var/tmp"; /* /tmp may be memory */
    }
    if (asprintf(&path, "%s/wload-bench-XXXXXX", parent) < 0) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the path of a cache");
    }
    if (!mkdtemp(path)) {
        free(path);
        return wl_err_sys(err, errno, "cannot make a directory in '%s'", parent);
    }
    *out = path;
    return WLOAD_OK;
}

/* A path that nothing is at yet; the caller frees it. */
static char *new_cache(struct bench_net *net)
{
    char *path;

    return asprintf(&path, "%s/%u", net->directory, net->cache_count++) < 0 ? NULL : path;
}

static int check_space(const struct bench_net *net, uint64_t need_bytes, struct wload_error *err)
{
    char need[TEXT_SIZE_BYTES], have[TEXT_SIZE_BYTES];
    struct statvfs disk;
    uint64_t have_bytes;

    if (statvfs(net->directory, &disk) < 0) {
        return wl_err_sys(err, errno, "cannot ask for the space in '%s'", net->directory);
    }
    have_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (have_bytes < need_bytes + SPARE_BYTES) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "needs %s in '%s', %s are free",
                          text_size(need_bytes + SPARE_BYTES, need), net->directory,
                          text_size(have_bytes, have));
    }
    return WLOAD_OK;
}

/* ---- The hub ------------------------------------------------------------------------------ */

/* What the hub has, with an empty cache at `cache`. */
static int ask_hub(const struct bench_net *net, const char *cache, struct wload_snapshot **out,
                   struct wload_error *err)
{
    const struct bench_settings *settings = net->settings;
    struct wload_snapshot_options options = settings->snapshot;
    int rc;

    options.scope = WLOAD_SCOPE_LOAD;
    options.cache_dir = cache;
    if (options.network != WLOAD_NETWORK_OFF) {
        options.network = WLOAD_NETWORK_FIRST;
    }
    rc = wload_snapshot_open(settings->context, settings->spec, &options, out, err);
    if (rc == WLOAD_OK && strcmp((*out)->origin, "hub") != 0) {
        wload_snapshot_free(*out);
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "the network is off");
    }
    return rc;
}

/* Where there is no hub, or no room for what it has, there is no row; the others go on.  A signal
 * ends it all. */
static int judge(int rc, struct wload_error *err)
{
    bool is_absence = rc == WLOAD_ERR_NOSPACE || rc == WLOAD_ERR_NOT_FOUND ||
                      rc == WLOAD_ERR_NETWORK || rc == WLOAD_ERR_HTTP || rc == WLOAD_ERR_AUTH ||
                      rc == WLOAD_ERR_TIMEOUT;

    if (interrupt_came()) {
        return wl_err_set(err, WLOAD_ERR_CANCELED, "interrupted");
    }
    if (is_absence && err) {
        err->code = WLOAD_ERR_UNSUPPORTED;
    }
    return is_absence ? WLOAD_ERR_UNSUPPORTED : rc;
}

static int open_roof(struct bench_net *net, struct wload_error *err)
{
    const struct bench_settings *settings = net->settings;
    struct wload_snapshot *snapshot;
    char *cache = new_cache(net);
    int rc = cache ? ask_hub(net, cache, &snapshot, err)
                   : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the path of a cache");

    if (rc == WLOAD_OK) {
        rc = check_space(net, snapshot->missing_bytes, err);
        if (rc == WLOAD_OK) {
            rc = roof_net_open(snapshot, settings->snapshot.token, settings->connection_count,
                               &net->roof, err);
        }
        wload_snapshot_free(snapshot);
    }
    free(cache);
    return rc;
}

int bench_net_open(const struct bench_settings *settings, struct bench_net **out,
                   struct wload_error *err)
{
    struct bench_net *net = calloc(1, sizeof(*net));
    int rc;

    if (!net) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the row of the network");
    }
    net->settings = settings;
    interrupt_begin();
    rc = make_directory(&net->directory, err);
    if (rc == WLOAD_OK) {
        rc = open_roof(net, err);
    }
    rc = judge(rc, err);
    if (rc < 0) {
        bench_net_close(net);
        return rc;
    }
    *out = net;
    return WLOAD_OK;
}

void bench_net_close(struct bench_net *net)
{
    if (!net) {
        return;
    }
    if (net->directory) {
        remove_tree(net->directory);
    }
    roof_net_close(net->roof);
    free(net->directory);
    free(net);
    if (!interrupt_came()) {
        interrupt_end(); /* else whoever reports it does */
    }
}

int bench_net_roof(struct bench_net *net, struct roof_figure *out, struct wload_error *err)
{
    return judge(roof_net_measure(net->roof, out, err), err);
}

/* ---- One download, and the load from it ------------------------------------------------------ */

static int stop_if_told(void *user, const struct wload_fetch_progress *progress)
{
    (void)user;
    (void)progress;
    return interrupt_came();
}

static int download(const struct bench_net *net, struct wload_snapshot *snapshot,
                    struct wload_error *err)
{
    const struct wload_fetch_options options = {
        .struct_size = sizeof(options),
        .connection_count = net->settings->connection_count,
        .on_progress = stop_if_told,
    };
    uint64_t missing_bytes = snapshot->missing_bytes;
    int rc = wload_snapshot_fetch(snapshot, &options, err);

    if (rc == WLOAD_OK && snapshot->received_bytes < missing_bytes) {
        return wl_err_set(err, WLOAD_ERR_INTERNAL, "'%s' came from elsewhere than the hub",
                          snapshot->path);
    }
    return rc;
}

static int load_downloaded(const struct bench_net *net, const char *path, struct bench_load *out,
                           struct wload_error *err)
{
    struct bench_settings local = *net->settings;

    local.spec = path;
    local.snapshot = (struct wload_snapshot_options){.struct_size = sizeof(local.snapshot),
                                                     .variant = local.snapshot.variant};
    return bench_load(&local, BENCH_SINK, NULL, out, err);
}

/* From nothing to the last file in `cache`, or on to the last tensor. */
static int download_and_load(const struct bench_net *net, const char *cache, bool is_loaded,
                             struct bench_load *out, struct wload_error *err)
{
    struct wload_snapshot *snapshot;
    struct bench_load load = {0};
    int64_t begin_cpu_ns = wl_clock_cpu_ns();
    int64_t begin_ns = wl_clock_ns();
    struct roof_figure figure;
    int rc = ask_hub(net, cache, &snapshot, err);

    if (rc < 0) {
        return rc;
    }
    rc = download(net, snapshot, err);
    figure = (struct roof_figure){.elapsed_ns = wl_clock_ns() - begin_ns,
                                  .cpu_ns = wl_clock_cpu_ns() - begin_cpu_ns};
    if (rc == WLOAD_OK && is_loaded) {
        rc = load_downloaded(net, snapshot->path, &load, err);
    }
    if (rc == WLOAD_OK) {
        *out = load;
        out->download = figure;
        out->figure.elapsed_ns += figure.elapsed_ns;
        out->figure.cpu_ns += figure.cpu_ns;
        out->received_bytes = snapshot->received_bytes;
        out->file_bytes = snapshot->total_bytes;
    }
    wload_snapshot_free(snapshot);
    return rc;
}

/* To the last tensor without a stop between. */
static int load_first(const struct bench_net *net, const char *cache, struct bench_load *out,
                      struct wload_error *err)
{
    struct bench_settings first = *net->settings;
    struct bench_load load;
    int rc;

    first.snapshot.cache_dir = cache;
    first.snapshot.network = WLOAD_NETWORK_FIRST;
    rc = bench_load(&first, BENCH_FIRST, NULL, &load, err);
    if (rc == WLOAD_OK && load.stats.network_bytes < load.stats.tensor_bytes) {
        return wl_err_set(err, WLOAD_ERR_INTERNAL, "'%s' came from elsewhere than the hub",
                          first.spec);
    }
    if (rc == WLOAD_OK) {
        *out = load;
        out->figure.elapsed_ns = load.proven_ns;
        out->received_bytes = load.stats.network_bytes;
    }
    return rc;
}

int bench_net_load(struct bench_net *net, enum bench_target target, struct bench_load *out,
                   struct wload_error *err)
{
    char *cache = new_cache(net);
    int rc;

    if (!cache) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the path of a cache");
    }
    rc = target == BENCH_FIRST
             ? load_first(net, cache, out, err)
             : download_and_load(net, cache, target == BENCH_DOWNLOAD_LOAD, out, err);
    remove_tree(cache);
    free(cache);
    return judge(rc, err);
}

/* ---- Finding it ---------------------------------------------------------------------------------
 */

static int look(const struct bench_settings *settings, const char *spec, bool is_here,
                double *milliseconds, struct wload_error *err)
{
    struct wload_snapshot_options options = settings->snapshot;
    int64_t begin_ns = wl_clock_ns();
    struct wload_snapshot *snapshot;
    bool is_found;
    int rc;

    options.scope = WLOAD_SCOPE_LOAD;
    options.network = WLOAD_NETWORK_OFF;
    rc = wload_snapshot_open(settings->context, spec, &options, &snapshot, err);
    if (rc < 0) {
        return rc;
    }
    *milliseconds = (double)(wl_clock_ns() - begin_ns) / 1e6;
    is_found = snapshot->origin[0] != '\0' && snapshot->missing_count == 0;
    wload_snapshot_free(snapshot);
    return is_found == is_here ? WLOAD_OK
                               : wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "'%s' is%s on this machine",
                                            spec, is_found ? "" : " not");
}

int bench_resolve(const struct bench_settings *settings, uint64_t *random, struct bench_row *hit,
                  struct bench_row *miss, struct wload_error *err)
{
    uint32_t count = settings->run_count * LOOKS_PER_RUN;
    double *times = calloc(2 * (size_t)count, sizeof(*times));
    double *hits = times;
    double *misses = times + count;
    int rc = times ? WLOAD_OK : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u times", count);

    for (uint32_t i = 0; i < count && rc == WLOAD_OK; i++) {
        bool is_hit_first = bench_toss(random);

        for (int half = 0; half < 2 && rc == WLOAD_OK; half++) {
            rc = is_hit_first == (half == 0) ? look(settings, settings->spec, true, &hits[i], err)
                                             : look(settings, NOWHERE, false, &misses[i], err);
        }
    }
    if (rc == WLOAD_OK) {
        hit->milliseconds = bench_spread_of(hits, count);
        miss->milliseconds = bench_spread_of(misses, count);
        hit->look_count = count;
        miss->look_count = count;
    }
    free(times);
    return rc;
}
