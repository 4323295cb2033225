/* SPDX-License-Identifier: Apache-2.0 */
/* Which bytes of which files a load reads, and what the page cache holds of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "base/pagecache.h"
#include "bench/roof.h"

#define ALIGN_MIN   4096u
#define EVICT_TRIES 3

/* An open with O_DIRECT proves nothing: read one block.  0 or an errno. */
static int try_direct(int fd, uint64_t align_bytes)
{
    void *block = NULL;
    int rc = posix_memalign(&block, align_bytes, align_bytes);

    if (rc == 0) {
        rc = pread(fd, block, align_bytes, 0) < 0 ? errno : 0;
    }
    free(block);
    return rc;
}

static uint64_t direct_align(int fd)
{
    struct statx info = {0};
    uint64_t align = ALIGN_MIN;

#ifdef STATX_DIOALIGN
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
        (info.stx_mask & STATX_DIOALIGN)) {
        align = wl_max(align, wl_max(info.stx_dio_offset_align, info.stx_dio_mem_align));
    }
#else
    (void)fd;
    (void)info;
#endif
    return align;
}

static int open_file(const char *path, struct roof_plan *plan, struct roof_file *out,
                     struct wload_error *err)
{
    struct stat info;

    out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (out->fd < 0 || fstat(out->fd, &info) < 0) {
        return wl_err_sys(err, errno, "cannot open '%s'", path);
    }
    out->size_bytes = (uint64_t)info.st_size;
    out->direct_fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (out->direct_fd < 0) {
        plan->direct_errno = errno;
        return WLOAD_OK;
    }
    plan->align_bytes = wl_max(plan->align_bytes, direct_align(out->direct_fd));
    if (plan->direct_errno == 0) {
        plan->direct_errno = try_direct(out->direct_fd, plan->align_bytes);
    }
    return WLOAD_OK;
}

static int open_files(const struct wload_model *model, struct roof_plan *plan,
                      struct wload_error *err)
{
    uint32_t count = wload_model_info(model)->file_count;

    plan->files = calloc(count > 0 ? count : 1, sizeof(*plan->files));
    if (!plan->files) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u files", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        plan->files[i] = (struct roof_file){.fd = -1, .direct_fd = -1};
    }
    plan->file_count = count;
    for (uint32_t i = 0; i < count; i++) {
        int rc = open_file(wload_model_file(model, i)->path, plan, &plan->files[i], err);

        if (rc < 0) {
            return rc;
        }
    }
    return WLOAD_OK;
}

/* Extend the last range by a tensor, or begin another. */
static void add_tensor(struct roof_plan *plan, const struct wload_tensor *tensor)
{
    uint64_t begin = wl_round_down(tensor->file_offset, plan->align_bytes);
    uint64_t end = wl_round_up(tensor->file_offset + tensor->size_bytes, plan->align_bytes);
    struct roof_range *last = plan->range_count > 0 ? &plan->ranges[plan->range_count - 1] : NULL;

    if (tensor->size_bytes == 0) {
        return;
    }
    if (last && last->file_index == tensor->file_index &&
        begin <= last->offset + last->size_bytes) {
        last->size_bytes = wl_max(last->offset + last->size_bytes, end) - last->offset;
        return;
    }
    plan->ranges[plan->range_count++] = (struct roof_range){
        .offset = begin,
        .size_bytes = end - begin,
        .file_index = tensor->file_index,
    };
}

int roof_plan_open(const struct wload_model *model, struct roof_plan *out, struct wload_error *err)
{
    uint32_t tensor_count = wload_model_info(model)->tensor_count;
    struct roof_plan plan = {.align_bytes = ALIGN_MIN};
    int rc = open_files(model, &plan, err);

    if (rc < 0) {
        goto out_close;
    }
    plan.ranges = calloc(tensor_count > 0 ? tensor_count : 1, sizeof(*plan.ranges));
    if (!plan.ranges) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %u ranges", tensor_count);
        goto out_close;
    }
    for (uint32_t i = 0; i < tensor_count; i++) {
        add_tensor(&plan, wload_model_tensor(model, i));
    }
    for (uint32_t i = 0; i < plan.range_count; i++) {
        plan.ranges[i].target_offset = plan.read_bytes;
        plan.read_bytes += plan.ranges[i].size_bytes;
    }
    *out = plan;
    return WLOAD_OK;

out_close:
    roof_plan_close(&plan);
    return rc;
}

void roof_plan_close(struct roof_plan *plan)
{
    for (uint32_t i = 0; i < plan->file_count; i++) {
        if (plan->files[i].fd >= 0) {
            (void)close(plan->files[i].fd);
        }
        if (plan->files[i].direct_fd >= 0) {
            (void)close(plan->files[i].direct_fd);
        }
    }
    free(plan->files);
    free(plan->ranges);
    *plan = (struct roof_plan){0};
}

int roof_plan_cut(const struct roof_plan *plan, uint64_t block_bytes, uint64_t bytes_max,
                  struct roof_block **out, size_t *out_count, struct wload_error *err)
{
    size_t count_max = plan->read_bytes / block_bytes + plan->range_count + 1;
    struct roof_block *blocks = calloc(count_max, sizeof(*blocks));
    uint64_t left = bytes_max > 0 ? bytes_max : plan->read_bytes;
    size_t count = 0;

    if (!blocks) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %zu blocks", count_max);
    }
    for (uint32_t i = 0; i < plan->range_count; i++) {
        const struct roof_range *range = &plan->ranges[i];

        for (uint64_t at = 0; at < range->size_bytes && left > 0; at += block_bytes) {
            WL_ASSERT(count < count_max);
            blocks[count] = (struct roof_block){
                .offset = range->offset + at,
                .target_offset = range->target_offset + at,
                .size_bytes = wl_min(block_bytes, range->size_bytes - at),
                .file_index = range->file_index,
            };
            left -= wl_min(left, blocks[count].size_bytes);
            count++;
        }
    }
    *out = blocks;
    *out_count = count;
    return WLOAD_OK;
}

int64_t roof_plan_resident(const struct roof_plan *plan)
{
    int64_t total = 0;

    for (uint32_t i = 0; i < plan->range_count; i++) {
        const struct roof_range *range = &plan->ranges[i];
        uint64_t file_bytes = plan->files[range->file_index].size_bytes;
        uint64_t size_bytes = wl_min(range->size_bytes, file_bytes - range->offset);
        int64_t resident =
            wl_pagecache_resident(plan->files[range->file_index].fd, range->offset, size_bytes);

        if (resident < 0) {
            return resident;
        }
        total += resident;
    }
    return total;
}

void roof_plan_evict(const struct roof_plan *plan)
{
    for (int i = 0; i < EVICT_TRIES; i++) {
        for (uint32_t k = 0; k < plan->file_count; k++) {
            (void)wl_pagecache_evict(plan->files[k].fd);
        }
        if (roof_plan_resident(plan) == 0) {
            return;
        }
    }
}
