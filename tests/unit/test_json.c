/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: JSON is accepted by the letter of RFC 8259 and the bounds of this house, and a
 * refusal says what is wrong and where.
 * Method: tables of texts with the finding and its offset, by the tree and by the list of
 * members; the bounds from both sides; a hostile number of keys within a fixed time.
 */
#include "base/json.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/sys.h"
#include "test.h"

#define AT 1000u /* of all texts in their "file" */

struct row {
    const char *text;
    const char *finding; /* NULL: accepted */
    uint64_t offset;
};

static const struct row rows[] = {
    {"{}", NULL, 0},
    {" \t\r\n{ \"a\" : [ 1 , -0.5e+10 , true , false , null , {} , [] ] } ", NULL, 0},
    {"{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD834\\uDD1E\"}", NULL, 0},
    {"{\"\xc3\xa9\":\"\xf0\x9f\x92\xa9\x7f\"}", NULL, 0},
    {"{\"a\":0,\"A\":0,\"\":0}", NULL, 0},
    {"{\"a\":{\"a\":{\"a\":1}}}", NULL, 0},
    {"{\"a\":1e308,\"b\":1E-400,\"c\":-0}", NULL, 0},
    {"", "ends too early", 0},
    {" ", "ends too early", 1},
    {"{", "a string was expected", 1},
    {"{\"a\"", "':' was expected", 4},
    {"{\"a\":", "ends too early", 5},
    {"{\"a\":1", "ends too early", 6},
    {"{\"a\":1,", "a string was expected", 7},
    {"{\"a\":1,}", "a string was expected", 7},
    {"{\"a\":[1,]}", "a value was expected", 8},
    {"{\"a\":[1 2]}", "',' was expected", 8},
    {"{\"a\":[1}", "',' was expected", 7},
    {"{\"a\":1]", "',' was expected", 6},
    {"{a:1}", "a string was expected", 1},
    {"{'a':1}", "a string was expected", 1},
    {"{\"a\":1}x", "something follows", 7},
    {"{\"a\":1}{}", "something follows", 7},
    {"\xef\xbb\xbf{}", "a value was expected", 0},
    {"{\"a\":\"b", "does not end", 7},
    {"{\"a\":\"\\\"}", "does not end", 9},
    {"{\"a\":\"1234567890\n\"}", "a control character", 16},
    {"{\"a\":\"\t\"}", "a control character", 6},
    {"{\"a\":\"\\x41\"}", "an unknown escape", 7},
    {"{\"a\":\"\\u12g4\"}", "not four hexadecimal digits", 7},
    {"{\"a\":\"\\u12", "not four hexadecimal digits", 7},
    {"{\"a\":\"\\u0000\"}", "a NUL in a string", 7},
    {"{\"\\u0000\":1}", "a NUL in a string", 3},
    {"{\"a\":\"\\ud800\"}", "a lone surrogate", 7},
    {"{\"a\":\"\\udc00\"}", "a lone surrogate", 7},
    {"{\"a\":\"\\ud800\\ud800\"}", "a lone surrogate", 7},
    {"{\"a\":\"\\ud800x\"}", "a lone surrogate", 7},
    {"{\"a\":\"\\ud83d\\u", "a lone surrogate", 7},
    {"{\"a\":\"12345678\xff\"}", "not UTF-8", 14},
    {"{\"a\":\"\xed\xa0\x80\"}", "not UTF-8", 6},
    {"{\"a\":\"\xc0\x80\"}", "not UTF-8", 6},
    {"{\"a\":01}", "',' was expected", 6},
    {"{\"a\":1.}", "a digit was expected", 7},
    {"{\"a\":.5}", "a value was expected", 5},
    {"{\"a\":+1}", "a value was expected", 5},
    {"{\"a\":-}", "a digit was expected", 6},
    {"{\"a\":1e}", "a digit was expected", 7},
    {"{\"a\":0x1}", "',' was expected", 6},
    {"{\"a\":NaN}", "a value was expected", 5},
    {"{\"a\":Infinity}", "a value was expected", 5},
    {"{\"a\":nul}", "a value was expected", 5},
    {"{\"a\":True}", "a value was expected", 5},
    {"{\"a\":1/**/}", "',' was expected", 6},
    {"{\"a\":1,\"a\":2}", "was there before: 'a'", 7},
    {"{\"a\":1,\"\\u0061\":2}", "was there before: 'a'", 7},
    {"{\"x\":[{\"b\":1},{\"c\":1,\"d\":2,\"c\":3}]}", "was there before: 'c'", 27},
    {"{\"x\":1e999}", "too large", 1},
    {"{\"x\":{\"y\":[1,-1e400]}}", "too large", 6},
};

