/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/model.h"

#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/resolve.h"
#include "loader/headers.h"
#include "loader/options.h"
#include "loader/spec.h"

/* A model on its way from spec to index. */
struct opening {
    const struct wl_log *log;
    struct wload_fetch_options fetch; /* taken */
    struct wl_manifest manifest;
    struct wl_shards *indexes; /* by manifest entry; empty where that is a weights file */
    struct wl_weights *files;
    struct wl_table *tables; /* by file */
    uint32_t file_count;
};

static void clear_opening(struct opening *opening)
{
    for (uint32_t i = 0; i < opening->file_count; i++) {
        wl_sys->free(opening->files[i].path);
        wl_table_clear(&opening->tables[i]);
    }
    for (uint32_t i = 0; opening->indexes && i < opening->manifest.count; i++) {
        wl_shards_clear(&opening->indexes[i]);
    }
    wl_sys->free(opening->files);
    wl_sys->free(opening->tables);
    wl_sys->free(opening->indexes);
    wl_manifest_clear(&opening->manifest);
}

/* ---- Spec to files -------------------------------------------------------------- */

static int find_manifest(struct opening *opening, const char *text,
                         const struct wload_model_options *options, struct wload_error *err)
{
    struct wload_snapshot_options snapshot;
    const struct wl_source_options taken = {.snapshot = &snapshot, .fetch = &opening->fetch};
    struct wl_spec spec;
    int rc = wl_snapshot_options_take(&snapshot, options->snapshot, err);

    rc = rc < 0 ? rc : wl_fetch_options_take(&opening->fetch, options->fetch, err);
    rc = rc < 0 ? rc : wl_spec_parse(text, options->variant, &spec, err);
    if (rc < 0) {
        return rc;
    }
    rc = wl_resolve(opening->log, &spec, &taken, &opening->manifest, err);
    wl_spec_clear(&spec);
    return rc;
}

static int read_index(struct wl_manifest_entry *entry, struct wl_shards *out,
                      struct wload_error *err)
{
    char *text = entry->text;

    entry->text = NULL;
    return text ? wl_shards_parse(entry->path, text, entry->text_bytes, out, err)
                : wl_shards_read(entry->path, out, err);
}

/* Read the indexes, and so learn how many files there are. */
static int read_indexes(struct opening *opening, uint32_t *file_count, struct wload_error *err)
{
    const struct wl_manifest *manifest = &opening->manifest;

    opening->indexes = wl_sys_array(manifest->count, sizeof(opening->indexes[0]));
    if (!opening->indexes) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u indexes", manifest->count);
    }
    for (uint32_t i = 0; i < manifest->count; i++) {
        int rc;

        if (manifest->entries[i].kind == WL_ENTRY_WEIGHTS) {
            *file_count += 1;
            continue;
        }
        rc = read_index(&opening->manifest.entries[i], &opening->indexes[i], err);
        if (rc < 0) {
            return rc;
        }
        *file_count += opening->indexes[i].name_count;
        WL_LOG(opening->log, WLOAD_LOG_INFO, "index", "'%s' maps %u tensors to %u shards",
               manifest->entries[i].path, opening->indexes[i].weight_map.count,
               opening->indexes[i].name_count);
    }
    if (*file_count > WL_FILES_MAX) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "a model of %u files; at most %u are loaded",
                          *file_count, WL_FILES_MAX);
    }
    return WLOAD_OK;
}

/* Where a file that is not on this machine is to be had; NULL: it is here, or nobody knows. */
static const struct wl_listing_file *find_listed(const struct wl_snapshot *snapshot,
                                                 const char *path)
{
    const struct wl_listing_file *file = NULL;

    if (snapshot) {
        const char *name = path + strlen(snapshot->store.snapshot_path) + 1;
        int64_t number = wl_listing_find(&snapshot->listing, name);
        struct wload_error why;

        file = number < 0 ? NULL : &snapshot->listing.files[number];
        file = file && snapshot->store.ops->find(&snapshot->store, file, &why) > 0 ? NULL : file;
    }
    return file;
}

