/* SPDX-License-Identifier: Apache-2.0 */
/* Page cache, huge pages, control group, NUMA, open files. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/sys.h"
#include "bench/probe.h"
#include "bench/procfs.h"
#include "bench/text.h"

#define FREE_BYTES_MIN (512ull << 20) /* the staging ring, and as much again for the program */
#define OPEN_FILES_MIN 256

/* ---- The page cache ---------------------------------------------------------- */

static int try_mincore(int fd, size_t size)
{
    unsigned char resident = 0;
    void *window = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    int error;

    if (window == MAP_FAILED) {
        return errno;
    }
    error = mincore(window, size, &resident) < 0 ? errno : 0;
    (void)munmap(window, size);
    return error;
}

static void probe_page_cache(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "page_cache", "");
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    int fd = memfd_create("wload-doctor", MFD_CLOEXEC);
    uint64_t pages = 0;
    int error = 0;
    int mincore_error = 0;

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
        error = mincore_error = errno;
    } else {
        error = wl_sys->cachestat(fd, 0, size, &pages) < 0 ? errno : 0;
        mincore_error = try_mincore(fd, size);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (error == 0) {
        probe_judge(finding, PROBE_OK, 0, "cachestat tells what is resident");
    } else if (mincore_error == 0) {
        probe_judge(finding, PROBE_OK, error, "mincore tells what is resident; no cachestat");
    } else {
        probe_judge(finding, PROBE_DEGRADED, mincore_error, "what is resident cannot be asked");
        probe_remedy(finding, "give --io direct or --io buffered; in a container, let the seccomp "
                              "profile allow cachestat or mincore");
    }
}

/* ---- Huge pages ----------------------------------------------------------------- */

/* The chosen word of "always [madvise] never". */
static void read_choice(const char *path, char *word, size_t size)
{
    char line[128] = "";
    const char *begin;

    (void)snprintf(word, size, "absent");
    if (procfs_line(path, line, sizeof(line)) && (begin = strchr(line, '['))) {
        (void)snprintf(word, size, "%.*s", (int)strcspn(begin + 1, "]"), begin + 1);
    }
}

static void probe_huge_pages(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "huge_pages", "");
    char enabled[32], defrag[32];
    uint64_t reserved = 0;

    (void)procfs_number("/proc/meminfo", "HugePages_Total", &reserved);
    read_choice("/sys/kernel/mm/transparent_hugepage/enabled", enabled, sizeof(enabled));
    read_choice("/sys/kernel/mm/transparent_hugepage/defrag", defrag, sizeof(defrag));
    if (strcmp(enabled, "always") == 0 || strcmp(enabled, "madvise") == 0) {
        probe_judge(finding, PROBE_OK, 0,
                    "transparent: %s, defrag %s; hugetlb: %" PRIu64 " reserved", enabled, defrag,
                    reserved);
        return;
    }
    probe_judge(finding, PROBE_DEGRADED, 0, "transparent: %s; hugetlb: %" PRIu64 " reserved",
                enabled, reserved);
    probe_remedy(finding, "as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
}

/* ---- The control group ------------------------------------------------------------ */

static void probe_cgroup(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "cgroup_memory", "");
    struct wl_cgroup_memory memory = wl_cgroup_memory();
    char left[TEXT_SIZE_BYTES], limit[TEXT_SIZE_BYTES];

    if (memory.free_bytes == UINT64_MAX) {
        probe_judge(finding, PROBE_OK, 0, "no limit");
        return;
    }
    (void)text_size(memory.free_bytes, left);
    (void)text_size(memory.free_of_bytes, limit);
    if (memory.free_bytes >= FREE_BYTES_MIN) {
        probe_judge(finding, PROBE_OK, 0, "limit %s, %s free", limit, left);
        return;
    }
    probe_judge(finding, PROBE_DEGRADED, 0, "limit %s, only %s free", limit, left);
    probe_remedy(finding, "raise the group's memory limit, or give a smaller --staging");
}

/* ---- NUMA, open files -------------------------------------------------------------- */

static unsigned count_nodes(void)
{
    DIR *list = opendir("/sys/devices/system/node");
    const struct dirent *entry;
    unsigned count = 0;

    while (list && (entry = readdir(list))) {
        unsigned node;

        count += sscanf(entry->d_name, "node%u", &node) == 1;
    }
    if (list) {
        (void)closedir(list);
    }
    return count;
}

static void probe_numa(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "numa", "");
    unsigned count = count_nodes();

    if (count == 0) {
        probe_judge(finding, PROBE_ABSENT, 0, "the kernel tells of no nodes");
    } else {
        probe_judge(finding, PROBE_OK, 0, "%u node%s", count, count == 1 ? "" : "s");
    }
}

static void probe_open_files(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "open_files", "");
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        probe_judge(finding, PROBE_DEGRADED, errno, "the limit cannot be read");
    } else if (limit.rlim_cur >= OPEN_FILES_MIN) {
        probe_judge(finding, PROBE_OK, 0, "limit %" PRIu64, (uint64_t)limit.rlim_cur);
    } else {
        probe_judge(finding, PROBE_DEGRADED, 0, "limit %" PRIu64 "; a model may have more files",
                    (uint64_t)limit.rlim_cur);
        probe_remedy(finding, "ulimit -n 1024");
    }
}

void probe_machine(struct probe_findings *findings)
{
    probe_page_cache(findings);
    probe_huge_pages(findings);
    probe_cgroup(findings);
    probe_numa(findings);
    probe_open_files(findings);
}
