/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/locate.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/components.h"
#include "cache/hub_api.h"
#include "cache/whole.h"

/* A search: what is wanted, and the line to the hub once there is one. */
struct search {
    struct wl_snapshot *snapshot;
    const struct wload_snapshot_options *options;
    struct wl_hub_repo repo;
    struct wl_transfer transfer;
    struct wl_http *http; /* NULL: the hub was not asked */
    bool is_hub;          /* it said which commit the revision is, as only a hub does */
};

/* What a step of the search returns; negative: an error that ends it. */
enum {
    PASSED_OVER = 0,
    FOUND = 1
};

/* ---- What is wanted of a listing ------------------------------------------------------- */

/* The components of a pipeline; none if it is no pipeline, or if nobody can tell here. */
static int find_components(struct search *search, struct wl_components *out,
                           struct wload_error *err)
{
    struct wl_snapshot *snapshot = search->snapshot;
    const char *subfolder = snapshot->spec.subfolder;
    char *name =
        wl_str_new("%s%s%s", subfolder ? subfolder : "", subfolder ? "/" : "", WL_PIPELINE_FILE);
    int64_t number = name ? wl_listing_find(&snapshot->listing, name) : -1;
    char *path = name ? wl_store_file_path(&snapshot->store, name) : NULL;
    const struct wl_listing_file *file = NULL;
    char *text = NULL;
    int rc;

    *out = (struct wl_components){0};
    if (!path) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the path of a pipeline");
        goto out_free;
    }
    if (number >= 0) {
        file = &snapshot->listing.files[number];
    }
    rc = file ? snapshot->store.ops->find(&snapshot->store, file, err) : 0;
    if (rc > 0) {
        rc = wl_components_read(path, out, err);
    } else if (rc == 0 && file && search->http) {
        rc = wl_hub_read(&search->transfer, search->http, &search->repo, snapshot->store.commit,
                         file, &text, err);
        rc = rc < 0 ? rc : wl_components_parse(text, file->size_bytes, path, out, err);
    }

out_free:
    wl_sys->free(text);
    wl_sys->free(path);
    wl_sys->free(name);
    return rc;
}

static int mark(struct search *search, bool *is_wanted, struct wload_error *err)
{
    const struct wload_snapshot_options *options = search->options;
    struct wl_snapshot *snapshot = search->snapshot;
    struct wl_components components = {0};
    bool has_patterns = options->include_count > 0 || options->exclude_count > 0;
    bool is_load = options->scope != WLOAD_SCOPE_ALL && !has_patterns;
    int rc = is_load ? find_components(search, &components, err) : WLOAD_OK;

    if (rc == WLOAD_OK) {
        const struct wl_wanted wanted = {
            .scope = options->scope,
            .repo = search->repo.name,
            .subfolder = snapshot->spec.subfolder ? snapshot->spec.subfolder : "",
            .variant = snapshot->spec.variant,
            .include = options->include,
            .include_count = options->include_count,
            .exclude = options->exclude,
            .exclude_count = options->exclude_count,
            .components = (const char *const *)components.names,
            .component_count = components.count,
        };

        rc = wl_wanted_mark(&wanted, &snapshot->listing, is_wanted, err);
        /* A listing that is not complete is of what is here: it says of nothing that it is not. */
        if (rc >= 0 && is_load && !snapshot->listing.is_complete &&
            search->repo.kind == WL_HUB_MODEL) {
            rc = wl_whole_check(&wanted, &components, &snapshot->listing, is_wanted,
                                snapshot->store.snapshot_path, err);
        }
    }
    wl_components_clear(&components);
    return rc;
}

/* Names among the patterns that the commit does not have: other tools ask for them, too. */
static int note_absent(struct search *search, struct wload_error *err)
{
    const struct wload_snapshot_options *options = search->options;
    struct wl_snapshot *snapshot = search->snapshot;

    snapshot->absent = wl_sys_array(options->include_count, sizeof(snapshot->absent[0]));
    if (!snapshot->absent) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %zu patterns",
                          options->include_count);
    }
    for (size_t i = 0; i < options->include_count && snapshot->listing.is_complete; i++) {
        const char *name = options->include[i];
        char *copied;

        if (strpbrk(name, "*?[") || !wl_hub_is_path(name) ||
            wl_listing_find(&snapshot->listing, name) >= 0) {
            continue;
        }
        copied = wl_str_new("%s", name);
        if (!copied) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for '%s'", name);
        }
        snapshot->absent[snapshot->absent_count++] = copied;
    }
    return WLOAD_OK;
}

