/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: of any repository just the files are wanted that were asked for, or that a load takes.
 * Method: tables of repositories as lists of names, with the names that must be left; each
 * allocation fails once; hostile lists of many weights in one folder come to an end.
 */
#include "cache/wanted.h"

#include "base/base.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/wanted_name.h"
#include "faults.h"
#include "test.h"

#define LIST_BYTES 4096
#define ALL        WLOAD_SCOPE_ALL
#define LOAD       WLOAD_SCOPE_LOAD
#define WEIGHTS    WLOAD_SCOPE_WEIGHTS

/* Names separated by blanks; one that begins with '!' is of a file that is not small. */
static struct wl_listing list_of(const char *names)
{
    struct wl_listing listing = {0};
    struct wload_error err = {0};
    char text[LIST_BYTES];

    CHECK(strlen(names) < sizeof(text));
    memcpy(text, names, strlen(names) + 1);
    for (char *save = NULL, *at = strtok_r(text, " ", &save); at; at = strtok_r(NULL, " ", &save)) {
        bool is_large = at[0] == '!';
        struct wl_listing_file file = {.name = at + is_large,
                                       .size_bytes = (64u << 20) + (is_large ? 1 : 0)};

        CHECK_OK(wl_listing_add(&listing, &file, "test", &err), &err);
    }
    CHECK_OK(wl_listing_finish(&listing, "test", &err), &err);
    return listing;
}

/* The names wanted, or what is wrong. */
static int mark(const struct wl_wanted *wanted, const char *names, char list[LIST_BYTES],
                struct wload_error *err)
{
    struct wl_listing listing = list_of(names);
    bool *is_wanted = calloc(listing.count + 1u, sizeof(is_wanted[0]));
    int count = 0;
    int rc;

    CHECK(is_wanted != NULL);
    memset(is_wanted, true, listing.count);
    rc = wl_wanted_mark(wanted, &listing, is_wanted, err);
    list[0] = '\0';
    for (uint32_t i = 0; i < listing.count && rc >= 0; i++) {
        if (is_wanted[i]) {
            size_t used = strlen(list);

            (void)snprintf(list + used, LIST_BYTES - used, "%s%s", used > 0 ? " " : "",
                           listing.files[i].name);
            count++;
        }
    }
    CHECK(rc < 0 || rc == count);
    CHECK(!is_wanted[listing.count]);
    free(is_wanted);
    wl_listing_clear(&listing);
    return rc;
}

struct row {
    enum wload_scope scope;
    const char *variant;
    const char *subfolder;
    const char *names;
    const char *wanted; /* NULL: an error */
    int rc;
    const char *message; /* a part of it */
};

static void check_rows(const struct row *rows, size_t count, const char *const *components,
                       uint32_t component_count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        struct wl_wanted wanted = {
            .scope = row->scope,
            .repo = "org/name",
            .subfolder = row->subfolder ? row->subfolder : "",
            .variant = row->variant,
            .components = components,
            .component_count = component_count,
        };
        struct wload_error err = {0};
        char list[LIST_BYTES];
        int rc = mark(&wanted, row->names, list, &err);

        if (rc >= 0 ? !row->wanted || strcmp(list, row->wanted) != 0
                    : rc != row->rc || !strstr(err.message, row->message)) {
            (void)fprintf(stderr, "of '%s', scope %d, variant '%s', subfolder '%s':\n%d '%s' %s\n",
                          row->names, (int)row->scope, row->variant ? row->variant : "",
                          wanted.subfolder, rc, list, err.message);
            exit(1);
        }
    }
}

#define CHECK_ROWS(rows) check_rows(rows, WL_COUNT_OF(rows), NULL, 0)

/* ---- One folder ------------------------------------------------------------------------- */

