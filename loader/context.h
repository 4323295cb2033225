/* SPDX-License-Identifier: Apache-2.0 */
/* A context: what models and jobs share.  Immutable once made; counted by reference. */
#ifndef WL_CONTEXT_H
#define WL_CONTEXT_H

#include <stdatomic.h>

#include "base/log.h"
#include "base/trace.h"

struct wload_context {
    atomic_uint references;
    struct wl_log log;
    struct wl_trace *trace; /* NULL: not asked for */
};

/* One more owner; NULL makes a context of defaults.  Free with wload_context_free(). */
int wl_context_share(struct wload_context *context, struct wload_context **out,
                     struct wload_error *err);

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

#endif /* WL_CONTEXT_H */
