/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/spec.h"

#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/select.h"

#define SCHEME_CHARS      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-"
#define SCHEME_BYTES_MAX  32u
#define VARIANT_BYTES_MAX 64u
#define LOCALHOST         "localhost"

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

int wl_spec_parse(const char *text, const char *variant, struct wl_spec *out,
                  struct wload_error *err)
{
    size_t bytes = scheme_bytes(text);
    const char *rest = bytes > 0 ? text + bytes + strlen("://") : text;
    struct wl_spec spec = {0};

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
    if (!spec.scheme) {
        goto no_memory;
    }
    for (char *at = spec.scheme; *at; at++) {
        *at = lower(*at);
    }
    if (bytes > 0 && strcmp(spec.scheme, "file") == 0) {
        rest = file_path(rest);
        if (!rest) {
            wl_spec_clear(&spec);
            return wl_err_set(err, WLOAD_ERR_SPEC,
                              "'%s': a file URL has an absolute path: file:///dir/model", text);
        }
    }
    spec.path = wl_str_new("%s", rest);
    spec.variant = variant ? wl_str_new("%s", variant) : NULL;
    if (!spec.path || (variant && !spec.variant)) {
        goto no_memory;
    }
    *out = spec;
    return WLOAD_OK;

no_memory:
    wl_spec_clear(&spec);
    return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for the spec", text);
}

void wl_spec_clear(struct wl_spec *spec)
{
    wl_sys->free(spec->scheme);
    wl_sys->free(spec->path);
    wl_sys->free(spec->variant);
    *spec = (struct wl_spec){0};
}
