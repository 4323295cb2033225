/* SPDX-License-Identifier: Apache-2.0 */
/* Content digests, by libcrypto. */
#ifndef WL_DIGEST_H
#define WL_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "wload.h"

enum wl_digest_kind {
    WL_DIGEST_SHA256,
    WL_DIGEST_SHA1
};

#define WL_DIGEST_HEX_BYTES 65 /* the longest digest in lower-case hex, and a NUL */

struct wl_digest;

int wl_digest_new(enum wl_digest_kind kind, struct wl_digest **out, struct wload_error *err);
/*
 * A digest of a file whose hash on a hub is `hash`: SHA-256, or where that has 40
 * digits the SHA-1 of the git blob that a file of size_bytes makes.
 */
int wl_digest_of_file(const char *hash, uint64_t size_bytes, struct wl_digest **out,
                      struct wload_error *err);
int wl_digest_add(struct wl_digest *digest, const void *data, size_t size_bytes,
                  struct wload_error *err);
/* Write the digest of all added since new, and begin again. */
int wl_digest_finish(struct wl_digest *digest, char hex[WL_DIGEST_HEX_BYTES],
                     struct wload_error *err);
void wl_digest_free(struct wl_digest *digest);

#endif /* WL_DIGEST_H */
