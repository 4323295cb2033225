/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the right questions are put to a hub, and its answers are taken only as far as they go.
 * Method: a stand-in for wl_transfer_text() that answers from a table and writes down what was
 * asked; answers that are wrong, that go in a circle or never end; each allocation fails once.
 */
#include "cache/hub_api.h"

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "faults.h"
#include "test.h"

#define A40              "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define EP               "http://127.0.0.1:1"
#define TREE             EP "/api/models/org/name/tree/" A40 "?recursive=true&expand=false"
#define FILE_ENTRY(name) "{\"type\":\"file\",\"path\":\"" name "\",\"size\":1,\"oid\":\"" A40 "\"}"

struct answer {
    const char *text;
    const char *next;
};

static const struct answer *answers;
static uint32_t answer_count;
static uint32_t asked_count;
static bool never_ends;
static char asked[8][512];

int wl_transfer_text(struct wl_transfer *transfer, struct wl_http *http, const char *url,
                     size_t max_bytes, struct wl_transfer_text *out, struct wload_error *err)
{
    const struct answer *answer = &answers[asked_count % answer_count];
    struct wl_transfer_text text;

    CHECK(transfer->config != NULL && http == NULL && max_bytes == WL_LISTING_TEXT_MAX);
    (void)snprintf(asked[asked_count % WL_COUNT_OF(asked)], sizeof(asked[0]), "%s", url);
    if (!answer->text) {
        return wl_err_set(err, WLOAD_ERR_AUTH, "refused");
    }
    text.text = wl_str_new("%s", answer->text);
    text.size_bytes = strlen(answer->text);
    text.next = answer->next ? wl_str_new("%s", answer->next) : NULL;
    if (never_ends) {
        wl_sys->free(text.next);
        text.next = wl_str_new("%s&page=%u", TREE, asked_count);
    }
    asked_count++;
    if (!text.text || ((answer->next || never_ends) && !text.next)) {
        wl_sys->free(text.text);
        wl_sys->free(text.next);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for an answer");
    }
    *out = text;
    return WLOAD_OK;
}

static char endpoint[] = EP;
static struct wl_config config = {.endpoint = endpoint};
static struct wl_transfer transfer = {.config = &config};
static const struct wl_hub_repo model = {WL_HUB_MODEL, "org/name", "main"};

static void expect(const struct answer *table, uint32_t count)
{
    answers = table;
    answer_count = count;
    asked_count = 0;
}

#define EXPECT(table) expect(table, WL_COUNT_OF(table))

/* ---- Addresses ------------------------------------------------------------------------- */

static void check_file_url(void)
{
    static const struct {
        struct wl_hub_repo repo;
        const char *name, *url;
    } rows[] = {
        {{WL_HUB_MODEL, "gpt2", ""}, "config.json", EP "/gpt2/resolve/" A40 "/config.json"},
        {{WL_HUB_DATASET, "o/n", ""},
         "a b/\xc3\xaf#?.x",
         EP "/datasets/o/n/resolve/" A40 "/a%20b/%C3%AF%23%3F.x"},
        {{WL_HUB_SPACE, "o/n", ""}, "a%2fb", EP "/spaces/o/n/resolve/" A40 "/a%252fb"},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        char *url = wl_hub_file_url(&config, &rows[i].repo, A40, rows[i].name);

        CHECK_STR(url, rows[i].url);
        wl_sys->free(url);
    }
}

/* ---- Commits ---------------------------------------------------------------------------- */