static void check_refusal(const struct row *row, int rc, const struct wload_error *err)
{
    if (rc != WLOAD_ERR_FORMAT || strstr(err->message, row->finding) == NULL ||
        strstr(err->message, "'some file'") == NULL || err->file_offset != AT + row->offset) {
        (void)fprintf(stderr, "%s: %d '%s' at %" PRIu64 "\n", row->text, rc, err->message,
                      err->file_offset);
        exit(1);
    }
}

static void check_tree(const struct row *row)
{
    struct wload_error err = {0};
    cJSON *root = NULL;
    int rc = wl_json_parse(row->text, strlen(row->text), "some file", AT, &root, &err);

    if (row->finding) {
        check_refusal(row, rc, &err);
        CHECK(root == NULL);
    } else {
        CHECK_OK(rc, &err);
        cJSON_Delete(root);
    }
}

/* The same text as a list of members, each value as a tree. */
static void check_object(const struct row *row)
{
    struct wload_error err = {0};
    struct wl_json_object object;
    char *text = malloc(strlen(row->text) + 1); /* so that a read beyond the end is caught */
    int rc;

    CHECK(text != NULL);
    memcpy(text, row->text, strlen(row->text));
    rc = wl_json_open(text, strlen(row->text), "some file", AT, false, &object, &err);
    if (rc == WLOAD_OK) {
        for (uint32_t i = 0; i < object.count && rc == WLOAD_OK; i++) {
            cJSON *value = NULL;

            rc = wl_json_value(&object, i, &value, &err);
            cJSON_Delete(value);
        }
        wl_json_close(&object);
    }
    if (!row->finding) {
        CHECK_OK(rc, &err);
    } else if (strstr(row->finding, "too large") != NULL) {
        CHECK_EQ(rc, WLOAD_ERR_FORMAT); /* a value alone has other keys before it */
    } else {
        check_refusal(row, rc, &err);
    }
    free(text);
}

/* Bytes that C strings cannot hold. */
static void check_nul(void)
{
    static const char texts[][8] = {"{\"a\0\":1}", "{}\0", "\0{}", "{\"a\":\0"};
    struct wload_error err = {0};
    cJSON *root;

    for (size_t i = 0; i < WL_COUNT_OF(texts); i++) {
        CHECK_EQ(wl_json_parse(texts[i], sizeof(texts[i]), "x", 0, &root, &err), WLOAD_ERR_FORMAT);
    }
}

static int parse_nested(unsigned depth, const char *open, const char *inner, const char *close)
{
    static char text[16384];
    struct wload_error err = {0};
    cJSON *root;
    size_t used = 0;
    int rc;

    for (unsigned i = 0; i < depth; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", open);
    }
    used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", inner);
    for (unsigned i = 0; i < depth; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", close);
    }
    rc = wl_json_parse(text, used, "x", 0, &root, &err);
    if (rc == WLOAD_OK) {
        cJSON_Delete(root);
    } else {
        CHECK(strstr(err.message, "nested too deeply") != NULL);
    }
    return rc;
}

static void check_bounds(void)
{
    struct wload_error err = {0};
    struct wl_json_object object;
    char number[100];
    cJSON *root;

    CHECK_EQ(parse_nested(WL_JSON_DEPTH_MAX, "[", "", "]"), WLOAD_OK);
    CHECK_EQ(parse_nested(WL_JSON_DEPTH_MAX + 1, "[", "", "]"), WLOAD_ERR_FORMAT);
    CHECK_EQ(parse_nested(WL_JSON_DEPTH_MAX, "{\"a\":", "1", "}"), WLOAD_OK);
    CHECK_EQ(parse_nested(WL_JSON_DEPTH_MAX + 1, "{\"a\":", "1", "}"), WLOAD_ERR_FORMAT);
    CHECK_EQ(parse_nested(2000, "[", "", "]"), WLOAD_ERR_FORMAT);

    memset(number, '1', sizeof(number));
    CHECK_OK(wl_json_parse(number, 63, "x", 0, &root, &err), &err);
    cJSON_Delete(root);
    CHECK_EQ(wl_json_parse(number, 64, "x", 0, &root, &err), WLOAD_ERR_FORMAT);
    CHECK(strstr(err.message, "more than 63") != NULL);

    CHECK_EQ(wl_json_open((char[]){"[1]"}, 3, "x", 0, false, &object, &err), WLOAD_ERR_FORMAT);
    CHECK(strstr(err.message, "not an object") != NULL);
}

