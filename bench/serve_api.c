/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/json.h"
#include "base/str.h"
#include "bench/serve.h"
#include "bench/text.h"

#define PAGE_ENTRIES_MAX 1000u
#define NS_PER_S         1000000000
#define NS_PER_MS        1000000
#define CONVERTED        "refs/convert/"
#define REQUESTED        "refs/pr/"

/* ---- Files and directories ------------------------------------------------------- */

static void add_large(cJSON *json, const struct serve_file *file, const char *hash_name)
{
    char pointer[SERVE_POINTER_BYTES];
    cJSON *large = cJSON_AddObjectToObject(json, "lfs");

    (void)cJSON_AddStringToObject(large, hash_name, file->hash);
    (void)cJSON_AddNumberToObject(large, "size", (double)file->identity.size_bytes);
    (void)cJSON_AddNumberToObject(large, "pointerSize", serve_hash_pointer(file, pointer));
}

static cJSON *entry_json(const char *type, const char *oid, uint64_t size_bytes, const char *path)
{
    cJSON *json = cJSON_CreateObject();

    (void)cJSON_AddStringToObject(json, "type", type);
    (void)cJSON_AddStringToObject(json, "oid", oid);
    (void)cJSON_AddNumberToObject(json, "size", (double)size_bytes);
    (void)cJSON_AddStringToObject(json, "path", path);
    return json;
}

static cJSON *file_json(const struct serve_file *file)
{
    cJSON *json = entry_json("file", file->blob_id, file->identity.size_bytes, file->path);

    if (serve_file_is_large(file)) {
        add_large(json, file, "oid");
    }
    return json;
}

static cJSON *folder_json(const struct serve_folder *folder)
{
    return entry_json("directory", folder->id, 0, folder->path);
}

/* ---- Trees: pages of entries ----------------------------------------------------- */

/*
 * An entry's key is its path, a folder's with a slash at its end.  Entries come in the
 * order of their keys, which is that of the files with each folder before its first
 * file, so the key of a page's last entry tells where the next one begins.
 */
struct page {
    const struct serve_snapshot *snapshot;
    const char *cursor; /* NULL: the first page */
    cJSON *entries;
    size_t count;
    const char *last; /* its first last_size bytes are the last entry's key */
    size_t last_size;
    bool is_full; /* and there is more */
};

/* Whether the entry of that key belongs to the page; counts it. */
static bool belongs(struct page *page, const char *path, size_t key_size)
{
    if (page->cursor && strncmp(path, page->cursor, key_size) <= 0) {
        return false;
    }
    if (page->count == PAGE_ENTRIES_MAX) {
        page->is_full = true;
        return false;
    }
    page->count++;
    page->last = path;
    page->last_size = key_size;
    return true;
}

/* Returns the number of the first file behind the folder. */
static size_t put_folder(struct page *page, const char *path, size_t key_size)
{
    const struct serve_folder *folder = serve_snapshot_folder(page->snapshot, path, key_size - 1);

    WL_ASSERT(folder);
    if (belongs(page, path, key_size)) {
        (void)cJSON_AddItemToArray(page->entries, folder_json(folder));
    }
    return folder->first_file + folder->file_count;
}

/* Files [first, end) of the list. */
struct range {
    size_t first;
    size_t end;
};

/* All below the folder whose key is the first `top_size` bytes of their paths. */
static void put_all(struct page *page, struct range range, size_t top_size)
{
    const struct serve_file *files = page->snapshot->files;

    for (size_t i = range.first; i < range.end && !page->is_full; i++) {
        const char *path = files[i].path;
        const char *slash = strchr(path + top_size, '/');

        for (; slash && !page->is_full; slash = strchr(slash + 1, '/')) {
            size_t key_size = (size_t)(slash + 1 - path);

            if (i == range.first || strncmp(files[i - 1].path, path, key_size) != 0) {
                (void)put_folder(page, path, key_size);
            }
        }
        if (!page->is_full && belongs(page, path, strlen(path))) {
            (void)cJSON_AddItemToArray(page->entries, file_json(&files[i]));
        }
    }
}

/* The same, without what lies in folders below it. */
static void put_level(struct page *page, struct range range, size_t top_size)
{
    const struct serve_file *files = page->snapshot->files;

    while (range.first < range.end && !page->is_full) {
        const char *path = files[range.first].path;
        const char *slash = strchr(path + top_size, '/');

        if (slash) {
            range.first = put_folder(page, path, (size_t)(slash + 1 - path));
            continue;
        }
        if (belongs(page, path, strlen(path))) {
            (void)cJSON_AddItemToArray(page->entries, file_json(&files[range.first]));
        }
        range.first++;
    }
}

cJSON *serve_api_tree(const struct serve_route *route, const struct serve_snapshot *snapshot,
                      const struct serve_folder *folder, char **next)
{
    struct page page = {.snapshot = snapshot, .cursor = route->cursor};
    size_t top_size = strlen(folder->path) + (*folder->path != '\0');
    struct range range = {folder->first_file, folder->first_file + folder->file_count};

    *next = NULL;
    if (route->cursor) {
        range.first = wl_max(range.first, serve_snapshot_first(snapshot, route->cursor));
    }
    page.entries = cJSON_CreateArray();
    if (route->is_recursive) {
        put_all(&page, range, top_size);
    } else {
        put_level(&page, range, top_size);
    }
    if (page.is_full) {
        *next = strndup(page.last, page.last_size);
        if (!*next) {
            cJSON_Delete(page.entries);
            return NULL;
        }
    }
    return page.entries;
}