#define SHARDS_2       "model-00001-of-00002.safetensors model-00002-of-00002.safetensors"
#define INDEX          "model.safetensors.index.json"
#define FP16_NEW       "model.fp16-00001-of-00002.safetensors model.fp16-00002-of-00002.safetensors"
#define FP16_NEW_INDEX "model.safetensors.index.fp16.json"
#define FP16_OLD       "model-00001-of-00002.fp16.safetensors model-00002-of-00002.fp16.safetensors"
#define FP16_OLD_INDEX "model.safetensors.fp16.index.json"

static void check_folder(void)
{
    static const struct row rows[] = {
        /* a single file, and what other formats there are */
        {LOAD, NULL, NULL,
         "README.md !model.safetensors pytorch_model.bin tf_model.h5 flax_model.msgpack "
         "onnx/model.onnx onnx/config.json config.json .gitattributes pytorch_model.bin.index.json "
         "tokenizer.model",
         ".gitattributes README.md config.json model.safetensors onnx/config.json tokenizer.model",
         0, NULL},
        {WEIGHTS, NULL, NULL, "README.md !model.safetensors config.json", "model.safetensors", 0,
         NULL},
        {ALL, NULL, NULL, "README.md !model.safetensors !a.bin",
         "README.md a.bin model.safetensors", 0, NULL},
        {LOAD, NULL, NULL, "!big.txt model.safetensors", "model.safetensors", 0, NULL},
        {LOAD, NULL, NULL, "model.safetensors sub/model.safetensors sub/a.txt",
         "model.safetensors sub/a.txt", 0, NULL},
        /* shards, with an index and without */
        {LOAD, NULL, NULL, SHARDS_2 " " INDEX " a.json", "a.json " SHARDS_2 " " INDEX, 0, NULL},
        {WEIGHTS, NULL, NULL, SHARDS_2 " " INDEX " a.json", SHARDS_2 " " INDEX, 0, NULL},
        {LOAD, NULL, NULL, SHARDS_2 " a.json", "a.json " SHARDS_2, 0, NULL},
        {LOAD, NULL, NULL, "model-00001-of-00002.safetensors", NULL, WLOAD_ERR_NOT_FOUND,
         "number 2 is missing"},
        {LOAD, NULL, NULL, "model-00001-of-00001.safetensors " INDEX,
         "model-00001-of-00001.safetensors " INDEX, 0, NULL},
        /* an index says more than the names do */
        {LOAD, NULL, NULL, INDEX " " SHARDS_2 " mtp.safetensors",
         SHARDS_2 " " INDEX " mtp.safetensors", 0, NULL},
        {LOAD, NULL, NULL, INDEX " a.safetensors b.safetensors",
         "a.safetensors b.safetensors " INDEX, 0, NULL},
        {LOAD, NULL, NULL, INDEX " " SHARDS_2 " consolidated.safetensors", SHARDS_2 " " INDEX, 0,
         NULL},
        {LOAD, NULL, NULL, INDEX " diffusion_pytorch_model.safetensors other.safetensors",
         "diffusion_pytorch_model.safetensors " INDEX " other.safetensors", 0, NULL},
        /* no weights that are read here */
        {LOAD, NULL, NULL, "pytorch_model.bin config.json", NULL, WLOAD_ERR_UNSUPPORTED,
         "'pytorch_model.bin'"},
        {LOAD, NULL, NULL, "a-q4.gguf config.json", NULL, WLOAD_ERR_UNSUPPORTED, "'a-q4.gguf'"},
        {LOAD, NULL, NULL, "onnx/model.onnx config.json", NULL, WLOAD_ERR_UNSUPPORTED,
         "'onnx/model.onnx'"},
        {WEIGHTS, NULL, NULL, "a/x.onnx pytorch_model.bin z/model.safetensors", NULL,
         WLOAD_ERR_UNSUPPORTED, "'pytorch_model.bin'"},
        {LOAD, NULL, NULL, "a/x.onnx z/model.safetensors", NULL, WLOAD_ERR_NOT_FOUND,
         "only 'z/model.safetensors': name a subfolder"},
        /* no weights at all */
        {LOAD, NULL, NULL, "README.md !data/train.parquet tokenizer.json",
         "README.md data/train.parquet tokenizer.json", 0, NULL},
        {WEIGHTS, NULL, NULL, "README.md tokenizer.json", NULL, WLOAD_ERR_NOT_FOUND, "no weights"},
        {ALL, NULL, NULL, "", NULL, WLOAD_ERR_NOT_FOUND, "no files"},
        {LOAD, NULL, NULL, "", NULL, WLOAD_ERR_NOT_FOUND, "no files"},
    };

    CHECK_ROWS(rows);
}

