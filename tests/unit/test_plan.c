/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a plan covers every wanted byte exactly once, reads no block twice, and
 * reads nothing that no tensor is near to, but all of a file that is kept.
 * Method: a few plans by hand with known results, then seeded random ones, each
 * checked byte by byte against what was asked for.
 */
#include <errno.h>

#include "base/base.h"
#include "loader/plan.h"
#include "test.h"

#define FILE_BYTES (2u << 20)
#define WANTS_MAX  50u

static uint64_t state = 88172645463325252u;
static uint8_t arena[FILE_BYTES * 2] __attribute__((aligned(4096)));

static uint32_t roll(uint32_t sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % sides;
}

static int64_t none_resident(void *user, uint32_t file_index, uint64_t offset, uint64_t size_bytes)
{
    (void)user;
    (void)file_index;
    (void)offset;
    (void)size_bytes;
    return 0;
}

static int64_t all_resident(void *user, uint32_t file_index, uint64_t offset, uint64_t size_bytes)
{
    (void)user;
    (void)file_index;
    (void)offset;
    return (int64_t)size_bytes;
}

static int64_t not_told(void *user, uint32_t file_index, uint64_t offset, uint64_t size_bytes)
{
    (void)all_resident(user, file_index, offset, size_bytes);
    return -EPERM;
}

static int64_t half_resident(void *user, uint32_t file_index, uint64_t offset, uint64_t size_bytes)
{
    return all_resident(user, file_index, offset, size_bytes) / 2 + 1;
}

static struct wload_tensor tensor_at(uint64_t offset, uint64_t size_bytes)
{
    return (struct wload_tensor){.name = "t", .file_offset = offset, .size_bytes = size_bytes};
}

/* Two tensors with a short gap: one run of reads, rounded outward, cut at chunk multiples. */
static void check_rounding(void)
{
    struct wload_tensor tensors[] = {tensor_at(1000, 5000), tensor_at(6100, 70000)};
    struct wl_want wants[] = {{&tensors[0], arena}, {&tensors[1], arena + 5000}};
    struct wl_plan_file file = {.size_bytes = FILE_BYTES, .align_bytes = 512, .is_direct = true};
    struct wl_plan_request request = {.wants = wants,
                                      .want_count = 2,
                                      .files = &file,
                                      .chunk_bytes = 64u << 10,
                                      .resident = none_resident};
    struct wload_error err;
    struct wl_plan plan;

    CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
    CHECK_EQ(plan.extent_count, 2);
    CHECK_EQ(plan.extents[0].offset, 512);
    CHECK_EQ(plan.extents[0].size_bytes, 65536 - 512);
    CHECK_EQ(plan.extents[1].offset, 65536);
    CHECK_EQ(plan.extents[1].size_bytes, 76288 - 65536);
    CHECK_EQ(plan.extents[1].needed_bytes, 76100 - 65536);
    CHECK_EQ(plan.piece_count, 3);
    CHECK_EQ(plan.copy_count, 3); /* the gap at the source keeps the first two apart */
    CHECK(plan.extents[0].is_direct);
    CHECK_EQ(plan.order_count[WL_LANE_STORAGE], 2);
    wl_plan_clear(&plan);
}

