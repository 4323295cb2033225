/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/index.h"

#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

void wl_table_clear(struct wl_table *table)
{
    wl_sys->free(table->tensors);
    wl_sys->free(table->memory);
    *table = (struct wl_table){0};
}

/* Room for all tensors, and for the memory that their names live in. */
static int make_room(const struct wl_table *tables, uint32_t table_count, struct wl_index *index,
                     struct wload_error *err)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < table_count; i++) {
        count += tables[i].count;
    }
    if (count > WL_TENSORS_MAX) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "a model of more than %u tensors", WL_TENSORS_MAX);
    }
    index->tensors = wl_sys_array((size_t)count, sizeof(index->tensors[0]));
    index->memories = wl_sys_array(table_count, sizeof(index->memories[0]));
    if (!index->tensors || !index->memories || !wl_map_init(&index->names, (size_t)count)) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u tensors", (unsigned)count);
    }
    return WLOAD_OK;
}

static int take_table(struct wl_table *table, const char *const *paths, struct wl_index *index,
                      struct wload_error *err)
{
    index->memories[index->memory_count++] = table->memory;
    table->memory = NULL;
    for (uint32_t i = 0; i < table->count; i++) {
        struct wload_tensor *tensor = &index->tensors[index->count];
        uint32_t number = index->count;

        *tensor = table->tensors[i];
        tensor->tensor_index = number;
        if (!wl_map_add(&index->names, tensor->name, &number)) {
            const struct wload_tensor *other = &index->tensors[number];

            return wl_err_at(err, WLOAD_ERR_FORMAT, tensor->file_offset,
                             "tensor '%.100s' is in both '%s' and '%s'", tensor->name,
                             paths[other->file_index], paths[tensor->file_index]);
        }
        index->count++;
    }
    return WLOAD_OK;
}

int wl_index_build(struct wl_table *tables, uint32_t table_count, const char *const *paths,
                   struct wl_index *out, struct wload_error *err)
{
    struct wl_index index = {0};
    int rc = make_room(tables, table_count, &index, err);

    for (uint32_t i = 0; i < table_count && rc == WLOAD_OK; i++) {
        rc = take_table(&tables[i], paths, &index, err);
    }
    for (uint32_t i = 0; i < table_count; i++) {
        wl_table_clear(&tables[i]);
    }
    if (rc < 0) {
        wl_index_clear(&index);
        return rc;
    }
    *out = index;
    return WLOAD_OK;
}

void wl_index_clear(struct wl_index *index)
{
    for (uint32_t i = 0; i < index->memory_count; i++) {
        wl_sys->free(index->memories[i]);
    }
    wl_sys->free(index->memories);
    wl_sys->free(index->tensors);
    wl_map_clear(&index->names);
    *index = (struct wl_index){0};
}

const struct wload_tensor *wl_index_find(const struct wl_index *index, const char *name)
{
    uint32_t number;

    return wl_map_find(&index->names, name, &number) ? &index->tensors[number] : NULL;
}
