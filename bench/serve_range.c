/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "base/str.h"
#include "bench/serve.h"

#define UNIT  "bytes="
#define SPACE " \t"

/* Decimal digits at *text, which moves behind them; a number too large is the largest.  False:
 * there are none. */
static bool take_number(const char **text, uint64_t *value)
{
    const char *at = *text;
    uint64_t sum = 0;

    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(sum, 10u, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(*at - '0'), &sum)) {
            sum = UINT64_MAX / 10; /* stays too large for any file */
        }
    }
    *value = sum;
    if (at == *text) {
        return false;
    }
    *text = at;
    return true;
}

enum serve_range serve_range_parse(const char *header, uint64_t size_bytes, uint64_t *first,
                                   uint64_t *count)
{
    uint64_t low = 0;
    uint64_t high = UINT64_MAX;
    bool has_low;
    bool has_high;

    *first = 0;
    *count = size_bytes;
    if (!header || strncasecmp(header, UNIT, strlen(UNIT)) != 0) {
        return SERVE_WHOLE;
    }
    header += strlen(UNIT);
    header += strspn(header, SPACE);
    has_low = take_number(&header, &low);
    if (*header++ != '-') {
        return SERVE_WHOLE;
    }
    has_high = take_number(&header, &high);
    if (header[strspn(header, SPACE)] != '\0' || (!has_low && !has_high) ||
        (has_low && has_high && high < low)) {
        return SERVE_WHOLE; /* several ranges, too */
    }
    if (!has_low) { /* so many at the end */
        low = high < size_bytes ? size_bytes - high : 0;
    }
    if (low >= size_bytes) {
        return SERVE_OUTSIDE;
    }
    *first = low;
    *count = has_low && has_high ? wl_min(high, size_bytes - 1) - low + 1 : size_bytes - low;
    return SERVE_PART;
}

bool serve_range_has_etag(const char *header, const char *hash)
{
    while (*header) {
        const char *end;

        header += strspn(header, SPACE ",");
        if (*header == '*') {
            return true;
        }
        header += wl_str_starts(header, "W/") ? 2 : 0;
        if (*header != '"' || !(end = strchr(header + 1, '"'))) {
            return false;
        }
        if ((size_t)(end - header - 1) == strlen(hash) &&
            memcmp(header + 1, hash, strlen(hash)) == 0) {
            return true;
        }
        header = end + 1;
    }
    return false;
}
