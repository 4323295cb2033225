/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: bounded, checked, matched. */
#ifndef WL_STR_H
#define WL_STR_H

#include <stdbool.h>
#include <stddef.h>

#include "wload.h"

/* A new string in printf's manner, or NULL without memory.  Free with wl_sys->free(). */
__attribute__((format(printf, 1, 2))) char *wl_str_new(const char *fmt, ...);

bool wl_str_starts(const char *text, const char *prefix);
bool wl_str_ends(const char *text, const char *suffix);

/* '*' matches any characters, '/' and '.' included; '?' exactly one byte. */
bool wl_str_glob(const char *pattern, const char *text);

/* Whether the pattern has a character that wl_str_glob() treats specially. */
bool wl_str_is_glob(const char *pattern);

/* Whether size bytes are valid UTF-8: no overlong forms, no surrogates, nothing past U+10FFFF. */
bool wl_str_is_utf8(const char *text, size_t size);

/*
 * Whether a name from outside may name a file in a directory of ours: one path
 * segment, no control characters, no backslash, no leading dot.
 */
bool wl_str_is_file_name(const char *name);

#endif /* WL_STR_H */
