/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/plan.h"

#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

/* Reading through a gap costs less than another request, up to about this size. */
#define GAP_BYTES_MAX (128u << 10)

/*
 * An extent that lacks no more than half of its pages is quicker from the page
 * cache, though the kernel fetches the missing ones in smaller reads; only one
 * that lacks hardly any is a matter of copying alone.
 */
#define LACK_MAX_BUFFERED 2u
#define LACK_MAX_MEMORY   8u

/* A place that is worth reads of its own: for less, copying costs less than another request. */
#define PLACE_BYTES_MIN (256u << 10)

#define LED_SIDE_BY_SIDE 4u

/* Extents [next, end) that are not ordered yet. */
struct run {
    uint32_t next;
    uint32_t end;
};

/* Arrays of unknown length are written twice: the first pass, with NULL arrays, only counts. */
struct builder {
    const struct wl_plan_request *request;
    struct wl_plan *plan;
    uint64_t extent_count;
    uint64_t piece_count;
    uint64_t copy_count;
};

/* A run of blocks of one file, and the wants first .. last - 1 in it. */
struct span {
    uint64_t begin;
    uint64_t end;
    uint32_t first;
    uint32_t last;
};

/* Blocks of a file that memory of the caller's can take as they are, one after the other. */
struct place {
    uint64_t begin;
    uint64_t end;
    uint32_t next; /* the first want behind it */
};

static uint64_t want_begin(const struct wl_want *want)
{
    return want->tensor->file_offset;
}

static uint64_t want_end(const struct wl_want *want)
{
    return want->tensor->file_offset + want->tensor->size_bytes;
}

/* All of the file that want `first` is the first of. */
static struct span whole_file(const struct wl_plan_request *request, uint32_t first)
{
    uint32_t file_index = request->wants[first].tensor->file_index;
    struct span span = {
        .end = request->files[file_index].size_bytes,
        .first = first,
        .last = first + 1,
    };

    while (span.last < request->want_count &&
           request->wants[span.last].tensor->file_index == file_index) {
        span.last++;
    }
    return span;
}

/* The longest span that begins with want `first`, which is not empty. */
static struct span next_span(const struct wl_plan_request *request, uint32_t first)
{
    const struct wl_want *wants = request->wants;
    uint32_t file_index = wants[first].tensor->file_index;
    uint64_t align = request->files[file_index].align_bytes;
    struct span span = {
        .begin = wl_round_down(want_begin(&wants[first]), align),
        .end = wl_round_up(want_end(&wants[first]), align),
        .first = first,
        .last = first + 1,
    };

    while (span.last < request->want_count) {
        const struct wl_want *next = &wants[span.last];

        if (next->tensor->file_index != file_index || want_begin(next) > span.end + GAP_BYTES_MAX) {
            break;
        }
        span.end = wl_max(span.end, wl_round_up(want_end(next), align));
        span.last++;
    }
    return span;
}

/* A copy joins the last one of its extent where both sides continue it. */
static void add_copy(struct builder *builder, uint64_t copy_first, const struct wl_copy *copy)
{
    struct wl_copy *copies = builder->plan->copies;

    if (copies && builder->copy_count > copy_first) {
        struct wl_copy *last = &copies[builder->copy_count - 1];

        if (last->target + last->size_bytes == copy->target &&
            last->extent_offset + last->size_bytes == copy->extent_offset) {
            last->size_bytes += copy->size_bytes;
            return;
        }
    }
    if (copies) {
        copies[builder->copy_count] = *copy;
    }
    builder->copy_count++;
}

