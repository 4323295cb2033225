/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a shard index is read as it is meant, no name in it leaves its directory, and where it
 * and the shards disagree the index is followed.
 * Method: tables of indexes with the finding; tables of tensors held against an index.
 */
#include "loader/shards.h"

#include "base/base.h"
#include "base/sys.h"
#include "test.h"

static int parse(const char *text, struct wl_shards *out, struct wload_error *err)
{
    size_t size = strlen(text);
    char *copy = wl_sys->alloc(size > 0 ? size : 1);

    CHECK(copy != NULL);
    memcpy(copy, text, size);
    return wl_shards_parse("some.index.json", copy, size, out, err);
}

static void check_refused(void)
{
    static const struct {
        const char *text, *finding;
    } rows[] = {
        {"", "ends too early"},
        {"[]", "not an object"},
        {"{}", "has no object 'weight_map'"},
        {"{\"weight_map\":[]}", "has no object 'weight_map'"},
        {"{\"Weight_map\":{\"a\":\"a.safetensors\"}}", "has no object 'weight_map'"},
        {"{\"weight_map\":{}}", "maps no tensors"},
        {"{\"weight_map\":{\"a\":1}}", "entry 'a' at offset 15 has no string"},
        {"{\"weight_map\":{\"a\":null}}", "has no string"},
        {"{\"weight_map\":{\"a\":{\"b\":\"x.safetensors\"}}}", "has no string"},
        {"{\"weight_map\":{\"a\":\"../../etc/passwd\"}}",
         "entry 'a' at offset 15 names no bare *.safetensors file: '../../etc/passwd'"},
        {"{\"weight_map\":{\"a\":\"../x.safetensors\"}}", "names no bare"},
        {"{\"weight_map\":{\"a\":\"/x.safetensors\"}}", "names no bare"},
        {"{\"weight_map\":{\"a\":\"sub/x.safetensors\"}}", "names no bare"},
        {"{\"weight_map\":{\"a\":\"sub\\\\x.safetensors\"}}", "names no bare"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "names no bare"},
        {"{\"weight_map\":{\"a\":\"\"}}", "names no bare"},
        {"{\"weight_map\":{\"a\":\".x.safetensors\"}}", "names no bare"},
        {"{\"weight_map\":{\"a\":\"x.bin\"}}", "names no bare"},
        {"{\"weight_map\":{\"a\":\"x.safetensors\\n\"}}", "names no bare"},
        {"{\"weight_map\":{\"a\":\"x\\u0000.safetensors\"}}", "a NUL in a string"},
        {"{\"weight_map\":{\"a\":\"x.safetensors\",\"b\":\"y\"}}", "entry 'b' at offset 35"},
        {"{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"y.safetensors\"}}",
         "was there before: 'a'"},
        {"{\"weight_map\":{\"a\":\"x.safetensors\"},\"weight_map\":{}}", "was there before"},
        {"{\"metadata\":{\"a\":1,\"a\":2},\"weight_map\":{\"a\":\"x.safetensors\"}}",
         "was there before: 'a'"},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wload_error err = {0};
        struct wl_shards shards;
        int rc = parse(rows[i].text, &shards, &err);

        if (rc != WLOAD_ERR_FORMAT || strstr(err.message, rows[i].finding) == NULL ||
            strstr(err.message, "'some.index.json'") == NULL) {
            (void)fprintf(stderr, "%s: %d '%s'\n", rows[i].text, rc, err.message);
            exit(1);
        }
    }
}

