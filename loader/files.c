/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

static int refuse(struct wl_files *files, const char *path, int sys_errno, const char *when,
                  struct wload_error *err)
{
    if (files->policy == WLOAD_IO_DIRECT) {
        return wl_err_sys(err, sys_errno, "'%s' refuses O_DIRECT %s", path, when);
    }
    if (files->note[0] == '\0') {
        (void)snprintf(files->note, sizeof(files->note), "O_DIRECT refused %s with %s: '%s'", when,
                       strerrorname_np(sys_errno), path);
    }
    return WLOAD_OK;
}

static int open_direct(struct wl_files *files, struct wl_job_file *file,
                       const struct wl_file_identity *expected, struct wload_error *err)
{
    struct wl_file_identity found;
    struct wload_error why = {0};
    uint32_t align;
    int fd = wl_file_open(file->path, O_DIRECT, &found, &why);

    if (why.sys_errno == EINVAL || why.sys_errno == EOPNOTSUPP) {
        return refuse(files, file->path, why.sys_errno, "at open", err);
    }
    if (fd < 0) {
        if (err) {
            *err = why;
        }
        return fd;
    }
    if (memcmp(&found, expected, sizeof(found)) != 0) {
        (void)wl_sys->close(fd);
        return wl_err_set(err, WLOAD_ERR_IO, "'%s' changed while it was opened", file->path);
    }
    align = wl_file_direct_align(fd);
    if (align == 0) {
        (void)wl_sys->close(fd);
        return refuse(files, file->path, EOPNOTSUPP, "by statx", err);
    }
    file->align_bytes = align;
    file->direct_fd = fd;
    file->is_direct = true;
    return WLOAD_OK;
}

static int open_one(struct wl_files *files, const struct wload_model *model, uint32_t index,
                    struct wload_error *err)
{
    struct wl_job_file *file = &files->items[index];
    const struct wl_file_identity *expected = &model->identities[index];
    struct wl_file_identity found;
    int fd = wl_file_open(file->path, 0, &found, err);

    if (fd < 0) {
        return fd;
    }
    file->fd = fd;
    if (model->listed[index] != WL_NOT_LISTED ? found.size_bytes != expected->size_bytes
                                              : memcmp(&found, expected, sizeof(found)) != 0) {
        return wl_err_set(err, WLOAD_ERR_IO, "'%s' changed since the model was opened", file->path);
    }
    expected = &found; /* of one that came meanwhile, only the size was known */
    file->size_bytes = found.size_bytes;
    return files->policy == WLOAD_IO_BUFFERED ? WLOAD_OK : open_direct(files, file, expected, err);
}

/* The process may have no more descriptors: say how many the load takes, and what the limit is. */
static int refuse_count(const struct wl_files *files, const bool *is_wanted, const char *path,
                        struct wload_error *err)
{
    struct rlimit limit = {0};
    uint32_t wanted = 0;

    (void)getrlimit(RLIMIT_NOFILE, &limit);
    for (uint32_t i = 0; i < files->count; i++) {
        wanted += is_wanted[i];
    }
    return wl_err_sys(err, EMFILE,
                      "a load from %u files takes %u descriptors, and this process may have %llu "
                      "open: raise its limit (ulimit -n, setrlimit); at '%s'",
                      wanted, files->policy == WLOAD_IO_BUFFERED ? wanted : 2 * wanted,
                      (unsigned long long)limit.rlim_cur, path);
}

int wl_files_open(const struct wload_model *model, const bool *is_wanted,
                  enum wload_io_policy policy, struct wl_files *out, struct wload_error *err)
{
    int rc = WLOAD_OK;

    *out = (struct wl_files){.policy = policy};
    out->items = wl_sys_array(model->info.file_count, sizeof(out->items[0]));
    if (!out->items) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u open files",
                          model->info.file_count);
    }
    out->count = model->info.file_count;
    for (uint32_t i = 0; i < out->count; i++) {
        out->items[i] = (struct wl_job_file){.path = model->files[i].path,
                                             .size_bytes = model->files[i].size_bytes,
                                             .align_bytes = 1,
                                             .fd = -1,
                                             .direct_fd = -1};
    }
    for (uint32_t i = 0; i < out->count && rc == WLOAD_OK; i++) {
        if (is_wanted[i]) {
            rc = open_one(out, model, i, err);
            rc = rc < 0 && err && err->sys_errno == EMFILE
                     ? refuse_count(out, is_wanted, out->items[i].path, err)
                     : rc;
        }
    }
    if (rc < 0) {
        wl_files_clear(out);
    }
    return rc;
}

void wl_files_clear(struct wl_files *files)
{
    for (uint32_t i = 0; i < files->count; i++) {
        if (files->items[i].fd >= 0) {
            (void)wl_sys->close(files->items[i].fd);
        }
        if (files->items[i].direct_fd >= 0) {
            (void)wl_sys->close(files->items[i].direct_fd);
        }
    }
    wl_sys->free(files->items);
    *files = (struct wl_files){0};
}

int wl_files_refuse_direct(struct wl_files *files, uint32_t file_index, int sys_errno,
                           struct wload_error *err)
{
    files->items[file_index].is_direct = false;
    return refuse(files, files->items[file_index].path, sys_errno, "at a read", err);
}
