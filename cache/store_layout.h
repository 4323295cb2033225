/* SPDX-License-Identifier: Apache-2.0 */
/* What the layouts of a store have in common; for store.c and the layouts only. */
#ifndef WL_STORE_LAYOUT_H
#define WL_STORE_LAYOUT_H

#include <limits.h>

#include "cache/store.h"

#define WL_STORE_KEPT ".cache/huggingface" /* in a plain directory: what it keeps for itself */

int wl_store_no_memory(const struct wl_store *store, struct wload_error *err);

/*
 * Refuse what would be written elsewhere: no folder that `path` lies in, from
 * below the repository's own on, is a link.  That one may be, as the cache and
 * what is above, and so may the folder of the blobs, whose names are hashes: they
 * are kept on another disk that way.  Who plants a link after that is not seen.
 */
int wl_store_refuse_links(const struct wl_store *store, const char *path, struct wload_error *err);

/* Refuse links, and make a folder and those that it lies in.  The error tells which part of the
 * path is not what it must be. */
int wl_store_make_folders(const struct wl_store *store, const char *path, struct wload_error *err);

/* Refuse links, and make the folders that `path` lies in. */
int wl_store_make_room(const struct wl_store *store, const char *path, struct wload_error *err);

/* Refuse a repository with names that differ only in case, WLOAD_ERR_FORMAT, where one file would
 * overwrite the other.  The folder of its files is there. */
int wl_store_refuse_folds(const struct wl_store *store, const struct wl_listing *listing,
                          struct wload_error *err);

/* 1: `path` leads to a regular file of that size, last modified at *modified_ns (may be NULL).
 * 0: it does not. */
int wl_store_examine(const char *path, uint64_t size_bytes, int64_t *modified_ns,
                     struct wload_error *err);

/* A small file that is no link.  Free the text, which a NUL ends, with wl_sys->free(). */
int wl_store_read(const char *path, uint64_t bytes_max, char **text, size_t *size_bytes,
                  struct wload_error *err);

/*
 * Write a small file, absent or whole like the large ones, replacing what is at
 * `path`.  It grows in `folder` under a name that begins with `stem`.
 */
int wl_store_write(const struct wl_store *store, const char *folder, const char *stem,
                   const char *path, const char *text, struct wload_error *err);

/*
 * Files that are good to have: CACHEDIR.TAG, the same for git, the listing at
 * <folder>/trees/<commit>.json.  A failure is logged, and that is all.
 */
void wl_store_note_absent(const struct wl_store *store, const char *folder, const char *path,
                          const char *text);
void wl_store_note_listing(const struct wl_store *store, const char *folder,
                           const struct wl_listing *listing);

extern const char wl_store_tag[]; /* CACHEDIR.TAG */

/* What is written goes to the disk before it gets its name: after a loss of power the name could
 * be there, and the size, without the content, and would be trusted. */
bool wl_store_flushes(const struct wl_store *store);

/* The file is there: nobody needs what an earlier process left of it. */
void wl_store_sweep(const struct wl_store *store, const struct wl_listing_file *file);

/* Rename `path` to a name of its own in `folder`, with `stem` ("": none) in it. */
int wl_store_move_aside(const struct wl_store *store, const char *path, const char *folder,
                        const char *stem, char **moved_to, struct wload_error *err);

/* The hash that the link at `path` names by its target: one link only, for a blob may be a link
 * into a store that has names of its own.  False: it is no such link. */
bool wl_store_link_hash(const char *path, char hash[WL_HUB_HASH_BYTES]);

/* ---- Within the hub layout ---- */

char *wl_store_blob_path(const struct wl_store *store, const char *hash);

/* What the link at `path` points to.  0, or a negative errno: -EINVAL is no link. */
int wl_store_read_link(const char *path, char target[PATH_MAX]);

/* Slots of wl_store_ops. */
int wl_store_hub_finish(struct wl_store *store, const char *revision, struct wload_error *err);
bool wl_store_hub_hash(const struct wl_store *store, const char *name,
                       char hash[WL_HUB_HASH_BYTES]);
int wl_store_hub_quarantine(struct wl_store *store, const struct wl_listing_file *file,
                            char **moved_to, struct wload_error *err);

#endif /* WL_STORE_LAYOUT_H */
