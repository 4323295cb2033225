/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"

#define DECOYS_MAX 64
#define PAGE_BYTES 4096u

/* A descriptor that stands for a file opened with O_DIRECT and cannot be read. */
struct decoy {
    int fd;
    struct stat status;
};

static struct faults order;
static atomic_ullong calls;
static atomic_ullong allocations;
static atomic_llong live_blocks;
static atomic_uint noise;
static struct decoy decoys[DECOYS_MAX];
static unsigned decoy_count;

static bool is_hit(void)
{
    return atomic_fetch_add(&calls, 1) + 1 == order.fail_at;
}

/* Not random in the cryptographer's sense: different at each call, the same in each run. */
static unsigned next_noise(void)
{
    unsigned value = atomic_fetch_add(&noise, 0x9e3779b9u);

    value ^= value >> 16;
    value *= 0x85ebca6bu;
    return value ^ (value >> 13);
}

#define FAIL(code, failure) \
    do {                    \
        if (is_hit()) {     \
            errno = (code); \
            return failure; \
        }                   \
    } while (0)

static void *faulty_alloc(size_t size)
{
    void *memory;

    FAIL(ENOMEM, NULL);
    memory = wl_sys_real.alloc(size);
    atomic_fetch_add(&allocations, 1);
    atomic_fetch_add(&live_blocks, memory != NULL);
    return memory;
}

static void faulty_free(void *memory)
{
    atomic_fetch_sub(&live_blocks, memory != NULL);
    wl_sys_real.free(memory);
}

static struct decoy *decoy_of(int fd)
{
    for (unsigned i = 0; i < decoy_count; i++) {
        if (decoys[i].fd == fd) {
            return &decoys[i];
        }
    }
    return NULL;
}

/* A namespace under the file's number: whoever reads it is told EINVAL. */
static int make_decoy(int fd)
{
    int unreadable = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);

    if (unreadable < 0 || decoy_count == DECOYS_MAX || fstat(fd, &decoys[decoy_count].status) < 0 ||
        dup3(unreadable, fd, O_CLOEXEC) < 0) {
        abort();
    }
    (void)close(unreadable);
    decoys[decoy_count++].fd = fd;
    return fd;
}

static int faulty_openat(int dir, const char *path, int flags, unsigned mode)
{
    int fd;

    FAIL(EIO, -1);
    if ((flags & O_DIRECT) != 0 && order.refuses_at_open) {
        errno = EINVAL;
        return -1;
    }
    fd = wl_sys_real.openat(dir, path, flags & (order.refuses_at_read ? ~O_DIRECT : ~0), mode);
    return fd >= 0 && (flags & O_DIRECT) != 0 && order.refuses_at_read ? make_decoy(fd) : fd;
}

static int faulty_close(int fd)
{
    struct decoy *decoy = decoy_of(fd);

    if (decoy) {
        *decoy = decoys[--decoy_count];
    }
    (void)is_hit(); /* a close that fails has closed all the same */
    return wl_sys_real.close(fd);
}

static int faulty_fstat(int fd, struct stat *out)
{
    const struct decoy *decoy = decoy_of(fd);

    FAIL(EIO, -1);
    if (decoy) {
        *out = decoy->status;
        return 0;
    }
    return wl_sys_real.fstat(fd, out);
}

static int faulty_set_flags(int fd, int flags)
{
    FAIL(EIO, -1);
    return decoy_of(fd) ? 0 : wl_sys_real.set_flags(fd, flags);
}

static int faulty_statx(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
    FAIL(ENOSYS, -1);
    if (decoy_of(dir)) {
        errno = ENOSYS;
        return -1;
    }
    return wl_sys_real.statx(dir, path, flags, mask, out);
}

static ssize_t faulty_pread(int fd, void *buffer, size_t size, off_t offset)
{
    FAIL(EIO, -1);
    if (order.is_short && size > 1) {
        if (next_noise() % 4 == 0) {
            errno = EINTR;
            return -1;
        }
        if ((fcntl(fd, F_GETFL) & O_DIRECT) == 0) {
            size = 1 + next_noise() % size;
        } else if (size > PAGE_BYTES) { /* whole blocks, or the kernel refuses */
            size = PAGE_BYTES * (1 + next_noise() % (size / PAGE_BYTES));
        }
    }
    return wl_sys_real.pread(fd, buffer, size, offset);
}

static ssize_t faulty_write(int fd, const void *buffer, size_t size)
{
    FAIL(ENOSPC, -1);
    return wl_sys_real.write(fd, buffer, size);
}

static ssize_t faulty_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    FAIL(ENOSPC, -1);
    if (order.is_short && size > 1) {
        if (next_noise() % 4 == 0) {
            errno = EINTR;
            return -1;
        }
        size = 1 + next_noise() % size;
    }
    return wl_sys_real.pwrite(fd, buffer, size, offset);
}

