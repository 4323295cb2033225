/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/sys.h"
#include "bench/serve.h"

#define NS_PER_S           1000000000
#define SETTLED_NS         (2ll * NS_PER_S) /* clocks of file systems are that coarse */
#define ITEMS_FIRST        64u
#define FILES_MAX          1000000u
#define LISTING_BYTES_MAX  (64u << 20)
#define LISTING_VERSION    1
#define METADATA_BYTES_MAX 255u
#define METADATA_SLACK_NS  (1ll * NS_PER_S)
#define METADATA_PATH      ".cache/huggingface/download"

struct reading {
    struct serve_snapshot *snapshot;
    bool has_links_to_blobs;
};

static int no_memory(const char *directory, struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'", directory);
}

static int64_t ns_of(struct timespec time)
{
    return (int64_t)time.tv_sec * NS_PER_S + time.tv_nsec;
}

static struct wl_file_identity identity_of(const struct stat *status)
{
    return (struct wl_file_identity){
        .device = status->st_dev,
        .inode = status->st_ino,
        .size_bytes = (uint64_t)status->st_size,
        .modified_ns = ns_of(status->st_mtim),
    };
}

static bool is_same(const struct wl_file_identity *a, const struct wl_file_identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size_bytes == b->size_bytes &&
           a->modified_ns == b->modified_ns;
}

/* "DIRECTORY/PATH", or the directory itself.  NULL: no memory. */
static char *path_in(const char *directory, const char *path)
{
    char *text;

    return asprintf(&text, "%s%s%s", directory, *path ? "/" : "", path) < 0 ? NULL : text;
}

/* ---- Reading a directory --------------------------------------------------------- */

/* One more zeroed item at the end of an array, or NULL. */
static void *grow(void **items, size_t *count, size_t *max, size_t item_bytes)
{
    char *bytes = *items;

    if (*count == *max) {
        size_t wanted = wl_max(ITEMS_FIRST, *max * 2);

        bytes = reallocarray(bytes, wanted, item_bytes);
        if (!bytes) {
            return NULL;
        }
        *items = bytes;
        *max = wanted;
    }
    return memset(bytes + (*count)++ * item_bytes, 0, item_bytes);
}

static int add_folder(struct serve_snapshot *snapshot, const char *path, const struct stat *status,
                      struct wload_error *err)
{
    void *items = snapshot->folders;
    struct serve_folder *folder =
        grow(&items, &snapshot->folder_count, &snapshot->folder_max, sizeof(*folder));

    snapshot->folders = items;
    if (!folder) {
        return no_memory(snapshot->directory, err);
    }
    folder->path = strdup(path);
    folder->modified_ns = ns_of(status->st_mtim);
    if (snapshot->modified_ns < folder->modified_ns) {
        snapshot->modified_ns = folder->modified_ns;
    }
    return folder->path ? WLOAD_OK : no_memory(snapshot->directory, err);
}

static int add_file(struct serve_snapshot *snapshot, const char *path, const struct stat *status,
                    const char *hash, struct wload_error *err)
{
    void *items = snapshot->files;
    struct serve_file *file;

    if (snapshot->file_count == FILES_MAX) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' has more than %u files", snapshot->directory,
                          FILES_MAX);
    }
    file = grow(&items, &snapshot->file_count, &snapshot->file_max, sizeof(*file));
    snapshot->files = items;
    if (!file) {
        return no_memory(snapshot->directory, err);
    }
    file->path = strdup(path);
    file->identity = identity_of(status);
    (void)snprintf(file->hash, sizeof(file->hash), "%s", hash);
    return file->path ? WLOAD_OK : no_memory(snapshot->directory, err);
}

/* The status of the regular file that a path leads to without leaving the root.  False: none. */
static bool look_behind(const struct serve_snapshot *snapshot, const char *full,
                        struct stat *status)
{
    int fd = open(full, O_PATH | O_CLOEXEC);
    bool is_ours = fd >= 0 && serve_is_below(fd, snapshot->root) && fstat(fd, status) == 0 &&
                   S_ISREG(status->st_mode);

    if (fd >= 0) {
        (void)close(fd);
    }
    return is_ours;
}

/* A link that dangles or leads out is a file that is not there. */
static int add_link(const struct reading *reading, const char *path, struct wload_error *err)
{
    struct serve_snapshot *snapshot = reading->snapshot;
    char target[WL_PATH_BYTES_MAX + 1];
    char *full = path_in(snapshot->directory, path);
    const char *hash = "";
    struct stat status;
    int rc = WLOAD_OK;
    ssize_t size;

    if (!full) {
        return no_memory(snapshot->directory, err);
    }
    size = readlink(full, target, sizeof(target) - 1);
    if (size > 0 && look_behind(snapshot, full, &status)) {
        const char *slash;

        target[size] = '\0';
        slash = strrchr(target, '/');
        if (reading->has_links_to_blobs && slash && wl_hub_is_hash(slash + 1)) {
            hash = slash + 1;
        }
        rc = add_file(snapshot, path, &status, hash, err);
    }
    free(full);
    return rc;
}

