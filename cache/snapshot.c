/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/snapshot.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/hub_api.h"
#include "cache/locate.h"

#define PLACES_AT_FIRST  8u
#define FINDING_BYTES    512
#define REVISION_DEFAULT "main"

/* ---- Places ------------------------------------------------------------------------ */

static bool grow_places(struct wl_snapshot *snapshot)
{
    uint32_t room = snapshot->place_room ? snapshot->place_room * 2 : PLACES_AT_FIRST;
    struct wload_place *places = wl_sys_array(room, sizeof(places[0]));

    if (!places) {
        return false;
    }
    if (snapshot->shown.place_count > 0) {
        memcpy(places, snapshot->places, snapshot->shown.place_count * sizeof(places[0]));
    }
    wl_sys->free(snapshot->places);
    snapshot->places = places;
    snapshot->shown.places = places;
    snapshot->place_room = room;
    return true;
}

int wl_snapshot_note_place(struct wl_snapshot *snapshot, const char *path, struct wload_error *err,
                           const char *fmt, ...)
{
    char finding[FINDING_BYTES];
    struct wload_place *place;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(finding, sizeof(finding), fmt, ap);
    va_end(ap);
    WL_LOG(&snapshot->log, WLOAD_LOG_INFO, "cache", "'%s': %s", path, finding);
    if (snapshot->shown.place_count == snapshot->place_room && !grow_places(snapshot)) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the places looked at");
    }
    place = &snapshot->places[snapshot->shown.place_count++];
    *place =
        (struct wload_place){.path = wl_str_new("%s", path), .finding = wl_str_new("%s", finding)};
    if (!place->path || !place->finding) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the places looked at");
    }
    return WLOAD_OK;
}

int wl_snapshot_settle(struct wl_snapshot *snapshot, const char *folder, const char *origin,
                       struct wload_error *err)
{
    const char *subfolder = snapshot->spec.subfolder ? snapshot->spec.subfolder : "";

    wl_sys->free(snapshot->path);
    snapshot->path = wl_str_new("%s%s%s", folder, subfolder[0] ? "/" : "", subfolder);
    if (!snapshot->path) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the path of '%s'", folder);
    }
    snapshot->shown.path = snapshot->path;
    snapshot->shown.origin = origin;
    snapshot->shown.commit = snapshot->store.commit;
    return WLOAD_OK;
}

int wl_snapshot_refuse_absent(const struct wl_snapshot *snapshot, bool tells_network,
                              struct wload_error *err)
{
    const struct wload_snapshot *shown = &snapshot->shown;

    if (shown->refusal[0] != '\0') {
        tells_network = tells_network && shown->is_refusal_final == 0;
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "%s%s", shown->refusal,
                          tells_network ? "; the network is off" : "");
    }
    return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' is not on this machine%s",
                      snapshot->spec.path, tells_network ? ", and the network is off" : "");
}

/* ---- Files --------------------------------------------------------------------------- */

static void free_text(const char *text)
{
    wl_sys->free((char *)(uintptr_t)text);
}

static void forget_files(struct wl_snapshot *snapshot)
{
    for (uint32_t i = 0; snapshot->files && i < snapshot->shown.file_count; i++) {
        free_text(snapshot->files[i].path);
        free_text(snapshot->files[i].url);
    }
    wl_sys->free(snapshot->files);
    wl_sys->free(snapshot->firsts);
    snapshot->files = NULL;
    snapshot->firsts = NULL;
    snapshot->shown.files = NULL;
    snapshot->shown.file_count = 0;
}

void wl_snapshot_reset(struct wl_snapshot *snapshot)
{
    forget_files(snapshot);
    wl_listing_clear(&snapshot->listing);
    for (uint32_t i = 0; i < snapshot->absent_count; i++) {
        wl_sys->free(snapshot->absent[i]);
    }
    wl_sys->free(snapshot->absent);
    snapshot->absent = NULL;
    snapshot->absent_count = 0;
    wl_sys->free(snapshot->wanted);
    snapshot->wanted = NULL;
    if (snapshot->store.ops) {
        wl_store_clear(&snapshot->store);
        snapshot->store = (struct wl_store){0};
    }
    snapshot->is_asked = false;
    snapshot->shown.path = "";
    snapshot->shown.origin = "";
    snapshot->shown.commit = "";
    snapshot->shown.total_bytes = 0;
    snapshot->shown.missing_bytes = 0;
    snapshot->shown.missing_count = 0;
}

