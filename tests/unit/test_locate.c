/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a model that is named is taken from the first place that has all of it, a path is what the
 * options make of it, and what is neither is refused with what a name looks like.
 * Method: tables of directories, each tried as a plain directory and as a snapshot whose cache
 * kept no listing, with and without a whole model in the next place; specs with the options that
 * they take and those that they do not.
 */
#include "base/base.h"
#include "base/str.h"
#include "faults.h"
#include "tree.h"

#define COMMIT  "0123456789abcdef0123456789abcdef01234567"
#define NAME    "org/name"
#define LOAD    WLOAD_SCOPE_LOAD
#define WEIGHTS WLOAD_SCOPE_WEIGHTS
#define ALL     WLOAD_SCOPE_ALL
#define INDEX   "model.safetensors.index.json"
#define SHARD_1 "model-00001-of-00002.safetensors"
#define SHARD_2 "model-00002-of-00002.safetensors"

/* What the files hold that are read, by how their names end; all others are empty. */
static const struct {
    const char *name;
    const char *text;
} contents[] = {
    {INDEX, "{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_2 "\",\"c\":\"" SHARD_2 "\"}}"},
    {"odd.safetensors.index.json", "{\"weight_map\":{\"a\":\"x.safetensors\"}}"},
    {"up.safetensors.index.json", "{\"weight_map\":{\"a\":\"../x.safetensors\"}}"},
    {"none.safetensors.index.json", "{}"},
    {"small/model_index.json",
     "{\"unet\":[\"a\",\"B\"],\"words\":[\"a\",\"CLIPTokenizer\"],"
     "\"more\":[\"a\",\"T5TokenizerFast\"],\"steps\":[\"a\",\"DDIMScheduler\"],"
     "\"sight\":[\"a\",\"CLIPImageProcessor\"],\"seen\":[\"a\",\"CLIPFeatureExtractor\"],"
     "\"fast\":[\"a\",\"CLIPImageProcessorFast\"]}"},
    {"model_index.json", "{\"_class_name\":\"P\",\"unet\":[\"a\",\"B\"],\"vae\":[\"a\",\"B\"],"
                         "\"guard\":[null,null]}"},
};

static const char *text_of(const char *name)
{
    for (size_t i = 0; i < WL_COUNT_OF(contents); i++) {
        if (wl_str_ends(name, contents[i].name)) {
            return contents[i].text;
        }
    }
    return "";
}

static unsigned made;

/* The files, separated by spaces, below `below` in a new folder; its path. */
static void make(const char *files, const char *below, char path[TREE_PATH_BYTES])
{
    char folder[32];
    char list[1024];

    (void)snprintf(folder, sizeof(folder), "case-%u", made++);
    (void)snprintf(list, sizeof(list), "%s", files);
    for (char *save = NULL, *at = strtok_r(list, " ", &save); at; at = strtok_r(NULL, " ", &save)) {
        char name[512];

        (void)snprintf(name, sizeof(name), "%s/%s/%s", folder, below, at);
        tree_write_text(name, text_of(at));
    }
    (void)snprintf(path, TREE_PATH_BYTES, "%s", tree_path(folder));
}

/* ---- Places ----------------------------------------------------------------------------- */

struct place {
    const char *files;
    enum wload_scope scope;
    const char *include;   /* NULL: none */
    const char *subfolder; /* NULL: none */
    const char *finding;   /* NULL: it is taken; or a part of why not */
};

