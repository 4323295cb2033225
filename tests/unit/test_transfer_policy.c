/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: who gets the token, where redirects and next pages may lead, what the
 * refusals of a hub become, and that nothing a server says shows a secret.
 * Method: a double of one HTTP exchange that answers as each case wrote down, so
 * that https and names of hosts need neither certificates nor a network.
 */
#include "base/base.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/http_headers.h"
#include "cache/transfer.h"
#include "test.h"

#define HUB     "https://hub.example"
#define TOKEN   "hf_NobodyMaySeeThis"
#define ANSWERS 24

struct answer {
    const char *headers; /* lines that end with '\n' */
    const char *body;
    int status;
};

static struct {
    struct answer answers[ANSWERS];
    size_t count;
    size_t asked;
    char urls[ANSWERS][256];
    bool has_token[ANSWERS];
} line;

static struct {
    struct wl_config config;
    struct wl_transfer transfer;
    struct wload_error err;
    char log[1 << 14];
    char got[256];
} at;

/* ---- The double: addresses are taken as they come ------------------------------- */

int wl_http_new(const struct wl_config *config, struct wl_http **out, struct wload_error *err)
{
    (void)config;
    (void)err;
    *out = NULL;
    return WLOAD_OK;
}

void wl_http_free(struct wl_http *http)
{
    (void)http;
}

void wl_http_response_clear(struct wl_http_response *response)
{
    wl_sys->free(response->body);
    *response = (struct wl_http_response){0};
}

int wl_http_perform(struct wl_http *http, const struct wl_http_request *request,
                    struct wl_http_response *response, struct wload_error *err)
{
    const struct answer *answer = &line.answers[line.asked];

    (void)http;
    (void)err;
    CHECK(line.asked < line.count);
    line.has_token[line.asked] = request->token;
    CHECK(!request->token || strcmp(request->token, TOKEN) == 0);
    (void)snprintf(line.urls[line.asked++], sizeof(line.urls[0]), "%s", request->url);

    wl_http_headers_begin(response);
    for (const char *at_line = answer->headers; *at_line; at_line = strchr(at_line, '\n') + 1) {
        CHECK(wl_http_headers_add(response, at_line, strcspn(at_line, "\n")));
    }
    response->status = answer->status;
    if (answer->body && answer->status >= 400) {
        response->body = wl_str_new("%s", answer->body);
        response->body_bytes = strlen(answer->body);
    } else if (answer->body) {
        return request->on_body(request->user, response, answer->body, strlen(answer->body));
    }
    return WLOAD_OK;
}

/* ---- The frame -------------------------------------------------------------------- */

static void keep_line(void *user, enum wload_log_level level, const char *component,
                      const char *text)
{
    size_t used = strlen(at.log);

    (void)user;
    (void)snprintf(at.log + used, sizeof(at.log) - used, "%d %s %s\n", (int)level, component, text);
}

static void begin(const char *endpoint, bool has_token)
{
    const struct wl_log log = {.line = keep_line, .level = WLOAD_LOG_DEBUG};
    static char token[] = TOKEN;
    static char place[64];

    memset(&at, 0, sizeof(at));
    memset(&line, 0, sizeof(line));
    (void)snprintf(place, sizeof(place), "%s", endpoint);
    at.config = (struct wl_config){.endpoint = place, .token = has_token ? token : NULL};
    CHECK_OK(wl_transfer_init(&at.transfer, &at.config, &log, 0, &at.err), &at.err);
}

static void end(void)
{
    wl_transfer_clear(&at.transfer);
    CHECK_EQ(line.asked, line.count);
    CHECK(!strstr(at.log, TOKEN) && !strstr(at.log, "secret"));
    CHECK(!strstr(at.err.message, TOKEN) && !strstr(at.err.message, "secret"));
    CHECK(!strpbrk(at.err.message, "\n\r\x1b"));
}

static void add(int status, const char *headers, const char *body)
{
    CHECK(line.count < ANSWERS);
    line.answers[line.count++] = (struct answer){headers, body, status};
}

