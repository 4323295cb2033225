/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"

/* Where the kernel does not tell, every device of today takes this. */
#define ALIGN_BYTES_UNKNOWN 4096u
#define ALIGN_BYTES_MAX     65536u

static const char *kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a FIFO";
    default:
        return "a device";
    }
}

static int open_quietly(const char *path, int flags)
{
    int fd;

    do {
        fd = wl_sys->openat(AT_FDCWD, path, flags, 0);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

int wl_file_open(const char *path, int flags, struct wl_file_identity *identity,
                 struct wload_error *err)
{
    struct stat status;
    int fd;
    int rc;

    flags |= O_RDONLY | O_CLOEXEC;
    fd = open_quietly(path, flags | O_NONBLOCK | O_NOCTTY); /* a FIFO would wait for a writer */
    if (fd < 0) {
        return errno == ENXIO ? wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' is no regular file", path)
                              : wl_err_sys(err, errno, "cannot open '%s'", path);
    }
    if (wl_sys->fstat(fd, &status) < 0) {
        rc = wl_err_sys(err, errno, "cannot examine '%s'", path);
        goto out_close;
    }
    if (!S_ISREG(status.st_mode)) {
        rc = wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' is %s, not a regular file", path,
                        kind_of(status.st_mode));
        goto out_close;
    }
    /* io_uring answers EAGAIN where it would have waited for a file that has O_NONBLOCK. */
    if (wl_sys->set_flags(fd, flags) < 0) {
        rc = wl_err_sys(err, errno, "cannot open '%s'", path);
        goto out_close;
    }
    *identity = (struct wl_file_identity){
        .device = status.st_dev,
        .inode = status.st_ino,
        .size_bytes = (uint64_t)status.st_size,
        .modified_ns = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec,
    };
    return fd;

out_close:
    (void)wl_sys->close(fd);
    return rc;
}

static int read_text(int fd, const char *path, size_t size_bytes, char **out,
                     struct wload_error *err)
{
    char *text = wl_sys_array(size_bytes, 1);
    int64_t got;

    if (!text) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its %zu bytes", path,
                          size_bytes);
    }
    got = wl_sys_read(fd, text, size_bytes, 0);
    if (got != (int64_t)size_bytes) {
        wl_sys->free(text);
        return got < 0 ? wl_err_sys(err, (int)-got, "cannot read '%s'", path)
                       : wl_err_at(err, WLOAD_ERR_IO, (uint64_t)got,
                                   "'%s' shrank to %" PRId64 " bytes while it was read", path, got);
    }
    *out = text;
    return WLOAD_OK;
}

uint32_t wl_file_direct_align(int fd)
{
    struct statx status = {0};
    uint32_t align = ALIGN_BYTES_UNKNOWN;

    if (wl_sys->statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
        (status.stx_mask & STATX_DIOALIGN) != 0) {
        align = status.stx_dio_offset_align > status.stx_dio_mem_align ? status.stx_dio_offset_align
                                                                       : status.stx_dio_mem_align;
    }
    return align <= ALIGN_BYTES_MAX && (align == 0 || wl_is_pow2(align)) ? align : 0;
}

int wl_file_read(const char *path, uint64_t bytes_max, char **text, size_t *size_bytes,
                 struct wload_error *err)
{
    struct wl_file_identity identity;
    int fd = wl_file_open(path, 0, &identity, err);
    int rc;

    if (fd < 0) {
        return fd;
    }
    if (identity.size_bytes > bytes_max) {
        rc = wl_err_set(err, WLOAD_ERR_FORMAT,
                        "'%s' has %" PRIu64 " bytes; at most %" PRIu64 " are read", path,
                        identity.size_bytes, bytes_max);
    } else {
        rc = read_text(fd, path, (size_t)identity.size_bytes, text, err);
    }
    (void)wl_sys->close(fd);
    if (rc == WLOAD_OK) {
        *size_bytes = (size_t)identity.size_bytes;
    }
    return rc;
}

/* A folder that is there already is as good, one behind a link, too; what else is there is not. */
static int make_folder(const char *path)
{
    struct statx status;

    if (wl_sys->mkdirat(AT_FDCWD, path, 0777) == 0) {
        return 0;
    }
    if (errno != EEXIST || wl_sys->statx(AT_FDCWD, path, 0, STATX_TYPE, &status) < 0) {
        return -errno; /* ENOENT: a link to what is not there */
    }
    return S_ISDIR(status.stx_mode) ? 0 : -ENOTDIR;
}

/* `path` is cut at its slashes and whole again. */
static int make_folders(char *path)
{
    size_t size = strlen(path);
    int rc = make_folder(path);

    while (rc == -ENOENT) {
        char *slash = strrchr(path, '/');

        if (!slash || slash == path) {
            break;
        }
        *slash = '\0';
        rc = make_folder(path);
    }
    for (size_t used = strlen(path); used < size; used = strlen(path)) {
        path[used] = '/';
        rc = rc < 0 ? rc : make_folder(path);
    }
    return rc;
}

int wl_file_make_folders(const char *path)
{
    char *copy = wl_str_new("%s", path);
    int rc = copy ? make_folders(copy) : -ENOMEM;

    wl_sys->free(copy);
    return rc;
}

int wl_file_make_folders_above(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder;
    int rc;

    if (!slash || slash == path) {
        return 0;
    }
    folder = wl_str_new("%.*s", (int)(slash - path), path);
    rc = folder ? make_folders(folder) : -ENOMEM;
    wl_sys->free(folder);
    return rc;
}

bool wl_file_is_at(int fd, const char *path)
{
    struct stat status;
    struct statx named;

    return wl_sys->fstat(fd, &status) == 0 && status.st_nlink > 0 &&
           wl_sys->statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO, &named) == 0 &&
           named.stx_ino == status.st_ino &&
           makedev(named.stx_dev_major, named.stx_dev_minor) == status.st_dev;
}

int wl_file_unique(char hex[WL_FILE_UNIQUE_BYTES])
{
    uint32_t value;
    ssize_t got;

    do {
        got = wl_sys->random(&value, sizeof(value), 0);
    } while (got < 0 && errno == EINTR);
    if (got != sizeof(value)) {
        return got < 0 ? -errno : -EIO;
    }
    (void)snprintf(hex, WL_FILE_UNIQUE_BYTES, "%08" PRIx32, value);
    return 0;
}
