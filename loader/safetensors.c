/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/safetensors.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/json.h"
#include "base/sys.h"

#define LENGTH_BYTES WL_SAFETENSORS_LENGTH_BYTES

struct dtype {
    const char *name;
    uint32_t value;
    uint32_t bits;
};

static const struct dtype dtypes[] = {
#define DTYPE_ROW(name, value, bits) {#name, (value), (bits)},
    WLOAD_DTYPE_MAP(DTYPE_ROW)
#undef DTYPE_ROW
};

/* A header on its way into a table. */
struct header {
    const struct wl_safetensors_file *file;
    struct wl_json_object entries;
    uint64_t data_offset;      /* where tensor data begins in the file */
    const struct dtype *dtype; /* of the tensor before: likely that of the next */
    size_t prefix_bytes;
    uint64_t *dimensions; /* of all tensors so far, in the order of the entries */
    size_t dimension_count;
    size_t dimension_room;
};

/* An entry breaks `rule`; `detail` may be empty. */
static int refuse(const struct header *header, uint32_t entry, const char *rule, const char *detail,
                  struct wload_error *err)
{
    uint64_t offset = wl_json_offset(&header->entries, entry);

    return wl_err_at(err, WLOAD_ERR_FORMAT, offset,
                     "'%s': header entry '%.200s' at offset %" PRIu64 ": %s%.100s",
                     header->file->path, wl_json_key(&header->entries, entry), offset, rule,
                     detail);
}

/* ---- The entries, one by one --------------------------------------------------- */

static int check_metadata(const struct header *header, uint32_t entry, const cJSON *value,
                          struct wload_error *err)
{
    if (!cJSON_IsObject(value) && !cJSON_IsNull(value)) {
        return refuse(header, entry, "not an object", "", err);
    }
    wl_json_each (item, value) {
        if (!cJSON_IsString(item)) {
            return refuse(header, entry, "not a string: ", item->string, err);
        }
    }
    return WLOAD_OK;
}

static const struct dtype *find_dtype(const struct header *header, const char *name)
{
    if (header->dtype && strcmp(header->dtype->name, name) == 0) {
        return header->dtype;
    }
    for (size_t i = 0; i < WL_COUNT_OF(dtypes); i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            return &dtypes[i];
        }
    }
    return NULL;
}

static int take_dtype(struct header *header, uint32_t entry, const cJSON *dtype,
                      struct wload_tensor *tensor, struct wload_error *err)
{
    if (!cJSON_IsString(dtype)) {
        return refuse(header, entry, "dtype is not a string", "", err);
    }
    header->dtype = find_dtype(header, dtype->valuestring);
    if (!header->dtype) {
        return refuse(header, entry, "unknown dtype ", dtype->valuestring, err);
    }
    tensor->dtype_name = header->dtype->name;
    tensor->dtype = header->dtype->value;
    tensor->element_bits = header->dtype->bits;
    return WLOAD_OK;
}

static int add_dimension(struct header *header, uint64_t dimension, struct wload_error *err)
{
    if (header->dimension_count == header->dimension_room) {
        size_t room = header->dimension_room * 2 + header->entries.count;
        uint64_t *dimensions = wl_sys_array(room, sizeof(dimensions[0]));

        if (!dimensions) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its shapes",
                              header->file->path);
        }
        if (header->dimension_count > 0) {
            memcpy(dimensions, header->dimensions, header->dimension_count * sizeof(dimensions[0]));
        }
        wl_sys->free(header->dimensions);
        header->dimensions = dimensions;
        header->dimension_room = room;
    }
    header->dimensions[header->dimension_count++] = dimension;
    return WLOAD_OK;
}

static int take_shape(struct header *header, uint32_t entry, const cJSON *shape,
                      struct wload_tensor *tensor, struct wload_error *err)
{
    if (!cJSON_IsArray(shape)) {
        return refuse(header, entry, "shape is not an array", "", err);
    }
    wl_json_each (item, shape) {
        int64_t dimension = wl_json_whole(item);
        int rc;

        if (dimension < 0) {
            return refuse(header, entry, "a dimension is not a whole number below 2^53", "", err);
        }
        if (tensor->rank == WL_RANK_MAX) {
            return refuse(header, entry, "more than 64 dimensions", "", err);
        }
        rc = add_dimension(header, (uint64_t)dimension, err);
        if (rc < 0) {
            return rc;
        }
        tensor->rank++;
    }
    return WLOAD_OK;
}