static void add_piece(struct builder *builder, const struct wl_extent *extent, uint32_t want_index,
                      uint64_t begin, uint64_t end)
{
    const struct wl_want *want = &builder->request->wants[want_index];
    struct wl_piece piece = {
        .tensor_offset = begin - want_begin(want),
        .want = want_index,
        .extent_offset = (uint32_t)(begin - extent->offset),
        .size_bytes = (uint32_t)(end - begin),
    };
    struct wl_copy copy = {
        .target = want->address ? want->address + piece.tensor_offset : NULL,
        .extent_offset = piece.extent_offset,
        .size_bytes = piece.size_bytes,
    };

    if (builder->plan->pieces) {
        builder->plan->pieces[builder->piece_count] = piece;
    }
    builder->piece_count++;
    if (want->address &&
        (!extent->straight || extent->straight + copy.extent_offset != copy.target)) {
        add_copy(builder, extent->copy_first, &copy);
    }
}

/* What the page cache holds of an extent decides its lane, and its way if the request says so. */
static void choose_way(const struct wl_plan_request *request, struct wl_extent *extent)
{
    const struct wl_plan_file *file = &request->files[extent->file_index];
    uint64_t end = wl_min(extent->offset + extent->size_bytes, file->size_bytes);
    uint64_t size = end > extent->offset ? end - extent->offset : 0;
    int64_t resident = request->resident(request->user, extent->file_index, extent->offset, size);
    uint64_t lack = resident < 0 ? size / 2 : size - wl_min((uint64_t)resident, size);
    bool is_cheap = resident != 0 && (!file->is_direct || request->prefers_resident);

    extent->is_direct = file->is_direct && !(is_cheap && lack <= size / LACK_MAX_BUFFERED);
    extent->lane = is_cheap && lack <= size / LACK_MAX_MEMORY ? WL_LANE_MEMORY : WL_LANE_STORAGE;
}

/* Memory that the caller placed may by chance, or by design, take a read as it is. */
static void straighten(struct builder *builder, struct wl_extent *extent)
{
    const struct wl_plan_request *request = builder->request;
    uint64_t align = extent->is_direct ? request->files[extent->file_index].align_bytes : 1;
    const struct wl_copy *copy = &builder->plan->copies[extent->copy_first];

    if (request->is_host && !extent->straight && builder->copy_count == extent->copy_first + 1u &&
        copy->extent_offset == 0 && copy->size_bytes == extent->size_bytes &&
        (uintptr_t)copy->target % align == 0) {
        extent->straight = copy->target;
        builder->copy_count--;
    }
}

/* One extent and its pieces.  `first` is the first want of the span that may reach into it. */
static void add_extent(struct builder *builder, uint64_t begin, uint64_t end,
                       const struct span *span, uint32_t *first)
{
    const struct wl_plan_request *request = builder->request;
    uint32_t file_index = request->wants[span->first].tensor->file_index;
    const struct wl_plan_file *file = &request->files[file_index];
    struct wl_extent extent = {
        .offset = begin,
        .straight = file->is_mirrored && !file->is_kept ? (uint8_t *)(file->mirror + begin) : NULL,
        .size_bytes = (uint32_t)(end - begin),
        .file_index = file_index,
        .piece_first = (uint32_t)builder->piece_count,
        .copy_first = (uint32_t)builder->copy_count,
        .lane = WL_LANE_STORAGE,
        .is_kept = file->is_kept,
    };

    while (*first < span->last && want_end(&request->wants[*first]) <= begin) {
        (*first)++;
    }
    for (uint32_t i = *first; i < span->last && want_begin(&request->wants[i]) < end; i++) {
        uint64_t piece_begin = wl_max(want_begin(&request->wants[i]), begin);
        uint64_t piece_end = wl_min(want_end(&request->wants[i]), end);

        if (piece_begin < piece_end) { /* an empty tensor has no pieces */
            add_piece(builder, &extent, i, piece_begin, piece_end);
            extent.needed_bytes = (uint32_t)(piece_end - begin);
        }
    }
    if (extent.is_kept) {
        extent.needed_bytes = extent.size_bytes;
    }
    if (extent.needed_bytes == 0) {
        return; /* cut out of the middle of a gap */
    }
    if (builder->plan->extents) {
        if (!extent.is_kept) {
            choose_way(request, &extent);
            straighten(builder, &extent);
        }
        builder->plan->extents[builder->extent_count] = extent;
    }
    builder->extent_count++;
}