static int visit(void *user, const char *path, const struct stat *status, struct wload_error *err)
{
    const struct reading *reading = user;

    if (wl_hub_is_private_path(path)) {
        return 1;
    }
    if (S_ISDIR(status->st_mode)) {
        return add_folder(reading->snapshot, path, status, err);
    }
    if (S_ISLNK(status->st_mode)) {
        return add_link(reading, path, err);
    }
    return S_ISREG(status->st_mode) ? add_file(reading->snapshot, path, status, "", err) : WLOAD_OK;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct serve_file *)a)->path, ((const struct serve_file *)b)->path);
}

/* ---- Hashes that need not be computed -------------------------------------------- */

/* Of a listing that a client of the cache kept: large files by SHA-256, others by their blob. */
static void take_listed(struct serve_snapshot *snapshot, const cJSON *files)
{
    if (!cJSON_IsObject(files)) {
        return;
    }
    wl_json_each (item, files) {
        const cJSON *large = wl_json_member(item, "lfs_sha256");
        const cJSON *hash = large ? large : wl_json_member(item, "blob_id");
        int64_t size = wl_json_whole(wl_json_member(item, "size"));
        size_t number = serve_snapshot_first(snapshot, item->string);
        struct serve_file *file;

        if (number == snapshot->file_count || !cJSON_IsString(hash) ||
            !wl_hub_is_hash(hash->valuestring)) {
            continue;
        }
        file = &snapshot->files[number];
        if (file->hash[0] == '\0' && strcmp(file->path, item->string) == 0 &&
            size == (int64_t)file->identity.size_bytes) {
            (void)snprintf(file->hash, sizeof(file->hash), "%s", hash->valuestring);
        }
    }
}

/* A listing that cannot be read is none: the hashes are computed. */
static void read_listing(struct serve_snapshot *snapshot, const char *path)
{
    size_t size;
    char *text;
    cJSON *json;

    if (wl_file_read(path, LISTING_BYTES_MAX, &text, &size, NULL) < 0) {
        return;
    }
    if (wl_json_parse(text, size, path, 0, &json, NULL) == WLOAD_OK) {
        if (wl_json_whole(wl_json_member(json, "format_version")) == LISTING_VERSION) {
            take_listed(snapshot, wl_json_member(json, "files"));
        }
        cJSON_Delete(json);
    }
    wl_sys->free(text);
}

/* What a client noted of a file of a plain directory: commit, ETag and when. */
static void take_noted(const char *bytes, size_t size, struct serve_file *file)
{
    char text[METADATA_BYTES_MAX + 1] = "";
    const char *line;
    char etag[WL_HUB_HASH_BYTES + 1] = "";
    char *end;
    double when;

    memcpy(text, bytes, size);
    line = strchr(text, '\n');
    if (!line || sscanf(line + 1, "%65[^\n]", etag) != 1 || !wl_hub_is_hash(etag)) {
        return;
    }
    line = strchr(line + 1, '\n');
    when = line ? strtod(line + 1, &end) : 0;
    if (line && end != line + 1 && end[strspn(end, "\n")] == '\0' &&
        (double)(file->identity.modified_ns - METADATA_SLACK_NS) <= when * NS_PER_S) {
        memcpy(file->hash, etag, strlen(etag) + 1);
    }
}

static int read_notes(struct serve_snapshot *snapshot, struct wload_error *err)
{
    for (size_t i = 0; i < snapshot->file_count; i++) {
        struct serve_file *file = &snapshot->files[i];
        size_t size;
        char *path;
        char *text;

        if (file->hash[0] != '\0') {
            continue;
        }
        if (asprintf(&path, "%s/" METADATA_PATH "/%s.metadata", snapshot->directory, file->path) <
            0) {
            return no_memory(snapshot->directory, err);
        }
        if (wl_file_read(path, METADATA_BYTES_MAX, &text, &size, NULL) == WLOAD_OK) {
            take_noted(text, size, file);
            wl_sys->free(text);
        }
        free(path);
    }
    return WLOAD_OK;
}

static void take_known(struct serve_snapshot *snapshot, const struct serve_snapshot *before)
{
    for (size_t i = 0; before && i < snapshot->file_count; i++) {
        struct serve_file *file = &snapshot->files[i];
        const struct serve_file *old = serve_snapshot_file(before, file->path);

        if (file->hash[0] == '\0' && old && is_same(&old->identity, &file->identity)) {
            memcpy(file->hash, old->hash, sizeof(file->hash));
        }
    }
}

static int find_hashes(struct serve_snapshot *snapshot, const struct serve_origin *origin,
                       const struct serve_snapshot *before, struct wload_error *err)
{
    int rc = WLOAD_OK;

    take_known(snapshot, before);
    if (origin->tree_path) {
        read_listing(snapshot, origin->tree_path);
    } else {
        rc = read_notes(snapshot, err);
    }
    if (rc == WLOAD_OK) {
        rc = serve_hash_missing(snapshot, err);
    }
    if (rc == WLOAD_OK) {
        rc = serve_hash_blobs(snapshot, err);
    }
    return rc;
}

