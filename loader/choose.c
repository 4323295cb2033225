/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/choose.h"

#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"

static uint32_t choose_glob(const struct wload_model *model, const char *pattern, bool *is_chosen)
{
    uint32_t matches = 0;

    for (uint32_t i = 0; i < model->info.tensor_count; i++) {
        if (wl_str_glob(pattern, model->index.tensors[i].name)) {
            is_chosen[i] = true;
            matches++;
        }
    }
    return matches;
}

/* A name is tried as it stands first: some names have a '*' of their own. */
static uint32_t choose_one(const struct wload_model *model, const char *pattern, bool *is_chosen)
{
    const struct wload_tensor *tensor = wl_index_find(&model->index, pattern);

    if (tensor) {
        is_chosen[tensor->tensor_index] = true;
        return 1;
    }
    return wl_str_is_glob(pattern) ? choose_glob(model, pattern, is_chosen) : 0;
}

int wl_choose(const struct wload_model *model, const char *const *patterns, size_t pattern_count,
              bool **out, struct wload_error *err)
{
    bool *is_chosen = wl_sys_array(model->info.tensor_count, sizeof(is_chosen[0]));

    if (!is_chosen) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to choose from %u tensors",
                          model->info.tensor_count);
    }
    if (!patterns) {
        memset(is_chosen, 1, model->info.tensor_count);
    }
    for (size_t i = 0; patterns && i < pattern_count; i++) {
        if (choose_one(model, patterns[i], is_chosen) == 0) {
            wl_sys->free(is_chosen);
            return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "no tensor matches '%s'", patterns[i]);
        }
    }
    *out = is_chosen;
    return WLOAD_OK;
}
