/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring: a ring is made and used, then each feature is tried in it. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/base.h"
#include "base/cgroup.h"
#include "bench/probe.h"
#include "bench/procfs.h"
#include "bench/text.h"

#define RING_ENTRIES 8
#define SMALL_BYTES  (8ull << 20)   /* one chunk */
#define RING_BYTES   (256ull << 20) /* the staging ring at its default size, at most */
#define NOT_TRIED    (-1)
#define SYSCTL_PATH  "/proc/sys/kernel/io_uring_disabled"

/* No more than a load would take of a small control group's memory. */
static uint64_t ring_bytes(void)
{
    return wl_max(SMALL_BYTES, wl_min(RING_BYTES, wl_cgroup_memory().limit_bytes / 4));
}

/* Whether a seccomp filter stands between us and the kernel. */
static bool is_filtered(void)
{
    uint64_t mode = 0;

    return procfs_number("/proc/self/status", "Seccomp", &mode) && mode == SECCOMP_MODE_FILTER;
}

static void explain_refusal(struct probe_finding *finding, int error)
{
    char sysctl[16] = "";

    (void)procfs_line(SYSCTL_PATH, sysctl, sizeof(sysctl));
    if (error == EPERM && strcmp(sysctl, "2") == 0) {
        probe_judge(finding, PROBE_DEGRADED, error, "switched off by kernel.io_uring_disabled = 2");
        probe_remedy(finding, "as root: sysctl kernel.io_uring_disabled=0");
    } else if (error == EPERM && strcmp(sysctl, "1") == 0) {
        probe_judge(finding, PROBE_DEGRADED, error,
                    "for the group of kernel.io_uring_group alone: kernel.io_uring_disabled = 1");
        probe_remedy(finding, "join that group, or as root: sysctl kernel.io_uring_disabled=0");
    } else if (error == EPERM || (error == ENOSYS && is_filtered())) {
        probe_judge(finding, PROBE_DEGRADED, error, "refused by a %s",
                    is_filtered() ? "seccomp filter" : "security module");
        probe_remedy(finding, "let the container's seccomp profile allow io_uring_setup, "
                              "io_uring_enter and io_uring_register (docker: --security-opt "
                              "seccomp=PROFILE.json)");
    } else if (error == ENOSYS) {
        probe_judge(finding, PROBE_DEGRADED, error, "not in this kernel");
        probe_remedy(finding, "run a kernel with CONFIG_IO_URING, 5.15 or newer");
    } else {
        probe_judge(finding, PROBE_DEGRADED, error, "no ring: %s", strerror(error));
        probe_remedy(finding, "raise the limit on locked memory (ulimit -l) or free memory");
    }
}

/* Set up, enter: a filter may refuse either.  0 or an errno. */
static int try_ring(struct io_uring *ring, unsigned flags)
{
    int rc = io_uring_queue_init(RING_ENTRIES, ring, flags);

    if (rc < 0) {
        return -rc;
    }
    io_uring_prep_nop(io_uring_get_sqe(ring));
    rc = io_uring_submit_and_wait(ring, 1);
    if (rc < 0) {
        io_uring_queue_exit(ring);
        return -rc;
    }
    return 0;
}

static void try_flags(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "io_uring_task_run", "");
    struct io_uring ring;
    int error = try_ring(&ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);

    if (error == 0) {
        io_uring_queue_exit(&ring);
        probe_judge(finding, PROBE_OK, 0, "completions are run by the loading thread");
        return;
    }
    probe_judge(finding, PROBE_DEGRADED, error, "no SINGLE_ISSUER and DEFER_TASKRUN");
    probe_remedy(finding, "a kernel of 6.1 or newer spares interrupts of the loading thread");
}

static void try_files(struct probe_findings *findings, struct io_uring *ring)
{
    struct probe_finding *finding = probe_add(findings, "io_uring_files", "");
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : io_uring_register_files(ring, &fd, 1);

    if (fd >= 0) {
        (void)close(fd);
    }
    if (rc >= 0) {
        probe_judge(finding, PROBE_OK, 0, "files can be registered");
        return;
    }
    probe_judge(finding, PROBE_DEGRADED, -rc, "files cannot be registered");
    probe_remedy(finding, "each read takes a little more CPU; nothing else is lost");
}