static const struct place places[] = {
    {"config.json model.safetensors", LOAD, NULL, NULL, NULL},
    {"model.safetensors", WEIGHTS, NULL, NULL, NULL},
    {"config.json " INDEX " " SHARD_1 " " SHARD_2, LOAD, NULL, NULL, NULL},
    {"odd.safetensors.index.json x.safetensors", LOAD, NULL, NULL, NULL},
    {INDEX " model.safetensors", LOAD, NULL, NULL, NULL}, /* an index that nobody needs */

    {"README.md", LOAD, NULL, NULL, "no weights"},
    {"config.json", LOAD, NULL, NULL, "no weights"},
    {"config.json", WEIGHTS, NULL, NULL, "no weights"},
    {"config.json " INDEX, LOAD, NULL, NULL, "'" INDEX "' names '" SHARD_1 "', which is not there"},
    {INDEX, WEIGHTS, NULL, NULL, "names '" SHARD_1 "'"},
    {INDEX " " SHARD_1, LOAD, NULL, NULL, "names '" SHARD_2 "'"},
    {INDEX " other.safetensors", LOAD, NULL, NULL, "names '" SHARD_1 "'"},
    {"odd.safetensors.index.json y.safetensors", LOAD, NULL, NULL, "names 'x.safetensors'"},
    {"up.safetensors.index.json", LOAD, NULL, NULL, "names '../x.safetensors'"},
    {"none.safetensors.index.json y.safetensors", LOAD, NULL, NULL, "weight_map"},

    {"model_index.json unet/model.safetensors vae/" INDEX " vae/" SHARD_1 " vae/" SHARD_2, LOAD,
     NULL, NULL, NULL},
    {"model_index.json unet/model.safetensors vae/config.json", LOAD, NULL, NULL, NULL},
    {"model_index.json", LOAD, NULL, NULL, "'model_index.json' names 'unet', which is not there"},
    {"model_index.json unet/model.safetensors", LOAD, NULL, NULL, "names 'vae'"},
    {"model_index.json unet/model.safetensors", WEIGHTS, NULL, NULL, "names 'vae'"},
    {"model_index.json unet/config.json vae/config.json", LOAD, NULL, NULL, "no weights"},
    {"model_index.json unet/model.safetensors vae/" INDEX " vae/" SHARD_2, LOAD, NULL, NULL,
     "'vae/" INDEX "' names '" SHARD_1 "'"},

    /* Of these components one alone has weights. */
    {"small/model_index.json small/unet/model.safetensors", WEIGHTS, NULL, "small", NULL},
    {"small/model_index.json small/unet/model.safetensors", LOAD, NULL, "small", "names 'words'"},
    {"small/model_index.json small/words/model.safetensors", WEIGHTS, NULL, "small",
     "names 'unet'"},

    {"a/model.safetensors config.json", LOAD, NULL, "a", NULL},
    {"a/" INDEX " a/" SHARD_1 " " SHARD_2, LOAD, NULL, "a", "'a/" INDEX "' names '" SHARD_2 "'"},
    {"a/model_index.json a/unet/model.safetensors vae/x", LOAD, NULL, "a", "names 'vae'"},
    {"config.json a/" INDEX " a/" SHARD_1, LOAD, NULL, "a/" INDEX, "names '" SHARD_2 "'"},
    {"config.json", LOAD, NULL, "config.json", NULL},

    /* Patterns choose among what is there, and what else there should be nobody can tell. */
    {"config.json " INDEX, LOAD, "*.json", NULL, NULL},
    {"config.json", LOAD, "*.safetensors", NULL, "patterns"},
    {"config.json " INDEX, ALL, NULL, NULL, NULL},
};

static struct wload_snapshot *locate(const struct place *place, const char *cache)
{
    const struct wload_snapshot_options options = {
        .struct_size = sizeof(options),
        .subfolder = place->subfolder,
        .include = &place->include,
        .include_count = place->include ? 1 : 0,
        .cache_dir = cache,
        .scope = place->scope,
        .network = WLOAD_NETWORK_OFF,
    };
    struct wload_snapshot *snapshot;
    struct wload_error err;

    CHECK_OK(wload_snapshot_open(NULL, NAME, &options, &snapshot, &err), &err);
    return snapshot;
}

