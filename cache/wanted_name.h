/* SPDX-License-Identifier: Apache-2.0 */
/* What the name of a file says about weights, of whatever format they are. */
#ifndef WL_WANTED_NAME_H
#define WL_WANTED_NAME_H

#include "cache/listing.h"

/* Whether a file of that name holds weights, or is an index of such files. */
bool wl_wanted_is_weights(const char *name);

/*
 * Clear is_wanted[i] of the weights in files [begin, end) that are there in
 * `variant`, too, and are not it, and of those of other variants.
 * WLOAD_ERR_NOT_FOUND: no weights are of that variant.
 */
int wl_wanted_drop_variants(const struct wl_listing *listing, uint32_t begin, uint32_t end,
                            const char *repo, const char *variant, bool *is_wanted,
                            struct wload_error *err);

#endif /* WL_WANTED_NAME_H */
