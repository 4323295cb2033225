/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roofs: the most that this machine does with the same bytes, by the barest means.
 *
 *   ROOF_DIRECT        O_DIRECT by one bare ring into registered, touched, reused buffers
 *   ROOF_DIRECT_FRESH  O_DIRECT by one bare ring straight into fresh memory of the model's size
 *   ROOF_COPY_REUSED   a thread per CPU copies from the page cache into touched buffers of the
 *                      ring's size, again and again
 *   ROOF_COPY_TOUCHED  the same into touched memory of the model's size
 *   ROOF_COPY_FRESH    the same into fresh memory of the model's size
 *   roof_bus_*         from pinned memory to a GPU, by the driver alone
 *   roof_net_*         plain GETs of a snapshot's files by several connections, bytes dropped
 *
 * The clock of a roof holds reads and copies only: buffers, rings and descriptors are ready
 * before.  Fresh memory is mapped and faulted in inside the clock, as a load has to.  Where there
 * are several ways to do it, a short calibration picks the fastest once, and it stays.
 *
 *   roof_open() --> roof_calibrate() --> any number of roof_measure(), roof_rest() --> roof_close()
 */
#ifndef WLOAD_ROOF_H
#define WLOAD_ROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wload.h"

enum roof_kind {
    ROOF_DIRECT,
    ROOF_DIRECT_FRESH,
    ROOF_COPY_REUSED,
    ROOF_COPY_TOUCHED,
    ROOF_COPY_FRESH
};

struct roof_file {
    int fd;
    int direct_fd; /* -1: O_DIRECT is refused */
    uint64_t size_bytes;
};

/* Bytes of a file that hold tensors, rounded outward to blocks. */
struct roof_range {
    uint64_t offset;
    uint64_t size_bytes;
    uint64_t target_offset; /* where they go in memory of read_bytes */
    uint32_t file_index;
};

/* What a load of the whole model reads. */
struct roof_plan {
    struct roof_file *files;
    struct roof_range *ranges;
    uint64_t read_bytes; /* of all ranges */
    uint64_t align_bytes;
    uint32_t file_count;
    uint32_t range_count;
    int direct_errno; /* 0: O_DIRECT works on every file */
};

struct roof_figure {
    int64_t elapsed_ns;
    int64_t cpu_ns; /* of the whole process */
};

enum roof_memory {
    ROOF_MEMORY_REUSED,     /* a few touched buffers */
    ROOF_MEMORY_SMALL,      /* fresh, 4 KiB pages faulted in by the kernel */
    ROOF_MEMORY_HUGE,       /* fresh, huge pages faulted in by the kernel */
    ROOF_MEMORY_HUGE_AHEAD, /* fresh, huge pages touched by a thread ahead of the reads */
};

/* One way to read with O_DIRECT, and how fast the calibration found it. */
struct roof_way {
    const char *name;
    enum roof_memory memory;
    bool is_ring; /* else a thread per read in flight */
    uint32_t depth;
    uint64_t block_bytes;
    double gb_per_s; /* 0: not tried, or it does not work here */
};

#define ROOF_WAYS_MAX 6

struct roof {
    struct roof_plan plan;
    struct roof_way ways[ROOF_WAYS_MAX]; /* candidates, reused memory first */
    const struct roof_way *direct;       /* what the calibration chose; NULL: none works */
    const struct roof_way *direct_fresh;
    uint64_t chunk_bytes; /* of a copy */
    uint64_t ring_bytes;  /* of the buffers of ROOF_COPY_REUSED */
    unsigned cpu_count;
    char *reused;  /* ring_bytes, touched; made when first needed */
    char *touched; /* read_bytes, touched; made when first needed, given back by roof_rest() */
};

/* Opens the model's files a second time, with and without O_DIRECT.  The ring is at its
 * smallest: a chunk for each CPU. */
int roof_open(const struct wload_model *model, uint64_t chunk_bytes, struct roof *out,
              struct wload_error *err);
