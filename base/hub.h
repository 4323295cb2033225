/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names on a model hub and in its cache: which strings are well formed, and what
 * becomes of them.  Strings in, strings out; nothing is looked up.
 *
 * All of these strings come from outside and become parts of paths and URLs, so
 * whoever takes one from a user, a server or a file asks here first.
 */
#ifndef WL_HUB_H
#define WL_HUB_H

#include <stdbool.h>
#include <stddef.h>

#define WL_HUB_COMMIT_BYTES 41 /* 40 lower-case hex digits and a NUL */
#define WL_HUB_HASH_BYTES   65 /* 64 (SHA-256) or 40 (SHA-1 of a git blob), and a NUL */

enum wl_hub_kind {
    WL_HUB_MODEL,
    WL_HUB_DATASET,
    WL_HUB_SPACE
};

/* "model", "dataset", "space". */
const char *wl_hub_kind_name(enum wl_hub_kind kind);

/* "org/name", or a name alone as the oldest models have it. */
bool wl_hub_is_repo(const char *text);

/* A branch, a tag or a commit; may have slashes: "refs/pr/1". */
bool wl_hub_is_revision(const char *text);

bool wl_hub_is_commit(const char *text); /* 40 lower-case hex digits */
bool wl_hub_is_sha256(const char *text); /* 64 */
bool wl_hub_is_hash(const char *text);   /* either: what a blob may be called */

/*
 * Whether a file of a repository may have that path: UTF-8, relative, no empty,
 * "." or ".." segment, no backslash, drive or control character, bounded.
 */
bool wl_hub_is_path(const char *text);

/* Whether the path leads into what a plain directory keeps for itself: ".cache/huggingface"
 * or ".git", in any case of letters. */
bool wl_hub_is_private_path(const char *path);

/* The hash that an ETag header names: "W/" and quotes taken off.  False: it is no hash. */
bool wl_hub_etag_hash(const char *header, char hash[WL_HUB_HASH_BYTES]);

/* "models--org--name"; NULL without memory.  Free with wl_sys->free(). */
char *wl_hub_folder(enum wl_hub_kind kind, const char *repo);

/* The reverse: WLOAD_OK, WLOAD_ERR_NOT_FOUND if no repository is kept in a folder of that name,
 * or WLOAD_ERR_NOMEM.  Free *repo with wl_sys->free(). */
int wl_hub_folder_repo(const char *folder, enum wl_hub_kind *kind, char **repo);

/* Percent-encode for a URL's path; with `keeps_slashes` segment by segment.  NULL: no memory. */
char *wl_hub_escape(const char *text, bool keeps_slashes);

/*
 * Whether the path of a file matches a pattern of --include or --exclude: '*' any
 * characters, '/' included; '?' one character; "[a-z]", "[!a-z]" one of a set, an
 * unclosed '[' is itself; no escapes.  "dir/" means "dir/" and all below.
 */
bool wl_hub_match(const char *pattern, const char *path);

#endif /* WL_HUB_H */