/* More values than any header needs are refused before memory is taken for them. */
static void check_node_bound(void)
{
    size_t size = 2 * (size_t)WL_JSON_NODES_MAX + 2;
    char *text = malloc(size);
    struct wload_error err = {0};
    cJSON *root;

    CHECK(text != NULL);
    for (size_t i = 0; i < size; i += 2) {
        memcpy(text + i, "0,", 2);
    }
    text[0] = '[';
    text[1] = ' ';
    text[size - 1] = ']';
    CHECK_EQ(wl_json_parse(text, size, "x", 0, &root, &err), WLOAD_ERR_FORMAT);
    CHECK(strstr(err.message, "too many values") != NULL);
    free(text);
}

static void check_whole(void)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"0", 0},      {"7", 7},      {"2.0", 2},   {"9007199254740991", 9007199254740991},
        {"1e3", 1000}, {"-1", -1},    {"0.5", -1},  {"9007199254740992", -1},
        {"1e300", -1}, {"\"1\"", -1}, {"null", -1}, {"9007199254740993", -1},
        {"[1]", -1},
    };
    static const char *const not_whole[] = {"{\"a\":-0}", "{\"a\":1.0}", "{\"a\":1e3}",
                                            "{\"a\":[-1]}", "{\"a\":0E0}"};
    struct wload_error err = {0};

    for (size_t i = 0; i < WL_COUNT_OF(cases); i++) {
        cJSON *root;

        CHECK_OK(wl_json_parse(cases[i].text, strlen(cases[i].text), "x", 0, &root, &err), &err);
        CHECK_EQ(wl_json_whole(root), cases[i].value);
        cJSON_Delete(root);
    }
    CHECK_EQ(wl_json_whole(NULL), -1);
    for (size_t i = 0; i < WL_COUNT_OF(not_whole); i++) {
        struct wl_json_object object;
        char text[16];

        (void)snprintf(text, sizeof(text), "%s", not_whole[i]);
        CHECK_EQ(wl_json_open(text, strlen(text), "x", 0, true, &object, &err), WLOAD_ERR_FORMAT);
        CHECK(strstr(err.message, "not a whole number") != NULL);
    }
}

static void check_members(void)
{
    char text[] = " {\"a\":[1], \"\\u00e9\\n\" : \"v\\u0041\" ,\"in\":{\"x\":\"y\",\"z\":2}}";
    struct wload_error err = {0};
    struct wl_json_object object;
    struct wl_json_object inner;
    const char *string;
    int64_t x_at = strstr(text, "\"x\"") - text;
    uint32_t number;
    cJSON *value;

    CHECK_OK(wl_json_open(text, sizeof(text) - 1, "x", 100, false, &object, &err), &err);
    CHECK_EQ(object.count, 3);
    CHECK_STR(wl_json_key(&object, 0), "a");
    CHECK_STR(wl_json_key(&object, 1), "\xc3\xa9\n");
    CHECK_EQ(wl_json_offset(&object, 0), 102);
    CHECK(wl_map_find(&object.keys, "in", &number));
    CHECK_EQ(number, 2);
    CHECK_OK(wl_json_value(&object, 0, &value, &err), &err);
    CHECK_EQ(wl_json_whole(value->child), 1);
    CHECK(wl_json_member(value, "a") == NULL);
    cJSON_Delete(value);
    CHECK_OK(wl_json_string(&object, 0, &string, &err), &err);
    CHECK(string == NULL);
    CHECK_OK(wl_json_string(&object, 1, &string, &err), &err);
    CHECK_STR(string, "vA");

    CHECK_OK(wl_json_open_member(&object, "in", &inner, &err), &err);
    CHECK_EQ(inner.count, 2);
    CHECK_STR(wl_json_key(&inner, 1), "z");
    CHECK_EQ(wl_json_offset(&inner, 0), 100 + x_at);
    wl_json_close(&inner);
    CHECK_EQ(wl_json_open_member(&object, "a", &inner, &err), WLOAD_ERR_FORMAT);
    CHECK_EQ(wl_json_open_member(&object, "none", &inner, &err), WLOAD_ERR_FORMAT);
    CHECK(strstr(err.message, "has no object 'none'") != NULL);
    wl_json_close(&object);
}

