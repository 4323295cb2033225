/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hub.h"

#include <stdint.h>
#include <string.h>

#include "base/base.h"
#include "base/str.h"
#include "base/sys.h"

#define SEGMENT_BYTES_MAX  255u
#define REPO_PART_MAX      96u
#define REVISION_BYTES_MAX 1024u
#define COMMIT_DIGITS      (WL_HUB_COMMIT_BYTES - 1)
#define SHA256_DIGITS      (WL_HUB_HASH_BYTES - 1)
#define SEPARATOR          "--" /* of a folder's name: what '/' is in the repository's */

static const char *const kind_names[] = {
    [WL_HUB_MODEL] = "model",
    [WL_HUB_DATASET] = "dataset",
    [WL_HUB_SPACE] = "space",
};

const char *wl_hub_kind_name(enum wl_hub_kind kind)
{
    return kind_names[kind];
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* ---- Repositories ------------------------------------------------------------------ */

/* One of the one or two parts of a repository's name. */
static bool is_repo_part(const char *part, size_t bytes)
{
    if (bytes == 0 || bytes > REPO_PART_MAX || !is_word(part[0]) || !is_word(part[bytes - 1])) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (!is_word(part[i]) && part[i] != '-' && part[i] != '.') {
            return false;
        }
    }
    return true;
}

bool wl_hub_is_repo(const char *text)
{
    size_t bytes = strcspn(text, "/");

    if (!is_repo_part(text, bytes) || strstr(text, SEPARATOR) || strstr(text, "..") ||
        wl_str_ends(text, ".git")) {
        return false;
    }
    return text[bytes] == '\0' || is_repo_part(text + bytes + 1, strlen(text + bytes + 1));
}

char *wl_hub_folder(enum wl_hub_kind kind, const char *repo)
{
    size_t bytes = strcspn(repo, "/");

    return wl_str_new("%ss" SEPARATOR "%.*s%s%s", kind_names[kind], (int)bytes, repo,
                      repo[bytes] ? SEPARATOR : "", repo[bytes] ? repo + bytes + 1 : "");
}

/* What is behind "models--", or NULL. */
static const char *take_kind(const char *folder, enum wl_hub_kind *kind)
{
    for (size_t i = 0; i < WL_COUNT_OF(kind_names); i++) {
        size_t bytes = strlen(kind_names[i]);

        if (wl_str_starts(folder, kind_names[i]) && wl_str_starts(folder + bytes, "s" SEPARATOR)) {
            *kind = (enum wl_hub_kind)i;
            return folder + bytes + strlen("s" SEPARATOR);
        }
    }
    return NULL;
}

int wl_hub_folder_repo(const char *folder, enum wl_hub_kind *kind, char **repo)
{
    enum wl_hub_kind found;
    const char *rest = take_kind(folder, &found);
    const char *cut = rest ? strstr(rest, SEPARATOR) : NULL;
    char *name;

    if (!rest || strchr(rest, '/')) {
        return WLOAD_ERR_NOT_FOUND;
    }
    name = cut ? wl_str_new("%.*s/%s", (int)(cut - rest), rest, cut + strlen(SEPARATOR))
               : wl_str_new("%s", rest);
    if (!name) {
        return WLOAD_ERR_NOMEM;
    }
    if (!wl_hub_is_repo(name)) {
        wl_sys->free(name);
        return WLOAD_ERR_NOT_FOUND;
    }
    *kind = found;
    *repo = name;
    return WLOAD_OK;
}

/* ---- Revisions and hashes ------------------------------------------------------------- */

/* Git's rules for names of references, and ours for file names. */
static bool is_revision_segment(const char *segment, size_t bytes)
{
    static const char lock[] = ".lock";
    const size_t lock_bytes = sizeof(lock) - 1;

    if (bytes == 0 || bytes > SEGMENT_BYTES_MAX || segment[0] == '.' || segment[bytes - 1] == '.') {
        return false;
    }
    if (bytes >= lock_bytes && memcmp(segment + bytes - lock_bytes, lock, lock_bytes) == 0) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (is_control(segment[i]) || strchr(" \\:~^?*[", segment[i])) {
            return false;
        }
    }
    return true;
}

bool wl_hub_is_revision(const char *text)
{
    size_t size = strlen(text);

    if (size > REVISION_BYTES_MAX || text[0] == '-' || strstr(text, "..") || strstr(text, "@{") ||
        !wl_str_is_utf8(text, size)) {
        return false;
    }
    for (;;) {
        size_t bytes = strcspn(text, "/");

        if (!is_revision_segment(text, bytes)) {
            return false;
        }
        if (text[bytes] == '\0') {
            return true;
        }
        text += bytes + 1;
    }
}

/* How many lower-case hexadecimal digits it begins with. */
static size_t hex_digits(const char *text)
{
    return strspn(text, "0123456789abcdef");
}

bool wl_hub_is_commit(const char *text)
{
    return hex_digits(text) == COMMIT_DIGITS && text[COMMIT_DIGITS] == '\0';
}

bool wl_hub_is_sha256(const char *text)
{
    return hex_digits(text) == SHA256_DIGITS && text[SHA256_DIGITS] == '\0';
}

bool wl_hub_is_hash(const char *text)
{
    return wl_hub_is_commit(text) || wl_hub_is_sha256(text);
}