/* file_offset and size_bytes become begin and end of data_offsets, until they are checked. */
static int take_offsets(const struct header *header, uint32_t entry, const cJSON *offsets,
                        struct wload_tensor *tensor, struct wload_error *err)
{
    const cJSON *begin = cJSON_IsArray(offsets) ? offsets->child : NULL;
    const cJSON *end = begin ? begin->next : NULL;

    if (!end || end->next || wl_json_whole(begin) < 0 || wl_json_whole(end) < 0) {
        return refuse(header, entry, "data_offsets are not two whole numbers below 2^53", "", err);
    }
    tensor->file_offset = (uint64_t)wl_json_whole(begin);
    tensor->size_bytes = (uint64_t)wl_json_whole(end);
    return WLOAD_OK;
}

static int take_tensor(struct header *header, uint32_t entry, const cJSON *value,
                       struct wload_tensor *tensor, struct wload_error *err)
{
    const cJSON *dtype = wl_json_member(value, "dtype");
    const cJSON *shape = wl_json_member(value, "shape");
    const cJSON *offsets = wl_json_member(value, "data_offsets");
    size_t name_bytes = strlen(wl_json_key(&header->entries, entry));
    int rc;

    if (!cJSON_IsObject(value)) {
        return refuse(header, entry, "not an object", "", err);
    }
    if (name_bytes == 0 || name_bytes > WL_NAME_BYTES_MAX) {
        return refuse(header, entry, "a name has 1 to 4096 bytes", "", err);
    }
    if (!dtype || !shape || !offsets) {
        return refuse(header, entry, "it has no ",
                      !dtype   ? "dtype"
                      : !shape ? "shape"
                               : "data_offsets",
                      err);
    }
    rc = take_dtype(header, entry, dtype, tensor, err);
    rc = rc < 0 ? rc : take_shape(header, entry, shape, tensor, err);
    rc = rc < 0 ? rc : take_offsets(header, entry, offsets, tensor, err);
    tensor->file_index = header->file->file_index;
    return rc;
}

static int take_entry(struct header *header, uint32_t entry, struct wl_table *table,
                      struct wload_error *err)
{
    struct wload_tensor *tensor = &table->tensors[table->count];
    cJSON *value;
    int rc = wl_json_value(&header->entries, entry, &value, err);

    if (rc < 0) {
        return rc;
    }
    if (strcmp(wl_json_key(&header->entries, entry), "__metadata__") == 0) {
        rc = check_metadata(header, entry, value, err);
    } else {
        tensor->name = wl_json_key(&header->entries, entry); /* until move_strings() */
        tensor->tensor_index = table->count++;
        rc = take_tensor(header, entry, value, tensor, err);
    }
    cJSON_Delete(value);
    return rc;
}

/* Move names and shapes into the table's memory, where they outlive the header. */
static int move_strings(const struct header *header, struct wl_table *table,
                        struct wload_error *err)
{
    size_t shape_bytes = header->dimension_count * sizeof(header->dimensions[0]);
    size_t name_bytes = 0;
    uint64_t *shapes;
    char *names;

    for (uint32_t i = 0; i < table->count; i++) {
        name_bytes += header->prefix_bytes + strlen(table->tensors[i].name) + 1;
    }
    table->memory = wl_sys_array(shape_bytes + name_bytes, 1);
    if (!table->memory) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its names",
                          header->file->path);
    }
    shapes = (void *)table->memory; /* they come first, for they need alignment */
    names = table->memory + shape_bytes;
    if (shape_bytes > 0) {
        memcpy(shapes, header->dimensions, shape_bytes);
    }
    for (uint32_t i = 0; i < table->count; i++) {
        struct wload_tensor *tensor = &table->tensors[i];
        size_t bytes = strlen(tensor->name) + 1;

        memcpy(names, header->file->prefix, header->prefix_bytes);
        memcpy(names + header->prefix_bytes, tensor->name, bytes);
        tensor->name = names;
        tensor->shape = shapes;
        names += header->prefix_bytes + bytes;
        shapes += tensor->rank;
    }
    return WLOAD_OK;
}

/* ---- The entries, in order of offset -------------------------------------------- */

static int compare_offsets(const void *a, const void *b)
{
    const struct wload_tensor *x = a, *y = b;

    if (x->file_offset != y->file_offset) {
        return x->file_offset < y->file_offset ? -1 : 1;
    }
    if (x->size_bytes != y->size_bytes) {
        return x->size_bytes < y->size_bytes ? -1 : 1;
    }
    return x->tensor_index < y->tensor_index ? -1 : 1;
}

