/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/sys.h"

#define TRIES_MAX       64u /* others may remove the file as often as we make it */
#define LOCK_MODE       0664
#define SOFT_MODE       0644 /* who may write it could break it */
#define HOST_BYTES_MAX  256
#define OWNER_BYTES_MAX 512
#define NOTICE_NS       (10 * 1000000000ll)
#define OPEN_FLAGS      (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

enum {
    AGAIN = 1, /* what is held is no longer what the path names */
    VANISHED   /* so is the folder */
};

static int open_retrying(const char *path, int flags, unsigned mode)
{
    int fd;

    do {
        fd = wl_sys->openat(AT_FDCWD, path, flags | OPEN_FLAGS, mode);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/* A descriptor, or a negative errno.  Never truncates: another's words may be in it. */
static int open_file(const char *path, bool *is_ours)
{
    int fd = open_retrying(path, O_RDWR, 0);

    *is_ours = false;
    if (fd == -EACCES || fd == -EROFS || fd == -EPERM) {
        int readable = open_retrying(path, O_RDONLY, 0); /* mostly enough for flock(2) */

        return readable < 0 ? fd : readable;
    }
    if (fd == -ENOENT) {
        fd = open_retrying(path, O_RDWR | O_CREAT | O_EXCL, LOCK_MODE);
        *is_ours = fd >= 0;
    }
    if (*is_ours) {
        (void)wl_sys->fchmod(fd, LOCK_MODE); /* for the group, whatever the umask says */
    }
    return fd;
}

/* open_file(), once more if the folders were missing. */
static int open_in_folder(const char *path, bool *is_ours)
{
    int fd = open_file(path, is_ours);

    if (fd == -ENOENT) {
        int rc = wl_file_make_folders_above(path);

        return rc < 0 ? rc : open_file(path, is_ours);
    }
    return fd;
}

static bool knows_no_locks(int sys_errno)
{
    return sys_errno == ENOSYS || sys_errno == EOPNOTSUPP || sys_errno == ENOLCK;
}

static int go_without(const struct wl_log *log, const char *path, const char *why)
{
    WL_LOG(log, WLOAD_LOG_WARN, "cache", "going on without the lock '%s': %s", path, why);
    return WLOAD_OK;
}

static int held_elsewhere(const char *path, struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_LOCKED, "another process holds the lock '%s'", path);
}

/* ---- Where flock(2) is not known: a lock by existing ---------------------------- */

/* Who holds it: "<process>\n<host>\n". */
static int describe_owner(char *text, size_t bytes)
{
    char host[HOST_BYTES_MAX] = "";

    (void)gethostname(host, sizeof(host) - 1);
    return snprintf(text, bytes, "%ld\n%s\n", (long)getpid(), host);
}

enum owner {
    OWNER_UNKNOWN, /* the file does not say: nobody else will remove it */
    OWNER_LIVES,
    OWNER_GONE
};

static enum owner find_owner(int fd)
{
    char text[OWNER_BYTES_MAX + 1] = "";
    char host[HOST_BYTES_MAX + 1] = "";
    int64_t got = wl_sys_read(fd, text, OWNER_BYTES_MAX, 0);
    char *end = text;
    long process = got > 0 ? strtol(text, &end, 10) : 0;
    size_t length;

    if (process <= 0 || process > INT32_MAX || *end != '\n') {
        return OWNER_UNKNOWN;
    }
    (void)gethostname(host, sizeof(host) - 1);
    length = strcspn(++end, "\n");
    if (length != strlen(host) || memcmp(end, host, length) != 0) {
        return length > 0 ? OWNER_LIVES : OWNER_UNKNOWN; /* of another host nobody can tell */
    }
    return kill((pid_t)process, 0) < 0 && errno == ESRCH ? OWNER_GONE : OWNER_LIVES;
}

static int make_soft(const struct wl_log *log, const char *path, struct wl_lock *out,
                     struct wload_error *err)
{
    char text[OWNER_BYTES_MAX];
    int size = describe_owner(text, sizeof(text));
    char *copy = wl_str_new("%s", path);
    int fd;
    int rc;

    if (!copy) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the lock '%s'", path);
    }
    fd = open_retrying(path, O_WRONLY | O_CREAT | O_EXCL, SOFT_MODE);
    if (fd < 0) {
        wl_sys->free(copy);
        return fd == -EEXIST ? AGAIN : go_without(log, path, strerrordesc_np(-fd));
    }
    rc = wl_sys_write(fd, text, (size_t)size);
    (void)wl_sys->close(fd);
    if (rc < 0) {
        (void)wl_sys->unlinkat(AT_FDCWD, path, 0); /* empty, it would hold up everybody for ever */
        wl_sys->free(copy);
        return go_without(log, path, strerrordesc_np(-rc));
    }
    *out = (struct wl_lock){.fd = -1, .path = copy, .is_held = true};
    return WLOAD_OK;
}