/* The place of want `first` and of those before `last` whose memory continues it.  Empty: not worth
 * reads of its own. */
static struct place place_at(const struct wl_plan_request *request, uint32_t first, uint32_t last)
{
    const struct wl_want *want = &request->wants[first];
    uint64_t align = request->files[want->tensor->file_index].align_bytes;
    uint64_t offset = want_begin(want);
    uint64_t end = want_end(want);
    struct place place = {.next = first + 1};

    while (place.next < last && want_begin(&request->wants[place.next]) == end &&
           request->wants[place.next].address == want->address + (end - offset)) {
        end = want_end(&request->wants[place.next++]);
    }
    if (want->address && (uintptr_t)want->address % align == offset % align &&
        wl_round_up(offset, align) + PLACE_BYTES_MIN <= wl_round_down(end, align)) {
        place.begin = wl_round_up(offset, align);
        place.end = wl_round_down(end, align);
    }
    return place;
}

/* Where the extent from `begin` on ends, at `end` or before: a place has extents of its own. */
static uint64_t cut_at_place(const struct wl_plan_request *request, const struct span *span,
                             uint64_t begin, uint64_t end, struct place *place)
{
    while (place->end <= begin && place->next < span->last) {
        *place = place_at(request, place->next, span->last);
    }
    if (place->end <= begin) {
        return end;
    }
    return wl_min(end, place->begin > begin ? place->begin : place->end);
}

static void add_all(struct builder *builder)
{
    const struct wl_plan_request *request = builder->request;
    uint32_t index = 0;

    builder->extent_count = builder->piece_count = builder->copy_count = 0;
    while (index < request->want_count) {
        const struct wload_tensor *tensor = request->wants[index].tensor;
        const struct wl_plan_file *file = &request->files[tensor->file_index];
        bool is_placed = request->is_host && !file->is_kept && !file->is_mirrored;
        struct place place = {.next = index};
        struct span span;
        uint32_t first = index;

        if (tensor->size_bytes == 0 && !file->is_kept) {
            index++;
            continue;
        }
        span = file->is_kept ? whole_file(request, index) : next_span(request, index);
        for (uint64_t begin = span.begin; begin < span.end;) {
            uint64_t cut = wl_round_down(begin, request->chunk_bytes) + request->chunk_bytes;
            uint64_t end = wl_min(cut, span.end);

            if (is_placed) {
                end = cut_at_place(request, &span, begin, end, &place);
            }
            add_extent(builder, begin, end, &span, &first);
            begin = end;
        }
        index = span.last;
    }
}

static int allocate(struct builder *builder, struct wload_error *err)
{
    struct wl_plan *plan = builder->plan;

    if (builder->extent_count >= UINT32_MAX || builder->piece_count >= UINT32_MAX) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "more than %u reads or pieces: a larger chunk "
                          "makes fewer",
                          UINT32_MAX);
    }
    plan->extents = wl_sys_array(builder->extent_count + 1, sizeof(plan->extents[0]));
    plan->pieces = wl_sys_array(builder->piece_count, sizeof(plan->pieces[0]));
    plan->copies = wl_sys_array(builder->copy_count, sizeof(plan->copies[0]));
    plan->order[WL_LANE_STORAGE] = wl_sys_array(builder->extent_count, sizeof(uint32_t));
    plan->order[WL_LANE_MEMORY] = wl_sys_array(builder->extent_count, sizeof(uint32_t));
    if (!plan->extents || !plan->pieces || !plan->copies || !plan->order[WL_LANE_STORAGE] ||
        !plan->order[WL_LANE_MEMORY]) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a plan of %llu reads",
                          (unsigned long long)builder->extent_count);
    }
    return WLOAD_OK;
}

static void put(struct wl_plan *plan, enum wl_lane lane, uint32_t extent)
{
    plan->order[lane][plan->order_count[lane]++] = extent;
}

