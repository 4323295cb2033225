/* SPDX-License-Identifier: Apache-2.0 */
/* What a hub says about a repository: which commit a revision is, and which files it has. */
#ifndef WL_HUB_API_H
#define WL_HUB_API_H

#include "cache/listing.h"
#include "cache/transfer.h"

#define WL_HUB_PAGES_MAX 1000u

struct wl_hub_repo {
    enum wl_hub_kind kind;
    const char *name;     /* "org/name" */
    const char *revision; /* "main" */
};

/* A revision that is a commit already asks nothing. */
int wl_hub_commit(struct wl_transfer *transfer, struct wl_http *http,
                  const struct wl_hub_repo *repo, char commit[WL_HUB_COMMIT_BYTES],
                  struct wload_error *err);

/* All files of `commit`; finished and complete. */
int wl_hub_list(struct wl_transfer *transfer, struct wl_http *http, const struct wl_hub_repo *repo,
                const char *commit, struct wl_listing *out, struct wload_error *err);

/* Where a file of `commit` is asked for.  NULL: no memory. */
char *wl_hub_file_url(const struct wl_config *config, const struct wl_hub_repo *repo,
                      const char *commit, const char *name);

/* A small file of `commit`, whole and proven, and a NUL behind it.  Free with wl_sys->free(). */
int wl_hub_read(struct wl_transfer *transfer, struct wl_http *http, const struct wl_hub_repo *repo,
                const char *commit, const struct wl_listing_file *file, char **text,
                struct wload_error *err);

#endif /* WL_HUB_API_H */
