/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one door to the kernel and to malloc.  Tests hang another table here to
 * make the n-th call fail; production never writes wl_sys.
 *
 * Slots have the contract of the call they are named for, errno included, but
 * for the ring's, which return a negative errno as liburing does.
 */
#ifndef WL_SYS_H
#define WL_SYS_H

#include <dirent.h>
#include <liburing.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/vfs.h>

struct wl_sys {
    void *(*alloc)(size_t size); /* zeroed; NULL on failure */
    void (*free)(void *memory);

    int (*openat)(int dir, const char *path, int flags, unsigned mode);
    int (*close)(int fd);
    int (*set_flags)(int fd, int flags); /* fcntl F_SETFL */
    int (*fstat)(int fd, struct stat *out);
    int (*statx)(int dir, const char *path, int flags, unsigned mask, struct statx *out);
    ssize_t (*pread)(int fd, void *buffer, size_t size, off_t offset);
    /* preadv2 with RWF_NOWAIT */
    ssize_t (*pread_nowait)(int fd, void *buffer, size_t size, off_t offset);
    ssize_t (*pwrite)(int fd, const void *buffer, size_t size, off_t offset);
    ssize_t (*write)(int fd, const void *buffer, size_t size);
    int (*fsync)(int fd);
    int (*ftruncate)(int fd, off_t size);
    int (*fallocate)(int fd, int mode, off_t offset, off_t size);
    int (*sync_range)(int fd, off_t offset, off_t size, unsigned flags);
    int (*fchmod)(int fd, mode_t mode);
    int (*flock)(int fd, int operation);
    int (*fstatvfs)(int fd, struct statvfs *out);
    int (*fstatfs)(int fd, struct statfs *out);
    int (*mkdirat)(int dir, const char *path, mode_t mode);
    int (*renameat)(int from_dir, const char *from, int to_dir, const char *to);
    int (*unlinkat)(int dir, const char *path, int flags);
    int (*symlinkat)(const char *target, int dir, const char *path);
    ssize_t (*readlinkat)(int dir, const char *path, char *buffer, size_t size);
    ssize_t (*random)(void *buffer, size_t size, unsigned flags); /* getrandom */
    DIR *(*fdopendir)(int fd);
    struct dirent *(*readdir)(DIR *dir);
    int (*closedir)(DIR *dir);

    void *(*mmap)(void *address, size_t size, int protection, int flags, int fd, off_t offset);
    int (*munmap)(void *address, size_t size);
    int (*madvise)(void *address, size_t size, int advice);
    int (*numa_prefer)(void *address, size_t size, unsigned node);
    int (*cachestat)(int fd, uint64_t offset, uint64_t size_bytes, uint64_t *resident_pages);
    int (*mincore)(void *address, size_t size, unsigned char *resident);
    int (*fadvise)(int fd, off_t offset, off_t size, int advice);

    int (*eventfd)(unsigned value, int flags);
    int (*pipe)(int ends[2], int flags); /* pipe2 */
    int (*thread_start)(pthread_t *thread, void *(*run)(void *), void *argument);

    int (*ring_init)(unsigned entries, struct io_uring *ring, struct io_uring_params *params);
    void (*ring_exit)(struct io_uring *ring);
    int (*ring_register_files)(struct io_uring *ring, const int *fds, unsigned count);
    int (*ring_reserve_buffers)(struct io_uring *ring, unsigned count);
    int (*ring_set_buffer)(struct io_uring *ring, unsigned index, const struct iovec *memory);
    int (*ring_submit)(struct io_uring *ring);
    /* Submit, then wait for one completion, for at most *timeout (NULL: for ever). */
    int (*ring_wait)(struct io_uring *ring, struct __kernel_timespec *timeout);
    unsigned (*ring_peek)(struct io_uring *ring, struct io_uring_cqe **out, unsigned max);
};

extern const struct wl_sys wl_sys_real;
extern const struct wl_sys *wl_sys;

/* An array of `count` zeroed items; NULL on failure or overflow. */
void *wl_sys_array(size_t count, size_t item_bytes);

/* Read exactly `size` bytes, through short reads and EINTR.
 * Returns the bytes read, fewer at the end of the file only, or a negative errno. */
int64_t wl_sys_read(int fd, void *buffer, size_t size, uint64_t offset);

/* CPUs that this process may use, at least 1. */
uint32_t wl_sys_cpu_count(void);

/* Write all, through short writes and EINTR.  0 or a negative errno. */
int wl_sys_write(int fd, const void *buffer, size_t size);
int wl_sys_write_at(int fd, const void *buffer, size_t size, uint64_t offset);

#endif /* WL_SYS_H */
