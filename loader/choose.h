/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing tensors by name or glob, before any byte is read. */
#ifndef WL_CHOOSE_H
#define WL_CHOOSE_H

#include <stdbool.h>

#include "loader/model.h"

/*
 * An array of info.tensor_count flags: which tensors `patterns` choose.  NULL
 * patterns choose all.  A pattern that matches nothing is WLOAD_ERR_NOT_FOUND.
 * Free it with wl_sys->free().
 */
int wl_choose(const struct wload_model *model, const char *const *patterns, size_t pattern_count,
              bool **out, struct wload_error *err);

#endif /* WL_CHOOSE_H */