static int faulty_fsync(int fd)
{
    FAIL(EIO, -1);
    return wl_sys_real.fsync(fd);
}

static int faulty_ftruncate(int fd, off_t size)
{
    FAIL(EIO, -1);
    return wl_sys_real.ftruncate(fd, size);
}

static int faulty_fallocate(int fd, int mode, off_t offset, off_t size)
{
    FAIL(ENOSPC, -1);
    return wl_sys_real.fallocate(fd, mode, offset, size);
}

static int faulty_sync_range(int fd, off_t offset, off_t size, unsigned flags)
{
    FAIL(EIO, -1);
    return wl_sys_real.sync_range(fd, offset, size, flags);
}

static int faulty_fchmod(int fd, mode_t mode)
{
    FAIL(EPERM, -1);
    return wl_sys_real.fchmod(fd, mode);
}

static int faulty_flock(int fd, int operation)
{
    FAIL(EIO, -1);
    return wl_sys_real.flock(fd, operation);
}

static int faulty_fstatvfs(int fd, struct statvfs *out)
{
    FAIL(EIO, -1);
    return wl_sys_real.fstatvfs(fd, out);
}

static int faulty_fstatfs(int fd, struct statfs *out)
{
    FAIL(EIO, -1);
    return wl_sys_real.fstatfs(fd, out);
}

static int faulty_mkdirat(int dir, const char *path, mode_t mode)
{
    FAIL(EIO, -1);
    return wl_sys_real.mkdirat(dir, path, mode);
}

static int faulty_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    FAIL(EIO, -1);
    return wl_sys_real.renameat(from_dir, from, to_dir, to);
}

static int faulty_unlinkat(int dir, const char *path, int flags)
{
    FAIL(EIO, -1);
    return wl_sys_real.unlinkat(dir, path, flags);
}

static int faulty_symlinkat(const char *target, int dir, const char *path)
{
    FAIL(EIO, -1);
    return wl_sys_real.symlinkat(target, dir, path);
}

static ssize_t faulty_readlinkat(int dir, const char *path, char *buffer, size_t size)
{
    FAIL(EIO, -1);
    return wl_sys_real.readlinkat(dir, path, buffer, size);
}

static ssize_t faulty_random(void *buffer, size_t size, unsigned flags)
{
    FAIL(EIO, -1);
    return wl_sys_real.random(buffer, size, flags);
}

static DIR *faulty_fdopendir(int fd)
{
    FAIL(ENOMEM, NULL);
    return wl_sys_real.fdopendir(fd);
}

static struct dirent *faulty_readdir(DIR *dir)
{
    FAIL(EIO, NULL);
    return wl_sys_real.readdir(dir);
}

static void *faulty_mmap(void *address, size_t size, int protection, int flags, int fd,
                         off_t offset)
{
    FAIL(ENOMEM, (void *)-1);
    return wl_sys_real.mmap(address, size, protection, flags, fd, offset);
}

static int faulty_madvise(void *address, size_t size, int advice)
{
    FAIL(EINVAL, -1);
    return wl_sys_real.madvise(address, size, advice);
}

static int faulty_numa_prefer(void *address, size_t size, unsigned node)
{
    FAIL(EPERM, -1);
    return wl_sys_real.numa_prefer(address, size, node);
}

static int faulty_cachestat(int fd, uint64_t offset, uint64_t size_bytes, uint64_t *pages)
{
    FAIL(EPERM, -1);
    if (order.claims_residency) {
        *pages = (size_bytes + 4095) / 4096;
        return 0;
    }
    if (order.denies_residency || order.hides_residency) {
        errno = ENOSYS;
        return -1;
    }
    return wl_sys_real.cachestat(fd, offset, size_bytes, pages);
}

static int faulty_mincore(void *address, size_t size, unsigned char *resident)
{
    FAIL(ENOMEM, -1);
    if (order.hides_residency) {
        errno = ENOSYS;
        return -1;
    }
    if (order.denies_residency) {
        memset(resident, 0, (size + 4095) / 4096);
        return 0;
    }
    return wl_sys_real.mincore(address, size, resident);
}

static ssize_t faulty_pread_nowait(int fd, void *buffer, size_t size, off_t offset)
{
    FAIL(EAGAIN, -1);
    if (order.hides_residency) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return wl_sys_real.pread_nowait(fd, buffer, size, offset);
}

static int faulty_fadvise(int fd, off_t offset, off_t size, int advice)
{
    FAIL(EINVAL, EINVAL);
    return wl_sys_real.fadvise(fd, offset, size, advice);
}

static int faulty_eventfd(unsigned value, int flags)
{
    FAIL(EMFILE, -1);
    return wl_sys_real.eventfd(value, flags);
}

static int faulty_pipe(int ends[2], int flags)
{
    FAIL(EMFILE, -1);
    return wl_sys_real.pipe(ends, flags);
}