/* Today's way of naming them, and the way of before. */
static void check_variants(void)
{
    static const struct row rows[] = {
        {LOAD, "fp16", NULL,
         "model.safetensors model.fp16.safetensors model.bf16.safetensors c.json",
         "c.json model.fp16.safetensors", 0, NULL},
        {LOAD, NULL, NULL, "model.safetensors model.fp16.safetensors c.json",
         "c.json model.safetensors", 0, NULL},
        {WEIGHTS, "fp16", NULL, SHARDS_2 " " INDEX " " FP16_NEW " " FP16_NEW_INDEX,
         FP16_NEW " " FP16_NEW_INDEX, 0, NULL},
        {WEIGHTS, "fp16", NULL, SHARDS_2 " " INDEX " " FP16_OLD " " FP16_OLD_INDEX,
         "model-00001-of-00002.fp16.safetensors "
         "model-00002-of-00002.fp16.safetensors " FP16_OLD_INDEX,
         0, NULL},
        {WEIGHTS, NULL, NULL, SHARDS_2 " " INDEX " " FP16_NEW " " FP16_NEW_INDEX,
         SHARDS_2 " " INDEX, 0, NULL},
        {WEIGHTS, "fp16", NULL, FP16_OLD " model.safetensors", FP16_OLD, 0, NULL},
        {LOAD, "fp16", NULL, FP16_NEW " " FP16_NEW_INDEX " " INDEX " " SHARDS_2 " c.json",
         "c.json " FP16_NEW " " FP16_NEW_INDEX, 0, NULL},
        {LOAD, "int8", NULL, "model.safetensors model.fp16.safetensors", NULL, WLOAD_ERR_NOT_FOUND,
         "'org/name' has no weights of variant 'int8'"},
        {LOAD, NULL, NULL, "model.fp16.safetensors", NULL, WLOAD_ERR_NOT_FOUND, "only variants"},
    };

    CHECK_ROWS(rows);
}

static void check_subfolder(void)
{
    static const struct row rows[] = {
        {LOAD, NULL, "unet", "unet/model.safetensors unet/c.json unet/a/b c.json unetx/a",
         "unet/a/b unet/c.json unet/model.safetensors", 0, NULL},
        {LOAD, NULL, "unet/", "unet/model.safetensors c.json", "unet/model.safetensors", 0, NULL},
        {ALL, NULL, "a/b", "a/b/x !a/b/y.bin a/bc a/b.c x", "a/b/x a/b/y.bin", 0, NULL},
        {LOAD, NULL, "none", "a", NULL, WLOAD_ERR_NOT_FOUND, "'org/name' has no 'none'"},
        {ALL, NULL, "a/../b", "a/b b", NULL, WLOAD_ERR_NOT_FOUND, "no 'a/../b'"},
        {LOAD, NULL, "a", "a/pytorch_model.bin model.safetensors", NULL, WLOAD_ERR_UNSUPPORTED,
         "a/pytorch_model.bin"},
        {LOAD, "fp16", "a", "a/model.safetensors model.fp16.safetensors", NULL, WLOAD_ERR_NOT_FOUND,
         "'org/name/a' has no weights of variant"},
        /* one file */
        {LOAD, NULL, "v1.safetensors", "v1.safetensors v2.safetensors c.json", "v1.safetensors", 0,
         NULL},
        {LOAD, NULL, "a/v1.safetensors", "a/v1.safetensors a/c.json", "a/v1.safetensors", 0, NULL},
        {ALL, NULL, "pytorch_model.bin", "pytorch_model.bin c.json", "pytorch_model.bin", 0, NULL},
        {LOAD, NULL, "pytorch_model.bin", "pytorch_model.bin c.json", NULL, WLOAD_ERR_UNSUPPORTED,
         "not in safetensors"},
        {LOAD, NULL, "c.json", "model.safetensors c.json", "c.json", 0, NULL},
        {LOAD, NULL, INDEX, INDEX " " SHARDS_2 " " FP16_OLD " c.json x/" INDEX, SHARDS_2 " " INDEX,
         0, NULL},
        {LOAD, NULL, "a/" INDEX, "a/" INDEX " a/model-00001-of-00001.safetensors b.safetensors",
         "a/model-00001-of-00001.safetensors a/" INDEX, 0, NULL},
        {ALL, NULL, INDEX, INDEX " " SHARDS_2, INDEX, 0, NULL},
    };

    CHECK_ROWS(rows);
}

