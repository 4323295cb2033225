/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wload load`: a request is carried out, once or several times, and reported.
 *
 *   command line --> request --load_run()--> result --load_report()--> stdout
 */
#ifndef WLOAD_LOAD_H
#define WLOAD_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/digests.h"
#include "wload.h"

struct load_request {
    const char *spec;
    const char *trace_path; /* NULL: no trace */
    struct wload_context *context;
    struct wload_snapshot_options snapshot; /* the variant, and where a model that is named is */
    struct wload_fetch_options fetch;       /* how what is not on this machine comes */
    struct wload_job_options job;           /* all but the destination */
    bool is_sink;                           /* --device null */
    bool has_digests;
    bool drops_cache;
    bool is_json;
    size_t run_count;
};

struct load_times {
    double seconds;
    double cpu_seconds;
};

/* Of the first run, but for `times` and `landed`: those of all and of the last. */
struct load_result {
    struct wload_stats stats; /* its notes have died with the job; these are copies: */
    char *reader_note;
    char *io_note;
    char *cache_note;
    struct load_times *times;
    size_t run_count;
    uint64_t peak_rss_bytes;
    struct wload_model *model;
    struct wload_arena *arena; /* NULL: a sink */
    struct landed *landed;     /* one per tensor of the model; NULL: no digests asked for */
};

/* Call load_clear() in any case, and interrupt_end() once a failure has been reported. */
int load_run(const struct load_request *request, struct load_result *result,
             struct wload_error *err);
void load_clear(struct load_result *result);

/* Returns enum command_exit. */
int load_report(const struct load_request *request, const struct load_result *result);

#endif /* WLOAD_LOAD_H */
