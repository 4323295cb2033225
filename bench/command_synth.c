/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "bench/command.h"
#include "bench/interrupt.h"
#include "bench/options.h"
#include "bench/synth.h"
#include "bench/text.h"

#define SIZE_BYTES_DEFAULT (4ull << 30)
#define SHARDS_MAX         10000u       /* as many files as a model may have */
#define SEED_MAX           (1ull << 53) /* JSON can say it exactly */

struct request {
    const char *path;
    const char *preset;
    uint64_t size_bytes;
    uint64_t shards; /* of each component that has weights */
    uint64_t seed;
    int is_forced;
    int is_json;
};

/* The option texts, as popt gives them. */
struct texts {
    char *preset;
    char *size;
    char *shards;
    char *seed;
};

static int read_texts(const struct texts *texts, struct request *request)
{
    if (texts->preset && !synth_is_preset(texts->preset)) {
        return options_refuse("synth", "--preset", texts->preset, "not llama, moe or diffusion");
    }
    if (texts->size && !(options_size(texts->size, &request->size_bytes) &&
                         request->size_bytes <= SYNTH_SIZE_BYTES_MAX)) {
        return options_refuse("synth", "--size", texts->size, "not a size of at most 16T");
    }
    if (texts->shards &&
        !(options_whole(texts->shards, SHARDS_MAX, &request->shards) && request->shards > 0)) {
        return options_refuse("synth", "--shards", texts->shards, "not a number from 1 to 10000");
    }
    if (texts->seed && !options_whole(texts->seed, SEED_MAX, &request->seed)) {
        return options_refuse("synth", "--seed", texts->seed, "not a number from 0 to 2^53");
    }
    request->preset = texts->preset ? texts->preset : "llama";
    return COMMAND_DONE;
}

static int report_json(const struct request *request, const struct synth_model *model,
                       const struct synth_files *files, double seconds)
{
    cJSON *json = cJSON_CreateObject();

    text_add_string(json, "directory", request->path);
    (void)cJSON_AddStringToObject(json, "preset", request->preset);
    (void)cJSON_AddNumberToObject(json, "seed", (double)request->seed);
    (void)cJSON_AddNumberToObject(json, "tensors", (double)model->tensor_count);
    (void)cJSON_AddNumberToObject(json, "bytes", (double)model->size_bytes);
    (void)cJSON_AddNumberToObject(json, "shards", (double)files->shard_count);
    (void)cJSON_AddNumberToObject(json, "file_bytes", (double)files->size_bytes);
    (void)cJSON_AddNumberToObject(json, "seconds", seconds);
    return text_put_json(json);
}

static int report(const struct request *request, const struct synth_model *model,
                  const struct synth_files *files, double seconds)
{
    char size[TEXT_SIZE_BYTES];

    if (request->is_json) {
        return report_json(request, model, files, seconds);
    }
    text_put_escaped(stdout, request->path);
    (void)printf(": %s, %zu tensors, %s in %zu files of weights, %.2f s\n", request->preset,
                 model->tensor_count, text_size(model->size_bytes, size), files->shard_count,
                 seconds);
    return text_finish();
}

static int write_model(const struct request *request, struct synth_model *model)
{
    struct synth_files files;
    struct wload_error err;
    int64_t begin_ns = wl_clock_ns();
    int rc = synth_plan(model, request->shards, &files, &err);

    if (rc < 0) {
        return text_fail(&err);
    }
    interrupt_begin();
    rc = synth_write(model, &files, request->path, request->seed, request->is_forced != 0, &err);
    rc = rc < 0 ? text_fail(&err)
                : report(request, model, &files, (double)(wl_clock_ns() - begin_ns) / 1e9);
    interrupt_end();
    synth_files_clear(&files);
    return rc;
}

static int synth(const struct request *request)
{
    struct synth_model model;
    struct wload_error err;
    int rc;

    if (synth_build(request->preset, request->size_bytes, &model, &err) < 0) {
        return text_fail(&err);
    }
    rc = write_model(request, &model);
    synth_clear(&model);
    return rc;
}

static int run(int argc, const char **argv)
{
    struct request request = {.size_bytes = SIZE_BYTES_DEFAULT, .shards = 1};
    struct texts texts = {0};
    const struct poptOption table[] = {
        {"preset", '\0', POPT_ARG_STRING, &texts.preset, 0,
         "Architecture: llama (the default), moe or diffusion", "NAME"},
        {"size", '\0', POPT_ARG_STRING, &texts.size, 0, "Bytes of weights in all; 4G", "SIZE"},
        {"shards", '\0', POPT_ARG_STRING, &texts.shards, 0,
         "Files of weights, of each component that has any; 1", "N"},
        {"seed", '\0', POPT_ARG_STRING, &texts.seed, 0, "The same seed makes the same weights; 0",
         "S"},
        {"force", '\0', POPT_ARG_NONE, &request.is_forced, 0,
         "Write into a directory that has files, replacing its weights", NULL},
        {"json", '\0', POPT_ARG_NONE, &request.is_json, 0, "Report as one JSON object", NULL},
        POPT_TABLEEND,
    };
    struct options options;
    int rc = options_parse(&options, argc, argv, table, "[OPTION...] DIR", 1, 1);

    if (rc == COMMAND_DONE) {
        rc = read_texts(&texts, &request);
    }
    if (rc == COMMAND_DONE) {
        request.path = options.operands[0];
        rc = synth(&request);
    }
    options_clear(&options);
    return rc;
}

const struct command command_synth = {
    .name = "synth",
    .summary = "Make a model of random weights in the shape of a well-known one",
    .run = run,
};