/* Writers put tensors down in order, so there is seldom anything to sort. */
static void sort_tensors(struct wload_tensor *tensors, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        if (compare_offsets(&tensors[i - 1], &tensors[i]) > 0) {
            qsort(tensors, count, sizeof(tensors[0]), compare_offsets);
            return;
        }
    }
}

/* Bytes of the tensor by its shape.  False: more than 2^64 bits. */
static bool count_bits(const struct wload_tensor *tensor, uint64_t *bits)
{
    uint64_t product = 1;

    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (__builtin_mul_overflow(product, tensor->shape[i], &product)) {
            return false;
        }
    }
    return !__builtin_mul_overflow(product, (uint64_t)tensor->element_bits, bits);
}

/* The tensor's data must begin where the one before ended, at *covered. */
static int check_extent(const struct header *header, struct wload_tensor *tensor, uint64_t *covered,
                        struct wload_error *err)
{
    uint64_t begin = tensor->file_offset;
    uint64_t end = tensor->size_bytes;
    uint64_t offset = header->data_offset + begin;
    const char *finding = NULL;
    uint64_t bits = 0;

    if (end < begin) {
        finding = "ends before it begins";
    } else if (begin != *covered) {
        finding = begin > *covered ? "leaves a hole before it" : "overlaps the one before";
    } else if (!count_bits(tensor, &bits)) {
        finding = "has a shape of more than 2^64 bits";
    } else if (bits % 8 != 0) {
        finding = "does not fill whole bytes";
    } else if (bits / 8 != end - begin) {
        finding = "has another size than its shape and dtype say";
    }
    if (finding) {
        return wl_err_at(err, WLOAD_ERR_FORMAT, offset,
                         "'%s': tensor '%.200s' at offset %" PRIu64 " (data_offsets %" PRIu64
                         ", %" PRIu64 ") %s",
                         header->file->path, tensor->name + header->prefix_bytes, offset, begin,
                         end, finding);
    }
    tensor->file_offset = offset;
    tensor->size_bytes = end - begin;
    *covered = end;
    return WLOAD_OK;
}

static int check_cover(const struct header *header, struct wl_table *table, struct wload_error *err)
{
    uint64_t data_bytes = header->file->size_bytes - header->data_offset;
    uint64_t covered = 0;

    sort_tensors(table->tensors, table->count);
    for (uint32_t i = 0; i < table->count; i++) {
        int rc = check_extent(header, &table->tensors[i], &covered, err);

        if (rc < 0) {
            return rc;
        }
    }
    if (covered != data_bytes) {
        return wl_err_at(err, WLOAD_ERR_FORMAT, header->data_offset + wl_min(covered, data_bytes),
                         "'%s' %s: its tensors end at offset %" PRIu64 ", the file at %" PRIu64,
                         header->file->path,
                         covered > data_bytes ? "is truncated" : "has bytes of no tensor",
                         header->data_offset + covered, header->file->size_bytes);
    }
    return WLOAD_OK;
}

/* ---- The header -------------------------------------------------------------------- */

static int fill(struct header *header, struct wl_table *table, struct wload_error *err)
{
    int rc = WLOAD_OK;

    table->tensors = wl_sys_array(header->entries.count, sizeof(table->tensors[0]));
    if (!table->tensors) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its %u tensors",
                          header->file->path, header->entries.count);
    }
    for (uint32_t i = 0; i < header->entries.count && rc == WLOAD_OK; i++) {
        rc = take_entry(header, i, table, err);
    }
    rc = rc < 0 ? rc : move_strings(header, table, err);
    return rc < 0 ? rc : check_cover(header, table, err);
}

int wl_safetensors_parse(char *text, size_t text_bytes, const struct wl_safetensors_file *file,
                         struct wl_table *out, struct wload_error *err)
{
    struct header header = {
        .file = file,
        .data_offset = LENGTH_BYTES + text_bytes,
        .prefix_bytes = strlen(file->prefix),
    };
    struct wl_table table = {0};
    int rc;

    WL_ASSERT(file->size_bytes >= header.data_offset);
    if (text_bytes == 0 || text[0] != '{') {
        return wl_err_at(err, WLOAD_ERR_FORMAT, LENGTH_BYTES,
                         "'%s': the header at offset 8 does not begin with '{'", file->path);
    }
    rc = wl_json_open(text, text_bytes, file->path, LENGTH_BYTES, true, &header.entries, err);
    if (rc < 0) {
        return rc;
    }
    rc = fill(&header, &table, err);
    wl_json_close(&header.entries);
    wl_sys->free(header.dimensions);
    if (rc < 0) {
        wl_table_clear(&table);
        return rc;
    }
    *out = table;
    return WLOAD_OK;
}

