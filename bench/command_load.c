/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/base.h"
#include "bench/command.h"
#include "bench/interrupt.h"
#include "bench/load.h"
#include "bench/options.h"
#include "bench/snapshot.h"
#include "bench/text.h"

#define RUNS_MAX     1000000u
#define TRACE_EVENTS (1u << 17) /* the newest; two for each chunk */

/* The options as popt gives them. */
struct words {
    char *device;
    char *io;
    char *reader;
    char *chunk;
    char *staging;
    char *queue_depth;
    char *repeat;
    char *trace;
    char *max_workers;
    char **patterns;
    struct snapshot_words snapshot;
    int is_unkept;
    int is_weights_only;
    int drops_cache;
    int has_digests;
    int is_json;
    int verbosity;
};

static int refuse(const char *option, const char *value, const char *why)
{
    return options_refuse("load", option, value, why);
}

static int read_sizes(const struct words *words, struct wload_job_options *job)
{
    uint64_t depth;

    if (words->chunk &&
        !(options_size(words->chunk, &job->chunk_bytes) && wl_is_pow2(job->chunk_bytes) &&
          job->chunk_bytes >= WL_CHUNK_BYTES_MIN && job->chunk_bytes <= WL_CHUNK_BYTES_MAX)) {
        return refuse("--chunk", words->chunk, "not a power of two from 64K to 1G");
    }
    if (words->staging &&
        !(options_size(words->staging, &job->staging_bytes) &&
          job->staging_bytes >= WL_CHUNK_BYTES_MIN && job->staging_bytes <= WL_STAGING_BYTES_MAX)) {
        return refuse("--staging", words->staging, "not a size from 64K to 64G");
    }
    if (words->staging && words->chunk && job->staging_bytes < job->chunk_bytes) {
        return refuse("--staging", words->staging, "less than one chunk");
    }
    if (words->queue_depth) {
        if (!options_whole(words->queue_depth, WL_QUEUE_DEPTH_MAX, &depth) || depth == 0) {
            return refuse("--queue-depth", words->queue_depth, "not a number from 1 to 1024");
        }
        job->queue_depth = (uint32_t)depth;
    }
    return COMMAND_DONE;
}

static int read_words(const struct words *words, struct load_request *request)
{
    struct wload_job_options *job = &request->job;
    uint64_t runs = 1;

    if (words->device &&
        !options_device(words->device, &job->device_kind, &job->device_index, &request->is_sink)) {
        return refuse("--device", words->device, "not auto, host, null, cuda[:N] or hip[:N]");
    }
    if (words->io && !options_io(words->io, &job->io_policy)) {
        return refuse("--io", words->io, "not auto, direct or buffered");
    }
    if (words->reader && !options_reader(words->reader, &job->reader_kind)) {
        return refuse("--reader", words->reader, "not auto, uring or pread");
    }
    if (words->repeat && (!options_whole(words->repeat, RUNS_MAX, &runs) || runs == 0)) {
        return refuse("--repeat", words->repeat, "not a number from 1 to 1000000");
    }
    if (words->max_workers &&
        !options_connections(words->max_workers, &request->fetch.connection_count)) {
        return refuse("--max-workers", words->max_workers, "not a number from 1 to 256");
    }
    if (words->has_digests && request->is_sink) {
        return refuse("--device", words->device, "keeps nothing to compute --digest from");
    }
    for (char **pattern = words->patterns; pattern && *pattern; pattern++) {
        job->pattern_count++;
    }
    job->patterns = (const char *const *)words->patterns;
    request->fetch.io_policy = job->io_policy;
    request->fetch.is_unkept = words->is_unkept != 0;
    request->trace_path = words->trace;
    request->has_digests = words->has_digests != 0;
    request->drops_cache = words->drops_cache != 0;
    request->is_json = words->is_json != 0;
    request->run_count = (size_t)runs;
    return read_sizes(words, job);
}

static void fail(const struct wload_error *err, int verbosity)
{
    const char *state =
        err->memory_state == WLOAD_MEMORY_UNTOUCHED ? "untouched" : "partly written";

    (void)(verbosity > 0 ? text_fail_plainly("%s; memory %s", err->message, state)
                         : text_fail(err));
}

