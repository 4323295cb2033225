/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every rule of the safetensors format is kept, and a refusal names file, entry and offset;
 * what is odd but allowed is read as it is meant.
 * Method: tables of headers with the finding; every dtype at its size; the file around the header
 * cut, lengthened and lied about.
 */
#include "loader/safetensors.h"

#include <endian.h>

#include "base/base.h"
#include "base/sys.h"
#include "tree.h"

#define T(dtype, shape, begin, end) \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"

struct row {
    const char *header;
    uint64_t data_bytes;
    const char *finding;
    uint64_t offset; /* in the file; 0: not looked at */
};

static const struct row refused[] = {
    {"", 0, "does not begin with '{'", 8},
    {" {}", 0, "does not begin with '{'", 8},
    {"[]", 0, "does not begin with '{'", 8},
    {"null", 0, "does not begin with '{'", 8},
    {"{}x", 0, "invalid JSON at offset 10: something follows", 10},
    {"{\"\xff\":1}", 0, "not UTF-8", 10},
    {"{\"a\":" T("U8", "1", 0, 1) ",\"a\":" T("U8", "1", 1, 2) "}", 2, "was there before: 'a'", 0},
    {"{\"__metadata__\":null,\"__metadata__\":null}", 0, "was there before", 0},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     "was there before: 'shape'", 39},
    {"{\"a\\u0000b\":" T("U8", "1", 0, 1) "}", 1, "a NUL in a string", 0},

    {"{\"a\":1}", 0, "entry 'a' at offset 9: not an object", 9},
    {"{\"a\":null}", 0, "not an object", 9},
    {"{\"a\":[\"U8\",[1],[0,1]]}", 1, "not an object", 9},
    {"{\"\":" T("U8", "1", 0, 1) "}", 1, "a name has 1 to 4096 bytes", 9},
    {"{\"__metadata__\":[]}", 0, "not an object", 9},
    {"{\"__metadata__\":{\"a\":1}}", 0, "not a string: a", 9},
    {"{\"__metadata__\":{\"a\":null}}", 0, "not a string: a", 9},
    {"{\"__metadata__\":" T("U8", "1", 0, 1) "}", 1, "not a string: shape", 9},

    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "it has no dtype", 9},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "it has no shape", 9},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "it has no data_offsets", 9},
    {"{\"a\":{\"Dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "it has no dtype", 9},
    {"{\"a\":{\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is not a string", 9},
    {"{\"a\":" T("u8", "1", 0, 1) "}", 1, "unknown dtype u8", 9},
    {"{\"a\":" T("F8_E4M3FN", "1", 0, 1) "}", 1, "unknown dtype F8_E4M3FN", 9},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}", 1, "shape is not an array",
     9},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":{},\"data_offsets\":[0,1]}}", 1, "shape is not an array",
     9},
    {"{\"a\":" T("U8", "\"1\"", 0, 1) "}", 1, "a dimension is not a whole number", 9},
    {"{\"a\":" T("U8", "9007199254740992", 0, 1) "}", 1, "a dimension is not a whole number", 9},
    {"{\"a\":" T("U8", "18446744073709551617", 0, 1) "}", 1, "a dimension is not", 9},
    {"{\"a\":" T("U8", "-1", 0, 1) "}", 1, "not a whole number", 36},
    {"{\"a\":" T("U8", "1.0", 0, 1) "}", 1, "not a whole number", 36},
    {"{\"a\":" T("U8", "1e0", 0, 1) "}", 1, "not a whole number", 36},
    {"{\"a\":" T("U8", "01", 0, 1) "}", 1, "',' was expected", 37},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1.5}}", 1,
     "not a whole number", 0},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "not two whole numbers",
     9},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[]}}", 1, "not two whole numbers", 9},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}}", 1, "not two whole", 9},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":{}}}", 1, "not two whole numbers", 9},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,\"1\"]}}", 1, "not two whole", 9},
    {"{\"a\":" T("U8", "1", 0, 9007199254740993) "}", 1, "not two whole numbers", 9},

    {"{\"a\":" T("U8", "1", 1, 2) "}", 2,
     "tensor 'a' at offset 62 (data_offsets 1, 2) leaves a hole", 62},
    {"{\"a\":" T("U8", "2", 0, 2) ",\"b\":" T("U8", "2", 1, 3) "}", 3, "'b' at offset", 0},
    {"{\"a\":" T("U8", "2", 0, 2) ",\"b\":" T("U8", "2", 1, 3) "}", 3, "overlaps the one before",
     0},
    {"{\"a\":" T("U8", "1", 0, 1) ",\"b\":" T("U8", "1", 0, 1) "}", 1, "overlaps", 0},
    {"{\"a\":" T("U8", "1", 0, 1) ",\"b\":" T("U8", "1", 2, 3) "}", 3, "leaves a hole", 0},
    {"{\"a\":" T("U8", "1", 1, 0) "}", 1, "ends before it begins", 0},
    {"{\"a\":" T("U8", "2", 0, 1) "}", 1, "another size than its shape and dtype say", 0},
    {"{\"a\":" T("F32", "", 0, 8) "}", 8, "another size", 0},
    {"{\"a\":" T("U8", "0", 0, 1) "}", 1, "another size", 0},
    {"{\"a\":" T("F64", "4503599627370496,4503599627370496", 0, 8) "}", 8, "more than 2^64 bits",
     0},
    {"{\"a\":" T("F64", "4503599627370496,64", 0, 0) "}", 0, "more than 2^64 bits", 0},
    {"{\"a\":" T("U8", "4503599627370496,4503599627370496,0", 0, 0) "}", 0, "more than 2^64 bits",
     0},
    {"{\"a\":" T("F4", "3", 0, 1) "}", 1, "does not fill whole bytes", 0},
    {"{\"a\":" T("F6_E2M3", "2", 0, 1) "}", 1, "does not fill whole bytes", 0},
    {"{\"a\":" T("U8", "1", 0, 1) "}", 0, "is truncated: its tensors end at offset 62", 61},
    {"{\"a\":" T("U8", "1", 0, 1) "}", 2, "has bytes of no tensor", 62},
    {"{}", 1, "has bytes of no tensor", 10},
};