static void check_commit(void)
{
    static const struct answer good[] = {
        {"{\"id\":\"org/name\",\"siblings\":[{\"rfilename\":\"x\"}],\"sha\":\"" A40 "\"}", NULL}};
    /* A card's text, cut within a character. */
    static const struct answer cut[] = {
        {"{\"cardData\":{\"a\":\"\\ud83d\"},\"sha\":\"" A40 "\",\"b\":[\"\\u0000\"]}", NULL}};
    static const struct {
        struct wl_hub_repo repo;
        const char *url;
    } rows[] = {
        {{WL_HUB_MODEL, "org/name", "main"}, EP "/api/models/org/name/revision/main"},
        {{WL_HUB_DATASET, "org/name", "refs/pr/1"},
         EP "/api/datasets/org/name/revision/refs%2Fpr%2F1"},
        {{WL_HUB_SPACE, "name", "v1+x"}, EP "/api/spaces/name/revision/v1%2Bx"},
        {{WL_HUB_MODEL, "name", "aaaaaaa"}, EP "/api/models/name/revision/aaaaaaa"},
    };
    static const struct wl_hub_repo pinned = {WL_HUB_MODEL, "org/name", A40};
    struct wload_error err = {0};
    char commit[WL_HUB_COMMIT_BYTES];

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        EXPECT(good);
        CHECK_OK(wl_hub_commit(&transfer, NULL, &rows[i].repo, commit, &err), &err);
        CHECK_STR(commit, A40);
        CHECK_EQ(asked_count, 1);
        CHECK_STR(asked[0], rows[i].url);
    }
    EXPECT(cut);
    CHECK_OK(wl_hub_commit(&transfer, NULL, &model, commit, &err), &err);
    CHECK_STR(commit, A40);
    EXPECT(good);
    memset(commit, 0, sizeof(commit));
    CHECK_OK(wl_hub_commit(&transfer, NULL, &pinned, commit, &err), &err);
    CHECK_STR(commit, A40);
    CHECK_EQ(asked_count, 0);
}

static void check_bad_commits(void)
{
    static const struct {
        struct answer answer;
        int rc;
    } rows[] = {
        {{NULL, NULL}, WLOAD_ERR_AUTH},
        {{"", NULL}, WLOAD_ERR_FORMAT},
        {{"<html>log in</html>", NULL}, WLOAD_ERR_FORMAT},
        {{"[]", NULL}, WLOAD_ERR_FORMAT},
        {{"{}", NULL}, WLOAD_ERR_FORMAT},
        {{"{\"sha\":null}", NULL}, WLOAD_ERR_FORMAT},
        {{"{\"sha\":1}", NULL}, WLOAD_ERR_FORMAT},
        {{"{\"sha\":\"main\"}", NULL}, WLOAD_ERR_FORMAT},
        {{"{\"sha\":\"../../../../../../../../../../../../../x\"}", NULL}, WLOAD_ERR_FORMAT},
        {{"{\"sha\":\"" A40 "a\"}", NULL}, WLOAD_ERR_FORMAT},
        {{"{\"sha\":\"" A40 "\\u0000\"}", NULL}, WLOAD_ERR_FORMAT},
        {{"{\"sha\":\"" A40 "\\ud83d\"}", NULL}, WLOAD_ERR_FORMAT},
        {{"{\"sha\":\"" A40 "\",\"\\ud83d\":1}", NULL}, WLOAD_ERR_FORMAT},
        {{"{\"sha\":\"" A40 "\",\"sha\":\"" A40 "\"}", NULL}, WLOAD_ERR_FORMAT},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wload_error err = {0};
        char commit[WL_HUB_COMMIT_BYTES] = "untouched";

        expect(&rows[i].answer, 1);
        CHECK_EQ(wl_hub_commit(&transfer, NULL, &model, commit, &err), rows[i].rc);
        CHECK_STR(commit, "untouched");
        CHECK(err.message[0] != '\0');
    }
}

/* ---- Listings ----------------------------------------------------------------------------- */

static const struct answer three_pages[] = {
    {"[" FILE_ENTRY("b") "," FILE_ENTRY("c/d") "]", TREE "&cursor=1"},
    {"[]", TREE "&cursor=2"},
    {"[" FILE_ENTRY("a") "]", NULL},
};

static void check_list(void)
{
    struct wload_error err = {0};
    struct wl_listing listing;

    EXPECT(three_pages);
    CHECK_OK(wl_hub_list(&transfer, NULL, &model, A40, &listing, &err), &err);
    CHECK_EQ(asked_count, 3);
    CHECK_STR(asked[0], TREE);
    CHECK_STR(asked[1], TREE "&cursor=1");
    CHECK_STR(asked[2], TREE "&cursor=2");
    CHECK_EQ(listing.count, 3);
    CHECK(listing.is_complete);
    CHECK_STR(listing.files[0].name, "a");
    CHECK_STR(listing.files[2].name, "c/d");
    wl_listing_clear(&listing);
}

