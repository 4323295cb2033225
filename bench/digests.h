/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of tensors where they landed, read back from the device. */
#ifndef WLOAD_DIGESTS_H
#define WLOAD_DIGESTS_H

#include <stddef.h>

#include "base/digest.h"
#include "wload.h"

struct landed {
    const struct wload_tensor *tensor; /* NULL: was not chosen */
    const void *address;
    char hex[WL_DIGEST_HEX_BYTES];
};

/* Fill in `hex` of every tensor that landed in `arena`; on all CPUs. */
int digests_compute(struct wload_arena *arena, struct landed *items, size_t count,
                    struct wload_error *err);

#endif /* WLOAD_DIGESTS_H */
