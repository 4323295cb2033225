/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a spec means the files that its user means, or is refused with what to do about it.
 * Method: directories of every layout that the field writes, in a temporary place; what
 * is found is compared as one line, "PREFIX=FILE" for each entry, an index in brackets.
 */
#include "cache/resolve.h"

#include "base/base.h"
#include "loader/spec.h"
#include "tree.h"

struct layout {
    const char *files; /* separated by spaces; empty files, as nothing is opened */
    const char *variant;
    const char *found; /* or, where code is not 0, a part of the message */
    int code;
};

#define SHARDS_OF_2 "model-00001-of-00002.safetensors model-00002-of-00002.safetensors "

static const struct layout directories[] = {
    /* What transformers, diffusers and others write. */
    {"config.json model.safetensors tokenizer.json", NULL, "=model.safetensors", 0},
    {SHARDS_OF_2 "model.safetensors.index.json", NULL, "=[model.safetensors.index.json]", 0},
    {"diffusion_pytorch_model.safetensors config.json", NULL,
     "=diffusion_pytorch_model.safetensors", 0},
    {"adapter_model.safetensors adapter_config.json", NULL, "=adapter_model.safetensors", 0},
    {"pytorch_model.bin pytorch_model.bin.index.json model.safetensors", NULL, "=model.safetensors",
     0},

    /* Two forms of the same weights side by side: the one that loaders look for. */
    {"consolidated.safetensors " SHARDS_OF_2 "model.safetensors.index.json", NULL,
     "=[model.safetensors.index.json]", 0},
    {"consolidated-00001-of-00001.safetensors consolidated.safetensors.index.json " SHARDS_OF_2
     "model.safetensors.index.json",
     NULL, "=[model.safetensors.index.json]", 0},
    {"model.safetensors model.safetensors.index.json " SHARDS_OF_2, NULL, "=model.safetensors", 0},
    {"model.safetensors adapter_model.safetensors", NULL, "=model.safetensors", 0},
    {"diffusion_pytorch_model.safetensors extra.safetensors", NULL,
     "=diffusion_pytorch_model.safetensors", 0},

    /* Variants. */
    {"model.safetensors model.fp16.safetensors", NULL, "=model.safetensors", 0},
    {"model.safetensors model.fp16.safetensors", "fp16", "=model.fp16.safetensors", 0},
    {"model.safetensors model.fp16.safetensors", "bf16", "no weights of variant 'bf16'",
     WLOAD_ERR_NOT_FOUND},
    {"model.fp16.safetensors model.non_ema.safetensors", NULL,
     "only variants of its weights, for example 'model.non_ema.safetensors'", WLOAD_ERR_NOT_FOUND},
    {"model.safetensors.index.fp16.json model.fp16-00001-of-00001.safetensors "
     "model.safetensors.index.json " SHARDS_OF_2,
     NULL, "=[model.safetensors.index.json]", 0},
    {"model.safetensors.index.fp16.json model.fp16-00001-of-00001.safetensors "
     "model.safetensors.index.json " SHARDS_OF_2,
     "fp16", "=[model.safetensors.index.fp16.json]", 0},
    {"model.safetensors.fp16.index.json model-00001-of-00001.fp16.safetensors", "fp16",
     "=[model.safetensors.fp16.index.json]", 0},
    {"model.fp16.safetensors.index.json", "fp16", "=[model.fp16.safetensors.index.json]", 0},
    {"model.safetensors.fp16.index.json model.safetensors.index.fp16.json", "fp16",
     "more than one set of weights, name one: 'model.safetensors.fp16.index.json', "
     "'model.safetensors.index.fp16.json'",
     WLOAD_ERR_SPEC},
    {"model.bf16-00001-of-00002.safetensors model.bf16-00002-of-00002.safetensors", "bf16",
     "=model.bf16-00001-of-00002.safetensors =model.bf16-00002-of-00002.safetensors", 0},
    {"model-00001-of-00002.bf16.safetensors model-00002-of-00002.bf16.safetensors "
     "model.safetensors",
     "bf16", "=model-00001-of-00002.bf16.safetensors =model-00002-of-00002.bf16.safetensors", 0},
    {"model.bf16-00001-of-00002.safetensors model.bf16-00002-of-00002.safetensors", NULL,
     "only variants", WLOAD_ERR_NOT_FOUND},
    {"model.v1.5.safetensors model.safetensors", "v1.5", "=model.v1.5.safetensors", 0},
    {"net.fp8.safetensors", "fp8", "=net.fp8.safetensors", 0},

    /* A dot need not mean a variant. */
    {"llama-3.1-8b.safetensors", NULL, "=llama-3.1-8b.safetensors", 0},
    {"flux.dev.safetensors", NULL, "=flux.dev.safetensors", 0},
    {"flux.dev.safetensors flux.safetensors", NULL, "=flux.safetensors", 0},
    {"flux.dev.safetensors flux.dev.fp8.safetensors", NULL, "=flux.dev.safetensors", 0},
    {"video-v0.9-00001-of-00001.safetensors", NULL, "=video-v0.9-00001-of-00001.safetensors", 0},

    /* Without an index. */
    {"b.safetensors a.safetensors", NULL, "=a.safetensors =b.safetensors", 0},
    {SHARDS_OF_2, NULL, "=model-00001-of-00002.safetensors =model-00002-of-00002.safetensors", 0},
    {"x-00000-of-00002.safetensors x-00001-of-00002.safetensors", NULL,
     "=x-00000-of-00002.safetensors =x-00001-of-00002.safetensors", 0},
    {"model-00001-of-00003.safetensors model-00003-of-00003.safetensors", NULL,
     "has 2 of the 3 shards of 'model-00001-of-00003.safetensors', and no index; number 2 is "
     "missing",
     WLOAD_ERR_NOT_FOUND},
    {"model-00002-of-00002.safetensors", NULL, "number 1 is missing", WLOAD_ERR_NOT_FOUND},
    {"x-0-of-2.safetensors x-1-of-2.safetensors x-2-of-2.safetensors", NULL, "has 3 shards where",
     WLOAD_ERR_FORMAT},
    {"consolidated.safetensors " SHARDS_OF_2, NULL,
     "name one: 'consolidated.safetensors', 'model-00001-of-00002.safetensors'", WLOAD_ERR_SPEC},
    {"a-1-of-1.safetensors b-1-of-1.safetensors", NULL, "more than one set", WLOAD_ERR_SPEC},
    {"a-1-of-2.safetensors a-2-of-2.safetensors a-1-of-3.safetensors", NULL, "more than one set",
     WLOAD_ERR_SPEC},
    {"a.safetensors.index.json b.safetensors.index.json", NULL,
     "name one: 'a.safetensors.index.json', 'b.safetensors.index.json'", WLOAD_ERR_SPEC},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1-of-1."
     "safetensors "
     "b-1-of-1.safetensors "
     "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.safetensors "
     "ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd."
     "safetensors",
     NULL, "ccc.safetensors' ...", WLOAD_ERR_SPEC},
    {"a.safetensors.index.json b.safetensors", NULL, "=[a.safetensors.index.json]", 0},

    /* What is not looked at. */
    {"._model.safetensors .model.safetensors model.safetensors.lock", NULL, "has no weights",
     WLOAD_ERR_NOT_FOUND},
    {".safetensors model.safetensors.index.json.bak x.safetensors.json a.safetensors.indexx.json",
     NULL, "has no weights", WLOAD_ERR_NOT_FOUND},
    {"m.safetensors.in.json m.safetensors.indexfp16.json m.safetensors.fp16index.json "
     "m.safetensors.index..json m.safetensors.x.y.json m.safetensors.index.",
     NULL, "has no weights", WLOAD_ERR_NOT_FOUND},
    {"._model.safetensors model.safetensors", NULL, "=model.safetensors", 0},
    {"sub/model.safetensors config.json", NULL, "has no weights", WLOAD_ERR_NOT_FOUND},
    {"pytorch_model.bin config.json", NULL, "has weights only in 'pytorch_model.bin'",
     WLOAD_ERR_UNSUPPORTED},
    {"readme", "fp16", "no weights of variant 'fp16'", WLOAD_ERR_NOT_FOUND},
    {"1-of-2.safetensors", NULL, "=1-of-2.safetensors", 0},
    {"-00001-of-00002.safetensors", NULL, "=-00001-of-00002.safetensors", 0},
    {"a-1-of-0.safetensors", NULL, "=a-1-of-0.safetensors", 0},
    {"a-1-of-9999999999.safetensors", NULL, "=a-1-of-9999999999.safetensors", 0},
};