/* ---- Everything but other variants ---------------------------------------------------------- */

static void check_all_of_variant(void)
{
    static const struct row rows[] = {
        {ALL, "fp16", NULL,
         "model.safetensors model.fp16.safetensors model.bf16.safetensors README.md x.txt",
         "README.md model.fp16.safetensors x.txt", 0, NULL},
        {ALL, "fp16", NULL,
         "unet/diffusion_pytorch_model.fp16.safetensors unet/diffusion_pytorch_model.safetensors "
         "unet/diffusion_pytorch_model.bin unet/diffusion_pytorch_model.fp16.bin "
         "vae/diffusion_pytorch_model.safetensors vae/diffusion_pytorch_model.bf16.safetensors "
         "v1-5-pruned.ckpt",
         "unet/diffusion_pytorch_model.fp16.bin unet/diffusion_pytorch_model.fp16.safetensors "
         "v1-5-pruned.ckpt vae/diffusion_pytorch_model.safetensors",
         0, NULL},
        {ALL, "fp16", NULL,
         SHARDS_2 " " INDEX " " FP16_NEW " " FP16_NEW_INDEX " " FP16_OLD " " FP16_OLD_INDEX
                  " model.safetensors.index.bf16.json pytorch_model.bin.index.json",
         "model-00001-of-00002.fp16.safetensors model-00002-of-00002.fp16.safetensors " FP16_NEW
         " " FP16_OLD_INDEX " " FP16_NEW_INDEX " pytorch_model.bin.index.json",
         0, NULL},
        /* a dot is not always a variant */
        {ALL, "fp16", NULL, "flux.dev.safetensors lora.safetensors model.fp16.safetensors",
         "flux.dev.safetensors lora.safetensors model.fp16.safetensors", 0, NULL},
        {ALL, "fp16", NULL, "x.dev.safetensors x.safetensors x.fp16.safetensors x.1b.safetensors",
         "x.1b.safetensors x.fp16.safetensors", 0, NULL},
        {ALL, "q4.k", NULL, "x.q4.k.bin x.q4.bin x.bin", "x.q4.k.bin", 0, NULL},
        {ALL, "bf16", NULL, "model.safetensors a.txt", NULL, WLOAD_ERR_NOT_FOUND, "no weights of"},
        {ALL, "fp16", "a", "model.fp16.safetensors a/model.safetensors", NULL, WLOAD_ERR_NOT_FOUND,
         "variant 'fp16'"},
    };

    CHECK_ROWS(rows);
}

/* ---- Pipelines ------------------------------------------------------------------------------ */

#define PIPELINE                                                                 \
    "model_index.json README.md whole.safetensors unet/config.json "             \
    "unet/diffusion_pytorch_model.safetensors unet/diffusion_pytorch_model.bin " \
    "unet/diffusion_pytorch_model.fp16.safetensors vae/config.json "             \
    "vae/diffusion_pytorch_model.safetensors scheduler/scheduler_config.json "   \
    "tokenizer/deep/vocab.json extra/model.safetensors extra/config.json text/pytorch_model.bin"

