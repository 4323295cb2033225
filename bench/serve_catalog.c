/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "bench/serve.h"
#include "bench/text.h"

#define MAIN           "main"
#define CHANGING_TRIES 3

/* What is known of one directory.  Entries are never removed: there are as many as directories. */
struct entry {
    struct entry *next;
    char *directory;
    pthread_mutex_t reading;         /* one thread reads it at a time */
    struct serve_snapshot *snapshot; /* under the catalog's lock; NULL: not read yet */
};

struct serve_catalog {
    const struct serve_place *places;
    size_t place_count;
    pthread_mutex_t lock; /* of the list, and of the holders of all snapshots */
    struct entry *entries;
};

static int no_memory(struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the list of repositories");
}

struct counting {
    const struct serve_catalog *catalog;
    size_t place; /* that is gone through */
    size_t there; /* in it */
    size_t sum;
};

/* Whether a place has a repository of that name; negative: nobody knows. */
static int has(const struct serve_place *place, enum wl_hub_kind kind, const char *repo,
               struct wload_error *err)
{
    const struct serve_query query = {.kind = kind, .repo = repo, .revision = MAIN};
    struct serve_spot spot = {0};
    int rc = serve_place_find(place, &query, &spot, err);

    serve_spot_clear(&spot);
    return rc < 0 ? rc : rc != SERVE_NO_REPO;
}

/* Once, in the first place that has it. */
static int count_one(void *user, enum wl_hub_kind kind, const char *repo, struct wload_error *err)
{
    struct counting *counting = user;
    int rc = 0;

    for (size_t i = 0; i < counting->place && rc == 0; i++) {
        rc = has(&counting->catalog->places[i], kind, repo, err);
    }
    counting->there++;
    counting->sum += rc == 0;
    return rc < 0 ? rc : WLOAD_OK;
}

/* Whether another place gives it: by the name, or the directory by another name. */
static bool is_given(const struct counting *counting, enum wl_hub_kind kind, const char *name,
                     const char *path)
{
    bool is_repo = wl_hub_is_repo(name);
    char *real = realpath(path, NULL);
    bool is = false;

    for (size_t i = 0; i < counting->catalog->place_count && real && !is; i++) {
        const struct serve_place *place = &counting->catalog->places[i];

        is = (i != counting->place && is_repo && has(place, kind, name, NULL) > 0) ||
             (place->layout == SERVE_MODEL && strcmp(place->root, real) == 0);
    }
    free(real);
    return is;
}

static void warn_of_left_out(void *user, enum wl_hub_kind kind, const char *name, const char *path)
{
    const struct counting *counting = user;

    if (is_given(counting, kind, name, path)) {
        return;
    }
    if (counting->catalog->places[counting->place].layout == SERVE_CACHE) {
        (void)text_fail_plainly("warning: '%s' is not served: it is behind a link; give the cache "
                                "that has it, with --cache-dir",
                                path);
    } else if (strchr(name, '/') && wl_hub_is_repo(name)) {
        (void)text_fail_plainly("warning: '%s' is not served: it is behind a link; give its own "
                                "path, as %s=DIR",
                                path, name);
    } else {
        (void)text_fail_plainly("warning: '%s' is not served: '%s' is no ORG/NAME of a model; give "
                                "it one, as ORG/NAME=DIR",
                                path, name);
    }
}

static void warn_of_empty(const struct serve_place *place)
{
    (void)text_fail_plainly("warning: nothing to serve in '%s': %s", place->root,
                            place->layout == SERVE_CACHE
                                ? "a cache has its repositories as models--ORG--NAME below it"
                                : "it is no model, and has none as ORG/NAME below it");
}

int serve_catalog_count(const struct serve_catalog *catalog, size_t *count, struct wload_error *err)
{
    struct counting counting = {.catalog = catalog};

    for (; counting.place < catalog->place_count; counting.place++) {
        const struct serve_place *place = &catalog->places[counting.place];
        int rc;

        counting.there = 0;
        rc = serve_place_each(place, count_one, warn_of_left_out, &counting, err);
        if (rc < 0) {
            return rc;
        }
        if (counting.there == 0) {
            warn_of_empty(place);
        }
    }
    *count = counting.sum;
    return WLOAD_OK;
}

/* ---- What is known --------------------------------------------------------------- */

int serve_catalog_new(const struct serve_place *places, size_t place_count,
                      struct serve_catalog **out, struct wload_error *err)
{
    struct serve_catalog *catalog = calloc(1, sizeof(*catalog));

    if (!catalog) {
        return no_memory(err);
    }
    catalog->places = places;
    catalog->place_count = place_count;
    (void)pthread_mutex_init(&catalog->lock, NULL);
    *out = catalog;
    return WLOAD_OK;
}

void serve_catalog_free(struct serve_catalog *catalog)
{
    while (catalog && catalog->entries) {
        struct entry *entry = catalog->entries;

        catalog->entries = entry->next;
        serve_snapshot_free(entry->snapshot);
        (void)pthread_mutex_destroy(&entry->reading);
        free(entry->directory);
        free(entry);
    }
    if (catalog) {
        (void)pthread_mutex_destroy(&catalog->lock);
        free(catalog);
    }
}