void roof_close(struct roof *roof);

/* Make the ring of ROOF_COPY_REUSED as large as the one that a load uses. */
void roof_resize_ring(struct roof *roof, uint64_t ring_bytes);

/* Choose the ways of the direct roofs, over the first `bytes_max` of the model. */
int roof_calibrate(struct roof *roof, uint64_t bytes_max, struct wload_error *err);

/* WLOAD_ERR_UNSUPPORTED: this roof cannot be had here; err says why. */
int roof_measure(struct roof *roof, enum roof_kind kind, struct roof_figure *out,
                 struct wload_error *err);

/* Give back memory of the model's size. */
void roof_rest(struct roof *roof);

/* In words, for example "direct, ring of 8 x 4 MiB".  Lives as long as the roof. */
const char *roof_name(const struct roof *roof, enum roof_kind kind);

/* ---- The plan and the page cache ------------------------------------------ */

int roof_plan_open(const struct wload_model *model, struct roof_plan *out, struct wload_error *err);
void roof_plan_close(struct roof_plan *plan);

/* One read of at most the block size that the plan was cut by. */
struct roof_block {
    uint64_t offset;
    uint64_t target_offset;
    uint64_t size_bytes;
    uint32_t file_index;
};

/* Cut the first `bytes_max` (0: all) into blocks; free them with free(). */
int roof_plan_cut(const struct roof_plan *plan, uint64_t block_bytes, uint64_t bytes_max,
                  struct roof_block **out, size_t *out_count, struct wload_error *err);

/* Of the plan's ranges, what is in the page cache; or a negative errno. */
int64_t roof_plan_resident(const struct roof_plan *plan);

/* Drop the files' pages.  What stays is what roof_plan_resident() then says. */
void roof_plan_evict(const struct roof_plan *plan);

/* ---- The means, each in a file of its own --------------------------------- */

/* Memory of whole pages, huge where the machine grants it unless `is_small`; NULL: none. */
char *roof_memory_map(uint64_t size_bytes, bool is_small);
void roof_memory_touch(char *memory, uint64_t size_bytes);
void roof_memory_unmap(char *memory, uint64_t size_bytes);

/* Read by the ring, in the way's own memory. */
int roof_ring_read(const struct roof_plan *plan, const struct roof_way *way, uint64_t bytes_max,
                   struct roof_figure *out, struct wload_error *err);

/* Threads that read blocks into memory: one after the other in a slice of it that each thread
 * has for itself, or at their place in memory of read_bytes. */
struct roof_copy {
    const struct roof_plan *plan;
    char *memory; /* NULL: fresh memory of read_bytes, made inside the clock */
    uint64_t memory_bytes;
    uint64_t block_bytes;
    uint64_t bytes_max; /* 0: all */
    unsigned thread_count;
    bool is_direct;
    bool is_sliced;
};

int roof_copy_read(const struct roof_copy *copy, struct roof_figure *out, struct wload_error *err);

/* From pinned memory to a GPU, by the driver alone: cuda or hip, resolved by name. */
struct roof_bus;

int roof_bus_open(enum wload_device_kind kind, uint32_t index, struct roof_bus **out,
                  struct wload_error *err);
void roof_bus_close(struct roof_bus *bus);
/* Copy about `size_bytes` in blocks and give the time that `size_bytes` takes. */
int roof_bus_measure(struct roof_bus *bus, uint64_t size_bytes, struct roof_figure *out,
                     struct wload_error *err);

/* From a hub, by libcurl alone. */
struct roof_net;

/* The token, which may be NULL, goes to the origin of the files' addresses alone. */
int roof_net_open(const struct wload_snapshot *snapshot, const char *token,
                  uint32_t connection_count, struct roof_net **out, struct wload_error *err);
void roof_net_close(struct roof_net *net);
/* Download all files; redirects are followed before the clock starts. */
int roof_net_measure(struct roof_net *net, struct roof_figure *out, struct wload_error *err);

#endif /* WLOAD_ROOF_H */
