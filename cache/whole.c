/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/whole.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/select.h"

#define NAME_BYTES (2 * WL_PATH_BYTES_MAX)

/* ---- The shards of an index ------------------------------------------------------------ */

static bool is_index(const char *name)
{
    const char *slash = strrchr(name, '/');

    return wl_str_ends(name, ".json") && wl_select_knows(slash ? slash + 1 : name);
}

/* `index` is the name of the index: its shards lie beside it. */
static int find_shard(const struct wl_wanted *wanted, const struct wl_listing *listing,
                      const char *index, const char *shard, struct wload_error *err)
{
    const char *slash = strrchr(index, '/');
    char name[NAME_BYTES];

    (void)snprintf(name, sizeof(name), "%.*s%s", slash ? (int)(slash + 1 - index) : 0, index,
                   shard);
    return wl_listing_find(listing, name) >= 0
               ? WLOAD_OK
               : wl_err_set(err, WLOAD_ERR_NOT_FOUND,
                            "'%s': '%.200s' names '%.200s', which is not there", wanted->repo,
                            index, shard);
}

static int find_shards(const struct wl_wanted *wanted, const struct wl_listing *listing,
                       const char *index, const struct wl_json_object *weight_map,
                       struct wload_error *err)
{
    const char *last = "";

    for (uint32_t i = 0; i < weight_map->count; i++) {
        const char *shard;
        int rc = wl_json_string(weight_map, i, &shard, err);

        if (rc == WLOAD_OK && shard && strcmp(shard, last) != 0) {
            rc = find_shard(wanted, listing, index, shard, err);
            last = shard;
        }
        if (rc < 0) {
            return rc;
        }
    }
    return WLOAD_OK;
}

static int check_index(const struct wl_wanted *wanted, const struct wl_listing *listing,
                       const char *index, const char *path, struct wload_error *err)
{
    struct wl_json_object root = {0};
    struct wl_json_object weight_map = {0};
    size_t text_bytes;
    char *text;
    int rc = wl_file_read(path, WL_INDEX_BYTES_MAX, &text, &text_bytes, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_json_open(text, text_bytes, path, 0, false, &root, err);
    rc = rc < 0 ? rc : wl_json_open_member(&root, "weight_map", &weight_map, err);
    rc = rc < 0 ? rc : find_shards(wanted, listing, index, &weight_map, err);
    wl_json_close(&weight_map);
    wl_json_close(&root);
    wl_sys->free(text);
    return rc;
}

static int check_indexes(const struct wl_wanted *wanted, const struct wl_listing *listing,
                         const bool *is_wanted, const char *path, struct wload_error *err)
{
    int rc = WLOAD_OK;

    for (uint32_t i = 0; i < listing->count && rc == WLOAD_OK; i++) {
        const char *index = listing->files[i].name;
        char *index_path;

        if (!is_wanted[i] || !is_index(index)) {
            continue;
        }
        index_path = wl_str_new("%s/%s", path, index);
        rc = index_path ? check_index(wanted, listing, index, index_path, err)
                        : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the path of '%s'", index);
        wl_sys->free(index_path);
    }
    return rc;
}

/* ---- All ------------------------------------------------------------------------------- */

static bool has_folder(const struct wl_listing *listing, const char *folder)
{
    for (uint32_t i = 0; i < listing->count; i++) {
        if (wl_str_starts(listing->files[i].name, folder)) {
            return true;
        }
    }
    return false;
}

static int check_components(const struct wl_wanted *wanted, const struct wl_components *components,
                            const struct wl_listing *listing, struct wload_error *err)
{
    bool wants_weights = wanted->scope == WLOAD_SCOPE_WEIGHTS;
    const char *subfolder = wanted->subfolder;
    char folder[NAME_BYTES];

    for (uint32_t i = 0; i < components->count; i++) {
        (void)snprintf(folder, sizeof(folder), "%s%s%s/", subfolder, subfolder[0] ? "/" : "",
                       components->names[i]);
        if (!has_folder(listing, folder) && !(wants_weights && components->are_weightless[i])) {
            return wl_err_set(err, WLOAD_ERR_NOT_FOUND,
                              "'%s': '%s' names '%.200s', which is not there", wanted->repo,
                              WL_PIPELINE_FILE, components->names[i]);
        }
    }
    return WLOAD_OK;
}

static bool has_weights(const struct wl_listing *listing, const bool *is_wanted)
{
    for (uint32_t i = 0; i < listing->count; i++) {
        if (is_wanted[i] && wl_str_ends(listing->files[i].name, ".safetensors")) {
            return true;
        }
    }
    return false;
}

int wl_whole_check(const struct wl_wanted *wanted, const struct wl_components *components,
                   const struct wl_listing *listing, const bool *is_wanted, const char *path,
                   struct wload_error *err)
{
    bool is_file = wl_listing_find(listing, wanted->subfolder) >= 0;
    int rc = check_components(wanted, components, listing, err);

    rc = rc < 0 ? rc : check_indexes(wanted, listing, is_wanted, path, err);
    if (rc == WLOAD_OK && !is_file && !has_weights(listing, is_wanted)) {
        rc = wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' has no weights here", wanted->repo);
    }
    return rc;
}