static void expect(const struct place *place, const char *cache, const char *origin,
                   const char *folder)
{
    struct wload_snapshot *snapshot = locate(place, cache);
    char findings[2048] = "";

    for (uint32_t i = 0; i < snapshot->place_count; i++) {
        size_t used = strlen(findings);

        (void)snprintf(findings + used, sizeof(findings) - used, "%s; ",
                       snapshot->places[i].finding);
    }
    if (strcmp(snapshot->origin, origin) != 0 || !strstr(snapshot->path, folder) ||
        snapshot->missing_count != 0 || (place->finding && !strstr(findings, place->finding))) {
        (void)fprintf(stderr, "'%s', scope %d: of '%s' at '%s', not of '%s': %s\n", place->files,
                      (int)place->scope, snapshot->origin, snapshot->path, origin, findings);
        exit(1);
    }
    CHECK(place->finding ? strstr(snapshot->refusal, place->finding) != NULL
                         : snapshot->refusal[0] == '\0');
    CHECK_EQ(snapshot->is_refusal_final, 0); /* nobody says what else there should be */
    wload_snapshot_free(snapshot);
}

/* The weights are what is not here. */
static void expect_gone(enum wload_scope scope, const char *cache, const char *origin,
                        const char *folder)
{
    const struct place place = {.scope = scope};
    struct wload_snapshot *snapshot = locate(&place, cache);

    CHECK_STR(snapshot->origin, origin);
    CHECK(strstr(snapshot->path, folder) != NULL);
    CHECK_EQ(snapshot->missing_count, 1);
    for (uint32_t i = 0; i < snapshot->file_count; i++) {
        CHECK_EQ(strcmp(snapshot->files[i].name, "model.safetensors") == 0,
                 !snapshot->files[i].is_present);
    }
    wload_snapshot_free(snapshot);
}

/* Of a cache, as of tools that keep no listing. */
static void make_cache(const char *files, char path[TREE_PATH_BYTES])
{
    char name[64];

    make(files, "models--org--name/snapshots/" COMMIT, path);
    (void)snprintf(name, sizeof(name), "case-%u/models--org--name/refs/main", made - 1);
    tree_write_text(name, COMMIT);
}

static void check_places(void)
{
    char whole[TREE_PATH_BYTES];
    char cache[TREE_PATH_BYTES];
    char root[TREE_PATH_BYTES];

    make_cache("config.json model.safetensors small/model.safetensors a/model.safetensors a/" INDEX
               " a/" SHARD_1 " a/" SHARD_2,
               whole);
    for (size_t i = 0; i < WL_COUNT_OF(places); i++) {
        const struct place *place = &places[i];
        bool is_taken = !place->finding;

        make(place->files, NAME, root);
        CHECK_EQ(setenv("WLOAD_CACHE", root, 1), 0);
        expect(place, tree_path("nowhere"), is_taken ? "directory" : "", is_taken ? root : "");
        expect(place, whole, is_taken ? "directory" : "cache", is_taken ? root : whole);
        CHECK_EQ(unsetenv("WLOAD_CACHE"), 0);
        make_cache(place->files, cache);
        expect(place, cache, is_taken ? "cache" : "", is_taken ? cache : "");
    }
}

/* A directory of links into a cache has what they lead to; where that is gone, it is missing, of
 * the directory as of a snapshot, unless another place has all. */
static void check_links(void)
{
    static const struct place place = {"model.safetensors", LOAD, NULL, NULL, NULL};
    static const enum wload_scope scopes[] = {LOAD, WEIGHTS, ALL};
    char target[TREE_PATH_BYTES];
    char whole[TREE_PATH_BYTES];
    char gone[TREE_PATH_BYTES];
    char name[128];

    (void)snprintf(target, sizeof(target), "%s", tree_path("blobs/" COMMIT));
    tree_write_text("blobs/" COMMIT, "content");
    tree_make_folders("linked/" NAME "/model.safetensors");
    CHECK_EQ(symlink(target, tree_path("linked/" NAME "/model.safetensors")), 0);
    CHECK_EQ(setenv("WLOAD_CACHE", tree_path("linked"), 1), 0);
    expect(&place, tree_path("nowhere"), "directory", "linked/" NAME);

    CHECK_EQ(unlink(target), 0);
    make_cache("config.json model.safetensors", whole);
    expect(&place, whole, "cache", whole);
    make_cache("config.json", gone);
    expect_gone(LOAD, tree_path("nowhere"), "directory", "linked/" NAME);
    CHECK_EQ(unsetenv("WLOAD_CACHE"), 0);
    (void)snprintf(name, sizeof(name),
                   "case-%u/models--org--name/snapshots/" COMMIT "/model.safetensors", made - 1);
    CHECK_EQ(symlink("../../blobs/" COMMIT, tree_path(name)), 0);
    for (size_t i = 0; i < WL_COUNT_OF(scopes); i++) {
        expect_gone(scopes[i], gone, "cache", gone);
    }
}

