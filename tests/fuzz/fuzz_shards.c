/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: any bytes for a shard index are refused, or name files that lie beside it.
 * Method: parse; of what is accepted, every name must be bare and sorted, and shards that hold
 * just what the index maps must satisfy it.
 */
#include "loader/shards.h"

#include "base/str.h"
#include "base/sys.h"
#include "fuzz_driver.h"

static void satisfy(struct wl_shards *shards, uint32_t shard)
{
    uint32_t count = shards->weight_map.count;
    struct wload_tensor *tensors = calloc(count + 1u, sizeof(*tensors));
    struct wl_table table = {.tensors = tensors};
    const char *first = NULL;

    CHECK(tensors != NULL);
    for (uint32_t i = 0; i < count; i++) {
        if (shards->places[i].shard == shard) {
            tensors[table.count++].name = wl_json_key(&shards->weight_map, i);
        }
    }
    tensors[table.count++].name = "in no index, for it is \xff no UTF-8";
    CHECK_EQ(wl_shards_take(shards, shard, 0, &table, &first), 1);
    CHECK(first == tensors[table.count].name || strstr(first, "in no index") != NULL);
    CHECK(table.count > 0);
    free(tensors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wload_error err = {0};
    struct wl_shards shards;
    char *text = wl_sys->alloc(size > 0 ? size : 1);
    int rc;

    CHECK(text != NULL);
    memcpy(text, data, size);
    rc = wl_shards_parse("input", text, size, &shards, &err);
    if (rc < 0) {
        CHECK_EQ(rc, WLOAD_ERR_FORMAT);
        return 0;
    }
    CHECK(shards.name_count > 0 && shards.name_count <= shards.weight_map.count);
    CHECK_EQ(wl_shards_check(&shards, &err), WLOAD_ERR_FORMAT);
    for (uint32_t i = 0; i < shards.name_count; i++) {
        const char *name = shards.names[i].text;

        CHECK(wl_str_is_file_name(name) && wl_str_ends(name, ".safetensors"));
        CHECK(i == 0 || strcmp(shards.names[i - 1].text, name) < 0);
        satisfy(&shards, i);
    }
    CHECK_OK(wl_shards_check(&shards, &err), &err);
    wl_shards_clear(&shards);
    return 0;
}
