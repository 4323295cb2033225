/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "bench/command.h"
#include "bench/interrupt.h"
#include "bench/options.h"
#include "bench/progress.h"
#include "bench/text.h"

/* Where a cache is, in the order in which every tool of the field looks for it. */
static const struct {
    const char *variable;
    const char *below;
} cache_variables[] = {
    {"HF_HUB_CACHE", ""},
    {"HUGGINGFACE_HUB_CACHE", ""},
    {"HF_HOME", "/hub"},
    {"XDG_CACHE_HOME", "/huggingface/hub"},
};

char *snapshot_cache_path(void)
{
    char *text = NULL;
    char *path;

    for (size_t i = 0; i < WL_COUNT_OF(cache_variables) && !text; i++) {
        const char *value = getenv(cache_variables[i].variable);

        if (value && *value) {
            text = wl_str_new("%s%s", value, cache_variables[i].below);
        }
    }
    path = wl_path_expand(text ? text : "~/.cache/huggingface/hub");
    wl_sys->free(text);
    return path;
}

static size_t count_of(char **list)
{
    size_t count = 0;

    while (list && list[count]) {
        count++;
    }
    return count;
}

int snapshot_read_words(const char *command, const struct snapshot_words *words, uint32_t network,
                        struct wload_snapshot_options *options)
{
    const struct {
        const char *option;
        const char *value;
    } named[] = {
        {"--revision", words->revision},
        {"--subfolder", words->subfolder},
        {"--cache-dir", words->cache_dir},
        {"--local-dir", words->local_dir},
    };

    for (size_t i = 0; i < WL_COUNT_OF(named); i++) {
        if (named[i].value && named[i].value[0] == '\0') {
            return options_refuse(command, named[i].option, "", "empty");
        }
    }
    if (words->cache_dir && words->local_dir) {
        return options_refuse(command, "--local-dir", words->local_dir,
                              "not together with --cache-dir");
    }
    *options = (struct wload_snapshot_options){
        .struct_size = sizeof(*options),
        .revision = words->revision,
        .subfolder = words->subfolder,
        .variant = words->variant,
        .include = (const char *const *)words->include,
        .include_count = count_of(words->include),
        .exclude = (const char *const *)words->exclude,
        .exclude_count = count_of(words->exclude),
        .cache_dir = words->cache_dir,
        .local_dir = words->local_dir,
        .token = words->token,
        .network = words->is_offline ? (uint32_t)WLOAD_NETWORK_OFF : network,
    };
    return COMMAND_DONE;
}

/* How a download is made that shows its progress. */
static struct wload_fetch_options begin_fetch(const struct wload_fetch_options *how,
                                              struct progress *progress)
{
    struct wload_fetch_options shown = how ? *how : (struct wload_fetch_options){0};

    shown.struct_size = sizeof(shown);
    shown.on_progress = progress_step;
    shown.user = progress;
    progress_begin(progress);
    return shown;
}

static int end_fetch(struct progress *progress, const char *spec, int rc, struct wload_error *err)
{
    progress_end(progress);
    return rc == WLOAD_ERR_CALLBACK
               ? wl_err_set(err, rc, "'%s': interrupted; the next fetch goes on from here", spec)
               : rc;
}

int snapshot_fetch(struct wload_snapshot *snapshot, const char *spec,
                   const struct wload_fetch_options *fetch, struct wload_error *err)
{
    struct progress progress;
    const struct wload_fetch_options shown = begin_fetch(fetch, &progress);

    return end_fetch(&progress, spec, wload_snapshot_fetch(snapshot, &shown, err), err);
}

int snapshot_open_model(struct wload_context *context, const char *spec,
                        const struct wload_snapshot_options *options,
                        const struct wload_fetch_options *fetch, struct wload_model **out,
                        struct wload_error *err)
{
    struct progress progress;
    const struct wload_fetch_options shown = begin_fetch(fetch, &progress);
    const struct wload_model_options model_options = {
        .struct_size = sizeof(model_options),
        .variant = options->variant,
        .snapshot = options,
        .fetch = &shown,
    };
    int rc = wload_model_open(context, spec, &model_options, out, err);

