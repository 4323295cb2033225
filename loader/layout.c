/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/layout.h"

#include "base/base.h"
#include "base/err.h"
#include "loader/arena.h"

#define ARENA_BYTES_MAX (1ull << 46)

/* Offsets, and mirrors that may begin before the arena, travel in pointers until they are placed.
 */
static uint8_t *as_pointer(uint64_t offset)
{
    return (uint8_t *)(uintptr_t)offset;
}

static uint64_t as_offset(const uint8_t *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static bool is_aligned(const struct wload_tensor *tensor)
{
    uint64_t element_bytes = wl_max(tensor->element_bits / 8, 1);

    return tensor->file_offset % element_bytes == 0;
}

static uint64_t append(uint64_t *cursor, uint64_t size_bytes)
{
    uint64_t offset = *cursor;

    *cursor += wl_round_up(size_bytes, WL_TENSOR_ALIGN_BYTES);
    return offset;
}

/* One file's wants from `first`: its range, and a mirror on the same byte of a huge page. */
static uint32_t mirror_file(struct wl_layout *layout, uint32_t first)
{
    uint32_t file_index = layout->wants[first].tensor->file_index;
    struct wl_plan_file *file = &layout->files[file_index];
    uint64_t begin = wl_round_down(layout->wants[first].tensor->file_offset, WL_ARENA_ALIGN_BYTES);
    uint64_t end = begin;
    uint32_t next = first;

    for (; next < layout->want_count && layout->wants[next].tensor->file_index == file_index;
         next++) {
        const struct wload_tensor *tensor = layout->wants[next].tensor;

        end = wl_max(end, wl_round_up(tensor->file_offset + tensor->size_bytes, file->align_bytes));
    }
    file->is_mirrored = true;
    file->mirror = layout->size_bytes - begin;
    layout->size_bytes += wl_round_up(end - begin, WL_ARENA_ALIGN_BYTES);
    for (uint32_t i = first; i < next; i++) {
        layout->wants[i].address = as_pointer(file->mirror + layout->wants[i].tensor->file_offset);
    }
    return next;
}

static void measure_mirrored(struct wl_layout *layout)
{
    for (uint32_t i = 0; i < layout->want_count;) {
        i = mirror_file(layout, i);
    }
    layout->straight_bytes = layout->size_bytes;
    for (uint32_t i = 0; i < layout->want_count; i++) {
        struct wl_want *want = &layout->wants[i];

        if (!is_aligned(want->tensor)) {
            want->address = as_pointer(append(&layout->size_bytes, want->tensor->size_bytes));
        }
    }
}

static void measure_packed(struct wl_layout *layout)
{
    for (uint32_t i = 0; i < layout->want_count; i++) {
        struct wl_want *want = &layout->wants[i];

        want->address = as_pointer(append(&layout->size_bytes, want->tensor->size_bytes));
    }
}

int wl_layout_measure(struct wl_layout *layout, bool is_mirrored, struct wload_error *err)
{
    layout->size_bytes = 0;
    layout->straight_bytes = 0;
    if (is_mirrored) {
        measure_mirrored(layout);
    } else {
        measure_packed(layout);
    }
    layout->size_bytes = wl_max(layout->size_bytes, WL_TENSOR_ALIGN_BYTES);
    if (layout->size_bytes > ARENA_BYTES_MAX) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "the tensors need %llu bytes of address space",
                          (unsigned long long)layout->size_bytes);
    }
    return WLOAD_OK;
}

void wl_layout_place(struct wl_layout *layout, uint8_t *memory)
{
    for (uint32_t i = 0; i < layout->want_count; i++) {
        layout->wants[i].address = memory + as_offset(layout->wants[i].address);
    }
    for (uint32_t i = 0; i < layout->file_count; i++) {
        if (layout->files[i].is_mirrored) {
            layout->files[i].mirror += (uintptr_t)memory;
        }
    }
}