/* Whatever fails while a directory is judged: an error, it is passed over, or it is taken, and
 * never one that is not whole. */
static void check_faults(void)
{
    static const struct place partial = {INDEX " " SHARD_1, LOAD, NULL, NULL, NULL};
    static const struct place pipeline = {"model_index.json unet/model.safetensors vae/" INDEX
                                          " vae/" SHARD_1,
                                          LOAD, NULL, NULL, NULL};
    const struct place *const rows[] = {&partial, &pipeline};

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct faults faults = {.fail_at = 1};
        const struct wload_snapshot_options options = {.struct_size = sizeof(options),
                                                       .cache_dir = "/nowhere",
                                                       .scope = rows[i]->scope,
                                                       .network = WLOAD_NETWORK_OFF};
        char root[TREE_PATH_BYTES];
        uint64_t calls;

        make(rows[i]->files, NAME, root);
        CHECK_EQ(setenv("WLOAD_CACHE", root, 1), 0);
        do {
            struct wload_snapshot *snapshot = NULL;
            struct wload_error err = {0};
            int rc;

            faults_begin(&faults);
            rc = wload_snapshot_open(NULL, NAME, &options, &snapshot, &err);
            CHECK(rc < 0 ? err.code == rc : snapshot->origin[0] == '\0');
            wload_snapshot_free(snapshot);
            CHECK_EQ(faults_live_blocks(), 0);
            calls = faults_end();
            faults.fail_at++;
        } while (calls >= faults.fail_at - 1);
    }
    CHECK_EQ(unsetenv("WLOAD_CACHE"), 0);
}

/* ---- Paths ------------------------------------------------------------------------------ */

static const struct {
    const char *spec;
    const char *revision;
    const char *subfolder;
    const char *include;
    const char *found; /* what is opened, or a part of the message */
    int code;
} paths[] = {
    {"here/pipe", NULL, NULL, NULL, "here/pipe", 0},
    {"here/pipe", NULL, "vae", NULL, "here/pipe/vae", 0},
    {"./here/pipe", NULL, "vae//", NULL, "./here/pipe/vae", 0},
    {"here/pipe", NULL, "vae/x.safetensors", NULL, "here/pipe/vae/x.safetensors", 0},
    {"here/pipe", NULL, "unet", NULL, "cannot open 'here/pipe/unet'", WLOAD_ERR_NOT_FOUND},
    {"here/pipe", NULL, "../pipe", NULL, "'../pipe' cannot be a folder", WLOAD_ERR_INVALID},
    {"here/pipe", NULL, "/", NULL, "cannot be a folder", WLOAD_ERR_INVALID},
    {"here/pipe", "v1", NULL, NULL,
     "'here/pipe' is a path here, which has no revisions: a model that is named is hf://here/pipe",
     WLOAD_ERR_INVALID},
    {"./here/pipe", "main", "vae", NULL, "has no revisions: a model that is named is hf://org/name",
     WLOAD_ERR_INVALID},
    {"here/pipe", NULL, NULL, "*.json", "takes no patterns", WLOAD_ERR_INVALID},

    {"gpt2", NULL, NULL, NULL, "a model is named org/name or hf://org/name[@revision][/folder]",
     WLOAD_ERR_NOT_FOUND},
    {"gpt2", "v1", NULL, NULL, "a model is named org/name", WLOAD_ERR_NOT_FOUND},
    {"org/name@v1", NULL, NULL, NULL, "a model is named org/name", WLOAD_ERR_NOT_FOUND},
    {"org/name/vae", NULL, NULL, NULL, "a model is named org/name", WLOAD_ERR_NOT_FOUND},
    {"./gpt2", NULL, NULL, NULL, "cannot open './gpt2': No such", WLOAD_ERR_NOT_FOUND},
    {"/gpt2", NULL, NULL, NULL, "cannot open '/gpt2': No such", WLOAD_ERR_NOT_FOUND},
    {"x.safetensors", NULL, NULL, NULL, "'x.safetensors': No such", WLOAD_ERR_NOT_FOUND},

    {"https://huggingface.co/org/name", NULL, NULL, NULL, "its spec is hf://org/name",
     WLOAD_ERR_SPEC},
    {"https://huggingface.co/org/name/tree/main", NULL, NULL, NULL, "its spec is hf://org/name",
     WLOAD_ERR_SPEC},
    {"https://hf.co/datasets/org/name?a#b", NULL, NULL, NULL, "its spec is hf://datasets/org/name",
     WLOAD_ERR_SPEC},
    {"https://huggingface.co/gpt2", NULL, NULL, NULL, "its spec is hf://gpt2", WLOAD_ERR_SPEC},
    {"https://huggingface.co/", NULL, NULL, NULL, "is hf://org/name[", WLOAD_ERR_SPEC},
    {"http://other.org/org/name", NULL, NULL, NULL, "is hf://org/name[", WLOAD_ERR_SPEC},
    {"s3://bucket/name", NULL, NULL, NULL, "'s3://' in this build", WLOAD_ERR_SPEC},
};

