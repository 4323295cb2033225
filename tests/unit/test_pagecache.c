/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the page cache is asked and emptied as it is, by cachestat and by mincore alike.
 * Method: a file just read is all there; after eviction, where the file system has one, it is
 * not; both ways of asking must agree on any range.
 */
#include "base/pagecache.h"

#include <errno.h>

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

    check_estimate(fd);
    CHECK_EQ(wl_pagecache_evict(fd), 0);
    resident = wl_pagecache_resident(fd, 0, FILE_BYTES);
    CHECK(resident >= 0 && resident <= FILE_BYTES);
    if (resident == FILE_BYTES) {
        printf("the file system keeps its files in memory: eviction is not judged\n");
    }
    CHECK_EQ(wl_pagecache_evict(-1), -EBADF);
    CHECK_EQ(close(fd), 0);
    return 0;
}
