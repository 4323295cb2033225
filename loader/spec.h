/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user wrote, taken apart; nothing is looked up.
 *
 *   [file://]PATH       "file" and the path
 *   SCHEME://REST       the scheme in lower case, and the rest as it is
 */
#ifndef WL_SPEC_H
#define WL_SPEC_H

#include "cache/source.h"

/* `variant` may be NULL.  Anything but a well-formed spec is WLOAD_ERR_SPEC. */
int wl_spec_parse(const char *text, const char *variant, struct wl_spec *out,
                  struct wload_error *err);
void wl_spec_clear(struct wl_spec *spec);

#endif /* WL_SPEC_H */
