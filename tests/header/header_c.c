/* SPDX-License-Identifier: Apache-2.0 */
/* The public header stands alone as C99. */
#include <wload.h>

uint32_t header_c(void);

uint32_t header_c(void)
{
    return wload_version();
}
