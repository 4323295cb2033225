/* SPDX-License-Identifier: Apache-2.0 */
/* What every file may use: limits, assertions, rounding. */
#ifndef WL_BASE_H
#define WL_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Everything has a limit.  Inputs beyond one are refused by name. */
#define WL_PATH_BYTES_MAX    4096u
#define WL_NAME_BYTES_MAX    4096u /* of a tensor */
#define WL_RANK_MAX          64u
#define WL_DIMENSION_MAX     (1ull << 53) /* a dimension, and a byte offset in a file */
#define WL_HEADER_BYTES_MAX  100000000u   /* a safetensors header, as the reference parser has it */
#define WL_INDEX_BYTES_MAX   (256u << 20) /* a shard index */
#define WL_TENSORS_MAX       (1u << 24)   /* in one model */
#define WL_FILES_MAX         10000u       /* in one model */
#define WL_JSON_DEPTH_MAX    64u
#define WL_JSON_NODES_MAX    (1u << 24) /* a header of the largest size may have 14 million */
#define WL_QUEUE_DEPTH_MAX   1024u
#define WL_CHUNK_BYTES_MIN   (64u << 10)
#define WL_CHUNK_BYTES_MAX   (1u << 30)
#define WL_STAGING_BYTES_MAX (64ull << 30)

#define WL_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/*
 * For what only our own mistake could break.  Stays in release builds: the loop
 * turns once per chunk, not once per byte.  Bad input is never asserted.
 */
#define WL_ASSERT(condition) \
    ((condition) ? (void)0 : wl_assert_failed(#condition, __FILE__, __LINE__))

_Noreturn void wl_assert_failed(const char *condition, const char *file, int line);

static inline bool wl_is_pow2(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static inline uint64_t wl_round_down(uint64_t value, uint64_t pow2)
{
    return value & ~(pow2 - 1);
}

/* The caller has shown that value + pow2 does not overflow. */
static inline uint64_t wl_round_up(uint64_t value, uint64_t pow2)
{
    return (value + pow2 - 1) & ~(pow2 - 1);
}

static inline uint64_t wl_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t wl_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif /* WL_BASE_H */
