/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark: rows of pairs, a load and its roof a few seconds apart, in random order.
 *
 *   bench_run() --> struct bench_report --> bench_put_table() or bench_json()
 *
 * A load counts from wload_model_open() to the last tensor landed.  Before each half of a pair
 * the files' pages are evicted (cold) or made resident (warm), and what the page cache then holds
 * is written down.  The figure of a row is the median of its pairs' ratios.
 *
 * A model that is named has more rows: downloaded into an empty cache, every file verified
 * (network); the same and then loaded from there (download+load); both in one pass, to the last
 * hash (first); loaded from the cache (cache); and how long finding it takes, and not finding one
 * (resolve).  Where both are wanted, one download is measured for network and download+load.
 */
#ifndef WLOAD_BENCH_H
#define WLOAD_BENCH_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/roof.h"
#include "wload.h"

#define BENCH_TEXT_BYTES 512 /* an error message fits */

enum bench_target {
    BENCH_SINK,          /* chunks, released at once */
    BENCH_HOST,          /* fresh host memory */
    BENCH_HOST_REUSED,   /* the memory of an earlier load */
    BENCH_DEVICE,        /* memory of a GPU */
    BENCH_DOWNLOAD,      /* a cache */
    BENCH_DOWNLOAD_LOAD, /* a cache, and from there a sink */
    BENCH_FIRST          /* a cache and a sink at once */
};

struct bench_settings {
    const char *spec;
    struct wload_snapshot_options snapshot; /* the variant, and where a named model is */
    const char *const *only;                /* globs of row names, then NULL; NULL: all rows */
    struct wload_context *context;
    struct wload_job_options job; /* reader, io, chunk, staging and queue depth */
    uint32_t device_kind;         /* WLOAD_DEVICE_HOST: no device rows */
    uint32_t device_index;
    uint32_t connection_count; /* of a download */
    uint32_t run_count;
    uint64_t seed;
    bool is_quiet; /* no progress */
};

/* One load, as measured; or a download, of which stats and notes are empty. */
struct bench_load {
    struct roof_figure figure;
    struct roof_figure download; /* what of it came before the load; elapsed_ns 0: nothing */
    struct wload_stats stats;
    char reader_note[BENCH_TEXT_BYTES];
    char io_note[BENCH_TEXT_BYTES];
    int64_t proven_ns; /* from the beginning to the end of wload_job_run(), hashes compared */
    uint64_t received_bytes;
    uint64_t file_bytes; /* downloaded before the load, without what was thrown away */
};

struct bench_pair {
    struct bench_load load;
    struct roof_figure roof; /* the slower of storage and bus */
    int64_t bus_ns;          /* 0: no bus in this row */
    int64_t load_resident_before;
    int64_t load_resident_after;
    int64_t roof_resident_before;
    bool is_load_first;
};

struct bench_spread {
    double median;
    double min;
    double max;
};

struct bench_row {
    const char *name;
    char roof_name[BENCH_TEXT_BYTES];
    char absent[BENCH_TEXT_BYTES]; /* why nothing was measured; empty: something was */
    struct bench_pair *pairs;      /* of these or of looks there are some; or it is absent */
    uint32_t pair_count;
    uint32_t look_count;
    struct bench_spread milliseconds; /* of a look */
    bool has_bus;
    bool has_network;
    bool is_download; /* and no load */
    uint64_t bytes;   /* that GB are counted of: the tensors', of a download the files' */
    struct bench_spread percent; /* of roof */
    double gb_per_s;             /* medians */
    double roof_gb_per_s;
    double cpu_seconds_per_gb;
    double roof_cpu_seconds_per_gb;
};

#define BENCH_ROWS_MAX 16

struct bench_report {
    struct bench_settings settings; /* the device as found */
    struct wload_model_info model;
    bool is_named; /* the model, not its path */
    struct roof roof;
    struct wload_device_info device; /* kind 0: no GPU */
    char device_absent[BENCH_TEXT_BYTES];
    struct bench_row rows[BENCH_ROWS_MAX];
    uint32_t row_count;
};

/* Clear the report in both cases. */
int bench_run(const struct bench_settings *settings, struct bench_report *out,
              struct wload_error *err);
void bench_report_clear(struct bench_report *report);

/* One load into the target; `arena` is for BENCH_HOST_REUSED.  The memory is gone on return. */
int bench_load(const struct bench_settings *settings, enum bench_target target,
               struct wload_arena *arena, struct bench_load *out, struct wload_error *err);

/* What the rows need that download.  WLOAD_ERR_UNSUPPORTED of all of these: there can be no such
 * row here; err says why. */
struct bench_net;

int bench_net_open(const struct bench_settings *settings, struct bench_net **out,
                   struct wload_error *err);
void bench_net_close(struct bench_net *net);
/* Through a fresh cache: BENCH_DOWNLOAD, BENCH_DOWNLOAD_LOAD or BENCH_FIRST. */
int bench_net_load(struct bench_net *net, enum bench_target target, struct bench_load *out,
                   struct wload_error *err);
/* Plain GETs of the files that BENCH_DOWNLOAD downloads. */
int bench_net_roof(struct bench_net *net, struct roof_figure *out, struct wload_error *err);

/* Look for the model, which is here, and for one that is not, in turn; fill in both rows' times. */
int bench_resolve(const struct bench_settings *settings, uint64_t *random, struct bench_row *hit,
                  struct bench_row *miss, struct wload_error *err);

/* Which comes first.  Moves *random on; it must not be 0. */
bool bench_toss(uint64_t *random);

/* Sorts the values, of which there is at least one. */
struct bench_spread bench_spread_of(double *values, uint32_t count);

/* Fill in a row's medians from its pairs. */
int bench_row_sum_up(struct bench_row *row, uint64_t tensor_bytes, struct wload_error *err);

/* Make `out`, which has a name, the row of the downloads alone of a measured or absent row. */
int bench_row_split_download(const struct bench_row *both, struct bench_row *out,
                             struct wload_error *err);

void bench_put_table(FILE *out, const struct bench_report *report);
cJSON *bench_json(const struct bench_report *report); /* NULL: no memory */

#endif /* WLOAD_BENCH_H */
