/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/wanted.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/components.h"
#include "cache/select.h"
#include "cache/wanted_name.h"

#define SMALL_BYTES_MAX (64ull << 20) /* of a file that is no weights and still comes along */
#define LABEL_BYTES     512
#define PREFIX_BYTES    (2 * WL_PATH_BYTES_MAX)
#define PLAIN_INDEX     ".safetensors.index.json"
#define OTHER_LAYOUT    "consolidated" /* the same weights once more, for the maker's own tools */

/* Files whose names begin alike, one behind the other in the listing. */
struct range {
    uint32_t begin;
    uint32_t end;
    size_t prefix_bytes;
};

struct marking {
    const struct wl_wanted *wanted;
    const struct wl_listing *listing;
    bool *is_wanted;
    struct range base; /* what is below the subfolder, or all */
    bool is_pipeline;
};

static const char *name_of(const struct marking *marking, uint32_t number)
{
    return marking->listing->files[number].name;
}

/* ---- Folders --------------------------------------------------------------------------- */

/* How many names stand before those that begin with the prefix, or with `behind` up to the last
 * of them. */
static uint32_t count_before(const struct wl_listing *listing, const char *prefix, size_t bytes,
                             bool behind)
{
    uint32_t low = 0;
    uint32_t high = listing->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strncmp(listing->files[middle].name, prefix, bytes);

        if (order < 0 || (behind && order == 0)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct range range_of(const struct wl_listing *listing, const char *prefix, size_t bytes)
{
    return (struct range){
        .begin = count_before(listing, prefix, bytes, false),
        .end = count_before(listing, prefix, bytes, true),
        .prefix_bytes = bytes,
    };
}

/* The name in the folder, or NULL if the file lies deeper. */
static const char *own_name(const struct marking *marking, const struct range *folder,
                            uint32_t number)
{
    const char *name = name_of(marking, number) + folder->prefix_bytes;

    return strchr(name, '/') ? NULL : name;
}

/* What errors call a folder: "org/name/unet". */
static void label_folder(const struct marking *marking, const struct range *folder,
                         char label[LABEL_BYTES])
{
    const char *name = folder->begin < folder->end ? name_of(marking, folder->begin) : "";
    size_t bytes = folder->prefix_bytes > 0 ? folder->prefix_bytes - 1 : 0;

    (void)snprintf(label, LABEL_BYTES, "%s%s%.*s", marking->wanted->repo, bytes > 0 ? "/" : "",
                   (int)bytes, name);
}

/* ---- Weights of one folder --------------------------------------------------------------- */

/* The names of a folder that select.h decides about, and their numbers in the listing. */
struct names {
    const char **names;
    uint32_t *numbers;
    uint32_t *picks;
    uint32_t count;
};

static void clear_names(struct names *names)
{
    wl_sys->free(names->names);
    wl_sys->free(names->numbers);
    wl_sys->free(names->picks);
}

static int gather(const struct marking *marking, const struct range *folder, struct names *out,
                  struct wload_error *err)
{
    uint32_t room = folder->end - folder->begin;

    *out = (struct names){
        .names = wl_sys_array(room, sizeof(out->names[0])),
        .numbers = wl_sys_array(room, sizeof(out->numbers[0])),
        .picks = wl_sys_array(room, sizeof(out->picks[0])),
    };
    if (!out->names || !out->numbers || !out->picks) {
        clear_names(out);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for %u files",
                          marking->wanted->repo, room);
    }
    for (uint32_t i = folder->begin; i < folder->end; i++) {
        const char *name = own_name(marking, folder, i);

        if (name && wl_select_knows(name)) {
            out->names[out->count] = name;
            out->numbers[out->count++] = i;
        }
    }
    return WLOAD_OK;
}

static void mark_picks(struct marking *marking, const struct names *names, int picked)
{
    for (int i = 0; i < picked; i++) {
        marking->is_wanted[names->numbers[names->picks[i]]] = true;
    }
}

/* Whether these can be all shards of an index. */
static bool are_shards(const struct names *names, int picked)
{
    return picked > 1 || (picked == 1 && strstr(names->names[names->picks[0]], "-of-"));
}

/*
 * What an index names is not known here.  It is what would be taken if the index
 * were not there; where that is not clear, every file of the folder is.
 */
static int mark_shards(struct marking *marking, struct names *names, const char *index_name,
                       const char *variant, struct wload_error *err)
{
    bool is_other_layout = wl_str_starts(index_name, OTHER_LAYOUT);
    bool is_plain = wl_str_ends(index_name, PLAIN_INDEX);
    uint32_t count = 0;
    int picked;

    for (uint32_t i = 0; i < names->count; i++) {
        if (!wl_str_ends(names->names[i], ".json")) {
            names->names[count] = names->names[i];
            names->numbers[count++] = names->numbers[i];
        }
    }
    names->count = count;
    picked =
        variant || is_plain ? wl_select("", names->names, count, variant, names->picks, NULL) : 0;
    if (picked == WLOAD_ERR_NOMEM) {
        return wl_err_set(err, picked, "'%s': no memory for %u files", marking->wanted->repo,
                          count);
    }
    if (are_shards(names, picked)) {
        mark_picks(marking, names, picked);
        return WLOAD_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (is_other_layout || !wl_str_starts(names->names[i], OTHER_LAYOUT)) {
            marking->is_wanted[names->numbers[i]] = true;
        }
    }
    return WLOAD_OK;
}

/* Returns how many files or indexes were chosen, 0 if the folder has none of the variant. */
static int choose(struct marking *marking, const struct range *folder, struct names *names,
                  const char *variant, struct wload_error *err)
{
    char label[LABEL_BYTES];
    int picked;

    if (names->count == 0) {
        return 0;
    }
    label_folder(marking, folder, label);
    picked = wl_select(label, names->names, names->count, variant, names->picks, err);
    if (picked > 0) {
        const char *first = names->names[names->picks[0]];
        int rc;

        mark_picks(marking, names, picked);
        rc = wl_str_ends(first, ".json") ? mark_shards(marking, names, first, variant, err)
                                         : WLOAD_OK;
        picked = rc < 0 ? rc : picked;
    }
    return picked;
}

static int mark_folder(struct marking *marking, struct wload_error *err)
{
    const char *variant = marking->wanted->variant;
    char label[LABEL_BYTES];
    struct names names;
    int rc = gather(marking, &marking->base, &names, err);

    if (rc < 0) {
        return rc;
    }
    rc = choose(marking, &marking->base, &names, variant, err);
    if (rc == 0 && names.count > 0) {
        label_folder(marking, &marking->base, label);
        rc = wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' has no weights of variant '%s'", label,
                        variant);
    }
    clear_names(&names);
    return rc;
}