/* 0 or an errno. */
static int register_memory(struct io_uring *ring, uint64_t size_bytes)
{
    struct iovec buffer = {.iov_len = size_bytes};
    int rc;

    buffer.iov_base = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (buffer.iov_base == MAP_FAILED) {
        return errno;
    }
    (void)madvise(buffer.iov_base, size_bytes, MADV_HUGEPAGE);
    rc = io_uring_register_buffers(ring, &buffer, 1);
    if (rc == 0) {
        (void)io_uring_unregister_buffers(ring);
    }
    (void)munmap(buffer.iov_base, size_bytes);
    return -rc;
}

static int try_buffers(struct probe_findings *findings, struct io_uring *ring, const char *name,
                       uint64_t size_bytes)
{
    struct probe_finding *finding = probe_add(findings, name, "");
    int error = register_memory(ring, size_bytes);
    char size[TEXT_SIZE_BYTES];

    (void)text_size(size_bytes, size);
    if (error == 0) {
        probe_judge(finding, PROBE_OK, 0, "%s of buffers can be registered", size);
        return 0;
    }
    probe_judge(finding, PROBE_DEGRADED, error, "%s of buffers cannot be registered", size);
    probe_remedy(finding, error == ENOMEM ? "raise the limit on locked memory, see memlock"
                                          : "reads take more CPU; nothing else is lost");
    return error;
}

static const char *limit_text(rlim_t limit, char out[TEXT_SIZE_BYTES])
{
    return limit == RLIM_INFINITY ? "unlimited" : text_size(limit, out);
}

/* The limit matters where the staging ring could not be registered for it: `ring_error`, or
 * NOT_TRIED. */
static void judge_memlock(struct probe_findings *findings, int ring_error)
{
    struct probe_finding *finding = probe_add(findings, "memlock", "");
    struct rlimit limit = {0};
    char soft[TEXT_SIZE_BYTES], hard[TEXT_SIZE_BYTES], ring[TEXT_SIZE_BYTES];

    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur >= ring_bytes()) {
        probe_judge(finding, PROBE_OK, 0, "limit %s", limit_text(limit.rlim_cur, soft));
        return;
    }
    if (ring_error == 0 || ring_error == NOT_TRIED) {
        probe_judge(finding, PROBE_OK, 0, "limit %s, %s", limit_text(limit.rlim_cur, soft),
                    ring_error == 0 ? "and this process may exceed it" : "not needed here");
        return;
    }
    probe_judge(finding, PROBE_DEGRADED, ring_error,
                "limit %s (at most %s), less than the staging ring of %s",
                limit_text(limit.rlim_cur, soft), limit_text(limit.rlim_max, hard),
                text_size(ring_bytes(), ring));
    probe_remedy(finding, "ulimit -l unlimited; systemd: LimitMEMLOCK=infinity; docker: "
                          "--ulimit memlock=-1");
}

static void skip_features(struct probe_findings *findings)
{
    static const char *const names[] = {"io_uring_task_run", "io_uring_files", "io_uring_buffers",
                                        "io_uring_buffers_ring"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        probe_judge(probe_add(findings, names[i], ""), PROBE_ABSENT, 0, "no io_uring to try it in");
    }
    judge_memlock(findings, NOT_TRIED);
}

void probe_uring(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "io_uring", "");
    struct io_uring ring;
    int error = try_ring(&ring, 0);

    if (error != 0) {
        explain_refusal(finding, error);
        skip_features(findings);
        return;
    }
    probe_judge(finding, PROBE_OK, 0, "a ring was made and used");
    try_flags(findings);
    try_files(findings, &ring);
    (void)try_buffers(findings, &ring, "io_uring_buffers", SMALL_BYTES);
    error = try_buffers(findings, &ring, "io_uring_buffers_ring", ring_bytes());
    io_uring_queue_exit(&ring);
    judge_memlock(findings, error);
}
