/* SPDX-License-Identifier: Apache-2.0 */
/* The rows: what is loaded where, beside which roof, and from what state of the page cache. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "bench/bench.h"
#include "bench/interrupt.h"
#include "bench/procfs.h"
#include "bench/snapshot.h"
#include "bench/text.h"

#define CALIBRATION_BYTES_MAX (512ull << 20)
#define DEFAULT_CHUNK_BYTES   (8ull << 20)
#define STRAY_PART            100u /* one page in so many may be in the wrong state */
#define SPARE_BYTES           (256ull << 20)
#define NETWORK               "network"
#define DOWNLOAD_LOAD         "download+load"

struct kind {
    const char *name;
    enum bench_target target;
    enum roof_kind roof;
    bool is_warm;
    unsigned model_copies; /* in host memory at once, the page cache's included */
    bool is_of_named;      /* only of models that are named */
};

static const struct kind kinds[] = {
    {"sink cold", BENCH_SINK, ROOF_DIRECT, false, 0, false},
    {"sink warm", BENCH_SINK, ROOF_COPY_REUSED, true, 1, false},
    {"host cold", BENCH_HOST, ROOF_DIRECT_FRESH, false, 1, false},
    {"host warm fresh", BENCH_HOST, ROOF_COPY_FRESH, true, 2, false},
    {"host warm reused", BENCH_HOST_REUSED, ROOF_COPY_TOUCHED, true, 3, false},
    {"device cold", BENCH_DEVICE, ROOF_DIRECT, false, 0, false},
    {"device warm", BENCH_DEVICE, ROOF_COPY_REUSED, true, 1, false},
    {NETWORK, BENCH_DOWNLOAD, ROOF_DIRECT, false, 1, true},
    {DOWNLOAD_LOAD, BENCH_DOWNLOAD_LOAD, ROOF_DIRECT, false, 1, true},
    {"first", BENCH_FIRST, ROOF_DIRECT, false, 1, true},
    {"cache", BENCH_SINK, ROOF_COPY_REUSED, true, 1, true},
};

_Static_assert(WL_COUNT_OF(kinds) + 2 <= BENCH_ROWS_MAX, "room for all rows, with the two looks");

static bool is_from_network(const struct kind *kind)
{
    return kind->target == BENCH_DOWNLOAD || kind->target == BENCH_DOWNLOAD_LOAD ||
           kind->target == BENCH_FIRST;
}

/* What a row needs while it is measured. */
struct run {
    const struct kind *kind;
    struct bench_report *report;
    struct bench_row *row;
    struct wload_arena *arena;
    struct roof_bus *bus;
    struct bench_net *net;
    uint64_t random;
};

/* xorshift64*: good enough to shuffle pairs, and the same everywhere. */
bool bench_toss(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * 2685821657736338717ull) >> 63;
}

/* ---- The page cache --------------------------------------------------------- */

/* WLOAD_ERR_UNSUPPORTED: the cache cannot be brought into that state here. */
static int set_cold(struct run *run, int64_t *resident, struct wload_error *err)
{
    const struct roof_plan *plan = &run->report->roof.plan;
    int64_t stray_max = (int64_t)(plan->read_bytes / STRAY_PART);

    roof_plan_evict(plan);
    *resident = roof_plan_resident(plan);
    if (*resident > stray_max) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED,
                          "%" PRId64 " of %" PRIu64 " bytes stay in memory when they are evicted",
                          *resident, plan->read_bytes);
    }
    return WLOAD_OK;
}

static int set_warm(struct run *run, int64_t *resident, struct wload_error *err)
{
    struct roof *roof = &run->report->roof;
    int64_t enough =
        (int64_t)(run->report->model.tensor_bytes - run->report->model.tensor_bytes / STRAY_PART);
    struct roof_figure ignored;
    int rc;

    *resident = roof_plan_resident(&roof->plan);
    if (*resident >= enough) {
        return WLOAD_OK;
    }
    rc = roof_measure(roof, ROOF_COPY_REUSED, &ignored, err);
    if (rc < 0) {
        return rc;
    }
    *resident = roof_plan_resident(&roof->plan);
    if (*resident >= 0 && *resident < enough) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED,
                          "only %" PRId64 " of %" PRIu64 " bytes stay in the page cache", *resident,
                          roof->plan.read_bytes);
    }
    return WLOAD_OK;
}

static int set_cache(struct run *run, int64_t *resident, struct wload_error *err)
{
    int rc = run->kind->is_warm ? set_warm(run, resident, err) : set_cold(run, resident, err);

    if (rc == WLOAD_OK && *resident < 0) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "the page cache cannot be asked: %s",
                          strerror((int)-*resident));
    }
    return rc;
}

/* ---- One pair ----------------------------------------------------------------- */

