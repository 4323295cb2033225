/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pagecache.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/sys.h"

#define MINCORE_PAGES 4096u

static uint64_t page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A file on overlayfs has no pages of its own: cachestat(2) finds none, mincore(2) the other's. */
static bool is_stacked(int fd)
{
    struct statfs stat;

    return wl_sys->fstatfs(fd, &stat) == 0 && stat.f_type == OVERLAYFS_SUPER_MAGIC;
}

/*
 * Of a file of another user mincore(2) calls every page resident.  O_NOATIME takes the same right
 * as a true answer does.
 */
static bool is_told(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || wl_sys->set_flags(fd, flags | O_NOATIME) < 0) {
        return false;
    }
    (void)wl_sys->set_flags(fd, flags);
    return true;
}

/* One window of at most MINCORE_PAGES pages, mapped but never touched. */
static int64_t mincore_window(int fd, uint64_t offset, uint64_t size_bytes)
{
    unsigned char resident[MINCORE_PAGES];
    uint64_t pages = (size_bytes + page_bytes() - 1) / page_bytes();
    void *window = wl_sys->mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);
    int64_t count = 0;
    int rc;

    if (window == MAP_FAILED) {
        return -errno;
    }
    rc = wl_sys->mincore(window, size_bytes, resident) < 0 ? -errno : 0;
    (void)wl_sys->munmap(window, size_bytes);
    if (rc < 0) {
        return rc;
    }
    for (uint64_t i = 0; i < pages; i++) {
        count += resident[i] & 1;
    }
    return count * (int64_t)page_bytes();
}

static int64_t by_mincore(int fd, uint64_t offset, uint64_t size_bytes)
{
    uint64_t begin = wl_round_down(offset, page_bytes());
    uint64_t end = offset + size_bytes;
    int64_t total = 0;

    while (begin < end) {
        uint64_t size = wl_min(end - begin, MINCORE_PAGES * page_bytes());
        int64_t resident = mincore_window(fd, begin, size);

        if (resident < 0) {
            return resident;
        }
        total += resident;
        begin += size;
    }
    return total;
}

int64_t wl_pagecache_resident(int fd, uint64_t offset, uint64_t size_bytes)
{
    uint64_t pages = 0;
    int64_t bytes;

    if (size_bytes == 0) {
        return 0;
    }
    if (wl_sys->cachestat(fd, offset, size_bytes, &pages) == 0 && (pages > 0 || !is_stacked(fd))) {
        bytes = (int64_t)(pages * page_bytes());
    } else {
        bytes = is_told(fd) ? by_mincore(fd, offset, size_bytes) : -EPERM;
    }
    return bytes > (int64_t)size_bytes ? (int64_t)size_bytes : bytes;
}

/* Windows spaced by an odd number of pages: they meet a pattern of any power of two unevenly. */
#define SAMPLE_BYTES (64u << 10)
#define SAMPLE_COUNT 5u

static int64_t by_samples(int fd, uint64_t offset, uint64_t size_bytes)
{
    uint64_t stride;
    uint64_t seen = 0;

    if (size_bytes < 4ull * SAMPLE_COUNT * SAMPLE_BYTES) {
        return wl_pagecache_resident(fd, offset, size_bytes);
    }
    stride = ((size_bytes / SAMPLE_COUNT / page_bytes() - 1) | 1) * page_bytes();
    for (uint64_t i = 0; i < SAMPLE_COUNT; i++) {
        int64_t resident = wl_pagecache_resident(fd, offset + i * stride, SAMPLE_BYTES);

        if (resident < 0) {
            return resident;
        }
        seen += (uint64_t)resident;
        if (seen != 0 && seen != (i + 1) * SAMPLE_BYTES) {
            return wl_pagecache_resident(fd, offset, size_bytes);
        }
    }
    return seen == 0 ? 0 : (int64_t)size_bytes;
}

#define PROBE_COUNT 8u

/*
 * Whoever may read can ask for a byte only if it is there.  A page that is not may be read in
 * behind this (since Linux 5.10), so each time others are asked for.
 */
static int64_t by_reading(int fd, uint64_t offset, uint64_t size_bytes)
{
    uint64_t stride = size_bytes / PROBE_COUNT + 1;
    uint64_t some = (uint64_t)wl_clock_ns() * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    uint64_t seen = 0;
    int rc = 0;

    (void)wl_sys->fadvise(fd, 0, 0, POSIX_FADV_RANDOM); /* no more than that page */
    for (uint64_t i = 0; i < PROBE_COUNT && rc == 0; i++) {
        uint64_t at = wl_min(i * stride + some % stride, size_bytes - 1);
        uint8_t byte;

        if (wl_sys->pread_nowait(fd, &byte, 1, (off_t)(offset + at)) >= 0) {
            seen++;
        } else if (errno != EAGAIN) {
            rc = -errno;
        }
    }
    (void)wl_sys->fadvise(fd, 0, 0, POSIX_FADV_NORMAL);
    return rc < 0 ? rc : (int64_t)(size_bytes * seen / PROBE_COUNT);
}

int64_t wl_pagecache_estimate(int fd, uint64_t offset, uint64_t size_bytes)
{
    int64_t bytes = by_samples(fd, offset, size_bytes);

    return bytes < 0 ? by_reading(fd, offset, size_bytes) : bytes;
}

int wl_pagecache_evict(int fd)
{
    int rc;

    (void)fdatasync(fd); /* a file opened read-only may still have dirty pages; they do not evict */
    rc = wl_sys->fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return -rc;
}