/* Neighbours that stay neighbours are one copy; in place, none at all. */
static void check_merging(void)
{
    struct wload_tensor tensors[] = {tensor_at(4096, 1024), tensor_at(5120, 2048),
                                     tensor_at(7168, 0), tensor_at(7168, 1024)};
    struct wl_want wants[4];
    struct wl_plan_file file = {.size_bytes = FILE_BYTES, .align_bytes = 1};
    struct wl_plan_request request = {.wants = wants,
                                      .want_count = 4,
                                      .files = &file,
                                      .chunk_bytes = 64u << 10,
                                      .resident = all_resident};
    struct wload_error err;
    struct wl_plan plan;

    for (uint32_t i = 0; i < 4; i++) {
        wants[i] = (struct wl_want){&tensors[i], arena + tensors[i].file_offset};
    }
    CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
    CHECK_EQ(plan.extent_count, 1);
    CHECK_EQ(plan.piece_count, 3); /* the empty tensor has none */
    CHECK_EQ(plan.copy_count, 1);
    CHECK_EQ(plan.copies[0].size_bytes, 4096);
    CHECK_EQ(plan.order_count[WL_LANE_MEMORY], 1);
    wl_plan_clear(&plan);

    file.is_mirrored = true;
    file.mirror = (uintptr_t)arena;
    wants[1].address = arena + FILE_BYTES; /* one tensor has a place of its own */
    CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
    CHECK_EQ(plan.copy_count, 1);
    CHECK(plan.copies[0].target == arena + FILE_BYTES);
    CHECK(plan.extents[0].straight == arena + plan.extents[0].offset);
    wl_plan_clear(&plan);
}

/* Resident extents go through the page cache if that is preferred, and only then. */
static void check_lanes(void)
{
    struct wload_tensor tensor = tensor_at(0, 300000);
    struct wl_want want = {&tensor, NULL};
    struct wl_plan_file file = {.size_bytes = FILE_BYTES, .align_bytes = 4096, .is_direct = true};
    struct wl_plan_request request = {.wants = &want,
                                      .want_count = 1,
                                      .files = &file,
                                      .chunk_bytes = 128u << 10,
                                      .resident = all_resident};
    struct wload_error err;
    struct wl_plan plan;

    for (int prefers = 0; prefers < 2; prefers++) {
        request.prefers_resident = prefers;
        CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
        CHECK_EQ(plan.order_count[prefers ? WL_LANE_MEMORY : WL_LANE_STORAGE], 3);
        CHECK_EQ(plan.extents[0].is_direct, !prefers);
        CHECK_EQ(plan.copy_count, 0); /* a sink */
        wl_plan_clear(&plan);
    }
    /* Worth the page cache, but there is storage to wait for. */
    for (int is_told = 0; is_told < 2; is_told++) {
        request.resident = is_told ? half_resident : not_told;
        CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
        CHECK_EQ(plan.order_count[WL_LANE_STORAGE], 3);
        CHECK(!plan.extents[0].is_direct);
        wl_plan_clear(&plan);
    }
}

struct cut {
    uint64_t begin;
    uint64_t end;
    bool is_straight;
};

static void check_cuts(const struct wl_plan_request *request, const struct cut *cuts,
                       uint32_t cut_count, uint32_t copy_count)
{
    struct wload_error err;
    struct wl_plan plan;

    CHECK_OK(wl_plan_build(request, &plan, &err), &err);
    CHECK_EQ(plan.extent_count, cut_count);
    for (uint32_t i = 0; i < cut_count; i++) {
        CHECK_EQ(plan.extents[i].offset, cuts[i].begin);
        CHECK_EQ(plan.extents[i].offset + plan.extents[i].size_bytes, cuts[i].end);
        CHECK_EQ(plan.extents[i].straight != NULL, cuts[i].is_straight);
    }
    CHECK_EQ(plan.copy_count, copy_count);
    wl_plan_clear(&plan);
}