/* The text is then in at.got. */
static int ask(const char *url, size_t max_bytes)
{
    struct wl_transfer_text text = {0};
    int rc;

    memset(&at.err, 0, sizeof(at.err));
    rc = wl_transfer_text(&at.transfer, NULL, url, max_bytes, &text, &at.err);
    if (rc == WLOAD_OK) {
        CHECK_EQ(strlen(text.text), text.size_bytes);
        (void)snprintf(at.got, sizeof(at.got), "%s|%s", text.text, text.next ? text.next : "");
    } else {
        CHECK_EQ(at.err.code, rc);
        CHECK(!text.text && !text.next);
    }
    wl_sys->free(text.text);
    wl_sys->free(text.next);
    return rc;
}

static int take(void *user, uint64_t offset, const void *data, size_t size_bytes)
{
    (void)user;
    CHECK_EQ(offset, 0);
    (void)snprintf(at.got, sizeof(at.got), "%.*s", (int)size_bytes, (const char *)data);
    return 0;
}

static int get(const char *url)
{
    struct wl_remote remote = {.url = url, .name = "weights", .size_bytes = 4, .hash = ""};
    int rc;

    memset(&at.err, 0, sizeof(at.err));
    rc = wl_transfer_range(&at.transfer, NULL, &remote, 0, 4, take, NULL, &at.err);
    wl_remote_clear(&remote);
    return rc;
}

/* ---- Texts -------------------------------------------------------------------------- */

static void texts(void)
{
    begin(HUB, true);
    add(200, "Link: <" HUB "/api/2>; rel=\"next\"\n", "one");
    add(200, "", NULL);
    add(307, "Location: " HUB "/api/new\n", NULL); /* a renamed repository */
    add(200, "", "new");
    CHECK_OK(ask(HUB "/api/1", 3), &at.err);
    CHECK_STR(at.got, "one|" HUB "/api/2");
    CHECK_OK(ask(HUB "/api/2", 3), &at.err);
    CHECK_STR(at.got, "|");
    CHECK_OK(ask(HUB "/api/old", 3), &at.err);
    CHECK_STR(at.got, "new|");
    CHECK(line.has_token[0] && line.has_token[2] && line.has_token[3]);
    CHECK_STR(line.urls[3], HUB "/api/new");
    add(200, "", "four");
    CHECK_EQ(ask(HUB "/api/1", 3), WLOAD_ERR_HTTP);
    CHECK(strstr(at.err.message, "longer"));
    add(200, "Content-Encoding: gzip\n", "zip");
    CHECK_EQ(ask(HUB "/api/1", 3), WLOAD_ERR_HTTP);
    CHECK(strstr(at.err.message, "encoded"));
    end();
}

/* Neither a request nor a page is taken from another place. */
static void texts_stay_at_home(void)
{
    static const char *const elsewhere[] = {
        "https://evil.example/?secret",     "http://hub.example/?secret",
        "https://hub.example:8443/?secret", "https://hub.example@evil.example/?secret",
        "https://cdn.hub.example/?secret",
    };
    char header[128];

    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
        begin(HUB, true);
        (void)snprintf(header, sizeof(header), "Link: <%s>; rel=next\n", elsewhere[i]);
        add(200, header, "x");
        CHECK_EQ(ask(HUB "/api", 9), WLOAD_ERR_HTTP);
        (void)snprintf(header, sizeof(header), "Location: %s\n", elsewhere[i]);
        line.answers[line.count++] = (struct answer){header, NULL, 302};
        CHECK_EQ(ask(HUB "/api", 9), WLOAD_ERR_HTTP);
        CHECK_EQ(ask(elsewhere[i], 9), WLOAD_ERR_HTTP);
        end();
    }
    begin(HUB, true);
    at.config.is_offline = true;
    CHECK_EQ(ask(HUB "/api", 9), WLOAD_ERR_NETWORK);
    CHECK(strstr(at.err.message, "offline"));
    end();
}

/* ---- Token ---------------------------------------------------------------------------- */

static void token_over_http(void)
{
    begin("http://mirror.example", true);
    add(200, "", "one");
    add(200, "", "two");
    CHECK_OK(ask("http://mirror.example/a", 9), &at.err);
    CHECK_OK(ask("http://mirror.example/b", 9), &at.err);
    CHECK(!line.has_token[0] && !line.has_token[1]);
    at.config.allows_http_token = true;
    add(200, "", "three");
    CHECK_OK(ask("http://mirror.example/c", 9), &at.err);
    CHECK(line.has_token[2]);
    end();
    begin("http://127.0.0.1:8080", true);
    add(200, "", "one");
    CHECK_OK(ask("http://127.0.0.1:8080/a", 9), &at.err);
    CHECK(line.has_token[0]);
    end();
}

