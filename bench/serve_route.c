/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "base/str.h"
#include "bench/serve.h"

#define REPO_PARTS_MAX 2u
#define HEALTH_PATH    "/healthz"

static const struct {
    const char *prefix;
    enum wl_hub_kind kind;
} api_prefixes[] =
    {
        {"/api/models/", WL_HUB_MODEL},
        {"/api/datasets/", WL_HUB_DATASET},
        {"/api/spaces/", WL_HUB_SPACE},
},
  content_prefixes[] = {
      {"/datasets/", WL_HUB_DATASET},
      {"/spaces/", WL_HUB_SPACE},
      {"/", WL_HUB_MODEL}, /* the last, for it fits all */
};

static const struct verb {
    const char *word;
    enum serve_what what;
    bool has_revision; /* a segment that must follow */
    bool has_path;     /* what may follow that */
} api_verbs[] =
    {
        {"revision", SERVE_INFO, true, false},
        {"tree", SERVE_TREE, true, true},
        {"paths-info", SERVE_PATHS, true, false},
        {"refs", SERVE_REFS, false, false},
},
  content_verbs[] = {
      {"resolve", SERVE_CONTENT, true, true},
};

/* ---- Decoding -------------------------------------------------------------------- */

static int hex_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *digit = c ? strchr(digits, c | 0x20) : NULL;

    return digit && *digit ? (int)(digit - digits) : -1;
}

char *serve_decode(const char *text, size_t size, bool is_form)
{
    char *out = malloc(size + 1);
    size_t used = 0;

    for (size_t i = 0; out && i < size; i++) {
        char c = text[i];

        if (c == '%') {
            int high = i + 2 < size ? hex_value(text[i + 1]) : -1;
            int low = high >= 0 ? hex_value(text[i + 2]) : -1;

            if (low < 0) {
                free(out);
                return NULL;
            }
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && is_form) {
            c = ' ';
        }
        if (c == '\0') {
            free(out);
            return NULL;
        }
        out[used++] = c;
    }
    if (out) {
        out[used] = '\0';
    }
    return out;
}

static bool decode(const char *text, size_t size, char **out)
{
    *out = serve_decode(text, size, false);
    return *out != NULL;
}

/* ---- The path -------------------------------------------------------------------- */

/* Bytes up to the slash, or to the end of the path. */
static size_t segment_size(const char *text)
{
    return strcspn(text, "/?");
}

/* What is behind `count` segments and the slash that follows them, or NULL. */
static const char *skip(const char *text, size_t count)
{
    for (; count > 0; count--) {
        text += segment_size(text);
        if (*text != '/') {
            return NULL;
        }
        text++;
    }
    return text;
}

static bool is_word(const char *text, const char *word)
{
    return segment_size(text) == strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

/* Whether what begins with the verb is whole; if so, take it. */
static bool take_verb(const struct verb *verb, const char *text, struct serve_route *out)
{
    const char *revision = skip(text, 1);
    const char *path = skip(text, 2);

    if (!verb->has_revision) {
        out->what = revision ? SERVE_NOTHING : verb->what;
        return true;
    }
    if (!revision) {
        return false;
    }
    if (path && !verb->has_path) {
        return true; /* SERVE_NOTHING */
    }
    out->what = verb->what;
    return decode(revision, segment_size(revision), &out->revision) &&
           (!path || decode(path, strcspn(path, "?"), &out->path));
}

/*
 * The verb behind a repository of two parts, else of one, as the oldest have: of
 * "a/tree/main" the repository is "a".
 */
static const struct verb *find_verb(const char *text, const struct verb *verbs, size_t verb_count,
                                    const char **at)
{
    for (size_t parts = REPO_PARTS_MAX; parts > 0; parts--) {
        const char *word = skip(text, parts);

        for (size_t i = 0; word && i < verb_count; i++) {
            if (is_word(word, verbs[i].word) && (!verbs[i].has_revision || skip(word, 1))) {
                *at = word;
                return &verbs[i];
            }
        }
    }
    return NULL;
}

static bool take_api(const char *text, struct serve_route *out)
{
    const char *at;
    const struct verb *verb = find_verb(text, api_verbs, WL_COUNT_OF(api_verbs), &at);

    if (verb) {
        return decode(text, (size_t)(at - 1 - text), &out->repo) && take_verb(verb, at, out);
    }
    if (!skip(text, REPO_PARTS_MAX)) {
        out->what = SERVE_INFO;
    }
    return decode(text, strcspn(text, "?"), &out->repo);
}

static bool take_content(const char *text, struct serve_route *out)
{
    const char *at;
    const struct verb *verb = find_verb(text, content_verbs, WL_COUNT_OF(content_verbs), &at);

    return !verb || (decode(text, (size_t)(at - 1 - text), &out->repo) && take_verb(verb, at, out));
}

static bool take_path(const char *target, struct serve_route *out)
{
    for (size_t i = 0; i < WL_COUNT_OF(api_prefixes); i++) {
        if (wl_str_starts(target, api_prefixes[i].prefix)) {
            out->kind = api_prefixes[i].kind;
            return take_api(target + strlen(api_prefixes[i].prefix), out);
        }
    }
    for (size_t i = 0; i < WL_COUNT_OF(content_prefixes); i++) {
        if (wl_str_starts(target, content_prefixes[i].prefix)) {
            out->kind = content_prefixes[i].kind;
            return take_content(target + strlen(content_prefixes[i].prefix), out);
        }
    }
    return true;
}

/* ---- The query ------------------------------------------------------------------- */

static bool is_true(const char *value)
{
    return strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0;
}

/* Takes the value over. */
static void take_parameter(const char *name, char *value, struct serve_route *out)
{
    if (strcmp(name, "recursive") == 0) {
        out->is_recursive = is_true(value);
    } else if (strcmp(name, "blobs") == 0) {
        out->has_blobs = is_true(value);
    } else if (strcmp(name, "include_prs") == 0) {
        out->has_requests = is_true(value);
    } else if (strcmp(name, "cursor") == 0 && !out->cursor) {
        out->cursor = value;
        return;
    }
    free(value);
}

static bool take_query(const char *query, struct serve_route *out)
{
    while (*query) {
        size_t size = strcspn(query, "&");
        size_t name_size = strcspn(query, "&=");
        size_t skipped = name_size + (query[name_size] == '=');
        char *name = serve_decode(query, name_size, true);
        char *value = serve_decode(query + skipped, size - skipped, true);
        bool is_good = name && value;

        if (is_good) {
            take_parameter(name, value, out);
        } else {
            free(value);
        }
        free(name);
        if (!is_good) {
            return false;
        }
        query += size + (query[size] == '&');
    }
    return true;
}

bool serve_route_parse(const char *target, struct serve_route *out)
{
    const char *query = strchr(target, '?');

    *out = (struct serve_route){.what = SERVE_NOTHING};
    if (strncmp(target, HEALTH_PATH, strcspn(target, "?")) == 0 &&
        strcspn(target, "?") == strlen(HEALTH_PATH)) {
        out->what = SERVE_HEALTH;
        return true;
    }
    if (!take_path(target, out) || (query && !take_query(query + 1, out))) {
        return false;
    }
    if (!out->revision && out->what == SERVE_INFO) {
        out->revision = strdup("main");
    }
    if (!out->path) {
        out->path = strdup("");
    }
    return out->path && (out->revision || out->what != SERVE_INFO);
}

void serve_route_clear(struct serve_route *route)
{
    free(route->repo);
    free(route->revision);
    free(route->path);
    free(route->cursor);
    *route = (struct serve_route){.what = SERVE_NOTHING};
}
