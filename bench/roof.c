/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/roof.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

#define CALIBRATION_ROUNDS 2
#define MIB                (1ull << 20)

/* Reused memory first; threads only where there is no ring. */
static const struct roof_way all_ways[ROOF_WAYS_MAX] = {
    {"direct, ring of 8 x 4 MiB, buffers reused", ROOF_MEMORY_REUSED, true, 8, 4 * MIB, 0},
    {"direct, ring of 16 x 2 MiB, buffers reused", ROOF_MEMORY_REUSED, true, 16, 2 * MIB, 0},
    {"direct, 16 threads of pread, 4 MiB, buffers reused", ROOF_MEMORY_REUSED, false, 16, 4 * MIB,
     0},
    {"direct into fresh memory, 4 KiB pages", ROOF_MEMORY_SMALL, true, 8, 4 * MIB, 0},
    {"direct into fresh memory, huge pages", ROOF_MEMORY_HUGE, true, 8, 4 * MIB, 0},
    {"direct into fresh memory, huge pages touched ahead", ROOF_MEMORY_HUGE_AHEAD, true, 8, 4 * MIB,
     0},
};

int roof_open(const struct wload_model *model, uint64_t chunk_bytes, struct roof *out,
              struct wload_error *err)
{
    struct roof roof = {.chunk_bytes = chunk_bytes, .cpu_count = wl_sys_cpu_count()};
    int rc = roof_plan_open(model, &roof.plan, err);

    if (rc < 0) {
        return rc;
    }
    roof.ring_bytes = roof.cpu_count * chunk_bytes;
    memcpy(roof.ways, all_ways, sizeof(all_ways));
    *out = roof;
    return WLOAD_OK;
}

void roof_resize_ring(struct roof *roof, uint64_t ring_bytes)
{
    roof_memory_unmap(roof->reused, roof->ring_bytes);
    roof->reused = NULL;
    roof->ring_bytes = wl_max(ring_bytes, roof->cpu_count * roof->chunk_bytes);
}

void roof_rest(struct roof *roof)
{
    roof_memory_unmap(roof->touched, roof->plan.read_bytes);
    roof->touched = NULL;
}

void roof_close(struct roof *roof)
{
    roof_rest(roof);
    roof_memory_unmap(roof->reused, roof->ring_bytes);
    roof_plan_close(&roof->plan);
    *roof = (struct roof){0};
}

/* Memory that is touched before it is measured; kept in *memory. */
static int keep_touched(char **memory, uint64_t size_bytes, struct wload_error *err)
{
    if (*memory) {
        return WLOAD_OK;
    }
    *memory = roof_memory_map(size_bytes, false);
    if (!*memory) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %llu bytes of a roof",
                          (unsigned long long)size_bytes);
    }
    roof_memory_touch(*memory, size_bytes);
    return WLOAD_OK;
}

static int copy_from_cache(struct roof *roof, enum roof_kind kind, struct roof_figure *out,
                           struct wload_error *err)
{
    struct roof_copy copy = {
        .plan = &roof->plan,
        .block_bytes = roof->chunk_bytes,
        .thread_count = roof->cpu_count,
        .is_sliced = kind == ROOF_COPY_REUSED,
    };
    int rc = WLOAD_OK;

    if (kind == ROOF_COPY_REUSED) {
        rc = keep_touched(&roof->reused, roof->ring_bytes, err);
        copy.memory = roof->reused;
        copy.memory_bytes = roof->ring_bytes;
    } else if (kind == ROOF_COPY_TOUCHED) {
        rc = keep_touched(&roof->touched, roof->plan.read_bytes, err);
        copy.memory = roof->touched;
        copy.memory_bytes = roof->plan.read_bytes;
    }
    return rc < 0 ? rc : roof_copy_read(&copy, out, err);
}

