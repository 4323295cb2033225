/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a listing says what a hub, a cache or a directory has, and no entry that a hub would not
 * send becomes a file here.
 * Method: a page of the API, the text that the official client keeps of the same files, byte for
 * byte both ways, and a directory with every kind of entry; tables of hostile entries and of names
 * that are in each other's way; as many files as there may be, and one more; each allocation and
 * system call fails once.
 */
#include "cache/listing.h"

#include "base/base.h"
#include "base/sys.h"
#include "faults.h"
#include "tree.h"

#define A40 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B40 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define F40 "ffffffffffffffffffffffffffffffffffffffff"
#define C64 "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define D64 "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"

#define ENTRY(path, rest) "[{\"type\":\"file\",\"path\":\"" path "\"," rest "}]"
#define SMALL(path)       ENTRY(path, "\"size\":1,\"oid\":\"" A40 "\"")
#define LFS(lfs)          ENTRY("a", "\"size\":1,\"oid\":\"" A40 "\",\"lfs\":" lfs)

static const struct wl_log nobody;

static int add_page(struct wl_listing *listing, const char *text, struct wload_error *err)
{
    return wl_listing_add_page(listing, text, strlen(text), "page", err);
}

static const struct wl_listing_file *file_of(const struct wl_listing *listing, const char *name)
{
    int64_t number = wl_listing_find(listing, name);

    CHECK(number >= 0 && number < listing->count);
    return &listing->files[number];
}

/* ---- Pages ---------------------------------------------------------------------------- */

static const char page_1[] =
    "[{\"type\":\"directory\",\"oid\":\"" A40 "\",\"size\":0,\"path\":\"b\"},"
    "{\"type\":\"file\",\"oid\":\"" B40 "\",\"size\":9007199254740991,\"lfs\":{\"oid\":\"" C64
    "\",\"size\":9007199254740991,\"pointerSize\":135},\"xetHash\":\"" D64
    "\",\"path\":\"b/model.safetensors\"},"
    "{\"type\":\"file\",\"oid\":\"" A40 "\",\"size\":0,\"path\":\"a\\\"q.txt\",\"lfs\":null}]";
static const char page_2[] =
    " [ {\"path\":\"na\\u00efve/\\ud83e\\udd17.json\",\"type\":\"file\",\"oid\":\"" F40
    "\",\"size\":7,\"unknown\":[{}],\"xetHash\":null},"
    "{\"type\":\"unknown\",\"path\":\"../..\"},"
    "{\"type\":\"file\",\"oid\":\"" B40 "\",\"size\":1,\"lfs\":{\"oid\":\"" C64
    "\",\"size\":1},\"path\":\"b/x.bin\"}]\n";

/* The same files, as the official client writes them. */
static const char tree[] = "{\n"
                           " \"format_version\": 1,\n"
                           " \"files\": {\n"
                           "  \"a\\\"q.txt\": {\n"
                           "   \"size\": 0,\n"
                           "   \"blob_id\": \"" A40 "\"\n"
                           "  },\n"
                           "  \"b/model.safetensors\": {\n"
                           "   \"size\": 9007199254740991,\n"
                           "   \"blob_id\": \"" B40 "\",\n"
                           "   \"lfs_sha256\": \"" C64 "\",\n"
                           "   \"lfs_size\": 9007199254740991,\n"
                           "   \"xet_hash\": \"" D64 "\"\n"
                           "  },\n"
                           "  \"b/x.bin\": {\n"
                           "   \"size\": 1,\n"
                           "   \"blob_id\": \"" B40 "\",\n"
                           "   \"lfs_sha256\": \"" C64 "\",\n"
                           "   \"lfs_size\": 1\n"
                           "  },\n"
                           "  \"na\\u00efve/\\ud83e\\udd17.json\": {\n"
                           "   \"size\": 7,\n"
                           "   \"blob_id\": \"" F40 "\"\n"
                           "  }\n"
                           " }\n"
                           "}";

