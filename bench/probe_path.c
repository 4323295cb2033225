/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A path: which file system, and whether files there can be read around the page cache.
 * Tried on an unnamed file of our own, or where none can be made, on one that is there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "bench/probe.h"

#define FILE_BYTES    65536
#define ALIGN_DEFAULT 4096

static const struct {
    uint32_t magic;
    const char *name;
} file_systems[] = {
    {0xef53, "ext4"},         {0x58465342, "xfs"},   {0x9123683e, "btrfs"},
    {0x2fc12fc1, "zfs"},      {0xf2f52010, "f2fs"},  {0xca451a4e, "bcachefs"},
    {0x01021994, "tmpfs"},    {0x858458f6, "ramfs"}, {0x794c7630, "overlayfs"},
    {0x73717368, "squashfs"}, {0xe0f5e1e2, "erofs"}, {0x6969, "nfs"},
    {0xff534d42, "cifs"},     {0xfe534d42, "smb2"},  {0x0bd00bd0, "lustre"},
    {0x00c36400, "ceph"},     {0x47504653, "gpfs"},  {0x19830326, "fhgfs"},
    {0x65735546, "fuse"},     {0x01021997, "9p"},    {0x6a656a63, "virtiofs"},
    {0x4d44, "vfat"},         {0x2011bab0, "exfat"}, {0x7366746e, "ntfs3"},
    {0x5346544e, "ntfs"},     {0x53464846, "wslfs"},
};

static const char *file_system_name(int fd, char *number, size_t size)
{
    struct statfs info;

    if (fstatfs(fd, &info) < 0) {
        return "unknown file system";
    }
    for (size_t i = 0; i < sizeof(file_systems) / sizeof(file_systems[0]); i++) {
        if (file_systems[i].magic == (uint32_t)info.f_type) {
            return file_systems[i].name;
        }
    }
    (void)snprintf(number, size, "file system 0x%" PRIx32, (uint32_t)info.f_type);
    return number;
}

static bool is_memory(const char *file_system)
{
    return strcmp(file_system, "tmpfs") == 0 || strcmp(file_system, "ramfs") == 0;
}

/* An unnamed file with FILE_BYTES on the disk, or a negative errno. */
static int make_file(int dir)
{
    static const char block[FILE_BYTES] = "wload doctor";
    int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        return -errno;
    }
    if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block) || fdatasync(fd) < 0) {
        int error = errno != 0 ? errno : ENOSPC;

        (void)close(fd);
        return -error;
    }
    return fd;
}

/* The first regular file there with something in it, or a negative errno. */
static int find_file(int dir)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    int found = -ENOENT;

    if (!list) {
        found = -errno;
        if (copy >= 0) {
            (void)close(copy);
        }
        return found;
    }
    while (found < 0 && (entry = readdir(list))) {
        int fd = openat(dir, entry->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
        struct stat info;

        if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
            found = fd;
        } else if (fd >= 0) {
            (void)close(fd);
        }
    }
    (void)closedir(list);
    return found;
}

/* A file to try: `path` itself, or one in it.  A descriptor or a negative errno. */
static int open_sample(int fd)
{
    struct stat info;
    int sample;

    if (fstat(fd, &info) < 0) {
        return -errno;
    }
    if (!S_ISDIR(info.st_mode)) {
        return S_ISREG(info.st_mode) ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -EINVAL;
    }
    sample = make_file(fd);
    return sample < 0 ? find_file(fd) : sample;
}

struct alignment {
    uint32_t offset_bytes;
    uint32_t memory_bytes;
    bool is_told;
};

static struct alignment ask_alignment(int fd)
{
    struct alignment align = {ALIGN_DEFAULT, ALIGN_DEFAULT, false};
#ifdef STATX_DIOALIGN
    struct statx info = {0};

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
        (info.stx_mask & STATX_DIOALIGN) && info.stx_dio_offset_align > 0) {
        align = (struct alignment){info.stx_dio_offset_align, info.stx_dio_mem_align, true};
    }
#else
    (void)fd;
#endif
    return align;
}

/* One aligned read around the page cache: an open with O_DIRECT proves nothing.  0 or an errno. */
static int try_direct(int fd, const struct alignment *align)
{
    size_t size = align->offset_bytes > ALIGN_DEFAULT ? align->offset_bytes : ALIGN_DEFAULT;
    char name[64];
    void *block;
    int direct;
    int error;

    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    direct = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (direct < 0) {
        return errno;
    }
    error = posix_memalign(&block, size, size);
    if (error == 0) {
        error = pread(direct, block, size, 0) < 0 ? errno : 0;
        free(block);
    }
    (void)close(direct);
    return error;
}

static void judge(struct probe_finding *finding, const char *file_system, int sample)
{
    struct alignment align = ask_alignment(sample);
    int error = try_direct(sample, &align);

    if (error != 0) {
        probe_judge(finding, PROBE_DEGRADED, error, "%s refuses direct reads", file_system);
        probe_remedy(finding, "reads go through the page cache; a copy on a local disk is faster");
    } else if (is_memory(file_system)) {
        probe_judge(finding, PROBE_OK, 0, "%s: files are memory already", file_system);
    } else {
        probe_judge(finding, PROBE_OK, 0, "%s, offsets by %u, memory by %u%s", file_system,
                    align.offset_bytes, align.memory_bytes,
                    align.is_told ? "" : " (assumed: the kernel does not tell)");
    }
}

void probe_path(struct probe_findings *findings, const char *path)
{
    struct probe_finding *finding = probe_add(findings, "o_direct", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char number[48];
    const char *file_system;
    int sample;

    if (fd < 0) {
        probe_judge(finding, PROBE_BROKEN, errno, "cannot be opened");
        probe_remedy(finding, "name a directory or file that you may read");
        return;
    }
    file_system = file_system_name(fd, number, sizeof(number));
    sample = open_sample(fd);
    if (sample < 0) {
        probe_judge(finding, PROBE_ABSENT, -sample, "%s, with no file to try it on", file_system);
        probe_remedy(finding, "name a file there, for example of a model");
    } else {
        judge(finding, file_system, sample);
        (void)close(sample);
    }
    (void)close(fd);
}
