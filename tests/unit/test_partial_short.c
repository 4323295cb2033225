/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what is written past the page cache is whole where the kernel takes a little of it at a
 * time, and where the disk is full nothing is marked that is not there.
 * Method: a table of system calls with a file system that has O_DIRECT, takes one page at a time,
 * and is full after so many bytes, or for the map alone.
 */
#include "cache/partial.h"

#include <errno.h>
#include <fcntl.h>

#include "base/base.h"
#include "base/sys.h"
#include "tree.h"

#define PAGE  4096u
#define BLOCK ((uint64_t)WL_PARTIAL_BLOCK_BYTES)
#define SIZE  (5 * BLOCK + 1000)
#define HASH  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static _Alignas(65536) unsigned char content[SIZE];
static int direct_fd;
static uint64_t written; /* past the page cache */
static uint64_t room;    /* for so many bytes more */
static bool has_no_map;  /* no room for any byte of the map */

static int open_directly(int dir, const char *path, int flags, unsigned mode)
{
    int fd = wl_sys_real.openat(dir, path, flags & ~O_DIRECT, mode);

    if ((flags & O_DIRECT) != 0) {
        direct_fd = fd;
    }
    return fd;
}

static int tell_align(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
    int rc = wl_sys_real.statx(dir, path, flags, mask, out);

    if ((mask & STATX_DIOALIGN) != 0) {
        out->stx_mask |= STATX_DIOALIGN;
        out->stx_dio_offset_align = out->stx_dio_mem_align = 512;
    }
    return rc;
}

static ssize_t write_little(int fd, const void *buffer, size_t size, off_t offset)
{
    if (has_no_map && (uint64_t)offset >= SIZE) {
        errno = ENOSPC;
        return -1;
    }
    if (fd != direct_fd) {
        return wl_sys_real.pwrite(fd, buffer, size, offset);
    }
    CHECK(size % PAGE == 0 && (uint64_t)offset % PAGE == 0 && (uintptr_t)buffer % PAGE == 0);
    if (room < PAGE) {
        errno = ENOSPC;
        return -1;
    }
    room -= PAGE;
    written += PAGE;
    return wl_sys_real.pwrite(fd, buffer, PAGE, offset);
}

static struct wl_partial open_partial(uint64_t free_bytes)
{
    static const struct wl_log quiet;
    static char folder[TREE_PATH_BYTES];
    const struct wl_partial_place place = {.folder = folder,
                                           .stem = HASH,
                                           .hash = HASH,
                                           .size_bytes = SIZE};
    struct wl_partial partial;
    struct wload_error err = {0};

    (void)snprintf(folder, sizeof(folder), "%s", tree_path("short"));
    direct_fd = -1;
    written = 0;
    room = free_bytes;
    CHECK_OK(wl_partial_open(&quiet, &place, false, &partial, &err), &err);
    CHECK_OK(wl_partial_set_io(&partial, &quiet, WLOAD_IO_AUTO, &err), &err);
    CHECK(direct_fd >= 0);
    return partial;
}

static void check_bytes(int fd, uint64_t size)
{
    static unsigned char read_back[SIZE];

    CHECK_EQ(pread(fd, read_back, size, 0), (ssize_t)size);
    CHECK(memcmp(read_back, content, size) == 0);
}

static void check_short(void)
{
    struct wl_partial partial = open_partial(SIZE);
    struct wload_error err = {0};
    int fd;

    CHECK_OK(wl_partial_write(&partial, 0, 0, content, 2 * BLOCK, &err), &err);
    CHECK_OK(wl_partial_write(&partial, 0, 2 * BLOCK, content + 2 * BLOCK, SIZE - 2 * BLOCK, &err),
             &err);
    CHECK_EQ(written, wl_round_down(SIZE, PAGE));
    CHECK_EQ(wl_partial_present(&partial), SIZE);
    CHECK_OK(wl_partial_publish(&partial, tree_path("short/done"), true, &err), &err);
    fd = open(tree_path("short/done"), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(lseek(fd, 0, SEEK_END), (off_t)SIZE);
    check_bytes(fd, SIZE);
    CHECK_EQ(close(fd), 0);
}

/* The second write fails after `more` bytes of it; what was marked before is all that is. */
static void check_full(uint64_t more)
{
    struct wl_partial partial = open_partial(2 * BLOCK + more);
    struct wload_error err = {0};
    uint64_t begin, end;

    CHECK_OK(wl_partial_write(&partial, 0, 0, content, 2 * BLOCK, &err), &err);
    CHECK_EQ(wl_partial_write(&partial, 0, 2 * BLOCK, content + 2 * BLOCK, SIZE - 2 * BLOCK, &err),
             WLOAD_ERR_NOSPACE);
    CHECK_EQ(err.sys_errno, ENOSPC);
    CHECK(strstr(err.message, partial.path) != NULL);
    CHECK_EQ(written, 2 * BLOCK + more);
    CHECK_EQ(wl_partial_ready(&partial, 0), wl_partial_present(&partial));
    CHECK(wl_partial_present(&partial) >= 2 * BLOCK && wl_partial_present(&partial) <= written);
    CHECK(wl_partial_gap(&partial, 0, &begin, &end));
    CHECK_EQ(begin, wl_partial_present(&partial));
    CHECK_EQ(end, SIZE);
    check_bytes(partial.fd, begin);
    wl_partial_discard(&partial);
}

/* Where what is written goes to another block, as btrfs does it, the map needs space, too. */
static void check_full_map(void)
{
    struct wl_partial partial = open_partial(SIZE);
    struct wload_error err = {0};

    CHECK_OK(wl_partial_write(&partial, 0, 0, content, BLOCK, &err), &err);
    has_no_map = true;
    CHECK_EQ(wl_partial_write(&partial, 0, BLOCK, content + BLOCK, SIZE - BLOCK, &err),
             WLOAD_ERR_NOSPACE);
    CHECK_EQ(err.sys_errno, ENOSPC);
    CHECK(strstr(err.message, partial.path) != NULL);
    CHECK_EQ(wl_partial_present(&partial), BLOCK);
    CHECK_EQ(wl_partial_restart(&partial, &err), WLOAD_ERR_NOSPACE);
    CHECK_EQ(wl_partial_present(&partial), BLOCK);
    has_no_map = false;
    wl_partial_close(&partial);
    partial = open_partial(SIZE);
    CHECK_EQ(wl_partial_present(&partial), BLOCK);
    wl_partial_discard(&partial);
}

int main(void)
{
    struct wl_sys table = wl_sys_real;

    for (size_t i = 0; i < SIZE; i++) {
        content[i] = (unsigned char)(i * 31 + i / 977);
    }
    table.openat = open_directly;
    table.statx = tell_align;
    table.pwrite = write_little;
    wl_sys = &table;
    check_short();
    check_full(0);
    check_full(PAGE);
    check_full(BLOCK + PAGE);
    check_full_map();
    wl_sys = &wl_sys_real;
    return 0;
}