static void check_same(const struct wl_listing *listing)
{
    const struct wl_listing_file *file;

    CHECK_EQ(listing->count, 4);
    for (uint32_t i = 1; i < listing->count; i++) {
        CHECK(strcmp(listing->files[i - 1].name, listing->files[i].name) < 0);
    }
    file = file_of(listing, "b/model.safetensors");
    CHECK_EQ(file->size_bytes, 9007199254740991);
    CHECK_STR(file->hash, C64);
    CHECK_STR(file->blob_id, B40);
    CHECK_STR(file->xet_hash, D64);
    file = file_of(listing, "na\xc3\xafve/\xf0\x9f\xa4\x97.json");
    CHECK_EQ(file->size_bytes, 7);
    CHECK_STR(file->hash, F40);
    CHECK_STR(file->blob_id, F40);
    CHECK_STR(file->xet_hash, "");
    CHECK_EQ(file_of(listing, "a\"q.txt")->size_bytes, 0);
    CHECK_EQ(wl_listing_find(listing, "b"), -1);
    CHECK_EQ(wl_listing_find(listing, ""), -1);
    CHECK_EQ(wl_listing_find(listing, "zz"), -1);
}

static void check_both_ways(void)
{
    struct wload_error err = {0};
    struct wl_listing listing = {0};
    char *text;

    CHECK_OK(add_page(&listing, page_1, &err), &err);
    CHECK_OK(add_page(&listing, page_2, &err), &err);
    CHECK_OK(wl_listing_finish(&listing, "pages", &err), &err);
    check_same(&listing);
    CHECK(!listing.is_complete); /* nobody said that this was the last page */
    listing.is_complete = true;
    text = wl_listing_print(&listing);
    CHECK_STR(text, tree);
    wl_sys->free(text);
    wl_listing_clear(&listing);
    CHECK_EQ(wl_listing_find(&listing, "a"), -1);

    CHECK_OK(wl_listing_parse(tree, strlen(tree), "tree", &listing, &err), &err);
    CHECK(listing.is_complete);
    check_same(&listing);
    text = wl_listing_print(&listing);
    CHECK_STR(text, tree);
    wl_sys->free(text);
    wl_listing_clear(&listing);
}

static void check_empty(void)
{
    static const char empty[] = "{\n \"format_version\": 1,\n \"files\": {}\n}";
    struct wload_error err = {0};
    struct wl_listing listing = {0};
    const char *a = NULL;
    char *text;

    CHECK_OK(add_page(&listing, "[]", &err), &err);
    CHECK_OK(wl_listing_finish(&listing, "page", &err), &err);
    CHECK_EQ(listing.count, 0);
    CHECK(!wl_listing_folds(&listing, &a, &a));
    CHECK_OK(wl_listing_parse(empty, strlen(empty), "tree", &listing, &err), &err);
    text = wl_listing_print(&listing);
    CHECK_STR(text, empty);
    wl_sys->free(text);
    wl_listing_clear(&listing);
}

/* A listing whose text is longer than any first guess. */
static void check_long_text(void)
{
    struct wload_error err = {0};
    struct wl_listing listing = {.is_complete = true};
    struct wl_listing again;
    struct wl_listing_file file = {.hash = A40, .blob_id = A40};
    char name[600];
    char *text;
    char *text_again;

    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof(name), "%03u%0*u/\xf0\x9f\xa4\x97", i, (int)(i % 200), 0);
        file.name = name;
        file.size_bytes = i;
        CHECK_OK(wl_listing_add(&listing, &file, "test", &err), &err);
    }
    CHECK_OK(wl_listing_finish(&listing, "test", &err), &err);
    text = wl_listing_print(&listing);
    CHECK_OK(wl_listing_parse(text, strlen(text), "tree", &again, &err), &err);
    text_again = wl_listing_print(&again);
    CHECK_STR(text_again, text);
    wl_sys->free(text_again);
    wl_sys->free(text);
    wl_listing_clear(&again);
    wl_listing_clear(&listing);
}

/* ---- Hostile texts ------------------------------------------------------------------------ */

