/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "bench/command.h"
#include "bench/interrupt.h"
#include "bench/options.h"
#include "bench/snapshot.h"
#include "bench/text.h"

#define SHAPE_BYTES_MAX (WL_RANK_MAX * 18u + 3u) /* of one dimension: 2^53 and a comma */
#define DTYPES_MAX      64u                      /* more than there are */

struct request {
    const char *spec;
    struct wload_snapshot_options snapshot;
    char **patterns; /* NULL: all tensors */
    bool is_json;
};

struct total {
    const char *dtype_name;
    uint64_t tensor_count;
    uint64_t tensor_bytes;
};

/* What is told: the chosen tensors of an opened model. */
struct choice {
    const struct wload_model *model;
    bool *is_chosen; /* by tensor number */
    struct total all;
    struct total dtypes[DTYPES_MAX];
};

/* Of the table's columns; the name comes last and needs none. */
struct widths {
    int dtype;
    int shape;
    int size;
    int offset;
};

/* ---- Choosing ---------------------------------------------------------------------- */

/* Returns how many match: the tensor of that very name, else those that the glob matches. */
static size_t choose_pattern(struct choice *choice, const char *pattern)
{
    const struct wload_tensor *exact = wload_model_find(choice->model, pattern);
    size_t count = 0;

    if (exact) {
        choice->is_chosen[exact->tensor_index] = true;
        return 1;
    }
    for (uint32_t i = 0; i < wload_model_info(choice->model)->tensor_count; i++) {
        if (wl_str_glob(pattern, wload_model_tensor(choice->model, i)->name)) {
            choice->is_chosen[i] = true;
            count++;
        }
    }
    return count;
}

static void add_total(struct choice *choice, const struct wload_tensor *tensor)
{
    struct total *total = choice->dtypes;

    while (total->dtype_name && strcmp(total->dtype_name, tensor->dtype_name) != 0) {
        total++;
        WL_ASSERT(total < choice->dtypes + DTYPES_MAX);
    }
    total->dtype_name = tensor->dtype_name;
    total->tensor_count++;
    total->tensor_bytes += tensor->size_bytes;
    choice->all.tensor_count++;
    choice->all.tensor_bytes += tensor->size_bytes;
}

static int choose(struct choice *choice, char **patterns, struct wload_error *err)
{
    uint32_t count = wload_model_info(choice->model)->tensor_count;

    choice->is_chosen = malloc((size_t)count + 1);
    if (!choice->is_chosen) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u tensors", count);
    }
    memset(choice->is_chosen, !patterns, (size_t)count + 1);
    for (; patterns && *patterns; patterns++) {
        if (choose_pattern(choice, *patterns) == 0) {
            return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "no tensor matches '%s'", *patterns);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (choice->is_chosen[i]) {
            add_total(choice, wload_model_tensor(choice->model, i));
        }
    }
    return WLOAD_OK;
}

/* The chosen tensor at or after number *index, or NULL. */
static const struct wload_tensor *next_chosen(const struct choice *choice, uint32_t *index)
{
    while (*index < wload_model_info(choice->model)->tensor_count) {
        uint32_t i = (*index)++;

        if (choice->is_chosen[i]) {
            return wload_model_tensor(choice->model, i);
        }
    }
    return NULL;
}

/* ---- JSON --------------------------------------------------------------------------- */

static cJSON *tensor_json(const struct choice *choice, const struct wload_tensor *tensor)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *shape;

    (void)cJSON_AddStringToObject(json, "name", tensor->name);
    (void)cJSON_AddStringToObject(json, "dtype", tensor->dtype_name);
    shape = cJSON_AddArrayToObject(json, "shape");
    for (uint32_t i = 0; i < tensor->rank; i++) {
        (void)cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->shape[i]));
    }
    text_add_string(json, "file", wload_model_file(choice->model, tensor->file_index)->path);
    (void)cJSON_AddNumberToObject(json, "offset", (double)tensor->file_offset);
    (void)cJSON_AddNumberToObject(json, "size", (double)tensor->size_bytes);
    return json;
}