/* From the listing and the store to the files that are wanted, there or not. */
static int choose(struct search *search, struct wload_error *err)
{
    struct wl_snapshot *snapshot = search->snapshot;
    uint32_t count = snapshot->listing.count;
    bool *is_wanted = wl_sys_array(count, sizeof(is_wanted[0]));
    int rc;

    snapshot->wanted = wl_sys_array(count, sizeof(snapshot->wanted[0]));
    if (!is_wanted || !snapshot->wanted) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for %u files", search->repo.name,
                        count);
        goto out_free;
    }
    rc = mark(search, is_wanted, err);
    if (rc < 0) {
        goto out_free;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (is_wanted[i]) {
            snapshot->wanted[snapshot->shown.file_count++] = i;
        }
    }
    rc = note_absent(search, err);
    rc = rc < 0 ? rc : wl_snapshot_list(snapshot, err);

out_free:
    wl_sys->free(is_wanted);
    return rc;
}

/* ---- Whether it is there ---------------------------------------------------------------- */

static int pass_over(struct wl_snapshot *snapshot, const char *path, const struct wload_error *why,
                     struct wload_error *err)
{
    bool is_final = snapshot->listing.is_complete;
    int rc = wl_snapshot_note_place(snapshot, path, err, "%s", why->message);

    wl_snapshot_reset(snapshot);
    if (rc == PASSED_OVER) {
        snapshot->shown.refusal = snapshot->places[snapshot->shown.place_count - 1].finding;
        snapshot->shown.is_refusal_final = is_final;
    }
    return rc;
}

/* Whether the store has all that is wanted of the listing.  Leaves the files described even if
 * some are missing. */
static int judge(struct search *search, const char *path, const char *origin,
                 struct wload_error *err)
{
    struct wl_snapshot *snapshot = search->snapshot;
    struct wload_error why = {0};
    int rc = choose(search, &why);

    if (rc < 0) {
        return pass_over(snapshot, path, &why, err);
    }
    rc = wl_snapshot_settle(snapshot, path, origin, err);
    if (rc == WLOAD_OK && snapshot->shown.missing_count > 0) {
        return wl_snapshot_note_place(snapshot, path, err, "%u of %u files are missing, as '%s'",
                                      snapshot->shown.missing_count, snapshot->shown.file_count,
                                      wl_snapshot_first_missing(snapshot));
    }
    rc = rc < 0 ? rc : wl_snapshot_note_place(snapshot, path, err, "found");
    return rc < 0 ? rc : FOUND;
}

/* ---- A path ------------------------------------------------------------------------------ */

static int settle_path(struct wl_snapshot *snapshot, const struct wload_snapshot_options *options,
                       struct wload_error *err)
{
    char *path;
    int rc;

    if (strcmp(snapshot->spec.scheme, "file") != 0) {
        return wl_locate_no_source(&snapshot->spec, err);
    }
    rc = wl_locate_path(&snapshot->spec, options, &path, err);
    if (rc < 0) {
        return rc;
    }
    rc = wl_locate_exists(path) ? wl_snapshot_note_place(snapshot, path, err, "found")
                                : wl_locate_no_path(path, errno, err);
    rc = rc < 0 ? rc : wl_snapshot_settle(snapshot, snapshot->spec.path, "path", err);
    wl_sys->free(path);
    return rc;
}

/* ---- Directories that hold the files themselves ------------------------------------------- */

/* A directory is taken as it is, if what is wanted can be told from its names, and is there.  The
 * one that a fetch fills tells, too, what should be in it. */
static int try_directory(struct search *search, const char *path, struct wload_error *err)
{
    const char *revision = search->repo.revision;
    struct wl_snapshot *snapshot = search->snapshot;
    struct wload_error why = {0};
    int rc;

    if (!wl_locate_exists(path)) {
        return wl_snapshot_note_place(snapshot, path, err, "no such directory");
    }
    wl_snapshot_reset(snapshot);
    rc = wl_store_init(&snapshot->store, &wl_store_plain, &snapshot->config, &snapshot->log,
                       search->repo.kind, search->repo.name, path, "", err);
    if (rc < 0) {
        return rc;
    }
    rc = wl_listing_walk(&snapshot->log, path, &snapshot->listing, &why);
    if (rc == WLOAD_OK && snapshot->config.local_dir) {
        rc = wl_store_plain_expect(&snapshot->store, wl_hub_is_commit(revision) ? revision : "",
                                   &snapshot->listing, &why);
    }
    return rc < 0 ? pass_over(snapshot, path, &why, err) : judge(search, path, "directory", err);
}