/* Memory of the caller's is read into wherever enough of it fits the file's blocks. */
static void check_places(void)
{
    static const struct cut both[] = {{0, 4096, false},         {4096, 598016, true},
                                      {598016, 602112, false},  {602112, 1048576, true},
                                      {1048576, 1097728, true}, {1097728, 1101824, false}};
    static const struct cut first[] = {{0, 4096, false},
                                       {4096, 598016, true},
                                       {598016, 1048576, false},
                                       {1048576, 1101824, false}};
    static const struct cut all[] = {{1000, 601000, true},
                                     {601000, 1048576, true},
                                     {1048576, 1101000, true}};
    struct wload_tensor tensors[] = {tensor_at(1000, 600000), tensor_at(601000, 500000)};
    struct wl_want wants[] = {{&tensors[0], arena + 1000},
                              {&tensors[1], arena + (1u << 20) + 601000 % 4096}};
    struct wl_plan_file file = {.size_bytes = FILE_BYTES, .align_bytes = 4096, .is_direct = true};
    struct wl_plan_request request = {.wants = wants,
                                      .want_count = 2,
                                      .files = &file,
                                      .chunk_bytes = 1u << 20,
                                      .resident = none_resident,
                                      .is_host = true};

    check_cuts(&request, both, WL_COUNT_OF(both), 4);
    wants[1].address++; /* of the two only the first fits */
    check_cuts(&request, first, WL_COUNT_OF(first), 4);
    file = (struct wl_plan_file){.size_bytes = FILE_BYTES, .align_bytes = 1};
    check_cuts(&request, all, WL_COUNT_OF(all), 0);
    tensors[1].size_bytes = 200000; /* too little for reads of its own */
    check_cuts(&request, (struct cut[]){{1000, 601000, true}, {601000, 801000, true}}, 2, 0);
}

static int64_t not_asked(void *user, uint32_t file_index, uint64_t offset, uint64_t size_bytes)
{
    (void)none_resident(user, file_index, offset, size_bytes);
    CHECK(file_index != 1);
    return 0;
}

/* A kept file between two others: all of it, in order, staged, whatever else it is said to be. */
static void check_kept(void)
{
    struct wload_tensor tensors[] = {tensor_at(4096, 4096), tensor_at(70000, 5000),
                                     tensor_at(75000, 0), tensor_at(260000, 10000),
                                     tensor_at(4096, 4096)};
    struct wl_want wants[5];
    struct wl_plan_file files[] = {
        {.size_bytes = FILE_BYTES, .align_bytes = 512, .is_direct = true},
        {.size_bytes = 300001, .align_bytes = 512, .is_direct = true, .is_kept = true},
        {.size_bytes = FILE_BYTES, .align_bytes = 512, .is_direct = true},
    };
    struct wl_plan_request request = {.wants = wants,
                                      .want_count = 5,
                                      .files = files,
                                      .chunk_bytes = 64u << 10,
                                      .resident = not_asked,
                                      .is_host = true};
    static const uint32_t pieces[] = {0, 1, 0, 1, 1};
    struct wload_error err;
    struct wl_plan plan;

    for (uint32_t i = 0; i < 5; i++) {
        tensors[i].file_index = i == 0 ? 0 : i == 4 ? 2 : 1;
        wants[i] = (struct wl_want){&tensors[i], arena + tensors[i].file_offset};
    }
    wants[0].address = wants[4].address = NULL;
    files[1].is_mirrored = true;
    files[1].mirror = (uintptr_t)arena;
    CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
    CHECK_EQ(plan.extent_count, 7);
    CHECK(!plan.extents[0].is_kept && plan.extents[0].is_direct);
    CHECK(!plan.extents[6].is_kept && plan.extents[6].is_direct);
    for (uint32_t i = 0; i < 5; i++) {
        const struct wl_extent *extent = &plan.extents[i + 1];

        CHECK(extent->is_kept && !extent->is_direct && !extent->straight);
        CHECK_EQ(extent->offset, i * 65536);
        CHECK_EQ(extent->size_bytes, i < 4 ? 65536 : 300001 - 4 * 65536);
        CHECK_EQ(extent->needed_bytes, extent->size_bytes);
        CHECK_EQ(extent->lane, WL_LANE_STORAGE);
        CHECK_EQ(extent[1].piece_first - extent->piece_first, pieces[i]);
        CHECK_EQ(extent[1].copy_first - extent->copy_first, pieces[i]);
        CHECK_EQ(plan.order[WL_LANE_STORAGE][i], i + 1); /* before those of the other files */
    }
    CHECK_EQ(plan.order[WL_LANE_STORAGE][5], 0);
    CHECK_EQ(plan.order[WL_LANE_STORAGE][6], 6);
    wl_plan_clear(&plan);

    request.wants = &wants[2]; /* an empty tensor alone is reason enough */
    request.want_count = 1;
    CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
    CHECK_EQ(plan.extent_count, 5);
    CHECK_EQ(plan.piece_count, 0);
    wl_plan_clear(&plan);
}