static void add_files(cJSON *parent, const struct wload_model *model)
{
    cJSON *files = cJSON_AddArrayToObject(parent, "files");

    for (size_t i = 0; i < wload_model_info(model)->file_count; i++) {
        const struct wload_file *file = wload_model_file(model, i);
        cJSON *json = cJSON_CreateObject();

        text_add_string(json, "path", file->path);
        (void)cJSON_AddNumberToObject(json, "size", (double)file->size_bytes);
        (void)cJSON_AddNumberToObject(json, "tensors", file->tensor_count);
        (void)cJSON_AddItemToArray(files, json);
    }
}

static void add_dtypes(cJSON *parent, const struct choice *choice)
{
    cJSON *dtypes = cJSON_AddObjectToObject(parent, "dtypes");

    for (const struct total *total = choice->dtypes; total->dtype_name; total++) {
        cJSON *json = cJSON_AddObjectToObject(dtypes, total->dtype_name);

        (void)cJSON_AddNumberToObject(json, "tensors", (double)total->tensor_count);
        (void)cJSON_AddNumberToObject(json, "bytes", (double)total->tensor_bytes);
    }
}

static int report_json(const struct request *request, const struct choice *choice)
{
    const struct wload_tensor *tensor;
    cJSON *json = cJSON_CreateObject();
    cJSON *tensors;
    uint32_t index = 0;

    text_add_string(json, "spec", request->spec);
    (void)cJSON_AddNumberToObject(json, "tensor_count", (double)choice->all.tensor_count);
    (void)cJSON_AddNumberToObject(json, "bytes", (double)choice->all.tensor_bytes);
    add_dtypes(json, choice);
    add_files(json, choice->model);
    tensors = cJSON_AddArrayToObject(json, "tensors");
    while ((tensor = next_chosen(choice, &index)) != NULL) {
        (void)cJSON_AddItemToArray(tensors, tensor_json(choice, tensor));
    }
    return text_put_json(json);
}

/* ---- A table for people ---------------------------------------------------------------- */

static const char *shape_text(const struct wload_tensor *tensor, char out[SHAPE_BYTES_MAX])
{
    size_t used = (size_t)snprintf(out, SHAPE_BYTES_MAX, "[");

    for (uint32_t i = 0; i < tensor->rank; i++) {
        used += (size_t)snprintf(out + used, SHAPE_BYTES_MAX - used, "%s%" PRIu64,
                                 i == 0 ? "" : ",", tensor->shape[i]);
    }
    (void)snprintf(out + used, SHAPE_BYTES_MAX - used, "]");
    return out;
}

static int width_of_number(uint64_t value)
{
    return snprintf(NULL, 0, "%" PRIu64, value);
}

static void widen(int *width, int other)
{
    *width = *width > other ? *width : other;
}

static struct widths measure(const struct choice *choice)
{
    struct widths widths = {
        .dtype = (int)strlen("DTYPE"),
        .shape = (int)strlen("SHAPE"),
        .size = (int)strlen("SIZE"),
        .offset = (int)strlen("OFFSET"),
    };
    const struct wload_tensor *tensor;
    char shape[SHAPE_BYTES_MAX];
    uint32_t index = 0;

    while ((tensor = next_chosen(choice, &index)) != NULL) {
        widen(&widths.dtype, (int)strlen(tensor->dtype_name));
        widen(&widths.shape, (int)strlen(shape_text(tensor, shape)));
        widen(&widths.size, width_of_number(tensor->size_bytes));
        widen(&widths.offset, width_of_number(tensor->file_offset));
    }
    return widths;
}

static void put_file(const struct choice *choice, uint32_t file_index, const struct widths *widths)
{
    text_put_escaped(stdout, wload_model_file(choice->model, file_index)->path);
    (void)printf("\n  %-*s  %-*s  %*s  %*s  NAME\n", widths->dtype, "DTYPE", widths->shape, "SHAPE",
                 widths->size, "SIZE", widths->offset, "OFFSET");
}