    rc = end_fetch(&progress, spec, rc, err);
    if (rc == WLOAD_OK) {
        interrupt_end();
    }
    return rc;
}

int64_t snapshot_left(const struct wload_snapshot_file *file, bool is_forced)
{
    if (is_forced) {
        return (int64_t)file->size_bytes;
    }
    return file->is_present ? -1 : (int64_t)(file->size_bytes - file->present_bytes);
}

/* ---- JSON ------------------------------------------------------------------------------- */

cJSON *snapshot_json(const char *spec, const struct wload_snapshot *snapshot)
{
    cJSON *json = cJSON_CreateObject();

    text_add_string(json, "spec", spec);
    text_add_string(json, "repo", snapshot->repo);
    text_add_string(json, "kind", snapshot->kind);
    text_add_string(json, "revision", snapshot->revision);
    text_add_string(json, "commit", snapshot->commit);
    text_add_string(json, "path", snapshot->path);
    text_add_string(json, "origin", snapshot->origin);
    text_add_string(json, "note", snapshot->note);
    (void)cJSON_AddNumberToObject(json, "files", snapshot->file_count);
    (void)cJSON_AddNumberToObject(json, "total_bytes", (double)snapshot->total_bytes);
    return json;
}

void snapshot_add_missing(cJSON *json, const struct wload_snapshot *snapshot, bool is_forced)
{
    cJSON *missing = cJSON_CreateArray();
    double sum = 0;

    for (uint32_t i = 0; i < snapshot->file_count; i++) {
        const struct wload_snapshot_file *file = &snapshot->files[i];
        int64_t left = snapshot_left(file, is_forced);
        cJSON *item;

        if (left < 0) {
            continue;
        }
        item = cJSON_CreateObject();
        text_add_string(item, "name", file->name);
        (void)cJSON_AddNumberToObject(item, "bytes", (double)left);
        (void)cJSON_AddItemToArray(missing, item);
        sum += (double)left;
    }
    (void)cJSON_AddNumberToObject(json, "missing_files", cJSON_GetArraySize(missing));
    (void)cJSON_AddNumberToObject(json, "missing_bytes", sum);
    (void)cJSON_AddItemToObject(json, "missing", missing);
}

/* ---- For people --------------------------------------------------------------------------- */

/* Columns that a name takes as it is printed; only whoever aligns by it is misled by a guess. */
static int width_of(const char *name)
{
    int width = 0;

    for (; *name; name++) {
        width += ((unsigned char)*name & 0xc0) != 0x80;
    }
    return width;
}

static void put_row(const char *name, int name_width, const char *size)
{
    text_put_escaped(stdout, name);
    (void)printf("%*s  %10s\n", name_width - width_of(name), "", size);
}

void snapshot_put_missing(const struct wload_snapshot *snapshot, bool is_forced)
{
    char size[TEXT_SIZE_BYTES];
    uint64_t bytes = 0;
    uint32_t count = 0;
    int width = width_of("FILE");

    for (uint32_t i = 0; i < snapshot->file_count; i++) {
        const struct wload_snapshot_file *file = &snapshot->files[i];
        int64_t left = snapshot_left(file, is_forced);

        count += left >= 0;
        bytes += left > 0 ? (uint64_t)left : 0;
        width = (int)wl_max((uint64_t)width, (uint64_t)width_of(file->name));
    }
    (void)printf("[dry-run] Will download %" PRIu32 " files (out of %" PRIu32 ") totalling %s.\n",
                 count, snapshot->file_count, text_size(bytes, size));
    put_row("FILE", width, "SIZE");
    for (uint32_t i = 0; i < snapshot->file_count; i++) {
        const struct wload_snapshot_file *file = &snapshot->files[i];
        int64_t left = snapshot_left(file, is_forced);

        put_row(file->name, width, left < 0 ? "-" : text_size((uint64_t)left, size));
    }
}
