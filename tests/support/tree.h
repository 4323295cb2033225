/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders under sample_dir(), by paths relative to it. */
#ifndef TREE_H
#define TREE_H

#include "sample.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#define TREE_PATH_BYTES 1024

/* The whole path of `name`; holds until the eighth call after this one. */
static inline const char *tree_path(const char *name)
{
    static char paths[8][TREE_PATH_BYTES];
    static unsigned turn;
    char *path = paths[turn++ % 8];

    CHECK(snprintf(path, TREE_PATH_BYTES, "%s/%s", sample_dir(), name) < TREE_PATH_BYTES);
    return path;
}

/* The folders that `name` lies in, made where they are not there. */
static inline void tree_make_folders(const char *name)
{
    char folder[TREE_PATH_BYTES];

    memcpy(folder, tree_path(name), sizeof(folder));
    for (char *at = folder + strlen(sample_dir()) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(folder, 0755);
        *at = '/';
    }
}

static inline void tree_write(const char *name, const void *data, size_t size)
{
    int fd;

    tree_make_folders(name);
    fd = open(tree_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, data, size), (ssize_t)size);
    CHECK_EQ(close(fd), 0);
}

static inline void tree_write_text(const char *name, const char *text)
{
    tree_write(name, text, strlen(text));
}

/* A safetensors file of this header, and data_bytes bytes behind it. */
static inline void tree_write_weights(const char *name, const char *header, size_t data_bytes)
{
    size_t header_bytes = strlen(header);
    uint64_t length = header_bytes;
    char *file = calloc(1, sizeof(length) + header_bytes + data_bytes);

    CHECK(file != NULL);
    memcpy(file, &length, sizeof(length));
    memcpy(file + sizeof(length), header, header_bytes);
    tree_write(name, file, sizeof(length) + header_bytes + data_bytes);
    free(file);
}

/* A file of `names`, separated by spaces: each a tensor of one byte. */
static inline void tree_write_tensors(const char *name, const char *names)
{
    char header[8192] = "{";
    char list[2048];
    size_t used = 1;
    unsigned count = 0;

    (void)snprintf(list, sizeof(list), "%s", names);
    for (char *save = NULL, *at = strtok_r(list, " ", &save); at; at = strtok_r(NULL, " ", &save)) {
        used += (size_t)snprintf(header + used, sizeof(header) - used,
                                 "%s\"%s\":{\"dtype\":\"U8\",\"shape\":[1],"
                                 "\"data_offsets\":[%u,%u]}",
                                 count > 0 ? "," : "", at, count, count + 1);
        count++;
        CHECK(used + 1 < sizeof(header));
    }
    header[used] = '}';
    tree_write_weights(name, header, count);
}

#endif /* TREE_H */