static int measure_load(struct run *run, struct bench_pair *pair, struct wload_error *err)
{
    int rc;

    if (run->net) {
        return bench_net_load(run->net, run->kind->target, &pair->load, err);
    }
    rc = set_cache(run, &pair->load_resident_before, err);
    if (rc < 0) {
        return rc;
    }
    rc = bench_load(&run->report->settings, run->kind->target, run->arena, &pair->load, err);
    pair->load_resident_after = roof_plan_resident(&run->report->roof.plan);
    return rc;
}

/* The slower of storage and bus: a load does both at once. */
static int measure_roof(struct run *run, struct bench_pair *pair, struct wload_error *err)
{
    struct roof_figure bus;
    int rc;

    if (run->net) {
        return bench_net_roof(run->net, &pair->roof, err);
    }
    rc = set_cache(run, &pair->roof_resident_before, err);
    if (rc == WLOAD_OK) {
        rc = roof_measure(&run->report->roof, run->kind->roof, &pair->roof, err);
    }
    if (rc < 0 || !run->bus) {
        return rc;
    }
    rc = roof_bus_measure(run->bus, run->report->model.tensor_bytes, &bus, err);
    if (rc < 0) {
        return rc;
    }
    pair->bus_ns = bus.elapsed_ns;
    if (bus.elapsed_ns > pair->roof.elapsed_ns) {
        pair->roof.elapsed_ns = bus.elapsed_ns;
    }
    return WLOAD_OK;
}

static int measure_pair(struct run *run, struct bench_pair *pair, struct wload_error *err)
{
    int rc;

    pair->is_load_first = bench_toss(&run->random);
    rc = pair->is_load_first ? measure_load(run, pair, err) : measure_roof(run, pair, err);
    if (rc < 0) {
        return rc;
    }
    return pair->is_load_first ? measure_roof(run, pair, err) : measure_load(run, pair, err);
}

/* ---- One row ------------------------------------------------------------------ */

static void show_progress(const struct run *run, uint32_t pair)
{
    if (!run->report->settings.is_quiet) {
        (void)fprintf(stderr, "\r\033[K%s: pair %u of %u", run->row->name, pair + 1,
                      run->report->settings.run_count);
    }
}

static void name_roof(const struct run *run)
{
    if (run->net) {
        (void)snprintf(run->row->roof_name, BENCH_TEXT_BYTES, "plain GETs by %u connections",
                       run->report->settings.connection_count);
    } else {
        (void)snprintf(run->row->roof_name, BENCH_TEXT_BYTES, "%s",
                       roof_name(&run->report->roof, run->kind->roof));
    }
}

static int measure_pairs(struct run *run, struct wload_error *err)
{
    uint32_t count = run->report->settings.run_count;

    run->row->pairs = calloc(count, sizeof(*run->row->pairs));
    if (!run->row->pairs) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u runs", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        int rc;

        show_progress(run, i);
        rc = measure_pair(run, &run->row->pairs[i], err);
        if (rc < 0) {
            return rc;
        }
    }
    run->row->pair_count = count;
    name_roof(run);
    return bench_row_sum_up(run->row, run->report->model.tensor_bytes, err);
}

/* The memory that later loads find touched: one load, not measured. */
static int open_arena(struct run *run, struct wload_error *err)
{
    struct bench_load ignored;
    int rc = wload_arena_new(run->report->settings.context, WLOAD_DEVICE_HOST, 0, &run->arena, err);

    return rc < 0
               ? rc
               : bench_load(&run->report->settings, BENCH_HOST_REUSED, run->arena, &ignored, err);
}

static int measure_row(struct run *run, struct wload_error *err)
{
    int rc = WLOAD_OK;

    if (run->kind->target == BENCH_HOST_REUSED) {
        rc = open_arena(run, err);
    } else if (run->kind->target == BENCH_DEVICE) {
        rc = roof_bus_open(run->report->settings.device_kind, run->report->settings.device_index,
                           &run->bus, err);
        run->row->has_bus = rc == WLOAD_OK;
    } else if (is_from_network(run->kind)) {
        rc = bench_net_open(&run->report->settings, &run->net, err);
        run->row->has_network = rc == WLOAD_OK;
        run->row->is_download = run->kind->target == BENCH_DOWNLOAD;
    }
    if (rc == WLOAD_OK) {
        rc = measure_pairs(run, err);
    }
    wload_arena_free(run->arena);
    roof_bus_close(run->bus);
    bench_net_close(run->net);
    roof_rest(&run->report->roof);
    return rc;
}

/* ---- Which rows ------------------------------------------------------------------ */

/* UINT64_MAX where the kernel does not say. */
static uint64_t available_bytes(void)
{
    uint64_t kib = 0;

    return procfs_number("/proc/meminfo", "MemAvailable", &kib) ? kib << 10 : UINT64_MAX;
}

