/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a directory has a whole model, where nobody says what else should be in
 * it: it has weights, and all that its own indexes and its list of components name;
 * where weights alone are wanted, of the components those that can have some.
 */
#ifndef WL_WHOLE_H
#define WL_WHOLE_H

#include "cache/components.h"
#include "cache/wanted.h"

/*
 * `listing` is of what is below `path`; `is_wanted` as wl_wanted_mark() has set it
 * for a load of those components.  WLOAD_ERR_NOT_FOUND names what is not there.
 */
int wl_whole_check(const struct wl_wanted *wanted, const struct wl_components *components,
                   const struct wl_listing *listing, const bool *is_wanted, const char *path,
                   struct wload_error *err);

#endif /* WL_WHOLE_H */
