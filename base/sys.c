/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* cachestat(2) has one number on every architecture; older C libraries do not know it. */
#define NR_CACHESTAT 451

static void *real_alloc(size_t size)
{
    return calloc(1, size);
}

static int real_openat(int dir, const char *path, int flags, unsigned mode)
{
    return openat(dir, path, flags, mode);
}

static int real_set_flags(int fd, int flags)
{
    return fcntl(fd, F_SETFL, flags);
}

static ssize_t real_pread_nowait(int fd, void *buffer, size_t size, off_t offset)
{
    struct iovec vector = {buffer, size};

    return preadv2(fd, &vector, 1, offset, RWF_NOWAIT);
}

static int real_fstat(int fd, struct stat *out)
{
    return fstat(fd, out);
}

static int real_cachestat(int fd, uint64_t offset, uint64_t size_bytes, uint64_t *resident_pages)
{
    struct {
        uint64_t offset, size;
    } range = {offset, size_bytes};
    struct {
        uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } out = {0};

    if (syscall(NR_CACHESTAT, fd, &range, &out, 0) < 0) {
        return -1;
    }
    *resident_pages = out.cached;
    return 0;
}

/* mbind(2) without libnuma: allocate on that node while it has memory. */
static int real_numa_prefer(void *address, size_t size, unsigned node)
{
    enum {
        PREFERRED = 1,
        NODES_MAX = 1024,
        WORD_BITS = 64
    };
    unsigned long mask[NODES_MAX / WORD_BITS] = {0};

    if (node >= NODES_MAX) {
        errno = EINVAL;
        return -1;
    }
    mask[node / WORD_BITS] = 1ul << (node % WORD_BITS);
    return (int)syscall(SYS_mbind, address, size, PREFERRED, mask, NODES_MAX, 0);
}

static int real_thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    return pthread_create(thread, NULL, run, argument);
}

static int real_ring_set_buffer(struct io_uring *ring, unsigned index, const struct iovec *memory)
{
    __u64 tag = 0;

    return io_uring_register_buffers_update_tag(ring, index, memory, &tag, 1);
}

static int real_ring_wait(struct io_uring *ring, struct __kernel_timespec *timeout)
{
    struct io_uring_cqe *cqe;

    return timeout ? io_uring_submit_and_wait_timeout(ring, &cqe, 1, timeout, NULL)
                   : io_uring_submit_and_wait(ring, 1);
}

const struct wl_sys wl_sys_real = {
    .alloc = real_alloc,
    .free = free,
    .openat = real_openat,
    .close = close,
    .set_flags = real_set_flags,
    .fstat = real_fstat,
    .statx = statx,
    .pread = pread,
    .pread_nowait = real_pread_nowait,
    .pwrite = pwrite,
    .write = write,
    .fsync = fsync,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .sync_range = sync_file_range,
    .fchmod = fchmod,
    .flock = flock,
    .fstatvfs = fstatvfs,
    .fstatfs = fstatfs,
    .mkdirat = mkdirat,
    .renameat = renameat,
    .unlinkat = unlinkat,
    .symlinkat = symlinkat,
    .readlinkat = readlinkat,
    .random = getrandom,
    .fdopendir = fdopendir,
    .readdir = readdir,
    .closedir = closedir,
    .mmap = mmap,
    .munmap = munmap,
    .madvise = madvise,
    .numa_prefer = real_numa_prefer,
    .cachestat = real_cachestat,
    .mincore = mincore,
    .fadvise = posix_fadvise,
    .eventfd = eventfd,
    .pipe = pipe2,
    .thread_start = real_thread_start,
    .ring_init = io_uring_queue_init_params,
    .ring_exit = io_uring_queue_exit,
    .ring_register_files = io_uring_register_files,
    .ring_reserve_buffers = io_uring_register_buffers_sparse,
    .ring_set_buffer = real_ring_set_buffer,
    .ring_submit = io_uring_submit,
    .ring_wait = real_ring_wait,
    .ring_peek = io_uring_peek_batch_cqe,
};

const struct wl_sys *wl_sys = &wl_sys_real;

void *wl_sys_array(size_t count, size_t item_bytes)
{
    size_t size;

    if (__builtin_mul_overflow(count, item_bytes, &size)) {
        return NULL;
    }
    return wl_sys->alloc(size > 0 ? size : 1);
}

int64_t wl_sys_read(int fd, void *buffer, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t got = wl_sys->pread(fd, (char *)buffer + done, size - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    return (int64_t)done;
}

int wl_sys_write(int fd, const void *buffer, size_t size)
{
    const char *at = buffer;

    while (size > 0) {
        ssize_t put = wl_sys->write(fd, at, size);

        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return -errno;
        }
        at += put;
        size -= (size_t)put;
    }
    return 0;
}

int wl_sys_write_at(int fd, const void *buffer, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t put =
            wl_sys->pwrite(fd, (const char *)buffer + done, size - done, (off_t)(offset + done));

        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return put < 0 ? -errno : -EIO; /* no disk says that it wrote nothing and goes on */
        }
        done += (size_t)put;
    }
    return 0;
}

uint32_t wl_sys_cpu_count(void)
{
    cpu_set_t cpus;

    return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 1;
}
