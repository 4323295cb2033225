/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of a listing are wanted: by patterns, by folder, by what a load
 * needs.  Decided by names and sizes alone; select.h decides within one folder.
 */
#ifndef WL_WANTED_H
#define WL_WANTED_H

#include "cache/listing.h"
#include "wload.h"

struct wl_wanted {
    enum wload_scope scope; /* as in wload.h */
    const char *repo;       /* for errors */
    const char *subfolder;  /* "": the root; a folder, or one file */
    const char *variant;    /* NULL: the plain files */
    const char *const *include;
    size_t include_count;
    const char *const *exclude;
    size_t exclude_count;
    const char *const *components; /* of a pipeline, those of its model_index.json */
    uint32_t component_count;      /* 0: it is none, or all folders count */
};

/*
 * Set is_wanted[i] for each file of the listing.  With patterns the scope does
 * not matter: what they keep is wanted, but for weights of other variants than the
 * one asked for.  WLOAD_ERR_NOT_FOUND: nothing is, or not of that variant;
 * WLOAD_ERR_UNSUPPORTED: there are weights, and none in safetensors; others are
 * those of wl_select().  After an error is_wanted[] means nothing.  Returns the
 * number of files wanted.
 */
int wl_wanted_mark(const struct wl_wanted *wanted, const struct wl_listing *listing,
                   bool *is_wanted, struct wload_error *err);

#endif /* WL_WANTED_H */
