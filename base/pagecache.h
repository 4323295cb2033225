/* SPDX-License-Identifier: Apache-2.0 */
/* What the page cache holds of a file, and how to make it let go. */
#ifndef WL_PAGECACHE_H
#define WL_PAGECACHE_H

#include <stdint.h>

#include "wload.h"

/*
 * Bytes of [offset, offset + size_bytes) that are in the page cache, in whole
 * pages: by cachestat(2), else by mincore(2).  A negative errno where the kernel
 * tells neither, as of files of other users.
 */
int64_t wl_pagecache_resident(int fd, uint64_t offset, uint64_t size_bytes);

/*
 * The same for a large range, at a tenth of the cost: all or nothing where samples
 * agree on one of the two, else counted.  Where that is not told, as many eighths as
 * of eight pages anywhere in it can be read at once.
 */
int64_t wl_pagecache_estimate(int fd, uint64_t offset, uint64_t size_bytes);

/* Drop a file's clean pages; dirty ones are written first.  0 or a negative errno. */
int wl_pagecache_evict(int fd);

#endif /* WL_PAGECACHE_H */