static void check_hostile_pages(void)
{
    static const char *const pages[] = {
        "",
        "{}",
        "null",
        "[1]",
        "[[]]",
        "[{}]",
        "[] []",
        "[{\"type\":\"file\"}]",
        "[{\"path\":\"a\",\"size\":1,\"oid\":\"" A40 "\"}]",
        "[{\"type\":1,\"path\":\"a\",\"size\":1,\"oid\":\"" A40 "\"}]",
        "[{\"type\":\"file\",\"path\":1,\"size\":1,\"oid\":\"" A40 "\"}]",
        "[{\"type\":\"file\",\"type\":\"x\",\"path\":\"a\",\"size\":1,\"oid\":\"" A40 "\"}]",
        SMALL(""),
        SMALL("/abs"),
        SMALL("../x"),
        SMALL("a/../../x"),
        SMALL("a/./x"),
        SMALL("a//x"),
        SMALL("a/"),
        SMALL("a\\\\x"),
        SMALL("C:x"),
        SMALL("a\\u0000b"),
        SMALL("a\\nb"),
        SMALL("\\u001b[2J"),
        SMALL("a\\u007f"),
        SMALL("a\x01"),
        SMALL("\xff"),
        SMALL("\\ud800"),
        ENTRY("a", "\"oid\":\"" A40 "\""),
        ENTRY("a", "\"size\":-1,\"oid\":\"" A40 "\""),
        ENTRY("a", "\"size\":1.5,\"oid\":\"" A40 "\""),
        ENTRY("a", "\"size\":9007199254740992,\"oid\":\"" A40 "\""),
        ENTRY("a", "\"size\":1e999,\"oid\":\"" A40 "\""),
        ENTRY("a", "\"size\":\"1\",\"oid\":\"" A40 "\""),
        ENTRY("a", "\"size\":null,\"oid\":\"" A40 "\""),
        ENTRY("a", "\"size\":1"),
        ENTRY("a", "\"size\":1,\"oid\":null"),
        ENTRY("a", "\"size\":1,\"oid\":\"\""),
        ENTRY("a", "\"size\":1,\"oid\":\"" C64 "\""),
        ENTRY("a", "\"size\":1,\"oid\":\"../../../../../../../../../../../../../x\""),
        ENTRY("a", "\"size\":1,\"oid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""),
        LFS("{}"),
        LFS("[]"),
        LFS("\"" C64 "\""),
        LFS("{\"size\":1}"),
        LFS("{\"oid\":\"" C64 "\"}"),
        LFS("{\"oid\":null,\"size\":1}"),
        LFS("{\"oid\":\"" A40 "\",\"size\":1}"),
        LFS("{\"oid\":\"" C64 "c\",\"size\":1}"),
        LFS("{\"oid\":\"" C64 "\",\"size\":2}"),
        ENTRY("a", "\"size\":1,\"oid\":\"" A40 "\",\"xetHash\":\"\""),
        ENTRY("a", "\"size\":1,\"oid\":\"" A40 "\",\"xetHash\":\"" A40 "\""),
        ENTRY("a", "\"size\":1,\"oid\":\"" A40 "\",\"xetHash\":7"),
    };

    for (size_t i = 0; i < WL_COUNT_OF(pages); i++) {
        struct wl_listing listing = {0};
        struct wload_error err = {0};
        int rc = add_page(&listing, pages[i], &err);

        if (rc != WLOAD_ERR_FORMAT || listing.count != 0) {
            (void)fprintf(stderr, "%d for %s\n", rc, pages[i]);
            exit(1);
        }
        CHECK(strstr(err.message, "page") != NULL);
        wl_listing_clear(&listing);
    }
}

#define TREE(files)       "{\"format_version\":1,\"files\":{" files "}}"
#define FILE_OF(key, etc) TREE("\"" key "\":{\"size\":1,\"blob_id\":\"" A40 "\"" etc "}")

static void check_hostile_trees(void)
{
    static const struct {
        const char *text;
        bool is_good;
    } rows[] = {
        {FILE_OF("a", ""), true},
        {FILE_OF("a", ",\"lfs_sha256\":null,\"lfs_size\":null,\"xet_hash\":null"), true},
        {FILE_OF("a", ",\"of_tomorrow\":{}"), true},
        {"", false},
        {"[]", false},
        {"{}", false},
        {"{\"format_version\":1}", false},
        {"{\"files\":{}}", false},
        {"{\"format_version\":2,\"files\":{}}", false},
        {"{\"format_version\":\"1\",\"files\":{}}", false},
        {"{\"format_version\":1,\"files\":[]}", false},
        {"{\"format_version\":1,\"files\":{}", false},
        {FILE_OF("../x", ""), false},
        {FILE_OF("/x", ""), false},
        {FILE_OF("a\\u0000", ""), false},
        {FILE_OF("", ""), false},
        {TREE("\"a\":1"), false},
        {TREE("\"a\":{}"), false},
        {TREE("\"a\":{\"size\":1}"), false},
        {TREE("\"a\":{\"blob_id\":\"" A40 "\"}"), false},
        {TREE("\"a\":{\"size\":-1,\"blob_id\":\"" A40 "\"}"), false},
        {TREE("\"a\":{\"size\":1,\"blob_id\":\"" C64 "\"}"), false},
        {TREE("\"a\":{\"size\":1,\"blob_id\":\"" A40 "\"},"
              "\"a\":{\"size\":1,\"blob_id\":\"" A40 "\"}"),
         false},
        {TREE("\"a\":{\"size\":1,\"blob_id\":\"" A40 "\"},"
              "\"a/b\":{\"size\":1,\"blob_id\":\"" A40 "\"}"),
         false},
        {FILE_OF("a", ",\"lfs_sha256\":\"" C64 "\""), false},
        {FILE_OF("a", ",\"lfs_size\":1"), false},
        {FILE_OF("a", ",\"lfs_sha256\":\"" C64 "\",\"lfs_size\":2"), false},
        {FILE_OF("a", ",\"lfs_sha256\":\"" A40 "\",\"lfs_size\":1"), false},
        {FILE_OF("a", ",\"xet_hash\":\"x\""), false},
        {FILE_OF("a", ",\"xet_hash\":\"../" C64 "\""), false},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wl_listing listing = {0};
        struct wload_error err = {0};
        int rc = wl_listing_parse(rows[i].text, strlen(rows[i].text), "tree", &listing, &err);

        if (rc != (rows[i].is_good ? WLOAD_OK : WLOAD_ERR_FORMAT)) {
            (void)fprintf(stderr, "%d for %s\n", rc, rows[i].text);
            exit(1);
        }
        CHECK_EQ(listing.count, rows[i].is_good);
        wl_listing_clear(&listing);
    }
}

/* ---- Names in each other's way --------------------------------------------------------------- */

static int list_names(const char *const *names, size_t count, struct wl_listing *listing,
                      struct wload_error *err)
{
    *listing = (struct wl_listing){0};
    for (size_t i = 0; i < count && names[i]; i++) {
        struct wl_listing_file file = {.name = (char *)(uintptr_t)names[i]};

        CHECK_OK(wl_listing_add(listing, &file, "test", err), err);
    }
    return wl_listing_finish(listing, "test", err);
}

static void check_clashes(void)
{
    static const struct {
        const char *names[6];
        int rc;
        const char *folded[2];
    } rows[] = {
        {{"b", "a"}, WLOAD_OK, {0}},
        {{"a", "a"}, WLOAD_ERR_FORMAT, {0}},
        {{"a/b", "c", "a/b"}, WLOAD_ERR_FORMAT, {0}},
        {{"a", "a/b"}, WLOAD_ERR_FORMAT, {0}},
        {{"a/b/c", "a"}, WLOAD_ERR_FORMAT, {0}},
        {{"a/b/c", "a-b", "a.b", "a", "a!"}, WLOAD_ERR_FORMAT, {0}},
        {{"a/b/c", "a/b.c", "a/b"}, WLOAD_ERR_FORMAT, {0}},
        {{"a/b", "ab", "a.b", "a-", "aa/b"}, WLOAD_OK, {0}},
        {{"a", "ab", "abc", "abc/d"}, WLOAD_ERR_FORMAT, {0}},
        {{"a", "ab", "abc", "abcd/e", "abd"}, WLOAD_OK, {0}},
        {{"A", "a"}, WLOAD_OK, {"A", "a"}},
        {{"x", "README.md", "Readme.md", "z"}, WLOAD_OK, {"README.md", "Readme.md"}},
        {{"A/x", "a/y"}, WLOAD_OK, {0}},
        {{"A/x", "a/X"}, WLOAD_OK, {"A/x", "a/X"}},
        {{"A", "B", "a/c"}, WLOAD_OK, {"A", "a/c"}},
        {{"a", "A/b", "A.b"}, WLOAD_OK, {"a", "A/b"}},
        {{"a_", "aB", "ab"}, WLOAD_OK, {"aB", "ab"}},
        {{"\xc3\x84", "\xc3\xa4"}, WLOAD_OK, {0}}, /* of ASCII only */
        {{"A", "a", "b", "b"}, WLOAD_ERR_FORMAT, {0}},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wload_error err = {0};
        struct wl_listing listing;
        const char *a = "";
        const char *b = "";

        CHECK_EQ(list_names(rows[i].names, 6, &listing, &err), rows[i].rc);
        if (rows[i].rc == WLOAD_OK) {
            CHECK_EQ(wl_listing_folds(&listing, &a, &b), rows[i].folded[0] != NULL);
            CHECK_STR(a, rows[i].folded[0] ? rows[i].folded[0] : "");
            CHECK_STR(b, rows[i].folded[0] ? rows[i].folded[1] : "");
        }
        wl_listing_clear(&listing);
    }
}

static void check_bound(void)
{
    struct wload_error err = {0};
    struct wl_listing listing = {0};
    char name[32];
    struct wl_listing_file file = {.name = name};

    for (uint32_t i = 0; i < WL_LISTING_FILES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "%u", i * 2654435761u);
        CHECK_OK(wl_listing_add(&listing, &file, "test", &err), &err);
    }
    (void)snprintf(name, sizeof(name), "one more");
    CHECK_EQ(wl_listing_add(&listing, &file, "test", &err), WLOAD_ERR_FORMAT);
    CHECK_EQ(listing.count, WL_LISTING_FILES_MAX);
    CHECK_OK(wl_listing_finish(&listing, "test", &err), &err);
    (void)snprintf(name, sizeof(name), "%u", 12345u * 2654435761u);
    CHECK_STR(file_of(&listing, name)->name, name);
    wl_listing_clear(&listing);
}

