/* SPDX-License-Identifier: Apache-2.0 */
/* What callers ask for: taken by whatever header they were built against, and refused where it
 * cannot be. */
#ifndef WL_OPTIONS_H
#define WL_OPTIONS_H

#include "wload.h"

/*
 * Take the options of a caller built against an older or newer header: fields it
 * does not know read as zero, which is their default.  Fields that we do not know
 * must be zero, else the caller asked for something this library cannot do.
 * `source` may be NULL: all defaults.
 */
int wl_options_take(void *target, size_t target_bytes, const void *source, struct wload_error *err);

/* The same of these, and whether they can be. */
int wl_fetch_options_take(struct wload_fetch_options *target,
                          const struct wload_fetch_options *source, struct wload_error *err);

#endif /* WL_OPTIONS_H */