static void token_and_redirects(void)
{
    begin(HUB, true);
    add(302, "Location: https://cdn.example/a?secret\n", NULL);
    add(302, "Location: " HUB "/back\n", NULL);
    add(206, "Content-Range: bytes 0-3/4\n", "data");
    CHECK_OK(get(HUB "/a"), &at.err);
    CHECK_STR(at.got, "data");
    CHECK(line.has_token[0] && !line.has_token[1] && line.has_token[2]);
    end();

    begin(HUB, true); /* never from https to http, whoever asks for it */
    add(302, "Location: http://hub.example/a?secret\n", NULL);
    CHECK_EQ(get(HUB "/a"), WLOAD_ERR_HTTP);
    CHECK(strstr(at.err.message, "https"));
    add(302, "Location: https://cdn.example/a?secret\n", NULL);
    add(302, "Location: http://cdn.example/a?secret\n", NULL);
    CHECK_EQ(get(HUB "/a"), WLOAD_ERR_HTTP);
    end();

    begin("http://127.0.0.1:8080", true); /* up is allowed */
    add(302, "Location: https://cdn.example/a\n", NULL);
    add(206, "Content-Range: bytes 0-3/4\n", "data");
    CHECK_OK(get("http://127.0.0.1:8080/a"), &at.err);
    CHECK(!line.has_token[1]);
    end();
}

/* ---- Refusals --------------------------------------------------------------------------- */

