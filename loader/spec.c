/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/spec.h"

#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/select.h"

#define SCHEME_CHARS      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-"
#define SCHEME_BYTES_MAX  32u
#define VARIANT_BYTES_MAX 64u
#define LOCALHOST         "localhost"
#define HUB_FORM          "hf://[models/|datasets/]org/name[@revision][/subfolder]"

/* Bytes of the scheme of "scheme://...", or 0 for a plain path. */
static size_t scheme_bytes(const char *text)
{
    size_t bytes = strspn(text, SCHEME_CHARS);

    return bytes > 0 && bytes <= SCHEME_BYTES_MAX && wl_str_starts(text + bytes, "://") ? bytes : 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The path of a file URL: absolute, on this machine, taken as it is written. */
static const char *file_path(const char *rest)
{
    if (wl_str_starts(rest, LOCALHOST "/")) {
        rest += strlen(LOCALHOST);
    }
    return rest[0] == '/' ? rest : NULL;
}

/* ---- hf:// ------------------------------------------------------------------------- */

/* What a hub keeps besides models: "hf://spaces/a/b" is not the folder "b" of a model. */
static const char *const kinds_refused[] = {"spaces/", "buckets/", "kernels/"};

static int refuse_hub(const char *text, const char *what, struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_SPEC, "'%.200s': %s; a spec is " HUB_FORM, text, what);
}

static const char *skip(const char *text, const char *prefix)
{
    return wl_str_starts(text, prefix) ? text + strlen(prefix) : text;
}

/* Bytes of a revision: to the next slash, but for the names of pull requests and conversions. */
static size_t revision_bytes(const char *text)
{
    const char *name = text;

    if (wl_str_starts(text, "refs/pr/") || wl_str_starts(text, "refs/convert/")) {
        name = strchr(text + strlen("refs/"), '/') + 1;
    }
    return (size_t)(name - text) + strcspn(name, "/");
}

/* A slash in a branch's name is written "%2F". */
static void restore_slashes(char *text)
{
    char *to = text;

    for (const char *from = text; *from; to++) {
        bool is_slash = strncasecmp(from, "%2f", 3) == 0;

        *to = is_slash ? '/' : *from;
        from += is_slash ? 3 : 1;
    }
    *to = '\0';
}

/* "org/name@revision/subfolder" in three; false without memory. */
static bool split_hub(const char *rest, struct wl_spec *spec)
{
    size_t repo_bytes = strcspn(rest, "/@");
    size_t bytes;

    if (rest[repo_bytes] == '/') {
        repo_bytes += 1 + strcspn(rest + repo_bytes + 1, "/@");
    }
    spec->path = wl_str_new("%.*s", (int)repo_bytes, rest);
    rest += repo_bytes;
    if (*rest == '@') {
        bytes = revision_bytes(++rest);
        spec->revision = wl_str_new("%.*s", (int)bytes, rest);
        if (!spec->revision) {
            return false;
        }
        restore_slashes(spec->revision);
        rest += bytes;
    }
    rest = skip(rest, "/");
    bytes = strlen(rest);
    bytes -= bytes > 0 && rest[bytes - 1] == '/';
    if (*rest) {
        spec->subfolder = wl_str_new("%.*s", (int)bytes, rest);
    }
    return spec->path && (!*rest || spec->subfolder);
}

static int parse_hub(const char *text, const char *rest, struct wl_spec *spec,
                     struct wload_error *err)
{
    for (size_t i = 0; i < WL_COUNT_OF(kinds_refused); i++) {
        if (wl_str_starts(rest, kinds_refused[i])) {
            return refuse_hub(text, "neither a model nor a dataset", err);
        }
    }
    if (wl_str_starts(rest, "datasets/")) {
        spec->kind = WL_HUB_DATASET;
    }
    rest = spec->kind == WL_HUB_DATASET ? skip(rest, "datasets/") : skip(rest, "models/");
    if (!split_hub(rest, spec)) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the spec");
    }
    if (!wl_hub_is_repo(spec->path)) {
        return refuse_hub(text, "that cannot be a repository's name", err);
    }
    if (spec->revision && !wl_hub_is_revision(spec->revision)) {
        return refuse_hub(text, "that cannot be a revision", err);
    }
    if (spec->subfolder && !wl_hub_is_path(spec->subfolder)) {
        return refuse_hub(text, "that cannot be a folder of a repository", err);
    }
    return WLOAD_OK;
}

/* ---- All --------------------------------------------------------------------------- */

static int parse_file(const char *text, const char *rest, struct wl_spec *spec,
                      struct wload_error *err)
{
    if (rest != text && strcmp(spec->scheme, "file") == 0) {
        rest = file_path(rest);
        if (!rest) {
            return wl_err_set(err, WLOAD_ERR_SPEC,
                              "'%s': a file URL has an absolute path: file:///dir/model", text);
        }
    }
    spec->path = wl_str_new("%s", rest);
    return spec->path ? WLOAD_OK : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the spec");
}

int wl_spec_parse(const char *text, const char *variant, struct wl_spec *out,
                  struct wload_error *err)
{
    size_t bytes = scheme_bytes(text);
    const char *rest = bytes > 0 ? text + bytes + strlen("://") : text;
    struct wl_spec spec = {0};
    int rc;

    if (rest[0] == '\0') {
        return wl_err_set(err, WLOAD_ERR_SPEC, "'%s' names no model", text);
    }
    if (strlen(rest) >= WL_PATH_BYTES_MAX) {
        return wl_err_set(err, WLOAD_ERR_SPEC, "'%.40s...' is longer than %u bytes", text,
                          WL_PATH_BYTES_MAX);
    }
    if (variant && (strlen(variant) > VARIANT_BYTES_MAX || !wl_select_is_variant(variant))) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "'%.80s' cannot be a variant", variant);
    }
    spec.scheme = bytes > 0 ? wl_str_new("%.*s", (int)bytes, text) : wl_str_new("file");
    spec.variant = variant ? wl_str_new("%s", variant) : NULL;
    if (!spec.scheme || (variant && !spec.variant)) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the spec");
        goto out_clear;
    }
    for (char *at = spec.scheme; *at; at++) {
        *at = lower(*at);
    }
    rc = strcmp(spec.scheme, "hf") == 0 ? parse_hub(text, rest, &spec, err)
                                        : parse_file(text, rest, &spec, err);
    if (rc < 0) {
        goto out_clear;
    }
    *out = spec;
    return WLOAD_OK;

out_clear:
    wl_spec_clear(&spec);
    return rc;
}

void wl_spec_clear(struct wl_spec *spec)
{
    wl_sys->free(spec->scheme);
    wl_sys->free(spec->path);
    wl_sys->free(spec->variant);
    wl_sys->free(spec->revision);
    wl_sys->free(spec->subfolder);
    *spec = (struct wl_spec){0};
}
