/* SPDX-License-Identifier: Apache-2.0 */
/* What callers ask for: taken by whatever header they were built against, and refused where it
 * cannot be, by the name of its field. */
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

/* A number that has a greatest value: the last of its enum, a limit, or 0 of a reserved field. */
struct wl_option {
    const char *name;
    uint32_t value;
    uint32_t max;
};

/* Refuse the first number that is above its greatest value. */
int wl_options_check(const struct wl_option *options, size_t count, struct wload_error *err);
/* Refuse a list of `count` strings that is not all there. */
int wl_options_check_list(const char *name, const char *const *items, size_t count,
                          struct wload_error *err);

/* Take options of these kinds, and refuse what cannot be. */
int wl_snapshot_options_take(struct wload_snapshot_options *out,
                             const struct wload_snapshot_options *source, struct wload_error *err);
int wl_fetch_options_take(struct wload_fetch_options *out, const struct wload_fetch_options *source,
                          struct wload_error *err);

#endif /* WL_OPTIONS_H */