static void refusals(void)
{
    static const struct {
        const char *headers;
        const char *body;
        int status;
        int code;
        bool has_token;
        const char *says;
    } cases[] = {
        {"X-Error-Code: RepoNotFound\n", NULL, 404, WLOAD_ERR_NOT_FOUND, true, "no such repo"},
        {"X-Error-Code: RepoNotFound\n", NULL, 401, WLOAD_ERR_NOT_FOUND, false, "hf auth login"},
        {"X-Error-Code: RevisionNotFound\n", NULL, 404, WLOAD_ERR_NOT_FOUND, true, "revision"},
        {"X-Error-Code: EntryNotFound\n", NULL, 404, WLOAD_ERR_NOT_FOUND, true, "no such file"},
        {"X-Error-Code: GatedRepo\n", NULL, 401, WLOAD_ERR_AUTH, false,
         "accept its conditions at " HUB
         "/org/name and log in with `hf auth login` or set HF_TOKEN"},
        {"X-Error-Code: GatedRepo\n", NULL, 403, WLOAD_ERR_AUTH, true,
         "accept its conditions at " HUB "/org/name"},
        {"X-Error-Message: Access to this resource is disabled.\n", NULL, 403, WLOAD_ERR_HTTP, true,
         "disabled"},
        {"", NULL, 401, WLOAD_ERR_AUTH, false, "not found, or not accessible"},
        {"X-Error-Message: Invalid credentials in Authorization header\n", NULL, 401,
         WLOAD_ERR_AUTH, true, "the token is not valid"},
        {"X-Error-Code: RepoNotFound\n"
         "X-Error-Message: Invalid credentials in Authorization header\n",
         NULL, 401, WLOAD_ERR_AUTH, true, "the token is not valid"},
        {"", NULL, 403, WLOAD_ERR_AUTH, true, "the token may not read this"},
        {"", NULL, 403, WLOAD_ERR_AUTH, false, "log in"},
        {"", NULL, 404, WLOAD_ERR_NOT_FOUND, true, "not found"},
        {"RateLimit: \"api\";r=0;t=55\n", NULL, 429, WLOAD_ERR_HTTP, false, "in 55 s, or log in"},
        {"Retry-After: 7\n", NULL, 429, WLOAD_ERR_HTTP, true, "in 7 s"},
        {"", NULL, 429, WLOAD_ERR_HTTP, true, "try again later"},
        {"", NULL, 500, WLOAD_ERR_HTTP, true, "the server fails"},
        {"", "{\"error\":\"too  many\\n\\u001bfiles\"}", 400, WLOAD_ERR_HTTP, true,
         "says: 'too many files'"},
        {"", "{\"errors\":[{\"message\":\"bad page\"}]}", 400, WLOAD_ERR_HTTP, true, "'bad page'"},
        {"", "plain words", 400, WLOAD_ERR_HTTP, true, "says: 'plain words'"},
        {"", "<html>secret</html>", 400, WLOAD_ERR_HTTP, true, "does not take the request"},
        {"", "{\"error\":", 400, WLOAD_ERR_HTTP, true, "does not take the request"},
        {"", "your token " TOKEN " is bad", 401, WLOAD_ERR_AUTH, true, "what the token may read"},
        {"X-Error-Message: " TOKEN "\n", NULL, 403, WLOAD_ERR_AUTH, true, "may not read"},
        {"X-Request-Id: id-1\n", NULL, 503, WLOAD_ERR_HTTP, true, "; request id-1"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wl_http_response response;

        begin(HUB, cases[i].has_token);
        add(cases[i].status, cases[i].headers, cases[i].body);
        CHECK_EQ(wl_http_perform(NULL, &(struct wl_http_request){.url = ""}, &response, NULL), 0);
        CHECK_EQ(wl_transfer_refusal(&at.transfer, HUB "/api/models/org/name/tree/main?secret",
                                     &response, &at.err),
                 cases[i].code);
        CHECK_EQ(at.err.code, cases[i].code);
        CHECK_EQ(at.err.http_status, cases[i].status);
        if (!strstr(at.err.message, cases[i].says)) {
            (void)fprintf(stderr, "case %zu: %s\n", i, at.err.message);
            exit(1);
        }
        CHECK_EQ(wl_transfer_refusal(&at.transfer, HUB, &response, NULL), cases[i].code);
        wl_http_response_clear(&response);
        end();
    }
}

/* A token that there is and was not sent: nothing is said of what it may read, nor to get one. */
static void refusals_for_want_of_the_token(void)
{
    static const struct {
        const char *headers;
        int status;
    } cases[] = {
        {"", 401},
        {"", 403},
        {"", 404},
        {"X-Error-Code: RepoNotFound\n", 404},
        {"X-Error-Code: GatedRepo\n", 401},
    };
    static char note[] = "cannot open '/token': Permission denied";

    for (size_t i = 0; i < 2 * WL_COUNT_OF(cases); i++) {
        bool is_withheld = i % 2 == 0;
        const char *hub = is_withheld ? "http://hub.example" : HUB;
        const char *says = is_withheld
                               ? "; the endpoint is plain http: the token is not sent there "
                                 "without WLOAD_ALLOW_HTTP_TOKEN=1"
                               : "; no token: cannot open '/token': Permission denied";
        struct wl_http_response response;
        const char *found;

        begin(hub, is_withheld);
        at.config.token_note = is_withheld ? NULL : note;
        add(cases[i / 2].status, cases[i / 2].headers, NULL);
        CHECK_EQ(wl_http_perform(NULL, &(struct wl_http_request){.url = ""}, &response, NULL), 0);
        CHECK(wl_transfer_refusal(&at.transfer, hub, &response, &at.err) < 0);
        found = strstr(at.err.message, says);
        CHECK(found && found[strlen(says)] == '\0');
        CHECK(!strstr(at.err.message, "may read") && !strstr(at.err.message, "log in"));
        wl_http_response_clear(&response);
        end();
    }
}

/* However much a server says, the advice is whole. */
static void long_refusals(void)
{
    struct wl_http_response response;
    char url[1200] = HUB "/";

    begin(HUB, false);
    memset(url + strlen(url), 'n', sizeof(url) - strlen(url) - 1);
    wl_http_headers_begin(&response);
    response.status = 401;
    memset(response.error_message, 'm', sizeof(response.error_message) - 1);
    memset(response.request_id, 'i', sizeof(response.request_id) - 1);
    CHECK_EQ(wl_transfer_refusal(&at.transfer, url, &response, &at.err), WLOAD_ERR_AUTH);
    CHECK(strstr(at.err.message, "set HF_TOKEN; it says: 'mmmm"));
    CHECK(strstr(at.err.message, "; request iiii"));
    end();
}

static void pages_of_repositories(void)
{
    static const char *const cases[][2] = {
        {HUB "/org/name/resolve/main/a", "at " HUB "/org/name"},
        {HUB "/datasets/org/name/resolve/main/a", "at " HUB "/datasets/org/name"},
        {HUB "/api/datasets/org/name/revision/main", "at " HUB "/datasets/org/name"},
        {HUB "/api/models/gpt2/tree/main", "at " HUB "/gpt2"},
        {HUB "/api/models/gpt2", "at " HUB "/gpt2"},
        {HUB "/gpt2/resolve/main/a/b", "at " HUB "/gpt2"},
        {HUB "/api/models", "at " HUB "/"},
        {HUB "/", "at " HUB "/"},
        {HUB "?a", "at " HUB},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wl_http_response response;

        begin(HUB, true);
        wl_http_headers_begin(&response);
        response.status = 403;
        (void)snprintf(response.error_code, sizeof(response.error_code), "GatedRepo");
        CHECK_EQ(wl_transfer_refusal(&at.transfer, cases[i][0], &response, &at.err),
                 WLOAD_ERR_AUTH);
        CHECK_STR(strstr(at.err.message, "at " HUB), cases[i][1]);
        end();
    }
}

/* What another server says is nobody's business, and its 401 says nothing of our token. */
static void refusals_of_others(void)
{
    begin(HUB, true);
    add(302, "Location: https://cdn.example/a?secret\n", NULL);
    add(401, "X-Error-Message: secret\n", "secret");
    add(302, "Location: https://cdn.example/b?secret\n", NULL);
    add(401, "X-Error-Code: GatedRepo\n", "secret");
    CHECK_EQ(get(HUB "/a"), WLOAD_ERR_HTTP);
    CHECK(strstr(at.err.message, "'https://cdn.example/b' (HTTP 401): the storage"));
    end();
}

static void warnings_of_the_hub(void)
{
    static char topics[WL_TRANSFER_TOPICS + 2][64];

    begin(HUB, true);
    add(200, "X-HF-Warning: old; upgrade\x1b[2J now\n", "a");
    add(200, "X-HF-Warning: old; upgrade, please\n", "a");
    add(200, "X-HF-Warning: new; use " TOKEN "\n", "a");
    for (int i = 0; i < 3; i++) {
        CHECK_OK(ask(HUB "/api", 9), &at.err);
    }
    CHECK(strstr(at.log, "2 http the hub warns: upgrade [2J now\n"));
    CHECK(!strstr(at.log, "please"));
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        (void)snprintf(topics[i], sizeof(topics[0]), "X-HF-Warning: topic %zu; text %zu\n", i, i);
        add(200, topics[i], "a");
        CHECK_OK(ask(HUB "/api", 9), &at.err);
    }
    CHECK(strstr(at.log, "text 5\n"));
    CHECK(!strstr(at.log, "text 6\n")); /* eight in all */
    end();
}

