/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a name from outside becomes part of a path or a URL only where a hub could have made it.
 * Method: tables of names, headers and patterns with what they must be taken for; every byte as a
 * character of each kind of name; each name that has a folder against the way back.
 */
#include "base/hub.h"

#include "base/base.h"
#include "base/sys.h"
#include "test.h"
#include "wload.h"

#define A8   "aaaaaaaa"
#define A39  A8 A8 A8 A8 "aaaaaaa"
#define A40  A8 A8 A8 A8 A8
#define A63  A40 A8 A8 "aaaaaaa"
#define A64  A40 A8 A8 A8
#define A96  A64 A8 A8 A8 A8
#define A255 A96 A96 A39 A8 A8 A8

struct row {
    const char *text;
    bool is_good;
};

static void check_rows(const char *what, bool (*judge)(const char *), const struct row *rows,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (judge(rows[i].text) != rows[i].is_good) {
            (void)fprintf(stderr, "'%s' is %s %s\n", rows[i].text, rows[i].is_good ? "a" : "no",
                          what);
            exit(1);
        }
    }
}

/* Which bytes may stand in the middle of such a name. */
static void check_bytes(const char *what, bool (*judge)(const char *), const char *refused)
{
    for (int c = 1; c < 0x80; c++) {
        char text[] = {'a', 'a', (char)c, 'a', '\0'};
        bool is_refused = c < 0x20 || c == 0x7f || strchr(refused, c) != NULL;

        if (judge(text) == is_refused) {
            (void)fprintf(stderr, "byte %d in a %s\n", c, what);
            exit(1);
        }
    }
    for (int c = 0x80; c < 0x100; c++) {
        char text[] = {'a', (char)c, '\0'};

        CHECK(!judge(text)); /* no UTF-8 */
    }
}

static void check_repos(void)
{
    static const struct row rows[] = {
        {"gpt2", true},
        {"org/name", true},
        {"Qwen/Qwen2.5-0.5B_x", true},
        {"_a/b_", true},
        {A96 "/" A96, true},
        {"", false},
        {"/", false},
        {"/a", false},
        {"a/", false},
        {"a/b/c", false},
        {"a//b", false},
        {"-a/b", false},
        {"a/-b", false},
        {"a-/b", false},
        {"a/b-", false},
        {".a", false},
        {"a.", false},
        {".", false},
        {"..", false},
        {"../b", false},
        {"a/..", false},
        {"a..b", false},
        {"a--b", false},
        {"a/b--c", false},
        {"a/b.git", false},
        {"b.git", false},
        {"b.gitx", true},
        {"org/na\xc3\xafve", false},
        {"a" A96, false},
        {"org/a" A96, false},
    };

    check_rows("repository", wl_hub_is_repo, rows, WL_COUNT_OF(rows));
    check_bytes("repository", wl_hub_is_repo, " !\"#$%&'()*+,:;<=>?@[\\]^`{|}~");
}

static void check_revisions(void)
{
    static const struct row rows[] = {
        {"main", true},        {"refs/pr/1", true},
        {"v1.0-rc+1", true},   {"a/b/c", true},
        {"h\xc3\xa9", true},   {A40, true},
        {A255 "/" A255, true}, {"", false},
        {"/main", false},      {"main/", false},
        {"a//b", false},       {"-f", false},
        {"a/-f", true},        {".", false},
        {"..", false},         {"../main", false},
        {"a/../b", false},     {"a/./b", false},
        {".hidden", false},    {"a.", false},
        {"a..b", false},       {"main.lock", false},
        {"a.lock/b", false},   {"locked", true},
        {"a@{1}", false},      {"a@b", true},
        {"a" A255, false},     {A255 "/" A255 "/" A255 "/" A255 "/a", false},
    };

    check_rows("revision", wl_hub_is_revision, rows, WL_COUNT_OF(rows));
    check_bytes("revision", wl_hub_is_revision, " \\:~^?*[");
}

static void check_hashes(void)
{
    static const struct row commits[] = {{A40, true},      {A39, false},     {A40 "a", false},
                                         {A64, false},     {"", false},      {A39 "A", false},
                                         {A39 "g", false}, {A39 "/", false}, {A40 "\n", false}};
    static const struct row hashes[] = {
        {A40, true}, {A64, true},      {A39, false},     {A40 "a", false},      {A63, false},
        {"", false}, {A64 "a", false}, {A63 "F", false}, {"0123456789", false}, {"../x", false}};

    check_rows("commit", wl_hub_is_commit, commits, WL_COUNT_OF(commits));
    check_rows("hash", wl_hub_is_hash, hashes, WL_COUNT_OF(hashes));
    CHECK(wl_hub_is_sha256(A64) && !wl_hub_is_sha256(A40) && !wl_hub_is_sha256(A63));
    CHECK(wl_hub_is_commit("0123456789abcdef0123456789abcdef01234567"));
}

