/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: strings from outside are matched and judged by the letter.
 * Method: tables of what must match and what must not; UTF-8 against a slow decoder
 * written from Unicode's definition, for all one- to three-byte strings.
 */
#include "base/str.h"

#include "base/base.h"
#include "base/sys.h"
#include "test.h"

static void check_globs(void)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "a", true},
        {"a", "b", false},
        {"a", "ab", false},
        {"*", "", true},
        {"*", "model.layers.0/weight", true},
        {"**", "x", true},
        {"?", "", false},
        {"?", "/", true},
        {"?", ".", true},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"*.weight", "model.norm.weight", true},
        {"*.weight", "model.norm.weights", false},
        {"*.weight", ".weight", true},
        {"model.*.bias", "model.layers.7.self_attn.bias", true},
        {"*layers.1.*", "model.layers.1.mlp", true},
        {"*layers.1.*", "model.layers.11.mlp", false},
        {"*ab*ab", "abab", true},
        {"*ab*ab", "aab", false},
        {"*aab", "aaaab", true},
        {"a*b*c", "a.b.b.c", true},
        {"a*b*c", "a.c.b", false},
        {"[ab]", "a", false}, /* no classes */
        {"[ab]", "[ab]", true},
        {"\\*", "\\x", true}, /* no escapes */
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        if (wl_str_glob(rows[i].pattern, rows[i].text) != rows[i].matches) {
            (void)fprintf(stderr, "'%s' on '%s'\n", rows[i].pattern, rows[i].text);
            exit(1);
        }
    }
    CHECK(wl_str_is_glob("a*") && wl_str_is_glob("?") && !wl_str_is_glob("a.b[c]"));
}

/* Many stars over a long text that almost matches: this must end. */
static void check_glob_is_not_exponential(void)
{
    static char text[20001];
    char pattern[] = "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b";

    memset(text, 'a', sizeof(text) - 1);
    CHECK(!wl_str_glob(pattern, text));
}

/* Whether the bytes are one code point and its shortest form, computed by decoding. */
static bool is_one_scalar(const unsigned char *s, size_t size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t code = length == 1 ? s[0] : s[0] & (0xffu >> (length + 1));

    if (length == 0 || length != size) {
        return false;
    }
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return false;
        }
        code = code << 6 | (s[i] & 0x3f);
    }
    return code >= least[length] && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
}

static bool is_utf8_slowly(const unsigned char *s, size_t size)
{
    for (size_t take = 1; take <= 4 && take <= size; take++) {
        if (is_one_scalar(s, take)) {
            return is_utf8_slowly(s + take, size - take);
        }
    }
    return size == 0;
}

static void check_utf8(void)
{
    static const char *const beyond[] = {
        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80",  "\xf0\x8f\xbf\xbf",
        "\xf5\x80\x80\x80", "\xf0\x9f\x92",     "\xf0\x9f\x92\xa9x", "\xff\xff\xff\xff",
    };
    char padded[] = "12345678901234567\xc3\xa9";

    for (uint32_t i = 0; i < 1u << 24; i++) {
        unsigned char s[3] = {(unsigned char)i, (unsigned char)(i >> 8), (unsigned char)(i >> 16)};
        size_t size = i < 1u << 8 ? 1 : i < 1u << 16 ? 2 : 3;

        if (size == 3 && s[0] < 0x80 && s[1] < 0x80) {
            continue; /* the last byte alone has had its turn */
        }
        CHECK_EQ(wl_str_is_utf8((const char *)s, size), is_utf8_slowly(s, size));
    }
    for (size_t i = 0; i < WL_COUNT_OF(beyond); i++) {
        CHECK_EQ(wl_str_is_utf8(beyond[i], strlen(beyond[i])),
                 is_utf8_slowly((const unsigned char *)beyond[i], strlen(beyond[i])));
    }
    CHECK(wl_str_is_utf8(NULL, 0));
    CHECK(wl_str_is_utf8(padded, sizeof(padded) - 1));
    CHECK(!wl_str_is_utf8(padded, sizeof(padded) - 2));
}

static void check_file_names(void)
{
    static const char *const good[] = {
        "a", "model-00001-of-00002.safetensors", "a b", "a..b", "\xc3\xa9.safetensors", "~", "-"};
    static const char *const bad[] = {"",     ".",     "..",   ".a",     "a/b",
                                      "/a",   "a/",    "a\\b", "a\nb",   "\x7f",
                                      "\x01", "a\xff", "../",  "..\\..", "\xc0\xae"};
    char name[300];

    for (size_t i = 0; i < WL_COUNT_OF(good); i++) {
        CHECK(wl_str_is_file_name(good[i]));
    }
    for (size_t i = 0; i < WL_COUNT_OF(bad); i++) {
        CHECK(!wl_str_is_file_name(bad[i]));
    }
    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    CHECK(!wl_str_is_file_name(name));
    name[255] = '\0';
    CHECK(wl_str_is_file_name(name));
}

int main(void)
{
    char *text = wl_str_new("%s-%d", "shard", 7);

    CHECK(text != NULL);
    CHECK_STR(text, "shard-7");
    wl_sys->free(text);
    CHECK(wl_str_starts("file://x", "file://") && !wl_str_starts("fil", "file"));
    CHECK(wl_str_ends("a.safetensors", ".safetensors") && !wl_str_ends("s", ".safetensors"));
    check_globs();
    check_glob_is_not_exponential();
    check_utf8();
    check_file_names();
    return 0;
}