/* Six kept files of 1 to 6 extents: four are read in turn, and when one ends the next joins in. */
static void check_side_by_side(void)
{
    static const uint32_t expected[] = {0, 1,  3,  6, 10, 2,  4,  7,  11, 15, 5,
                                        8, 12, 16, 9, 13, 17, 14, 18, 19, 20};
    static const uint32_t followed[] = {0,  4, 13, 5, 14, 6, 15, 7,  16, 17,
                                        18, 3, 1,  2, 8,  9, 10, 11, 12};
    struct wload_tensor tensors[6];
    struct wl_want wants[6];
    struct wl_plan_file files[6] = {0};
    struct wl_plan_request request = {.wants = wants,
                                      .want_count = 6,
                                      .files = files,
                                      .chunk_bytes = 64u << 10,
                                      .resident = not_asked};
    struct wload_error err;
    struct wl_plan plan;

    for (uint32_t i = 0; i < 6; i++) {
        tensors[i] = tensor_at(4096, 4096);
        tensors[i].file_index = i;
        wants[i] = (struct wl_want){.tensor = &tensors[i]};
        files[i] =
            (struct wl_plan_file){.size_bytes = (i + 1) * 65536, .align_bytes = 1, .is_kept = true};
    }
    CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
    CHECK_EQ(plan.order_count[WL_LANE_STORAGE], WL_COUNT_OF(expected));
    for (uint32_t i = 0; i < WL_COUNT_OF(expected); i++) {
        CHECK_EQ(plan.order[WL_LANE_STORAGE][i], expected[i]);
    }
    wl_plan_clear(&plan);

    /* Two that others bring come last, one after the other, behind one that is here. */
    files[2].is_kept = false;
    CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
    files[1].is_followed = files[4].is_followed = true;
    wl_plan_order(&plan, files);
    CHECK_EQ(plan.order_count[WL_LANE_STORAGE], WL_COUNT_OF(followed));
    for (uint32_t i = 0; i < WL_COUNT_OF(followed); i++) {
        CHECK_EQ(plan.order[WL_LANE_STORAGE][i], followed[i]);
    }
    wl_plan_clear(&plan);
}

static uint32_t make_wants(struct wload_tensor *tensors, struct wl_want *wants)
{
    uint64_t at = roll(5000);
    uint32_t count = 0;

    while (count < WANTS_MAX) {
        uint64_t size = roll(6) == 0 ? 0 : roll(90000);

        if (at + size > FILE_BYTES) {
            break;
        }
        tensors[count] = tensor_at(at, size);
        wants[count] = (struct wl_want){&tensors[count], arena + at};
        at += size + (roll(3) == 0 ? roll(200u << 10) : 0);
        count++;
    }
    return count;
}

static void check_extents(const struct wl_plan *plan, const struct wl_plan_request *request)
{
    bool is_kept = request->files[0].is_kept;
    uint64_t align = is_kept ? 1 : request->files[0].align_bytes;
    uint64_t end = 0;

    for (uint32_t i = 0; i < plan->extent_count; i++) {
        const struct wl_extent *extent = &plan->extents[i];

        CHECK(extent->offset >= end); /* no block twice */
        CHECK_EQ(extent->offset % align, 0);
        CHECK_EQ(extent->size_bytes % align, 0);
        CHECK(extent->size_bytes <= request->chunk_bytes);
        CHECK_EQ(extent->is_kept, is_kept);
        if (is_kept) {
            CHECK_EQ(extent->offset, end);
            CHECK_EQ(extent->offset % request->chunk_bytes, 0);
            CHECK_EQ(extent->needed_bytes, extent->size_bytes);
            CHECK(!extent->straight);
        } else {
            CHECK(extent[1].piece_first > extent->piece_first); /* none for nothing */
        }
        end = extent->offset + extent->size_bytes;
    }
    if (is_kept && request->want_count > 0) {
        CHECK_EQ(end, FILE_BYTES);
    }
}