/* Strings that nobody asks for may hold escapes without a character; keys may not. */
static void check_pick(void)
{
    static const struct row picks[] = {
        {"{\"x\":[\"\\ud83d\",\"\\u0000\",{\"b\":\"\\udc00\\ud800x\"}],\"a\":\"v\\u0041\"}", NULL,
         0},
        {"{\"a\":\"vA\",\"x\":\"\\ud83d\\ude00\\ud83d\"}", NULL, 0},
        {"{\"a\":\"\\ud83d\"}", "a lone surrogate", 7},
        {"{\"a\":\"x\\u0000\"}", "a NUL in a string", 8},
        {"{\"a\":\"x\",\"\\ud83d\":1}", "a lone surrogate", 11},
        {"{\"a\":\"x\",\"b\":{\"\\u0000\":1}}", "a NUL in a string", 16},
        {"{\"a\":\"x\",\"b\":\"\\u12g4\"}", "not four hexadecimal digits", 15},
        {"{\"a\":\"x\",\"b\":\"\\ud83d", "does not end", 20},
        {"{\"a\":\"x\",\"b\":\"\xed\xa0\x80\"}", "not UTF-8", 14},
        {"{\"a\":\"x\",\"a\":\"\\ud83d\"}", "was there before: 'a'", 9},
        {"[\"\\ud83d\"]", "not an object", 0},
    };
    struct wload_error err = {0};
    const char *string;
    char text[64];

    for (size_t i = 0; i < WL_COUNT_OF(picks); i++) {
        const struct row *row = &picks[i];
        int rc;

        (void)snprintf(text, sizeof(text), "%s", row->text);
        string = "untouched";
        rc = wl_json_pick(text, strlen(text), "x", "a", &string, &err);
        CHECK_EQ(rc, row->finding ? WLOAD_ERR_FORMAT : WLOAD_OK);
        CHECK_STR(string, row->finding ? "untouched" : "vA");
        CHECK(!row->finding || strstr(err.message, row->finding) != NULL);
        CHECK(!row->finding || err.file_offset == row->offset);
    }
    CHECK_OK(wl_json_pick((char[]){"{\"b\":\"\"}"}, 8, "x", "a", &string, &err), &err);
    CHECK(string == NULL);
    CHECK_OK(wl_json_pick((char[]){"{\"a\":[1]}"}, 9, "x", "a", &string, &err), &err);
    CHECK(string == NULL);
}

/* Quadratic work on this many keys would take minutes. */
static void check_many_keys(void)
{
    enum {
        COUNT = 300000,
        BYTES = 16
    };
    char *text = malloc(COUNT * BYTES + 2);
    struct wload_error err = {0};
    int64_t begin = wl_clock_cpu_ns();
    cJSON *root;
    size_t used = 1;

    CHECK(text != NULL);
    text[0] = '{';
    for (unsigned i = 0; i < COUNT; i++) {
        used += (size_t)snprintf(text + used, BYTES, "\"k%07u\":%u,", i, i % 10);
    }
    text[used - 1] = '}';
    CHECK_OK(wl_json_parse(text, used, "x", 0, &root, &err), &err);
    cJSON_Delete(root);
    memcpy(strstr(text, "\"k0299999\""), "\"k0000000\"", 10);
    CHECK_EQ(wl_json_parse(text, used, "x", 0, &root, &err), WLOAD_ERR_FORMAT);
    CHECK(strstr(err.message, "was there before: 'k0000000'") != NULL);
    CHECK_EQ(err.file_offset, strstr(text + 2, "\"k0000000\"") - text);
    CHECK(wl_clock_cpu_ns() - begin < 20 * (int64_t)1000000000);
    free(text);
}

int main(void)
{
    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        check_tree(&rows[i]);
        check_object(&rows[i]);
    }
    check_nul();
    check_bounds();
    check_node_bound();
    check_whole();
    check_members();
    check_pick();
    check_many_keys();
    return 0;
}
