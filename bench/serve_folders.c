/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "bench/serve.h"

/* The first `size` bytes of a path. */
struct name {
    const char *path;
    size_t size;
};

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct serve_folder *)a)->path, ((const struct serve_folder *)b)->path);
}

static int compare_name(const void *key, const void *item)
{
    const struct name *name = key;
    const struct serve_folder *folder = item;
    int order = strncmp(name->path, folder->path, name->size);

    return order != 0 ? order : -(folder->path[name->size] != '\0');
}

static struct serve_folder *find(const struct serve_snapshot *snapshot, const char *path,
                                 size_t size)
{
    const struct name name = {.path = path, .size = size};

    return snapshot->folder_count == 0 ? NULL
                                       : bsearch(&name, snapshot->folders, snapshot->folder_count,
                                                 sizeof(snapshot->folders[0]), compare_name);
}

/* All that lies below a folder stands together, for that is how files are sorted.  Each folder is
 * in the list, but for a top whose status could not be had. */
static void count_files(struct serve_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->file_count; i++) {
        const char *path = snapshot->files[i].path;

        for (const char *end = path; end; end = strchr(end + 1, '/')) {
            struct serve_folder *folder = find(snapshot, path, (size_t)(end - path));

            if (folder && folder->file_count++ == 0) {
                folder->first_file = i;
            }
        }
    }
}

int serve_folders_fill(struct serve_snapshot *snapshot, struct wload_error *err)
{
    int rc = WLOAD_OK;

    if (snapshot->folder_count > 0) {
        qsort(snapshot->folders, snapshot->folder_count, sizeof(snapshot->folders[0]),
              compare_paths);
    }
    count_files(snapshot);
    for (size_t i = 0; i < snapshot->folder_count && rc == WLOAD_OK; i++) {
        struct serve_folder *folder = &snapshot->folders[i];

        if (serve_stop_came()) {
            return wl_err_set(err, WLOAD_ERR_CANCELED, "the server ends");
        }
        if (*folder->path != '\0') {
            rc = serve_hash_list(snapshot->files + folder->first_file, folder->file_count,
                                 folder->id, err);
        }
    }
    return rc;
}

const struct serve_folder *serve_snapshot_folder(const struct serve_snapshot *snapshot,
                                                 const char *path, size_t size)
{
    const struct serve_folder *folder = find(snapshot, path, size);

    return folder && (folder->file_count > 0 || size == 0) ? folder : NULL;
}
