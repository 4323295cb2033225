/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

void wl_assert_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "wload: %s:%d: %s does not hold\n", file, line, condition);
    abort();
}