static void check_etags(void)
{
    static const struct {
        const char *header, *hash; /* NULL: none */
    } rows[] = {
        {A64, A64},
        {"\"" A64 "\"", A64},
        {"W/\"" A40 "\"", A40},
        {"\"" A40 "\"", A40},
        {"\"\"" A40 "\"\"", A40},
        {"W/" A40, A40},
        {"\"abc\"", NULL},
        {"W/\"abc\"", NULL},
        {"\"" A63 "\"", NULL},
        {"\"" A64 "a\"", NULL},
        {"\"" A39 "\"", NULL},
        {"\"" A40 "-gzip\"", NULL},
        {"\"" A40 "\" ", NULL},
        {" \"" A40 "\"", NULL},
        {"../x", NULL},
        {"\"../../../x\"", NULL},
        {"\"" A39 "A\"", NULL},
        {"", NULL},
        {"\"", NULL},
        {"W/", NULL},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        char hash[WL_HUB_HASH_BYTES] = "untouched";

        CHECK_EQ(wl_hub_etag_hash(rows[i].header, hash), rows[i].hash != NULL);
        CHECK_STR(hash, rows[i].hash ? rows[i].hash : "untouched");
    }
}

static void check_paths(void)
{
    static const struct row rows[] = {
        {"config.json", true},
        {"unet/model.safetensors", true},
        {".gitattributes", true},
        {"a/.b/..c/d..", true},
        {"na\xc3\xafve/\xf0\x9f\xa4\x97.txt", true},
        {"ab:c", true},
        {" ", true},
        {A255 "/" A255, true},
        {"", false},
        {"/", false},
        {"/etc/passwd", false},
        {"a/", false},
        {"a//b", false},
        {".", false},
        {"..", false},
        {"./a", false},
        {"../a", false},
        {"a/../b", false},
        {"a/..", false},
        {"a/.", false},
        {"..\\a", false},
        {"C:x", false},
        {":x", false},
        {"a/C:/x", false},
        {"a\xed\xa0\x80", false},
        {"a" A255, false},
    };
    char longest[WL_PATH_BYTES_MAX + 2];

    check_rows("path", wl_hub_is_path, rows, WL_COUNT_OF(rows));
    check_bytes("path", wl_hub_is_path, "\\");
    for (size_t i = 0; i < sizeof(longest); i++) {
        longest[i] = i % 64 == 63 ? '/' : 'a';
    }
    longest[WL_PATH_BYTES_MAX - 1] = 'a';
    longest[WL_PATH_BYTES_MAX] = '\0';
    CHECK(wl_hub_is_path(longest));
    longest[WL_PATH_BYTES_MAX] = 'a';
    longest[WL_PATH_BYTES_MAX + 1] = '\0';
    CHECK(!wl_hub_is_path(longest));
}

static void check_private_paths(void)
{
    static const struct row rows[] = {
        {".git", true},
        {".git/config", true},
        {".GIT/hooks/x", true},
        {".cache/huggingface", true},
        {".Cache/HuggingFace/download/x.metadata", true},
        {".gitignore", false},
        {"a/.git/config", false},
        {".cache/x", false},
        {".cache", false},
        {".cache/huggingface.txt", false},
        {"x/.cache/huggingface/y", false},
    };

    check_rows("private path", wl_hub_is_private_path, rows, WL_COUNT_OF(rows));
}

static void check_folders(void)
{
    static const struct {
        enum wl_hub_kind kind;
        const char *repo, *folder;
    } rows[] = {
        {WL_HUB_MODEL, "org/name", "models--org--name"},
        {WL_HUB_MODEL, "gpt2", "models--gpt2"},
        {WL_HUB_DATASET, "a-b/c-d", "datasets--a-b--c-d"},
        {WL_HUB_SPACE, "o/s.s", "spaces--o--s.s"},
    };
    static const char *const foreign[] = {
        "",           "models",        "models--",      "models--a--",   "models----a",
        "model--a",   "kernels--a",    "models-a--b",   ".locks",        "models--a--b--c",
        "models--..", "models--a/b",   "models--a---b", "models--a--.b", "blobs",
        "tmp--a--b",  "models--a--..", "Models--a--b"};
    enum wl_hub_kind kind = WL_HUB_SPACE;
    char *text = NULL;

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        text = wl_hub_folder(rows[i].kind, rows[i].repo);
        CHECK_STR(text, rows[i].folder);
        wl_sys->free(text);
        CHECK_EQ(wl_hub_folder_repo(rows[i].folder, &kind, &text), WLOAD_OK);
        CHECK_EQ(kind, rows[i].kind);
        CHECK_STR(text, rows[i].repo);
        wl_sys->free(text);
    }
    text = NULL;
    for (size_t i = 0; i < WL_COUNT_OF(foreign); i++) {
        CHECK_EQ(wl_hub_folder_repo(foreign[i], &kind, &text), WLOAD_ERR_NOT_FOUND);
        CHECK(text == NULL);
    }
    CHECK_STR(wl_hub_kind_name(WL_HUB_MODEL), "model");
    CHECK_STR(wl_hub_kind_name(WL_HUB_DATASET), "dataset");
    CHECK_STR(wl_hub_kind_name(WL_HUB_SPACE), "space");
}

