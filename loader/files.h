/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a job, open: one descriptor through the page cache, one past it.
 *
 * A file is read with O_DIRECT as long as that works.  An open that succeeds
 * proves nothing, so the engine takes a file's direct way back when a read says
 * EINVAL; wl_files_refuse_direct() is the only way from direct to buffered.
 */
#ifndef WL_FILES_H
#define WL_FILES_H

#include <stdbool.h>

#include "loader/model.h"

#define WL_NOTE_BYTES 256

struct wl_job_file {
    const char *path; /* the model's */
    uint64_t size_bytes;
    uint32_t align_bytes; /* of offsets, sizes and memory in direct reads */
    int fd;
    int direct_fd;  /* -1: the file system refused O_DIRECT, or nobody wants it */
    bool is_direct; /* direct reads are still believed to work */
};

struct wl_files {
    struct wl_job_file *items; /* by the model's file number; fd -1 where nothing is wanted */
    uint32_t count;
    enum wload_io_policy policy;
    char note[WL_NOTE_BYTES]; /* why some file is buffered though the policy is not; else empty */
};

/*
 * Open the files that `is_wanted` marks, all of them on this machine, and compare them with what
 * the model indexed.  With WLOAD_IO_DIRECT a file that refuses O_DIRECT is an error.
 */
int wl_files_open(const struct wload_model *model, const bool *is_wanted,
                  enum wload_io_policy policy, struct wl_files *out, struct wload_error *err);
void wl_files_clear(struct wl_files *files);

/*
 * A direct read of the file failed with `sys_errno`: use the page cache from now
 * on.  With WLOAD_IO_DIRECT this is the error to return.
 */
int wl_files_refuse_direct(struct wl_files *files, uint32_t file_index, int sys_errno,
                           struct wload_error *err);

#endif /* WL_FILES_H */
