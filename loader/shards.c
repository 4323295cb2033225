/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/shards.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/sys.h"

#define WEIGHT_MAP "weight_map"

/* An entry of the map breaks `rule` with `name`. */
static int refuse(const struct wl_shards *shards, uint32_t entry, const char *rule,
                  const char *name, struct wload_error *err)
{
    uint64_t offset = wl_json_offset(&shards->weight_map, entry);

    return wl_err_at(err, WLOAD_ERR_FORMAT, offset,
                     "'%s': entry '%.200s' at offset %" PRIu64 " %s '%.100s'", shards->path,
                     wl_json_key(&shards->weight_map, entry), offset, rule, name);
}

/* ---- The shards' names -------------------------------------------------------- */

/* The number of the shard of that name, new or met before. */
static int number_of(struct wl_shards *shards, uint32_t entry, const char *name,
                     struct wl_map *numbers, uint32_t *number, struct wload_error *err)
{
    uint32_t newest = shards->name_count - 1;

    /* Neighbours in the map are neighbours in the model. */
    if (shards->name_count > 0 && strcmp(shards->names[newest].text, name) == 0) {
        *number = newest;
        return WLOAD_OK;
    }
    *number = shards->name_count;
    if (!wl_map_add(numbers, name, number)) {
        return WLOAD_OK;
    }
    if (!wl_str_is_file_name(name) || !wl_str_ends(name, ".safetensors")) {
        return refuse(shards, entry, "names no bare *.safetensors file:", name, err);
    }
    if (shards->name_count == WL_FILES_MAX) {
        return refuse(shards, entry, "names one shard too many:", name, err);
    }
    shards->names[shards->name_count++] = (struct wl_shards_name){.text = name, .met = *number};
    return WLOAD_OK;
}

static int place_tensors(struct wl_shards *shards, struct wl_map *numbers, struct wload_error *err)
{
    for (uint32_t i = 0; i < shards->weight_map.count; i++) {
        const char *name;
        int rc = wl_json_string(&shards->weight_map, i, &name, err);

        if (rc == WLOAD_OK && !name) {
            rc = refuse(shards, i, "has no string for a shard:", "", err);
        }
        if (rc == WLOAD_OK) {
            rc = number_of(shards, i, name, numbers, &shards->places[i].shard, err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return WLOAD_OK;
}

static int compare_names(const void *a, const void *b)
{
    const struct wl_shards_name *x = a, *y = b;

    return strcmp(x->text, y->text);
}

/* Files come in the order of their names, whatever the order of the map. */
static int sort_names(struct wl_shards *shards, struct wload_error *err)
{
    uint32_t *sorted = wl_sys_array(shards->name_count, sizeof(sorted[0])); /* by `met` */

    if (!sorted) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its shards", shards->path);
    }
    qsort(shards->names, shards->name_count, sizeof(shards->names[0]), compare_names);
    for (uint32_t i = 0; i < shards->name_count; i++) {
        sorted[shards->names[i].met] = i;
    }
    for (uint32_t i = 0; i < shards->weight_map.count; i++) {
        shards->places[i].shard = sorted[shards->places[i].shard];
    }
    wl_sys->free(sorted);
    return WLOAD_OK;
}

static int build(struct wl_shards *shards, struct wload_error *err)
{
    uint32_t count = shards->weight_map.count;
    uint32_t names_max = (uint32_t)wl_min(count, WL_FILES_MAX);
    struct wl_map numbers = {0};
    int rc;

    shards->places = wl_sys_array(count, sizeof(shards->places[0]));
    shards->names = wl_sys_array(names_max, sizeof(shards->names[0]));
    if (!shards->places || !shards->names || !wl_map_init(&numbers, names_max + 1u)) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its %u entries", shards->path,
                          count);
    }
    rc = place_tensors(shards, &numbers, err);
    wl_map_clear(&numbers);
    return rc < 0 ? rc : sort_names(shards, err);
}

