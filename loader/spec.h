/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user wrote, taken apart; nothing is looked up.
 *
 *   [file://]PATH       "file" and the path
 *   hf://[models/|datasets/]org/name[@revision][/subfolder]
 *                       "hf", the repository as path, and what else is said
 *   SCHEME://REST       the scheme in lower case, and the rest as it is
 *
 * A revision ends at a slash: one in a branch's name is written "%2F", but for
 * those of refs/pr/1 and refs/convert/x.
 */
#ifndef WL_SPEC_H
#define WL_SPEC_H

#include "cache/source.h"

/* `variant` may be NULL.  Anything but a well-formed spec is WLOAD_ERR_SPEC. */
int wl_spec_parse(const char *text, const char *variant, struct wl_spec *out,
                  struct wload_error *err);
void wl_spec_clear(struct wl_spec *spec);

#endif /* WL_SPEC_H */
