/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a spec string is taken apart as its user means it, or refused with what to write.
 * Method: tables of strings and their parts; a model that is named without a scheme stays a path.
 * And with each allocation failing in turn, nothing is left behind.
 */
#include "loader/spec.h"

#include "base/base.h"
#include "base/err.h"
#include "faults.h"
#include "test.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define BOTH   "hf://org/name@main/unet"

static const struct {
    const char *text, *scheme, *path;
} paths[] = {
    {"x", "file", "x"},
    {"org/name", "file", "org/name"},
    {"./x", "file", "./x"},
    {"/a b/c", "file", "/a b/c"},
    {"file:///a/b", "file", "/a/b"},
    {"FILE:///a%20b", "file", "/a%20b"},
    {"file://localhost/a", "file", "/a"},
    {"S3://b/k@v/w", "s3", "b/k@v/w"},
    {"hf:org/name", "file", "hf:org/name"},
    {"hf:/org/name", "file", "hf:/org/name"},
    {"dir/x://y", "file", "dir/x://y"},
    {"://x", "file", "://x"},
    {"a:b", "file", "a:b"},
    {"c:/x", "file", "c:/x"},
};

static const struct {
    const char *text, *repo, *revision, *subfolder;
    enum wl_hub_kind kind;
} named[] = {
    {"hf://org/name", "org/name", NULL, NULL, WL_HUB_MODEL},
    {"HF://Org/Name.v1-x_2", "Org/Name.v1-x_2", NULL, NULL, WL_HUB_MODEL},
    {"hf://gpt2", "gpt2", NULL, NULL, WL_HUB_MODEL},
    {"hf://models/gpt2", "gpt2", NULL, NULL, WL_HUB_MODEL},
    {"hf://models/org/name", "org/name", NULL, NULL, WL_HUB_MODEL},
    {"hf://datasets/org/name", "org/name", NULL, NULL, WL_HUB_DATASET},
    {"hf://datasets/squad@v1", "squad", "v1", NULL, WL_HUB_DATASET},
    {"hf://org/name/", "org/name", NULL, NULL, WL_HUB_MODEL},
    {"hf://org/name@main/", "org/name", "main", NULL, WL_HUB_MODEL},
    {BOTH, "org/name", "main", "unet", WL_HUB_MODEL},
    {"hf://org/name/unet/deep/", "org/name", NULL, "unet/deep", WL_HUB_MODEL},
    {"hf://gpt2@" COMMIT "/a/b.safetensors", "gpt2", COMMIT, "a/b.safetensors", WL_HUB_MODEL},
    {"hf://org/name/a@b", "org/name", NULL, "a@b", WL_HUB_MODEL},
    {"hf://org/name@v1/a@b", "org/name", "v1", "a@b", WL_HUB_MODEL},
    /* Slashes in revisions. */
    {"hf://org/name@refs/pr/12", "org/name", "refs/pr/12", NULL, WL_HUB_MODEL},
    {"hf://org/name@refs/pr/12/unet", "org/name", "refs/pr/12", "unet", WL_HUB_MODEL},
    {"hf://datasets/o/n@refs/convert/parquet/a/b", "o/n", "refs/convert/parquet", "a/b",
     WL_HUB_DATASET},
    {"hf://org/name@user%2Ffix%2fmore/unet", "org/name", "user/fix/more", "unet", WL_HUB_MODEL},
    {"hf://org/name@user/unet", "org/name", "user", "unet", WL_HUB_MODEL},
};

