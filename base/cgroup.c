/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cgroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/str.h"
#include "base/sys.h"

#define LIST_BYTES_MAX   (64u << 10) /* of /proc/self/cgroup: a dozen paths */
#define NUMBER_BYTES_MAX 32u
#define NO_LIMIT         (1ull << 62) /* what version 1 says for "none", or more */

struct hierarchy {
    const char *root;
    const char *limit;
    const char *used;
};

static const struct hierarchy unified = {"/sys/fs/cgroup", "memory.max", "memory.current"};
/* Where version 2 is mounted beside version 1. */
static const struct hierarchy beside = {"/sys/fs/cgroup/unified", "memory.max", "memory.current"};
static const struct hierarchy legacy = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                        "memory.usage_in_bytes"};

/* The beginning of a file as text.  False: there is none. */
static bool read_text(const char *path, char *text, size_t size)
{
    int fd = wl_sys->openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    int64_t count;

    if (fd < 0) {
        return false;
    }
    count = wl_sys_read(fd, text, size - 1, 0);
    (void)wl_sys->close(fd);
    if (count <= 0) {
        return false;
    }
    text[count] = '\0';
    return true;
}

/* A file of one number: false for "max", and for what is no number. */
static bool read_bytes(const struct hierarchy *hierarchy, const char *group, size_t group_size,
                       const char *name, uint64_t *bytes)
{
    char path[WL_PATH_BYTES_MAX];
    char text[NUMBER_BYTES_MAX];
    int size =
        snprintf(path, sizeof(path), "%s%.*s/%s", hierarchy->root, (int)group_size, group, name);
    char *end;

    if (size < 0 || (size_t)size >= sizeof(path) || !read_text(path, text, sizeof(text)) ||
        text[0] < '0' || text[0] > '9') {
        return false;
    }
    *bytes = strtoull(text, &end, 10); /* the largest number where it is larger */
    return *end == '\n';
}

/* A group and those above it.  One that is not mounted here, as those above a container's, is
 * passed over. */
static void tighten(const struct hierarchy *hierarchy, const char *group,
                    struct wl_cgroup_memory *memory)
{
    size_t size = strlen(group);
    uint64_t limit, used;

    for (;;) {
        while (size > 0 && group[size - 1] == '/') {
            size--;
        }
        if (read_bytes(hierarchy, group, size, hierarchy->limit, &limit) && limit < NO_LIMIT) {
            memory->limit_bytes = wl_min(memory->limit_bytes, limit);
            if (read_bytes(hierarchy, group, size, hierarchy->used, &used) &&
                limit - wl_min(used, limit) < memory->free_bytes) {
                memory->free_bytes = limit - wl_min(used, limit);
                memory->free_of_bytes = limit;
            }
        }
        if (size == 0) {
            return;
        }
        while (group[size - 1] != '/') {
            size--;
        }
    }
}

/* Whether "cpu,memory" names the controller of memory. */
static bool has_memory(const char *controllers)
{
    static const char name[] = "memory";

    for (;;) {
        size_t size = strcspn(controllers, ",");

        if (size == sizeof(name) - 1 && memcmp(controllers, name, size) == 0) {
            return true;
        }
        if (controllers[size] == '\0') {
            return false;
        }
        controllers += size + 1;
    }
}

/* "0::/group" of version 2, "9:memory:/group" of version 1. */
static void take_line(char *line, struct wl_cgroup_memory *memory)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!group) {
        return;
    }
    *group++ = '\0';
    controllers++;
    if (group[0] != '/' || strlen(group) >= WL_PATH_BYTES_MAX || strcmp(group, "/..") == 0 ||
        wl_str_starts(group, "/../")) { /* outside of what is mounted here */
        return;
    }
    if (controllers[0] == '\0') {
        tighten(&unified, group, memory);
        tighten(&beside, group, memory);
    } else if (has_memory(controllers)) {
        tighten(&legacy, group, memory);
    }
}

struct wl_cgroup_memory wl_cgroup_memory(void)
{
    struct wl_cgroup_memory memory = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    char *list = wl_sys->alloc(LIST_BYTES_MAX);
    char *line = list;
    char *end;

    if (list && read_text("/proc/self/cgroup", list, LIST_BYTES_MAX)) {
        for (; (end = strchr(line, '\n')); line = end + 1) { /* without its end, it may be cut */
            *end = '\0';
            take_line(line, &memory);
        }
    }
    wl_sys->free(list);
    return memory;
}
