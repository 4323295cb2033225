/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads that share a list of work. */
#ifndef WLOAD_TEAM_H
#define WLOAD_TEAM_H

#include <stddef.h>

#include "wload.h"

#define TEAM_BUFFER_BYTES ((size_t)4 << 20)

/* Do item `index`, with a buffer of TEAM_BUFFER_BYTES for this thread alone. */
typedef int (*team_item_fn)(void *user, size_t index, void *buffer, struct wload_error *err);

/* Do items 0 to count - 1, on all CPUs.  Returns the error of one that failed: no more are begun
 * after it. */
int team_run(size_t count, team_item_fn do_item, void *user, struct wload_error *err);

#endif /* WLOAD_TEAM_H */