/* ---- Directories --------------------------------------------------------------------------------
 */

static void make_tree(void)
{
    static const char *const links[][2] = {
        {"../blobs/" C64, "walk/model.safetensors"},
        {"../../blobs/" A40, "walk/sub/config.json"},
        {D64, "blobs/" A40}, /* as in a store that caches share: the first name counts */
        {"../blobs/ABC", "walk/named.txt"},
        {"../blobs/gone", "walk/dangling"},
        {"../blobs/" B40, "walk/gone.safetensors"}, /* and what it was is known */
        {"loop", "walk/loop"},
        {"..", "walk/sub/up"},
        {"sub", "walk/twin"},
    };

    tree_write_text("blobs/" C64, "weights");
    tree_write_text("blobs/" D64, "{}");
    tree_write_text("blobs/ABC", "abc");
    tree_write_text("walk/plain.txt", "plain");
    tree_write_text("walk/empty", "");
    tree_write_text("walk/sub/deep/er/x", "x");
    tree_write_text("walk/sub/.cache/kept", "k");
    tree_write_text("walk/.cache/huggingface/x", "x");
    tree_write_text("walk/.git/config", "x");
    tree_write_text("walk/.gitignore", "*");
    tree_write_text("walk/back\\slash", "x");
    tree_write_text("walk/new\nline/x", "x");
    CHECK_EQ(mkfifo(tree_path("walk/fifo"), 0600), 0);
    for (size_t i = 0; i < WL_COUNT_OF(links); i++) {
        CHECK_EQ(symlink(links[i][0], tree_path(links[i][1])), 0);
    }
}

