/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as a user writes them, and where they lead.  New strings are freed with wl_sys->free(). */
#ifndef WL_PATH_H
#define WL_PATH_H

#include <stdbool.h>

#include "wload.h"

/* The home directory: $HOME, else what the system's users say; of another `user`, or with "" of
 * this one.  NULL in *out: nobody knows.  False: no memory. */
bool wl_path_home(const char *user, char **out);

/* "~" or "~user" at the beginning; a user not known stays as it is.  NULL: no memory. */
char *wl_path_expand_home(const char *text);

/* "$NAME" and "${NAME}" anywhere, then the home; what is not known stays as it is.  NULL: no
 * memory. */
char *wl_path_expand(const char *text);

/* Make *path, which is replaced, absolute, without a slash at its end, with its links resolved:
 * those of what does not exist, too, so that it can be made where they lead. */
int wl_path_resolve(char **path, struct wload_error *err);

#endif /* WL_PATH_H */