/* Whether the row can be measured here; if not, row->absent says why. */
static bool is_possible(const struct run *run)
{
    const struct bench_report *report = run->report;
    uint64_t need_bytes = run->kind->model_copies * report->roof.plan.read_bytes + SPARE_BYTES;
    uint64_t have_bytes = available_bytes();
    char *absent = run->row->absent;
    char need[TEXT_SIZE_BYTES], have[TEXT_SIZE_BYTES];
    const char *where = "memory";

    if (run->kind->target == BENCH_DEVICE && report->device.kind == 0) {
        (void)snprintf(absent, BENCH_TEXT_BYTES, "%s", report->device_absent);
        return false;
    }
    if (need_bytes <= have_bytes && run->kind->target == BENCH_DEVICE &&
        report->device.memory_free_bytes > 0) {
        need_bytes = report->model.tensor_bytes + SPARE_BYTES;
        have_bytes = report->device.memory_free_bytes;
        where = "device memory";
    }
    if (need_bytes > have_bytes) {
        (void)snprintf(absent, BENCH_TEXT_BYTES, "needs %s of %s, %s are free",
                       text_size(need_bytes, need), where, text_size(have_bytes, have));
        return false;
    }
    return true;
}

static int add_row(struct run *run, struct wload_error *err)
{
    struct wload_error row_err = {0};
    int rc;

    if (!is_possible(run)) {
        return WLOAD_OK;
    }
    rc = measure_row(run, &row_err);
    if (rc == WLOAD_ERR_UNSUPPORTED) {
        (void)snprintf(run->row->absent, BENCH_TEXT_BYTES, "%s", row_err.message);
        return WLOAD_OK;
    }
    if (rc < 0 && err) {
        *err = row_err;
    }
    return rc;
}

/* The GPU of the device rows, or why there is none. */
static int find_device(struct bench_report *report, struct wload_error *err)
{
    struct bench_settings *settings = &report->settings;
    struct wload_device_info info = {.struct_size = sizeof(info)};
    struct wload_error why = {0};
    int rc;

    if (settings->device_kind == WLOAD_DEVICE_HOST) {
        (void)snprintf(report->device_absent, BENCH_TEXT_BYTES, "not asked for");
        return WLOAD_OK;
    }
    if (settings->device_kind != WLOAD_DEVICE_AUTO) {
        rc = wload_device_describe((enum wload_device_kind)settings->device_kind,
                                   settings->device_index, &info, err);
        report->device = info;
        return rc;
    }
    for (uint32_t kind = WLOAD_DEVICE_CUDA; kind <= WLOAD_DEVICE_HIP; kind++) {
        size_t used = strlen(report->device_absent);

        if (wload_device_describe((enum wload_device_kind)kind, 0, &info, &why) == WLOAD_OK) {
            report->device = info;
            settings->device_kind = kind;
            return WLOAD_OK;
        }
        (void)snprintf(report->device_absent + used, BENCH_TEXT_BYTES - used, "%s%s",
                       used > 0 ? "; " : "no GPU: ", why.message);
    }
    return WLOAD_OK;
}

/* Find the model; one that is named is downloaded if it is not here. */
static int bring_model(struct bench_report *report, struct wload_error *err)
{
    const struct bench_settings *settings = &report->settings;
    struct wload_snapshot_options options = settings->snapshot;
    struct wload_snapshot *snapshot;
    const struct wload_fetch_options fetch = {.connection_count = settings->connection_count};
    int rc;

    options.scope = WLOAD_SCOPE_LOAD;
    rc = wload_snapshot_open(settings->context, settings->spec, &options, &snapshot, err);
    if (rc < 0) {
        return rc;
    }
    report->is_named = snapshot->repo[0] != '\0';
    if (snapshot->missing_count > 0) {
        rc = snapshot_fetch(snapshot, settings->spec, &fetch, err);
    }
    if (rc == WLOAD_OK) {
        interrupt_end();
    }
    wload_snapshot_free(snapshot);
    return rc;
}

/* Open the model for its files. */
static int open_roof(struct bench_report *report, struct wload_error *err)
{
    const struct bench_settings *settings = &report->settings;
    uint64_t chunk_bytes =
        settings->job.chunk_bytes > 0 ? settings->job.chunk_bytes : DEFAULT_CHUNK_BYTES;
    struct wload_model *model;
    const struct wload_model_options options = {
        .struct_size = sizeof(options),
        .variant = settings->snapshot.variant,
        .snapshot = &settings->snapshot,
    };
    int rc = wload_model_open(settings->context, settings->spec, &options, &model, err);

    if (rc < 0) {
        return rc;
    }
    report->model = *wload_model_info(model);
    rc = report->model.tensor_bytes > 0
             ? roof_open(model, chunk_bytes, &report->roof, err)
             : wl_err_set(err, WLOAD_ERR_INVALID, "'%s' has no bytes to measure", settings->spec);
    wload_model_free(model);
    return rc;
}