/* The end of the message, too, where a name that is told is all of it. */
static bool is_told(const char *message, const char *part)
{
    const char *at = strstr(message, part);

    return at && (!strstr(part, "its spec is") || at[strlen(part)] == '\0');
}

static void check_path(size_t number, const char *what, int rc, const char *found,
                       const struct wload_error *err)
{
    if (rc != paths[number].code ||
        (rc == WLOAD_OK ? strcmp(found, paths[number].found) != 0
                        : !is_told(err->message, paths[number].found))) {
        (void)fprintf(stderr, "'%s' to %s: %d '%s', not %d '%s'\n", paths[number].spec, what, rc,
                      rc == WLOAD_OK ? found : err->message, paths[number].code,
                      paths[number].found);
        exit(1);
    }
}

/* A snapshot and a model say the same of each. */
static void check_paths(void)
{
    tree_write_tensors("here/pipe/x.safetensors", "a b");
    tree_write_tensors("here/pipe/vae/x.safetensors", "c");
    CHECK_EQ(chdir(sample_dir()), 0);
    for (size_t i = 0; i < WL_COUNT_OF(paths); i++) {
        const struct wload_snapshot_options options = {
            .struct_size = sizeof(options),
            .revision = paths[i].revision,
            .subfolder = paths[i].subfolder,
            .include = &paths[i].include,
            .include_count = paths[i].include ? 1 : 0,
            .network = WLOAD_NETWORK_OFF,
        };
        const struct wload_model_options model_options = {.struct_size = sizeof(model_options),
                                                          .snapshot = &options};
        struct wload_snapshot *snapshot = NULL;
        struct wload_model *model = NULL;
        char folder[TREE_PATH_BYTES] = "";
        struct wload_error err;
        int rc = wload_snapshot_open(NULL, paths[i].spec, &options, &snapshot, &err);

        if (rc == WLOAD_OK) {
            (void)snprintf(folder, sizeof(folder), "%s", snapshot->path);
        }
        check_path(i, "look for", rc, folder, &err);
        wload_snapshot_free(snapshot);
        rc = wload_model_open(NULL, paths[i].spec, &model_options, &model, &err);
        if (rc == WLOAD_OK) {
            (void)snprintf(folder, sizeof(folder), "%s", wload_model_file(model, 0)->path);
            if (!strstr(paths[i].found, ".safetensors")) {
                *strrchr(folder, '/') = '\0';
            }
        }
        check_path(i, "open", rc, folder, &err);
        wload_model_free(model);
    }
}

int main(void)
{
    CHECK_EQ(unsetenv("AIM_CACHE_PATH"), 0);
    CHECK_EQ(unsetenv("WLOAD_CACHE"), 0);
    check_places();
    check_links();
    check_faults();
    check_paths();
    return 0;
}