static bool wants_default_revision(const struct search *search)
{
    return strcmp(search->repo.revision, "main") == 0;
}

static int try_plain_root(struct search *search, const char *root, struct wload_error *err)
{
    char *path = wl_str_new("%s/%s", root, search->repo.name);
    struct wload_error why;
    int rc;

    if (!path) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a path in '%s'", root);
    }
    if (wants_default_revision(search) || !wl_locate_exists(path)) {
        rc = try_directory(search, path, err);
    } else {
        (void)wl_err_set(&why, WLOAD_ERR_NOT_FOUND,
                         "'%s' is a plain directory here, which has no revision '%s'",
                         search->repo.name, search->repo.revision);
        rc = pass_over(search->snapshot, path, &why, err);
    }
    wl_sys->free(path);
    return rc;
}

static int try_plain_roots(struct search *search, struct wload_error *err)
{
    const struct wl_config *config = &search->snapshot->config;
    int rc = PASSED_OVER;

    for (uint32_t i = 0; i < config->root_count && rc == PASSED_OVER; i++) {
        rc = try_plain_root(search, config->plain_roots[i], err);
    }
    return rc;
}

/* ---- The cache that all tools share -------------------------------------------------------- */

static int list_cached(struct wl_snapshot *snapshot, struct wload_error *err)
{
    int rc = wl_store_listing(&snapshot->store, &snapshot->listing, err);

    return rc == WLOAD_ERR_NOT_FOUND
               ? wl_listing_walk(&snapshot->log, snapshot->store.snapshot_path, &snapshot->listing,
                                 err)
               : rc;
}

/* What the cache has of a commit. */
static int try_commit(struct search *search, const char *commit, struct wload_error *err)
{
    struct wl_snapshot *snapshot = search->snapshot;
    const char *path;
    struct wload_error why = {0};
    int rc;

    wl_snapshot_reset(snapshot);
    rc = wl_store_init(&snapshot->store, &wl_store_hub, &snapshot->config, &snapshot->log,
                       search->repo.kind, search->repo.name, snapshot->config.hub_cache, commit,
                       err);
    if (rc < 0) {
        return rc;
    }
    path = snapshot->store.snapshot_path;
    if (!wl_locate_exists(path)) {
        rc = wl_snapshot_note_place(snapshot, path, err, "no such snapshot");
        wl_snapshot_reset(snapshot);
        return rc;
    }
    rc = list_cached(snapshot, &why);
    return rc < 0 ? pass_over(snapshot, path, &why, err) : judge(search, path, "cache", err);
}

static int try_cache(struct search *search, struct wload_error *err)
{
    struct wl_snapshot *snapshot = search->snapshot;
    const char *cache = snapshot->config.hub_cache;
    char commit[WL_HUB_COMMIT_BYTES];
    struct wload_error why = {0};
    int rc = wl_store_hub_ref(cache, search->repo.kind, search->repo.name, search->repo.revision,
                              commit, &why);

    return rc < 0 ? wl_snapshot_note_place(snapshot, cache, err, "%s", why.message)
                  : try_commit(search, commit, err);
}

/* ---- The hub ----------------------------------------------------------------------------------
 */

/* The listing that the store keeps of this commit, else the hub's. */
static int list_remote(struct search *search, const char *commit, struct wload_error *err)
{
    struct wl_snapshot *snapshot = search->snapshot;

    if (wl_store_listing(&snapshot->store, &snapshot->listing, NULL) == WLOAD_OK) {
        return WLOAD_OK;
    }
    return wl_hub_list(&search->transfer, search->http, &search->repo, commit, &snapshot->listing,
                       err);
}

static int ask_commit(struct search *search, struct wload_error *err)
{
    struct wl_snapshot *snapshot = search->snapshot;
    const char *local_dir = snapshot->config.local_dir;
    char commit[WL_HUB_COMMIT_BYTES];
    int rc = wl_hub_commit(&search->transfer, search->http, &search->repo, commit, err);

    if (rc < 0) {
        return rc;
    }
    search->is_hub = !wl_hub_is_commit(search->repo.revision);
    wl_snapshot_reset(snapshot);
    snapshot->is_asked = true;
    rc = wl_store_init(&snapshot->store, local_dir ? &wl_store_plain : &wl_store_hub,
                       &snapshot->config, &snapshot->log, search->repo.kind, search->repo.name,
                       local_dir ? local_dir : snapshot->config.hub_cache, commit, err);
    rc = rc < 0 ? rc : list_remote(search, commit, err);
    rc = rc < 0 ? rc : choose(search, err);
    rc = rc < 0 ? rc
                : wl_snapshot_settle(snapshot, snapshot->store.snapshot_path,
                                     snapshot->shown.missing_count > 0 ? "hub"
                                     : local_dir                       ? "directory"
                                                                       : "cache",
                                     err);
    return rc < 0 ? rc
                  : wl_snapshot_note_place(snapshot, snapshot->config.endpoint, err,
                                           "revision '%s' is commit %s", search->repo.revision,
                                           commit);
}

