/* SPDX-License-Identifier: Apache-2.0 */
/* Where a snapshot is: each place in turn, until one has all that is wanted. */
#ifndef WL_LOCATE_H
#define WL_LOCATE_H

#include "cache/snapshot.h"

/* Fill what wl_snapshot_open() has begun. */
int wl_locate(struct wl_snapshot *snapshot, const struct wload_snapshot_options *options,
              struct wload_error *err);

/* ---- Names and paths: locate_path.c ---- */

/* On failure errno says why. */
bool wl_locate_exists(const char *path);

/* Whether the spec is a name, not a path: "hf://...", or "org/name" where there is no such path. */
bool wl_locate_is_name(const struct wl_spec *spec);

/*
 * The path that a spec of files means, with the subfolder that is asked for: a
 * new string.  It need not exist.  WLOAD_ERR_INVALID: it does, and what else is
 * asked for only a model that is named has.
 */
int wl_locate_path(const struct wl_spec *spec, const struct wload_snapshot_options *options,
                   char **out, struct wload_error *err);

/* Refuse a path that cannot be opened; a spec whose scheme nobody knows.  Both say what a name
 * looks like where one may have been meant. */
int wl_locate_no_path(const char *path, int sys_errno, struct wload_error *err);
int wl_locate_no_source(const struct wl_spec *spec, struct wload_error *err);

#endif /* WL_LOCATE_H */
