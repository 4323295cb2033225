/* SPDX-License-Identifier: Apache-2.0 */
/* Files from outside: regular ones only, and no open that could block. */
#ifndef WL_FILE_H
#define WL_FILE_H

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

/* Read a whole file of at most `bytes_max`.  The text is freed with wl_sys->free(). */
int wl_file_read(const char *path, uint64_t bytes_max, char **text, size_t *size_bytes,
                 struct wload_error *err);

#endif /* WL_FILE_H */