/* ---- Weights of a pipeline ------------------------------------------------------------------ */

/* The next component's folder, if there is one with files in it: those that are named, else every
 * folder.  `*at` begins as 0. */
static bool next_component(const struct marking *marking, uint32_t *at, struct range *out)
{
    const struct wl_wanted *wanted = marking->wanted;
    const struct range *base = &marking->base;
    char prefix[PREFIX_BYTES];

    for (; wanted->component_count > 0 && *at < wanted->component_count; ++*at) {
        int bytes = snprintf(prefix, sizeof(prefix), "%.*s%s/", (int)base->prefix_bytes,
                             name_of(marking, base->begin), wanted->components[*at]);

        *out = range_of(marking->listing, prefix, (size_t)bytes);
        if ((size_t)bytes < sizeof(prefix) && out->begin < out->end) {
            ++*at;
            return true;
        }
    }
    for (; wanted->component_count == 0 && *at < base->end - base->begin; ++*at) {
        const char *name = name_of(marking, base->begin + *at);
        const char *slash = strchr(name + base->prefix_bytes, '/');

        if (slash) {
            *out = range_of(marking->listing, name, (size_t)(slash + 1 - name));
            *at = out->end - base->begin;
            return true;
        }
    }
    return false;
}

/* Returns as choose(); *of_variant counts the components that have the variant. */
static int mark_component(struct marking *marking, const struct range *folder, uint32_t *of_variant,
                          struct wload_error *err)
{
    const char *variant = marking->wanted->variant;
    struct names names;
    int rc = gather(marking, folder, &names, err);

    if (rc < 0) {
        return rc;
    }
    if (variant) {
        rc = choose(marking, folder, &names, variant, err);
        *of_variant += rc > 0;
    }
    if (rc == 0) {
        rc = choose(marking, folder, &names, NULL, err);
    }
    clear_names(&names);
    return rc;
}

