/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what can pass the page cache by does, aligned as the file system asks, and what cannot goes
 * through it; the file's bytes are right in any mixture of both, or the refusal is told.
 * Method: a table of system calls with a file system that has O_DIRECT, at any alignment, or says
 * so and refuses: at open, by statx, at the first write.
 */
#include "cache/partial.h"

#include <errno.h>
#include <fcntl.h>

#include "base/base.h"
#include "base/sys.h"
#include "tree.h"

#define BLOCK ((uint64_t)WL_PARTIAL_BLOCK_BYTES)
#define SIZE  (9 * BLOCK + 1000)
#define HASH  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct wl_log quiet;
static unsigned char content[SIZE];

static struct wl_partial_place place_at(const char *folder)
{
    static char path[TREE_PATH_BYTES];

    (void)snprintf(path, sizeof(path), "%s", tree_path(folder));
    return (
        struct wl_partial_place){.folder = path, .stem = HASH, .hash = HASH, .size_bytes = SIZE};
}

static struct wl_partial open_at(const struct wl_partial_place *place)
{
    struct wl_partial partial;
    struct wload_error err = {0};

    CHECK_OK(wl_partial_open(&quiet, place, false, &partial, &err), &err);
    return partial;
}

static void check_content(const char *path)
{
    static unsigned char read_back[SIZE + 1];
    int fd = open(path, O_RDONLY | O_NOFOLLOW);

    CHECK(fd >= 0);
    CHECK_EQ(read(fd, read_back, sizeof(read_back)), (ssize_t)SIZE);
    CHECK(memcmp(read_back, content, SIZE) == 0);
    CHECK_EQ(close(fd), 0);
}

static struct {
    int fd; /* -1: there is none */
    int open_errno;
    int write_errno;
    unsigned align;
    uint64_t written;
    uint64_t read;
} direct;

/* A file system with O_DIRECT, whatever the tests' own has. */
static int open_directly(int dir, const char *path, int flags, unsigned mode)
{
    int fd;

    if ((flags & O_DIRECT) != 0 && direct.open_errno != 0) {
        errno = direct.open_errno;
        return -1;
    }
    fd = wl_sys_real.openat(dir, path, flags & ~O_DIRECT, mode);
    if ((flags & O_DIRECT) != 0) {
        direct.fd = fd;
    }
    return fd;
}

static int tell_align(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
    int rc = wl_sys_real.statx(dir, path, flags, mask, out);

    if ((mask & STATX_DIOALIGN) != 0) {
        out->stx_mask |= STATX_DIOALIGN;
        out->stx_dio_offset_align = direct.align;
        out->stx_dio_mem_align = direct.align;
    }
    return rc;
}

/* Whole pages of any machine, from memory as the file system asks. */
static void check_aligned(const void *buffer, size_t size, off_t offset)
{
    CHECK_EQ((uintptr_t)buffer % direct.align, 0);
    CHECK_EQ(size % 65536, 0);
    CHECK_EQ((uint64_t)offset % 65536, 0);
}

static ssize_t write_directly(int fd, const void *buffer, size_t size, off_t offset)
{
    if (fd == direct.fd) {
        check_aligned(buffer, size, offset);
        direct.written += size;
        if (direct.write_errno != 0) {
            errno = direct.write_errno;
            return -1;
        }
    }
    return wl_sys_real.pwrite(fd, buffer, size, offset);
}

static ssize_t read_directly(int fd, void *buffer, size_t size, off_t offset)
{
    if (fd == direct.fd) {
        check_aligned(buffer, size, offset);
        direct.read += size;
    }
    return wl_sys_real.pread(fd, buffer, size, offset);
}