static char *file_url(const struct wl_snapshot *snapshot, const char *name)
{
    const struct wl_hub_repo repo = {.kind = snapshot->spec.kind, .name = snapshot->spec.path};
    const char *commit = snapshot->store.commit;

    return commit[0] ? wl_hub_file_url(&snapshot->config, &repo, commit, name)
                     : wl_str_new("%s", "");
}

struct content {
    const char *hash;
    uint32_t number; /* of the file */
};

static int compare_contents(const void *a, const void *b)
{
    const struct content *one = a, *other = b;
    int order = strcmp(one->hash, other->hash);

    return order != 0 ? order : (one->number > other->number) - (one->number < other->number);
}

static int find_firsts(struct wl_snapshot *snapshot, struct wload_error *err)
{
    bool keeps_once = wl_store_keeps_once(&snapshot->store);
    uint32_t count = snapshot->shown.file_count;
    struct content *contents = wl_sys_array(count, sizeof(contents[0]));

    snapshot->firsts = wl_sys_array(count, sizeof(snapshot->firsts[0]));
    if (!contents || !snapshot->firsts) {
        wl_sys->free(contents);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for %u files", snapshot->spec.path,
                          count);
    }
    for (uint32_t i = 0; i < count; i++) {
        contents[i] = (struct content){.hash = snapshot->files[i].digest, .number = i};
    }
    qsort(contents, count, sizeof(contents[0]), compare_contents);
    for (uint32_t i = 0; i < count; i++) {
        bool is_twin = keeps_once && i > 0 && contents[i].hash[0] != '\0' &&
                       strcmp(contents[i].hash, contents[i - 1].hash) == 0;
        uint32_t number = contents[i].number;

        snapshot->firsts[number] = is_twin ? snapshot->firsts[contents[i - 1].number] : number;
    }
    wl_sys->free(contents);
    return WLOAD_OK;
}

int wl_snapshot_list(struct wl_snapshot *snapshot, struct wload_error *err)
{
    uint32_t count = snapshot->shown.file_count;
    int rc;

    snapshot->files = wl_sys_array(count, sizeof(snapshot->files[0]));
    if (!snapshot->files) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for %u files", snapshot->spec.path,
                          count);
    }
    snapshot->shown.files = snapshot->files;
    for (uint32_t i = 0; i < count; i++) {
        const struct wl_listing_file *listed = &snapshot->listing.files[snapshot->wanted[i]];

        snapshot->files[i] = (struct wload_snapshot_file){
            .name = listed->name,
            .path = wl_store_file_path(&snapshot->store, listed->name),
            .url = file_url(snapshot, listed->name),
            .digest = listed->hash,
            .size_bytes = listed->size_bytes,
        };
        if (!snapshot->files[i].path || !snapshot->files[i].url) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for '%s'", listed->name);
        }
    }
    rc = find_firsts(snapshot, err);
    return rc < 0 ? rc : wl_snapshot_refresh(snapshot, err);
}

/* Bytes that an earlier download of the file left. */
static int count_partial(const struct wl_snapshot *snapshot, const struct wl_listing_file *file,
                         uint64_t *bytes, struct wload_error *err)
{
    struct wl_partial_place place;
    int rc = snapshot->store.ops->place(&snapshot->store, file, &place, err);

    if (rc == WLOAD_OK) {
        *bytes = wl_partial_peek(&place);
        wl_store_place_clear(&place);
    }
    return rc;
}

/* Whether a file before it brings the content. */
static bool comes_with_another(const struct wl_snapshot *snapshot, uint32_t number)
{
    uint32_t first = snapshot->firsts[number];

    return first != number && !snapshot->files[first].is_present;
}

int wl_snapshot_refresh(struct wl_snapshot *snapshot, struct wload_error *err)
{
    struct wload_snapshot *shown = &snapshot->shown;

    shown->total_bytes = 0;
    shown->missing_bytes = 0;
    shown->missing_count = 0;
    for (uint32_t i = 0; i < shown->file_count; i++) {
        struct wload_snapshot_file *file = &snapshot->files[i];
        const struct wl_listing_file *listed = &snapshot->listing.files[snapshot->wanted[i]];
        int rc = snapshot->store.ops->find(&snapshot->store, listed, err);

        file->is_present = rc > 0;
        file->present_bytes = rc > 0 || comes_with_another(snapshot, i) ? file->size_bytes : 0;
        if (rc == 0 && file->present_bytes == 0) {
            rc = count_partial(snapshot, listed, &file->present_bytes, err);
        }
        if (rc < 0) {
            return rc;
        }
        shown->total_bytes += file->size_bytes;
        shown->missing_bytes += file->size_bytes - file->present_bytes;
        shown->missing_count += !file->is_present;
    }
    return WLOAD_OK;
}