/* Add a weights file.  `folder` is a path up to and with its last '/', `name` what follows. */
static int add_file(struct opening *opening, const char *folder, size_t folder_bytes,
                    const char *name, const struct wl_weights *described, struct wload_error *err)
{
    struct wl_weights *file = &opening->files[opening->file_count];

    *file = *described;
    file->path = wl_str_new("%.*s%s", (int)folder_bytes, folder, name);
    if (!file->path) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the name of '%s'", name);
    }
    file->listed = find_listed(opening->manifest.snapshot, file->path);
    opening->file_count++;
    return WLOAD_OK;
}

static int add_entry(struct opening *opening, uint32_t number, struct wload_error *err)
{
    const struct wl_manifest_entry *entry = &opening->manifest.entries[number];
    struct wl_shards *shards = &opening->indexes[number];
    const char *slash = strrchr(entry->path, '/');
    size_t folder_bytes = slash ? (size_t)(slash + 1 - entry->path) : 0;
    struct wl_weights file = {.prefix = entry->prefix};

    if (entry->kind == WL_ENTRY_WEIGHTS) {
        return add_file(opening, "", 0, entry->path, &file, err);
    }
    file.shards = shards;
    for (; file.shard < shards->name_count; file.shard++) {
        int rc = add_file(opening, entry->path, folder_bytes, shards->names[file.shard].text, &file,
                          err);

        if (rc < 0) {
            return rc;
        }
    }
    return WLOAD_OK;
}

static int find_files(struct opening *opening, struct wload_error *err)
{
    uint32_t file_count = 0;
    int rc = read_indexes(opening, &file_count, err);

    if (rc < 0) {
        return rc;
    }
    opening->files = wl_sys_array(file_count, sizeof(opening->files[0]));
    opening->tables = wl_sys_array(file_count, sizeof(opening->tables[0]));
    if (!opening->files || !opening->tables) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u files", file_count);
    }
    for (uint32_t i = 0; i < opening->manifest.count && rc == WLOAD_OK; i++) {
        rc = add_entry(opening, i, err);
    }
    return rc;
}

/* ---- Files to tensors ------------------------------------------------------------- */

static int check_shards(const struct opening *opening, struct wload_error *err)
{
    int rc = WLOAD_OK;

    for (uint32_t i = 0; i < opening->file_count; i++) {
        const struct wl_weights *file = &opening->files[i];

        if (file->left_out_count > 0) {
            WL_LOG(opening->log, WLOAD_LOG_WARN, "index",
                   "'%s': left out %u tensors that '%s' does not map to it, for example '%s'",
                   file->path, file->left_out_count, file->shards->path, file->left_out);
        }
    }
    for (uint32_t i = 0; i < opening->manifest.count && rc == WLOAD_OK; i++) {
        rc = wl_shards_check(&opening->indexes[i], err);
    }
    return rc;
}

static int count_bytes(struct wload_model *model, struct wload_error *err)
{
    uint64_t *total = &model->info.tensor_bytes;

    for (uint32_t i = 0; i < model->index.count; i++) {
        if (__builtin_add_overflow(*total, model->index.tensors[i].size_bytes, total)) {
            return wl_err_set(err, WLOAD_ERR_FORMAT, "the tensors have more than 2^64 bytes");
        }
    }
    model->info.tensor_count = model->index.count;
    return WLOAD_OK;
}