static int load(struct load_request *request, int verbosity)
{
    struct load_result result;
    struct wload_error err = {0};
    int rc = COMMAND_FAILED;

    if (request->trace_path && text_check_file(request->trace_path) != COMMAND_DONE) {
        return COMMAND_FAILED;
    }
    request->context = options_context(verbosity, request->trace_path ? TRACE_EVENTS : 0);
    if (!request->context) {
        return COMMAND_FAILED;
    }
    if (load_run(request, &result, &err) < 0) {
        fail(&err, verbosity);
    } else {
        options_warn("", wload_model_info(result.model)->note);
        options_warn("the cache is off for this load: ", result.cache_note);
        rc = load_report(request, &result);
    }
    load_clear(&result);
    wload_context_free(request->context);
    interrupt_end();
    return rc;
}

static int run(int argc, const char **argv)
{
    struct load_request request = {.fetch = {.struct_size = sizeof(request.fetch)},
                                   .job = {.struct_size = sizeof(request.job)}};
    struct words words = {0};
    const struct poptOption table[] = {
        {"device", '\0', POPT_ARG_STRING, &words.device, 0,
         "auto (the first GPU, else the host), host, null (read and drop), cuda[:N] or hip[:N]",
         "DEVICE"},
        {"io", '\0', POPT_ARG_STRING, &words.io, 0,
         "auto (the page cache for what it holds, else O_DIRECT), direct or buffered", "WAY"},
        {"reader", '\0', POPT_ARG_STRING, &words.reader, 0,
         "auto (io_uring if the kernel allows it), uring or pread", "READER"},
        {"chunk", '\0', POPT_ARG_STRING, &words.chunk, 0, "Bytes of one read; 8M", "SIZE"},
        {"staging", '\0', POPT_ARG_STRING, &words.staging, 0,
         "Bytes of host memory for the ring, at most; 256M", "SIZE"},
        {"queue-depth", '\0', POPT_ARG_STRING, &words.queue_depth, 0, "Reads in flight; 8", "N"},
        {"tensor", '\0', POPT_ARG_ARGV, &words.patterns, 0,
         "Only tensors of this name or glob; may be given again", "GLOB"},
        SNAPSHOT_VARIANT(&words.snapshot),
        SNAPSHOT_REVISION(&words.snapshot),
        SNAPSHOT_SUBFOLDER(&words.snapshot),
        SNAPSHOT_CACHE_DIR(&words.snapshot),
        SNAPSHOT_TOKEN(&words.snapshot),
        SNAPSHOT_OFFLINE(&words.snapshot),
        {"no-cache", '\0', POPT_ARG_NONE, &words.is_unkept, 0,
         "Leave nothing of what is downloaded on this machine", NULL},
        {"weights-only", '\0', POPT_ARG_NONE, &words.is_weights_only, 0,
         "Download no small files beside the weights", NULL},
        {"max-workers", '\0', POPT_ARG_STRING, &words.max_workers, 0,
         "Connections at once, 1 to 256; 16", "N"},
        {"drop-cache", '\0', POPT_ARG_NONE, &words.drops_cache, 0,
         "Evict the model from the page cache before each run", NULL},
        {"digest", '\0', POPT_ARG_NONE, &words.has_digests, 0,
         "Tell the SHA-256 of every tensor, as it landed", NULL},
        {"repeat", '\0', POPT_ARG_STRING, &words.repeat, 0, "Load N times, into the same memory; 1",
         "N"},
        {"trace", '\0', POPT_ARG_STRING, &words.trace, 0,
         "Write every chunk's read and copy as Chrome-trace JSON", "FILE"},
        {"json", '\0', POPT_ARG_NONE, &words.is_json, 0, "Report as one JSON object", NULL},
        {"verbose", 'v', POPT_ARG_NONE, &words.verbosity, 0,
         "Say on stderr what was decided, and warnings, which a terminal always shows; -vv each "
         "step",
         NULL},
        POPT_TABLEEND,
    };
    struct options options;
    int rc = options_parse(&options, argc, argv, table, "[OPTION...] SPEC", 1, 1);

    if (rc == COMMAND_DONE) {
        rc = read_words(&words, &request);
    }
    if (rc == COMMAND_DONE) {
        rc = snapshot_read_words("load", &words.snapshot, WLOAD_NETWORK_AUTO, &request.snapshot);
    }
    if (rc == COMMAND_DONE) {
        request.snapshot.scope = words.is_weights_only ? WLOAD_SCOPE_WEIGHTS : WLOAD_SCOPE_LOAD;
        request.spec = options.operands[0];
        rc = load(&request, words.verbosity);
    }
    options_clear(&options);
    return rc;
}

const struct command command_load = {
    .name = "load",
    .summary = "Load a model's tensors into host or GPU memory, and say how fast",
    .run = run,
};