static unsigned made;

/* Make the files of a list in a directory of their own; `index` is for model_index.json. */
static const char *make(const char *files, const char *index)
{
    static char name[64];
    char list[1024];

    (void)snprintf(name, sizeof(name), "case-%u", made++);
    CHECK_EQ(mkdir(tree_path(name), 0755), 0);
    (void)snprintf(list, sizeof(list), "%s", files);
    for (char *save = NULL, *at = strtok_r(list, " ", &save); at; at = strtok_r(NULL, " ", &save)) {
        char path[300];

        (void)snprintf(path, sizeof(path), "%s/%s", name, at);
        tree_write_text(path, "");
    }
    if (index) {
        char path[128];

        (void)snprintf(path, sizeof(path), "%s/model_index.json", name);
        tree_write_text(path, index);
    }
    return tree_path(name);
}

static char warnings[2048];

static void take_line(void *user, enum wload_log_level level, const char *component,
                      const char *line)
{
    (void)user;
    CHECK(strcmp(component, "spec") == 0 || strcmp(component, "cache") == 0);
    if (level == WLOAD_LOG_WARN) {
        (void)snprintf(warnings + strlen(warnings), sizeof(warnings) - strlen(warnings), "%s;",
                       line);
    }
}

/* The manifest of a spec in one line, or the message of its refusal. */
static int resolve(const char *text, const char *variant, const char *folder, char *line,
                   size_t line_bytes)
{
    const struct wl_log log = {.line = take_line, .level = WLOAD_LOG_INFO};
    struct wload_error err = {0};
    struct wl_manifest manifest;
    struct wl_spec spec;
    size_t used = 0;
    /* A model by name: from a cache that is not there. */
    const struct wload_snapshot_options offline = {.network = WLOAD_NETWORK_OFF,
                                                   .cache_dir = "/nowhere"};
    const struct wload_fetch_options fetch = {0};
    const struct wl_source_options options = {.snapshot = &offline, .fetch = &fetch};
    int rc = wl_spec_parse(text, variant, &spec, &err);

    warnings[0] = '\0';
    if (rc == WLOAD_OK) {
        rc = wl_resolve(&log, &spec, &options, &manifest, &err);
        wl_spec_clear(&spec);
    }
    if (rc < 0) {
        CHECK_EQ(err.code, rc);
        (void)snprintf(line, line_bytes, "%s", err.message);
        return rc;
    }
    line[0] = '\0';
    for (uint32_t i = 0; i < manifest.count; i++) {
        const struct wl_manifest_entry *entry = &manifest.entries[i];
        size_t folder_bytes = strlen(folder);

        CHECK(strncmp(entry->path, folder, folder_bytes) == 0);
        used += (size_t)snprintf(line + used, line_bytes - used,
                                 entry->kind == WL_ENTRY_WEIGHTS ? "%s%s=%s" : "%s%s=[%s]",
                                 i > 0 ? " " : "", entry->prefix, entry->path + folder_bytes);
    }
    wl_manifest_clear(&manifest);
    return rc;
}