/* Move paths and tables into the model. */
static int build(struct opening *opening, struct wload_model *model, struct wload_error *err)
{
    uint32_t count = opening->file_count;
    const char **paths = wl_sys_array(count, sizeof(paths[0]));
    int rc;

    model->files = wl_sys_array(count, sizeof(model->files[0]));
    model->identities = wl_sys_array(count, sizeof(model->identities[0]));
    model->listed = wl_sys_array(count, sizeof(model->listed[0]));
    if (!paths || !model->files || !model->identities || !model->listed) {
        wl_sys->free(paths);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u files", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        paths[i] = opening->files[i].path;
        opening->files[i].path = NULL;
        model->identities[i] = opening->files[i].identity;
        model->listed[i] =
            opening->files[i].listed
                ? (uint32_t)(opening->files[i].listed - opening->manifest.snapshot->listing.files)
                : WL_NOT_LISTED;
        model->files[i] = (struct wload_file){
            .path = paths[i],
            .size_bytes = opening->files[i].identity.size_bytes,
            .tensor_count = opening->tables[i].count,
        };
    }
    model->info.file_count = count;
    model->snapshot = opening->manifest.snapshot;
    model->connection_count = opening->fetch.connection_count;
    model->write_policy = opening->fetch.io_policy;
    model->is_unkept = opening->manifest.is_unkept;
    model->unkept_why = opening->manifest.unkept_why;
    opening->manifest.unkept_why = NULL;
    model->note = opening->manifest.note;
    model->info.note = model->note ? model->note : "";
    opening->manifest.note = NULL;
    opening->manifest.snapshot = NULL;
    rc = wl_index_build(opening->tables, count, paths, &model->index, err);
    wl_sys->free(paths);
    return rc < 0 ? rc : count_bytes(model, err);
}

static int open_model(struct wload_model *model, const char *spec,
                      const struct wload_model_options *options, struct wload_error *err)
{
    struct opening opening = {.log = &model->context->log};
    int rc = find_manifest(&opening, spec, options, err);

    rc = rc < 0 ? rc : find_files(&opening, err);
    rc = rc < 0 ? rc
                : wl_headers_read(opening.files, opening.tables, opening.file_count,
                                  opening.manifest.snapshot, &opening.fetch, err);
    rc = rc < 0 ? rc : check_shards(&opening, err);
    rc = rc < 0 ? rc : build(&opening, model, err);
    clear_opening(&opening);
    return rc;
}

/* ---- The model ----------------------------------------------------------------------- */

int wload_model_open(struct wload_context *context, const char *spec,
                     const struct wload_model_options *options, struct wload_model **out,
                     struct wload_error *err)
{
    struct wload_model_options taken;
    struct wload_model *model;
    int rc;

    if (!spec || !out) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "%s is NULL", spec ? "out" : "spec");
    }
    rc = wl_options_take(&taken, sizeof(taken), options, err);
    if (rc < 0) {
        return rc;
    }
    model = wl_sys->alloc(sizeof(*model));
    if (!model) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a model");
    }
    atomic_init(&model->references, 1);
    rc = wl_context_share(context, &model->context, err);
    if (rc == WLOAD_OK) {
        rc = open_model(model, spec, &taken, err);
    }
    if (rc < 0) {
        wload_model_free(model);
        return rc;
    }
    WL_LOG(&model->context->log, WLOAD_LOG_INFO, "index",
           "%u tensors of %" PRIu64 " bytes in %u files", model->info.tensor_count,
           model->info.tensor_bytes, model->info.file_count);
    *out = model;
    return WLOAD_OK;
}

struct wload_model *wl_model_share(struct wload_model *model)
{
    atomic_fetch_add(&model->references, 1);
    return model;
}

void wload_model_free(struct wload_model *model)
{
    if (!model || atomic_fetch_sub(&model->references, 1) != 1) {
        return;
    }
    for (uint32_t i = 0; i < model->info.file_count; i++) {
        wl_sys->free((char *)(uintptr_t)model->files[i].path);
    }
    wl_index_clear(&model->index);
    wl_sys->free(model->files);
    wl_sys->free(model->identities);
    wl_sys->free(model->listed);
    wl_snapshot_free(model->snapshot);
    wl_sys->free(model->unkept_why);
    wl_sys->free(model->note);
    wload_context_free(model->context);
    wl_sys->free(model);
}

const struct wload_model_info *wload_model_info(const struct wload_model *model)
{
    return model ? &model->info : NULL;
}

const struct wload_tensor *wload_model_tensor(const struct wload_model *model, size_t index)
{
    return model && index < model->index.count ? &model->index.tensors[index] : NULL;
}

const struct wload_file *wload_model_file(const struct wload_model *model, size_t index)
{
    return model && index < model->info.file_count ? &model->files[index] : NULL;
}

const struct wload_tensor *wload_model_find(const struct wload_model *model, const char *name)
{
    return model && name ? wl_index_find(&model->index, name) : NULL;
}
