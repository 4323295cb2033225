/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where files are kept, in one of two layouts that other tools read, too:
 *
 *   hub    <cache>/models--org--name/{blobs,snapshots,refs,trees}: content under its hash,
 *          a link to it for each commit
 *   plain  <dir>/<name>: real files, and <dir>/.cache/huggingface about them
 *
 * A store knows names, locks and records.  Bytes come by a partial file:
 *
 *   find ---> lock ---> find again ---> partial ... publish ---> unlock
 *     1: is there          1: another process brought it
 *
 * Threads: all functions but wl_store_clear() from any, each for another file.
 */
#ifndef WL_STORE_H
#define WL_STORE_H

#include <stdatomic.h>

#include "cache/config.h"
#include "cache/listing.h"
#include "cache/lock.h"
#include "cache/partial.h"

struct wl_store_ops;

struct wl_store {
    const struct wl_store_ops *ops;
    const struct wl_config *config; /* borrowed */
    struct wl_log log;
    enum wl_hub_kind kind;
    char *repo;                       /* "org/name" */
    char *root;                       /* the cache, or the plain directory; absolute */
    char *repo_path;                  /* hub: root and folder; plain: root */
    char *snapshot_path;              /* where the files' names are: hub: .../snapshots/<commit> */
    char commit[WL_HUB_COMMIT_BYTES]; /* "": not known (plain) */
};

#define WL_STORE_UNKNOWN 2 /* only its content tells whether the file is the one wanted */

struct wl_store_ops {
    const char *name;

    /* Make the folders, the tag that tells backups to pass over, and the listing's record (if it
     * is complete).  Nothing points to the snapshot yet. */
    int (*begin)(struct wl_store *store, const struct wl_listing *listing, struct wload_error *err);

    /* 1: the file is there, of the right size as far as that is known.  0: it is not.  Writes
     * nothing. */
    int (*find)(const struct wl_store *store, const struct wl_listing_file *file,
                struct wload_error *err);

    /*
     * As find, and repairs what needs no bytes: a link that is missing, a record out of date, a
     * file whose content is found to be the one wanted.  The caller has the lock.  Where it has
     * to hash, *is_canceled is looked at meanwhile: WLOAD_ERR_CANCELED.  NULL: it does not hash,
     * and returns WL_STORE_UNKNOWN.
     */
    int (*adopt)(struct wl_store *store, const struct wl_listing_file *file,
                 const atomic_bool *is_canceled, struct wload_error *err);

    /* WLOAD_ERR_LOCKED: another process is about it. */
    int (*lock)(struct wl_store *store, const struct wl_listing_file *file, struct wl_lock *lock,
                struct wload_error *err);

    /* Where the partial file lies.  The strings are new: free with wl_store_place_clear(). */
    int (*place)(const struct wl_store *store, const struct wl_listing_file *file,
                 struct wl_partial_place *out, struct wload_error *err);

    /* The partial file is whole and proven: give it its name and record it. */
    int (*publish)(struct wl_store *store, const struct wl_listing_file *file,
                   struct wl_partial *partial, struct wload_error *err);

    /* All that was wanted is there: `revision` means this commit from now on. */
    int (*finish)(struct wl_store *store, const char *revision, struct wload_error *err);

    /* wl_store_hash() and wl_store_quarantine(). */
    bool (*hash)(const struct wl_store *store, const char *name, char hash[WL_HUB_HASH_BYTES]);
    int (*quarantine)(struct wl_store *store, const struct wl_listing_file *file, char **moved_to,
                      struct wload_error *err);
};

extern const struct wl_store_ops wl_store_hub;
extern const struct wl_store_ops wl_store_plain;

/* `root`: the cache of the hub layout, or the plain directory; need not exist. */
int wl_store_init(struct wl_store *store, const struct wl_store_ops *ops,
                  const struct wl_config *config, const struct wl_log *log, enum wl_hub_kind kind,
                  const char *repo, const char *root, const char *commit, struct wload_error *err);
void wl_store_clear(struct wl_store *store);

/* Whether files of one content are links to it: it comes once, and takes its space once. */
bool wl_store_keeps_once(const struct wl_store *store);

/* <snapshot_path>/<name>; NULL: no memory, or no file can have that name. */
char *wl_store_file_path(const struct wl_store *store, const char *name);
void wl_store_place_clear(struct wl_partial_place *place);

/* The listing that the store keeps of its commit, or WLOAD_ERR_NOT_FOUND: it has none that can be
 * used. */
int wl_store_listing(const struct wl_store *store, struct wl_listing *out, struct wload_error *err);

/*
 * Add to a walk's listing what the plain directory should have and has not, as the
 * listings tell that it keeps: that of `commit`, or with "" the one of which it has
 * most; it is complete then.  Without any nothing is added.  WLOAD_ERR_NOT_FOUND:
 * those are of others.
 */
int wl_store_plain_expect(const struct wl_store *store, const char *commit,
                          struct wl_listing *listing, struct wload_error *err);

/* Whether a plain directory keeps records of its files: a fetch has filled it. */
bool wl_store_is_filled(const char *directory);

/* ---- The hub layout, read ---- */

/* The commit that a revision means in the cache.  0, or WLOAD_ERR_NOT_FOUND. */
int wl_store_hub_ref(const char *cache, enum wl_hub_kind kind, const char *repo,
                     const char *revision, char commit[WL_HUB_COMMIT_BYTES],
                     struct wload_error *err);

/*
 * The hash that a file of the snapshot must have: the name of what its link
 * points to, one link only; of a plain directory, what its record says.  False:
 * nothing there says; the listing may.
 */
bool wl_store_hash(const struct wl_store *store, const char *name, char hash[WL_HUB_HASH_BYTES]);

/*
 * Move a file whose content is wrong aside, so that it is missing for everybody:
 * hub: the blob, and every link to it in this repository.  *moved_to: a new
 * string, free with wl_sys->free().
 */
int wl_store_quarantine(struct wl_store *store, const struct wl_listing_file *file, char **moved_to,
                        struct wload_error *err);

/* A file of the cache that says for a commit that `name` is not in it, as other tools look for.  A
 * failure is logged, and that is all. */
void wl_store_hub_note_absent(const struct wl_store *store, const char *name);

#endif /* WL_STORE_H */
