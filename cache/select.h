/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of a folder's files hold the weights that are wanted: decided by their
 * names alone, so that it is the same for a directory and for a listing.
 *
 *   model.safetensors                                    a single file
 *   model.safetensors.index.json                         an index of shards
 *   model-00001-of-00002.safetensors ...                 shards without an index
 *   model.fp16.safetensors                               and all three of a variant:
 *   model.safetensors.index.fp16.json                    today's way
 *   model.fp16-00001-of-00002.safetensors
 *   model.safetensors.fp16.index.json                    the way of before
 *   model-00001-of-00002.fp16.safetensors
 */
#ifndef WL_SELECT_H
#define WL_SELECT_H

#include <stdbool.h>

#include "wload.h"

/* Whether wl_select() looks at a file of that name at all. */
bool wl_select_knows(const char *name);

/* Whether a string can be the name of a variant: letters, digits, '.', '_' and '-'. */
bool wl_select_is_variant(const char *text);

/*
 * Pick from `count` names, sorted by strcmp().  `variant` NULL: the plain files.
 * Returns how many numbers of names were written to `picks`, which has room for
 * `count`, in order: one index, or the weights files; 0 if nothing is of that
 * variant.  An error if the names leave a choice, if a shard is missing, or if
 * plain files are wanted and there are others only; `folder` names it.
 */
int wl_select(const char *folder, const char *const *names, uint32_t count, const char *variant,
              uint32_t *picks, struct wload_error *err);

#endif /* WL_SELECT_H */
