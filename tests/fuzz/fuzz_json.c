/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: any bytes are JSON or are not, and the readers of it say the same.
 * Method: parse as a tree, member by member, and for one string of it; what is accepted, printed
 * again, must be accepted and print the same.
 */
#include "base/json.h"
#include "fuzz_driver.h"

/* As wl_json_open() has it: only objects, and each value by itself. */
static int parse_members(const uint8_t *data, size_t size, struct wload_error *err)
{
    struct wl_json_object object;
    char *text = malloc(size > 0 ? size : 1);
    int rc;

    CHECK(text != NULL);
    memcpy(text, data, size);
    rc = wl_json_open(text, size, "input", 0, false, &object, err);
    if (rc == WLOAD_OK) {
        for (uint32_t i = 0; i < object.count && rc == WLOAD_OK; i++) {
            cJSON *value = NULL;
            uint32_t number;

            CHECK(wl_map_find(&object.keys, wl_json_key(&object, i), &number) && number == i);
            rc = wl_json_value(&object, i, &value, err);
            cJSON_Delete(value);
        }
        wl_json_close(&object);
    }
    free(text);
    return rc;
}

/* The string of the key "a", which must be that of the tree if there is one. */
static void check_pick(const uint8_t *data, size_t size, const cJSON *root)
{
    const cJSON *member = root ? wl_json_member(root, "a") : NULL;
    struct wload_error err = {0};
    const char *string = NULL;
    char *text = malloc(size > 0 ? size : 1);
    int rc;

    CHECK(text != NULL);
    memcpy(text, data, size);
    rc = wl_json_pick(text, size, "input", "a", &string, &err);
    if (rc < 0) {
        CHECK_EQ(rc, WLOAD_ERR_FORMAT);
        CHECK(!cJSON_IsObject(root) && err.file_offset <= size);
    } else if (string) {
        CHECK(strlen(string) < size);
    }
    if (root) {
        CHECK((string != NULL) == cJSON_IsString(member));
        CHECK(!string || strcmp(string, member->valuestring) == 0);
    }
    free(text);
}

static void check_printed(const cJSON *root)
{
    struct wload_error err = {0};
    char *printed = cJSON_PrintUnformatted(root);
    char *again;
    cJSON *copy;

    CHECK(printed != NULL);
    CHECK_OK(wl_json_parse(printed, strlen(printed), "printed", 0, &copy, &err), &err);
    again = cJSON_PrintUnformatted(copy);
    CHECK_STR(again, printed);
    cJSON_free(again);
    cJSON_free(printed);
    cJSON_Delete(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wload_error err = {0};
    cJSON *root = NULL;
    int rc = wl_json_parse((const char *)data, size, "input", 0, &root, &err);

    check_pick(data, size, root);
    if (rc < 0) {
        CHECK_EQ(rc, WLOAD_ERR_FORMAT);
        CHECK(err.file_offset <= size);
        CHECK_EQ(parse_members(data, size, &err), WLOAD_ERR_FORMAT);
        CHECK(err.file_offset <= size);
        return 0;
    }
    if (cJSON_IsObject(root)) {
        CHECK_OK(parse_members(data, size, &err), &err);
    }
    check_printed(root);
    cJSON_Delete(root);
    return 0;
}
