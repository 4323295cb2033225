/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/hub_api.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/sys.h"

#define WHAT_BYTES 512 /* of what errors call an answer */

static int no_memory(const struct wl_hub_repo *repo, struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to ask about '%s'", repo->name);
}

static void clear_text(struct wl_transfer_text *text)
{
    wl_sys->free(text->text);
    wl_sys->free(text->next);
    *text = (struct wl_transfer_text){0};
}

/* "<endpoint>/api/models/org/name/<what>/<revision><query>", or NULL without memory. */
static char *api_url(const struct wl_config *config, const struct wl_hub_repo *repo,
                     const char *what, const char *revision, const char *query)
{
    char *escaped = wl_hub_escape(revision, false);
    char *url = escaped ? wl_str_new("%s/api/%ss/%s/%s/%s%s", config->endpoint,
                                     wl_hub_kind_name(repo->kind), repo->name, what, escaped, query)
                        : NULL;

    wl_sys->free(escaped);
    return url;
}

char *wl_hub_file_url(const struct wl_config *config, const struct wl_hub_repo *repo,
                      const char *commit, const char *name)
{
    char *escaped = wl_hub_escape(name, true);
    char *url =
        escaped ? wl_str_new("%s/%s%s%s/resolve/%s/%s", config->endpoint,
                             repo->kind == WL_HUB_MODEL ? "" : wl_hub_kind_name(repo->kind),
                             repo->kind == WL_HUB_MODEL ? "" : "s/", repo->name, commit, escaped)
                : NULL;

    wl_sys->free(escaped);
    return url;
}

/* ---- The commit of a revision ------------------------------------------------------------- */

/* The text is written to.  What people wrote about the model stands in it, too, and is not read. */
static int read_commit(struct wl_transfer_text *text, const char *what,
                       char commit[WL_HUB_COMMIT_BYTES], struct wload_error *err)
{
    const char *sha;
    int rc = wl_json_pick(text->text, text->size_bytes, what, "sha", &sha, err);

    if (rc == WLOAD_OK && (!sha || !wl_hub_is_commit(sha))) {
        rc = wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' names no commit: is this a hub?", what);
    }
    if (rc == WLOAD_OK) {
        memcpy(commit, sha, WL_HUB_COMMIT_BYTES);
    }
    return rc;
}

int wl_hub_commit(struct wl_transfer *transfer, struct wl_http *http,
                  const struct wl_hub_repo *repo, char commit[WL_HUB_COMMIT_BYTES],
                  struct wload_error *err)
{
    struct wl_transfer_text text;
    char *url;
    int rc;

    if (wl_hub_is_commit(repo->revision)) {
        memcpy(commit, repo->revision, WL_HUB_COMMIT_BYTES);
        return WLOAD_OK;
    }
    url = api_url(transfer->config, repo, "revision", repo->revision, "");
    if (!url) {
        return no_memory(repo, err);
    }
    rc = wl_transfer_text(transfer, http, url, WL_LISTING_TEXT_MAX, &text, err);
    if (rc == WLOAD_OK) {
        rc = read_commit(&text, url, commit, err);
        clear_text(&text);
    }
    wl_sys->free(url);
    return rc;
}

/* ---- The files of a commit ------------------------------------------------------------------ */

/* The addresses of the pages so far. */
struct pages {
    const struct wl_hub_repo *repo;
    const char *commit;
    char **urls; /* WL_HUB_PAGES_MAX */
    uint32_t count;
};

/* Takes the address of the page that is next. */
static int add_url(struct pages *pages, char *url, struct wload_error *err)
{
    for (uint32_t i = 0; i < pages->count; i++) {
        if (strcmp(pages->urls[i], url) == 0) {
            wl_sys->free(url);
            return wl_err_set(err, WLOAD_ERR_HTTP,
                              "the hub lists '%s' in a circle: page %u is page %u again",
                              pages->repo->name, pages->count + 1, i + 1);
        }
    }
    if (pages->count == WL_HUB_PAGES_MAX) {
        wl_sys->free(url);
        return wl_err_set(err, WLOAD_ERR_HTTP, "the hub lists '%s' on more than %u pages",
                          pages->repo->name, WL_HUB_PAGES_MAX);
    }
    pages->urls[pages->count++] = url;
    return WLOAD_OK;
}

/* Returns whether there is one more page. */
static int add_page(struct wl_transfer *transfer, struct wl_http *http, struct pages *pages,
                    struct wl_listing *listing, struct wload_error *err)
{
    struct wl_transfer_text text;
    char what[WHAT_BYTES];
    int rc = wl_transfer_text(transfer, http, pages->urls[pages->count - 1], WL_LISTING_TEXT_MAX,
                              &text, err);

    if (rc < 0) {
        return rc;
    }
    (void)snprintf(what, sizeof(what), "files of %s at %s, page %u", pages->repo->name,
                   pages->commit, pages->count);
    rc = wl_listing_add_page(listing, text.text, text.size_bytes, what, err);
    if (rc == WLOAD_OK && text.next) {
        rc = add_url(pages, text.next, err);
        text.next = NULL;
        rc = rc < 0 ? rc : 1;
    }
    clear_text(&text);
    return rc;
}

static int add_pages(struct wl_transfer *transfer, struct wl_http *http, struct pages *pages,
                     struct wl_listing *listing, struct wload_error *err)
{
    char *url = api_url(transfer->config, pages->repo, "tree", pages->commit,
                        "?recursive=true&expand=false");
    int rc = url ? add_url(pages, url, err) : no_memory(pages->repo, err);

    if (rc < 0) {
        return rc;
    }
    do {
        rc = add_page(transfer, http, pages, listing, err);
    } while (rc > 0);
    return rc < 0 ? rc : wl_listing_finish(listing, pages->repo->name, err);
}

int wl_hub_list(struct wl_transfer *transfer, struct wl_http *http, const struct wl_hub_repo *repo,
                const char *commit, struct wl_listing *out, struct wload_error *err)
{
    struct pages pages = {.repo = repo, .commit = commit};
    struct wl_listing listing = {0};
    int rc;

    pages.urls = wl_sys_array(WL_HUB_PAGES_MAX, sizeof(pages.urls[0]));
    rc = pages.urls ? add_pages(transfer, http, &pages, &listing, err) : no_memory(repo, err);
    for (uint32_t i = 0; i < pages.count; i++) {
        wl_sys->free(pages.urls[i]);
    }
    wl_sys->free(pages.urls);
    if (rc < 0) {
        wl_listing_clear(&listing);
        return rc;
    }
    listing.is_complete = true;
    *out = listing;
    return WLOAD_OK;
}