cJSON *serve_api_paths(const struct serve_snapshot *snapshot, char *const *paths, size_t count)
{
    cJSON *entries = cJSON_CreateArray();

    for (size_t i = 0; i < count; i++) {
        const struct serve_file *file = serve_snapshot_file(snapshot, paths[i]);
        const struct serve_folder *folder =
            serve_snapshot_folder(snapshot, paths[i], strlen(paths[i]));

        if (file) {
            (void)cJSON_AddItemToArray(entries, file_json(file));
        } else if (folder && *folder->path) {
            (void)cJSON_AddItemToArray(entries, folder_json(folder));
        }
    }
    return entries;
}

/* ---- Repositories ---------------------------------------------------------------- */

static void add_time(cJSON *json, const char *name, int64_t time_ns)
{
    time_t seconds = (time_t)(time_ns / NS_PER_S);
    char text[64];
    struct tm utc;
    size_t used;

    if (gmtime_r(&seconds, &utc)) {
        used = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
        (void)snprintf(text + used, sizeof(text) - used, ".%03dZ",
                       (int)(time_ns % NS_PER_S / NS_PER_MS));
        (void)cJSON_AddStringToObject(json, name, text);
    }
}

static void add_files(cJSON *json, const struct serve_snapshot *snapshot, bool has_blobs)
{
    cJSON *siblings = cJSON_AddArrayToObject(json, "siblings");

    for (size_t i = 0; i < snapshot->file_count; i++) {
        const struct serve_file *file = &snapshot->files[i];
        cJSON *sibling = cJSON_CreateObject();

        (void)cJSON_AddStringToObject(sibling, "rfilename", file->path);
        if (has_blobs) {
            (void)cJSON_AddStringToObject(sibling, "blobId", file->blob_id);
            (void)cJSON_AddNumberToObject(sibling, "size", (double)file->identity.size_bytes);
            if (serve_file_is_large(file)) {
                add_large(sibling, file, "sha256");
            }
        }
        (void)cJSON_AddItemToArray(siblings, sibling);
    }
}

/* The official client wants each of these members. */
cJSON *serve_api_info(const struct serve_route *route, const struct serve_snapshot *snapshot)
{
    cJSON *json = cJSON_CreateObject();

    (void)cJSON_AddStringToObject(json, "id", route->repo);
    if (route->kind == WL_HUB_MODEL) {
        (void)cJSON_AddStringToObject(json, "modelId", route->repo);
    }
    (void)cJSON_AddStringToObject(json, "sha", snapshot->commit);
    add_time(json, "lastModified", snapshot->modified_ns);
    (void)cJSON_AddBoolToObject(json, "private", false);
    (void)cJSON_AddBoolToObject(json, "gated", false);
    (void)cJSON_AddBoolToObject(json, "disabled", false);
    (void)cJSON_AddNumberToObject(json, "downloads", 0);
    (void)cJSON_AddNumberToObject(json, "likes", 0);
    (void)cJSON_AddArrayToObject(json, "tags");
    add_files(json, snapshot, route->has_blobs);
    return json;
}

struct lists {
    cJSON *branches;
    cJSON *converts;
    cJSON *requests;
};

static cJSON *ref_json(const char *name, const char *ref, const char *commit)
{
    cJSON *json = cJSON_CreateObject();

    (void)cJSON_AddStringToObject(json, "name", name);
    (void)cJSON_AddStringToObject(json, "ref", ref);
    (void)cJSON_AddStringToObject(json, "targetCommit", commit);
    return json;
}

static bool has_ref(const cJSON *list, const char *ref)
{
    wl_json_each (item, list) {
        if (strcmp(wl_json_member(item, "ref")->valuestring, ref) == 0) {
            return true;
        }
    }
    return false;
}

/* A cache does not tell tags from branches: all are branches. */
static int add_ref(void *user, const char *name, const char *commit)
{
    struct lists *lists = user;
    cJSON *list = lists->branches;
    char *ref;

    if (wl_str_starts(name, CONVERTED)) {
        list = lists->converts;
    } else if (wl_str_starts(name, REQUESTED)) {
        list = lists->requests;
    }
    if (asprintf(&ref, "%s%s", list == lists->branches ? "refs/heads/" : "", name) < 0) {
        return -1;
    }
    if (list && !has_ref(list, ref)) {
        name += list == lists->converts ? strlen(CONVERTED) : 0;
        name += list == lists->requests ? strlen(REQUESTED) : 0;
        (void)cJSON_AddItemToArray(list, ref_json(name, ref, commit));
    }
    free(ref);
    return 0;
}

int serve_api_refs(struct serve_catalog *catalog, const struct serve_route *route, cJSON **out,
                   struct wload_error *err)
{
    struct lists lists = {0};
    cJSON *json = cJSON_CreateObject();
    int rc;

    lists.branches = cJSON_AddArrayToObject(json, "branches");
    lists.converts = cJSON_AddArrayToObject(json, "converts");
    (void)cJSON_AddArrayToObject(json, "tags");
    lists.requests = route->has_requests ? cJSON_AddArrayToObject(json, "pullRequests") : NULL;
    rc = serve_catalog_refs(catalog, route->kind, route->repo, add_ref, &lists, err);
    if (rc != SERVE_FOUND) {
        cJSON_Delete(json);
        return rc;
    }
    *out = json;
    return SERVE_FOUND;
}
