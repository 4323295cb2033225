/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a job: defaults, and limits. */
#include <inttypes.h>

#include "base/base.h"
#include "base/cgroup.h"
#include "base/err.h"
#include "loader/job.h"
#include "loader/options.h"

#define CHUNK_BYTES_DEFAULT   (8ull << 20)
#define CHUNK_BYTES_SMALL     (1ull << 20) /* for a control group a default is not made smaller */
#define STAGING_BYTES_DEFAULT (256ull << 20)
#define STAGING_CHUNKS_WANTED 4u /* a default chunk is made smaller for them */
#define STAGING_CHUNKS_MIN    2u /* one is filled while the other is emptied */
#define QUEUE_DEPTH_DEFAULT   8u

/* A chunk, where the caller says nothing: of a small ring so little that it holds several. */
static uint64_t size_chunk(uint64_t ring, uint64_t chunk_min)
{
    uint64_t chunk = CHUNK_BYTES_DEFAULT;

    while (chunk > chunk_min && ring < STAGING_CHUNKS_WANTED * chunk) {
        chunk /= 2;
    }
    return chunk;
}

/* The ring, where the caller says nothing: one that leaves the rest of a small control group's
 * memory to others. */
static void size_ring(struct wload_job_options *options, const struct wl_log *log)
{
    uint64_t limit = wl_cgroup_memory().limit_bytes;
    uint64_t ring = wl_min(limit / 4, STAGING_BYTES_DEFAULT);

    if (options->chunk_bytes == 0) {
        options->chunk_bytes = size_chunk(ring, CHUNK_BYTES_SMALL);
    }
    ring = wl_max(ring - ring % options->chunk_bytes, STAGING_CHUNKS_MIN * options->chunk_bytes);
    options->staging_bytes = ring;
    if (ring < STAGING_BYTES_DEFAULT) {
        WL_LOG(log, WLOAD_LOG_INFO, "staging",
               "a ring of %" PRIu64 " bytes in chunks of %" PRIu64
               ": the control group's memory limit is %" PRIu64,
               ring, options->chunk_bytes, limit);
    }
}

static int check_others(const struct wload_job_options *options, struct wload_error *err)
{
    const struct wl_option numbers[] = {
        {"device_kind", options->device_kind, WLOAD_DEVICE_HIP},
        {"reader_kind", options->reader_kind, WLOAD_READER_PREAD},
        {"io_policy", options->io_policy, WLOAD_IO_BUFFERED},
        {"queue_depth", options->queue_depth, WL_QUEUE_DEPTH_MAX},
        {"reserved", options->reserved, 0},
    };
    int rc = wl_options_check(numbers, WL_COUNT_OF(numbers), err);

    return rc < 0
               ? rc
               : wl_options_check_list("patterns", options->patterns, options->pattern_count, err);
}

int wl_job_options_fill(struct wload_job_options *options, const struct wl_log *log,
                        struct wload_error *err)
{
    if (options->chunk_bytes != 0 &&
        (!wl_is_pow2(options->chunk_bytes) || options->chunk_bytes < WL_CHUNK_BYTES_MIN ||
         options->chunk_bytes > WL_CHUNK_BYTES_MAX)) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "chunk_bytes %llu is not a power of two from 64 KiB to 1 GiB",
                          (unsigned long long)options->chunk_bytes);
    }
    if (options->staging_bytes == 0) {
        size_ring(options, log);
    } else if (options->chunk_bytes == 0) {
        options->chunk_bytes = size_chunk(options->staging_bytes, WL_CHUNK_BYTES_MIN);
    }
    options->queue_depth = options->queue_depth ? options->queue_depth : QUEUE_DEPTH_DEFAULT;
    if (options->staging_bytes < options->chunk_bytes ||
        options->staging_bytes > WL_STAGING_BYTES_MAX) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "staging_bytes %llu does not hold one chunk of %llu, or is above 64 GiB",
                          (unsigned long long)options->staging_bytes,
                          (unsigned long long)options->chunk_bytes);
    }
    if ((options->on_chunk && (options->on_place || options->arena)) ||
        (options->on_place && options->arena)) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "at most one of on_chunk, on_place and arena says where tensors go");
    }
    return check_others(options, err);
}