static void check_walk(void)
{
    static const struct {
        const char *name;
        uint64_t size_bytes;
        const char *hash;
    } rows[] = {
        {".gitignore", 1, ""},        {"empty", 0, ""},
        {"gone.safetensors", 0, B40}, {"model.safetensors", 7, C64},
        {"named.txt", 3, ""},         {"plain.txt", 5, ""},
        {"sub/.cache/kept", 1, ""},   {"sub/config.json", 2, A40},
        {"sub/deep/er/x", 1, ""},     {"twin/.cache/kept", 1, ""},
        {"twin/config.json", 2, A40}, {"twin/deep/er/x", 1, ""},
    };
    struct wload_error err = {0};
    struct wl_listing listing;

    CHECK_OK(wl_listing_walk(&nobody, tree_path("walk"), &listing, &err), &err);
    for (size_t i = 0; i < WL_COUNT_OF(rows) && i < listing.count; i++) {
        CHECK_STR(listing.files[i].name, rows[i].name);
        CHECK_EQ(listing.files[i].size_bytes, rows[i].size_bytes);
        CHECK_STR(listing.files[i].hash, rows[i].hash);
    }
    CHECK_EQ(listing.count, WL_COUNT_OF(rows));
    CHECK(!listing.is_complete);
    wl_listing_clear(&listing);
    CHECK_EQ(wl_listing_walk(&nobody, tree_path("none"), &listing, &err), WLOAD_ERR_NOT_FOUND);
    CHECK(wl_listing_walk(&nobody, tree_path("walk/plain.txt"), &listing, &err) < 0);
}

