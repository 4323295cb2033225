/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: in an arena no two tensors share a byte, each is aligned for its type, and
 * a mirrored one that the file aligns lies on the file's own position within a
 * huge page, where reads can go straight.
 * Method: seeded random models of several files, laid out both ways; every place is
 * checked against all others.
 */
#include "base/base.h"
#include "loader/arena.h"
#include "loader/layout.h"
#include "test.h"

#define FILES     3u
#define WANTS_MAX 90u

static uint64_t state = 4101842887655102017u;

static uint32_t roll(uint32_t sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % sides;
}

static uint32_t make_wants(struct wload_tensor *tensors, struct wl_want *wants)
{
    static const uint32_t bits[] = {4, 6, 8, 16, 32, 64};
    uint32_t count = 0;

    for (uint32_t file = 0; file < FILES; file++) {
        uint64_t at = 8 + roll(3000);

        for (uint32_t i = roll(WANTS_MAX / FILES); i > 0; i--, count++) {
            at += roll(3) == 0 ? roll(5u << 20) : 0;
            tensors[count] = (struct wload_tensor){.file_index = file,
                                                   .file_offset = at,
                                                   .size_bytes = roll(5) ? roll(3u << 20) : 0,
                                                   .element_bits = bits[roll(6)]};
            wants[count] = (struct wl_want){.tensor = &tensors[count]};
            at += tensors[count].size_bytes;
        }
    }
    return count;
}

static bool is_straight(const struct wl_layout *layout, const struct wl_want *want)
{
    const struct wl_plan_file *file = &layout->files[want->tensor->file_index];

    return file->is_mirrored &&
           (uintptr_t)want->address == file->mirror + want->tensor->file_offset;
}

static void check_place(const struct wl_layout *layout, uint32_t index, uintptr_t memory)
{
    const struct wl_want *want = &layout->wants[index];
    uint64_t element_bytes = wl_max(want->tensor->element_bits / 8, 1);
    uintptr_t begin = (uintptr_t)want->address;
    uintptr_t end = begin + want->tensor->size_bytes;

    CHECK(begin >= memory && end <= memory + layout->size_bytes);
    CHECK_EQ(begin % element_bytes, 0);
    if (is_straight(layout, want)) {
        CHECK_EQ((begin - want->tensor->file_offset) % WL_ARENA_ALIGN_BYTES, 0);
        CHECK(end <= memory + layout->straight_bytes);
    } else {
        CHECK_EQ(begin % WL_TENSOR_ALIGN_BYTES, 0);
        CHECK(begin >= memory + layout->straight_bytes);
    }
    for (uint32_t i = 0; i < index; i++) {
        uintptr_t other = (uintptr_t)layout->wants[i].address;

        CHECK(end <= other || begin >= other + layout->wants[i].tensor->size_bytes ||
              begin == end || layout->wants[i].tensor->size_bytes == 0);
    }
}

static void check_random(bool is_mirrored)
{
    const uintptr_t memory = 64ull << 30; /* only an address: nothing is touched */
    struct wload_tensor tensors[WANTS_MAX];
    struct wl_want wants[WANTS_MAX];
    struct wl_plan_file files[FILES];
    struct wl_layout layout = {.wants = wants, .files = files, .file_count = FILES};
    struct wload_error err;

    for (uint32_t i = 0; i < FILES; i++) {
        files[i] = (struct wl_plan_file){.align_bytes = 1u << roll(13)};
    }
    layout.want_count = make_wants(tensors, wants);
    CHECK_OK(wl_layout_measure(&layout, is_mirrored, &err), &err);
    wl_layout_place(&layout, (uint8_t *)memory);
    for (uint32_t i = 0; i < layout.want_count; i++) {
        uint64_t element_bytes = wl_max(tensors[i].element_bits / 8, 1);

        check_place(&layout, i, memory);
        CHECK_EQ(is_straight(&layout, &wants[i]),
                 is_mirrored && tensors[i].file_offset % element_bytes == 0);
    }
}

int main(void)
{
    struct wload_tensor huge = {.file_offset = 8, .size_bytes = 1ull << 50, .element_bits = 8};
    struct wl_want want = {.tensor = &huge};
    struct wl_plan_file file = {.align_bytes = 512};
    struct wl_layout layout = {.wants = &want, .files = &file, .want_count = 1, .file_count = 1};
    struct wload_error err;

    for (int i = 0; i < 2000; i++) {
        check_random(i % 2 == 0);
    }
    CHECK_EQ(wl_layout_measure(&layout, true, &err), WLOAD_ERR_NOMEM);
    return 0;
}
