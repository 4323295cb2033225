/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with an open partial file; partial_open.c opens it. */
#include "cache/partial.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/base.h"
#include "base/err.h"
#include "base/file.h"
#include "base/sys.h"

#define MARK_BYTES      64u /* of the map, in one write */
#define WRITEBACK_BYTES (8u << 20)
#define PAGE_BYTES      (64u << 10) /* none is written both ways; no machine has larger ones */

/* ---- The map ------------------------------------------------------------------------ */

static unsigned bits_at(const struct wl_partial *partial, uint64_t block)
{
    return atomic_load_explicit(&partial->map->bits[block / 8], memory_order_acquire);
}

/* The first block from `block` on that is there, or is not; block_count if there is none. */
static uint64_t find_block(const struct wl_partial *partial, uint64_t block, bool is_there)
{
    unsigned others = is_there ? 0x00 : 0xff;

    while (block < partial->block_count) {
        unsigned bits = bits_at(partial, block);

        if (bits == others) {
            block = (block | 7) + 1;
        } else if (((bits >> (block % 8)) & 1) == is_there) {
            return block;
        } else {
            block++;
        }
    }
    return partial->block_count;
}

/* With the mutex: `count` of the map's bytes from `at` on, in the file and then in memory.  0 or a
 * negative errno. */
static int put_bytes(struct wl_partial *partial, uint64_t at, const unsigned char *bytes,
                     size_t count)
{
    int rc = partial->is_private
                 ? 0
                 : wl_sys_write_at(partial->fd, bytes, count, partial->map_offset + at);

    for (size_t i = 0; i < count && rc == 0; i++) {
        atomic_store_explicit(&partial->map->bits[at + i], bytes[i], memory_order_release);
    }
    return rc;
}

/* Say of the blocks [first, end) that they are there, or are not. */
static int mark(struct wl_partial *partial, uint64_t first, uint64_t end, bool is_there,
                struct wload_error *err)
{
    unsigned char bytes[MARK_BYTES];
    int rc = 0;

    if (first >= end) {
        return WLOAD_OK;
    }
    (void)pthread_mutex_lock(&partial->map->changes);
    while (first < end && rc == 0) {
        uint64_t at = first / 8;
        uint64_t until = wl_min(end, 8 * (at + MARK_BYTES));
        size_t count = (until + 7) / 8 - at;

        for (size_t i = 0; i < count; i++) {
            bytes[i] = (unsigned char)bits_at(partial, 8 * (at + i));
        }
        for (; first < until; first++) {
            unsigned bit = 1u << (first % 8);
            unsigned char *byte = &bytes[first / 8 - at];

            *byte = (unsigned char)(is_there ? *byte | bit : *byte & ~bit);
        }
        rc = put_bytes(partial, at, bytes, count);
    }
    (void)pthread_mutex_unlock(&partial->map->changes);
    return rc < 0 ? wl_err_sys(err, -rc, "cannot write the map of '%s'", partial->path) : WLOAD_OK;
}

static uint64_t offset_of(const struct wl_partial *partial, uint64_t block)
{
    return wl_min(block * WL_PARTIAL_BLOCK_BYTES, partial->size_bytes);
}

static uint64_t block_after(uint64_t offset)
{
    return offset / WL_PARTIAL_BLOCK_BYTES + (offset % WL_PARTIAL_BLOCK_BYTES != 0);
}

uint64_t wl_partial_ready(const struct wl_partial *partial, uint64_t offset)
{
    return wl_max(offset,
                  offset_of(partial, find_block(partial, offset / WL_PARTIAL_BLOCK_BYTES, false)));
}

bool wl_partial_gap(const struct wl_partial *partial, uint64_t offset, uint64_t *begin,
                    uint64_t *end)
{
    uint64_t first = find_block(partial, block_after(offset), false);

    if (first == partial->block_count) {
        return false;
    }
    *begin = offset_of(partial, first);
    *end = offset_of(partial, find_block(partial, first, true));
    return true;
}

uint64_t wl_partial_present(const struct wl_partial *partial)
{
    uint64_t bytes = 0;
    uint64_t block = find_block(partial, 0, true);

    while (block < partial->block_count) {
        uint64_t end = find_block(partial, block, false);

        bytes += offset_of(partial, end) - offset_of(partial, block);
        block = find_block(partial, end, true);
    }
    return bytes;
}

int wl_partial_restart(struct wl_partial *partial, struct wload_error *err)
{
    return mark(partial, 0, partial->block_count, false, err);
}

void wl_partial_map_free(struct wl_partial_map *map)
{
    if (map) {
        (void)pthread_mutex_destroy(&map->changes);
        wl_sys->free(map);
    }
}

/* ---- Bytes -------------------------------------------------------------------------- */

/* Start to write to the disk what the run has completed of its next large piece, so that there is
 * little left to wait for at the end. */
