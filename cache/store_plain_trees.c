/* SPDX-License-Identifier: Apache-2.0 */
/* What a plain directory should have: the listings tell that fetches into it have left there. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/store_layout.h"

/* The listing that a file of that name has, "<commit>.json"; WLOAD_ERR_NOT_FOUND: none. */
static int read_tree(const struct wl_store *store, const char *name, struct wl_listing *out)
{
    struct wl_store of_commit = *store;

    (void)snprintf(of_commit.commit, sizeof(of_commit.commit), "%.40s", name);
    return wl_hub_is_commit(of_commit.commit) ? wl_store_listing(&of_commit, out, NULL)
                                              : WLOAD_ERR_NOT_FOUND;
}

static uint32_t count_absent(const struct wl_listing *tree, const struct wl_listing *here)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tree->count; i++) {
        count += wl_listing_find(here, tree->files[i].name) < 0;
    }
    return count;
}

/* Of the listings the one of which the least is absent; none: an empty one. */
static int find_nearest(const struct wl_store *store, const struct wl_listing *names,
                        const char *commit, const struct wl_listing *here, struct wl_listing *out)
{
    uint32_t least = UINT32_MAX;

    for (uint32_t i = 0; i < names->count; i++) {
        const char *name = names->files[i].name;
        struct wl_listing tree;
        uint32_t absent;
        int rc = wl_str_starts(name, commit) ? read_tree(store, name, &tree) : WLOAD_ERR_NOT_FOUND;

        if (rc == WLOAD_ERR_NOMEM) {
            wl_listing_clear(out);
            return rc;
        }
        if (rc < 0) {
            continue;
        }
        absent = count_absent(&tree, here);
        if (absent < least) {
            wl_listing_clear(out);
            *out = tree;
            least = absent;
        } else {
            wl_listing_clear(&tree);
        }
    }
    return WLOAD_OK;
}

/* Both are sorted; what is added stands behind. */
static int add_absent(const struct wl_listing *tree, const char *what, struct wl_listing *here,
                      struct wload_error *err)
{
    uint32_t count = here->count;
    uint32_t at = 0;

    for (uint32_t i = 0; i < tree->count; i++) {
        const char *name = tree->files[i].name;
        int rc = WLOAD_OK;

        while (at < count && strcmp(here->files[at].name, name) < 0) {
            at++;
        }
        if (at == count || strcmp(here->files[at].name, name) != 0) {
            rc = wl_listing_add(here, &tree->files[i], what, err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return wl_listing_finish(here, what, err);
}

int wl_store_plain_expect(const struct wl_store *store, const char *commit,
                          struct wl_listing *listing, struct wload_error *err)
{
    char *path = wl_str_new("%s/" WL_STORE_KEPT "/trees", store->root);
    struct wl_listing names = {0};
    struct wl_listing nearest = {0};
    int rc =
        path ? wl_listing_walk(&store->log, path, &names, err) : wl_store_no_memory(store, err);

    wl_sys->free(path);
    if (rc < 0) {
        return rc == WLOAD_ERR_NOT_FOUND ? WLOAD_OK : rc;
    }
    rc = find_nearest(store, &names, commit, listing, &nearest);
    if (rc < 0) {
        rc = wl_store_no_memory(store, err);
    } else if (nearest.count > 0) {
        rc = add_absent(&nearest, store->root, listing, err);
        listing->is_complete = rc == WLOAD_OK;
    } else if (commit[0] != '\0' && names.count > 0) {
        rc = wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' has files of other commits than %s",
                        store->root, commit);
    }
    wl_listing_clear(&nearest);
    wl_listing_clear(&names);
    return rc;
}