static int mark_pipeline(struct marking *marking, struct wload_error *err)
{
    struct range folder;
    uint32_t of_variant = 0;
    uint32_t at = 0;
    bool has_weights = false;

    while (next_component(marking, &at, &folder)) {
        int rc = mark_component(marking, &folder, &of_variant, err);

        if (rc < 0) {
            return rc;
        }
        has_weights = has_weights || rc > 0;
    }
    if (has_weights && marking->wanted->variant && of_variant == 0) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s': no component has variant '%s'",
                          marking->wanted->repo, marking->wanted->variant);
    }
    return has_weights;
}

/* ---- The files beside them --------------------------------------------------------------------
 */

static void mark_small(struct marking *marking, const struct range *range, bool is_deep)
{
    for (uint32_t i = range->begin; i < range->end; i++) {
        if (marking->listing->files[i].size_bytes <= SMALL_BYTES_MAX &&
            (is_deep || own_name(marking, range, i)) &&
            !wl_wanted_is_weights(name_of(marking, i))) {
            marking->is_wanted[i] = true;
        }
    }
}

static void mark_beside(struct marking *marking)
{
    struct range folder;
    uint32_t at = 0;

    mark_small(marking, &marking->base, !marking->is_pipeline);
    while (marking->is_pipeline && next_component(marking, &at, &folder)) {
        mark_small(marking, &folder, true);
    }
}

/*
 * No weights were found where they should be.  There may be some of another
 * format, or in other folders; if there are none at all, this is no model, and all
 * of it is wanted.
 */
static int mark_without_weights(struct marking *marking, struct wload_error *err)
{
    const struct wl_wanted *wanted = marking->wanted;
    const char *foreign = NULL; /* of a format that is not read here */
    const char *elsewhere = NULL;
    bool is_foreign_near = false;

    for (uint32_t i = marking->base.begin; i < marking->base.end; i++) {
        const char *name = name_of(marking, i);

        if (wl_str_ends(name, ".safetensors")) {
            elsewhere = elsewhere ? elsewhere : name;
        } else if (wl_wanted_is_weights(name) && !wl_str_ends(name, ".json") && !is_foreign_near) {
            is_foreign_near = marking->is_pipeline || own_name(marking, &marking->base, i) != NULL;
            foreign = foreign && !is_foreign_near ? foreign : name;
        }
    }
    if (foreign && (is_foreign_near || !elsewhere)) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED,
                          "'%s' has no weights in safetensors, only '%s': convert them",
                          wanted->repo, foreign);
    }
    if (elsewhere) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND,
                          "'%s' has no weights here, only '%s': name a subfolder", wanted->repo,
                          elsewhere);
    }
    if (wanted->scope == WLOAD_SCOPE_WEIGHTS) {
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' has no weights", wanted->repo);
    }
    memset(marking->is_wanted + marking->base.begin, true, marking->base.end - marking->base.begin);
    return WLOAD_OK;
}

/* ---- What a load takes
 * ---------------------------------------------------------------------------- */

static int64_t find_pipeline(const struct marking *marking)
{
    char name[PREFIX_BYTES];

    (void)snprintf(name, sizeof(name), "%.*s" WL_PIPELINE_FILE, (int)marking->base.prefix_bytes,
                   name_of(marking, marking->base.begin));
    return wl_listing_find(marking->listing, name);
}

static int mark_load(struct marking *marking, struct wload_error *err)
{
    int64_t pipeline = find_pipeline(marking);
    int rc;

    marking->is_pipeline = pipeline >= 0 || marking->wanted->component_count > 0;
    rc = marking->is_pipeline ? mark_pipeline(marking, err) : mark_folder(marking, err);
    if (rc <= 0) {
        return rc < 0 ? rc : mark_without_weights(marking, err);
    }
    if (pipeline >= 0) {
        marking->is_wanted[pipeline] = true; /* says which folders the weights are in */
    }
    if (marking->wanted->scope == WLOAD_SCOPE_LOAD) {
        mark_beside(marking);
    }
    return WLOAD_OK;
}

