/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: no arrangement of tensors, alignments and chunk sizes makes a plan that loses a byte,
 * reads one twice or asks for more than a chunk.
 * Method: the input's bytes are alignment, chunk size and flags, then gap and size of tensor
 * after tensor; the plan is checked piece by piece against them.
 */
#include "base/base.h"
#include "fuzz_driver.h"
#include "loader/plan.h"

#define WANTS_MAX    64u
#define RECORD_BYTES 6u
#define HEAD_BYTES   3u
#define FLAG_DIRECT  1u
#define FLAG_MIRROR  2u
#define FLAG_HOST    4u
#define FLAG_SINK    8u

/* Only addresses: a plan touches no memory. */
#define MEMORY ((uintptr_t)1 << 40)

static int64_t residency(void *user, uint32_t file_index, uint64_t offset, uint64_t size_bytes)
{
    (void)file_index;
    return (offset >> 16) % 3 == *(const uint8_t *)user % 3u ? (int64_t)size_bytes : 0;
}

static uint64_t number(const uint8_t *bytes, unsigned count)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < count; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static uint32_t make_wants(const uint8_t *data, size_t size, uint8_t flags,
                           struct wload_tensor *tensors, struct wl_want *wants)
{
    uint64_t at = 0;
    uint32_t count = 0;

    for (; count < WANTS_MAX && size >= RECORD_BYTES; count++) {
        at += number(data, 3);
        tensors[count] = (struct wload_tensor){.name = "t",
                                               .file_offset = at,
                                               .size_bytes = number(data + 3, 3)};
        wants[count].tensor = &tensors[count];
        wants[count].address =
            (flags & FLAG_SINK) != 0 ? NULL : (uint8_t *)(MEMORY + at + data[0] % 3u);
        at += tensors[count].size_bytes;
        data += RECORD_BYTES;
        size -= RECORD_BYTES;
    }
    return count;
}

static void check(const struct wl_plan *plan, const struct wl_plan_request *request)
{
    uint64_t landed[WANTS_MAX] = {0};
    uint64_t end = 0;

    for (uint32_t e = 0; e < plan->extent_count; e++) {
        const struct wl_extent *extent = &plan->extents[e];

        CHECK(extent->offset >= end);
        CHECK(extent->size_bytes <= request->chunk_bytes);
        CHECK_EQ(extent->offset % request->files[0].align_bytes, 0);
        end = extent->offset + extent->size_bytes;
        for (uint32_t i = extent->piece_first; i < extent[1].piece_first; i++) {
            const struct wl_piece *piece = &plan->pieces[i];

            CHECK_EQ(piece->tensor_offset, landed[piece->want]);
            CHECK(piece->extent_offset + piece->size_bytes <= extent->needed_bytes);
            landed[piece->want] += piece->size_bytes;
        }
    }
    for (uint32_t i = 0; i < request->want_count; i++) {
        CHECK_EQ(landed[i], request->wants[i].tensor->size_bytes);
    }
    CHECK_EQ(plan->order_count[WL_LANE_STORAGE] + plan->order_count[WL_LANE_MEMORY],
             plan->extent_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wload_tensor tensors[WANTS_MAX];
    struct wl_want wants[WANTS_MAX];
    struct wl_plan_file file = {.size_bytes = UINT64_MAX >> 1, .mirror = MEMORY};
    struct wl_plan_request request = {.wants = wants, .files = &file, .resident = residency};
    struct wload_error err;
    struct wl_plan plan;
    uint8_t flags;

    if (size < HEAD_BYTES) {
        return 0;
    }
    flags = data[2];
    file.align_bytes = 1u << data[0] % 17;
    file.is_direct = (flags & FLAG_DIRECT) != 0;
    file.is_mirrored = (flags & FLAG_MIRROR) != 0 && (flags & FLAG_SINK) == 0;
    request.is_host = (flags & FLAG_HOST) != 0;
    request.prefers_resident = data[1] % 2 != 0;
    request.chunk_bytes = 1u << (16 + data[1] % 9);
    request.user = &flags;
    request.want_count = make_wants(data + HEAD_BYTES, size - HEAD_BYTES, flags, tensors, wants);
    CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
    check(&plan, &request);
    wl_plan_clear(&plan);
    return 0;
}