static int parse(const char *header, uint64_t data_bytes, const char *prefix, struct wl_table *out,
                 struct wload_error *err)
{
    size_t bytes = strlen(header);
    char *text = malloc(bytes); /* not one byte more, so that reads beyond it are caught */
    struct wl_safetensors_file file = {.path = "some.safetensors",
                                       .prefix = prefix,
                                       .size_bytes = 8 + bytes + data_bytes,
                                       .file_index = 3};
    int rc;

    CHECK(bytes == 0 || text != NULL);
    memcpy(text, header, bytes);
    rc = wl_safetensors_parse(text, bytes, &file, out, err);
    free(text);
    return rc;
}

static void check_refused(void)
{
    for (size_t i = 0; i < WL_COUNT_OF(refused); i++) {
        struct wload_error err = {0};
        struct wl_table table = {0};
        int rc = parse(refused[i].header, refused[i].data_bytes, "", &table, &err);

        if (rc != WLOAD_ERR_FORMAT || strstr(err.message, refused[i].finding) == NULL ||
            strstr(err.message, "'some.safetensors'") == NULL ||
            (refused[i].offset > 0 && err.file_offset != refused[i].offset)) {
            (void)fprintf(stderr, "%s: %d '%s' at %" PRIu64 "\n", refused[i].header, rc,
                          err.message, err.file_offset);
            exit(1);
        }
        CHECK(table.tensors == NULL && table.memory == NULL);
    }
}

/* A name at its bounds, with a header that is built for it. */
static int parse_name(size_t bytes)
{
    static char header[8192];
    struct wload_error err = {0};
    struct wl_table table;
    int rc;

    header[0] = '{';
    header[1] = '"';
    memset(header + 2, 'n', bytes);
    (void)snprintf(header + 2 + bytes, sizeof(header) - 2 - bytes, "\":%s}", T("U8", "1", 0, 1));
    rc = parse(header, 1, "", &table, &err);
    if (rc == WLOAD_OK) {
        CHECK_EQ(strlen(table.tensors[0].name), bytes);
        wl_table_clear(&table);
    }
    return rc;
}

static int parse_rank(unsigned rank)
{
    char header[1024] = "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1],\"shape\":[";
    struct wload_error err = {0};
    struct wl_table table;
    size_t used = strlen(header);
    int rc;

    for (unsigned i = 0; i < rank; i++) {
        used += (size_t)snprintf(header + used, sizeof(header) - used, "%s1", i > 0 ? "," : "");
    }
    (void)snprintf(header + used, sizeof(header) - used, "]}}");
    rc = parse(header, 1, "", &table, &err);
    if (rc == WLOAD_OK) {
        CHECK_EQ(table.tensors[0].rank, rank);
        CHECK_EQ(table.tensors[0].shape[rank - 1], 1);
        wl_table_clear(&table);
    } else {
        CHECK(strstr(err.message, "more than 64 dimensions") != NULL);
    }
    return rc;
}