/* ---- The index ------------------------------------------------------------------ */

/* What else is there is of no use here, but no key may come twice in it either. */
static int check_rest(const struct wl_shards *shards, struct wload_error *err)
{
    for (uint32_t i = 0; i < shards->root.count; i++) {
        cJSON *value;
        int rc;

        if (strcmp(wl_json_key(&shards->root, i), WEIGHT_MAP) == 0) {
            continue;
        }
        rc = wl_json_value(&shards->root, i, &value, err);
        if (rc < 0) {
            return rc;
        }
        cJSON_Delete(value);
    }
    return WLOAD_OK;
}

static int parse(struct wl_shards *shards, size_t text_bytes, struct wload_error *err)
{
    int rc = wl_json_open(shards->text, text_bytes, shards->path, 0, false, &shards->root, err);

    rc = rc < 0 ? rc : check_rest(shards, err);
    rc = rc < 0 ? rc : wl_json_open_member(&shards->root, WEIGHT_MAP, &shards->weight_map, err);
    if (rc == WLOAD_OK && shards->weight_map.count == 0) {
        rc = wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' maps no tensors", shards->path);
    }
    return rc < 0 ? rc : build(shards, err);
}

int wl_shards_parse(const char *path, char *text, size_t text_bytes, struct wl_shards *out,
                    struct wload_error *err)
{
    struct wl_shards shards = {.path = wl_str_new("%s", path), .text = text};
    int rc;

    if (shards.path) {
        rc = parse(&shards, text_bytes, err);
    } else {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its name", path);
    }
    if (rc < 0) {
        wl_shards_clear(&shards);
        return rc;
    }
    *out = shards;
    return WLOAD_OK;
}

int wl_shards_read(const char *path, struct wl_shards *out, struct wload_error *err)
{
    size_t text_bytes;
    char *text;
    int rc = wl_file_read(path, WL_INDEX_BYTES_MAX, &text, &text_bytes, err);

    return rc < 0 ? rc : wl_shards_parse(path, text, text_bytes, out, err);
}

void wl_shards_clear(struct wl_shards *shards)
{
    wl_json_close(&shards->weight_map);
    wl_json_close(&shards->root);
    wl_sys->free(shards->places);
    wl_sys->free(shards->names);
    wl_sys->free(shards->text);
    wl_sys->free(shards->path);
    *shards = (struct wl_shards){0};
}

/* ---- The shards against the index ------------------------------------------------ */

/* The entry of that name: likely the one behind `last`, for shards and maps are ordered alike. */
static bool find_entry(const struct wl_shards *shards, const char *name, uint32_t last,
                       uint32_t *number)
{
    if (last + 1 < shards->weight_map.count &&
        strcmp(wl_json_key(&shards->weight_map, last + 1), name) == 0) {
        *number = last + 1;
        return true;
    }
    return wl_map_find(&shards->weight_map.keys, name, number);
}

uint32_t wl_shards_take(struct wl_shards *shards, uint32_t shard, size_t prefix_bytes,
                        struct wl_table *table, const char **first)
{
    uint32_t before = table->count;
    uint32_t kept = 0;
    uint32_t number = 0;

    for (uint32_t i = 0; i < before; i++) {
        const char *name = table->tensors[i].name + prefix_bytes;

        if (find_entry(shards, name, number, &number) && shards->places[number].shard == shard) {
            shards->places[number].is_found = true;
            table->tensors[kept++] = table->tensors[i];
        } else if (kept == i) {
            *first = name;
        }
    }
    table->count = kept;
    return before - kept;
}

int wl_shards_check(const struct wl_shards *shards, struct wload_error *err)
{
    for (uint32_t i = 0; i < shards->weight_map.count; i++) {
        if (!shards->places[i].is_found) {
            return refuse(shards, i, "is not in its shard",
                          shards->names[shards->places[i].shard].text, err);
        }
    }
    return WLOAD_OK;
}