/* Shards are sorted by name, whatever the order in which the map meets them. */
static void check_order(void)
{
    struct wload_error err = {0};
    struct wl_shards shards;

    CHECK_OK(parse("{\"metadata\":{\"total_size\":1.5e3},\"weight_map\":{"
                   "\"t1\":\"c.safetensors\",\"t2\":\"a.safetensors\",\"t3\":\"c.safetensors\","
                   "\"t4\":\"\\u0062.safetensors\",\"t5\":\"a.safetensors\"}}",
                   &shards, &err),
             &err);
    CHECK_EQ(shards.name_count, 3);
    CHECK_STR(shards.names[0].text, "a.safetensors");
    CHECK_STR(shards.names[1].text, "b.safetensors");
    CHECK_STR(shards.names[2].text, "c.safetensors");
    CHECK_EQ(shards.weight_map.count, 5);
    CHECK_EQ(shards.places[0].shard, 2);
    CHECK_EQ(shards.places[1].shard, 0);
    CHECK_EQ(shards.places[2].shard, 2);
    CHECK_EQ(shards.places[3].shard, 1);
    CHECK_EQ(shards.places[4].shard, 0);
    wl_shards_clear(&shards);
}

/* Hold `names` against shard `shard`; what is kept must be `kept`. */
static void take(struct wl_shards *shards, uint32_t shard, const char *const *names, uint32_t count,
                 const char *const *kept, uint32_t kept_count, const char *left_out)
{
    struct wload_tensor tensors[8] = {0};
    struct wl_table table = {.tensors = tensors, .count = count};
    const char *first = NULL;

    for (uint32_t i = 0; i < count; i++) {
        tensors[i].name = names[i];
    }
    CHECK_EQ(wl_shards_take(shards, shard, strlen("unet/"), &table, &first), count - kept_count);
    CHECK_EQ(table.count, kept_count);
    for (uint32_t i = 0; i < kept_count; i++) {
        CHECK_STR(tensors[i].name, kept[i]);
    }
    CHECK((first == NULL) == (left_out == NULL));
    if (left_out) {
        CHECK_STR(first, left_out);
    }
}

static void check_take(void)
{
    static const char *const first[] = {"unet/x", "unet/t2", "unet/both", "unet/t1", "unet/y"};
    static const char *const first_kept[] = {"unet/t2", "unet/t1"};
    static const char *const second[] = {"unet/both"};
    struct wload_error err = {0};
    struct wl_shards shards;

    CHECK_OK(parse("{\"weight_map\":{\"t1\":\"a.safetensors\",\"t2\":\"a.safetensors\","
                   "\"both\":\"b.safetensors\",\"lost\":\"b.safetensors\"}}",
                   &shards, &err),
             &err);
    take(&shards, 0, first, 5, first_kept, 2, "x");
    take(&shards, 1, second, 1, second, 1, NULL);
    CHECK_EQ(wl_shards_check(&shards, &err), WLOAD_ERR_FORMAT);
    CHECK(strstr(err.message, "entry 'lost' at offset") != NULL);
    CHECK(strstr(err.message, "is not in its shard 'b.safetensors'") != NULL);
    shards.places[3].is_found = true;
    CHECK_OK(wl_shards_check(&shards, &err), &err);
    wl_shards_clear(&shards);
}

static void check_many_shards(void)
{
    enum {
        ROW_BYTES = 48
    };
    char *text = malloc(((size_t)WL_FILES_MAX + 2) * ROW_BYTES);

    CHECK(text != NULL);
    for (uint32_t count = WL_FILES_MAX; count <= WL_FILES_MAX + 1; count++) {
        struct wload_error err = {0};
        struct wl_shards shards;
        size_t used = (size_t)snprintf(text, ROW_BYTES, "{\"weight_map\":{");
        int rc;

        for (uint32_t i = 0; i < count; i++) {
            used += (size_t)snprintf(text + used, ROW_BYTES, "\"t%u\":\"%u.safetensors\",", i, i);
        }
        memcpy(text + used - 1, "}}", 3);
        rc = parse(text, &shards, &err);
        if (count == WL_FILES_MAX) {
            CHECK_OK(rc, &err);
            CHECK_EQ(shards.name_count, WL_FILES_MAX);
            wl_shards_clear(&shards);
        } else {
            CHECK_EQ(rc, WLOAD_ERR_FORMAT);
            CHECK(strstr(err.message, "one shard too many") != NULL);
        }
    }
    free(text);
}

int main(void)
{
    check_refused();
    check_order();
    check_take();
    check_many_shards();
    return 0;
}
