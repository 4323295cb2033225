/* SPDX-License-Identifier: Apache-2.0 */
/* wload bench: how fast this machine loads a model, in percent of what it could at most. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "bench/bench.h"
#include "bench/command.h"
#include "bench/interrupt.h"
#include "bench/options.h"
#include "bench/snapshot.h"
#include "bench/text.h"

#define DEFAULT_RUNS        7
#define RUNS_MAX            10000
#define DEFAULT_CONNECTIONS 16

/* As given, all text. */
struct words {
    char *runs, *json, *device, *reader, *io, *chunk, *staging, *queue_depth, *seed;
    char *connections;
    char **only;
    struct snapshot_words snapshot;
    int verbosity;
};

static int refuse(const char *option, const char *value, const char *why)
{
    return options_refuse("bench", option, value, why);
}

static int take_sizes(const struct words *words, struct wload_job_options *job)
{
    uint64_t depth = 0;

    if (words->chunk &&
        (!options_size(words->chunk, &job->chunk_bytes) || !wl_is_pow2(job->chunk_bytes) ||
         job->chunk_bytes < WL_CHUNK_BYTES_MIN || job->chunk_bytes > WL_CHUNK_BYTES_MAX)) {
        return refuse("--chunk", words->chunk, "not a power of two from 64K to 1G");
    }
    if (words->staging && !options_size(words->staging, &job->staging_bytes)) {
        return refuse("--staging", words->staging, "not a size");
    }
    if (words->queue_depth && !options_whole(words->queue_depth, UINT32_MAX, &depth)) {
        return refuse("--queue-depth", words->queue_depth, "not a number");
    }
    job->queue_depth = (uint32_t)depth;
    return 0;
}

/* Returns 0 or COMMAND_USAGE. */
static int take(const struct words *words, struct bench_settings *settings)
{
    uint64_t runs = DEFAULT_RUNS;

    if (words->runs && (!options_whole(words->runs, RUNS_MAX, &runs) || runs == 0)) {
        return refuse("--runs", words->runs, "not a number from 1 to 10000");
    }
    if (words->seed && !options_whole(words->seed, UINT32_MAX, &settings->seed)) {
        return refuse("--seed", words->seed, "not a number");
    }
    if (words->device &&
        !options_device(words->device, &settings->device_kind, &settings->device_index, NULL)) {
        return refuse("--device", words->device, "not auto, host, cuda[:N] or hip[:N]");
    }
    if (words->reader && !options_reader(words->reader, &settings->job.reader_kind)) {
        return refuse("--reader", words->reader, "not auto, uring or pread");
    }
    if (words->io && !options_io(words->io, &settings->job.io_policy)) {
        return refuse("--io", words->io, "not auto, direct or buffered");
    }
    settings->connection_count = DEFAULT_CONNECTIONS;
    if (words->connections &&
        !options_connections(words->connections, &settings->connection_count)) {
        return refuse("--max-workers", words->connections, "not a number from 1 to 256");
    }
    settings->run_count = (uint32_t)runs;
    settings->only = (const char *const *)words->only;
    return take_sizes(words, &settings->job);
}

/* The table, and the JSON in a file; or, with "-", the JSON alone. */
static int put(const struct bench_report *report, const char *json_path)
{
    cJSON *json = json_path ? bench_json(report) : NULL;
    FILE *file;
    char *text;
    int written;

    if (json && strcmp(json_path, "-") == 0) {
        return text_put_json(json);
    }
    bench_put_table(stdout, report);
    if (!json_path) {
        return text_finish();
    }
    text = cJSON_Print(json);
    cJSON_Delete(json);
    file = text ? fopen(json_path, "we") : NULL;
    written = file ? fprintf(file, "%s\n", text) : -1;
    cJSON_free(text);
    if ((file && fclose(file) != 0) || written < 0) {
        (void)text_finish();
        return text_fail_plainly("cannot write '%s': %s", json_path, strerror(errno));
    }
    return text_finish();
}

static int run_bench(struct bench_settings *settings, const struct words *words)
{
    struct bench_report report = {0};
    struct wload_error err = {0};
    int rc;

    if (words->json && strcmp(words->json, "-") != 0 &&
        text_check_file(words->json) != COMMAND_DONE) {
        return COMMAND_FAILED;
    }
    settings->context = options_context(words->verbosity, 0);
    if (!settings->context) {
        return COMMAND_FAILED;
    }
    settings->is_quiet = !isatty(STDERR_FILENO);
    if (bench_run(settings, &report, &err) < 0) {
        rc = text_fail(&err);
    } else if (report.row_count == 0) {
        rc = refuse("--only", words->only[0], "no such row");
    } else {
        rc = put(&report, words->json);
    }
    bench_report_clear(&report);
    wload_context_free(settings->context);
    interrupt_end();
    return rc;
}

static int run(int argc, const char **argv)
{
    struct words words = {0};
    const struct poptOption table[] = {
        {"runs", 'n', POPT_ARG_STRING, &words.runs, 0, "Pairs of load and roof per row (7)", "N"},
        {"json", 0, POPT_ARG_STRING, &words.json, 0,
         "Write everything to FILE; '-': to standard output, without the table", "FILE"},
        {"device", 0, POPT_ARG_STRING, &words.device, 0,
         "The device rows' GPU (auto: the first); host: no device rows",
         "auto|host|cuda[:N]|hip[:N]"},
        {"reader", 0, POPT_ARG_STRING, &words.reader, 0, "How to read", "auto|uring|pread"},
        {"io", 0, POPT_ARG_STRING, &words.io, 0, "Through the page cache or not",
         "auto|direct|buffered"},
        {"chunk", 0, POPT_ARG_STRING, &words.chunk, 0, "Bytes of one read (8M)", "SIZE"},
        {"staging", 0, POPT_ARG_STRING, &words.staging, 0, "Bytes of the ring at most (256M)",
         "SIZE"},
        {"queue-depth", 0, POPT_ARG_STRING, &words.queue_depth, 0, "Reads in flight (8)", "N"},
        SNAPSHOT_VARIANT(&words.snapshot),
        SNAPSHOT_REVISION(&words.snapshot),
        SNAPSHOT_SUBFOLDER(&words.snapshot),
        SNAPSHOT_CACHE_DIR(&words.snapshot),
        SNAPSHOT_TOKEN(&words.snapshot),
        SNAPSHOT_OFFLINE(&words.snapshot),
        {"max-workers", 0, POPT_ARG_STRING, &words.connections, 0, "Connections of a download; 16",
         "N"},
        {"only", 0, POPT_ARG_ARGV, &words.only, 0,
         "The rows whose name matches, as 'host*'; may be given again", "GLOB"},
        {"seed", 0, POPT_ARG_STRING, &words.seed, 0, "Of the order within pairs", "N"},
        {"verbose", 'v', POPT_ARG_NONE, &words.verbosity, 0,
         "Say what is decided; twice: each step", NULL},
        POPT_TABLEEND,
    };
    struct bench_settings settings = {0};
    struct options options;
    int rc = options_parse(&options, argc, argv, table, "[OPTION...] SPEC", 1, 1);

    if (rc == 0) {
        rc = take(&words, &settings);
    }
    if (rc == 0) {
        rc = snapshot_read_words("bench", &words.snapshot, WLOAD_NETWORK_AUTO, &settings.snapshot);
    }
    if (rc == 0) {
        settings.spec = options.operands[0];
        rc = run_bench(&settings, &words);
    }
    options_clear(&options);
    return rc;
}

const struct command command_bench = {
    .name = "bench",
    .summary = "Measure loads in percent of this machine's roof",
    .run = run,
};
