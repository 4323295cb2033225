/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/listing.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"

#define ROOM_AT_FIRST 64u
#define SHOWN_BYTES   "%.200s" /* of a name, in errors */

/* ---- One file more --------------------------------------------------------------------- */

void wl_listing_clear(struct wl_listing *listing)
{
    for (uint32_t i = 0; i < listing->count; i++) {
        wl_sys->free(listing->files[i].name);
    }
    wl_sys->free(listing->files);
    *listing = (struct wl_listing){0};
}

static int grow(struct wl_listing *listing, const char *what, struct wload_error *err)
{
    uint32_t room = listing->room ? listing->room * 2 : ROOM_AT_FIRST;
    struct wl_listing_file *files;

    if (listing->count >= WL_LISTING_FILES_MAX) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' has more than %u files", what,
                          WL_LISTING_FILES_MAX);
    }
    files = wl_sys_array(room, sizeof(files[0]));
    if (!files) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for %u files", what, room);
    }
    if (listing->count > 0) {
        memcpy(files, listing->files, listing->count * sizeof(files[0]));
    }
    wl_sys->free(listing->files);
    listing->files = files;
    listing->room = room;
    return WLOAD_OK;
}

int wl_listing_add(struct wl_listing *listing, const struct wl_listing_file *file, const char *what,
                   struct wload_error *err)
{
    struct wl_listing_file *added;

    if (!wl_hub_is_path(file->name)) {
        return wl_err_set(err, WLOAD_ERR_FORMAT,
                          "'%s' has a file '" SHOWN_BYTES "': no name for a file here", what,
                          file->name);
    }
    if (listing->count == listing->room || listing->count >= WL_LISTING_FILES_MAX) {
        int rc = grow(listing, what, err);

        if (rc < 0) {
            return rc;
        }
    }
    added = &listing->files[listing->count];
    *added = *file;
    added->name = wl_str_new("%s", file->name);
    if (!added->name) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its files", what);
    }
    listing->count++;
    return WLOAD_OK;
}

/* ---- All files ------------------------------------------------------------------------- */

static int fold(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

/* As if there were no case of letters; of names that are the same then, by their bytes. */
static int compare_folded(const void *a, const void *b)
{
    const char *name = ((const struct wl_listing_file *)a)->name;
    const char *other = ((const struct wl_listing_file *)b)->name;
    size_t at = 0;

    while (name[at] && fold(name[at]) == fold(other[at])) {
        at++;
    }
    return fold(name[at]) != fold(other[at]) ? fold(name[at]) - fold(other[at])
                                             : strcmp(name, other);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct wl_listing_file *)a)->name,
                  ((const struct wl_listing_file *)b)->name);
}

static bool begins_with(const char *name, const char *prefix, bool folds)
{
    while (*prefix && (folds ? fold(*name) == fold(*prefix) : *name == *prefix)) {
        name++;
        prefix++;
    }
    return *prefix == '\0';
}

/*
 * The first two files of which one has the name of the other or of a folder that
 * the other is in.  The names that one begins with stand before it in the sorted
 * array: they are kept on a stack, each of which begins with the one below.
 */
static bool find_clash(const struct wl_listing *listing, bool folds, const char *clash[2])
{
    const char *stack[WL_PATH_BYTES_MAX + 1]; /* each is longer than the one below */
    size_t depth = 0;

    for (uint32_t i = 0; i < listing->count; i++) {
        const char *name = listing->files[i].name;

        while (depth > 0 && !begins_with(name, stack[depth - 1], folds)) {
            depth--;
        }
        for (size_t k = 0; k < depth; k++) {
            char next = name[strlen(stack[k])];

            if (next == '\0' || next == '/') {
                clash[0] = stack[k];
                clash[1] = name;
                return true;
            }
        }
        stack[depth++] = name;
    }
    return false;
}

static void sort(struct wl_listing *listing, int (*compare)(const void *, const void *))
{
    if (listing->count > 1) {
        qsort(listing->files, listing->count, sizeof(listing->files[0]), compare);
    }
}

int wl_listing_finish(struct wl_listing *listing, const char *what, struct wload_error *err)
{
    const char *clash[2];

    sort(listing, compare_folded);
    if (!find_clash(listing, true, listing->folded)) {
        listing->folded[0] = NULL;
    }
    sort(listing, compare_names);
    if (!listing->folded[0] || !find_clash(listing, false, clash)) {
        return WLOAD_OK;
    }
    return strcmp(clash[0], clash[1]) == 0
               ? wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' has '" SHOWN_BYTES "' twice", what,
                            clash[0])
               : wl_err_set(err, WLOAD_ERR_FORMAT,
                            "'%s' has '" SHOWN_BYTES "' as a file and as a folder", what, clash[0]);
}

bool wl_listing_folds(const struct wl_listing *listing, const char **a, const char **b)
{
    if (!listing->folded[0]) {
        return false;
    }
    *a = listing->folded[0];
    *b = listing->folded[1];
    return true;
}

int64_t wl_listing_find(const struct wl_listing *listing, const char *name)
{
    struct wl_listing_file key = {.name = (char *)(uintptr_t)name};
    const struct wl_listing_file *found = listing->count > 0
                                              ? bsearch(&key, listing->files, listing->count,
                                                        sizeof(listing->files[0]), compare_names)
                                              : NULL;

    return found ? found - listing->files : -1;
}
