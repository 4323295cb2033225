/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has the shared partial file: two that write one file would undo what the
 * other has written, and change what it has published.  flock(2) keeps them apart
 * where it does what it says.  There are file systems on which everyone gets it,
 * and others on which each machine has locks of its own: where it is not known to
 * hold for all that can write the file, nobody shares.
 */
#include "cache/partial_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>

#include "base/base.h"
#include "base/file.h"
#include "base/sys.h"

#define TRIES_MAX        16u
#define MOUNTS_BYTES_MAX (1u << 20) /* of /proc/self/mountinfo */
#define OPEN_FLAGS       (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

int wl_partial_open_path(const char *path, int flags)
{
    int fd;

    do {
        fd = wl_sys->openat(AT_FDCWD, path, flags | OPEN_FLAGS, 0666); /* the umask acts */
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/* ---- Locks that hold for all -------------------------------------------------------- */

/*
 * File systems of one machine, and those of several whose locks hold for all of them, some with a
 * mount option only.  Of all others nothing is known: FUSE, which says no more than that (virtiofs
 * and sshfs among them), 9p, SMB, GPFS and BeeGFS may leave flock(2) to each machine.
 */
static const struct {
    uint32_t type;      /* statfs.f_type */
    const char *option; /* NULL: always */
} known[] = {
    {0x0000ef53, NULL}, /* ext2, ext3, ext4 */
    {0x58465342, NULL}, /* XFS */
    {0x9123683e, NULL}, /* btrfs */
    {0x01021994, NULL}, /* tmpfs */
    {0x858458f6, NULL}, /* ramfs */
    {0x794c7630, NULL}, /* overlayfs: what is written lies on one machine */
    {0xf2f52010, NULL}, /* F2FS */
    {0x2fc12fc1, NULL}, /* ZFS */
    {0xca451a4e, NULL}, /* bcachefs */
    {0x00003434, NULL}, /* NILFS2 */
    {0x3153464a, NULL}, /* JFS */
    {0x52654973, NULL}, /* ReiserFS */
    {0x00004d44, NULL}, /* FAT */
    {0x2011bab0, NULL}, /* exFAT */
    {0x7366746e, NULL}, /* NTFS, as ntfs3 has it */
    {0x0000482b, NULL}, /* HFS+ */
    {0x00c36400, NULL}, /* Ceph */

    {0x00006969, "local_lock=none"}, /* NFS: the server has the locks */
    {0x0bd00bd0, "flock"},           /* Lustre: else "localflock", or none at all */
};

/* Whether the file system of that device is mounted with the option, by the text of
 * /proc/self/mountinfo, which is cut to pieces: the device is a line's third field, the file
 * system's options are its last. */
static bool find_option(char *text, dev_t device, const char *option)
{
    char field[32];
    char *line;
    char *rest;

    (void)snprintf(field, sizeof(field), " %u:%u ", major(device), minor(device));
    line = strstr(text, field);
    if (!line) {
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    for (char *at = strtok_r(strrchr(line, ' '), " ,", &rest); at;
         at = strtok_r(NULL, ",", &rest)) {
        if (strcmp(at, option) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether the open file lies on a mount with that option. */
static bool is_mounted_with(int fd, const char *option)
{
    int mounts = wl_sys->openat(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY | O_CLOEXEC, 0);
    char *text = mounts < 0 ? NULL : wl_sys_array(MOUNTS_BYTES_MAX, 1);
    struct stat status;
    bool is_so = text && wl_sys_read(mounts, text, MOUNTS_BYTES_MAX - 1, 0) > 0 &&
                 wl_sys->fstat(fd, &status) == 0 && find_option(text, status.st_dev, option);

    wl_sys->free(text);
    if (mounts >= 0) {
        (void)wl_sys->close(mounts);
    }
    return is_so;
}

/* Whether a lock on the open file holds for all machines that the file can be written on. */
static bool has_locks_for_all(int fd)
{
    struct statfs status;

    if (wl_sys->fstatfs(fd, &status) < 0) {
        return false;
    }
    for (size_t i = 0; i < WL_COUNT_OF(known); i++) {
        if (known[i].type == (uint32_t)status.f_type) {
            return !known[i].option || is_mounted_with(fd, known[i].option);
        }
    }
    return false;
}

/* ---- The lock ------------------------------------------------------------------------ */

/* A file of one name: with a second one, what we write would change another file. */
static bool is_plain(int fd)
{
    struct stat status;

    return wl_sys->fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1;
}

/* 0: we have the lock.  Else a positive errno. */
static int take_lock(int fd)
{
    return wl_sys->flock(fd, LOCK_EX | LOCK_NB) < 0 ? errno : 0;
}

/* Another has the lock. */
static bool is_taken(int failure)
{
    return failure == EWOULDBLOCK || failure == EACCES; /* some file systems say that */
}

/* Whether the lock that we have on the file keeps others away: then it does so with us. */
static bool is_refused(const char *path)
{
    int fd = wl_partial_open_path(path, O_RDWR);
    bool is_so = fd >= 0 && is_taken(take_lock(fd));

    if (fd >= 0) {
        (void)wl_sys->close(fd);
    }
    return is_so;
}

int wl_partial_open_shared(const char *path)
{
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        int fd = wl_partial_open_path(path, O_RDWR);
        bool is_ours = fd == -ENOENT;
        int failure;

        fd = is_ours ? wl_partial_open_path(path, O_RDWR | O_CREAT | O_EXCL) : fd;
        if (fd == -EEXIST) {
            continue;
        }
        if (fd < 0) {
            return -1;
        }
        failure = has_locks_for_all(fd) ? take_lock(fd) : EOPNOTSUPP;
        /* Whoever had the lock before us may have published the file, or removed it. */
        if (failure == 0 && !(is_plain(fd) && wl_file_is_at(fd, path))) {
            (void)wl_sys->close(fd);
            continue;
        }
        if (failure == 0 && is_refused(path)) {
            return fd;
        }
        if (is_ours && !is_taken(failure)) {
            (void)wl_sys->unlinkat(AT_FDCWD, path, 0);
        }
        (void)wl_sys->close(fd);
        return -1;
    }
    return -1;
}
