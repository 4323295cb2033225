/* SPDX-License-Identifier: Apache-2.0 */
/* What a status >= 400 means, in words that say what to do about it. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cache/transfer_inner.h"

#define ADVICE_BYTES 320
#define SAID_BYTES   100
#define ID_BYTES     64
#define HINT_BYTES   200

#define LOG_IN "log in with `hf auth login` or set HF_TOKEN"

/* ---- What the server says ------------------------------------------------------- */

void wl_transfer_clean(const struct wl_transfer *transfer, const char *text, char *out,
                       size_t out_bytes)
{
    const char *token = transfer->config->token;
    size_t used = 0;

    out[0] = '\0';
    if (token && token[0] != '\0' && strstr(text, token)) {
        return; /* it repeats what must not be seen */
    }
    for (; *text && used + 1 < out_bytes; text++) {
        bool is_shown = *text > ' ' && *text < 0x7f;

        if (is_shown) {
            out[used++] = *text;
        } else if (used > 0 && out[used - 1] != ' ') {
            out[used++] = ' ';
        }
    }
    used -= used > 0 && out[used - 1] == ' ';
    out[used] = '\0';
}

/* The text in {"error": TEXT} or {"errors": [{"message": TEXT}]}, or NULL. */
static const char *text_of(const cJSON *root)
{
    const cJSON *error = wl_json_member(root, "error");
    const cJSON *errors = wl_json_member(root, "errors");

    if (!cJSON_IsString(error) && cJSON_IsArray(errors) && cJSON_IsObject(errors->child)) {
        error = wl_json_member(errors->child, "message");
    }
    return cJSON_IsString(error) ? error->valuestring : NULL;
}

/* From the header, else from the body unless that is a page for a browser. */
static void read_text(const struct wl_transfer *transfer, const struct wl_http_response *response,
                      char out[SAID_BYTES])
{
    const char *text = response->error_message;
    cJSON *root = NULL;

    if (text[0] == '\0' && response->body) {
        text = response->body + strspn(response->body, " \t\r\n");
        if (*text == '{' && wl_json_parse(response->body, response->body_bytes, "an answer", 0,
                                          &root, NULL) == WLOAD_OK) {
            text = text_of(root);
        }
        text = text && *text != '<' && *text != '{' ? text : "";
    }
    wl_transfer_clean(transfer, text, out, SAID_BYTES);
    cJSON_Delete(root);
}

/* ---- Whose page ----------------------------------------------------------------- */

static size_t segment(const char *text)
{
    return strcspn(text, "/");
}

static bool is_segment(const char *text, const char *word)
{
    return segment(text) == strlen(word) && strncmp(text, word, strlen(word)) == 0;
}

/* Whether what stands there is no part of a repository's name. */
static bool is_behind_name(const char *text)
{
    static const char *const words[] = {"resolve", "tree", "revision", "refs"};

    for (size_t i = 0; i < WL_COUNT_OF(words); i++) {
        if (is_segment(text, words[i])) {
            return true;
        }
    }
    return *text == '\0';
}

/* The page where its conditions stand: "<endpoint>/org/name". */
static void page_of(const struct wl_transfer *transfer, const char *url, char *out, size_t room)
{
    char endpoint[WL_HTTP_TEXT_BYTES];
    char shown[WL_HTTP_TEXT_BYTES];
    const char *kind = "";
    const char *name;
    size_t size;

    wl_http_shown(url, shown);
    wl_http_shown(transfer->config->endpoint, endpoint);
    if (!wl_str_starts(shown, endpoint) || shown[strlen(endpoint)] != '/') {
        (void)snprintf(out, room, "%.128s", endpoint);
        return;
    }
    name = shown + strlen(endpoint) + 1;
    name += wl_str_starts(name, "api/") ? 4 : 0;
    if (is_segment(name, "datasets") || is_segment(name, "spaces")) {
        kind = *name == 'd' ? "datasets/" : "spaces/";
    }
    if (kind[0] != '\0' || is_segment(name, "models")) {
        name += segment(name);
        name += *name == '/';
    }
    size = segment(name);
    if (name[size] == '/' && !is_behind_name(name + size + 1)) {
        size += 1 + segment(name + size + 1);
    }
    (void)snprintf(out, room, "%.128s/%s%.*s", endpoint, kind, (int)wl_min(size, 100), name);
}

/* ---- Which refusal -------------------------------------------------------------- */

struct refusal {
    int code;
    char advice[ADVICE_BYTES];
};

__attribute__((format(printf, 3, 4))) static void say(struct refusal *refusal, int code,
                                                      const char *fmt, ...)
{
    va_list ap;

    refusal->code = code;
    va_start(ap, fmt);
    (void)vsnprintf(refusal->advice, sizeof(refusal->advice), fmt, ap);
    va_end(ap);
}

static bool sends_token(const struct wl_transfer *transfer)
{
    return transfer->config->token && !wl_transfer_withholds_token(transfer);
}

/* How the next request has a token, where this one had none: why the one that there is stayed
 * here, or `joint` and how to get one, if `joint` is not NULL.  Where this one had a token: "". */
static const char *hint_of(const struct wl_transfer *transfer, const char *joint,
                           char out[HINT_BYTES])
{
    const char *note = transfer->config->token_note;

    out[0] = '\0';
    if (wl_transfer_withholds_token(transfer)) {
        (void)snprintf(out, HINT_BYTES,
                       "; the endpoint is plain http: the token is not sent there without "
                       "WLOAD_ALLOW_HTTP_TOKEN=1");
    } else if (!transfer->config->token && note) {
        (void)snprintf(out, HINT_BYTES, "; no token: %s", note);
    } else if (!transfer->config->token && joint) {
        (void)snprintf(out, HINT_BYTES, "%s" LOG_IN, joint);
    }
    return out;
}

