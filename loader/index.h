/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index: all tensors of a model, by number and by name.
 *
 *   header of one file --wl_safetensors_read()--> table      one per file, any thread
 *   tables in file order --wl_index_build()--> index         once
 *
 * A table's strings and shapes move into the index; nothing is copied.
 */
#ifndef WL_INDEX_H
#define WL_INDEX_H

#include "base/map.h"
#include "wload.h"

/* The tensors of one file, in order of offset. */
struct wl_table {
    struct wload_tensor *tensors; /* name and shape point into `memory` */
    char *memory;                 /* one block for all names and shapes */
    uint32_t count;
};

struct wl_index {
    struct wload_tensor *tensors; /* by file, then by offset */
    struct wl_map names;          /* to tensor numbers */
    char **memories;              /* taken from the tables */
    uint32_t count;
    uint32_t memory_count;
};

void wl_table_clear(struct wl_table *table);

/* Takes the tables' content; they are empty afterwards, also on failure.  A name in two
 * tables is WLOAD_ERR_FORMAT, naming both files by `paths`. */
int wl_index_build(struct wl_table *tables, uint32_t table_count, const char *const *paths,
                   struct wl_index *out, struct wload_error *err);
void wl_index_clear(struct wl_index *index);

/* The tensor of that name, or NULL. */
const struct wload_tensor *wl_index_find(const struct wl_index *index, const char *name);

#endif /* WL_INDEX_H */