/* ---- Pace --------------------------------------------------------------------------- */

/* 30 ms until the first 1 MB, then 1 MB in each 10 ms: the last 3 MB come while one waits. */
static void pace(void)
{
    const int64_t ms = 1000000;
    const uint64_t mb = 1000000;
    struct wl_transfer_pace pace = {.asked_ns = 5 * ms};

    for (uint64_t got = 1; got <= 20; got++) {
        int64_t now_ns = (35 + 10 * ((int64_t)got - 1)) * ms;

        CHECK_EQ(wl_transfer_is_ending(&pace, now_ns, got * mb, (20 - got) * mb), got >= 17);
    }
    pace = (struct wl_transfer_pace){.asked_ns = 5 * ms};
    CHECK(wl_transfer_is_ending(&pace, 6 * ms, 1, 0)); /* all at once */
    /* However long the wait was, half of a piece comes before the next is asked for. */
    pace = (struct wl_transfer_pace){.asked_ns = 1 * ms};
    for (uint64_t got = 1; got <= 20; got++) {
        CHECK_EQ(wl_transfer_is_ending(&pace, (900 + (int64_t)got) * ms, got * mb, (20 - got) * mb),
                 got >= 10);
    }
}

int main(void)
{
    pace();
    texts();
    texts_stay_at_home();
    token_over_http();
    token_and_redirects();
    refusals();
    refusals_for_want_of_the_token();
    long_refusals();
    pages_of_repositories();
    refusals_of_others();
    warnings_of_the_hub();
    return 0;
}
