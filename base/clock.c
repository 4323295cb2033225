/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

static int64_t now(clockid_t clock)
{
    struct timespec at = {0};

    (void)clock_gettime(clock, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

int64_t wl_clock_ns(void)
{
    return now(CLOCK_MONOTONIC);
}

int64_t wl_clock_cpu_ns(void)
{
    return now(CLOCK_PROCESS_CPUTIME_ID);
}
