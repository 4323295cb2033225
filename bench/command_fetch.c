/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "bench/command.h"
#include "bench/interrupt.h"
#include "bench/options.h"
#include "bench/snapshot.h"
#include "bench/text.h"

struct request {
    struct wload_context *context;
    struct wload_snapshot_options snapshot;
    struct wload_fetch_options fetch;
    cJSON *json; /* the array of snapshots; NULL: for people */
    bool is_dry;
    bool is_verbose;
};

struct outcome {
    uint32_t new_count; /* files that a fetch was to bring; another process may have */
    double seconds;
};

/* In one line, and among the snapshots.  Returns COMMAND_FAILED. */
static int fail(const struct request *request, const char *spec, const struct wload_error *err)
{
    if (request->json) {
        cJSON *json = cJSON_CreateObject();

        text_add_string(json, "spec", spec);
        text_add_string(json, "status", wload_strerror(err->code));
        text_add_string(json, "error", err->message);
        (void)cJSON_AddItemToArray(request->json, json);
    }
    return text_fail(err);
}

static double per_second(const struct wload_snapshot *snapshot, const struct outcome *outcome)
{
    return outcome->seconds > 0 ? (double)snapshot->received_bytes / outcome->seconds : 0;
}

static void report_json(const struct request *request, const char *spec,
                        const struct wload_snapshot *snapshot, const struct outcome *outcome)
{
    cJSON *json = snapshot_json(spec, snapshot);

    (void)cJSON_AddNumberToObject(json, "received_bytes", (double)snapshot->received_bytes);
    (void)cJSON_AddNumberToObject(json, "new_files", outcome->new_count);
    (void)cJSON_AddNumberToObject(json, "seconds", outcome->seconds);
    (void)cJSON_AddNumberToObject(json, "gb_per_s", per_second(snapshot, outcome) / 1e9);
    (void)cJSON_AddItemToArray(request->json, json);
}

/* For people: "org/model: 4 files, 1.00 GiB; 2 new, 512.00 MiB received in 1.024 s, 524.3 MB/s". */
static void put_summary(const char *spec, const struct wload_snapshot *snapshot,
                        const struct outcome *outcome)
{
    char total[TEXT_SIZE_BYTES];
    char received[TEXT_SIZE_BYTES];
    char speed[TEXT_SIZE_BYTES];

    text_put_escaped(stderr, spec);
    (void)fprintf(stderr, ": %" PRIu32 " files, %s; %" PRIu32 " new, %s received in %.3f s",
                  snapshot->file_count, text_size(snapshot->total_bytes, total), outcome->new_count,
                  text_size(snapshot->received_bytes, received), outcome->seconds);
    if (snapshot->received_bytes > 0) {
        (void)fprintf(stderr, ", %s", text_speed(per_second(snapshot, outcome), speed));
    }
    (void)fputc('\n', stderr);
}

/* The path alone: $(wload fetch org/name) is where the model is. */
static void report_text(const struct request *request, const char *spec,
                        const struct wload_snapshot *snapshot, const struct outcome *outcome)
{
    text_put_escaped(stdout, snapshot->path);
    (void)fputc('\n', stdout);
    text_flush();
    if (request->is_verbose || isatty(STDERR_FILENO) == 1) {
        put_summary(spec, snapshot, outcome);
    }
}

static uint32_t count_left(const struct wload_snapshot *snapshot, bool is_forced)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < snapshot->file_count; i++) {
        count += snapshot_left(&snapshot->files[i], is_forced) >= 0;
    }
    return count;
}

/* Returns enum command_exit. */
static int fetch(const struct request *request, const char *spec, struct wload_snapshot *snapshot,
                 int64_t begin_ns)
{
    struct outcome outcome = {.new_count = count_left(snapshot, request->fetch.is_forced != 0)};
    struct wload_error err;
    int rc = snapshot_fetch(snapshot, spec, &request->fetch, &err);

    outcome.seconds = (double)(wl_clock_ns() - begin_ns) / 1e9;
    if (rc < 0) {
        rc = fail(request, spec, &err);
    } else if (request->json) {
        report_json(request, spec, snapshot, &outcome);
    } else {
        report_text(request, spec, snapshot, &outcome);
    }
    interrupt_end();
    return rc;
}

static void report_dry(const struct request *request, const char *spec,
                       const struct wload_snapshot *snapshot)
{
    bool is_forced = request->fetch.is_forced != 0;
    cJSON *json;

    if (!request->json) {
        snapshot_put_missing(snapshot, is_forced);
        return;
    }
    json = snapshot_json(spec, snapshot);
    snapshot_add_missing(json, snapshot, is_forced);
    (void)cJSON_AddItemToArray(request->json, json);
}