static void expect(const char *spec, const char *variant, const char *folder, const char *expected,
                   int code)
{
    char line[2048];
    int rc = resolve(spec, variant, folder, line, sizeof(line));

    if (rc != code || (code == 0 ? strcmp(line, expected) != 0 : !strstr(line, expected))) {
        (void)fprintf(stderr, "%s variant %s: %d '%s'\n  not %d '%s'\n", spec,
                      variant ? variant : "-", rc, line, code, expected);
        exit(1);
    }
}

static void check_directories(void)
{
    for (size_t i = 0; i < WL_COUNT_OF(directories); i++) {
        const struct layout *layout = &directories[i];
        const char *folder = make(layout->files, NULL);
        char slashed[TREE_PATH_BYTES + 16];

        (void)snprintf(slashed, sizeof(slashed), "%s/", folder);
        expect(folder, layout->variant, slashed, layout->found, layout->code);
        expect(slashed, layout->variant, slashed, layout->found, layout->code);
        (void)snprintf(slashed, sizeof(slashed), "file://%s/", folder);
        expect(slashed, layout->variant, slashed + strlen("file://"), layout->found, layout->code);
    }
}

#define INDEX                                                                                      \
    "{\"_class_name\":\"XPipeline\",\"_diffusers_version\":\"0.30\",\"scheduler\":[\"diffusers\"," \
    "\"DDIMScheduler\"],\"unet\":[\"diffusers\",\"UNet\"],\"text_encoder\":[\"transformers\","     \
    "\"CLIPTextModel\"],\"safety_checker\":[null,null],\"force_zeros\":true,\"sizes\":[1,2],"      \
    "\"odd\":[null,\"X\"],\"three\":[\"a\",\"b\",\"c\"],\"_custom\":[\"a\",\"b\"]}"