static void check_pipeline(void)
{
    static const char *const components[] = {"vae",       "unet", "scheduler",
                                             "tokenizer", "text", "gone"};
    static const struct row named[] = {
        {LOAD, NULL, NULL, PIPELINE,
         "README.md model_index.json scheduler/scheduler_config.json tokenizer/deep/vocab.json "
         "unet/config.json unet/diffusion_pytorch_model.safetensors vae/config.json "
         "vae/diffusion_pytorch_model.safetensors",
         0, NULL},
        {WEIGHTS, NULL, NULL, PIPELINE,
         "model_index.json unet/diffusion_pytorch_model.safetensors "
         "vae/diffusion_pytorch_model.safetensors",
         0, NULL},
        {WEIGHTS, "fp16", NULL, PIPELINE,
         "model_index.json unet/diffusion_pytorch_model.fp16.safetensors "
         "vae/diffusion_pytorch_model.safetensors",
         0, NULL},
        {LOAD, "int8", NULL, PIPELINE, NULL, WLOAD_ERR_NOT_FOUND,
         "no component has variant 'int8'"},
        {WEIGHTS, NULL, NULL, "model_index.json vae/" INDEX " vae/model-00001-of-00001.safetensors",
         "model_index.json vae/model-00001-of-00001.safetensors vae/" INDEX, 0, NULL},
        {LOAD, NULL, NULL, "model_index.json unet/diffusion_pytorch_model.bin extra/a.safetensors",
         NULL, WLOAD_ERR_UNSUPPORTED, "'unet/diffusion_pytorch_model.bin'"},
        {LOAD, NULL, NULL, "model_index.json extra/a.safetensors unet/c.json", NULL,
         WLOAD_ERR_NOT_FOUND, "only 'extra/a.safetensors'"},
        {LOAD, NULL, NULL, "model_index.json unet/model.fp16.safetensors", NULL,
         WLOAD_ERR_NOT_FOUND, "'org/name/unet' has only variants"},
    };
    static const struct row unnamed[] = {
        {LOAD, NULL, NULL, PIPELINE,
         "README.md extra/config.json extra/model.safetensors model_index.json "
         "scheduler/scheduler_config.json tokenizer/deep/vocab.json unet/config.json "
         "unet/diffusion_pytorch_model.safetensors vae/config.json "
         "vae/diffusion_pytorch_model.safetensors",
         0, NULL},
        {LOAD, NULL, "unet", PIPELINE, "unet/config.json unet/diffusion_pytorch_model.safetensors",
         0, NULL},
        {LOAD, NULL, "p", "p/model_index.json p/vae/model.safetensors p/x model.safetensors",
         "p/model_index.json p/vae/model.safetensors p/x", 0, NULL},
        {LOAD, NULL, NULL, "model_index.json scheduler/c.json !x.txt",
         "model_index.json scheduler/c.json x.txt", 0, NULL},
    };
    static const struct row named_below[] = {
        {WEIGHTS, NULL, "p", "p/vae/model.safetensors p/a/model.safetensors vae/model.safetensors",
         "p/vae/model.safetensors", 0, NULL},
    };

    check_rows(named, WL_COUNT_OF(named), components, WL_COUNT_OF(components));
    check_rows(named_below, WL_COUNT_OF(named_below), components, WL_COUNT_OF(components));
    CHECK_ROWS(unnamed);
}

/* ---- Patterns ----------------------------------------------------------------------------- */

static size_t count_of(const char *const patterns[2])
{
    return (size_t)(patterns[0] != NULL) + (patterns[1] != NULL);
}

