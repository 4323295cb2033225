/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: digests are those of the standards, whatever parts the data comes in.
 * Method: the test vectors of FIPS 180; a million bytes in parts of many sizes.
 */
#include "base/digest.h"

#include "test.h"

static void check(enum wl_digest_kind kind, const char *text, const char *expected)
{
    struct wload_error err = {0};
    struct wl_digest *digest;
    char hex[WL_DIGEST_HEX_BYTES];

    CHECK_OK(wl_digest_new(kind, &digest, &err), &err);
    CHECK_OK(wl_digest_add(digest, text, strlen(text), &err), &err);
    CHECK_OK(wl_digest_finish(digest, hex, &err), &err);
    CHECK_STR(hex, expected);
    for (const char *at = text; *at; at++) { /* begins again, byte by byte */
        CHECK_OK(wl_digest_add(digest, at, 1, &err), &err);
    }
    CHECK_OK(wl_digest_finish(digest, hex, &err), &err);
    CHECK_STR(hex, expected);
    wl_digest_free(digest);
}

static void check_million(void)
{
    static char block[4096];
    struct wload_error err = {0};
    struct wl_digest *digest;
    char hex[WL_DIGEST_HEX_BYTES];
    size_t left = 1000000;

    memset(block, 'a', sizeof(block));
    CHECK_OK(wl_digest_new(WL_DIGEST_SHA256, &digest, &err), &err);
    for (size_t part = 1; left > 0; part = part % sizeof(block) + 1) {
        size_t size = part < left ? part : left;

        CHECK_OK(wl_digest_add(digest, block, size, &err), &err);
        left -= size;
    }
    CHECK_OK(wl_digest_finish(digest, hex, &err), &err);
    CHECK_STR(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    wl_digest_free(digest);
}

int main(void)
{
    check(WL_DIGEST_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check(WL_DIGEST_SHA256, "abc",
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check(WL_DIGEST_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
    check_million();
    wl_digest_free(NULL);
    return 0;
}
