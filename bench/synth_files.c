/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "bench/synth.h"

#define HEADER_ALIGN 8u
#define FILES_FIRST  16u

static int no_memory(struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the names of the files");
}

/* A file of that name; the strings become its own, and are freed on failure.  NULLs are refused. */
static int add_file(struct synth_files *files, struct synth_file file, struct wload_error *err)
{
    struct synth_file *items = files->items;

    if (files->count == files->max) {
        size_t max = wl_max(FILES_FIRST, files->max * 2);

        items = reallocarray(files->items, max, sizeof(*items));
        if (items) {
            files->items = items;
            files->max = max;
        }
    }
    if (!items || !file.name || !file.text) {
        free(file.name);
        free(file.text);
        return no_memory(err);
    }
    file.size_bytes = file.text_bytes;
    for (size_t i = 0; i < file.tensor_count; i++) {
        file.size_bytes += file.tensors[i].size_bytes;
    }
    files->items[files->count++] = file;
    files->size_bytes += file.size_bytes;
    files->shard_count += file.tensor_count > 0;
    return WLOAD_OK;
}

/* "DIRECTORY/NAME", the name in printf's manner.  NULL without memory. */
__attribute__((format(printf, 2, 3))) static char *path_of(const struct synth_component *component,
                                                           const char *fmt, ...)
{
    char *path = NULL;
    char *name = NULL;
    va_list ap;
    int rc;

    va_start(ap, fmt);
    rc = vasprintf(&name, fmt, ap);
    va_end(ap);
    if (rc < 0) {
        return NULL;
    }
    rc = asprintf(&path, "%s%s%s", component->directory, *component->directory ? "/" : "", name);
    free(name);
    return rc < 0 ? NULL : path;
}

static char *shard_name(const struct synth_component *component, size_t shard, size_t shard_count)
{
    return shard_count == 1 ? path_of(component, "%s.safetensors", component->stem)
                            : path_of(component, "%s-%05zu-of-%05zu.safetensors", component->stem,
                                      shard + 1, shard_count);
}

/* The order of the official writer: wide elements first, so that all are aligned. */
static int compare(const void *a, const void *b)
{
    const struct synth_tensor *left = a;
    const struct synth_tensor *right = b;
    uint32_t left_bits = synth_dtype_bits(left->dtype);
    uint32_t right_bits = synth_dtype_bits(right->dtype);

    if (left_bits != right_bits) {
        return left_bits > right_bits ? -1 : 1;
    }
    return strcmp(left->name, right->name);
}

static void put_entry(FILE *out, const struct synth_tensor *tensor, uint64_t begin)
{
    (void)fprintf(out, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensor->name,
                  synth_dtype_name(tensor->dtype));
    for (uint32_t i = 0; i < tensor->shape.rank; i++) {
        (void)fprintf(out, "%s%" PRIu64, i == 0 ? "" : ",", tensor->shape.dimensions[i]);
    }
    (void)fprintf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin,
                  begin + tensor->size_bytes);
}

/* The length, eight bytes little-endian, then that many bytes of JSON. */
static void put_header(FILE *out, const struct synth_file *file)
{
    static const char no_length[sizeof(uint64_t)];
    uint64_t begin = 0;

    (void)fwrite(no_length, 1, sizeof(no_length), out);
    (void)fputs("{\"__metadata__\":{\"format\":\"pt\"}", out);
    for (size_t i = 0; i < file->tensor_count; i++) {
        put_entry(out, &file->tensors[i], begin);
        begin += file->tensors[i].size_bytes;
    }
    (void)fputc('}', out);
    while (ftell(out) % HEADER_ALIGN != 0) {
        (void)fputc(' ', out);
    }
}

static void make_header(struct synth_file *file)
{
    FILE *out = open_memstream(&file->text, &file->text_bytes);

    if (!out) {
        return;
    }
    put_header(out, file);
    if (fclose(out) != 0) {
        free(file->text);
        file->text = NULL;
        return;
    }
    for (size_t i = 0; i < sizeof(uint64_t); i++) {
        file->text[i] = (char)((file->text_bytes - sizeof(uint64_t)) >> (8 * i) & 0xff);
    }
}

/*
 * How many of the tensors from `first` on belong to this shard: as many as bring all
 * shards so far to their share of the bytes, at least one, and one for each shard to come.
 */
