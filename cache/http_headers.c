/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/http_headers.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define DIGITS_MAX 18u /* of a number that surely fits */

/* A piece of a line. */
struct text {
    const char *at;
    size_t size;
};

enum kind {
    EXACT,  /* text that is compared or sent: whole and printable, or not there */
    SHOWN,  /* text for people: as much as there is room */
    NUMBER, /* digits alone */
    OTHER   /* `take` reads it */
};

struct field {
    const char *name;
    enum kind kind;
    bool is_single; /* two different values are a contradiction */
    size_t offset;  /* in the response */
    bool (*take)(struct wl_http_response *response, struct text value);
};

/* ---- Pieces --------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip(struct text *text, size_t size)
{
    text->at += size;
    text->size -= size;
}

static void trim(struct text *text)
{
    while (text->size > 0 && is_blank(text->at[0])) {
        skip(text, 1);
    }
    while (text->size > 0 && is_blank(text->at[text->size - 1])) {
        text->size--;
    }
}

static bool take_char(struct text *text, char c)
{
    if (text->size == 0 || text->at[0] != c) {
        return false;
    }
    skip(text, 1);
    return true;
}

/* The digits at the front; -1: there are none, or too many. */
static int64_t take_number(struct text *text)
{
    int64_t value = 0;
    size_t count = 0;

    while (text->size > 0 && isdigit((unsigned char)text->at[0])) {
        if (++count > DIGITS_MAX) {
            return -1;
        }
        value = value * 10 + (text->at[0] - '0');
        skip(text, 1);
    }
    return count > 0 ? value : -1;
}

static int64_t number(struct text text)
{
    int64_t value = take_number(&text);

    return text.size == 0 ? value : -1;
}

/* What lies before the first `stop` that is in no quotes; it and `stop` are skipped. */
static struct text take_until(struct text *text, char stop)
{
    struct text piece = {.at = text->at, .size = 0};
    bool is_quoted = false;

    while (text->size > 0 && (is_quoted || text->at[0] != stop)) {
        is_quoted ^= text->at[0] == '"';
        skip(text, 1);
        piece.size++;
    }
    (void)take_char(text, stop);
    trim(&piece);
    return piece;
}

static bool equals(struct text text, const char *word)
{
    return text.size == strlen(word) && strncasecmp(text.at, word, text.size) == 0;
}

