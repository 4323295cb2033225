/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: any bytes for a header are refused, or describe tensors that cover the data exactly.
 * Method: parse with far more data than any header means; the refusal says where the tensors end,
 * and a file that ends there must be accepted, one byte more or less refused.
 */
#include "loader/safetensors.h"

#include "base/base.h"
#include "fuzz_driver.h"

#define FAR (1ull << 60)

static int parse(const uint8_t *data, size_t size, uint64_t file_bytes, struct wl_table *out,
                 struct wload_error *err)
{
    struct wl_safetensors_file file = {.path = "input",
                                       .prefix = "part/",
                                       .size_bytes = file_bytes,
                                       .file_index = 7};
    char *text = malloc(size > 0 ? size : 1);
    int rc;

    CHECK(text != NULL);
    memcpy(text, data, size);
    rc = wl_safetensors_parse(text, size, &file, out, err);
    free(text);
    return rc;
}

static void check_tensor(const struct wload_tensor *tensor, uint64_t offset)
{
    uint64_t bits = tensor->element_bits;

    CHECK(strncmp(tensor->name, "part/", 5) == 0);
    CHECK(tensor->name[5] != '\0' && strlen(tensor->name) <= 5 + WL_NAME_BYTES_MAX);
    CHECK_EQ(tensor->file_index, 7);
    CHECK_EQ(tensor->file_offset, offset);
    CHECK(tensor->rank <= WL_RANK_MAX);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        bits *= tensor->shape[i];
    }
    CHECK_EQ(tensor->size_bytes * 8, bits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wload_error err = {0};
    struct wl_table table;
    uint64_t offset = 8 + size;
    uint64_t end;

    CHECK_EQ(parse(data, size, FAR, &table, &err), WLOAD_ERR_FORMAT);
    if (!strstr(err.message, "has bytes of no tensor")) {
        return 0;
    }
    end = err.file_offset;
    CHECK_OK(parse(data, size, end, &table, &err), &err);
    for (uint32_t i = 0; i < table.count; i++) {
        check_tensor(&table.tensors[i], offset);
        offset += table.tensors[i].size_bytes;
    }
    CHECK_EQ(offset, end);
    wl_table_clear(&table);
    CHECK_EQ(parse(data, size, end + 1, &table, &err), WLOAD_ERR_FORMAT);
    if (end > 8 + size) {
        CHECK_EQ(parse(data, size, end - 1, &table, &err), WLOAD_ERR_FORMAT);
        CHECK(strstr(err.message, "is truncated") != NULL);
    }
    return 0;
}
