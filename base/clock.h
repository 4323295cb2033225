/* SPDX-License-Identifier: Apache-2.0 */
/* The monotonic clock.  Deadlines are in its nanoseconds. */
#ifndef WL_CLOCK_H
#define WL_CLOCK_H

#include <stdint.h>

int64_t wl_clock_ns(void);

/* CPU time of the whole process, all threads, user and system. */
int64_t wl_clock_cpu_ns(void);

#endif /* WL_CLOCK_H */
