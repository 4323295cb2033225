/* SPDX-License-Identifier: Apache-2.0 */
/* Where a snapshot is: each place in turn, until one has all that is wanted. */
#ifndef WL_LOCATE_H
#define WL_LOCATE_H

#include "cache/snapshot.h"

/* Whether the spec is a name, not a path: "hf://...", or "org/name" where there is no such path. */
bool wl_locate_is_name(const struct wl_spec *spec);

/* Fill what wl_snapshot_open() has begun. */
int wl_locate(struct wl_snapshot *snapshot, const struct wload_snapshot_options *options,
              struct wload_error *err);

#endif /* WL_LOCATE_H */