/* Walk the pieces: each continues its tensor where the one before stopped. */
static void check_pieces(const struct wl_plan *plan, const struct wl_plan_request *request)
{
    uint64_t landed[WANTS_MAX] = {0};

    for (uint32_t e = 0; e < plan->extent_count; e++) {
        for (uint32_t i = plan->extents[e].piece_first; i < plan->extents[e + 1].piece_first; i++) {
            const struct wl_piece *piece = &plan->pieces[i];
            const struct wload_tensor *tensor = request->wants[piece->want].tensor;

            CHECK_EQ(piece->tensor_offset, landed[piece->want]);
            CHECK_EQ(plan->extents[e].offset + piece->extent_offset,
                     tensor->file_offset + piece->tensor_offset);
            CHECK(piece->extent_offset + piece->size_bytes <= plan->extents[e].needed_bytes);
            landed[piece->want] += piece->size_bytes;
        }
    }
    for (uint32_t i = 0; i < request->want_count; i++) {
        CHECK_EQ(landed[i], request->wants[i].tensor->size_bytes);
    }
}

/* Copies carry the same bytes as pieces, merged. */
static void check_copies(const struct wl_plan *plan, const struct wl_plan_request *request)
{
    bool is_mirrored = request->files[0].is_mirrored && !request->files[0].is_kept;
    uint64_t wanted = 0, copied = 0;

    for (uint32_t i = 0; i < request->want_count; i++) {
        wanted += request->wants[i].tensor->size_bytes;
    }
    for (uint32_t e = 0; e < plan->extent_count; e++) {
        for (uint32_t i = plan->extents[e].copy_first; i < plan->extents[e + 1].copy_first; i++) {
            const struct wl_copy *copy = &plan->copies[i];

            CHECK(copy->target == arena + plan->extents[e].offset + copy->extent_offset);
            copied += copy->size_bytes;
        }
        if (plan->extents[e].straight) {
            CHECK(plan->extents[e].straight == arena + plan->extents[e].offset);
            copied += is_mirrored ? 0 : plan->extents[e].size_bytes;
        }
    }
    CHECK_EQ(copied, is_mirrored ? 0 : wanted);
}

static void check_random(void)
{
    struct wload_tensor tensors[WANTS_MAX];
    struct wl_want wants[WANTS_MAX];
    struct wl_plan_file file = {.size_bytes = FILE_BYTES, .align_bytes = 1u << roll(13)};
    struct wl_plan_request request = {.wants = wants,
                                      .want_count = make_wants(tensors, wants),
                                      .files = &file,
                                      .chunk_bytes = 4096u << roll(6),
                                      .resident = none_resident};
    struct wload_error err;
    struct wl_plan plan;

    file.is_mirrored = roll(2);
    file.mirror = (uintptr_t)arena;
    file.is_direct = file.align_bytes > 1 && roll(2);
    file.is_kept = roll(3) == 0;
    request.is_host = roll(2);
    CHECK_OK(wl_plan_build(&request, &plan, &err), &err);
    check_extents(&plan, &request);
    check_pieces(&plan, &request);
    check_copies(&plan, &request);
    wl_plan_clear(&plan);
}

int main(void)
{
    check_rounding();
    check_merging();
    check_lanes();
    check_places();
    check_kept();
    check_side_by_side();
    for (int i = 0; i < 3000; i++) {
        check_random();
    }
    return 0;
}