static int ask_hub(struct search *search, struct wload_error *err)
{
    struct wl_snapshot *snapshot = search->snapshot;
    int rc = wl_transfer_init(&search->transfer, &snapshot->config, &snapshot->log, 0, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_lines_take(&snapshot->lines, &search->http, err);
    if (rc == WLOAD_OK) {
        rc = ask_commit(search, err);
        wl_lines_give(&snapshot->lines, search->http);
        search->http = NULL;
    }
    wl_transfer_clear(&search->transfer);
    return rc;
}

/*
 * Whether a failure says nothing about the repository, only that nobody could be
 * asked: no answer, one that puts off, or a first answer that is no hub's, as the
 * pages are that a proxy or a captive portal sends and leads to.
 */
static bool is_unreachable(const struct search *search, const struct wload_error *why)
{
    int status = why->http_status;
    bool is_garbage =
        why->code == WLOAD_ERR_FORMAT || (why->code == WLOAD_ERR_HTTP && status < 400);

    return why->code == WLOAD_ERR_NETWORK || why->code == WLOAD_ERR_TIMEOUT || status == 408 ||
           status == 429 || status >= 500 || (is_garbage && !search->is_hub);
}

/* The hub could not be asked: what is here is better than nothing, and is said to be old. */
static int fall_back(struct search *search, const struct wload_error *why, struct wload_error *err)
{
    struct wl_snapshot *snapshot = search->snapshot;
    int rc;

    wl_snapshot_reset(snapshot);
    if (!is_unreachable(search, why)) {
        rc = PASSED_OVER;
    } else {
        rc = snapshot->config.local_dir ? try_directory(search, snapshot->config.local_dir, err)
                                        : try_cache(search, err);
    }
    if (rc == PASSED_OVER) {
        if (err) {
            *err = *why;
        }
        return why->code;
    }
    if (rc == FOUND) {
        snapshot->note = wl_str_new("the hub could not be asked: %s", why->message);
        if (!snapshot->note) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a note");
        }
        snapshot->shown.note = snapshot->note;
        WL_LOG(&snapshot->log, WLOAD_LOG_WARN, "cache", "%s", snapshot->note);
    }
    return rc;
}

/* ---- All of them --------------------------------------------------------------------------------
 */

static int search_here(struct search *search, struct wload_error *err)
{
    const struct wl_config *config = &search->snapshot->config;
    int rc;

    if (config->local_dir) {
        return config->is_offline ? try_directory(search, config->local_dir, err) : PASSED_OVER;
    }
    if (search->options->network == WLOAD_NETWORK_FIRST && !config->is_offline) {
        return PASSED_OVER;
    }
    rc = try_plain_roots(search, err);
    return rc == PASSED_OVER ? try_cache(search, err) : rc;
}

int wl_locate(struct wl_snapshot *snapshot, const struct wload_snapshot_options *options,
              struct wload_error *err)
{
    struct search search = {
        .snapshot = snapshot,
        .options = options,
        .repo = {.kind = snapshot->spec.kind,
                 .name = snapshot->spec.path,
                 .revision = snapshot->spec.revision},
    };
    struct wload_error why = {0};
    int rc;

    if (!wl_locate_is_name(&snapshot->spec)) {
        return settle_path(snapshot, options, err);
    }
    snapshot->shown.repo = snapshot->spec.path;
    snapshot->shown.kind = wl_hub_kind_name(snapshot->spec.kind);
    snapshot->shown.revision = snapshot->spec.revision;
    if (strcmp(snapshot->spec.scheme, "file") == 0) {
        rc =
            wl_snapshot_note_place(snapshot, snapshot->spec.path, err, "no such file or directory");
        if (rc < 0) {
            return rc;
        }
    }
    rc = search_here(&search, err);
    if (rc != PASSED_OVER || snapshot->config.is_offline) {
        return rc < 0 ? rc : WLOAD_OK;
    }
    rc = ask_hub(&search, &why);
    if (rc < 0) {
        rc = fall_back(&search, &why, err);
    }
    return rc < 0 ? rc : WLOAD_OK;
}