static size_t take(const struct synth_component *component, size_t first, size_t shard,
                   size_t shard_count, uint64_t *taken_bytes)
{
    size_t last_max = component->tensor_count - (shard_count - shard - 1);
    uint64_t share = component->size_bytes / shard_count * (shard + 1);
    size_t end = first;

    do {
        *taken_bytes += component->tensors[end++].size_bytes;
    } while (end < last_max && (shard + 1 == shard_count ||
                                *taken_bytes + component->tensors[end].size_bytes / 2 <= share));
    return end - first;
}

static int add_shards(struct synth_files *files, const struct synth_component *component,
                      size_t shard_count, uint64_t stream, struct wload_error *err)
{
    uint64_t taken_bytes = 0;
    size_t first = 0;
    int rc = WLOAD_OK;

    for (size_t shard = 0; shard < shard_count && rc == WLOAD_OK; shard++) {
        struct synth_file file = {
            .name = shard_name(component, shard, shard_count),
            .tensors = &component->tensors[first],
            .tensor_count = take(component, first, shard, shard_count, &taken_bytes),
            .stream = stream,
        };

        qsort(&component->tensors[first], file.tensor_count, sizeof(file.tensors[0]), compare);
        first += file.tensor_count;
        make_header(&file);
        rc = add_file(files, file, err);
    }
    WL_ASSERT(rc < 0 || first == component->tensor_count);
    return rc;
}

/* "FILE": the same without its directory. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Which tensor is in which shard, the files from `first` on. */
static int add_index(struct synth_files *files, const struct synth_component *component,
                     size_t first, size_t shard_count, struct wload_error *err)
{
    struct synth_file index = {
        .name = path_of(component, "%s.safetensors.index.json", component->stem),
    };
    FILE *out = open_memstream(&index.text, &index.text_bytes);
    const char *before = "";

    if (!out) {
        free(index.name);
        return no_memory(err);
    }
    (void)fprintf(out, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n",
                  component->size_bytes);
    (void)fputs("  \"weight_map\": {", out);
    for (size_t i = first; i < first + shard_count; i++) {
        const struct synth_file *shard = &files->items[i];

        for (size_t j = 0; j < shard->tensor_count; j++) {
            (void)fprintf(out, "%s\n    \"%s\": \"%s\"", before, shard->tensors[j].name,
                          base_name(shard->name));
            before = ",";
        }
    }
    (void)fputs("\n  }\n}\n", out);
    if (fclose(out) != 0) {
        free(index.text);
        index.text = NULL;
    }
    return add_file(files, index, err);
}

static int add_json(struct synth_files *files, char *name, const cJSON *json,
                    struct wload_error *err)
{
    struct synth_file file = {.name = name, .text = cJSON_Print(json)};

    file.text_bytes = file.text ? strlen(file.text) : 0;
    return add_file(files, file, err);
}

static int add_component(struct synth_files *files, const struct synth_component *component,
                         size_t shard_count, uint64_t stream, struct wload_error *err)
{
    size_t first = files->count;
    int rc = WLOAD_OK;

    if (component->tensor_count > 0 && shard_count > component->tensor_count) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "%s: %zu tensors do not fill %zu shards",
                          *component->directory ? component->directory : component->stem,
                          component->tensor_count, shard_count);
    }
    if (component->tensor_count > 0) {
        rc = add_shards(files, component, shard_count, stream, err);
    }
    if (rc == WLOAD_OK) {
        rc = add_json(files, path_of(component, "%s", component->config_name), component->config,
                      err);
    }
    if (rc == WLOAD_OK && component->tensor_count > 0 && shard_count > 1) {
        rc = add_index(files, component, first, shard_count, err);
    }
    return rc;
}

int synth_plan(struct synth_model *model, size_t shard_count, struct synth_files *out,
               struct wload_error *err)
{
    struct synth_files files = {0};
    int rc = WLOAD_OK;

    for (size_t i = 0; i < model->component_count && rc == WLOAD_OK; i++) {
        rc = add_component(&files, &model->components[i], shard_count, i, err);
    }
    if (rc == WLOAD_OK && model->pipeline) {
        rc = add_json(&files, strdup("model_index.json"), model->pipeline, err);
    }
    if (rc < 0) {
        synth_files_clear(&files);
        return rc;
    }
    *out = files;
    return WLOAD_OK;
}

void synth_files_clear(struct synth_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].name);
        free(files->items[i].text);
    }
    free(files->items);
}
