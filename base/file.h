/* SPDX-License-Identifier: Apache-2.0 */
/* Files: regular ones from outside, by no open that could block; folders and names of our own. */
#ifndef WL_FILE_H
#define WL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wload.h"

/* What must be the same when a file is opened again, or it is another file. */
struct wl_file_identity {
    uint64_t device;
    uint64_t inode;
    uint64_t size_bytes;
    int64_t modified_ns;
};

/*
 * Open `path` for reading without ever blocking and say what it is.  Refuses all
 * but regular files with WLOAD_ERR_FORMAT.  Returns a descriptor that the caller
 * closes; `flags` are added to O_RDONLY | O_CLOEXEC.
 */
int wl_file_open(const char *path, int flags, struct wl_file_identity *identity,
                 struct wload_error *err);

/* What direct I/O on the open file asks of offsets, sizes and memory, in bytes; 0: there is none.
 */
uint32_t wl_file_direct_align(int fd);

/* Read a whole file of at most `bytes_max`.  The text is freed with wl_sys->free(). */
int wl_file_read(const char *path, uint64_t bytes_max, char **text, size_t *size_bytes,
                 struct wload_error *err);

/* Make a folder, and those above it that are missing.  0 or a negative errno: -ENOTDIR where a part
 * of the path is something else, -ENOENT where one is a link to what is not there. */
int wl_file_make_folders(const char *path);
/* The same for the folder that `path` lies in. */
int wl_file_make_folders_above(const char *path);

/* Whether the open file is what `path` names, itself and not by a link. */
bool wl_file_is_at(int fd, const char *path);

#define WL_FILE_UNIQUE_BYTES 9

/* Eight random hex digits for a name that nobody else takes.  0 or a negative errno. */
int wl_file_unique(char hex[WL_FILE_UNIQUE_BYTES]);

#endif /* WL_FILE_H */