static const struct {
    const char *text, *variant, *finding;
    int code;
} bad[] = {
    {"", NULL, "names no model", WLOAD_ERR_SPEC},
    {"file://", NULL, "names no model", WLOAD_ERR_SPEC},
    {"hf://", NULL, "names no model", WLOAD_ERR_SPEC},
    {"file://host/x", NULL, "has an absolute path", WLOAD_ERR_SPEC},
    {"file://x", NULL, "has an absolute path", WLOAD_ERR_SPEC},
    {"file://localhost", NULL, "has an absolute path", WLOAD_ERR_SPEC},
    {"x", "", "cannot be a variant", WLOAD_ERR_INVALID},
    {"x", "../y", "cannot be a variant", WLOAD_ERR_INVALID},
    {"x", "a*", "cannot be a variant", WLOAD_ERR_INVALID},
    {"hf://models/", NULL, "repository's name", WLOAD_ERR_SPEC},
    {"hf:///org/name", NULL, "repository's name", WLOAD_ERR_SPEC},
    {"hf://org//name", NULL, "repository's name", WLOAD_ERR_SPEC},
    {"hf://../name", NULL, "repository's name", WLOAD_ERR_SPEC},
    {"hf://org/..", NULL, "repository's name", WLOAD_ERR_SPEC},
    {"hf://org/na me", NULL, "repository's name", WLOAD_ERR_SPEC},
    {"hf://org/name?x", NULL, "repository's name", WLOAD_ERR_SPEC},
    {"hf://@main", NULL, "repository's name", WLOAD_ERR_SPEC},
    {"hf://org/@main", NULL, "repository's name", WLOAD_ERR_SPEC},
    {"hf://org/name@", NULL, "a revision", WLOAD_ERR_SPEC},
    {"hf://org/name@/unet", NULL, "a revision", WLOAD_ERR_SPEC},
    {"hf://org/name@a..b", NULL, "a revision", WLOAD_ERR_SPEC},
    {"hf://org/name@..%2F..", NULL, "a revision", WLOAD_ERR_SPEC},
    {"hf://org/name@refs/pr/", NULL, "a revision", WLOAD_ERR_SPEC},
    {"hf://org/name/../up", NULL, "a folder", WLOAD_ERR_SPEC},
    {"hf://org/name//unet", NULL, "a folder", WLOAD_ERR_SPEC},
    {"hf://org/name/unet//", NULL, "a folder", WLOAD_ERR_SPEC},
    {"hf://org/name//", NULL, "a folder", WLOAD_ERR_SPEC},
    {"hf://org/name/a\\b", NULL, "a folder", WLOAD_ERR_SPEC},
    {"hf://spaces/org/name", NULL, "neither a model nor a dataset", WLOAD_ERR_SPEC},
    {"hf://buckets/org/name", NULL, "neither a model nor a dataset", WLOAD_ERR_SPEC},
};

static void check_same(const char *text, const char *expected)
{
    CHECK((text == NULL) == (expected == NULL));
    if (text) {
        CHECK_STR(text, expected);
    }
}

static void check_good(void)
{
    struct wload_error err = {0};
    struct wl_spec spec;

    for (size_t i = 0; i < WL_COUNT_OF(paths); i++) {
        CHECK_OK(wl_spec_parse(paths[i].text, "fp16", &spec, &err), &err);
        CHECK_STR(spec.scheme, paths[i].scheme);
        CHECK_STR(spec.path, paths[i].path);
        CHECK_STR(spec.variant, "fp16");
        CHECK(!spec.revision && !spec.subfolder);
        wl_spec_clear(&spec);
    }
    for (size_t i = 0; i < WL_COUNT_OF(named); i++) {
        CHECK_OK(wl_spec_parse(named[i].text, NULL, &spec, &err), &err);
        CHECK_STR(spec.scheme, "hf");
        CHECK_STR(spec.path, named[i].repo);
        CHECK_EQ(spec.kind, named[i].kind);
        CHECK(!spec.variant);
        check_same(spec.revision, named[i].revision);
        check_same(spec.subfolder, named[i].subfolder);
        wl_spec_clear(&spec);
    }
}

static void check_bad(void)
{
    struct wload_error err = {0};
    struct wl_spec spec;

    for (size_t i = 0; i < WL_COUNT_OF(bad); i++) {
        CHECK_EQ(wl_spec_parse(bad[i].text, bad[i].variant, &spec, &err), bad[i].code);
        CHECK_EQ(err.code, bad[i].code);
        CHECK(strstr(err.message, bad[i].finding) != NULL);
        if (strncmp(bad[i].text, "hf://", 5) == 0 && bad[i].text[5] != '\0') {
            CHECK(strstr(err.message, "hf://[models/|datasets/]org/name[@revision]") != NULL);
        }
    }
}

static void check_length(void)
{
    char longest[WL_PATH_BYTES_MAX + 1];
    struct wload_error err = {0};
    struct wl_spec spec;

    memset(longest, 'x', sizeof(longest));
    longest[WL_PATH_BYTES_MAX] = '\0';
    CHECK_EQ(wl_spec_parse(longest, NULL, &spec, &err), WLOAD_ERR_SPEC);
    longest[WL_PATH_BYTES_MAX - 1] = '\0';
    CHECK_OK(wl_spec_parse(longest, NULL, &spec, &err), &err);
    CHECK(spec.variant == NULL);
    wl_spec_clear(&spec);
}

static void check_faults(void)
{
    struct faults faults = {.fail_at = 1};
    int rc;

    do {
        struct wload_error err = {0};
        struct wl_spec spec = {0};

        faults_begin(&faults);
        rc = wl_spec_parse(BOTH, "fp16", &spec, &err);
        CHECK_EQ(faults_live_blocks() == 0, rc < 0);
        CHECK(rc == WLOAD_OK || (rc == WLOAD_ERR_NOMEM && err.code == rc));
        wl_spec_clear(&spec);
        CHECK_EQ(faults_live_blocks(), 0);
        (void)faults_end();
        faults.fail_at++;
    } while (rc < 0);
    CHECK(faults.fail_at > 5);
}

int main(void)
{
    check_good();
    check_bad();
    check_length();
    check_faults();
    return 0;
}
