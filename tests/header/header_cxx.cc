// SPDX-License-Identifier: Apache-2.0
// The public header stands alone as C++11.
#include <wload.h>

uint32_t header_cxx()
{
    return wload_version();
}