static void put_tensor(const struct wload_tensor *tensor, const struct widths *widths)
{
    char shape[SHAPE_BYTES_MAX];

    (void)printf("  %-*s  %-*s  %*" PRIu64 "  %*" PRIu64 "  ", widths->dtype, tensor->dtype_name,
                 widths->shape, shape_text(tensor, shape), widths->size, tensor->size_bytes,
                 widths->offset, tensor->file_offset);
    text_put_escaped(stdout, tensor->name);
    (void)fputc('\n', stdout);
}

static int report_text(const struct choice *choice)
{
    const struct widths widths = measure(choice);
    const struct wload_tensor *tensor;
    uint32_t file_index = UINT32_MAX;
    char size[TEXT_SIZE_BYTES];
    uint32_t index = 0;

    while ((tensor = next_chosen(choice, &index)) != NULL) {
        if (tensor->file_index != file_index) {
            file_index = tensor->file_index;
            put_file(choice, file_index, &widths);
        }
        put_tensor(tensor, &widths);
    }
    for (const struct total *total = choice->dtypes; total->dtype_name; total++) {
        (void)printf("%-*s  %" PRIu64 " tensors, %s\n", widths.dtype, total->dtype_name,
                     total->tensor_count, text_size(total->tensor_bytes, size));
    }
    (void)printf("%-*s  %" PRIu64 " tensors, %s\n", widths.dtype, "all", choice->all.tensor_count,
                 text_size(choice->all.tensor_bytes, size));
    return text_finish();
}

/* ---- The command ------------------------------------------------------------------------- */

static int inspect(const struct request *request, struct wload_context *context)
{
    struct wload_model *model = NULL;
    struct choice choice = {0};
    struct wload_error err;
    /* Headers are had without the weights: nothing to keep. */
    const struct wload_fetch_options unkept = {.struct_size = sizeof(unkept), .is_unkept = 1};
    int rc = snapshot_open_model(context, request->spec, &request->snapshot, &unkept, &model, &err);

    if (rc == WLOAD_OK) {
        choice.model = model;
        rc = choose(&choice, request->patterns, &err);
    }
    if (rc < 0) {
        rc = text_fail(&err);
    } else {
        rc = request->is_json ? report_json(request, &choice) : report_text(&choice);
    }
    free(choice.is_chosen);
    wload_model_free(model);
    interrupt_end();
    return rc;
}

static int run(int argc, const char **argv)
{
    struct request request = {0};
    struct snapshot_words words = {0};
    int verbosity = 0;
    int is_json = 0;
    const struct poptOption table[] = {
        {"tensor", '\0', POPT_ARG_ARGV, &request.patterns, 0,
         "Only tensors of this name or glob; may be given again", "GLOB"},
        SNAPSHOT_VARIANT(&words),
        SNAPSHOT_REVISION(&words),
        SNAPSHOT_SUBFOLDER(&words),
        SNAPSHOT_CACHE_DIR(&words),
        SNAPSHOT_TOKEN(&words),
        SNAPSHOT_OFFLINE(&words),
        {"json", '\0', POPT_ARG_NONE, &is_json, 0, "Report as one JSON object", NULL},
        {"verbose", 'v', POPT_ARG_NONE, &verbosity, 0,
         "Say on stderr what was decided, and warnings, which a terminal always shows; -vv each "
         "step",
         NULL},
        POPT_TABLEEND,
    };
    struct wload_context *context;
    struct options options;
    int rc = options_parse(&options, argc, argv, table, "[OPTION...] SPEC", 1, 1);

    if (rc == COMMAND_DONE) {
        rc = snapshot_read_words("inspect", &words, WLOAD_NETWORK_AUTO, &request.snapshot);
    }
    if (rc == COMMAND_DONE) {
        request.spec = options.operands[0];
        request.is_json = is_json != 0;
        context = options_context(verbosity, 0);
        rc = context ? inspect(&request, context) : COMMAND_FAILED;
        wload_context_free(context);
    }
    options_clear(&options);
    return rc;
}

const struct command command_inspect = {
    .name = "inspect",
    .summary = "List a model's tensors: dtype, shape, file, offset and size",
    .run = run,
};