/* `fd` is the file that cannot be locked; `is_ours`: it was not there before. */
static int try_soft(const struct wl_log *log, const char *path, int fd, bool is_ours,
                    struct wl_lock *out, struct wload_error *err)
{
    enum owner owner = is_ours ? OWNER_GONE : find_owner(fd);

    (void)wl_sys->close(fd);
    switch (owner) {
    case OWNER_LIVES:
        return held_elsewhere(path, err);
    case OWNER_UNKNOWN:
        return go_without(log, path, "the file system knows no locks, and nobody signed the file");
    case OWNER_GONE:
    default:
        (void)wl_sys->unlinkat(AT_FDCWD, path, 0);
        return make_soft(log, path, out, err);
    }
}

/* ---- flock(2) ------------------------------------------------------------------- */

/* 0 or a positive errno. */
static int lock_file(int fd)
{
    int rc;

    do {
        rc = wl_sys->flock(fd, LOCK_EX | LOCK_NB);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? errno : 0;
}

/* The file can be neither made nor opened; that is so in a cache that is only read. */
static int refuse(const struct wl_log *log, const char *path, int sys_errno,
                  struct wload_error *err)
{
    switch (sys_errno) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOSPC:
    case EDQUOT:
        return go_without(log, path, strerrordesc_np(sys_errno));
    case EEXIST: /* somebody made it just now, or removed the folder */
        return AGAIN;
    case ENOENT:
        return VANISHED;
    case ELOOP:
        return wl_err_set(err, WLOAD_ERR_IO, "the lock '%s' is a symbolic link: it was planted",
                          path);
    default:
        return wl_err_make(err, sys_errno, "cannot open the lock '%s'", path);
    }
}

static int try_once(const struct wl_log *log, const char *path, struct wl_lock *out,
                    struct wload_error *err)
{
    bool is_ours;
    int fd = open_in_folder(path, &is_ours);
    int failure;

    if (fd < 0) {
        return refuse(log, path, -fd, err);
    }
    failure = lock_file(fd);
    if (knows_no_locks(failure)) {
        return try_soft(log, path, fd, is_ours, out, err);
    }
    if (failure == 0 && wl_file_is_at(fd, path)) {
        *out = (struct wl_lock){.fd = fd, .is_held = true};
        return WLOAD_OK;
    }
    (void)wl_sys->close(fd);
    switch (failure) {
    case 0: /* its holder removed it while we had it open: who comes now locks another file */
        return AGAIN;
    case EWOULDBLOCK:
    case EACCES: /* on some file systems */
        return held_elsewhere(path, err);
    case EBADF: /* NFS locks for writing only what is open for it */
    case EINVAL:
    case EIO:
    case ESTALE:
        return go_without(log, path, strerrordesc_np(failure));
    default:
        return wl_err_sys(err, failure, "cannot lock '%s'", path);
    }
}

int wl_lock_try(const struct wl_log *log, const char *path, struct wl_lock *out,
                struct wload_error *err)
{
    struct wl_lock lock = {.fd = -1};
    int rc = AGAIN;

    for (unsigned tries = 0; tries < TRIES_MAX && rc > 0; tries++) {
        rc = try_once(log, path, &lock, err);
    }
    if (rc > 0) {
        return rc == AGAIN ? held_elsewhere(path, err)
                           : wl_err_make(err, ENOENT, "cannot make the lock '%s'", path);
    }
    if (rc == WLOAD_OK) {
        *out = lock;
    }
    return rc;
}

void wl_lock_release(struct wl_lock *lock)
{
    if (lock->path) {
        (void)wl_sys->unlinkat(AT_FDCWD, lock->path, 0);
        wl_sys->free(lock->path);
    }
    if (lock->is_held && lock->fd >= 0) {
        (void)wl_sys->flock(lock->fd, LOCK_UN); /* a child of fork() has the descriptor, too */
        (void)wl_sys->close(lock->fd);
    }
    *lock = (struct wl_lock){.fd = -1};
}

int wl_lock_wait(const struct wl_log *log, const char *name, int64_t waited_ns, int64_t limit_ms,
                 bool *is_noticed, struct wload_error *err)
{
    if (!*is_noticed && waited_ns > NOTICE_NS) {
        *is_noticed = true;
        WL_LOG(log, WLOAD_LOG_WARN, "cache",
               "'%s' is being downloaded by another process (see /proc/locks): waiting", name);
    }
    if (limit_ms >= 0 && waited_ns > limit_ms * 1000000) {
        return wl_err_set(err, WLOAD_ERR_LOCKED,
                          "'%s' has been another process's to download for %" PRId64 " s", name,
                          limit_ms / 1000);
    }
    return WLOAD_OK;
}
