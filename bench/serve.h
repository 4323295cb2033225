/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wload serve`: a read-only hub over what lies on this machine.
 *
 *   target --serve_route_parse()--> what is asked for
 *          --serve_catalog_find()--> a snapshot: its files with size and hash
 *          --serve_api_*() | serve_send_file()--> an answer
 *
 * Every string of a request is hostile.  None of them but a revision becomes part
 * of a path: files are found in the snapshot's list, which was read from the disk.
 * What is opened must lie below the place it was found in, wherever links lead.
 */
#ifndef WLOAD_SERVE_H
#define WLOAD_SERVE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hub.h"
#include "wload.h"

/* ---- What to serve --------------------------------------------------------------- */

enum serve_layout {
    SERVE_CACHE,  /* the layout of the Hugging Face hub: models--org--name/ */
    SERVE_MODELS, /* directories org/name/, where org/ itself is no model */
    SERVE_MODEL   /* one directory that is a model */
};

struct serve_place {
    enum serve_layout layout;
    char *root; /* absolute, links resolved; nothing outside is served */
    char *repo; /* what the one model is called; else NULL */
};

struct serve_settings {
    struct serve_place *places; /* of a repository in several, the first that has it counts */
    size_t place_count;
    const char *host;
    uint16_t port;             /* 0: any that is free */
    const char *token;         /* NULL: everybody may read */
    uint64_t rate_bytes_per_s; /* of each connection; 0: as fast as it goes */
    int64_t latency_ns;        /* before each answer */
    bool is_verbose;
};

/* Whether a directory is a model, by the names in it: all that lies below it is the model's. */
bool serve_is_model(const char *path);

/* Serve until SIGINT or SIGTERM.  Returns enum command_exit. */
int serve_run(const struct serve_settings *settings);

/* ---- The end of it (serve_stop.c) ------------------------------------------------ */

/* From now on SIGINT and SIGTERM end the program's work; call before any thread starts. */
int serve_stop_begin(struct wload_error *err);
void serve_stop_end(void);
bool serve_stop_came(void);
void serve_stop_wait(void);
/* Sleep until then on wl_clock_ns(), or until the end. */
void serve_sleep_until(int64_t deadline_ns);

/* ---- Trees of directories (serve_walk.c) ----------------------------------------- */

/*
 * Called for each entry, of whatever kind, and first for the top, whose path is "".
 * `path` is relative to the top and fit for a repository; `status` is the entry's own,
 * not that of what a link leads to.  Positive for a directory: do not enter it;
 * negative: stop and return that.
 */
typedef int (*serve_visit)(void *user, const char *path, const struct stat *status,
                           struct wload_error *err);

/* WLOAD_ERR_NOT_FOUND if `top` is no directory that lies below `root`. */
int serve_walk(const char *root, const char *top, serve_visit visit, void *user,
               struct wload_error *err);

/* Whether what is open lies below that directory, or is it. */
bool serve_is_below(int fd, const char *root);

/* ---- Snapshots (serve_snapshot.c, serve_hash.c, serve_folders.c) ----------------- */

struct serve_file {
    char *path;                        /* in the repository */
    char hash[WL_HUB_HASH_BYTES];      /* SHA-256 of a large file, else that of its git blob */
    char blob_id[WL_HUB_COMMIT_BYTES]; /* of the git blob: the file, or the pointer to it */
    struct wl_file_identity identity;  /* when it was looked at */
};

struct serve_folder {
    char *path;                   /* "": the top */
    char id[WL_HUB_COMMIT_BYTES]; /* of the paths and the content below it; the top has none */
    size_t first_file;            /* of those below it, which stand together */
    size_t file_count;
    int64_t modified_ns;
};

/* Never changed once made; several threads read it. */
struct serve_snapshot {
    char *root;
    char *directory;
    char commit[WL_HUB_COMMIT_BYTES];
    struct serve_file *files; /* by path, in the order of strcmp() */
    size_t file_count;
    size_t file_max;
    struct serve_folder *folders; /* in the same order */
    size_t folder_count;
    size_t folder_max;
    int64_t modified_ns; /* the newest of them all */
    int64_t read_ns;     /* when, on the same clock */
    unsigned holder_count;
};

/* What a snapshot is made from. */
struct serve_origin {
    const char *root;
    const char *directory;
    const char *tree_path; /* of a listing with hashes; NULL: there is none */
    const char *commit;    /* NULL: it follows from the content */
};

/*
 * Read a directory.  Hashes that neither links nor listings tell are taken from
 * `before`, an earlier snapshot of it or NULL, where a file is still the same, else
 * computed by several threads.  WLOAD_ERR_CANCELED if the end came meanwhile.
 */
int serve_snapshot_read(const struct serve_origin *origin, const struct serve_snapshot *before,
                        struct serve_snapshot **out, struct wload_error *err);
void serve_snapshot_free(struct serve_snapshot *snapshot);

/* Whether no file has come or gone since.  With `with_files`, none has changed either. */
bool serve_snapshot_is_fresh(const struct serve_snapshot *snapshot, bool with_files);

/* The file of that path or NULL. */
const struct serve_file *serve_snapshot_file(const struct serve_snapshot *snapshot,
                                             const char *path);
/* The number of the first file whose path is not before `path`. */
size_t serve_snapshot_first(const struct serve_snapshot *snapshot, const char *path);
/* The folder whose path is the first `size` bytes of `path`.  NULL: there is none, or no file is
 * below it and it is not the top. */
const struct serve_folder *serve_snapshot_folder(const struct serve_snapshot *snapshot,
                                                 const char *path, size_t size);

/* A descriptor of the file as it was listed, or WLOAD_ERR_NOT_FOUND: it is another by now. */
int serve_snapshot_open(const struct serve_snapshot *snapshot, const struct serve_file *file,
                        struct wload_error *err);

/* One name for the paths and the content of all these files. */
int serve_hash_list(const struct serve_file *files, size_t count, char hex[WL_HUB_COMMIT_BYTES],
                    struct wload_error *err);

/* Compute the hashes that are still "" by reading the files, by several threads. */
int serve_hash_missing(struct serve_snapshot *snapshot, struct wload_error *err);
/* Fill in the ids of the blobs, once all hashes are known. */
int serve_hash_blobs(struct serve_snapshot *snapshot, struct wload_error *err);
/* Sort the folders, and fill in what is below each. */
int serve_folders_fill(struct serve_snapshot *snapshot, struct wload_error *err);

/* The text that git keeps in place of a large file; returns its length. */
#define SERVE_POINTER_BYTES 160
int serve_hash_pointer(const struct serve_file *file, char text[SERVE_POINTER_BYTES]);

static inline bool serve_file_is_large(const struct serve_file *file)
{
    return wl_hub_is_sha256(file->hash);
}

/* ---- Places (serve_places.c) ----------------------------------------------------- */

enum serve_found {
    SERVE_FOUND = WLOAD_OK,
    SERVE_NO_REPO = 1,
    SERVE_NO_REVISION
};

struct serve_query {
    enum wl_hub_kind kind;
    const char *repo;
    const char *revision;
    bool is_whole; /* every file of it matters, not one alone */
    bool is_anew;  /* what is known of it was found wrong */
};

/* Where a snapshot lies. */
struct serve_spot {
    char *directory;
    char *tree_path; /* NULL: it is a plain directory, whose commit follows from its content */
    char commit[WL_HUB_COMMIT_BYTES];
};

/* enum serve_found, or negative; the repository's name is well formed.  Clear *spot, which was
 * zero, whatever comes back. */
int serve_place_find(const struct serve_place *place, const struct serve_query *query,
                     struct serve_spot *spot, struct wload_error *err);
/* The same for a revision in a repository's folder of a cache. */
int serve_place_commit(const char *folder, const char *revision, struct serve_spot *spot,
                       struct wload_error *err);
void serve_spot_clear(struct serve_spot *spot);

/* "ROOT/models--org--name" of a cache, or NULL without memory. */
char *serve_place_folder(const struct serve_place *place, enum wl_hub_kind kind, const char *repo);

/* Called with each repository of a place, until a negative return. */
typedef int (*serve_repo_visit)(void *user, enum wl_hub_kind kind, const char *repo,
                                struct wload_error *err);
/* Called with what looks like a repository, but is behind a link or has no name of one. */
typedef void (*serve_left_out)(void *user, enum wl_hub_kind kind, const char *name,
                               const char *path);
/* NULL in `left_out`: nobody wants to know. */
int serve_place_each(const struct serve_place *place, serve_repo_visit visit,
                     serve_left_out left_out, void *user, struct wload_error *err);

/* ---- The catalog (serve_catalog.c) ----------------------------------------------- */

struct serve_catalog;

/* The places are borrowed. */
int serve_catalog_new(const struct serve_place *places, size_t place_count,
                      struct serve_catalog **out, struct wload_error *err);
void serve_catalog_free(struct serve_catalog *catalog);

/* How many repositories there are now.  Places that have none, and what is left out of a place, are
 * told on stderr. */
int serve_catalog_count(const struct serve_catalog *catalog, size_t *count,
                        struct wload_error *err);

/* Compute now what requests would have to wait for.  Failures are told on stderr. */
void serve_catalog_warm(struct serve_catalog *catalog);

/* enum serve_found, or negative.  Give the snapshot back with serve_catalog_release(). */
int serve_catalog_find(struct serve_catalog *catalog, const struct serve_query *query,
                       struct serve_snapshot **out, struct wload_error *err);
void serve_catalog_release(struct serve_catalog *catalog, struct serve_snapshot *snapshot);

/* Called with each branch or tag; a negative return stops. */
typedef int (*serve_ref_visit)(void *user, const char *name, const char *commit);
int serve_catalog_refs(struct serve_catalog *catalog, enum wl_hub_kind kind, const char *repo,
                       serve_ref_visit visit, void *user, struct wload_error *err);

/* ---- Requests (serve_route.c) ---------------------------------------------------- */

enum serve_what {
    SERVE_NOTHING,
    SERVE_HEALTH,
    SERVE_INFO,
    SERVE_TREE,
    SERVE_PATHS,
    SERVE_REFS,
    SERVE_CONTENT
};

struct serve_route {
    enum serve_what what;
    enum wl_hub_kind kind;
    char *repo;
    char *revision;
    char *path;   /* "": the top */
    char *cursor; /* of a tree: where the page before ended, or NULL */
    bool is_recursive;
    bool has_blobs;
    bool has_requests; /* pull requests, among refs */
};

/* False: the target is malformed, or no memory.  Clear in both cases. */
bool serve_route_parse(const char *target, struct serve_route *out);
void serve_route_clear(struct serve_route *route);

/* Decode "%2F" strictly, "+" only in forms.  NULL: malformed, a NUL in it, or no memory. */
char *serve_decode(const char *text, size_t size, bool is_form);

/* ---- Answers in JSON (serve_api.c) ----------------------------------------------- */

/* Each makes a new tree; without memory it is NULL or lacks something. */
cJSON *serve_api_info(const struct serve_route *route, const struct serve_snapshot *snapshot);
cJSON *serve_api_paths(const struct serve_snapshot *snapshot, char *const *paths, size_t count);
/* A page of that folder.  *next: the cursor of the following one, to be freed, or NULL: it is the
 * last. */
cJSON *serve_api_tree(const struct serve_route *route, const struct serve_snapshot *snapshot,
                      const struct serve_folder *folder, char **next);
/* As serve_catalog_find(). */
int serve_api_refs(struct serve_catalog *catalog, const struct serve_route *route, cJSON **out,
                   struct wload_error *err);

/* ---- Ranges of content (serve_range.c) ------------------------------------------- */

enum serve_range {
    SERVE_WHOLE,
    SERVE_PART,
    SERVE_OUTSIDE
};

/* Which bytes of so many a Range header means; one that is not understood means all. */
enum serve_range serve_range_parse(const char *header, uint64_t size_bytes, uint64_t *first,
                                   uint64_t *count);

/* Whether a list of ETags, as in If-None-Match, has that of the hash, or is "*". */
bool serve_range_has_etag(const char *header, const char *hash);

#endif /* WLOAD_SERVE_H */
