/* SPDX-License-Identifier: Apache-2.0 */
/* Plain memory as a device: a copy is done when copy_start() returns. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"
#include "kernels/device.h"

/* The size of a huge page, and so the alignment that leaves all lower address bits to the caller.
 */
#define HOST_ALIGN_BYTES (2ull << 20)

struct host_queue {
    struct wl_queue base;
    uint32_t mark_count;
};

static int host_count(struct wload_error *err)
{
    (void)err;
    return 1;
}

static int host_open(unsigned index, struct wl_device **out, struct wload_error *err)
{
    struct wl_device *device = wl_sys->alloc(sizeof(*device));

    (void)index;
    if (!device) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the host device");
    }
    device->ops = &wl_device_host;
    atomic_init(&device->references, 1);
    *out = device;
    return WLOAD_OK;
}

static void host_close(struct wl_device *device)
{
    wl_sys->free(device);
}

/* The value of one line of /proc/meminfo in bytes, or 0. */
static uint64_t meminfo_bytes(const char *text, const char *key)
{
    const char *line = strstr(text, key);

    return line ? strtoull(line + strlen(key), NULL, 10) * 1024 : 0;
}

static int host_describe(struct wl_device *device, struct wload_device_info *info,
                         struct wload_error *err)
{
    char text[1024] = "";
    int fd = wl_sys->openat(AT_FDCWD, "/proc/meminfo", O_RDONLY | O_CLOEXEC, 0);

    (void)device;
    (void)err;
    if (fd >= 0) {
        (void)wl_sys_read(fd, text, sizeof(text) - 1, 0);
        (void)wl_sys->close(fd);
    }
    info->kind = WLOAD_DEVICE_HOST;
    info->index = 0;
    info->memory_bytes = meminfo_bytes(text, "MemTotal:");
    info->memory_free_bytes = meminfo_bytes(text, "MemAvailable:");
    info->driver_version = 0;
    info->numa_node = -1;
    (void)snprintf(info->name, sizeof(info->name), "host memory");
    info->pci_address[0] = '\0';
    return WLOAD_OK;
}

static int host_pin(struct wl_device *device, void *memory, uint64_t size_bytes,
                    struct wload_error *err)
{
    (void)device;
    (void)memory;
    (void)size_bytes;
    (void)err;
    return WLOAD_OK;
}

static void host_unpin(struct wl_device *device, void *memory)
{
    (void)device;
    (void)memory;
}

static uint64_t mapped_bytes(uint64_t size_bytes)
{
    return wl_round_up(wl_max(size_bytes, 1), HOST_ALIGN_BYTES);
}

static int host_memory_alloc(struct wl_device *device, uint64_t size_bytes, void **out,
                             struct wload_error *err)
{
    uint64_t mapped, head;
    char *memory;

    (void)device;
    if (size_bytes > PTRDIFF_MAX - 2 * HOST_ALIGN_BYTES) {
        return wl_err_set(err, WLOAD_ERR_NOMEM,
                          "%" PRIu64 " bytes of host memory: beyond the address space", size_bytes);
    }
    mapped = mapped_bytes(size_bytes);
    memory = wl_sys->mmap(NULL, mapped + HOST_ALIGN_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return wl_err_sys(err, errno, "cannot map %" PRIu64 " bytes of host memory", size_bytes);
    }
    head = wl_round_up((uintptr_t)memory, HOST_ALIGN_BYTES) - (uintptr_t)memory;
    if (head > 0) {
        (void)wl_sys->munmap(memory, head);
    }
    memory += head;
    if (head < HOST_ALIGN_BYTES) {
        (void)wl_sys->munmap(memory + mapped, HOST_ALIGN_BYTES - head);
    }
    (void)wl_sys->madvise(memory, mapped, MADV_HUGEPAGE); /* a kernel without works too */
    *out = memory;
    return WLOAD_OK;
}

static void host_memory_free(struct wl_device *device, void *memory, uint64_t size_bytes)
{
    (void)device;
    (void)wl_sys->munmap(memory, mapped_bytes(size_bytes));
}

static int host_memory_read(struct wl_device *device, const void *memory, uint64_t size_bytes,
                            void *target, struct wload_error *err)
{
    (void)device;
    (void)err;
    memcpy(target, memory, size_bytes);
    return WLOAD_OK;
}

static int host_queue_open(struct wl_device *device, uint32_t mark_count, struct wl_queue **out,
                           struct wload_error *err)
{
    struct host_queue *queue = wl_sys->alloc(sizeof(*queue));

    if (!queue) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a queue of the host");
    }
    queue->base.device = device;
    queue->mark_count = mark_count;
    *out = &queue->base;
    return WLOAD_OK;
}

static void host_queue_close(struct wl_queue *queue)
{
    wl_sys->free(queue);
}

static int host_copy_start(struct wl_queue *queue, void *target, const void *source,
                           uint64_t size_bytes, struct wload_error *err)
{
    (void)queue;
    (void)err;
    memcpy(target, source, size_bytes);
    return WLOAD_OK;
}

static int host_mark_put(struct wl_queue *queue, uint32_t mark, struct wload_error *err)
{
    (void)err;
    WL_ASSERT(mark < ((struct host_queue *)queue)->mark_count);
    return WLOAD_OK;
}

static int host_mark_poll(struct wl_queue *queue, uint32_t mark, struct wload_error *err)
{
    (void)err;
    WL_ASSERT(mark < ((struct host_queue *)queue)->mark_count);
    return 1;
}

static int host_mark_notify(struct wl_queue *queue, uint32_t mark, void (*notice)(void *user),
                            void *user, struct wload_error *err)
{
    (void)err;
    WL_ASSERT(mark < ((struct host_queue *)queue)->mark_count);
    notice(user);
    return WLOAD_OK;
}

const struct wl_device_ops wl_device_host = {
    .name = "host",
    .kind = WLOAD_DEVICE_HOST,
    .is_host = true,
    .count = host_count,
    .open = host_open,
    .close = host_close,
    .describe = host_describe,
    .pin = host_pin,
    .unpin = host_unpin,
    .memory_alloc = host_memory_alloc,
    .memory_free = host_memory_free,
    .memory_read = host_memory_read,
    .queue_open = host_queue_open,
    .queue_close = host_queue_close,
    .copy_start = host_copy_start,
    .mark_put = host_mark_put,
    .mark_poll = host_mark_poll,
    .mark_notify = host_mark_notify,
};
