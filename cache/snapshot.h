/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot: the files of one commit of a repository, wherever they are.
 *
 *   spec --open--> looked for: path, plain directory, cache, hub     (locate.c)
 *        --fetch-> what is missing is here                           (fetch.c)
 *        --verify> each file against its hash                        (verify.c)
 *
 * The public struct is its head; the rest is for the functions named here.
 */
#ifndef WL_SNAPSHOT_H
#define WL_SNAPSHOT_H

#include "cache/lines.h"
#include "cache/source.h"
#include "cache/store.h"

struct wl_snapshot {
    struct wload_snapshot shown; /* its arrays and strings point into what follows */
    struct wl_log log;
    struct wl_config config;
    struct wl_lines lines;     /* to the servers that it comes from */
    struct wl_spec spec;       /* with what the options say instead */
    struct wl_listing listing; /* all files that are known, wanted or not */
    char **absent;             /* names asked for that the commit does not have */
    uint32_t absent_count;
    uint32_t *wanted;                  /* numbers in the listing, by number in `files` */
    uint32_t *firsts;                  /* by number in `files`, the first of those that one content
                                        * brings; its own where it comes alone */
    struct wl_store store;             /* ops NULL: a path, or nowhere: nothing to fetch */
    struct wload_snapshot_file *files; /* shown.files */
    struct wload_place *places;        /* shown.places */
    char *path;                        /* shown.path */
    char *note;                        /* shown.note */
    bool is_asked;                     /* the hub told which commit the revision is now */
    uint32_t place_room;
};

/* `options` were taken; `spec` is copied. */
int wl_snapshot_open(const struct wl_log *log, const struct wl_spec *spec,
                     const struct wload_snapshot_options *options, struct wl_snapshot **out,
                     struct wload_error *err);
void wl_snapshot_free(struct wl_snapshot *snapshot);

/* Look again which of the wanted files are there. */
int wl_snapshot_refresh(struct wl_snapshot *snapshot, struct wload_error *err);

/* The name of the first wanted file that is not there; "": all are. */
const char *wl_snapshot_first_missing(const struct wl_snapshot *snapshot);

/* Fail because it was found nowhere: with why what is here of it was not taken, if something is;
 * and with `tells_network` that the network, which might bring it, is off. */
int wl_snapshot_refuse_absent(const struct wl_snapshot *snapshot, bool tells_network,
                              struct wload_error *err);

enum wl_fetch_part {
    WL_FETCH_ALL,
    WL_FETCH_SMALL /* all but weights: those are loaded while they come */
};

/* Download what is missing; `options` were taken. */
int wl_snapshot_fetch(struct wl_snapshot *snapshot, const struct wload_fetch_options *options,
                      enum wl_fetch_part part, struct wload_error *err);

/* All that was wanted is here by now: what the revision means is written down, where that can be
 * done. */
void wl_snapshot_note_revision(struct wl_snapshot *snapshot);

/* Hash what is there; `options` were taken. */
int wl_snapshot_verify(struct wl_snapshot *snapshot, const struct wload_verify_options *options,
                       struct wload_error *err);

/* ---- For locate.c ---- */

/* Say what was found at `path`; always the last thing that a step of the search does. */
__attribute__((format(printf, 4, 5))) int wl_snapshot_note_place(struct wl_snapshot *snapshot,
                                                                 const char *path,
                                                                 struct wload_error *err,
                                                                 const char *fmt, ...);

/* Describe the wanted files of the listing, as the store has them. */
int wl_snapshot_list(struct wl_snapshot *snapshot, struct wload_error *err);

/* Back to before the listing: nobody asked, no files, no store, found nowhere. */
void wl_snapshot_reset(struct wl_snapshot *snapshot);

/* Where the snapshot is, with its subfolder. */
int wl_snapshot_settle(struct wl_snapshot *snapshot, const char *folder, const char *origin,
                       struct wload_error *err);

#endif /* WL_SNAPSHOT_H */