static void check_escape(void)
{
    static const struct {
        const char *text, *path, *segment;
    } rows[] = {
        {"", "", ""},
        {"refs/pr/1", "refs/pr/1", "refs%2Fpr%2F1"},
        {"aZ09_.-~", "aZ09_.-~", "aZ09_.-~"},
        {"a b?c#d%e&f+g", "a%20b%3Fc%23d%25e%26f%2Bg", "a%20b%3Fc%23d%25e%26f%2Bg"},
        {"\xc3\xaf\x7f\xff", "%C3%AF%7F%FF", "%C3%AF%7F%FF"},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        char *path = wl_hub_escape(rows[i].text, true);
        char *segment = wl_hub_escape(rows[i].text, false);

        CHECK_STR(path, rows[i].path);
        CHECK_STR(segment, rows[i].segment);
        wl_sys->free(segment);
        wl_sys->free(path);
    }
}

static void check_patterns(void)
{
    static const struct {
        const char *pattern, *path;
        bool matches;
    } rows[] = {
        {"*.json", "config.json", true},
        {"*.json", "a/b.json", true},
        {"*.json", "a.jsonl", false},
        {"*", "a/.b", true},
        {"**/x", "a/b/x", true},
        {"**/x", "x", false},
        {"?", "\xc3\xaf", true},
        {"??", "\xc3\xaf", false},
        {"\xc3\xaf?", "\xc3\xaf\xf0\x9f\xa4\x97", true},
        {"dir/", "dir/a/b", true},
        {"dir/", "dir", false},
        {"dir/", "adir/a", false},
        {"*r/", "dir/a", true},
        {"dir\\", "dir/a", true},
        {"dir\\a", "dir/a", true},
        {"a\\*", "a/b", true},
        {"[ab]", "a", true},
        {"[ab]", "c", false},
        {"[a-c]x", "bx", true},
        {"[a-c]", "-", false},
        {"[ac-]", "-", true},
        {"[-a]", "-", true},
        {"[--a]", "Z", true},
        {"[!a]*", "b/c", true},
        {"[!a]*", "a/c", false},
        {"[!a]", "/", true},
        {"[^a]", "^", true},
        {"[]]", "]", true},
        {"[]a]", "a", true},
        {"[!]]", "a", true},
        {"[!]]", "]", false},
        {"[c-a]", "b", false},
        {"[!c-a]", "b", true},
        {"[a-\xc3\xbf]", "\xc3\xaf", true},
        {"[\xc3\xa0-\xc3\xbf]", "z", false},
        {"[a", "[a", true},
        {"[a", "a", false},
        {"[", "[", true},
        {"[]", "[]", true},
        {"[!]", "[!]", true},
        {"a[/", "a[/b", true},
        {"*[0-9].safetensors", "model-1.safetensors", true},
        {"*[0-9].safetensors", "model-x.safetensors", false},
        {"*a[!b]*c", "xaba/dc", true},
        {"A*", "a", false},
        {"", "a", false},
        {"*?*", "a", true},
        {"[[:alpha:]]", ":]", true}, /* no classes */
        {"\xff", "\xc3\xbf", false},
        {"*\xc3", "\xc3\xaf", false},
    };
    static char path[4001];

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        if (wl_hub_match(rows[i].pattern, rows[i].path) != rows[i].matches) {
            (void)fprintf(stderr, "'%s' on '%s'\n", rows[i].pattern, rows[i].path);
            exit(1);
        }
    }
    memset(path, 'a', sizeof(path) - 1); /* must end */
    CHECK(!wl_hub_match("*a*a*a*a*a*a*[a]*[a]*[a]*[a]*a*a*a*a*a*a*a*a*a*b", path));
}

int main(void)
{
    check_repos();
    check_revisions();
    check_hashes();
    check_etags();
    check_paths();
    check_private_paths();
    check_folders();
    check_escape();
    check_patterns();
    return 0;
}
