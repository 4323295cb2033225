/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "bench/interrupt.h"
#include "bench/synth.h"

#define BUFFER_BYTES    (4u << 20)
#define WORD_BYTES      sizeof(uint64_t)
#define TEMPORARY       ".incomplete"
#define TEMP_NAME_BYTES 160u

/* SplitMix64: its word number n needs none of the others. */
#define STEP  0x9e3779b97f4a7c15u
#define MIX_1 0xbf58476d1ce4e5b9u
#define MIX_2 0x94d049bb133111ebu

struct output {
    const struct synth_model *model;
    const struct synth_files *files;
    const char *path;
    uint64_t seed;
    unsigned char *buffer;
    int root;
    bool made_root;
    bool made_directory[SYNTH_COMPONENTS_MAX];
};

/* A file being written, through the buffer. */
struct writer {
    struct output *output;
    const char *name;
    int fd;
    size_t used_bytes;
};

/* ---- Content --------------------------------------------------------------------- */

static uint64_t mix(uint64_t word)
{
    word = (word ^ word >> 30) * MIX_1;
    word = (word ^ word >> 27) * MIX_2;
    return word ^ word >> 31;
}

/* Which bits are random and which are set, so that floats are finite and smaller than 1. */
struct bits {
    uint64_t random;
    uint64_t set;
};

static struct bits bits_of(enum wload_dtype dtype)
{
    switch ((uint32_t)dtype) {
    case WLOAD_BF16:
        return (struct bits){0x83ff83ff83ff83ff, 0x3800380038003800};
    case WLOAD_F16:
        return (struct bits){0x8fff8fff8fff8fff, 0x2000200020002000};
    case WLOAD_F32:
        return (struct bits){0x81ffffff81ffffff, 0x3800000038000000};
    case WLOAD_F8_E4M3:
        return (struct bits){0xbfbfbfbfbfbfbfbf, 0};
    default:
        return (struct bits){UINT64_MAX, 0};
    }
}

/* Words `first` to `first + count` of a stream; `out` need not be aligned. */
static void generate(unsigned char *out, size_t count, uint64_t stream, uint64_t first,
                     struct bits bits)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t word = htole64((mix(stream + (first + i) * STEP) & bits.random) | bits.set);

        memcpy(out + i * WORD_BYTES, &word, WORD_BYTES);
    }
}

/* ---- One file ---------------------------------------------------------------------- */

static int failed(const struct writer *writer, int sys_errno, struct wload_error *err)
{
    return wl_err_sys(err, sys_errno, "cannot write '%s/%s'", writer->output->path, writer->name);
}

static int flush(struct writer *writer, struct wload_error *err)
{
    int rc = wl_sys_write(writer->fd, writer->output->buffer, writer->used_bytes);

    writer->used_bytes = 0;
    if (interrupt_came()) {
        return wl_err_set(err, WLOAD_ERR_CANCELED, "interrupted; '%s' is as it was before",
                          writer->output->path);
    }
    return rc < 0 ? failed(writer, -rc, err) : WLOAD_OK;
}

static int put_text(struct writer *writer, const char *text, size_t size, struct wload_error *err)
{
    int rc = WLOAD_OK;

    while (size > 0 && rc == WLOAD_OK) {
        size_t part = wl_min(size, BUFFER_BYTES - writer->used_bytes);

        memcpy(writer->output->buffer + writer->used_bytes, text, part);
        writer->used_bytes += part;
        text += part;
        size -= part;
        rc = writer->used_bytes == BUFFER_BYTES ? flush(writer, err) : WLOAD_OK;
    }
    return rc;
}

static int put_tensor(struct writer *writer, const struct synth_tensor *tensor, uint64_t stream,
                      struct wload_error *err)
{
    const struct bits bits = bits_of(tensor->dtype);
    uint64_t words = tensor->size_bytes / WORD_BYTES;
    char last[WORD_BYTES];
    uint64_t done = 0;

    stream = mix(stream + (tensor->number + 1) * STEP);
    while (done < words) {
        size_t count = wl_min(words - done, (BUFFER_BYTES - writer->used_bytes) / WORD_BYTES);

        if (count == 0) {
            int rc = flush(writer, err);

            if (rc < 0) {
                return rc;
            }
            continue;
        }
        generate(writer->output->buffer + writer->used_bytes, count, stream, done, bits);
        writer->used_bytes += count * WORD_BYTES;
        done += count;
    }
    generate((unsigned char *)last, 1, stream, words, bits);
    return put_text(writer, last, tensor->size_bytes % WORD_BYTES, err);
}

static int put_content(struct writer *writer, const struct synth_file *file,
                       struct wload_error *err)
{
    uint64_t stream = mix(mix(writer->output->seed) + (file->stream + 1) * STEP);
    int rc = put_text(writer, file->text, file->text_bytes, err);

    for (size_t i = 0; i < file->tensor_count && rc == WLOAD_OK; i++) {
        rc = put_tensor(writer, &file->tensors[i], stream, err);
    }
    return rc == WLOAD_OK ? flush(writer, err) : rc;
}