void serve_catalog_release(struct serve_catalog *catalog, struct serve_snapshot *snapshot)
{
    bool is_last;

    if (!snapshot) {
        return;
    }
    (void)pthread_mutex_lock(&catalog->lock);
    is_last = --snapshot->holder_count == 0;
    (void)pthread_mutex_unlock(&catalog->lock);
    if (is_last) {
        serve_snapshot_free(snapshot);
    }
}

/* Its entry, made if there is none; NULL without memory.  Under the catalog's lock. */
static struct entry *entry_of(struct serve_catalog *catalog, const char *directory)
{
    struct entry *entry = catalog->entries;

    while (entry && strcmp(entry->directory, directory) != 0) {
        entry = entry->next;
    }
    if (entry) {
        return entry;
    }
    entry = calloc(1, sizeof(*entry));
    if (entry) {
        entry->directory = strdup(directory);
    }
    if (!entry || !entry->directory) {
        free(entry);
        return NULL;
    }
    (void)pthread_mutex_init(&entry->reading, NULL);
    entry->next = catalog->entries;
    catalog->entries = entry;
    return entry;
}

static struct serve_snapshot *hold(struct serve_catalog *catalog, const struct entry *entry)
{
    struct serve_snapshot *snapshot;

    (void)pthread_mutex_lock(&catalog->lock);
    snapshot = entry->snapshot;
    if (snapshot) {
        snapshot->holder_count++;
    }
    (void)pthread_mutex_unlock(&catalog->lock);
    return snapshot;
}

/* The new one is held by the entry and by the caller. */
static void replace(struct serve_catalog *catalog, struct entry *entry,
                    struct serve_snapshot *snapshot)
{
    struct serve_snapshot *before;

    (void)pthread_mutex_lock(&catalog->lock);
    before = entry->snapshot;
    entry->snapshot = snapshot;
    snapshot->holder_count = 2;
    (void)pthread_mutex_unlock(&catalog->lock);
    serve_catalog_release(catalog, before);
}

/*
 * A plain directory that is asked for by its commit is good as long as that is its
 * commit: each file is looked at again when it is opened.  So nobody waits for the
 * hash of a file that was added meanwhile.
 */
static bool is_good(const struct serve_snapshot *snapshot, const struct serve_spot *spot,
                    const struct serve_query *query)
{
    bool is_plain = !spot->tree_path;

    if (!snapshot || query->is_anew) {
        return false;
    }
    if (is_plain && strcmp(query->revision, snapshot->commit) == 0) {
        return true;
    }
    return serve_snapshot_is_fresh(snapshot, is_plain || query->is_whole);
}

static int read_anew(struct serve_catalog *catalog, struct entry *entry,
                     const struct serve_spot *spot, const struct serve_place *place,
                     const struct serve_query *query, struct serve_snapshot **out,
                     struct wload_error *err)
{
    const struct serve_origin origin = {
        .root = place->root,
        .directory = spot->directory,
        .tree_path = spot->tree_path,
        .commit = spot->tree_path ? spot->commit : NULL,
    };
    struct serve_snapshot *before;
    int rc = WLOAD_OK;

    (void)pthread_mutex_lock(&entry->reading);
    before = hold(catalog, entry);
    if (is_good(before, spot, query)) {
        *out = before; /* somebody was faster */
    } else {
        rc = serve_snapshot_read(&origin, before, out, err);
        if (rc == WLOAD_OK) {
            replace(catalog, entry, *out);
        }
        serve_catalog_release(catalog, before);
    }
    (void)pthread_mutex_unlock(&entry->reading);
    return rc;
}

static int take(struct serve_catalog *catalog, const struct serve_spot *spot,
                const struct serve_place *place, const struct serve_query *query,
                struct serve_snapshot **out, struct wload_error *err)
{
    struct serve_snapshot *snapshot;
    struct entry *entry;
    int rc = SERVE_FOUND;

    (void)pthread_mutex_lock(&catalog->lock);
    entry = entry_of(catalog, spot->directory);
    (void)pthread_mutex_unlock(&catalog->lock);
    if (!entry) {
        return no_memory(err);
    }
    snapshot = hold(catalog, entry);
    if (!is_good(snapshot, spot, query)) {
        serve_catalog_release(catalog, snapshot);
        rc = read_anew(catalog, entry, spot, place, query, &snapshot, err);
    }
    if (rc == WLOAD_OK && !spot->tree_path && strcmp(query->revision, MAIN) != 0 &&
        strcmp(query->revision, snapshot->commit) != 0) {
        serve_catalog_release(catalog, snapshot);
        return SERVE_NO_REVISION;
    }
    if (rc == WLOAD_OK) {
        *out = snapshot;
    }
    return rc;
}

