/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/json_text.h"

#define FEW_KEYS 8u /* compared pair by pair */

/* All nodes in the order of the text. */
struct walk {
    const cJSON *item;
    const cJSON *later[WL_JSON_DEPTH_MAX]; /* the next of each open container's siblings */
    uint32_t depth;
};

static void step(struct walk *walk)
{
    const cJSON *item = walk->item;

    if (item->child) {
        WL_ASSERT(walk->depth < WL_JSON_DEPTH_MAX);
        walk->later[walk->depth++] = item->next;
        walk->item = item->child;
        return;
    }
    walk->item = item->next;
    while (!walk->item && walk->depth > 0) {
        walk->item = walk->later[--walk->depth];
    }
}

static const cJSON *find_twin_among_few(const cJSON *object)
{
    wl_json_each (item, object) {
        for (const cJSON *other = object->child; other != item; other = other->next) {
            if (strcmp(other->string, item->string) == 0) {
                return item;
            }
        }
    }
    return NULL;
}

/* The first member whose key an earlier one has, or NULL.  False: no memory. */
static bool find_twin(const cJSON *object, const cJSON **out)
{
    struct wl_map keys;
    size_t count = 0;

    *out = NULL;
    wl_json_each (item, object) {
        count++;
    }
    if (count <= FEW_KEYS) {
        *out = find_twin_among_few(object);
        return true;
    }
    if (!wl_map_init(&keys, count)) {
        return false;
    }
    wl_json_each (item, object) {
        uint32_t value = 0;

        if (!wl_map_add(&keys, item->string, &value)) {
            *out = item;
            break;
        }
    }
    wl_map_clear(&keys);
    return true;
}

/* Where in the text the key of `item` begins, or the last key before it. */
static size_t offset_of(const char *text, size_t size, const cJSON *root, const cJSON *item)
{
    struct wl_json_text scan = {.bytes = (const unsigned char *)text, .size = size};
    struct walk walk = {.item = root};

    while (walk.item) {
        scan.key_wanted += walk.item->string != NULL;
        if (walk.item == item) {
            break;
        }
        step(&walk);
    }
    if (scan.key_wanted == 0) {
        return 0;
    }
    (void)wl_json_text_check(&scan);
    return scan.at;
}

static int check_tree(const char *text, size_t size, const char *what, uint64_t at,
                      const cJSON *root, struct wload_error *err)
{
    for (struct walk walk = {.item = root}; walk.item; step(&walk)) {
        const cJSON *item = walk.item;
        const cJSON *twin = NULL;

        if (cJSON_IsNumber(item) && __builtin_isinf(item->valuedouble)) {
            uint64_t offset = at + offset_of(text, size, root, item);

            return wl_err_at(err, WLOAD_ERR_FORMAT, offset,
                             "'%s': invalid JSON behind offset %" PRIu64
                             ": a number that is too large",
                             what, offset);
        }
        if (cJSON_IsObject(item) && !find_twin(item, &twin)) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its keys", what);
        }
        if (twin) {
            return wl_json_refuse_twin(what, at + offset_of(text, size, root, twin), twin->string,
                                       err);
        }
    }
    return WLOAD_OK;
}

int wl_json_parse_checked(const char *text, size_t size, const char *what, uint64_t at, cJSON **out,
                          struct wload_error *err)
{
    cJSON *root = cJSON_ParseWithLengthOpts(text, size, NULL, 0);
    int rc;

    if (!root) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its JSON", what);
    }
    rc = check_tree(text, size, what, at, root, err);
    if (rc < 0) {
        cJSON_Delete(root);
        return rc;
    }
    *out = root;
    return WLOAD_OK;
}

int wl_json_parse(const char *text, size_t size, const char *what, uint64_t at, cJSON **out,
                  struct wload_error *err)
{
    struct wl_json_text scan = {.bytes = (const unsigned char *)text, .size = size};

    return wl_json_text_check(&scan) ? wl_json_parse_checked(text, size, what, at, out, err)
                                     : wl_json_refuse(&scan, what, at, err);
}

const cJSON *wl_json_member(const cJSON *object, const char *name)
{
    if (!cJSON_IsObject(object)) {
        return NULL;
    }
    wl_json_each (item, object) {
        if (strcmp(item->string, name) == 0) {
            return item;
        }
    }
    return NULL;
}

int64_t wl_json_whole(const cJSON *item)
{
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;

    return value >= 0 && value < (double)WL_DIMENSION_MAX && value == (double)(int64_t)value
               ? (int64_t)value
               : -1;
}