static bool is_printable(struct text text)
{
    for (size_t i = 0; i < text.size; i++) {
        if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static void copy(char *out, size_t room, struct text text)
{
    size_t size = text.size < room ? text.size : room - 1;

    memcpy(out, text.at, size);
    out[size] = '\0';
}

/* ---- Headers with a form of their own ------------------------------------------- */

/* "bytes 0-9/100"; the total may be '*', and so may the range of a refusal. */
static bool take_content_range(struct wl_http_response *response, struct text value)
{
    int64_t begin = -1;
    int64_t last = -1;
    int64_t total;

    if (value.size < 6 || strncasecmp(value.at, "bytes ", 6) != 0) {
        return true;
    }
    skip(&value, 6);
    if (!take_char(&value, '*')) {
        begin = take_number(&value);
        last = take_char(&value, '-') ? take_number(&value) : -1;
        if (begin < 0 || last < begin) {
            return true;
        }
    }
    if (!take_char(&value, '/')) {
        return true;
    }
    total = number(value);
    if ((total < 0 && !equals(value, "*")) || (total >= 0 && last >= total)) {
        return true;
    }
    last = last < 0 ? -1 : last + 1;
    if (response->range_total >= 0 &&
        (response->range_begin != begin || response->range_end != last ||
         response->range_total != total)) {
        return false;
    }
    response->range_begin = begin;
    response->range_end = last;
    response->range_total = total;
    return true;
}

/* "bucket";r=0;t=55 - the first bucket's. */
static bool take_rate_limit(struct wl_http_response *response, struct text value)
{
    struct text bucket = take_until(&value, ',');

    (void)take_until(&bucket, ';');
    while (bucket.size > 0) {
        struct text parameter = take_until(&bucket, ';');
        struct text name = take_until(&parameter, '=');

        if (equals(name, "r")) {
            response->rate_limit_left = number(parameter);
        } else if (equals(name, "t")) {
            response->rate_limit_reset_s = number(parameter);
        }
    }
    return true;
}

static bool take_encoding(struct wl_http_response *response, struct text value)
{
    response->is_encoded = value.size > 0 && !equals(value, "identity");
    return true;
}

static bool take_location(struct wl_http_response *response, struct text value)
{
    char *location = response->location;

    if (value.size >= sizeof(response->location) || !is_printable(value)) {
        return true;
    }
    if (location[0] != '\0' &&
        (strlen(location) != value.size || memcmp(location, value.at, value.size) != 0)) {
        return false;
    }
    copy(location, sizeof(response->location), value);
    return true;
}

/* Whether the parameters have rel=next, alone or with other relations. */
static bool is_next(struct text parameters)
{
    while (parameters.size > 0) {
        struct text value = take_until(&parameters, ';');
        struct text name = take_until(&value, '=');

        if (!equals(name, "rel")) {
            continue;
        }
        if (value.size >= 2 && value.at[0] == '"' && value.at[value.size - 1] == '"') {
            value.size--;
            skip(&value, 1);
        }
        while (value.size > 0) {
            if (equals(take_until(&value, ' '), "next")) {
                return true;
            }
        }
    }
    return false;
}

/* <address>; rel="next", <address>; rel="other" */
static bool take_link(struct wl_http_response *response, struct text value)
{
    while (value.size > 0) {
        const char *close;
        struct text address;

        trim(&value);
        if (take_char(&value, ',')) {
            continue;
        }
        close = take_char(&value, '<') ? memchr(value.at, '>', value.size) : NULL;
        if (!close) {
            break;
        }
        address = (struct text){.at = value.at, .size = (size_t)(close - value.at)};
        skip(&value, address.size + 1);
        if (is_next(take_until(&value, ',')) && response->next[0] == '\0' &&
            address.size < sizeof(response->next) && is_printable(address)) {
            copy(response->next, sizeof(response->next), address);
        }
    }
    return true;
}

/* ---- The table ------------------------------------------------------------------ */

#define FIELD(name, kind, is_single, member)                                   \
    {                                                                          \
        name, kind, is_single, offsetof(struct wl_http_response, member), NULL \
    }

static const struct field fields[] = {
    FIELD("Content-Length", NUMBER, true, content_bytes),
    FIELD("ETag", EXACT, true, etag),
    FIELD("X-Linked-Etag", EXACT, true, linked_etag),
    FIELD("X-Linked-Size", NUMBER, true, linked_bytes),
    FIELD("X-Repo-Commit", EXACT, true, commit),
    FIELD("Retry-After", NUMBER, false, retry_after_s),
    FIELD("X-Error-Code", EXACT, false, error_code),
    FIELD("X-Error-Message", SHOWN, false, error_message),
    FIELD("X-HF-Warning", SHOWN, false, warning),
    FIELD("X-Request-Id", SHOWN, false, request_id),
    FIELD("X-Amzn-Trace-Id", SHOWN, false, request_id),
    FIELD("X-Amz-Cf-Id", SHOWN, false, request_id),
    {"Content-Range", OTHER, false, 0, take_content_range},
    {"Content-Encoding", OTHER, false, 0, take_encoding},
    {"RateLimit", OTHER, false, 0, take_rate_limit},
    {"Location", OTHER, false, 0, take_location},
    {"Link", OTHER, false, 0, take_link},
};

/* The first value stays. */
static bool take_text(char *member, const struct field *field, struct text value)
{
    if (field->kind == EXACT && (value.size >= WL_HTTP_TEXT_BYTES || !is_printable(value))) {
        return true;
    }
    if (member[0] != '\0') {
        return !field->is_single ||
               (strlen(member) == value.size && memcmp(member, value.at, value.size) == 0);
    }
    copy(member, WL_HTTP_TEXT_BYTES, value);
    return true;
}

static bool take_field(struct wl_http_response *response, const struct field *field,
                       struct text value)
{
    char *member = (char *)response + field->offset;
    int64_t *value_of = (int64_t *)(void *)member;
    int64_t given;

    switch (field->kind) {
    case EXACT:
    case SHOWN:
        return take_text(member, field, value);
    case NUMBER:
        given = number(value);
        if (field->is_single && *value_of >= 0 && given != *value_of) {
            return false;
        }
        *value_of = given;
        return true;
    case OTHER:
    default:
        return field->take(response, value);
    }
}

void wl_http_headers_begin(struct wl_http_response *response)
{
    *response = (struct wl_http_response){
        .content_bytes = -1,
        .range_begin = -1,
        .range_end = -1,
        .range_total = -1,
        .retry_after_s = -1,
        .rate_limit_left = -1,
        .rate_limit_reset_s = -1,
        .linked_bytes = -1,
    };
}

bool wl_http_headers_add(struct wl_http_response *response, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size);
    struct text value = {.at = line, .size = size};
    struct text name = {.at = line, .size = colon ? (size_t)(colon - line) : 0};

    if (!colon) {
        return true;
    }
    skip(&value, name.size + 1);
    trim(&value);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (equals(name, fields[i].name)) {
            return take_field(response, &fields[i], value);
        }
    }
    return true;
}
