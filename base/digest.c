/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/sys.h"

#define SHA1_DIGITS 40

struct wl_digest {
    EVP_MD_CTX *context;
    const EVP_MD *algorithm;
};

static int failed(struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_NOMEM, "libcrypto cannot compute a digest");
}

int wl_digest_new(enum wl_digest_kind kind, struct wl_digest **out, struct wload_error *err)
{
    struct wl_digest *digest = wl_sys->alloc(sizeof(*digest));

    if (!digest) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a digest");
    }
    digest->algorithm = kind == WL_DIGEST_SHA256 ? EVP_sha256() : EVP_sha1();
    digest->context = EVP_MD_CTX_new();
    if (!digest->context || EVP_DigestInit_ex(digest->context, digest->algorithm, NULL) != 1) {
        wl_digest_free(digest);
        return failed(err);
    }
    *out = digest;
    return WLOAD_OK;
}

int wl_digest_of_file(const char *hash, uint64_t size_bytes, struct wl_digest **out,
                      struct wload_error *err)
{
    bool is_git = strlen(hash) == SHA1_DIGITS;
    char head[32];
    int head_bytes = snprintf(head, sizeof(head), "blob %" PRIu64, size_bytes);
    struct wl_digest *digest;
    int rc = wl_digest_new(is_git ? WL_DIGEST_SHA1 : WL_DIGEST_SHA256, &digest, err);

    if (rc == WLOAD_OK && is_git) {
        rc = wl_digest_add(digest, head, (size_t)head_bytes + 1, err); /* with its NUL */
        if (rc < 0) {
            wl_digest_free(digest);
        }
    }
    if (rc == WLOAD_OK) {
        *out = digest;
    }
    return rc;
}

int wl_digest_add(struct wl_digest *digest, const void *data, size_t size_bytes,
                  struct wload_error *err)
{
    return EVP_DigestUpdate(digest->context, data, size_bytes) == 1 ? WLOAD_OK : failed(err);
}

int wl_digest_finish(struct wl_digest *digest, char hex[WL_DIGEST_HEX_BYTES],
                     struct wload_error *err)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (EVP_DigestFinal_ex(digest->context, raw, &size) != 1 ||
        EVP_DigestInit_ex(digest->context, digest->algorithm, NULL) != 1) {
        return failed(err);
    }
    for (unsigned i = 0; i < size; i++) {
        hex[2 * i] = digits[raw[i] >> 4];
        hex[2 * i + 1] = digits[raw[i] & 15];
    }
    hex[2 * size] = '\0';
    return WLOAD_OK;
}

void wl_digest_free(struct wl_digest *digest)
{
    if (digest) {
        EVP_MD_CTX_free(digest->context);
        wl_sys->free(digest);
    }
}
