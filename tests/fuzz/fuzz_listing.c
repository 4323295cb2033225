/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: any bytes for a page of the tree API or for a kept listing are refused, or list files
 * that may lie in a directory of ours.
 * Method: take the bytes for both; of what is accepted every file must be sound and be found, and
 * a listing printed must be accepted and print the same.
 */
#include "base/hub.h"
#include "base/sys.h"
#include "cache/listing.h"
#include "fuzz_driver.h"

static void check_sound(const struct wl_listing *listing)
{
    for (uint32_t i = 0; i < listing->count; i++) {
        const struct wl_listing_file *file = &listing->files[i];

        CHECK(wl_hub_is_path(file->name));
        CHECK(file->size_bytes < 1ull << 53);
        CHECK(wl_hub_is_commit(file->blob_id));
        CHECK(wl_hub_is_sha256(file->hash) || strcmp(file->hash, file->blob_id) == 0);
        CHECK(file->xet_hash[0] == '\0' || wl_hub_is_sha256(file->xet_hash));
    }
}

/* No two files of a finished listing are one, or one in the other: compared pair by pair. */
static void check_apart(const struct wl_listing *listing)
{
    for (uint32_t i = 0; i < listing->count; i++) {
        const char *name = listing->files[i].name;

        CHECK_EQ(wl_listing_find(listing, name), i);
        for (uint32_t k = 0; k < listing->count; k++) {
            size_t bytes = strlen(listing->files[k].name);

            CHECK(i == k || strncmp(name, listing->files[k].name, bytes) != 0 ||
                  (name[bytes] != '\0' && name[bytes] != '/'));
        }
    }
}

static void check_printed(const struct wl_listing *listing)
{
    struct wload_error err = {0};
    struct wl_listing again;
    char *text = wl_listing_print(listing);
    char *text_again;

    CHECK(text != NULL);
    CHECK_OK(wl_listing_parse(text, strlen(text), "printed", &again, &err), &err);
    text_again = wl_listing_print(&again);
    CHECK_STR(text_again, text);
    wl_sys->free(text_again);
    wl_sys->free(text);
    wl_listing_clear(&again);
}

static void take_page(const char *text, size_t size)
{
    struct wload_error err = {0};
    struct wl_listing listing = {0};
    int rc = wl_listing_add_page(&listing, text, size, "input", &err);

    CHECK(rc == WLOAD_OK || rc == WLOAD_ERR_FORMAT);
    check_sound(&listing); /* also what came before an entry that is wrong */
    if (rc == WLOAD_OK && wl_listing_finish(&listing, "input", &err) == WLOAD_OK) {
        check_apart(&listing);
        listing.is_complete = true;
        check_printed(&listing);
    }
    wl_listing_clear(&listing);
}

static void take_tree(const char *text, size_t size)
{
    struct wload_error err = {0};
    struct wl_listing listing;
    int rc = wl_listing_parse(text, size, "input", &listing, &err);

    if (rc < 0) {
        CHECK_EQ(rc, WLOAD_ERR_FORMAT);
        return;
    }
    CHECK(listing.is_complete);
    check_sound(&listing);
    check_apart(&listing);
    check_printed(&listing);
    wl_listing_clear(&listing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    take_page((const char *)data, size);
    take_tree((const char *)data, size);
    return 0;
}
