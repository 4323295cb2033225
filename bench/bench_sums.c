/* SPDX-License-Identifier: Apache-2.0 */
/* From pairs to a row's figures: medians, and of the ratios also the extremes. */
#include <stdlib.h>

#include "base/base.h"
#include "base/err.h"
#include "bench/bench.h"

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

struct bench_spread bench_spread_of(double *values, uint32_t count)
{
    qsort(values, count, sizeof(*values), compare_doubles);
    return (struct bench_spread){
        .median = (values[(count - 1) / 2] + values[count / 2]) / 2,
        .min = values[0],
        .max = values[count - 1],
    };
}

enum measure {
    MEASURE_PERCENT,
    MEASURE_LOAD,
    MEASURE_ROOF,
    MEASURE_LOAD_CPU,
    MEASURE_ROOF_CPU
};

static double value_of(const struct bench_pair *pair, enum measure measure, double bytes)
{
    switch (measure) {
    case MEASURE_PERCENT:
        return 100.0 * (double)pair->roof.elapsed_ns / (double)pair->load.figure.elapsed_ns;
    case MEASURE_LOAD:
        return bytes / (double)pair->load.figure.elapsed_ns;
    case MEASURE_ROOF:
        return bytes / (double)pair->roof.elapsed_ns;
    case MEASURE_LOAD_CPU:
        return (double)pair->load.figure.cpu_ns / bytes;
    case MEASURE_ROOF_CPU:
        return (double)pair->roof.cpu_ns / bytes;
    }
    return 0;
}

int bench_row_sum_up(struct bench_row *row, uint64_t tensor_bytes, struct wload_error *err)
{
    struct bench_spread spreads[MEASURE_ROOF_CPU + 1];
    double *values = calloc(row->pair_count, sizeof(*values));

    if (!values) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u runs", row->pair_count);
    }
    row->bytes = row->is_download ? row->pairs[0].load.file_bytes : tensor_bytes;
    for (unsigned m = 0; m < WL_COUNT_OF(spreads); m++) {
        for (uint32_t i = 0; i < row->pair_count; i++) {
            values[i] = value_of(&row->pairs[i], (enum measure)m, (double)row->bytes);
        }
        spreads[m] = bench_spread_of(values, row->pair_count);
    }
    row->percent = spreads[MEASURE_PERCENT];
    row->gb_per_s = spreads[MEASURE_LOAD].median;
    row->roof_gb_per_s = spreads[MEASURE_ROOF].median;
    row->cpu_seconds_per_gb = spreads[MEASURE_LOAD_CPU].median;
    row->roof_cpu_seconds_per_gb = spreads[MEASURE_ROOF_CPU].median;
    free(values);
    return WLOAD_OK;
}

int bench_row_split_download(const struct bench_row *both, struct bench_row *out,
                             struct wload_error *err)
{
    const char *name = out->name;

    *out = *both;
    out->name = name;
    out->pairs = NULL;
    out->is_download = true;
    if (both->pair_count == 0) {
        return WLOAD_OK;
    }
    out->pairs = calloc(both->pair_count, sizeof(*out->pairs));
    if (!out->pairs) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u runs", both->pair_count);
    }
    for (uint32_t i = 0; i < both->pair_count; i++) {
        const struct bench_load *load = &both->pairs[i].load;

        out->pairs[i] = both->pairs[i];
        out->pairs[i].load = (struct bench_load){.figure = load->download,
                                                 .download = load->download,
                                                 .received_bytes = load->received_bytes,
                                                 .file_bytes = load->file_bytes};
    }
    return bench_row_sum_up(out, 0, err);
}
