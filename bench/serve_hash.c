/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "bench/serve.h"
#include "bench/team.h"

#define LARGE_BYTES (1u << 20) /* kept outside of git from here on */

/* Kept outside of git whatever their size, as a hub is set up for models. */
static const char *const large_suffixes[] = {
    ".safetensors", ".gguf", ".bin", ".pt",  ".pth",     ".ckpt",   ".onnx", ".h5",
    ".msgpack",     ".npy",  ".npz", ".ot",  ".parquet", ".pickle", ".pkl",  ".tflite",
    ".tar",         ".gz",   ".zip", ".zst", ".arrow",   ".model",
};

struct work {
    struct serve_snapshot *snapshot;
    struct serve_file **files; /* the largest first */
};

static bool is_large(const struct serve_file *file)
{
    for (size_t i = 0; i < WL_COUNT_OF(large_suffixes); i++) {
        if (wl_str_ends(file->path, large_suffixes[i])) {
            return true;
        }
    }
    return file->identity.size_bytes >= LARGE_BYTES;
}

/* ---- Content --------------------------------------------------------------------- */

static int add_content(int fd, const struct serve_file *file, struct wl_digest *digest,
                       void *buffer, struct wload_error *err)
{
    const uint64_t size = file->identity.size_bytes;
    uint64_t at = 0;

    while (at < size) {
        size_t part = (size_t)wl_min(size - at, TEAM_BUFFER_BYTES);
        int64_t got = wl_sys_read(fd, buffer, part, at);
        int rc;

        if (got < (int64_t)part) {
            return got < 0 ? wl_err_sys(err, (int)-got, "cannot read '%s'", file->path)
                           : wl_err_at(err, WLOAD_ERR_IO, at, "'%s' shrinks", file->path);
        }
        if (serve_stop_came()) {
            return wl_err_set(err, WLOAD_ERR_CANCELED, "the server ends");
        }
        rc = wl_digest_add(digest, buffer, part, err);
        if (rc < 0) {
            return rc;
        }
        at += part;
    }
    return WLOAD_OK;
}

static int hash_file(void *user, size_t index, void *buffer, struct wload_error *err)
{
    const struct work *work = user;
    struct serve_file *file = work->files[index];
    /* Only how many digits it has matters. */
    static const char digits[] = "0000000000000000000000000000000000000000000000000000000000000000";
    const char *like = is_large(file) ? digits : digits + sizeof(digits) - WL_HUB_COMMIT_BYTES;
    struct wl_digest *digest;
    char hex[WL_DIGEST_HEX_BYTES] = "";
    int fd = serve_snapshot_open(work->snapshot, file, err);
    int rc;

    if (fd < 0) {
        return fd;
    }
    rc = wl_digest_of_file(like, file->identity.size_bytes, &digest, err);
    if (rc == WLOAD_OK) {
        rc = add_content(fd, file, digest, buffer, err);
        if (rc == WLOAD_OK) {
            rc = wl_digest_finish(digest, hex, err);
        }
        wl_digest_free(digest);
    }
    (void)close(fd);
    if (rc == WLOAD_OK) {
        memcpy(file->hash, hex, sizeof(file->hash));
    }
    return rc;
}

static int compare_sizes(const void *a, const void *b)
{
    uint64_t left = (*(struct serve_file *const *)a)->identity.size_bytes;
    uint64_t right = (*(struct serve_file *const *)b)->identity.size_bytes;

    return left < right ? 1 : -(left > right);
}

int serve_hash_missing(struct serve_snapshot *snapshot, struct wload_error *err)
{
    struct work work = {.snapshot = snapshot};
    size_t count = 0;
    int rc;

    work.files = wl_sys_array(snapshot->file_count, sizeof(struct serve_file *));
    if (!work.files) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to hash %zu files",
                          snapshot->file_count);
    }
    for (size_t i = 0; i < snapshot->file_count; i++) {
        if (snapshot->files[i].hash[0] == '\0') {
            work.files[count++] = &snapshot->files[i];
        }
    }
    qsort(work.files, count, sizeof(struct serve_file *), compare_sizes);
    rc = team_run(count, hash_file, &work, err);
    wl_sys->free(work.files);
    return rc;
}

/* ---- What follows from it -------------------------------------------------------- */

int serve_hash_pointer(const struct serve_file *file, char text[SERVE_POINTER_BYTES])
{
    return snprintf(text, SERVE_POINTER_BYTES,
                    "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %" PRIu64 "\n",
                    file->hash, file->identity.size_bytes);
}

static int hash_pointer(struct serve_file *file, struct wload_error *err)
{
    static const char like[] = "0000000000000000000000000000000000000000";
    char text[SERVE_POINTER_BYTES];
    size_t size = (size_t)serve_hash_pointer(file, text);
    char hex[WL_DIGEST_HEX_BYTES] = "";
    struct wl_digest *digest;
    int rc = wl_digest_of_file(like, size, &digest, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_digest_add(digest, text, size, err);
    if (rc == WLOAD_OK) {
        rc = wl_digest_finish(digest, hex, err);
    }
    wl_digest_free(digest);
    if (rc == WLOAD_OK) {
        memcpy(file->blob_id, hex, sizeof(file->blob_id));
    }
    return rc;
}

int serve_hash_blobs(struct serve_snapshot *snapshot, struct wload_error *err)
{
    for (size_t i = 0; i < snapshot->file_count; i++) {
        struct serve_file *file = &snapshot->files[i];

        if (serve_file_is_large(file)) {
            int rc = hash_pointer(file, err);

            if (rc < 0) {
                return rc;
            }
        } else {
            memcpy(file->blob_id, file->hash, sizeof(file->blob_id));
        }
    }
    return WLOAD_OK;
}

int serve_hash_list(const struct serve_file *files, size_t count, char hex[WL_HUB_COMMIT_BYTES],
                    struct wload_error *err)
{
    char digits[WL_DIGEST_HEX_BYTES];
    struct wl_digest *digest;
    int rc = wl_digest_new(WL_DIGEST_SHA1, &digest, err);

    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < count && rc == WLOAD_OK; i++) {
        rc = wl_digest_add(digest, files[i].path, strlen(files[i].path) + 1, err);
        if (rc == WLOAD_OK) {
            rc = wl_digest_add(digest, files[i].hash, strlen(files[i].hash) + 1, err);
        }
    }
    if (rc == WLOAD_OK) {
        rc = wl_digest_finish(digest, digits, err);
    }
    wl_digest_free(digest);
    if (rc == WLOAD_OK) {
        memcpy(hex, digits, WL_HUB_COMMIT_BYTES);
    }
    return rc;
}