/* ---- Snapshots ------------------------------------------------------------------- */

static int fill(struct serve_snapshot *snapshot, const struct serve_origin *origin,
                const struct serve_snapshot *before, struct wload_error *err)
{
    struct reading reading = {.snapshot = snapshot, .has_links_to_blobs = origin->tree_path};
    struct timespec now;
    int rc;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    snapshot->read_ns = ns_of(now);
    snapshot->root = strdup(origin->root);
    snapshot->directory = strdup(origin->directory);
    if (!snapshot->root || !snapshot->directory) {
        return no_memory(origin->directory, err);
    }
    rc = serve_walk(snapshot->root, snapshot->directory, visit, &reading, err);
    if (rc < 0) {
        return rc;
    }
    if (snapshot->file_count > 0) {
        qsort(snapshot->files, snapshot->file_count, sizeof(snapshot->files[0]), compare);
    }
    rc = find_hashes(snapshot, origin, before, err);
    if (rc == WLOAD_OK) {
        rc = serve_folders_fill(snapshot, err);
    }
    if (rc == WLOAD_OK && origin->commit) {
        memcpy(snapshot->commit, origin->commit, sizeof(snapshot->commit));
    } else if (rc == WLOAD_OK) {
        rc = serve_hash_list(snapshot->files, snapshot->file_count, snapshot->commit, err);
    }
    return rc;
}

int serve_snapshot_read(const struct serve_origin *origin, const struct serve_snapshot *before,
                        struct serve_snapshot **out, struct wload_error *err)
{
    struct serve_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    int rc = snapshot ? fill(snapshot, origin, before, err) : no_memory(origin->directory, err);

    if (rc < 0) {
        serve_snapshot_free(snapshot);
        return rc;
    }
    *out = snapshot;
    return WLOAD_OK;
}

void serve_snapshot_free(struct serve_snapshot *snapshot)
{
    if (!snapshot) {
        return;
    }
    for (size_t i = 0; i < snapshot->file_count; i++) {
        free(snapshot->files[i].path);
    }
    for (size_t i = 0; i < snapshot->folder_count; i++) {
        free(snapshot->folders[i].path);
    }
    free(snapshot->files);
    free(snapshot->folders);
    free(snapshot->directory);
    free(snapshot->root);
    free(snapshot);
}

/* Whether what lies at `path` in the directory was modified at that time. */
static bool is_of_time(const struct serve_snapshot *snapshot, const struct serve_folder *folder)
{
    char *path = path_in(snapshot->directory, folder->path);
    struct stat status;
    bool is = path && lstat(path, &status) == 0 && S_ISDIR(status.st_mode) &&
              ns_of(status.st_mtim) == folder->modified_ns;

    free(path);
    return is;
}

static bool is_unchanged(const struct serve_snapshot *snapshot, const struct serve_file *file)
{
    char *path = path_in(snapshot->directory, file->path);
    struct wl_file_identity now;
    struct stat status;
    bool is = path && stat(path, &status) == 0;

    free(path);
    if (is) {
        now = identity_of(&status);
    }
    return is && is_same(&now, &file->identity);
}

bool serve_snapshot_is_fresh(const struct serve_snapshot *snapshot, bool with_files)
{
    /* What changed just before it was read may have changed again within a tick of the clock. */
    if (snapshot->modified_ns > snapshot->read_ns - SETTLED_NS) {
        return false;
    }
    for (size_t i = 0; i < snapshot->folder_count; i++) {
        if (!is_of_time(snapshot, &snapshot->folders[i])) {
            return false;
        }
    }
    for (size_t i = 0; with_files && i < snapshot->file_count; i++) {
        if (!is_unchanged(snapshot, &snapshot->files[i])) {
            return false;
        }
    }
    return true;
}

size_t serve_snapshot_first(const struct serve_snapshot *snapshot, const char *path)
{
    size_t low = 0;
    size_t high = snapshot->file_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(snapshot->files[middle].path, path) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct serve_file *serve_snapshot_file(const struct serve_snapshot *snapshot,
                                             const char *path)
{
    size_t number = serve_snapshot_first(snapshot, path);

    return number < snapshot->file_count && strcmp(snapshot->files[number].path, path) == 0
               ? &snapshot->files[number]
               : NULL;
}

int serve_snapshot_open(const struct serve_snapshot *snapshot, const struct serve_file *file,
                        struct wload_error *err)
{
    char *path = path_in(snapshot->directory, file->path);
    struct wl_file_identity identity;
    int fd = path ? wl_file_open(path, 0, &identity, err) : no_memory(snapshot->directory, err);

    if (fd >= 0 && (!serve_is_below(fd, snapshot->root) || !is_same(&identity, &file->identity))) {
        (void)close(fd);
        fd = wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' has changed", path);
    }
    free(path);
    return fd;
}