/* Folders that hold links to one another have more paths than could be walked. */
static void check_walk_is_bounded(void)
{
    struct wload_error err = {0};
    struct wl_listing listing;
    char name[256] = "deep/";

    tree_make_folders("web/x");
    for (char c = 'a'; c <= 'j'; c++) {
        char folder[] = {'w', 'e', 'b', '/', c, '/', 'x', '\0'};

        tree_make_folders(folder);
        for (char to = 'a'; to <= 'j'; to++) {
            char target[] = {'.', '.', '/', to, '\0'};

            folder[6] = to;
            CHECK_EQ(symlink(target, tree_path(folder)), 0);
        }
    }
    CHECK_EQ(wl_listing_walk(&nobody, tree_path("web"), &listing, &err), WLOAD_ERR_FORMAT);
    for (unsigned i = 0; i < 64; i++) {
        memcpy(name + strlen(name), "d/", 3);
    }
    tree_make_folders(name);
    CHECK_OK(wl_listing_walk(&nobody, tree_path("deep"), &listing, &err), &err);
    CHECK_EQ(listing.count, 0);
    wl_listing_clear(&listing);
    memcpy(name + strlen(name), "d/", 3);
    tree_make_folders(name);
    CHECK_EQ(wl_listing_walk(&nobody, tree_path("deep"), &listing, &err), WLOAD_ERR_FORMAT);
}

/* ---- Failures
 * -------------------------------------------------------------------------------------- */

static int parse_and_print(struct wload_error *err)
{
    struct wl_listing listing;
    int rc = wl_listing_parse(tree, strlen(tree), "tree", &listing, err);

    if (rc == WLOAD_OK) {
        char *text = wl_listing_print(&listing);

        rc = text ? WLOAD_OK : WLOAD_ERR_NOMEM;
        CHECK(!text || strcmp(text, tree) == 0);
        wl_sys->free(text);
        wl_listing_clear(&listing);
    }
    return rc;
}

static int walk_folder(struct wload_error *err)
{
    struct wl_listing listing;
    int rc = wl_listing_walk(&nobody, tree_path("walk"), &listing, err);

    if (rc == WLOAD_OK) {
        wl_listing_clear(&listing);
    }
    return rc;
}

static void check_failures(int (*run)(struct wload_error *), unsigned calls_min)
{
    uint64_t fail_at;
    uint64_t calls;

    for (fail_at = 1;; fail_at++) {
        struct wload_error err = {0};
        unsigned descriptors = faults_open_descriptors();
        int64_t left;
        int rc;

        faults_begin(&(struct faults){.fail_at = fail_at});
        rc = run(&err);
        left = faults_live_blocks();
        calls = faults_end();
        CHECK_EQ(left, 0);
        CHECK_EQ(faults_open_descriptors(), descriptors);
        if (calls < fail_at) {
            CHECK_OK(rc, &err);
            break;
        }
    }
    CHECK(fail_at > calls_min);
}

int main(void)
{
    check_both_ways();
    check_empty();
    check_long_text();
    check_hostile_pages();
    check_hostile_trees();
    check_clashes();
    check_bound();
    make_tree();
    check_walk();
    check_walk_is_bounded();
    check_failures(parse_and_print, 10);
    check_failures(walk_folder, 30);
    return 0;
}