#define UNET_FILES "unet/diffusion_pytorch_model.safetensors unet/config.json "
#define UNET_FP16  "unet/diffusion_pytorch_model.fp16.safetensors "
#define TEXT_FILES "text_encoder/model.safetensors "
#define TEXT_FP16  "text_encoder/model.fp16.safetensors "
#define OTHER_FILES \
    "scheduler/scheduler_config.json three/x.safetensors safety_checker/model.safetensors "

static const struct {
    struct layout layout;
    const char *index;
    const char *warning;
} pipelines[] = {
    {{UNET_FILES UNET_FP16 TEXT_FILES TEXT_FP16 OTHER_FILES "root-pruned.safetensors", NULL,
      "unet/=unet/diffusion_pytorch_model.safetensors "
      "text_encoder/=text_encoder/model.safetensors",
      0},
     INDEX,
     ""},
    {{UNET_FILES UNET_FP16 TEXT_FILES TEXT_FP16 OTHER_FILES, "fp16",
      "unet/=unet/diffusion_pytorch_model.fp16.safetensors "
      "text_encoder/=text_encoder/model.fp16.safetensors",
      0},
     INDEX,
     ""},
    /* Each component for itself: the variant where there is one, else the plain files. */
    {{UNET_FILES UNET_FP16 TEXT_FILES OTHER_FILES, "fp16",
      "unet/=unet/diffusion_pytorch_model.fp16.safetensors "
      "text_encoder/=text_encoder/model.safetensors",
      0},
     INDEX,
     ""},
    {{UNET_FILES TEXT_FILES OTHER_FILES, "fp16", "no component has variant 'fp16'",
      WLOAD_ERR_NOT_FOUND},
     INDEX,
     ""},
    {{UNET_FP16 TEXT_FILES OTHER_FILES, NULL, "unet' has only variants of its weights",
      WLOAD_ERR_NOT_FOUND},
     INDEX,
     ""},
    {{UNET_FP16 TEXT_FILES OTHER_FILES, "bf16", "unet' has only variants", WLOAD_ERR_NOT_FOUND},
     INDEX,
     ""},
    {{"unet/diffusion_pytorch_model.safetensors.index.json "
      "unet/diffusion_pytorch_model-00001-of-00001.safetensors " TEXT_FILES OTHER_FILES,
      NULL,
      "unet/=[unet/diffusion_pytorch_model.safetensors.index.json] "
      "text_encoder/=text_encoder/model.safetensors",
      0},
     INDEX,
     ""},
    {{"unet/diffusion_pytorch_model-00001-of-00002.safetensors " TEXT_FILES OTHER_FILES, NULL,
      "has 1 of the 2 shards", WLOAD_ERR_NOT_FOUND},
     INDEX,
     ""},
    /* Components without weights, or without a folder. */
    {{"unet/config.json " TEXT_FILES, NULL, "text_encoder/=text_encoder/model.safetensors", 0},
     INDEX,
     "scheduler' is listed but has no folder"},
    {{"scheduler/scheduler_config.json unet/diffusion_pytorch_model.bin text_encoder/config.json",
      NULL, "lists no component that has weights", WLOAD_ERR_NOT_FOUND},
     INDEX,
     "unet' has no weights in safetensors, only diffusion_pytorch_model.bin: passed over"},
    {{"scheduler/x unet/diffusion_pytorch_model.bin text_encoder/pytorch_model.bin", NULL,
      "lists no component that has weights", WLOAD_ERR_NOT_FOUND},
     INDEX,
     "only diffusion_pytorch_model.bin: passed over; component '"},
    {{"scheduler/x unet text_encoder/model.safetensors", NULL, "cannot list", WLOAD_ERR_NOT_FOUND},
     INDEX,
     ""},
    {{"model.safetensors", NULL, "lists no component", WLOAD_ERR_NOT_FOUND}, "{}", ""},
    {{"", NULL, "is not a JSON object", WLOAD_ERR_FORMAT}, "[]", ""},
    {{"", NULL, "invalid JSON at offset 0", WLOAD_ERR_FORMAT}, "", ""},
    {{"", NULL, "was there before", WLOAD_ERR_FORMAT}, "{\"a\":1,\"a\":1}", ""},
    {{"", NULL, "component '../up' cannot name a folder", WLOAD_ERR_FORMAT},
     "{\"../up\":[\"a\",\"b\"]}",
     ""},
    {{"", NULL, "component '' cannot name", WLOAD_ERR_FORMAT}, "{\"\":[\"a\",\"b\"]}", ""},
    {{"", NULL, "component '/etc' cannot name", WLOAD_ERR_FORMAT}, "{\"/etc\":[\"a\",\"b\"]}", ""},
};