static void check_bounds(void)
{
    CHECK_EQ(parse_name(1), WLOAD_OK);
    CHECK_EQ(parse_name(WL_NAME_BYTES_MAX), WLOAD_OK);
    CHECK_EQ(parse_name(WL_NAME_BYTES_MAX + 1), WLOAD_ERR_FORMAT);
    CHECK_EQ(parse_rank(WL_RANK_MAX), WLOAD_OK);
    CHECK_EQ(parse_rank(WL_RANK_MAX + 1), WLOAD_ERR_FORMAT);
    CHECK_EQ(parse_rank(300), WLOAD_ERR_FORMAT);
}

/* Odd, and allowed. */
static void check_accepted(void)
{
    static const struct {
        const char *header;
        uint64_t data_bytes;
        uint32_t count;
    } rows[] = {
        {"{}", 0, 0},
        {"{} \n\t\r ", 0, 0},
        {"{\"__metadata__\":null}", 0, 0},
        {"{\"__metadata__\":{\"format\":\"pt\",\"\":\"\"}}", 0, 0},
        {"{\"a\":{\"data_offsets\":[0,1],\"x\":{\"y\":[null]},\"shape\":[1],\"dtype\":\"U8\"}}", 1,
         1},
        {"{\"a\":{\"dtype\":\"\\u00558\",\"sh\\u0061pe\":[1],\"data_offsets\":[0,1]}}", 1, 1},
        {"{\"a\":" T("F32", "", 0, 4) "}", 4, 1},
        {"{\"a\":" T("F32", "0,9007199254740991", 0, 0) "}", 0, 1},
        {"{\"a\":" T("U8", "1", 0, 1) ",\"b\":" T("F64", "1", 1, 9) "}", 9, 2}, /* unaligned */
        {"{\"b\":" T("U8", "1", 1, 2) ",\"a\":" T("U8", "1", 0, 1) "}", 2, 2},  /* out of order */
        {"{\"e\":" T("U8", "0", 1, 1) ",\"b\":" T("U8", "1", 1, 2) ",\"a\":" T(
             "U8", "1", 0, 1) ",\"f\":" T("U8", "0", 2, 2) ",\"d\":" T("U8", "0", 0, 0) "}",
         2, 5},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wload_error err = {0};
        struct wl_table table;

        CHECK_OK(parse(rows[i].header, rows[i].data_bytes, "", &table, &err), &err);
        CHECK_EQ(table.count, rows[i].count);
        for (uint32_t k = 1; k < table.count; k++) {
            CHECK(table.tensors[k - 1].file_offset <= table.tensors[k].file_offset);
        }
        wl_table_clear(&table);
    }
}

static void check_fields(void)
{
    static const char header[] =
        "{\"z\":" T("BF16", "2,3", 4, 16) ",\"\xc3\xa9/\\n\":" T("F32", "", 0, 4) "}";
    const uint64_t data = 8 + sizeof(header) - 1;
    struct wload_error err = {0};
    struct wl_table table;

    CHECK_OK(parse(header, 16, "unet/", &table, &err), &err);
    CHECK_EQ(table.count, 2);
    CHECK_STR(table.tensors[0].name, "unet/\xc3\xa9/\n");
    CHECK_EQ(table.tensors[0].rank, 0);
    CHECK_EQ(table.tensors[0].size_bytes, 4);
    CHECK_EQ(table.tensors[0].file_offset, data);
    CHECK_STR(table.tensors[1].name, "unet/z");
    CHECK_STR(table.tensors[1].dtype_name, "BF16");
    CHECK_EQ(table.tensors[1].dtype, WLOAD_BF16);
    CHECK_EQ(table.tensors[1].element_bits, 16);
    CHECK_EQ(table.tensors[1].file_index, 3);
    CHECK_EQ(table.tensors[1].rank, 2);
    CHECK_EQ(table.tensors[1].shape[0], 2);
    CHECK_EQ(table.tensors[1].shape[1], 3);
    CHECK_EQ(table.tensors[1].file_offset, data + 4);
    CHECK_EQ(table.tensors[1].size_bytes, 12);
    wl_table_clear(&table);
}