/* Exactly `size_bytes` bytes; fewer mean that the file is shorter than it was. */
static int read_exactly(int fd, const struct wl_safetensors_file *file, void *target,
                        size_t size_bytes, uint64_t offset, struct wload_error *err)
{
    int64_t got = wl_sys_read(fd, target, size_bytes, offset);

    if (got < 0) {
        return wl_err_sys(err, (int)-got, "cannot read '%s' at offset %" PRIu64, file->path,
                          offset);
    }
    if (got < (int64_t)size_bytes) {
        return wl_err_at(err, WLOAD_ERR_IO, offset + (uint64_t)got,
                         "'%s' shrank to %" PRIu64 " bytes while its header was read", file->path,
                         offset + (uint64_t)got);
    }
    return WLOAD_OK;
}

int wl_safetensors_check_size(const struct wl_safetensors_file *file, struct wload_error *err)
{
    if (file->size_bytes < LENGTH_BYTES) {
        return wl_err_at(err, WLOAD_ERR_FORMAT, 0,
                         "'%s' has %" PRIu64 " bytes: too short for a header", file->path,
                         file->size_bytes);
    }
    return WLOAD_OK;
}

/* What a file is whose first bytes are a length beyond any header; NULL: nobody knows. */
static const char *other_format(const unsigned char *first)
{
    if (memcmp(first, "GGUF", 4) == 0) {
        return "GGUF";
    }
    if (memcmp(first, "PK\3\4", 4) == 0) {
        return "a ZIP archive, as PyTorch's .bin and .pt are";
    }
    if (first[0] == 0x80 && first[1] >= 2 && first[1] <= 5) {
        return "a pickle, as PyTorch's older .bin and .pt are";
    }
    if (memcmp(first, "version ", 8) == 0) {
        return "a pointer that `git lfs pull` replaces";
    }
    return NULL;
}

/* No header of the file can be as long as its first bytes say. */
static int refuse_length(const unsigned char *first, uint64_t said,
                         const struct wl_safetensors_file *file, struct wload_error *err)
{
    const char *other = said > WL_HEADER_BYTES_MAX ? other_format(first) : NULL;

    if (other) {
        return wl_err_at(
            err, WLOAD_ERR_FORMAT, 0,
            "'%s' is no safetensors file: it looks like %s; only safetensors files are loaded",
            file->path, other);
    }
    return wl_err_at(err, WLOAD_ERR_FORMAT, 0,
                     "'%s'%s: the length at offset 0 says a header of %" PRIu64
                     " bytes; the file has %" PRIu64 ", and a header %u at most",
                     file->path, said > WL_HEADER_BYTES_MAX ? " is no safetensors file" : "", said,
                     file->size_bytes, WL_HEADER_BYTES_MAX);
}

int wl_safetensors_length(const unsigned char first[WL_SAFETENSORS_LENGTH_BYTES],
                          const struct wl_safetensors_file *file, uint64_t *length,
                          struct wload_error *err)
{
    uint64_t said;

    memcpy(&said, first, sizeof(said));
    said = le64toh(said);
    if (said > WL_HEADER_BYTES_MAX || said > file->size_bytes - LENGTH_BYTES) {
        return refuse_length(first, said, file, err);
    }
    *length = said;
    return WLOAD_OK;
}

int wl_safetensors_read(int fd, const struct wl_safetensors_file *file, struct wl_table *out,
                        struct wload_error *err)
{
    unsigned char first[LENGTH_BYTES];
    uint64_t length = 0;
    char *text;
    int rc = wl_safetensors_check_size(file, err);

    rc = rc < 0 ? rc : read_exactly(fd, file, first, sizeof(first), 0, err);
    rc = rc < 0 ? rc : wl_safetensors_length(first, file, &length, err);
    if (rc < 0) {
        return rc;
    }
    text = wl_sys_array((size_t)length, 1);
    if (!text) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for a header of %" PRIu64 " bytes",
                          file->path, length);
    }
    rc = read_exactly(fd, file, text, (size_t)length, LENGTH_BYTES, err);
    if (rc == WLOAD_OK) {
        rc = wl_safetensors_parse(text, (size_t)length, file, out, err);
    }
    wl_sys->free(text);
    return rc;
}
