/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pagecache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "base/sys.h"

#define MINCORE_PAGES 4096u

static uint64_t page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
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
    if (wl_sys->cachestat(fd, offset, size_bytes, &pages) == 0) {
        bytes = (int64_t)(pages * page_bytes());
    } else {
        bytes = by_mincore(fd, offset, size_bytes);
    }
    return bytes > (int64_t)size_bytes ? (int64_t)size_bytes : bytes;
}

/* Windows spaced by an odd number of pages: they meet a pattern of any power of two unevenly. */
#define SAMPLE_BYTES (64u << 10)
#define SAMPLE_COUNT 5u

int64_t wl_pagecache_estimate(int fd, uint64_t offset, uint64_t size_bytes)
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

int wl_pagecache_evict(int fd)
{
    int rc;

    (void)fdatasync(fd); /* a file opened read-only may still have dirty pages; they do not evict */
    rc = wl_sys->fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return -rc;
}