/* The subfolder is a file: that, and if it is an index the shards beside it. */
static int mark_file(struct marking *marking, uint32_t number, struct wload_error *err)
{
    const char *full_name = name_of(marking, number);
    const char *slash = strrchr(full_name, '/');
    const char *name = slash ? slash + 1 : full_name;
    struct range folder = range_of(marking->listing, full_name, (size_t)(name - full_name));
    struct names names;
    int rc = WLOAD_OK;

    marking->is_wanted[number] = true;
    if (marking->wanted->scope == WLOAD_SCOPE_ALL) {
        return WLOAD_OK;
    }
    if (!wl_select_knows(name) && wl_wanted_is_weights(name)) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "'%s': '%s' is not in safetensors",
                          marking->wanted->repo, full_name);
    }
    if (wl_select_knows(name) && wl_str_ends(name, ".json")) {
        rc = gather(marking, &folder, &names, err);
        if (rc == WLOAD_OK) {
            rc = mark_shards(marking, &names, name, marking->wanted->variant, err);
            clear_names(&names);
        }
    }
    return rc;
}

/* ---- Patterns
 * ---------------------------------------------------------------------------------------- */

static bool matches_any(const char *name, const char *const *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (wl_hub_match(patterns[i], name)) {
            return true;
        }
    }
    return false;
}

static bool has_patterns(const struct wl_wanted *wanted)
{
    return wanted->include_count > 0 || wanted->exclude_count > 0;
}

/* Without patterns: every file. */
static void mark_matches(struct marking *marking)
{
    const struct wl_wanted *wanted = marking->wanted;

    for (uint32_t i = marking->base.begin; i < marking->base.end; i++) {
        const char *name = name_of(marking, i);

        marking->is_wanted[i] = (wanted->include_count == 0 ||
                                 matches_any(name, wanted->include, wanted->include_count)) &&
                                !matches_any(name, wanted->exclude, wanted->exclude_count);
    }
}

/* ---- All together
 * -------------------------------------------------------------------------------------- */

static int mark(struct marking *marking, struct wload_error *err)
{
    const struct wl_wanted *wanted = marking->wanted;
    const struct wl_listing *listing = marking->listing;
    const char *subfolder = wanted->subfolder;
    size_t bytes = strlen(subfolder);
    int64_t file = wl_listing_find(listing, subfolder);
    char prefix[PREFIX_BYTES];

    bytes -= bytes > 0 && subfolder[bytes - 1] == '/';
    (void)snprintf(prefix, sizeof(prefix), "%.*s%s", (int)bytes, subfolder, bytes > 0 ? "/" : "");
    marking->base = file < 0 ? range_of(listing, prefix, strlen(prefix))
                             : (struct range){.begin = (uint32_t)file, .end = (uint32_t)file + 1};
    if (marking->base.begin == marking->base.end) {
        return bytes > 0 ? wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' has no '%.200s'",
                                      wanted->repo, subfolder)
                         : wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' has no files", wanted->repo);
    }
    if (file >= 0 && !has_patterns(wanted)) {
        return mark_file(marking, (uint32_t)file, err);
    }
    if (wanted->scope != WLOAD_SCOPE_ALL && !has_patterns(wanted)) {
        return mark_load(marking, err);
    }
    mark_matches(marking);
    return wanted->variant && file < 0 /* one that is named is wanted whatever it is of */
               ? wl_wanted_drop_variants(listing, marking->base.begin, marking->base.end,
                                         wanted->repo, wanted->variant, marking->is_wanted, err)
               : WLOAD_OK;
}

int wl_wanted_mark(const struct wl_wanted *wanted, const struct wl_listing *listing,
                   bool *is_wanted, struct wload_error *err)
{
    struct marking marking = {.wanted = wanted, .listing = listing, .is_wanted = is_wanted};
    int count = 0;
    int rc;

    memset(is_wanted, false, listing->count);
    rc = mark(&marking, err);
    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = 0; i < listing->count; i++) {
        count += is_wanted[i];
    }
    return count > 0
               ? count
               : wl_err_set(err, WLOAD_ERR_NOT_FOUND,
                            "'%s' has no file%s%s%s that the patterns keep", wanted->repo,
                            wanted->variant ? " of variant '" : "",
                            wanted->variant ? wanted->variant : "", wanted->variant ? "'" : "");
}