static int find_once(struct serve_catalog *catalog, const struct serve_query *query,
                     struct serve_snapshot **out, struct wload_error *err)
{
    int result = SERVE_NO_REPO;

    for (size_t i = 0; i < catalog->place_count; i++) {
        struct serve_spot spot = {0};
        int rc = serve_place_find(&catalog->places[i], query, &spot, err);

        if (rc == SERVE_FOUND) {
            rc = take(catalog, &spot, &catalog->places[i], query, out, err);
        }
        serve_spot_clear(&spot);
        if (rc == SERVE_FOUND || rc < 0) {
            return rc;
        }
        result = rc == SERVE_NO_REVISION ? rc : result;
    }
    return result;
}

int serve_catalog_find(struct serve_catalog *catalog, const struct serve_query *query,
                       struct serve_snapshot **out, struct wload_error *err)
{
    int rc = SERVE_NO_REPO;

    if (!wl_hub_is_repo(query->repo)) {
        return SERVE_NO_REPO;
    }
    /* What is written to or removed while it is read is looked for again. */
    for (int i = 0; i < CHANGING_TRIES; i++) {
        rc = find_once(catalog, query, out, err);
        if (rc != WLOAD_ERR_NOT_FOUND) {
            break;
        }
    }
    return rc;
}

/* ---- All at once ----------------------------------------------------------------------- */

static int warm_one(void *user, enum wl_hub_kind kind, const char *repo, struct wload_error *err)
{
    const struct serve_query query = {.kind = kind, .repo = repo, .revision = MAIN};
    struct serve_catalog *catalog = user;
    struct serve_snapshot *snapshot = NULL;
    int rc = serve_catalog_find(catalog, &query, &snapshot, err);

    serve_catalog_release(catalog, snapshot);
    if (rc < 0 && rc != WLOAD_ERR_CANCELED) {
        (void)text_fail(err);
    }
    return rc == WLOAD_ERR_CANCELED ? rc : WLOAD_OK;
}

void serve_catalog_warm(struct serve_catalog *catalog)
{
    for (size_t i = 0; i < catalog->place_count; i++) {
        struct wload_error err;

        if (catalog->places[i].layout != SERVE_CACHE) {
            (void)serve_place_each(&catalog->places[i], warm_one, NULL, catalog, &err);
        }
    }
}

struct refs {
    const char *folder;
    serve_ref_visit visit;
    void *user;
};

static int visit_ref(void *user, const char *path, const struct stat *status,
                     struct wload_error *err)
{
    const struct refs *refs = user;
    struct serve_spot spot = {0};
    int rc = WLOAD_OK;

    if (S_ISREG(status->st_mode) && wl_hub_is_revision(path) && !wl_hub_is_commit(path)) {
        rc = serve_place_commit(refs->folder, path, &spot, err);
        if (rc == SERVE_FOUND && refs->visit(refs->user, path, spot.commit) < 0) {
            rc = no_memory(err);
        }
        serve_spot_clear(&spot);
    }
    return rc < 0 ? rc : WLOAD_OK;
}

static int visit_refs(struct serve_catalog *catalog, const struct serve_place *place,
                      const struct serve_query *query, struct refs *refs, struct wload_error *err)
{
    struct serve_snapshot *snapshot;
    struct serve_spot spot = {0};
    int rc = serve_place_find(place, query, &spot, err);
    char *folder;
    char *top;

    serve_spot_clear(&spot);
    if (rc < 0 || rc == SERVE_NO_REPO) {
        return rc;
    }
    if (place->layout != SERVE_CACHE) {
        rc = serve_catalog_find(catalog, query, &snapshot, err);
        if (rc == SERVE_FOUND) {
            rc = refs->visit(refs->user, MAIN, snapshot->commit) < 0 ? no_memory(err) : rc;
            serve_catalog_release(catalog, snapshot);
        }
        return rc;
    }
    folder = serve_place_folder(place, query->kind, query->repo);
    if (!folder || asprintf(&top, "%s/refs", folder) < 0) {
        free(folder);
        return no_memory(err);
    }
    refs->folder = folder;
    rc = serve_walk(place->root, top, visit_ref, refs, err);
    free(top);
    free(folder);
    return rc == WLOAD_ERR_NOT_FOUND ? SERVE_FOUND : rc; /* a repository without refs */
}

int serve_catalog_refs(struct serve_catalog *catalog, enum wl_hub_kind kind, const char *repo,
                       serve_ref_visit visit, void *user, struct wload_error *err)
{
    const struct serve_query query = {.kind = kind, .repo = repo, .revision = MAIN};
    struct refs refs = {.visit = visit, .user = user};
    int result = SERVE_NO_REPO;

    if (!wl_hub_is_repo(repo)) {
        return SERVE_NO_REPO;
    }
    for (size_t i = 0; i < catalog->place_count; i++) {
        int rc = visit_refs(catalog, &catalog->places[i], &query, &refs, err);

        if (rc < 0) {
            return rc;
        }
        result = rc == SERVE_NO_REPO ? result : SERVE_FOUND;
    }
    return result;
}