static void check_patterns(void)
{
    static const char names[] = "a.json b/c.json b/model.safetensors pytorch_model.bin d/e/f.txt";
    static const struct {
        const char *include[2];
        const char *exclude[2];
        const char *subfolder;
        const char *wanted; /* NULL: nothing */
    } rows[] = {
        {{"*.json"}, {0}, "", "a.json b/c.json"},
        {{"*.bin", "d/"}, {0}, "", "d/e/f.txt pytorch_model.bin"},
        {{0}, {"*.json", "d/*"}, "", "b/model.safetensors pytorch_model.bin"},
        {{"b/*"}, {"*.json"}, "", "b/model.safetensors"},
        {{"*.json"}, {0}, "b", "b/c.json"},
        {{"*"}, {"*"}, "", NULL},
        {{"c.json"}, {0}, "b", NULL}, /* patterns are of whole paths */
        {{"*.JSON"}, {0}, "", NULL},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        for (enum wload_scope scope = ALL; scope <= WEIGHTS; scope++) {
            struct wl_wanted wanted = {.scope = scope,
                                       .repo = "org/name",
                                       .subfolder = rows[i].subfolder,
                                       .include = rows[i].include,
                                       .include_count = count_of(rows[i].include),
                                       .exclude = rows[i].exclude,
                                       .exclude_count = count_of(rows[i].exclude)};
            struct wload_error err = {0};
            char list[LIST_BYTES];
            int rc;

            rc = mark(&wanted, names, list, &err);
            if (!rows[i].wanted) {
                CHECK_EQ(rc, WLOAD_ERR_NOT_FOUND);
                CHECK(strstr(err.message, "pattern") != NULL);
                continue;
            }
            CHECK(rc > 0);
            CHECK_STR(list, rows[i].wanted);
        }
    }
}

/* Of the files that match, the weights of other variants are left out. */
static void check_patterns_of_variant(void)
{
    static const char names[] =
        "README.md model.safetensors model.bf16.safetensors model.fp16.safetensors "
        "unet/model.fp16.safetensors unet/model.safetensors vae/config.json vae/model.safetensors";
    static const struct {
        const char *include[2];
        const char *exclude[2];
        const char *subfolder;
        const char *wanted; /* NULL: nothing, and `message` is a part of why */
        const char *message;
    } rows[] = {
        {{"*.safetensors"},
         {0},
         "",
         "model.fp16.safetensors unet/model.fp16.safetensors vae/model.safetensors",
         ""},
        {{0}, {"README.md", "vae/*"}, "", "model.fp16.safetensors unet/model.fp16.safetensors", ""},
        {{"*"}, {"*.md"}, "unet", "unet/model.fp16.safetensors", ""},
        {{"*.md", "*.json"}, {0}, "", "README.md vae/config.json", ""},
        {{"vae/*"}, {0}, "", "vae/config.json vae/model.safetensors", ""},
        {{"model.safetensors"}, {0}, "", NULL, "no file of variant 'fp16' that the patterns keep"},
        {{"*"}, {0}, "vae", NULL, "'org/name' has no weights of variant 'fp16'"},
        {{"*"}, {0}, "vae/model.safetensors", "vae/model.safetensors", ""},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        for (enum wload_scope scope = ALL; scope <= WEIGHTS; scope++) {
            struct wl_wanted wanted = {.scope = scope,
                                       .repo = "org/name",
                                       .subfolder = rows[i].subfolder,
                                       .variant = "fp16",
                                       .include = rows[i].include,
                                       .include_count = count_of(rows[i].include),
                                       .exclude = rows[i].exclude,
                                       .exclude_count = count_of(rows[i].exclude)};
            struct wload_error err = {0};
            char list[LIST_BYTES];
            int rc;

            rc = mark(&wanted, names, list, &err);
            CHECK(rows[i].wanted ? rc > 0 : rc == WLOAD_ERR_NOT_FOUND);
            CHECK_STR(list, rows[i].wanted ? rows[i].wanted : "");
            CHECK(strstr(err.message, rows[i].message) != NULL);
        }
    }
}