static void write_back(const struct wl_partial *partial, uint64_t begun, uint64_t offset,
                       uint64_t end)
{
    uint64_t from = begun + wl_round_down(offset - begun, WRITEBACK_BYTES);
    uint64_t until = begun + wl_round_down(end - begun, WRITEBACK_BYTES);

    if (until > from) {
        (void)wl_sys->sync_range(partial->fd, (off_t)from, (off_t)(until - from),
                                 SYNC_FILE_RANGE_WRITE);
    }
}

/* A second way to the open file.  A descriptor or a negative errno. */
static int open_direct(const struct wl_partial *partial)
{
    char path[32];
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", partial->fd);
    fd = wl_sys->openat(AT_FDCWD, path, O_RDWR | O_DIRECT | O_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

/* A file that waits for its turn needs no descriptor for it. */
static int direct_fd(struct wl_partial *partial)
{
    static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
    int fd = atomic_load(&partial->direct_fd);

    if (fd < 0) {
        (void)pthread_mutex_lock(&opening);
        fd = atomic_load(&partial->direct_fd);
        if (fd < 0) {
            fd = open_direct(partial);
            atomic_store(&partial->direct_fd, fd < 0 ? -1 : fd);
        }
        (void)pthread_mutex_unlock(&opening);
    }
    return fd;
}

/* The alignment of direct I/O on the file, or a negative errno. */
static int try_direct(const struct wl_partial *partial)
{
    int fd = open_direct(partial);
    uint32_t align;

    if (fd < 0) {
        return fd;
    }
    align = wl_file_direct_align(fd);
    (void)wl_sys->close(fd);
    return align > 0 ? (int)align : -EOPNOTSUPP;
}

int wl_partial_set_io(struct wl_partial *partial, const struct wl_log *log,
                      enum wload_io_policy policy, struct wload_error *err)
{
    int align;

    if (policy == WLOAD_IO_BUFFERED || partial->size_bytes < WL_PARTIAL_BLOCK_BYTES) {
        return WLOAD_OK;
    }
    align = try_direct(partial);
    if (align < 0 && policy == WLOAD_IO_DIRECT) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "'%s' refuses O_DIRECT: %s (%s)",
                          partial->path, strerrordesc_np(-align), strerrorname_np(-align));
    }
    if (align < 0) {
        WL_LOG(log, WLOAD_LOG_INFO, "cache",
               "'%s' is written through the page cache: O_DIRECT is refused with %s", partial->path,
               strerrorname_np(-align));
        return WLOAD_OK;
    }
    WL_LOG(log, WLOAD_LOG_DEBUG, "cache", "'%s' is written with O_DIRECT, aligned to %d",
           partial->path, align);
    atomic_store(&partial->direct_fd, -1);
    atomic_store(&partial->direct_align, (unsigned)align);
    partial->is_direct = true;
    partial->is_strict = policy == WLOAD_IO_DIRECT;
    return WLOAD_OK;
}

/* What of these bytes can pass the page cache by. */
static uint64_t direct_bytes(const struct wl_partial *partial, uint64_t offset, const void *memory,
                             uint64_t size_bytes)
{
    unsigned align = atomic_load_explicit(&partial->direct_align, memory_order_relaxed);
    uint64_t unit = wl_max(align, PAGE_BYTES);

    return align > 0 && offset % unit == 0 && (uintptr_t)memory % align == 0
               ? wl_round_down(size_bytes, unit)
               : 0;
}

static bool is_refusal(int64_t rc)
{
    return rc == -EINVAL || rc == -EOPNOTSUPP;
}

/* *written is how many bytes passed the page cache by. */
static int write_directly(struct wl_partial *partial, const void *data, uint64_t size_bytes,
                          uint64_t offset, uint64_t *written)
{
    uint64_t size = direct_bytes(partial, offset, data, size_bytes);
    int fd = size > 0 ? direct_fd(partial) : 0;
    int rc = fd < 0 ? fd : size > 0 ? wl_sys_write_at(fd, data, size, offset) : 0;

    *written = size;
    if ((fd < 0 || is_refusal(rc)) && !partial->is_strict) {
        atomic_store_explicit(&partial->direct_align, 0, memory_order_relaxed);
        *written = 0;
        rc = 0;
    }
    return rc;
}

/* The first `written` bytes passed the page cache by: the rest, and then the map. */
static int end_write(struct wl_partial *partial, uint64_t begun, uint64_t offset,
                     const uint8_t *data, uint64_t size_bytes, uint64_t written,
                     struct wload_error *err)
{
    uint64_t end = offset + size_bytes;
    uint64_t last =
        end == partial->size_bytes ? partial->block_count : end / WL_PARTIAL_BLOCK_BYTES;