static bool is_led(const struct wl_extent *extent, const struct wl_plan_file *files)
{
    return extent->is_kept && !files[extent->file_index].is_followed;
}

/* The extents of the next file that is ours to bring, from extent `from` on. */
static struct run next_led(const struct wl_plan *plan, const struct wl_plan_file *files,
                           uint32_t from)
{
    struct run run = {.next = from};

    while (run.next < plan->extent_count && !is_led(&plan->extents[run.next], files)) {
        run.next++;
    }
    run.end = run.next;
    while (run.end < plan->extent_count && is_led(&plan->extents[run.end], files) &&
           plan->extents[run.end].file_index == plan->extents[run.next].file_index) {
        run.end++;
    }
    return run;
}

/* A file is hashed by one thread: some are read side by side, one extent of each in turn. */
static void order_led(struct wl_plan *plan, const struct wl_plan_file *files)
{
    struct run runs[LED_SIDE_BY_SIDE] = {0};
    uint32_t seen = 0;
    bool is_done = false;

    while (!is_done) {
        is_done = true;
        for (unsigned i = 0; i < LED_SIDE_BY_SIDE; i++) {
            if (runs[i].next == runs[i].end) {
                runs[i] = next_led(plan, files, seen);
                seen = runs[i].end;
            }
            if (runs[i].next < runs[i].end) {
                put(plan, WL_LANE_STORAGE, runs[i].next++);
                is_done = false;
            }
        }
    }
}

/*
 * What others wait for comes first, and what waits for others last, in an order that
 * is the same in every process: so none waits with something undone that another
 * waits for.
 */
void wl_plan_order(struct wl_plan *plan, const struct wl_plan_file *files)
{
    memset(plan->order_count, 0, sizeof(plan->order_count));
    order_led(plan, files);
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        if (!plan->extents[i].is_kept) {
            put(plan, (enum wl_lane)plan->extents[i].lane, i);
        }
    }
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        if (plan->extents[i].is_kept && !is_led(&plan->extents[i], files)) {
            put(plan, WL_LANE_STORAGE, i);
        }
    }
}

/* The sentinel, the lanes' orders and what must hold of them. */
static void seal(const struct builder *builder)
{
    struct wl_plan *plan = builder->plan;

    plan->extent_count = (uint32_t)builder->extent_count;
    plan->piece_count = (uint32_t)builder->piece_count;
    plan->copy_count = (uint32_t)builder->copy_count;
    plan->extents[plan->extent_count] =
        (struct wl_extent){.piece_first = plan->piece_count, .copy_first = plan->copy_count};
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        const struct wl_extent *extent = &plan->extents[i];

        WL_ASSERT(extent->needed_bytes > 0 && extent->needed_bytes <= extent->size_bytes);
        WL_ASSERT(extent->size_bytes <= builder->request->chunk_bytes);
    }
    wl_plan_order(plan, builder->request->files);
}

int wl_plan_build(const struct wl_plan_request *request, struct wl_plan *out,
                  struct wload_error *err)
{
    struct builder builder = {.request = request, .plan = out};
    int rc;

    WL_ASSERT(wl_is_pow2(request->chunk_bytes));
    memset(out, 0, sizeof(*out));
    add_all(&builder); /* copies are counted before merging: an upper bound */
    rc = allocate(&builder, err);
    if (rc < 0) {
        wl_plan_clear(out);
        return rc;
    }
    add_all(&builder);
    seal(&builder);
    return WLOAD_OK;
}

void wl_plan_clear(struct wl_plan *plan)
{
    wl_sys->free(plan->extents);
    wl_sys->free(plan->pieces);
    wl_sys->free(plan->copies);
    wl_sys->free(plan->order[WL_LANE_STORAGE]);
    wl_sys->free(plan->order[WL_LANE_MEMORY]);
    memset(plan, 0, sizeof(*plan));
}