/* Sixteen elements of every dtype fill twice as many bytes as one element has bits. */
static void check_dtypes(void)
{
    static const struct {
        const char *name;
        uint32_t value, bits;
    } dtypes[] = {
#define ROW(name, value, bits) {#name, value, bits},
        WLOAD_DTYPE_MAP(ROW)
#undef ROW
    };

    for (size_t i = 0; i < WL_COUNT_OF(dtypes); i++) {
        struct wload_error err = {0};
        struct wl_table table;
        char header[128];
        uint64_t bytes = 2ull * dtypes[i].bits;

        (void)snprintf(header, sizeof(header),
                       "{\"a\":{\"dtype\":\"%s\",\"shape\":[2,8],\"data_offsets\":[0,%" PRIu64
                       "]}}",
                       dtypes[i].name, bytes);
        CHECK_OK(parse(header, bytes, "", &table, &err), &err);
        CHECK_STR(table.tensors[0].dtype_name, dtypes[i].name);
        CHECK_EQ(table.tensors[0].dtype, dtypes[i].value);
        CHECK_EQ(table.tensors[0].element_bits, dtypes[i].bits);
        CHECK_EQ(table.tensors[0].size_bytes, bytes);
        wl_table_clear(&table);
    }
    CHECK_EQ(WL_COUNT_OF(dtypes), 22);
}

/* Read a file whose first eight bytes say `length`, of `size` bytes in all. */
static int read_file(uint64_t length, const char *rest, size_t size, uint64_t claimed_bytes,
                     struct wload_error *err)
{
    unsigned char bytes[64] = {0};
    struct wl_safetensors_file file = {.path = "x.safetensors",
                                       .prefix = "",
                                       .size_bytes = claimed_bytes};
    struct wl_table table;
    int fd;
    int rc;

    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(length >> (8 * i));
    }
    memcpy(bytes + 8, rest, strlen(rest));
    tree_write("x.safetensors", bytes, size);
    fd = open(tree_path("x.safetensors"), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    rc = wl_safetensors_read(fd, &file, &table, err);
    CHECK_EQ(close(fd), 0);
    if (rc == WLOAD_OK) {
        wl_table_clear(&table);
    }
    return rc;
}

static void check_files(void)
{
    static const uint64_t lengths[] = {
        3,          4,          100000000,      100000001,      1ull << 32,
        1ull << 63, UINT64_MAX, UINT64_MAX - 7, UINT64_MAX - 8, 1ull << 53,
        11,
    };
    struct wload_error err = {0};

    CHECK_OK(read_file(2, "{}", 10, 10, &err), &err);
    for (size_t size = 0; size < 8; size++) {
        CHECK_EQ(read_file(2, "{}", size, size, &err), WLOAD_ERR_FORMAT);
        CHECK(strstr(err.message, "too short for a header") != NULL);
    }
    for (size_t i = 0; i < WL_COUNT_OF(lengths); i++) {
        CHECK_EQ(read_file(lengths[i], "{}", 10, 10, &err), WLOAD_ERR_FORMAT);
        CHECK(strstr(err.message, "says a header of") != NULL);
    }
    CHECK_EQ(read_file(0, "", 8, 8, &err), WLOAD_ERR_FORMAT);
    CHECK(strstr(err.message, "does not begin with '{'") != NULL);

    /* The file is shorter than fstat said. */
    CHECK_EQ(read_file(2, "{}", 9, 10, &err), WLOAD_ERR_IO);
    CHECK(strstr(err.message, "shrank to 9 bytes") != NULL);
    CHECK_EQ(err.file_offset, 9);
    CHECK_EQ(read_file(2, "{}", 4, 10, &err), WLOAD_ERR_IO);
}

#define NONE "'x.safetensors' is no safetensors file: "

/* A length that can be none is named for the format that begins so. */
static void check_other_formats(void)
{
    static const struct {
        const char *first; /* eight bytes */
        const char *finding;
    } rows[] = {
        {"GGUF\3\0\0\0", NONE "it looks like GGUF;"},
        {"PK\3\4\0\0\10\10", NONE "it looks like a ZIP archive"},
        {"\200\2\212\12l\374\234F", NONE "it looks like a pickle"},
        {"\200\5\225\13\0\0\0\1", NONE "it looks like a pickle"},
        {"version https", NONE "it looks like a pointer that `git lfs pull` replaces"},
        {"\200\1\1\1\1\1\1\1", NONE "the length at offset 0 says a header of 72340172838076800"},
        {"{\"a\": 1}", NONE "the length at offset 0 says a header of"},
        {"\200\2\0\0\0\0\0\0",
         "'x.safetensors': the length at offset 0 says a header of 640 bytes"},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wload_error err = {0};
        uint64_t length;

        memcpy(&length, rows[i].first, sizeof(length));
        CHECK_EQ(read_file(le64toh(length), "", 32, 32, &err), WLOAD_ERR_FORMAT);
        CHECK(strstr(err.message, rows[i].finding) == err.message);
        CHECK_EQ(err.file_offset, 0);
    }
}

int main(void)
{
    check_refused();
    check_bounds();
    check_accepted();
    check_fields();
    check_dtypes();
    check_files();
    check_other_formats();
    return 0;
}
