/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/json_text.h"
#include "base/sys.h"

/* Terminate a string token where it stands; escapes, which make it shorter, are cJSON's. */
static int decode(const struct wl_json_object *object, uint32_t token, uint32_t bytes,
                  struct wload_error *err)
{
    char *text = object->text + token;
    cJSON *decoded;

    if (!memchr(text, '\\', bytes)) {
        text[bytes - 1] = '\0';
        return WLOAD_OK;
    }
    decoded = cJSON_ParseWithLengthOpts(text, bytes, NULL, 0);
    if (!decoded) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its JSON", object->what);
    }
    WL_ASSERT(strlen(decoded->valuestring) + 2 < bytes);
    memcpy(text + 1, decoded->valuestring, strlen(decoded->valuestring) + 1);
    cJSON_Delete(decoded);
    return WLOAD_OK;
}

static int map_members(struct wl_json_object *object, struct wload_error *err)
{
    if (!wl_map_init(&object->keys, object->count)) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its keys", object->what);
    }
    for (uint32_t i = 0; i < object->count; i++) {
        uint32_t number = i;
        int rc = decode(object, object->members[i].key, object->members[i].key_bytes, err);

        if (rc < 0) {
            return rc;
        }
        if (!wl_map_add(&object->keys, wl_json_key(object, i), &number)) {
            return wl_json_refuse_twin(object->what, wl_json_offset(object, i),
                                       wl_json_key(object, i), err);
        }
    }
    return WLOAD_OK;
}

/* `scan` says how strictly to check. */
static int open_object(struct wl_json_text scan, char *text, size_t size, const char *what,
                       uint64_t at, struct wl_json_object *out, struct wload_error *err)
{
    struct wl_json_object object = {.what = what, .text = text, .at = at};
    bool is_fine;
    int rc;

    WL_ASSERT(size < UINT32_MAX);
    scan.bytes = (const unsigned char *)text;
    scan.size = size;
    scan.lists_members = true;
    is_fine = wl_json_text_check(&scan);
    object.members = scan.members;
    object.count = scan.member_count;
    if (is_fine && text[strspn(text, " \n\r\t")] != '{') {
        scan.at = 0;
        scan.finding = "not an object";
        is_fine = false;
    }
    rc = is_fine ? map_members(&object, err) : wl_json_refuse(&scan, what, at, err);
    if (rc < 0) {
        wl_json_close(&object);
        return rc;
    }
    *out = object;
    return WLOAD_OK;
}

int wl_json_open(char *text, size_t size, const char *what, uint64_t at, bool only_whole,
                 struct wl_json_object *out, struct wload_error *err)
{
    const struct wl_json_text scan = {.only_whole = only_whole};

    return open_object(scan, text, size, what, at, out, err);
}

int wl_json_open_member(const struct wl_json_object *object, const char *key,
                        struct wl_json_object *out, struct wload_error *err)
{
    const struct wl_json_member *member;
    uint32_t number;

    if (!wl_map_find(&object->keys, key, &number) ||
        object->text[object->members[number].value] != '{') {
        return wl_err_at(err, WLOAD_ERR_FORMAT, object->at, "'%s' has no object '%s'", object->what,
                         key);
    }
    member = &object->members[number];
    return wl_json_open(object->text + member->value, member->value_bytes, object->what,
                        object->at + member->value, false, out, err);
}

void wl_json_close(struct wl_json_object *object)
{
    wl_map_clear(&object->keys);
    wl_sys->free(object->members);
    *object = (struct wl_json_object){0};
}

int wl_json_value(const struct wl_json_object *object, uint32_t number, cJSON **out,
                  struct wload_error *err)
{
    const struct wl_json_member *member = &object->members[number];

    return wl_json_parse_checked(object->text + member->value, member->value_bytes, object->what,
                                 object->at + member->value, out, err);
}

int wl_json_string(const struct wl_json_object *object, uint32_t number, const char **out,
                   struct wload_error *err)
{
    const struct wl_json_member *member = &object->members[number];
    int rc = WLOAD_OK;

    if (object->text[member->value] != '"') {
        *out = NULL;
        return WLOAD_OK;
    }
    rc = decode(object, member->value, member->value_bytes, err);
    if (rc == WLOAD_OK) {
        *out = object->text + member->value + 1;
    }
    return rc;
}

int wl_json_pick(char *text, size_t size, const char *what, const char *key, const char **out,
                 struct wload_error *err)
{
    const struct wl_json_text lenient = {.takes_any_unicode = true};
    struct wl_json_object object;
    const char *string = NULL;
    uint32_t number;
    int rc = open_object(lenient, text, size, what, 0, &object, err);

    if (rc < 0) {
        return rc;
    }
    if (wl_map_find(&object.keys, key, &number)) {
        const struct wl_json_member *member = &object.members[number];
        struct wl_json_text strict = {.bytes = (const unsigned char *)text + member->value,
                                      .size = member->value_bytes};

        rc = wl_json_text_check(&strict) ? wl_json_string(&object, number, &string, err)
                                         : wl_json_refuse(&strict, what, member->value, err);
    }
    wl_json_close(&object);
    if (rc == WLOAD_OK) {
        *out = string;
    }
    return rc;
}
