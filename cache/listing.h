/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files a commit of a repository has: from pages of a hub's tree API, from
 * a listing that a cache keeps (trees/<commit>.json), or from a walk through a
 * directory.
 *
 *   wl_listing_add_*() ... --> wl_listing_finish() --> sorted, checked, searchable
 */
#ifndef WL_LISTING_H
#define WL_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hub.h"
#include "base/log.h"

#define WL_LISTING_FILES_MAX 1000000u
#define WL_LISTING_TEXT_MAX  (64u << 20) /* bytes of one page */

struct wl_listing_file {
    char *name; /* path in the repository, checked by wl_hub_is_path() */
    uint64_t size_bytes;
    char hash[WL_HUB_HASH_BYTES];      /* of the content: lfs sha256, else blob_id; "" unknown */
    char blob_id[WL_HUB_COMMIT_BYTES]; /* of the git blob: of a pointer where hash is SHA-256; "" */
    char xet_hash[WL_HUB_HASH_BYTES];  /* kept for those who use it; "" */
};

struct wl_listing {
    struct wl_listing_file *files; /* sorted by strcmp() of their names once finished */
    uint32_t count;
    uint32_t room;
    bool is_complete;      /* every file of the commit is in it */
    const char *folded[2]; /* wl_listing_folds(); NULL: none */
};

void wl_listing_clear(struct wl_listing *listing);

/* Copies the name.  A name that wl_hub_is_path() refuses is WLOAD_ERR_FORMAT; `what` is told. */
int wl_listing_add(struct wl_listing *listing, const struct wl_listing_file *file, const char *what,
                   struct wload_error *err);

/* One page of the tree API, a JSON array; `what` names it in errors. */
int wl_listing_add_page(struct wl_listing *listing, const char *text, size_t size_bytes,
                        const char *what, struct wload_error *err);

/* Sort; refuse names that are there twice, or that are both file and folder. */
int wl_listing_finish(struct wl_listing *listing, const char *what, struct wload_error *err);

/* Whether a finished listing has names that would be one file, or a file and a folder, where case
 * of letters does not count; the first two of them. */
bool wl_listing_folds(const struct wl_listing *listing, const char **a, const char **b);

/* The file's number, or -1. */
int64_t wl_listing_find(const struct wl_listing *listing, const char *name);

/* A finished, complete listing from the text of trees/<commit>.json.  WLOAD_ERR_FORMAT: it is
 * not one, or one of another version: ask the hub. */
int wl_listing_parse(const char *text, size_t size_bytes, const char *what, struct wl_listing *out,
                     struct wload_error *err);

/* The text of trees/<commit>.json as every other tool writes it; NULL: no memory.  Free with
 * wl_sys->free(). */
char *wl_listing_print(const struct wl_listing *listing);

/*
 * All files below the directory `path`, links followed, those of tools left out
 * (".cache", ".git").  A link's target gives the hash where it is named by one; a
 * link of that kind whose target is gone is a file of no bytes, which no store has,
 * and other dangling links are left out.  Finished.
 */
int wl_listing_walk(const struct wl_log *log, const char *path, struct wl_listing *out,
                    struct wload_error *err);

#endif /* WL_LISTING_H */
