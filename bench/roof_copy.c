/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of plain pread: from the page cache, or with O_DIRECT where there is no ring. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "bench/roof.h"

#define THREADS_MAX     1024u
#define TOUCH_STEP      4096u
#define HUGE_PAGE_BYTES (2u << 20)

struct crew {
    const struct roof_copy *copy;
    const struct roof_block *blocks;
    size_t block_count;
    char *memory;
    atomic_size_t next_block;
    atomic_uint next_thread;
    atomic_int failure; /* a negative errno */
};

char *roof_memory_map(uint64_t size_bytes, bool is_small)
{
    void *memory = mmap(NULL, wl_round_up(size_bytes, HUGE_PAGE_BYTES), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(memory, wl_round_up(size_bytes, HUGE_PAGE_BYTES),
                  is_small ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    return memory;
}

void roof_memory_touch(char *memory, uint64_t size_bytes)
{
    volatile char *pages = memory;

    for (uint64_t at = 0; at < size_bytes; at += TOUCH_STEP) {
        pages[at] = 1;
    }
}

void roof_memory_unmap(char *memory, uint64_t size_bytes)
{
    if (memory) {
        (void)munmap(memory, wl_round_up(size_bytes, HUGE_PAGE_BYTES));
    }
}

/* Until the block or the file ends: past it, a direct read would be refused.  0 or -errno. */
static int read_block(const struct crew *crew, const struct roof_block *block, char *target)
{
    const struct roof_file *file = &crew->copy->plan->files[block->file_index];
    int fd = crew->copy->is_direct ? file->direct_fd : file->fd;
    uint64_t done = 0;

    while (done < block->size_bytes && block->offset + done < file->size_bytes) {
        ssize_t got =
            pread(fd, target + done, block->size_bytes - done, (off_t)(block->offset + done));

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? -errno : -ENODATA;
        }
        done += (uint64_t)got;
    }
    return 0;
}

static void *work(void *argument)
{
    struct crew *crew = argument;
    const struct roof_copy *copy = crew->copy;
    uint64_t slice_bytes = copy->memory_bytes / copy->thread_count;
    uint64_t slots = slice_bytes / copy->block_bytes;
    char *slice = crew->memory + atomic_fetch_add(&crew->next_thread, 1) * slice_bytes;
    uint64_t turn = 0;

    for (;;) {
        size_t i = atomic_fetch_add(&crew->next_block, 1);
        char *target;
        int rc;

        if (i >= crew->block_count || atomic_load(&crew->failure) < 0) {
            return NULL;
        }
        target = copy->is_sliced ? slice + turn++ % slots * copy->block_bytes
                                 : crew->memory + crew->blocks[i].target_offset;
        rc = read_block(crew, &crew->blocks[i], target);
        if (rc < 0) {
            atomic_store(&crew->failure, rc);
        }
    }
}

static int run_threads(struct crew *crew, struct wload_error *err)
{
    pthread_t threads[THREADS_MAX];
    unsigned started = 0;
    int rc = 0;

    while (started < crew->copy->thread_count && rc == 0) {
        rc = pthread_create(&threads[started], NULL, work, crew);
        started += rc == 0;
    }
    if (rc != 0) {
        atomic_store(&crew->failure, -rc);
    }
    for (unsigned i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    rc = atomic_load(&crew->failure);
    return rc < 0 ? wl_err_sys(err, -rc, "the roof's threads cannot read the files") : WLOAD_OK;
}

int roof_copy_read(const struct roof_copy *copy, struct roof_figure *out, struct wload_error *err)
{
    struct crew crew = {.copy = copy, .memory = copy->memory};
    struct roof_block *blocks = NULL;
    struct roof_figure figure;
    int rc;

    WL_ASSERT(copy->thread_count > 0 && copy->thread_count <= THREADS_MAX);
    WL_ASSERT(!copy->is_sliced || copy->memory_bytes / copy->thread_count >= copy->block_bytes);
    rc = roof_plan_cut(copy->plan, copy->block_bytes, copy->bytes_max, &blocks, &crew.block_count,
                       err);
    if (rc < 0) {
        return rc;
    }
    crew.blocks = blocks;
    figure = (struct roof_figure){wl_clock_ns(), wl_clock_cpu_ns()};
    if (!crew.memory) {
        crew.memory = roof_memory_map(copy->plan->read_bytes, false);
    }
    rc = crew.memory ? run_threads(&crew, err)
                     : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory of the model's size");
    figure.elapsed_ns = wl_clock_ns() - figure.elapsed_ns;
    figure.cpu_ns = wl_clock_cpu_ns() - figure.cpu_ns;
    if (rc == WLOAD_OK) {
        *out = figure;
    }
    if (!copy->memory) {
        roof_memory_unmap(crew.memory, copy->plan->read_bytes);
    }
    free(blocks);
    return rc;
}