static void say_rate(const struct wl_transfer *transfer, const struct wl_http_response *response,
                     struct refusal *refusal)
{
    int64_t wait_s = response->rate_limit_left == 0 && response->rate_limit_reset_s >= 0
                         ? response->rate_limit_reset_s
                         : response->retry_after_s;
    bool has_one = transfer->config->token || transfer->config->token_note;
    const char *login = has_one ? "" : ", or " LOG_IN " for a higher limit";

    if (wait_s >= 0) {
        say(refusal, WLOAD_ERR_HTTP, "too many requests; try again in %" PRId64 " s%s", wait_s,
            login);
    } else {
        say(refusal, WLOAD_ERR_HTTP, "too many requests; try again later%s", login);
    }
}

/* A wrong token is told by these words alone; the status and the code that come with them are those
 * of a repository that is not there. */
static bool is_bad_token(const struct wl_transfer *transfer,
                         const struct wl_http_response *response)
{
    return transfer->config->token && response->status == 401 &&
           strcmp(response->error_message, "Invalid credentials in Authorization header") == 0;
}

/* By the hub's own error code.  False: it gives none, or another. */
static bool by_error_code(const struct wl_transfer *transfer, const char *url,
                          const struct wl_http_response *response, struct refusal *refusal)
{
    const char *code = response->error_code;
    char page[WL_HTTP_TEXT_BYTES];
    char hint[HINT_BYTES];

    if (strcmp(code, "RevisionNotFound") == 0) {
        say(refusal, WLOAD_ERR_NOT_FOUND,
            "the repository has no such revision; check the branch, tag or commit");
    } else if (strcmp(code, "EntryNotFound") == 0) {
        say(refusal, WLOAD_ERR_NOT_FOUND, "the repository has no such file in this revision");
    } else if (strcmp(code, "GatedRepo") == 0) {
        page_of(transfer, url, page, sizeof(page));
        say(refusal, WLOAD_ERR_AUTH, "the repository is gated; accept its conditions at %s%s", page,
            hint_of(transfer, " and ", hint));
    } else if (strcmp(response->error_message, "Access to this resource is disabled.") == 0) {
        say(refusal, WLOAD_ERR_HTTP, "the hub has disabled access to the repository");
    } else if (strcmp(code, "RepoNotFound") == 0) {
        say(refusal, WLOAD_ERR_NOT_FOUND, "no such repository, or a private one; check the name%s",
            sends_token(transfer) ? " and what the token may read"
                                  : hint_of(transfer, ", or ", hint));
    } else {
        return false;
    }
    return true;
}

static void by_status(const struct wl_transfer *transfer, const struct wl_http_response *response,
                      struct refusal *refusal)
{
    bool has_token = sends_token(transfer);
    char hint[HINT_BYTES];

    switch (response->status) {
    case 401:
        say(refusal, WLOAD_ERR_AUTH, "not found, or not accessible; check the name%s",
            has_token ? " and what the token may read" : hint_of(transfer, ", or ", hint));
        return;
    case 403:
        say(refusal, WLOAD_ERR_AUTH, "forbidden%s",
            has_token ? "; the token may not read this" : hint_of(transfer, "; ", hint));
        return;
    case 404:
    case 410:
        say(refusal, WLOAD_ERR_NOT_FOUND, "not found; check the names%s",
            hint_of(transfer, NULL, hint));
        return;
    case 407:
        say(refusal, WLOAD_ERR_AUTH, "the proxy wants a user name and a password");
        return;
    case 429:
        say_rate(transfer, response, refusal);
        return;
    default:
        say(refusal, WLOAD_ERR_HTTP, "%s",
            response->status >= 500 ? "the server fails; try again later"
                                    : "the server does not take the request");
    }
}

int wl_transfer_refusal(const struct wl_transfer *transfer, const char *url,
                        const struct wl_http_response *response, struct wload_error *err)
{
    bool is_own = wl_http_is_same_origin(url, transfer->config->endpoint);
    struct refusal refusal = {0};
    char shown[WL_HTTP_TEXT_BYTES];
    char said[SAID_BYTES] = "";
    char id[ID_BYTES];
    int rc;

    if (is_own) {
        read_text(transfer, response, said);
        if (is_bad_token(transfer, response)) {
            say(&refusal, WLOAD_ERR_AUTH, "the token is not valid; " LOG_IN " again");
        } else if (!by_error_code(transfer, url, response, &refusal)) {
            by_status(transfer, response, &refusal);
        }
    } else if (response->status == 429 || response->status >= 500) {
        by_status(transfer, response, &refusal);
    } else {
        say(&refusal, WLOAD_ERR_HTTP,
            "the storage that the hub points to refuses its own address; "
            "is this machine's clock right?");
    }
    wl_transfer_clean(transfer, response->request_id, id, sizeof(id));
    rc =
        wl_err_set(err, refusal.code, "'%.128s' (HTTP %d): %s%s%s%s%s%s", wl_http_shown(url, shown),
                   response->status, refusal.advice, said[0] != '\0' ? "; it says: '" : "", said,
                   said[0] != '\0' ? "'" : "", id[0] != '\0' ? "; request " : "", id);
    if (err) {
        err->http_status = response->status;
    }
    return rc;
}