const char *wl_snapshot_first_missing(const struct wl_snapshot *snapshot)
{
    for (uint32_t i = 0; i < snapshot->shown.file_count; i++) {
        if (!snapshot->files[i].is_present) {
            return snapshot->files[i].name;
        }
    }
    return "";
}

/* ---- The snapshot ---------------------------------------------------------------------- */

/* NULL stays NULL; *failed if there was no memory. */
static char *copy(const char *text, bool *failed)
{
    char *copied = text ? wl_str_new("%s", text) : NULL;

    *failed |= text && !copied;
    return copied;
}

/* A folder that was asked for; it may be written with a slash at its end. */
static int take_subfolder(struct wl_spec *spec, struct wload_error *err)
{
    size_t length = strlen(spec->subfolder);

    while (length > 0 && spec->subfolder[length - 1] == '/') {
        spec->subfolder[--length] = '\0';
    }
    if (!wl_hub_is_path(spec->subfolder)) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "'%.80s' cannot be a folder of a repository",
                          spec->subfolder);
    }
    return WLOAD_OK;
}

static int take_spec(struct wl_snapshot *snapshot, const struct wl_spec *spec,
                     const struct wload_snapshot_options *options, struct wload_error *err)
{
    const char *revision = options->revision ? options->revision : spec->revision;
    struct wl_spec *own = &snapshot->spec;
    bool failed = false;

    own->kind = spec->kind;
    own->scheme = copy(spec->scheme, &failed);
    own->path = copy(spec->path, &failed);
    own->variant = copy(spec->variant, &failed);
    own->revision = copy(revision ? revision : REVISION_DEFAULT, &failed);
    own->subfolder = copy(options->subfolder ? options->subfolder : spec->subfolder, &failed);
    if (failed) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the spec '%s'", spec->path);
    }
    if (options->revision && spec->revision && strcmp(options->revision, spec->revision) != 0) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "'%s' names revision '%s', and '%s' is asked for",
                          spec->path, spec->revision, options->revision);
    }
    if (!wl_hub_is_revision(own->revision)) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "'%.80s' cannot be a revision", own->revision);
    }
    return own->subfolder ? take_subfolder(own, err) : WLOAD_OK;
}

static int open_snapshot(struct wl_snapshot *snapshot, const struct wl_spec *spec,
                         const struct wload_snapshot_options *options, struct wload_error *err)
{
    const struct wl_config_overrides overrides = {
        .cache_dir = options->cache_dir,
        .local_dir = options->local_dir,
        .token = options->token,
        .is_offline = options->network == WLOAD_NETWORK_OFF,
    };
    int rc = take_spec(snapshot, spec, options, err);

    if (rc == WLOAD_OK) {
        rc = wl_config_read(&snapshot->log, &overrides, &snapshot->config, err);
    }
    return rc < 0 ? rc : wl_locate(snapshot, options, err);
}

int wl_snapshot_open(const struct wl_log *log, const struct wl_spec *spec,
                     const struct wload_snapshot_options *options, struct wl_snapshot **out,
                     struct wload_error *err)
{
    struct wl_snapshot *snapshot = wl_sys->alloc(sizeof(*snapshot));
    int rc;

    if (!snapshot) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a snapshot");
    }
    snapshot->log = *log;
    wl_lines_init(&snapshot->lines, &snapshot->config);
    snapshot->shown = (struct wload_snapshot){.repo = "",
                                              .kind = "",
                                              .revision = "",
                                              .commit = "",
                                              .path = "",
                                              .origin = "",
                                              .note = "",
                                              .refusal = ""};
    rc = open_snapshot(snapshot, spec, options, err);
    if (rc < 0) {
        wl_snapshot_free(snapshot);
        return rc;
    }
    *out = snapshot;
    return WLOAD_OK;
}

void wl_snapshot_free(struct wl_snapshot *snapshot)
{
    if (!snapshot) {
        return;
    }
    wl_snapshot_reset(snapshot);
    for (uint32_t i = 0; i < snapshot->shown.place_count; i++) {
        free_text(snapshot->places[i].path);
        free_text(snapshot->places[i].finding);
    }
    wl_sys->free(snapshot->places);
    wl_sys->free(snapshot->path);
    wl_sys->free(snapshot->note);
    wl_sys->free(snapshot->spec.scheme);
    wl_sys->free(snapshot->spec.path);
    wl_sys->free(snapshot->spec.variant);
    wl_sys->free(snapshot->spec.revision);
    wl_sys->free(snapshot->spec.subfolder);
    wl_lines_clear(&snapshot->lines);
    wl_config_clear(&snapshot->config);
    wl_sys->free(snapshot);
}