static void check_names(void)
{
    static const char *const weights[] = {
        "a.safetensors",
        "x/a.bin",
        "a.pt",
        "a.pth",
        "a.ckpt",
        "a.h5",
        "a.msgpack",
        "a.onnx",
        "a.onnx_data",
        "a.gguf",
        "a.ggml",
        "a.ot",
        "a.tflite",
        "a.pkl",
        "a.npz",
        "a.mlmodel",
        "a.bin.index.json",
        "a.safetensors.index.fp16.json",
        "a.safetensors.fp16.index.json",
    };
    static const char *const others[] = {
        "a.json",
        "config.json",
        "a.index.json",
        "tokenizer.model",
        "model.safetensors.json",
        "a.bin.json",
        "bin",
        "a.txt",
        "index.json",
        "a.safetensors.indexes.json",
        "a.safetensors/x.json",
        ".json",
        "a.binary",
    };

    for (size_t i = 0; i < WL_COUNT_OF(weights); i++) {
        CHECK(wl_wanted_is_weights(weights[i]));
    }
    for (size_t i = 0; i < WL_COUNT_OF(others); i++) {
        CHECK(!wl_wanted_is_weights(others[i]));
    }
}

/* ---- Many, and failures
 * --------------------------------------------------------------------------- */

static void check_many(void)
{
    struct wload_error err = {0};
    struct wl_listing listing = {0};
    bool *is_wanted;

    for (unsigned i = 0; i < 100000; i++) {
        char name[64];
        struct wl_listing_file file = {.name = name};

        (void)snprintf(name, sizeof(name), i % 2 ? "a%u/x.fp16.bin" : "x%u.fp16.safetensors", i);
        CHECK_OK(wl_listing_add(&listing, &file, "test", &err), &err);
    }
    CHECK_OK(wl_listing_finish(&listing, "test", &err), &err);
    is_wanted = calloc(listing.count, sizeof(is_wanted[0]));
    CHECK(is_wanted != NULL);
    CHECK_EQ(wl_wanted_mark(&(struct wl_wanted){.repo = "a", .subfolder = "", .variant = "fp16"},
                            &listing, is_wanted, &err),
             100000);
    CHECK_EQ(wl_wanted_mark(&(struct wl_wanted){.scope = ALL, .repo = "a", .subfolder = ""},
                            &listing, is_wanted, &err),
             100000);
    free(is_wanted);
    wl_listing_clear(&listing);
}

static void check_failures(void)
{
    static const struct wl_wanted wanted[] = {
        {.scope = LOAD, .repo = "org/name", .subfolder = ""},
        {.scope = LOAD, .repo = "org/name", .subfolder = "", .variant = "fp16"},
        {.scope = ALL, .repo = "org/name", .subfolder = "", .variant = "fp16"},
        {.scope = LOAD, .repo = "org/name", .subfolder = "shards/" INDEX},
    };
    struct wl_listing listing = list_of(PIPELINE " shards/" INDEX " shards/a.safetensors");
    bool is_wanted[32];

    CHECK(listing.count <= WL_COUNT_OF(is_wanted));
    for (size_t i = 0; i < WL_COUNT_OF(wanted); i++) {
        uint64_t fail_at;

        for (fail_at = 1;; fail_at++) {
            struct wload_error err = {0};
            uint64_t calls;
            int64_t left;
            int rc;

            faults_begin(&(struct faults){.fail_at = fail_at});
            rc = wl_wanted_mark(&wanted[i], &listing, is_wanted, &err);
            left = faults_live_blocks();
            calls = faults_end();
            CHECK_EQ(left, 0);
            if (calls < fail_at) {
                CHECK(rc > 0);
                break;
            }
            CHECK(rc > 0 || rc == WLOAD_ERR_NOMEM);
        }
        CHECK(fail_at > 3);
    }
    wl_listing_clear(&listing);
}

int main(void)
{
    check_folder();
    check_variants();
    check_subfolder();
    check_all_of_variant();
    check_pipeline();
    check_patterns();
    check_patterns_of_variant();
    check_names();
    check_many();
    check_failures();
    return 0;
}
