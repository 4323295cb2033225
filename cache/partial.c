/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with an open partial file; partial_open.c opens it. */
#include "cache/partial.h"

#include <errno.h>
#include <fcntl.h>

#include "base/base.h"
#include "base/err.h"
#include "base/file.h"
#include "base/sys.h"

#define WRITEBACK_BYTES (8u << 20)

/* ---- The map ------------------------------------------------------------------------ */

static unsigned bits_at(const struct wl_partial *partial, uint64_t block)
{
    return atomic_load_explicit(&partial->map[block / 8], memory_order_acquire);
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

static void mark(struct wl_partial *partial, uint64_t first, uint64_t end)
{
    for (uint64_t block = first; block < end; block++) {
        atomic_fetch_or_explicit(&partial->map[block / 8], (unsigned char)(1u << (block % 8)),
                                 memory_order_release);
    }
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
    (void)err; /* what is in memory cannot fail */
    for (uint64_t i = 0; i < (partial->block_count + 7) / 8; i++) {
        atomic_store_explicit(&partial->map[i], 0, memory_order_release);
    }
    return WLOAD_OK;
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

int wl_partial_write(struct wl_partial *partial, uint64_t begun, uint64_t offset, const void *data,
                     uint64_t size_bytes, struct wload_error *err)
{
    uint64_t end = offset + size_bytes;
    uint64_t last;
    int rc;

    WL_ASSERT(begun <= offset && offset <= partial->size_bytes);
    WL_ASSERT(size_bytes <= partial->size_bytes - offset);
    rc = wl_sys_write_at(partial->fd, data, size_bytes, offset);
    if (rc < 0) {
        return wl_err_sys(err, -rc, "cannot write '%s'", partial->path);
    }
    last = end == partial->size_bytes ? partial->block_count : end / WL_PARTIAL_BLOCK_BYTES;
    mark(partial, wl_max(block_after(begun), offset / WL_PARTIAL_BLOCK_BYTES), last);
    write_back(partial, begun, offset, end);
    return WLOAD_OK;
}

/* ---- The end ------------------------------------------------------------------------ */

static void unmap(struct wl_partial *partial)
{
    if (partial->memory) {
        (void)wl_sys->munmap(partial->memory, partial->memory_bytes);
    }
    partial->memory = NULL;
    partial->map = NULL;
    partial->block_count = 0;
}

static void end(struct wl_partial *partial)
{
    unmap(partial);
    if (partial->fd >= 0) {
        (void)wl_sys->close(partial->fd);
    }
    wl_sys->free(partial->path);
    *partial = (struct wl_partial){.fd = -1};
}

int wl_partial_publish(struct wl_partial *partial, const char *path, bool flushes,
                       struct wload_error *err)
{
    /* From here to the rename the file is whole and has no map; see LEFT_WHOLE. */
    unmap(partial);
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
