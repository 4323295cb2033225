/* SPDX-License-Identifier: Apache-2.0 */
/* From a spec to the files that it means: by the source of its scheme, or of names. */
#ifndef WL_RESOLVE_H
#define WL_RESOLVE_H

#include "cache/source.h"

/* Clear the manifest with wl_manifest_clear(). */
int wl_resolve(const struct wl_log *log, const struct wl_spec *spec,
               const struct wl_source_options *options, struct wl_manifest *out,
               struct wload_error *err);

#endif /* WL_RESOLVE_H */
