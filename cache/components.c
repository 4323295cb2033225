/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/components.h"

#include "base/base.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "base/sys.h"

/* ["library", "Class"] is a component; [null, null] is one that is absent, and all else is
 * configuration, as is every key that begins with '_'. */
static bool is_component(const cJSON *item)
{
    const cJSON *library = cJSON_IsArray(item) ? item->child : NULL;
    const cJSON *class = library ? library->next : NULL;

    return class && !class->next && cJSON_IsString(library) && cJSON_IsString(class) &&
           item->string[0] != '_';
}

/* Whether the class of a component has no weights, as its name's end tells. */
static bool is_weightless(const cJSON *item)
{
    static const char *const endings[] = {"Tokenizer",        "TokenizerFast", "Scheduler",
                                          "FeatureExtractor", "Processor",     "ProcessorFast"};

    for (size_t i = 0; i < WL_COUNT_OF(endings); i++) {
        if (wl_str_ends(item->child->next->valuestring, endings[i])) {
            return true;
        }
    }
    return false;
}

static int add_components(const cJSON *root, const char *what, struct wl_components *out,
                          struct wload_error *err)
{
    uint32_t count = 0;

    if (!cJSON_IsObject(root)) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' is not a JSON object", what);
    }
    wl_json_each (item, root) {
        count += is_component(item);
    }
    out->names = wl_sys_array(count, sizeof(out->names[0]));
    out->are_weightless = wl_sys_array(count, sizeof(out->are_weightless[0]));
    if (!out->names || !out->are_weightless) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for %u components", what, count);
    }
    wl_json_each (item, root) {
        if (!is_component(item)) {
            continue;
        }
        if (!wl_str_is_file_name(item->string)) {
            return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s': component '%s' cannot name a folder",
                              what, item->string);
        }
        out->names[out->count] = wl_str_new("%s", item->string);
        if (!out->names[out->count]) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for component '%s'", item->string);
        }
        out->are_weightless[out->count++] = is_weightless(item);
    }
    return WLOAD_OK;
}

int wl_components_parse(const char *text, size_t size_bytes, const char *what,
                        struct wl_components *out, struct wload_error *err)
{
    struct wl_components components = {0};
    cJSON *root = NULL;
    int rc = wl_json_parse(text, size_bytes, what, 0, &root, err);

    if (rc == WLOAD_OK) {
        rc = add_components(root, what, &components, err);
    }
    cJSON_Delete(root);
    if (rc < 0) {
        wl_components_clear(&components);
        return rc;
    }
    *out = components;
    return WLOAD_OK;
}

int wl_components_read(const char *path, struct wl_components *out, struct wload_error *err)
{
    char *text;
    size_t size;
    int rc = wl_file_read(path, WL_INDEX_BYTES_MAX, &text, &size, err);

    if (rc == WLOAD_OK) {
        rc = wl_components_parse(text, size, path, out, err);
        wl_sys->free(text);
    }
    return rc;
}

void wl_components_clear(struct wl_components *components)
{
    for (uint32_t i = 0; i < components->count; i++) {
        wl_sys->free(components->names[i]);
    }
    wl_sys->free(components->names);
    wl_sys->free(components->are_weightless);
    *components = (struct wl_components){0};
}
