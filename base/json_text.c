/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_text.h"

#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"

#define NUMBER_BYTES_MAX 63u /* cJSON cuts longer ones in two */
#define MEMBER_BYTES     64u /* of a member of a large object, as a first guess */
#define END              (-1)

static bool refuse(struct wl_json_text *text, const char *finding)
{
    text->finding = finding;
    return false;
}

static int peek(const struct wl_json_text *text)
{
    return text->at < text->size ? text->bytes[text->at] : END;
}

static void skip_space(struct wl_json_text *text)
{
    int c = peek(text);

    while (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
        text->at++;
        c = peek(text);
    }
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* The four hexadecimal digits of an escape, or -1. */
static int32_t hex4(const struct wl_json_text *text, size_t at)
{
    int32_t value = 0;

    if (text->size - at < 4) {
        return -1;
    }
    for (size_t i = 0; i < 4; i++) {
        int c = text->bytes[at + i];
        int lower = c | 0x20;

        if (!is_digit(c) && !(lower >= 'a' && lower <= 'f')) {
            return -1;
        }
        value = value * 16 + (is_digit(c) ? c - '0' : lower - 'a' + 10);
    }
    return value;
}

/* At the 'u' of an escape; if strict, of a character: a surrogate is a high one with its low one
 * behind it. */
static bool check_unicode(struct wl_json_text *text, bool is_strict)
{
    int32_t code = hex4(text, text->at + 1);
    const unsigned char *next = text->bytes + text->at + 5;

    if (code < 0) {
        return refuse(text, "not four hexadecimal digits");
    }
    if (code == 0 && is_strict) {
        return refuse(text, "a NUL in a string");
    }
    if (code < 0xd800 || code > 0xdfff || !is_strict) {
        text->at += 5;
        return true;
    }
    if (code < 0xdc00 && text->size - text->at >= 7 && next[0] == '\\' && next[1] == 'u') {
        int32_t low = hex4(text, text->at + 7);

        if (low >= 0xdc00 && low <= 0xdfff) {
            text->at += 11;
            return true;
        }
    }
    return refuse(text, "a lone surrogate");
}

static bool check_escape(struct wl_json_text *text, bool is_strict)
{
    int c;

    text->at++;
    c = peek(text);
    if (c == 'u') {
        return check_unicode(text, is_strict);
    }
    if (c <= 0 || !strchr("\"\\/bfnrt", c)) {
        return refuse(text, "an unknown escape");
    }
    text->at++;
    return true;
}

/* A run of bytes beyond ASCII holds whole sequences or is wrong. */
static bool check_beyond_ascii(struct wl_json_text *text)
{
    size_t end = text->at;

    while (end < text->size && text->bytes[end] >= 0x80) {
        end++;
    }
    if (!wl_str_is_utf8((const char *)text->bytes + text->at, end - text->at)) {
        return refuse(text, "not UTF-8");
    }
    text->at = end;
    return true;
}

/* Whether none of eight bytes is a quote, a backslash, a control character or beyond ASCII. */
static bool are_plain(uint64_t bytes)
{
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t highs = ones * 0x80;
    uint64_t quote = bytes ^ (ones * '"');
    uint64_t backslash = bytes ^ (ones * '\\');

    /* x - n borrows into a byte's high bit where the byte is below n. */
    return ((bytes | (bytes - ones * 0x20) | (quote - ones) | (backslash - ones)) & highs) == 0;
}

static void skip_plain(struct wl_json_text *text)
{
    uint64_t bytes;

    while (text->size - text->at >= sizeof(bytes)) {
        memcpy(&bytes, text->bytes + text->at, sizeof(bytes));
        if (!are_plain(bytes)) {
            return;
        }
        text->at += sizeof(bytes);
    }
}

static bool check_string(struct wl_json_text *text, bool is_strict)
{
    if (peek(text) != '"') {
        return refuse(text, "a string was expected");
    }
    text->at++;
    for (;;) {
        bool fine = true;
        int c;

        skip_plain(text);
        c = peek(text);
        while (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            text->at++;
            c = peek(text);
        }
        if (c == '"') {
            text->at++;
            return true;
        }
        if (c == '\\') {
            fine = check_escape(text, is_strict);
        } else if (c >= 0x80) {
            fine = check_beyond_ascii(text);
        } else {
            return refuse(text, c == END ? "a string does not end" : "a control character");
        }
        if (!fine) {
            return false;
        }
    }
}

static bool check_digits(struct wl_json_text *text)
{
    if (!is_digit(peek(text))) {
        return refuse(text, "a digit was expected");
    }
    while (is_digit(peek(text))) {
        text->at++;
    }
    return true;
}

static bool check_fraction(struct wl_json_text *text)
{
    if (peek(text) == '.') {
        text->at++;
        if (!check_digits(text)) {
            return false;
        }
    }
    if (peek(text) == 'e' || peek(text) == 'E') {
        text->at++;
        if (peek(text) == '+' || peek(text) == '-') {
            text->at++;
        }
        return check_digits(text);
    }
    return true;
}

static bool check_number(struct wl_json_text *text)
{
    size_t begin = text->at;
    size_t whole_end;

    if (peek(text) == '-') {
        text->at++;
    }
    if (peek(text) == '0') {
        text->at++;
    } else if (!check_digits(text)) {
        return false;
    }
    whole_end = text->at;
    if (!check_fraction(text)) {
        return false;
    }
    if (text->only_whole && (text->bytes[begin] == '-' || text->at != whole_end)) {
        text->at = begin;
        return refuse(text, "not a whole number");
    }
    if (text->at - begin > NUMBER_BYTES_MAX) {
        text->at = begin;
        return refuse(text, "a number of more than 63 characters");
    }
    return true;
}

static bool check_word(struct wl_json_text *text, const char *word)
{
    size_t size = strlen(word);

    if (text->size - text->at < size || memcmp(text->bytes + text->at, word, size) != 0) {
        return refuse(text, "a value was expected");
    }
    text->at += size;
    return true;
}

static bool check_value(struct wl_json_text *text, uint32_t depth);

static bool check_key(struct wl_json_text *text)
{
    if (++text->key_count == text->key_wanted) {
        return refuse(text, "the key looked for");
    }
    if (!check_string(text, true)) {
        return false;
    }
    text->key_end = text->at;
    skip_space(text);
    if (peek(text) != ':') {
        return refuse(text, "':' was expected");
    }
    text->at++;
    skip_space(text);
    return true;
}

static bool grow_members(struct wl_json_text *text)
{
    size_t room = text->member_count * 2u + text->size / MEMBER_BYTES + 1;
    struct wl_json_member *members = wl_sys_array(room, sizeof(members[0]));

    if (!members) {
        return false;
    }
    if (text->member_count > 0) {
        memcpy(members, text->members, text->member_count * sizeof(members[0]));
    }
    wl_sys->free(text->members);
    text->members = members;
    text->member_room = room;
    return true;
}

/* A key and its value; those of the outermost object are put down if that is wanted. */
static bool check_member(struct wl_json_text *text, uint32_t depth)
{
    struct wl_json_member member = {.key = (uint32_t)text->at};

    if (!check_key(text)) {
        return false;
    }
    member.key_bytes = (uint32_t)text->key_end - member.key;
    member.value = (uint32_t)text->at;
    if (!check_value(text, depth)) {
        return false;
    }
    member.value_bytes = (uint32_t)text->at - member.value;
    if (depth > 1 || !text->lists_members) {
        return true;
    }
    if (text->member_count == text->member_room && !grow_members(text)) {
        return refuse(text, NULL);
    }
    text->members[text->member_count++] = member;
    return true;
}

/* An object or an array, from its opening to its closing bracket; `depth` is its own. */
static bool check_container(struct wl_json_text *text, int closing, uint32_t depth)
{
    if (depth > WL_JSON_DEPTH_MAX) {
        return refuse(text, "nested too deeply");
    }
    text->at++;
    skip_space(text);
    if (peek(text) == closing) {
        text->at++;
        return true;
    }
    for (;;) {
        int c;

        if (!(closing == '}' ? check_member(text, depth) : check_value(text, depth))) {
            return false;
        }
        skip_space(text);
        c = peek(text);
        if (c != closing && c != ',') {
            return refuse(text, c == END ? "the text ends too early" : "',' was expected");
        }
        text->at++;
        if (c == closing) {
            return true;
        }
        skip_space(text);
    }
}

static bool check_value(struct wl_json_text *text, uint32_t depth)
{
    int c = peek(text);

    if (++text->node_count > WL_JSON_NODES_MAX) {
        return refuse(text, "too many values");
    }
    switch (c) {
    case '{':
        return check_container(text, '}', depth + 1);
    case '[':
        return check_container(text, ']', depth + 1);
    case '"':
        return check_string(text, !text->takes_any_unicode);
    case 't':
        return check_word(text, "true");
    case 'f':
        return check_word(text, "false");
    case 'n':
        return check_word(text, "null");
    case END:
        return refuse(text, "the text ends too early");
    default:
        return c == '-' || is_digit(c) ? check_number(text) : refuse(text, "a value was expected");
    }
}

bool wl_json_text_check(struct wl_json_text *text)
{
    skip_space(text);
    if (!check_value(text, 0)) {
        return false;
    }
    skip_space(text);
    return text->at == text->size || refuse(text, "something follows the value");
}

int wl_json_refuse(const struct wl_json_text *text, const char *what, uint64_t at,
                   struct wload_error *err)
{
    at += text->at;
    return text->finding
               ? wl_err_at(err, WLOAD_ERR_FORMAT, at,
                           "'%s': invalid JSON at offset %" PRIu64 ": %s", what, at, text->finding)
               : wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its JSON", what);
}

int wl_json_refuse_twin(const char *what, uint64_t offset, const char *key, struct wload_error *err)
{
    return wl_err_at(err, WLOAD_ERR_FORMAT, offset,
                     "'%s': invalid JSON at offset %" PRIu64 ": a key that was there before: "
                     "'%.100s'",
                     what, offset, key);
}
