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

#endif /* WL_CONTEXT_H */