static void check_bad_lists(void)
{
    static const struct {
        struct answer answers[3];
        uint32_t asked_count;
        int rc;
        const char *message;
    } rows[] = {
        {{{NULL, NULL}}, 0, WLOAD_ERR_AUTH, "refused"},
        {{{"[]", TREE "&a"}, {NULL, NULL}}, 1, WLOAD_ERR_AUTH, "refused"},
        {{{"{}", NULL}}, 1, WLOAD_ERR_FORMAT, "page 1"},
        {{{"[]", TREE "&a"}, {"[", NULL}}, 2, WLOAD_ERR_FORMAT, "page 2"},
        {{{"[" FILE_ENTRY("../x") "]", NULL}}, 1, WLOAD_ERR_FORMAT, "'../x'"},
        {{{"[" FILE_ENTRY("a") "]", TREE "&a"}, {"[" FILE_ENTRY("a") "]", NULL}},
         2,
         WLOAD_ERR_FORMAT,
         "'a' twice"},
        {{{"[" FILE_ENTRY("a") "]", TREE "&a"}, {"[" FILE_ENTRY("a/b") "]", NULL}},
         2,
         WLOAD_ERR_FORMAT,
         "as a file and as a folder"},
        {{{"[]", TREE}}, 1, WLOAD_ERR_HTTP, "page 2 is page 1 again"},
        {{{"[]", TREE "&a"}, {"[]", TREE "&b"}, {"[]", TREE "&a"}},
         3,
         WLOAD_ERR_HTTP,
         "page 4 is page 2 again"},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wload_error err = {0};
        struct wl_listing listing = {.count = 7};

        expect(rows[i].answers, WL_COUNT_OF(rows[i].answers));
        CHECK_EQ(wl_hub_list(&transfer, NULL, &model, A40, &listing, &err), rows[i].rc);
        CHECK(strstr(err.message, rows[i].message) != NULL);
        CHECK_EQ(asked_count, rows[i].asked_count);
        CHECK_EQ(listing.count, 7);
    }
}

static void check_endless_list(void)
{
    static const struct answer page[] = {{"[]", NULL}};
    struct wload_error err = {0};
    struct wl_listing listing;

    EXPECT(page);
    never_ends = true;
    CHECK_EQ(wl_hub_list(&transfer, NULL, &model, A40, &listing, &err), WLOAD_ERR_HTTP);
    CHECK_EQ(asked_count, WL_HUB_PAGES_MAX);
    never_ends = false;
}

static void check_failures(void)
{
    uint64_t fail_at;

    for (fail_at = 1;; fail_at++) {
        struct wload_error err = {0};
        struct wl_listing listing = {0};
        char commit[WL_HUB_COMMIT_BYTES];
        char *url;
        uint64_t calls;
        int64_t left;
        int rc;

        EXPECT(three_pages);
        faults_begin(&(struct faults){.fail_at = fail_at});
        rc = wl_hub_list(&transfer, NULL, &model, A40, &listing, &err);
        wl_listing_clear(&listing);
        expect(&(struct answer){"{\"sha\":\"" A40 "\"}", NULL}, 1);
        rc = rc < 0 ? rc : wl_hub_commit(&transfer, NULL, &model, commit, &err);
        url = rc < 0 ? NULL : wl_hub_file_url(&config, &model, A40, "x");
        rc = rc == 0 && !url ? WLOAD_ERR_NOMEM : rc;
        wl_sys->free(url);
        left = faults_live_blocks();
        calls = faults_end();
        CHECK_EQ(left, 0);
        if (calls < fail_at) {
            CHECK_OK(rc, &err);
            break;
        }
        CHECK_EQ(rc, WLOAD_ERR_NOMEM);
    }
    CHECK(fail_at > 15);
}

int main(void)
{
    check_file_url();
    check_commit();
    check_bad_commits();
    check_list();
    check_bad_lists();
    check_endless_list();
    check_failures();
    return 0;
}