static int direct_by_threads(const struct roof *roof, const struct roof_way *way,
                             uint64_t bytes_max, struct roof_figure *out, struct wload_error *err)
{
    struct roof_copy copy = {
        .plan = &roof->plan,
        .memory_bytes = way->depth * way->block_bytes,
        .block_bytes = way->block_bytes,
        .bytes_max = bytes_max,
        .thread_count = way->depth,
        .is_direct = true,
        .is_sliced = true,
    };
    int rc = keep_touched(&copy.memory, copy.memory_bytes, err);

    if (rc == WLOAD_OK) {
        rc = roof_copy_read(&copy, out, err);
        roof_memory_unmap(copy.memory, copy.memory_bytes);
    }
    return rc;
}

static int read_direct(const struct roof *roof, const struct roof_way *way, uint64_t bytes_max,
                       struct roof_figure *out, struct wload_error *err)
{
    return way->is_ring ? roof_ring_read(&roof->plan, way, bytes_max, out, err)
                        : direct_by_threads(roof, way, bytes_max, out, err);
}

/* One round of one way; a way that does not work here is no candidate. */
static int try_way(const struct roof *roof, struct roof_way *way, uint64_t bytes_max,
                   struct wload_error *err)
{
    struct roof_figure figure = {0};
    double gb_per_s;
    int rc;

    roof_plan_evict(&roof->plan);
    rc = read_direct(roof, way, bytes_max, &figure, err);
    if (rc == WLOAD_ERR_UNSUPPORTED || rc == WLOAD_ERR_NOMEM) {
        return WLOAD_OK;
    }
    if (rc == WLOAD_OK && figure.elapsed_ns > 0) {
        gb_per_s = (double)wl_min(bytes_max, roof->plan.read_bytes) / (double)figure.elapsed_ns;
        way->gb_per_s = gb_per_s > way->gb_per_s ? gb_per_s : way->gb_per_s;
    }
    return rc;
}

static void keep_fastest(const struct roof_way **best, const struct roof_way *way)
{
    if (way->gb_per_s > 0 && (!*best || way->gb_per_s > (*best)->gb_per_s)) {
        *best = way;
    }
}

int roof_calibrate(struct roof *roof, uint64_t bytes_max, struct wload_error *err)
{
    for (int round = 0; round < CALIBRATION_ROUNDS && roof->plan.direct_errno == 0; round++) {
        for (size_t i = 0; i < ROOF_WAYS_MAX; i++) {
            struct roof_way *way = &roof->ways[i];
            int rc;

            if (!way->is_ring && roof->ways[0].gb_per_s > 0) {
                continue;
            }
            rc = try_way(roof, way, bytes_max, err);
            if (rc < 0) {
                return rc;
            }
        }
    }
    for (size_t i = 0; i < ROOF_WAYS_MAX; i++) {
        const struct roof_way *way = &roof->ways[i];

        keep_fastest(way->memory == ROOF_MEMORY_REUSED ? &roof->direct : &roof->direct_fresh, way);
    }
    return WLOAD_OK;
}

int roof_measure(struct roof *roof, enum roof_kind kind, struct roof_figure *out,
                 struct wload_error *err)
{
    const struct roof_way *way = kind == ROOF_DIRECT ? roof->direct : roof->direct_fresh;

    if (kind != ROOF_DIRECT && kind != ROOF_DIRECT_FRESH) {
        return copy_from_cache(roof, kind, out, err);
    }
    if (roof->plan.direct_errno != 0) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "no raw direct reads here: %s",
                          strerror(roof->plan.direct_errno));
    }
    if (!way) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "no raw direct reads here: no io_uring");
    }
    return read_direct(roof, way, 0, out, err);
}

const char *roof_name(const struct roof *roof, enum roof_kind kind)
{
    switch (kind) {
    case ROOF_DIRECT:
        return roof->direct ? roof->direct->name : "direct";
    case ROOF_DIRECT_FRESH:
        return roof->direct_fresh ? roof->direct_fresh->name : "direct into fresh memory";
    case ROOF_COPY_REUSED:
        return "copy from the page cache into reused buffers";
    case ROOF_COPY_TOUCHED:
        return "copy from the page cache into touched memory";
    case ROOF_COPY_FRESH:
        return "copy from the page cache into fresh memory";
    }
    return "";
}