static int fetch_spec(const struct request *request, const char *spec)
{
    int64_t begin_ns = wl_clock_ns();
    struct wload_snapshot *snapshot = NULL;
    struct wload_error err;
    int rc = WLOAD_OK;

    if (wload_snapshot_open(request->context, spec, &request->snapshot, &snapshot, &err) < 0) {
        return fail(request, spec, &err);
    }
    options_warn("", snapshot->note);
    if (snapshot->repo[0] == '\0') {
        rc = wl_err_set(&err, WLOAD_ERR_SPEC,
                        "'%s' is a path; a model is fetched by its name: hf://org/name", spec);
    } else if (request->is_dry && snapshot->origin[0] == '\0') {
        rc = snapshot->refusal[0] != '\0'
                 ? wl_err_set(&err, WLOAD_ERR_NOT_FOUND, "%s", snapshot->refusal)
                 : wl_err_set(&err, WLOAD_ERR_NOT_FOUND,
                              "'%s' is not on this machine, and the network is off", spec);
    }
    if (rc < 0) {
        rc = fail(request, spec, &err);
    } else if (!request->is_dry) {
        rc = fetch(request, spec, snapshot, begin_ns);
    } else {
        report_dry(request, spec, snapshot);
    }
    wload_snapshot_free(snapshot);
    return rc;
}

/* Of all specs, whatever became of those before. */
static int fetch_all(struct request *request, const struct options *options, bool is_json)
{
    cJSON *json = is_json ? cJSON_CreateObject() : NULL;
    int rc = COMMAND_DONE;

    request->json = json ? cJSON_AddArrayToObject(json, "snapshots") : NULL;
    for (size_t i = 0; i < options->operand_count; i++) {
        if (fetch_spec(request, options->operands[i]) != COMMAND_DONE) {
            rc = COMMAND_FAILED;
        }
    }
    if ((is_json ? text_put_json(json) : text_finish()) != COMMAND_DONE) {
        rc = COMMAND_FAILED;
    }
    return rc;
}

static int read_words(const char *workers, const char *io, const struct snapshot_words *words,
                      const struct options *options, struct request *request)
{
    if (io && !options_io(io, &request->fetch.io_policy)) {
        return options_refuse("fetch", "--io", io, "not auto, direct or buffered");
    }
    if (workers && !options_connections(workers, &request->fetch.connection_count)) {
        return options_refuse("fetch", "--max-workers", workers, "not a number from 1 to 256");
    }
    if (words->local_dir && options->operand_count > 1) {
        return options_refuse("fetch", "--local-dir", words->local_dir, "takes one model only");
    }
    if (words->is_offline && request->fetch.is_forced) {
        return options_refuse("fetch", "--force", NULL, "not together with --offline");
    }
    return snapshot_read_words("fetch", words, WLOAD_NETWORK_FIRST, &request->snapshot);
}

static int run(int argc, const char **argv)
{
    struct request request = {.fetch = {.struct_size = sizeof(request.fetch)}};
    struct snapshot_words words = {0};
    char *workers = NULL;
    char *io = NULL;
    int is_forced = 0;
    int is_dry = 0;
    int is_json = 0;
    int verbosity = 0;
    const struct poptOption table[] = {
        SNAPSHOT_REVISION(&words),
        SNAPSHOT_SUBFOLDER(&words),
        SNAPSHOT_INCLUDE(&words),
        SNAPSHOT_EXCLUDE(&words),
        SNAPSHOT_VARIANT(&words),
        SNAPSHOT_CACHE_DIR(&words),
        SNAPSHOT_LOCAL_DIR(&words),
        {"max-workers", '\0', POPT_ARG_STRING, &workers, 0, "Connections at once, 1 to 256; 16",
         "N"},
        {"io", '\0', POPT_ARG_STRING, &io, 0,
         "How files are written: auto (O_DIRECT if possible), direct or buffered", "WAY"},
        {"force", '\0', POPT_ARG_NONE, &is_forced, 0, "Download also what is here", NULL},
        {"dry-run", '\0', POPT_ARG_NONE, &is_dry, 0, "Only tell what would be downloaded", NULL},
        SNAPSHOT_TOKEN(&words),
        SNAPSHOT_OFFLINE(&words),
        {"json", '\0', POPT_ARG_NONE, &is_json, 0, "Report as one JSON object", NULL},
        {"verbose", 'v', POPT_ARG_NONE, &verbosity, 0,
         "Say on stderr what was decided, and warnings, which a terminal always shows; -vv each "
         "step",
         NULL},
        POPT_TABLEEND,
    };
    struct options options;
    int rc = options_parse(&options, argc, argv, table, "[OPTION...] SPEC...", 1, SIZE_MAX);

    if (rc == COMMAND_DONE) {
        request.fetch.is_forced = is_forced != 0;
        rc = read_words(workers, io, &words, &options, &request);
    }
    if (rc == COMMAND_DONE) {
        request.is_dry = is_dry != 0;
        request.is_verbose = verbosity > 0;
        request.context = options_context(verbosity, 0);
        rc = request.context ? fetch_all(&request, &options, is_json != 0) : COMMAND_FAILED;
        wload_context_free(request.context);
    }
    options_clear(&options);
    return rc;
}

const struct command command_fetch = {
    .name = "fetch",
    .alias = "download",
    .summary = "Download a model's files into the cache that all tools share",
    .run = run,
};
