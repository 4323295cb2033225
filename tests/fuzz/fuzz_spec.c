/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: any spec, and any names in a folder, are understood or refused.
 * Method: the first line is the spec, the second the variant, the rest are names; what is
 * picked of them must be picked once, known, and all of one kind.
 */
#include "loader/spec.h"

#include "base/base.h"
#include "base/str.h"
#include "cache/select.h"
#include "fuzz_driver.h"

#define NAMES_MAX 64

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_spec(const char *text, const char *variant)
{
    struct wload_error err = {0};
    struct wl_spec spec;
    int rc = wl_spec_parse(text, variant, &spec, &err);

    if (rc < 0) {
        CHECK(rc == WLOAD_ERR_SPEC || rc == WLOAD_ERR_INVALID);
        CHECK(err.message[0] != '\0');
        return;
    }
    CHECK(spec.path[0] != '\0' && strlen(spec.path) < WL_PATH_BYTES_MAX);
    CHECK(spec.scheme[0] != '\0' && strpbrk(spec.scheme, "ABCXYZ:/") == NULL);
    if (strcmp(spec.scheme, "hf") == 0) {
        CHECK(wl_hub_is_repo(spec.path) && strstr(text, spec.path) != NULL);
        CHECK(!spec.revision || wl_hub_is_revision(spec.revision));
        CHECK(!spec.subfolder || wl_hub_is_path(spec.subfolder));
    } else {
        CHECK(wl_str_ends(text, spec.path) && !spec.revision && !spec.subfolder);
    }
    wl_spec_clear(&spec);
}

static void check_select(const char **names, uint32_t count, const char *variant)
{
    struct wload_error err = {0};
    uint32_t picks[NAMES_MAX];
    int picked;

    qsort(names, count, sizeof(names[0]), compare);
    picked = wl_select("folder", names, count, variant, picks, &err);
    if (picked < 0) {
        CHECK(picked == WLOAD_ERR_SPEC || picked == WLOAD_ERR_NOT_FOUND ||
              picked == WLOAD_ERR_FORMAT);
        return;
    }
    CHECK(picked <= (int)count);
    for (int i = 0; i < picked; i++) {
        CHECK(picks[i] < count && (i == 0 || picks[i] > picks[i - 1]));
        CHECK(wl_select_knows(names[picks[i]]));
        CHECK(picked == 1 || wl_str_ends(names[picks[i]], ".safetensors"));
        CHECK(!variant || strstr(names[picks[i]], variant) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *names[NAMES_MAX];
    uint32_t count = 0;
    char *text = malloc(size + 1);
    char *rest = text;
    const char *spec;
    const char *variant;

    CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    spec = strsep(&rest, "\n");
    variant = strsep(&rest, "\n");
    variant = variant && variant[0] != '\0' ? variant : NULL;
    check_spec(spec, variant);
    while (rest && count < NAMES_MAX) {
        names[count++] = strsep(&rest, "\n");
    }
    check_select(names, count, variant);
    free(text);
    return 0;
}