static void check_pipelines(void)
{
    for (size_t i = 0; i < WL_COUNT_OF(pipelines); i++) {
        const struct layout *layout = &pipelines[i].layout;
        const char *folder = make(layout->files, pipelines[i].index);
        char slashed[TREE_PATH_BYTES + 16];

        (void)snprintf(slashed, sizeof(slashed), "%s/", folder);
        expect(folder, layout->variant, slashed, layout->found, layout->code);
        if (!strstr(warnings, pipelines[i].warning) ||
            (warnings[0] != '\0') != (pipelines[i].warning[0] != '\0')) {
            (void)fprintf(stderr, "%s: warned '%s'\n", folder, warnings);
            exit(1);
        }
    }
}

/* A snapshot of the Hub's cache: a link to each blob. */
static void check_snapshot(void)
{
    char folder[TREE_PATH_BYTES];
    char expected[] = "=[model.safetensors.index.json]";

    tree_write_text("hub/blobs/aa", "");
    tree_write_text("hub/snapshots/0123/config.json", "");
    CHECK_EQ(
        symlink("../../blobs/aa", tree_path("hub/snapshots/0123/model.safetensors.index.json")), 0);
    CHECK_EQ(
        symlink("../../blobs/aa", tree_path("hub/snapshots/0123/model-00001-of-00001.safetensors")),
        0);
    CHECK_EQ(symlink("hub/snapshots/0123", tree_path("current")), 0);
    (void)snprintf(folder, sizeof(folder), "%s/", tree_path("hub/snapshots/0123"));
    expect(folder, NULL, folder, expected, 0);
    (void)snprintf(folder, sizeof(folder), "%s/", tree_path("current"));
    expect(folder, NULL, folder, expected, 0);
}

static void check_files(void)
{
    const char *folder = make("a.safetensors b.safetensors a.safetensors.index.json x.gguf", NULL);
    char path[TREE_PATH_BYTES + 64];

    (void)snprintf(path, sizeof(path), "%s/b.safetensors", folder);
    expect(path, NULL, folder, "=/b.safetensors", 0);
    expect(path, "fp16", folder, "is one file", WLOAD_ERR_INVALID);
    (void)snprintf(path, sizeof(path), "%s/a.safetensors.index.json", folder);
    expect(path, NULL, folder, "=[/a.safetensors.index.json]", 0);
    (void)snprintf(path, sizeof(path), "%s/none.safetensors", folder);
    expect(path, NULL, folder, "No such file or directory", WLOAD_ERR_NOT_FOUND);
    expect("meta-llama/Llama-3.1-8B", NULL, "", "is not on this machine, and the network is off",
           WLOAD_ERR_NOT_FOUND);
    expect("./meta-llama/Llama", NULL, "", "No such file", WLOAD_ERR_NOT_FOUND);
    expect("org/name/more", NULL, "", "No such file", WLOAD_ERR_NOT_FOUND);
    expect("/no/where", NULL, "", "cannot open '/no/where'", WLOAD_ERR_NOT_FOUND);
    expect("/dev/null/x", NULL, "/dev/null", "=/x", 0); /* the open will say ENOTDIR */
}

static void check_sources(void)
{
    expect("hf://org/name", NULL, "", "is not on this machine, and the network is off",
           WLOAD_ERR_NOT_FOUND);
    expect("s3://bucket/name", NULL, "", "no source serves 's3://' in this build", WLOAD_ERR_SPEC);
    expect("hf://org/name", NULL, "", "is not on this machine", WLOAD_ERR_NOT_FOUND);
    expect("https://x/y", NULL, "", "no source serves 'https://'", WLOAD_ERR_SPEC);
}

int main(void)
{
    check_directories();
    check_pipelines();
    check_snapshot();
    check_files();
    check_sources();
    return 0;
}