/* In two runs, the second one from memory that is not aligned; then read back. */
static void write_both_ways(struct wl_partial *partial, const unsigned char *memory)
{
    static _Alignas(65536) unsigned char back[BLOCK];
    struct wload_error err = {0};

    CHECK_OK(wl_partial_write(partial, 0, 0, memory, 5 * BLOCK + 100, &err), &err);
    CHECK_OK(wl_partial_write(partial, 0, 5 * BLOCK + 100, content + 5 * BLOCK + 100,
                              SIZE - 5 * BLOCK - 100, &err),
             &err);
    CHECK_EQ(wl_partial_present(partial), SIZE);
    for (uint64_t at = 0; at < SIZE; at += BLOCK) {
        uint64_t size = wl_min(SIZE - at, BLOCK);

        CHECK_OK(wl_partial_read(partial, at, back, size, &err), &err);
        CHECK(memcmp(back, content + at, size) == 0);
    }
}

static void check_way(enum wload_io_policy policy, uint64_t written, uint64_t read)
{
    static _Alignas(65536) unsigned char memory[SIZE];
    const struct wl_partial_place place = place_at("direct");
    struct wl_partial partial = open_at(&place);
    struct wload_error err = {0};

    memcpy(memory, content, SIZE);
    direct.fd = -1;
    direct.written = direct.read = 0;
    CHECK_OK(wl_partial_set_io(&partial, &quiet, policy, &err), &err);
    write_both_ways(&partial, memory);
    CHECK_EQ(direct.written, written);
    CHECK_EQ(direct.read, read);
    CHECK_OK(wl_partial_publish(&partial, tree_path("direct/done"), true, &err), &err);
    check_content(tree_path("direct/done"));
    CHECK_EQ(unlink(tree_path("direct/done")), 0);
}

static void check_strict(enum wload_io_policy policy, int open_errno, int write_errno)
{
    const struct wl_partial_place place = place_at("strict");
    struct wl_partial partial = open_at(&place);
    static _Alignas(4096) unsigned char memory[BLOCK];
    struct wload_error err = {0};
    int rc;

    direct.open_errno = open_errno;
    direct.write_errno = write_errno;
    rc = wl_partial_set_io(&partial, &quiet, policy, &err);
    rc = rc < 0 ? rc : wl_partial_write(&partial, 0, 0, memory, BLOCK, &err);
    CHECK_EQ(rc, open_errno ? WLOAD_ERR_UNSUPPORTED : WLOAD_ERR_IO);
    CHECK(strstr(err.message, strerrorname_np(open_errno ? open_errno : write_errno)) != NULL);
    CHECK(strstr(err.message, partial.path) != NULL);
    direct.open_errno = direct.write_errno = 0;
    wl_partial_close(&partial);
    CHECK_EQ(rmdir(place.folder), 0); /* nothing is left in it */
}

static void check_direct(void)
{
    struct wl_sys table = wl_sys_real;

    table.openat = open_directly;
    table.statx = tell_align;
    table.pwrite = write_directly;
    table.pread = read_directly;
    wl_sys = &table;
    direct.align = 512; /* still no page is written both ways */
    check_way(WLOAD_IO_AUTO, 5 * BLOCK, 9 * BLOCK);
    check_way(WLOAD_IO_DIRECT, 5 * BLOCK, 9 * BLOCK);
    check_way(WLOAD_IO_BUFFERED, 0, 0);
    direct.align = 65536;
    check_way(WLOAD_IO_AUTO, 5 * BLOCK, 9 * BLOCK);
    direct.align = 0; /* it says that it has none */
    check_way(WLOAD_IO_AUTO, 0, 0);
    direct.align = 512;
    direct.open_errno = EINVAL;
    check_way(WLOAD_IO_AUTO, 0, 0);
    direct.open_errno = 0;
    direct.write_errno = EINVAL; /* an open proves nothing */
    check_way(WLOAD_IO_AUTO, 5 * BLOCK, 0);
    check_strict(WLOAD_IO_DIRECT, EINVAL, 0);
    check_strict(WLOAD_IO_DIRECT, 0, EINVAL);
    check_strict(WLOAD_IO_AUTO, 0, EIO);
    wl_sys = &wl_sys_real;
}

int main(void)
{
    for (size_t i = 0; i < sizeof(content); i++) {
        content[i] = (unsigned char)(i * 31 + i / 977);
    }
    check_direct();
    return 0;
}
