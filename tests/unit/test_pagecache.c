/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the page cache is asked and emptied as it is, by cachestat and by mincore alike.
 * Method: a file just read is all there; after eviction, where the file system has one, it is
 * not; both ways of asking must agree on any range.  The same on what says that it is overlayfs,
 * and as a user whom the file does not belong to, where the test may become one.
 */
#include "base/pagecache.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "base/base.h"
#include "base/sys.h"
#include "tree.h"

#define FILE_BYTES (20u << 20) /* more than one window of mincore */

static int no_cachestat(int fd, uint64_t offset, uint64_t size_bytes, uint64_t *resident_pages)
{
    (void)fd;
    (void)offset;
    (void)size_bytes;
    (void)resident_pages;
    errno = ENOSYS;
    return -1;
}

static int no_mincore(void *address, size_t size, unsigned char *resident)
{
    (void)address;
    (void)size;
    (void)resident;
    errno = EPERM;
    return -1;
}

/* Every other megabyte: no sample may take the part for the whole. */
static void check_estimate(int fd)
{
    static char block[1u << 20];
    int64_t resident;

    CHECK_EQ(wl_pagecache_estimate(fd, 0, FILE_BYTES), FILE_BYTES);
    CHECK_EQ(wl_pagecache_evict(fd), 0);
    CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0); /* no readahead */
    for (uint64_t at = 0; at < FILE_BYTES; at += 2 * sizeof(block)) {
        CHECK_EQ(wl_sys_read(fd, block, sizeof(block), at), sizeof(block));
    }
    resident = wl_pagecache_resident(fd, 0, 8u << 20);
    CHECK_EQ(wl_pagecache_estimate(fd, 0, 8u << 20), resident);
    CHECK_EQ(wl_pagecache_estimate(fd, 3u << 20, 8u << 20),
             wl_pagecache_resident(fd, 3u << 20, 8u << 20));
}

static int counts_none(int fd, uint64_t offset, uint64_t size_bytes, uint64_t *resident_pages)
{
    (void)fd;
    (void)offset;
    (void)size_bytes;
    *resident_pages = 0;
    return 0;
}

static int is_overlay(int fd, struct statfs *out)
{
    int rc = wl_sys_real.fstatfs(fd, out);

    out->f_type = OVERLAYFS_SUPER_MAGIC;
    return rc;
}

/* cachestat counts the pages of overlayfs itself, which has none. */
static void check_overlay(int fd, char *data)
{
    struct wl_sys table = wl_sys_real;

    table.cachestat = counts_none;
    table.fstatfs = is_overlay;
    wl_sys = &table;
    CHECK_EQ(wl_sys_read(fd, data, FILE_BYTES, 0), FILE_BYTES);
    CHECK_EQ(wl_pagecache_resident(fd, 0, FILE_BYTES), FILE_BYTES);
    CHECK_EQ(wl_pagecache_estimate(fd, 0, FILE_BYTES), FILE_BYTES);
    wl_sys = &wl_sys_real;
}

/* Nobody else's file: mincore would call all of it resident, and cachestat refuses or is right. */
static void check_stranger(int fd, char *data)
{
    struct wl_sys table = wl_sys_real;
    int64_t estimate;

    table.cachestat = no_cachestat;
    CHECK_EQ(setresuid(65534, 65534, 65534), 0);
    CHECK_EQ(wl_sys_read(fd, data, FILE_BYTES, 0), FILE_BYTES);
    for (int knows_cachestat = 0; knows_cachestat < 2; knows_cachestat++) {
        wl_sys = knows_cachestat ? &wl_sys_real : &table;
        estimate = wl_pagecache_estimate(fd, 100, FILE_BYTES / 2);
        if (estimate == -EOPNOTSUPP) {
            printf("this file system does not tell others what it has in memory\n");
            return;
        }
        CHECK_EQ(estimate, FILE_BYTES / 2);
        CHECK_EQ(wl_pagecache_estimate(fd, FILE_BYTES - 1, 1), 1);
    }
    wl_sys = &table;
    CHECK_EQ(wl_pagecache_resident(fd, 0, FILE_BYTES), -EPERM);
    CHECK_EQ(wl_pagecache_evict(fd), 0);
    estimate = wl_pagecache_estimate(fd, 0, FILE_BYTES);
    CHECK(estimate >= 0 && estimate < FILE_BYTES);
    CHECK(wl_pagecache_estimate(fd, 0, FILE_BYTES) < FILE_BYTES); /* asking has not filled it */
}

static void run_stranger(int fd, char *data)
{
    int status = 0;
    pid_t child;

    if (geteuid() != 0) {
        printf("an ordinary user cannot become another one: files of others are not judged\n");
        return;
    }
    CHECK_EQ(fflush(NULL), 0);
    child = fork();
    if (child == 0) {
        check_stranger(fd, data);
        exit(fflush(NULL));
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

int main(void)
{
    static char data[FILE_BYTES];
    static const uint64_t ranges[][2] = {
        {0, FILE_BYTES}, {1, 1}, {4095, 2}, {4096, 4096}, {100, 17u << 20}, {FILE_BYTES - 1, 1},
    };
    struct wl_sys table = wl_sys_real;
    int64_t resident;
    int fd;

    tree_write("data", data, sizeof(data));
    fd = open(tree_path("data"), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(wl_sys_read(fd, data, sizeof(data), 0), sizeof(data));
    CHECK_EQ(wl_pagecache_resident(fd, 0, FILE_BYTES), FILE_BYTES);
    CHECK_EQ(wl_pagecache_resident(fd, 0, 0), 0);

    table.cachestat = no_cachestat;
    wl_sys = &table;
    for (size_t i = 0; i < WL_COUNT_OF(ranges); i++) {
        CHECK_EQ(wl_pagecache_resident(fd, ranges[i][0], ranges[i][1]), ranges[i][1]);
    }
    table.mincore = no_mincore;
    CHECK_EQ(wl_pagecache_resident(fd, 0, FILE_BYTES), -EPERM);
    wl_sys = &wl_sys_real;

    check_overlay(fd, data);
    check_estimate(fd);
    CHECK_EQ(wl_pagecache_evict(fd), 0);
    resident = wl_pagecache_resident(fd, 0, FILE_BYTES);
    CHECK(resident >= 0 && resident <= FILE_BYTES);
    if (resident == FILE_BYTES) {
        printf("the file system keeps its files in memory: eviction is not judged\n");
    } else {
        run_stranger(fd, data);
    }
    CHECK_EQ(wl_pagecache_evict(-1), -EBADF);
    CHECK_EQ(close(fd), 0);
    return 0;
}