/* Load once from the page cache: what the ring uses, the roof gets. */
static int fit_roof(struct bench_report *report, struct wload_error *err)
{
    struct roof_figure ignored;
    struct bench_load load;
    int rc = roof_measure(&report->roof, ROOF_COPY_REUSED, &ignored, err);

    if (rc == WLOAD_OK) {
        rc = bench_load(&report->settings, BENCH_SINK, NULL, &load, err);
    }
    if (rc == WLOAD_OK) {
        roof_resize_ring(&report->roof, load.stats.staging_bytes);
    }
    return rc;
}

static bool is_wanted(const struct bench_report *report, const char *name)
{
    const char *const *only = report->settings.only;

    while (only && *only && !wl_str_glob(*only, name)) {
        only++;
    }
    return !only || *only;
}

static bool has_row(const struct bench_report *report, const struct kind *kind)
{
    return is_wanted(report, kind->name) && (report->is_named || !kind->is_of_named);
}

static int calibrate(struct bench_report *report, struct wload_error *err)
{
    for (size_t i = 0; i < WL_COUNT_OF(kinds); i++) {
        if (has_row(report, &kinds[i]) && !is_from_network(&kinds[i]) && !kinds[i].is_warm) {
            return roof_calibrate(&report->roof, CALIBRATION_BYTES_MAX, err);
        }
    }
    return WLOAD_OK;
}

/* `download+load` begins with what `network` measures: of both, only that is measured. */
static bool is_part_of_other(const struct bench_report *report, const struct kind *kind)
{
    return kind->target == BENCH_DOWNLOAD && is_wanted(report, DOWNLOAD_LOAD);
}

static struct bench_row *find_row(struct bench_report *report, const char *name)
{
    for (uint32_t i = 0; i < report->row_count; i++) {
        if (strcmp(report->rows[i].name, name) == 0) {
            return &report->rows[i];
        }
    }
    return NULL;
}

static int split_downloads(struct bench_report *report, struct wload_error *err)
{
    struct bench_row *network = find_row(report, NETWORK);
    const struct bench_row *both = find_row(report, DOWNLOAD_LOAD);

    return network && both ? bench_row_split_download(both, network, err) : WLOAD_OK;
}

/* Two rows that are measured together; each is shown if it is wanted. */
static int add_looks(struct bench_report *report, uint64_t *random, struct wload_error *err)
{
    struct bench_row rows[] = {{.name = "resolve hit"}, {.name = "resolve miss"}};
    struct wload_error why = {0};
    int rc;

    if (!report->is_named ||
        (!is_wanted(report, rows[0].name) && !is_wanted(report, rows[1].name))) {
        return WLOAD_OK;
    }
    rc = bench_resolve(&report->settings, random, &rows[0], &rows[1], &why);
    if (rc < 0 && rc != WLOAD_ERR_UNSUPPORTED) {
        *err = why;
        return rc;
    }
    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        (void)snprintf(rows[i].absent, BENCH_TEXT_BYTES, "%s", why.message);
        if (is_wanted(report, rows[i].name)) {
            report->rows[report->row_count++] = rows[i];
        }
    }
    return WLOAD_OK;
}

int bench_run(const struct bench_settings *settings, struct bench_report *out,
              struct wload_error *err)
{
    uint64_t random = settings->seed * 2 + 1; /* never 0, where xorshift stays */
    int rc;

    *out = (struct bench_report){.settings = *settings};
    rc = find_device(out, err);
    if (rc == WLOAD_OK) {
        rc = bring_model(out, err);
    }
    if (rc == WLOAD_OK) {
        rc = open_roof(out, err);
    }
    if (rc == WLOAD_OK) {
        rc = fit_roof(out, err);
    }
    if (rc == WLOAD_OK) {
        rc = calibrate(out, err);
    }
    for (size_t i = 0; i < WL_COUNT_OF(kinds) && rc == WLOAD_OK; i++) {
        struct run run = {.kind = &kinds[i], .report = out, .random = random};

        if (has_row(out, &kinds[i])) {
            run.row = &out->rows[out->row_count++];
            run.row->name = kinds[i].name;
            rc = is_part_of_other(out, &kinds[i]) ? WLOAD_OK : add_row(&run, err);
            random = run.random;
        }
    }
    if (rc == WLOAD_OK) {
        rc = split_downloads(out, err);
    }
    if (rc == WLOAD_OK) {
        rc = add_looks(out, &random, err);
    }
    if (!settings->is_quiet) {
        (void)fputs("\r\033[K", stderr);
    }
    return rc;
}

void bench_report_clear(struct bench_report *report)
{
    for (uint32_t i = 0; i < report->row_count; i++) {
        free(report->rows[i].pairs);
    }
    roof_close(&report->roof);
}