bool wl_hub_etag_hash(const char *header, char hash[WL_HUB_HASH_BYTES])
{
    char found[WL_HUB_HASH_BYTES] = "";
    size_t digits;

    header += strspn(header, "W/");
    header += strspn(header, "\"");
    digits = hex_digits(header);
    if (digits > SHA256_DIGITS || header[digits + strspn(header + digits, "\"")] != '\0') {
        return false;
    }
    memcpy(found, header, digits);
    if (!wl_hub_is_hash(found)) {
        return false;
    }
    memcpy(hash, found, digits + 1);
    return true;
}

/* ---- Paths --------------------------------------------------------------------------- */

static bool is_path_segment(const char *segment, size_t bytes)
{
    if (bytes == 0 || bytes > SEGMENT_BYTES_MAX) {
        return false;
    }
    if (segment[0] == '.' && (bytes == 1 || (bytes == 2 && segment[1] == '.'))) {
        return false;
    }
    if (memchr(segment, ':', bytes < 2 ? bytes : 2)) {
        return false; /* a drive where there are drives */
    }
    for (size_t i = 0; i < bytes; i++) {
        if (is_control(segment[i]) || segment[i] == '\\') {
            return false;
        }
    }
    return true;
}

bool wl_hub_is_path(const char *text)
{
    size_t size = strlen(text);

    if (size > WL_PATH_BYTES_MAX || !wl_str_is_utf8(text, size)) {
        return false;
    }
    for (;;) {
        size_t bytes = strcspn(text, "/");

        if (!is_path_segment(text, bytes)) {
            return false;
        }
        if (text[bytes] == '\0') {
            return true;
        }
        text += bytes + 1;
    }
}

/* Whether the path begins with that folder, or is it; `folder` is in lower case. */
static bool is_in(const char *path, const char *folder)
{
    for (; *folder; path++, folder++) {
        char c = *path >= 'A' && *path <= 'Z' ? (char)(*path - 'A' + 'a') : *path;

        if (c != *folder) {
            return false;
        }
    }
    return *path == '\0' || *path == '/';
}

bool wl_hub_is_private_path(const char *path)
{
    return is_in(path, ".cache/huggingface") || is_in(path, ".git");
}

char *wl_hub_escape(const char *text, bool keeps_slashes)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = wl_sys_array(strlen(text) + 1, 3);
    char *at = out;

    for (; out && *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (is_word(*text) || strchr(".-~", c) || (c == '/' && keeps_slashes)) {
            *at++ = *text;
        } else {
            *at++ = '%';
            *at++ = digits[c >> 4];
            *at++ = digits[c & 15];
        }
    }
    return out;
}

/* ---- Patterns -------------------------------------------------------------------------- */

/* The character at *text, which moves behind it: a code point, and '/' for a backslash.  A byte
 * that is no UTF-8 counts as a character that nothing else equals. */
static uint32_t take_character(const char **text)
{
    static const unsigned char first_masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *at = (const unsigned char *)*text;
    size_t bytes = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    uint32_t code = at[0] & first_masks[bytes];

    if (strnlen(*text, bytes) < bytes || !wl_str_is_utf8(*text, bytes)) {
        *text += 1;
        return 0x110000u + at[0];
    }
    for (size_t i = 1; i < bytes; i++) {
        code = code << 6 | (at[i] & 0x3fu);
    }
    *text += bytes;
    return code == '\\' ? '/' : code;
}

/* The ']' that closes the set whose '[' is before `set`, or NULL. */
static const char *set_end(const char *set)
{
    set += *set == '!';
    return *set == '\0' ? NULL : strchr(set + 1, ']');
}

/* Whether the set [begin, end) has the character. */
static bool set_has(const char *begin, const char *end, uint32_t character)
{
    bool is_negated = *begin == '!';
    bool is_in_set = false;

    begin += is_negated;
    while (begin < end) {
        uint32_t low = take_character(&begin);
        uint32_t high = low;

        if (begin + 1 < end && *begin == '-') {
            begin++;
            high = take_character(&begin);
        }
        is_in_set = is_in_set || (character >= low && character <= high);
    }
    return is_in_set != is_negated;
}

/* Whether what the pattern has at *pattern, no '*', matches the character; moves behind it. */
static bool match_one(const char **pattern, uint32_t character)
{
    const char *end = **pattern == '[' ? set_end(*pattern + 1) : NULL;
    bool matches;

    if (end) {
        matches = set_has(*pattern + 1, end, character);
        *pattern = end + 1;
        return matches;
    }
    matches = **pattern == '?';
    return take_character(pattern) == character || matches;
}

/* As in wl_str_glob(), only the last star is tried again. */
bool wl_hub_match(const char *pattern, const char *path)
{
    bool is_folder = wl_str_ends(pattern, "/") || wl_str_ends(pattern, "\\");
    const char *star = NULL;
    const char *resume = NULL;

    while (*path) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = path;
            continue;
        }
        if (*pattern == '\0' && is_folder) {
            return true;
        }
        if (*pattern != '\0' && match_one(&pattern, take_character(&path))) {
            continue;
        }
        if (!star) {
            return false;
        }
        pattern = star;
        path = resume;
        (void)take_character(&path);
        resume = path;
    }
    return pattern[strspn(pattern, "*")] == '\0';
}
