/* SPDX-License-Identifier: Apache-2.0 */
/* The control groups of this process: how much memory it may take before it is killed. */
#ifndef WL_CGROUP_H
#define WL_CGROUP_H

#include <stdint.h>

/* Of this process's group and those above it, as far as they can be seen from here.  UINT64_MAX:
 * none has a limit, or nobody knows. */
struct wl_cgroup_memory {
    uint64_t limit_bytes;   /* the tightest limit */
    uint64_t free_bytes;    /* the least that any of them has left, */
    uint64_t free_of_bytes; /* and the limit of that one */
};

/* Of version 2 and of version 1, whichever tells, at every call anew. */
struct wl_cgroup_memory wl_cgroup_memory(void);

#endif /* WL_CGROUP_H */