/* A full disk is better known before than after; a file system that cannot tell is no error. */
static int reserve(const struct writer *writer, uint64_t size_bytes, struct wload_error *err)
{
    if (fallocate(writer->fd, 0, 0, (off_t)size_bytes) < 0 &&
        (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
        return failed(writer, errno, err);
    }
    return WLOAD_OK;
}

static void name_temporary(const struct synth_file *file, char out[TEMP_NAME_BYTES])
{
    (void)snprintf(out, TEMP_NAME_BYTES, "%s" TEMPORARY, file->name);
}

static int write_file(struct output *output, const struct synth_file *file, struct wload_error *err)
{
    struct writer writer = {.output = output, .name = file->name};
    char temporary[TEMP_NAME_BYTES];
    int rc;

    name_temporary(file, temporary);
    writer.fd = openat(output->root, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (writer.fd < 0) {
        return failed(&writer, errno, err);
    }
    rc = reserve(&writer, file->size_bytes, err);
    if (rc == WLOAD_OK) {
        rc = put_content(&writer, file, err);
    }
    if (rc == WLOAD_OK && fsync(writer.fd) < 0) {
        rc = failed(&writer, errno, err);
    }
    if (close(writer.fd) < 0 && rc == WLOAD_OK) {
        rc = failed(&writer, errno, err);
    }
    return rc;
}

/* ---- The directory ----------------------------------------------------------------- */

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool is_old_weights(const char *name)
{
    return wl_str_glob("*.safetensors", name) || wl_str_glob("*.safetensors.index*.json", name) ||
           strcmp(name, "model_index.json") == 0;
}

static DIR *list(int root, const char *name)
{
    int fd = openat(root, *name ? name : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);

    if (fd >= 0 && !entries) {
        (void)close(fd);
    }
    return entries;
}

static bool is_empty(int root)
{
    DIR *entries = list(root, "");
    const struct dirent *entry;
    bool empty = true;

    while (entries && empty && (entry = readdir(entries)) != NULL) {
        empty = is_dots(entry->d_name);
    }
    if (entries) {
        (void)closedir(entries);
    }
    return empty;
}

/* Shards of another count beside the new ones would make one model of two. */
static void remove_old_weights(int root, const char *directory)
{
    DIR *entries = list(root, directory);
    const struct dirent *entry;

    while (entries && (entry = readdir(entries)) != NULL) {
        if (is_old_weights(entry->d_name)) {
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
        }
    }
    if (entries) {
        (void)closedir(entries);
    }
}

static int open_root(struct output *output, bool is_forced, struct wload_error *err)
{
    output->made_root = mkdir(output->path, 0755) == 0;
    if (!output->made_root && errno != EEXIST) {
        return wl_err_sys(err, errno, "cannot create '%s'", output->path);
    }
    output->root = open(output->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (output->root < 0) {
        return wl_err_sys(err, errno, "cannot open '%s'", output->path);
    }
    if (!output->made_root && !is_forced && !is_empty(output->root)) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "'%s' is not empty; --force replaces the weights in it", output->path);
    }
    return WLOAD_OK;
}

static int make_directories(struct output *output, struct wload_error *err)
{
    for (size_t i = 0; i < output->model->component_count; i++) {
        const char *name = output->model->components[i].directory;

        if (*name == '\0') {
            continue;
        }
        output->made_directory[i] = mkdirat(output->root, name, 0755) == 0;
        if (!output->made_directory[i] && errno != EEXIST) {
            return wl_err_sys(err, errno, "cannot create '%s/%s'", output->path, name);
        }
    }
    return WLOAD_OK;
}

static int write_temporaries(struct output *output, struct wload_error *err)
{
    int rc = WLOAD_OK;

    for (size_t i = 0; i < output->files->count && rc == WLOAD_OK; i++) {
        rc = write_file(output, &output->files->items[i], err);
    }
    return rc;
}

static int publish(const struct output *output, struct wload_error *err)
{
    char temporary[TEMP_NAME_BYTES];

    for (size_t i = 0; i < output->model->component_count; i++) {
        remove_old_weights(output->root, output->model->components[i].directory);
    }
    remove_old_weights(output->root, "");
    for (size_t i = 0; i < output->files->count; i++) {
        const struct synth_file *file = &output->files->items[i];

        name_temporary(file, temporary);
        if (renameat(output->root, temporary, output->root, file->name) < 0) {
            return wl_err_sys(err, errno, "cannot move '%s/%s' into place", output->path,
                              file->name);
        }
    }
    return WLOAD_OK;
}

/* What is not there is not removed: a failure to remove says no more than that. */
static void undo(const struct output *output)
{
    char temporary[TEMP_NAME_BYTES];

    for (size_t i = 0; i < output->files->count; i++) {
        name_temporary(&output->files->items[i], temporary);
        (void)unlinkat(output->root, temporary, 0);
    }
    for (size_t i = 0; i < output->model->component_count; i++) {
        if (output->made_directory[i]) {
            (void)unlinkat(output->root, output->model->components[i].directory, AT_REMOVEDIR);
        }
    }
    if (output->made_root) {
        (void)rmdir(output->path);
    }
}

int synth_write(const struct synth_model *model, const struct synth_files *files, const char *path,
                uint64_t seed, bool is_forced, struct wload_error *err)
{
    struct output output = {.model = model, .files = files, .path = path, .seed = seed, .root = -1};
    int rc;

    output.buffer = malloc(BUFFER_BYTES);
    if (!output.buffer) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a buffer");
    }
    rc = open_root(&output, is_forced, err);
    if (rc < 0) {
        goto out_close;
    }
    rc = make_directories(&output, err);
    if (rc == WLOAD_OK) {
        rc = write_temporaries(&output, err);
    }
    if (rc == WLOAD_OK) {
        rc = publish(&output, err);
    }
    if (rc < 0) {
        undo(&output);
    }
out_close:
    if (output.root >= 0) {
        (void)close(output.root);
    }
    free(output.buffer);
    return rc;
}