    if (written < size_bytes) {
        int rc =
            wl_sys_write_at(partial->fd, data + written, size_bytes - written, offset + written);

        if (rc < 0) {
            return wl_err_sys(err, -rc, "cannot write '%s'", partial->path);
        }
        write_back(partial, begun, offset + written, end);
    }
    return mark(partial, wl_max(block_after(begun), offset / WL_PARTIAL_BLOCK_BYTES), last, true,
                err);
}

static void check_bounds(const struct wl_partial *partial, uint64_t begun, uint64_t offset,
                         uint64_t size_bytes)
{
    WL_ASSERT(begun <= offset && offset <= partial->size_bytes);
    WL_ASSERT(size_bytes <= partial->size_bytes - offset);
}

int wl_partial_write(struct wl_partial *partial, uint64_t begun, uint64_t offset, const void *data,
                     uint64_t size_bytes, struct wload_error *err)
{
    uint64_t written;
    int rc;

    check_bounds(partial, begun, offset, size_bytes);
    rc = write_directly(partial, data, size_bytes, offset, &written);
    if (rc < 0) {
        return wl_err_sys(err, -rc, "cannot write '%s'", partial->path);
    }
    return end_write(partial, begun, offset, data, size_bytes, written, err);
}

int wl_partial_write_cached(struct wl_partial *partial, uint64_t begun, uint64_t offset,
                            const void *data, uint64_t size_bytes, struct wload_error *err)
{
    check_bounds(partial, begun, offset, size_bytes);
    return end_write(partial, begun, offset, data, size_bytes, 0, err);
}

int wl_partial_read(struct wl_partial *partial, uint64_t offset, void *memory, uint64_t size_bytes,
                    struct wload_error *err)
{
    bool is_direct = direct_bytes(partial, offset, memory, size_bytes) == size_bytes;
    int fd = is_direct ? direct_fd(partial) : -1;
    int64_t got = wl_sys_read(fd < 0 ? partial->fd : fd, memory, size_bytes, offset);

    if (is_direct && is_refusal(got)) {
        got = wl_sys_read(partial->fd, memory, size_bytes, offset);
    }
    if (got < 0) {
        return wl_err_sys(err, (int)-got, "cannot read '%s'", partial->path);
    }
    return (uint64_t)got == size_bytes
               ? WLOAD_OK
               : wl_err_at(err, WLOAD_ERR_IO, offset, "'%s' has lost its end", partial->path);
}

/* ---- The end ------------------------------------------------------------------------ */

static void free_map(struct wl_partial *partial)
{
    wl_partial_map_free(partial->map);
    partial->map = NULL;
    partial->block_count = 0;
}

static void end(struct wl_partial *partial)
{
    free_map(partial);
    if (partial->is_direct && atomic_load(&partial->direct_fd) >= 0) {
        (void)wl_sys->close(atomic_load(&partial->direct_fd));
    }
    if (partial->fd >= 0) {
        (void)wl_sys->flock(partial->fd, LOCK_UN); /* a child of fork() has the descriptor, too */
        (void)wl_sys->close(partial->fd);
    }
    wl_sys->free(partial->path);
    *partial = (struct wl_partial){.fd = -1};
}

int wl_partial_publish(struct wl_partial *partial, const char *path, bool flushes,
                       struct wload_error *err)
{
    /* From here to the rename the file is whole and has no map; see LEFT_WHOLE. */
    free_map(partial);
    if (partial->size_bytes > 0 && wl_sys->ftruncate(partial->fd, (off_t)partial->size_bytes) < 0) {
        return wl_err_sys(err, errno, "cannot cut '%s' to its size", partial->path);
    }
    if (flushes && wl_sys->fsync(partial->fd) < 0) {
        return wl_err_sys(err, errno, "cannot flush '%s'", partial->path);
    }
    /* Others may remove such files without a lock, and again others make them anew. */
    if (!wl_file_is_at(partial->fd, partial->path)) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' was removed meanwhile", partial->path);
    }
    if (wl_sys->renameat(AT_FDCWD, partial->path, AT_FDCWD, path) < 0) {
        return wl_err_sys(err, errno, "cannot move '%s' to '%s'", partial->path, path);
    }
    end(partial);
    return WLOAD_OK;
}

static bool is_empty(const struct wl_partial *partial)
{
    return partial->size_bytes == 0 || (partial->map && wl_partial_present(partial) == 0);
}

void wl_partial_close(struct wl_partial *partial)
{
    if (partial->path && (partial->is_private || is_empty(partial))) {
        wl_partial_discard(partial);
    } else if (partial->path) {
        end(partial);
    }
}

void wl_partial_discard(struct wl_partial *partial)
{
    if (partial->path) {
        if (wl_file_is_at(partial->fd, partial->path)) {
            (void)wl_sys->unlinkat(AT_FDCWD, partial->path, 0);
        }
        end(partial);
    }
}
