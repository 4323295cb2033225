/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"

#define FILE_NAME_BYTES_MAX 255u

char *wl_str_new(const char *fmt, ...)
{
    va_list ap;
    char *text;
    int size;

    va_start(ap, fmt);
    size = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    text = size < 0 ? NULL : wl_sys->alloc((size_t)size + 1);
    if (!text) {
        return NULL;
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, (size_t)size + 1, fmt, ap);
    va_end(ap);
    return text;
}

bool wl_str_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool wl_str_ends(const char *text, const char *suffix)
{
    size_t text_size = strlen(text);
    size_t suffix_size = strlen(suffix);

    return text_size >= suffix_size && strcmp(text + text_size - suffix_size, suffix) == 0;
}

/* On a mismatch only the last star takes one byte more: never exponential. */
bool wl_str_glob(const char *pattern, const char *text)
{
    const char *star = NULL;
    const char *resume = NULL;

    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

bool wl_str_is_glob(const char *pattern)
{
    return strpbrk(pattern, "*?") != NULL;
}

/* Length of the well-formed sequence at `s`, or 0.  The ranges are Unicode's table 3-7. */
static size_t sequence(const unsigned char *s, size_t size)
{
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t length;

    if (s[0] < 0x80) {
        return 1;
    }
    if (s[0] < 0xc2 || s[0] > 0xf4) {
        return 0;
    }
    length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (size < length) {
        return 0;
    }
    low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : low;
    high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : high;
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

bool wl_str_is_utf8(const char *text, size_t size)
{
    size_t at = 0;

    while (at < size) {
        uint64_t word;
        size_t length;

        if (size - at >= sizeof(word)) { /* eight ASCII bytes at a time */
            memcpy(&word, text + at, sizeof(word));
            if ((word & 0x8080808080808080u) == 0) {
                at += sizeof(word);
                continue;
            }
        }
        length = sequence((const unsigned char *)text + at, size - at);
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

bool wl_str_is_file_name(const char *name)
{
    size_t size = strlen(name);

    if (size == 0 || size > FILE_NAME_BYTES_MAX || name[0] == '.' || !wl_str_is_utf8(name, size)) {
        return false;
    }
    for (const char *at = name; *at; at++) {
        if (*at == '/' || *at == '\\' || (unsigned char)*at < 0x20 || *at == 0x7f) {
            return false;
        }
    }
    return true;
}