static int faulty_thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    FAIL(EAGAIN, EAGAIN);
    return wl_sys_real.thread_start(thread, run, argument);
}

static int faulty_ring_init(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    FAIL(ENOMEM, -ENOMEM);
    return order.ring_errno ? -order.ring_errno : wl_sys_real.ring_init(entries, ring, params);
}

static int faulty_ring_register_files(struct io_uring *ring, const int *fds, unsigned count)
{
    FAIL(EMFILE, -EMFILE);
    return wl_sys_real.ring_register_files(ring, fds, count);
}

static int faulty_ring_reserve_buffers(struct io_uring *ring, unsigned count)
{
    FAIL(EINVAL, -EINVAL);
    return wl_sys_real.ring_reserve_buffers(ring, count);
}

static int faulty_ring_set_buffer(struct io_uring *ring, unsigned index, const struct iovec *memory)
{
    FAIL(ENOMEM, -ENOMEM);
    return order.refuses_buffers ? -ENOMEM : wl_sys_real.ring_set_buffer(ring, index, memory);
}

static int faulty_ring_submit(struct io_uring *ring)
{
    FAIL(EIO, -EIO);
    return wl_sys_real.ring_submit(ring);
}

static int faulty_ring_wait(struct io_uring *ring, struct __kernel_timespec *timeout)
{
    FAIL(EIO, -EIO);
    return wl_sys_real.ring_wait(ring, timeout);
}

/* A completion that read more than it owns up to is as good as a short read. */
static unsigned faulty_ring_peek(struct io_uring *ring, struct io_uring_cqe **out, unsigned max)
{
    unsigned count = wl_sys_real.ring_peek(ring, out, max);

    for (unsigned i = 0; i < count; i++) {
        if (is_hit()) {
            out[i]->res = -EIO;
        } else if (order.is_short && out[i]->res > 1) {
            out[i]->res =
                next_noise() % 4 == 0 ? -EINTR : 1 + (int)(next_noise() % (unsigned)out[i]->res);
        }
    }
    return count;
}

static struct wl_sys faulty_table(void)
{
    struct wl_sys table = wl_sys_real;

    table.alloc = faulty_alloc;
    table.free = faulty_free;
    table.openat = faulty_openat;
    table.close = faulty_close;
    table.fstat = faulty_fstat;
    table.set_flags = faulty_set_flags;
    table.statx = faulty_statx;
    table.pread = faulty_pread;
    table.write = faulty_write;
    table.pwrite = faulty_pwrite;
    table.fsync = faulty_fsync;
    table.ftruncate = faulty_ftruncate;
    table.fallocate = faulty_fallocate;
    table.sync_range = faulty_sync_range;
    table.fchmod = faulty_fchmod;
    table.flock = faulty_flock;
    table.fstatvfs = faulty_fstatvfs;
    table.fstatfs = faulty_fstatfs;
    table.mkdirat = faulty_mkdirat;
    table.renameat = faulty_renameat;
    table.unlinkat = faulty_unlinkat;
    table.symlinkat = faulty_symlinkat;
    table.readlinkat = faulty_readlinkat;
    table.random = faulty_random;
    table.fdopendir = faulty_fdopendir;
    table.readdir = faulty_readdir;
    table.mmap = faulty_mmap;
    table.madvise = faulty_madvise;
    table.numa_prefer = faulty_numa_prefer;
    table.cachestat = faulty_cachestat;
    table.pread_nowait = faulty_pread_nowait;
    table.mincore = faulty_mincore;
    table.fadvise = faulty_fadvise;
    table.eventfd = faulty_eventfd;
    table.pipe = faulty_pipe;
    table.thread_start = faulty_thread_start;
    table.ring_init = faulty_ring_init;
    table.ring_register_files = faulty_ring_register_files;
    table.ring_reserve_buffers = faulty_ring_reserve_buffers;
    table.ring_set_buffer = faulty_ring_set_buffer;
    table.ring_submit = faulty_ring_submit;
    table.ring_wait = faulty_ring_wait;
    table.ring_peek = faulty_ring_peek;
    return table;
}

void faults_begin(const struct faults *faults)
{
    static struct wl_sys table;

    order = *faults;
    atomic_store(&calls, 0);
    atomic_store(&allocations, 0);
    atomic_store(&live_blocks, 0);
    decoy_count = 0;
    table = faulty_table();
    wl_sys = &table;
}

uint64_t faults_end(void)
{
    wl_sys = &wl_sys_real;
    return atomic_load(&calls);
}

int64_t faults_live_blocks(void)
{
    return atomic_load(&live_blocks);
}

uint64_t faults_allocations(void)
{
    return atomic_load(&allocations);
}

unsigned faults_open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    while (dir && readdir(dir)) {
        count++;
    }
    if (dir) {
        (void)closedir(dir);
    }
    return count;
}
