/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from outside: checked strictly, then read by cJSON.
 *
 * cJSON alone accepts what the formats we read forbid, so the text is checked
 * first: UTF-8 without lone surrogates, numbers by the letter of RFC 8259,
 * no NUL (not as an escape either), bounded depth and number of values, nothing
 * but white space after the value.  Then no object may have the same key twice.
 *
 *   small texts    wl_json_parse(): a tree; walk it with wl_json_each(), for
 *                  cJSON's own look-ups are linear
 *   large objects  wl_json_open(): keys and the text of their values, and a tree
 *                  of one value at a time: a tenth of the memory
 *   one string     wl_json_pick(): of an object whose other values nobody reads,
 *                  so that what users wrote there does no harm
 */
#ifndef WL_JSON_H
#define WL_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "wload.h"

/* ---- Trees ---- */

#define wl_json_each(item, parent) \
    for (const cJSON *item = (parent)->child; item; item = item->next)

/*
 * Parse `size` bytes; `what` names them in errors and `at` is their offset in
 * that file.  Free the tree with cJSON_Delete().
 */
int wl_json_parse(const char *text, size_t size, const char *what, uint64_t at, cJSON **out,
                  struct wload_error *err);

/* The member of that name or NULL; for small objects. */
const cJSON *wl_json_member(const cJSON *object, const char *name);

/* The value of a number that is a whole one from 0 to 2^53 - 1, else -1. */
int64_t wl_json_whole(const cJSON *item);

/* ---- Large objects ---- */

/* Offsets in the object's text. */
struct wl_json_member {
    uint32_t key; /* its opening quote */
    uint32_t key_bytes;
    uint32_t value;
    uint32_t value_bytes;
};

struct wl_json_object {
    struct wl_json_member *members; /* in the order of the text */
    struct wl_map keys;             /* to numbers of members */
    const char *what;               /* borrowed, as is the text */
    char *text;
    uint64_t at; /* of the text in the file */
    uint32_t count;
};

/*
 * Check the whole text, which must be an object, and list its members.  Writes
 * to the text: a NUL behind each key.  With `only_whole` all numbers in it must
 * be written 0|[1-9][0-9]*.  Text and `what` outlive the object.
 */
int wl_json_open(char *text, size_t size, const char *what, uint64_t at, bool only_whole,
                 struct wl_json_object *out, struct wload_error *err);

/* The members of a member that is an object; WLOAD_ERR_FORMAT if there is none of that key. */
int wl_json_open_member(const struct wl_json_object *object, const char *key,
                        struct wl_json_object *out, struct wload_error *err);
void wl_json_close(struct wl_json_object *object);

static inline const char *wl_json_key(const struct wl_json_object *object, uint32_t number)
{
    return object->text + object->members[number].key + 1;
}

/* Where in the file a member begins, for errors. */
static inline uint64_t wl_json_offset(const struct wl_json_object *object, uint32_t number)
{
    return object->at + object->members[number].key;
}

/* The value of a member as a tree; no object in it has the same key twice. */
int wl_json_value(const struct wl_json_object *object, uint32_t number, cJSON **out,
                  struct wload_error *err);

/* The value of a member if it is a string, else NULL.  Once per member: it is decoded in place. */
int wl_json_string(const struct wl_json_object *object, uint32_t number, const char **out,
                   struct wload_error *err);

/* ---- One string ---- */

/*
 * The value of that member of a text that must be an object, or NULL if there is no
 * such string; it lies in the text, which is written to.  All keys and this value are
 * checked as strictly as ever.  Other strings are never decoded and may hold escapes
 * that stand for no character: \u0000, and half of a surrogate pair.
 */
int wl_json_pick(char *text, size_t size, const char *what, const char *key, const char **out,
                 struct wload_error *err);

#endif /* WL_JSON_H */
