/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP over libcurl: one easy handle for each line, which keeps its connections. */
#define CURL_DISABLE_DEPRECATION /* what replaces CURLOPT_PROTOCOLS is unknown before 7.85 */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/libcurl.h"
#include "base/sys.h"
#include "cache/http.h"
#include "cache/http_headers.h"

#define HEADERS_BYTES_MAX (256u << 10)
#define BUFFER_BYTES      (512L << 10)
#define TOKEN_PREFIX      "Authorization: Bearer "

_Static_assert(sizeof(TOKEN_PREFIX) + WL_CONFIG_TOKEN_BYTES_MAX <= WL_HTTP_URL_BYTES,
               "a header's line has room for every token");

struct wl_http {
    const struct wl_config *config;
    CURL *easy;
    char text[CURL_ERROR_SIZE];
};

/* One exchange on its way. */
struct exchange {
    CURL *easy;
    const struct wl_http_request *request;
    struct wl_http_response *response;
    size_t header_bytes;
    size_t ignored_bytes; /* of a redirect's body; read, so that the connection can be kept */
    int64_t heard_ns;     /* when the last byte came */
    int body_rc;          /* what on_body said */
    bool is_in_headers;
    bool has_body;
    bool has_enough; /* ended on purpose: nobody wants the rest of this body */
    bool is_flooded; /* more headers than any server needs */
    bool is_contradicted;
    bool is_stalled;
};

/* ---- SIGPIPE -------------------------------------------------------------------- */

/*
 * A write to a connection that the server has closed may raise SIGPIPE: libcurl
 * before 7.87 writes so where OpenSSL does it, and with CURLOPT_NOSIGNAL leaves the
 * signal to us.  It comes to the thread that writes, and would end a process that
 * has nothing to do with it.  So this thread blocks it meanwhile, and takes it back.
 */
struct pipe_guard {
    sigset_t mask; /* the caller's */
    bool was_pending;
};

static void hold_pipe_signal(struct pipe_guard *guard)
{
    sigset_t pipe_alone, pending;

    (void)sigpending(&pending);
    guard->was_pending = sigismember(&pending, SIGPIPE) == 1;
    (void)sigemptyset(&pipe_alone);
    (void)sigaddset(&pipe_alone, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_alone, &guard->mask);
}

/* One that was pending before is the caller's, and stays. */
static void drop_pipe_signal(const struct pipe_guard *guard)
{
    const struct timespec now = {0};
    sigset_t pipe_alone;

    (void)sigemptyset(&pipe_alone);
    (void)sigaddset(&pipe_alone, SIGPIPE);
    while (!guard->was_pending && sigtimedwait(&pipe_alone, NULL, &now) < 0 && errno == EINTR) {
    }
    (void)pthread_sigmask(SIG_SETMASK, &guard->mask, NULL);
}

/* ---- What libcurl calls --------------------------------------------------------- */

/* The address that `text` is on a page at `base`; "" if it is none. */
static void resolve(const char *base, const char *text, char out[WL_HTTP_URL_BYTES])
{
    CURLU *url = wl_libcurl->url();
    char *full = NULL;

    out[0] = '\0';
    if (url && wl_libcurl->url_set(url, CURLUPART_URL, base, 0) == CURLUE_OK &&
        wl_libcurl->url_set(url, CURLUPART_URL, text, CURLU_URLENCODE) == CURLUE_OK &&
        wl_libcurl->url_get(url, CURLUPART_URL, &full, 0) == CURLUE_OK &&
        strlen(full) < WL_HTTP_URL_BYTES) {
        (void)snprintf(out, WL_HTTP_URL_BYTES, "%s", full);
    }
    wl_libcurl->free(full);
    wl_libcurl->url_cleanup(url);
}

/* The blank line: all headers of this response are there. */
static void end_headers(struct exchange *exchange)
{
    struct wl_http_response *response = exchange->response;
    char given[WL_HTTP_URL_BYTES];
    long status = 0;

    exchange->is_in_headers = false;
    (void)wl_libcurl->easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    response->status = (int)status;
    if (response->location[0] != '\0') {
        memcpy(given, response->location, sizeof(given));
        resolve(exchange->request->url, given, response->location);
    }
    if (response->next[0] != '\0') {
        memcpy(given, response->next, sizeof(given));
        resolve(exchange->request->url, given, response->next);
    }
}

/* Called with one whole line at a time, of interim answers and of trailers, too. */
static size_t take_header(char *line, size_t one, size_t size, void *user)
{
    struct exchange *exchange = user;
    size_t length = size;

    (void)one;
    exchange->heard_ns = wl_clock_ns();
    exchange->header_bytes += size;
    if (exchange->header_bytes > HEADERS_BYTES_MAX) {
        exchange->is_flooded = true;
        return 0;
    }
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) {
        length--;
    }
    if (exchange->has_body) {
        return size;
    }
    if (!exchange->is_in_headers) {
        if (length >= 5 && memcmp(line, "HTTP/", 5) == 0) {
            wl_http_headers_begin(exchange->response);
            exchange->is_in_headers = true;
        }
    } else if (length == 0) {
        end_headers(exchange);
    } else if (!wl_http_headers_add(exchange->response, line, length)) {
        exchange->is_contradicted = true;
        return 0;
    }
    return size;
}

/* Keep the body of a refusal, as much of it as anybody would read. */
static size_t keep_error(struct exchange *exchange, const char *data, size_t size)
{
    struct wl_http_response *response = exchange->response;
    size_t room = WL_HTTP_ERROR_BYTES - response->body_bytes;
    size_t taken = size < room ? size : room;

    if (!response->body) {
        response->body = wl_sys->alloc(WL_HTTP_ERROR_BYTES + 1);
        if (!response->body) {
            exchange->has_enough = true; /* it only explains: go on without */
            return 0;
        }
    }
    memcpy(response->body + response->body_bytes, data, taken);
    response->body_bytes += taken;
    response->body[response->body_bytes] = '\0';
    exchange->has_enough = taken < size;
    return taken;
}

static size_t take_body(char *data, size_t one, size_t size, void *user)
{
    struct exchange *exchange = user;
    const struct wl_http_request *request = exchange->request;
    const struct wl_http_response *response = exchange->response;

    (void)one;
    exchange->has_body = true;
    if (response->status >= 400) {
        size = keep_error(exchange, data, size);
    } else if (response->status >= 300) {
        exchange->ignored_bytes += size;
        exchange->has_enough = exchange->ignored_bytes > WL_HTTP_ERROR_BYTES;
        size = exchange->has_enough ? 0 : size;
    } else {
        exchange->body_rc = request->on_body(request->user, response, data, size);
        size = exchange->body_rc == 0 ? size : 0;
    }
    exchange->heard_ns = wl_clock_ns();
    return size;
}

/* Called whenever something moved, and once a second when nothing does. */
static int watch(void *user, curl_off_t down_max, curl_off_t down, curl_off_t up_max, curl_off_t up)
{
    struct exchange *exchange = user;
    const struct wl_http_request *request = exchange->request;
    curl_off_t connected_us = 0;

    (void)down_max;
    (void)down;
    (void)up_max;
    (void)up;
    if (request->is_canceled && request->is_canceled(request->cancel_user)) {
        return 1;
    }
    if (exchange->heard_ns == 0) {
        /* Connecting has a limit of its own, and so has this one's beginning. */
        (void)wl_libcurl->easy_getinfo(exchange->easy, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
        exchange->heard_ns = connected_us > 0 ? wl_clock_ns() : 0;
        return 0;
    }
    exchange->is_stalled =
        wl_clock_ns() - exchange->heard_ns > request->stall_timeout_ms * INT64_C(1000000);
    return exchange->is_stalled;
}

/* ---- Life cycle ----------------------------------------------------------------- */

/* Goes on only while all went well; needs `code` and `easy` beside it. */
#define SET(option, value)                                           \
    do {                                                             \
        if (code == CURLE_OK) {                                      \
            code = wl_libcurl->easy_setopt(easy, (option), (value)); \
        }                                                            \
    } while (0)

/* What holds for all exchanges of a line. */
static CURLcode set_up(struct wl_http *http)
{
    const struct wl_config *config = http->config;
    CURLcode code = CURLE_OK;
    CURL *easy = http->easy;

    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_USERAGENT, config->user_agent);
    SET(CURLOPT_ERRORBUFFER, http->text);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_XFERINFOFUNCTION, watch);
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    if (config->ca_file || config->ca_path) { /* they replace the system's */
        SET(CURLOPT_CAINFO, config->ca_file);
        SET(CURLOPT_CAPATH, config->ca_file ? NULL : config->ca_path);
    }
    return code;
}

int wl_http_new(const struct wl_config *config, struct wl_http **out, struct wload_error *err)
{
    int rc = wl_libcurl_load(err);
    struct wl_http *http;
    CURLcode code;

    if (rc < 0) {
        return rc;
    }
    http = wl_sys->alloc(sizeof(*http));
    if (!http) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a connection");
    }
    http->config = config;
    http->easy = wl_libcurl->easy_init();
    code = http->easy ? set_up(http) : CURLE_OUT_OF_MEMORY;
    if (code != CURLE_OK) {
        wl_http_free(http);
        return wl_err_set(err,
                          code == CURLE_OUT_OF_MEMORY ? WLOAD_ERR_NOMEM : WLOAD_ERR_UNSUPPORTED,
                          "libcurl cannot be set up: %s", wl_libcurl->easy_strerror(code));
    }
    *out = http;
    return WLOAD_OK;
}

void wl_http_free(struct wl_http *http)
{
    struct pipe_guard guard;

    if (http) {
        hold_pipe_signal(&guard); /* TLS says goodbye */
        wl_libcurl->easy_cleanup(http->easy);
        drop_pipe_signal(&guard);
        wl_sys->free(http);
    }
}

void wl_http_response_clear(struct wl_http_response *response)
{
    wl_sys->free(response->body);
    *response = (struct wl_http_response){0};
}

/* ---- One exchange --------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool add_header(struct curl_slist **list,
                                                             const char *fmt, ...)
{
    char line[WL_HTTP_URL_BYTES];
    struct curl_slist *longer;
    va_list ap;
    int size;

    va_start(ap, fmt);
    size = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    longer = size > 0 && (size_t)size < sizeof(line) ? wl_libcurl->slist_append(*list, line) : NULL;
    *list = longer ? longer : *list;
    return longer;
}

static bool add_headers(struct curl_slist **list, const struct wl_http_request *request)
{
    bool is_range = request->range_end > 0;

    return add_header(list, "Accept-Encoding: identity") &&
           (!request->token || add_header(list, TOKEN_PREFIX "%s", request->token)) &&
           (!is_range || add_header(list, "Range: bytes=%" PRIu64 "-%" PRIu64, request->range_begin,
                                    request->range_end - 1)) &&
           (!is_range || !request->if_range || add_header(list, "If-Range: %s", request->if_range));
}

static CURLcode run(struct wl_http *http, struct exchange *exchange)
{
    const struct wl_http_request *request = exchange->request;
    struct curl_slist *headers = NULL;
    struct pipe_guard guard;
    CURLcode code = CURLE_OK;
    CURL *easy = http->easy;

    if (!add_headers(&headers, request)) {
        wl_libcurl->slist_free_all(headers);
        return CURLE_OUT_OF_MEMORY;
    }
    SET(CURLOPT_URL, request->url);
    /* A proxy's loopback is another machine, which has no business with the token. */
    SET(CURLOPT_NOPROXY, wl_http_is_loopback(request->url) ? "*" : NULL);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_HTTPGET, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    SET(CURLOPT_HEADERDATA, exchange);
    SET(CURLOPT_WRITEDATA, exchange);
    SET(CURLOPT_XFERINFODATA, exchange);
    if (code == CURLE_OK) {
        http->text[0] = '\0';
        hold_pipe_signal(&guard);
        code = wl_libcurl->easy_perform(easy);
        drop_pipe_signal(&guard);
    }
    (void)wl_libcurl->easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    wl_libcurl->slist_free_all(headers);
    return code;
}

/* Whether the same request may go better the next time. */
static bool is_passing(CURLcode code)
{
    static const CURLcode lasting[] = {
        CURLE_UNSUPPORTED_PROTOCOL, CURLE_URL_MALFORMAT,         CURLE_NOT_BUILT_IN,
        CURLE_OUT_OF_MEMORY,        CURLE_SSL_CERTPROBLEM,       CURLE_PEER_FAILED_VERIFICATION,
        CURLE_SSL_CACERT_BADFILE,   CURLE_SSL_ENGINE_NOTFOUND,   CURLE_SSL_ISSUER_ERROR,
        CURLE_TOO_MANY_REDIRECTS,   CURLE_BAD_FUNCTION_ARGUMENT,
    };

    for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++) {
        if (code == lasting[i]) {
            return false;
        }
    }
    return true;
}

static int fail(const struct wl_http *http, const struct exchange *exchange, CURLcode code,
                struct wload_error *err)
{
    const char *text = http->text[0] != '\0' ? http->text : wl_libcurl->easy_strerror(code);
    struct wl_http_response *response = exchange->response;
    char shown[WL_HTTP_TEXT_BYTES];

    wl_http_shown(exchange->request->url, shown);
    if (exchange->body_rc != 0) {
        return exchange->body_rc < 0
                   ? exchange->body_rc
                   : wl_err_set(err, WLOAD_ERR_CALLBACK, "'%.256s': its receiver ended it", shown);
    }
    if (exchange->is_flooded || exchange->is_contradicted) {
        return wl_err_set(err, WLOAD_ERR_NETWORK, "'%.256s': the server sends %s", shown,
                          exchange->is_flooded ? "more than 256 KiB of headers"
                                               : "the same header twice, with different values");
    }
    response->is_retryable = is_passing(code);
    response->is_unreached = code == CURLE_COULDNT_RESOLVE_PROXY ||
                             code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
                             (code == CURLE_OPERATION_TIMEDOUT && exchange->heard_ns == 0);
    if (exchange->is_stalled) {
        return wl_err_set(err, WLOAD_ERR_TIMEOUT, "'%.256s': nothing came for %" PRId64 " ms",
                          shown, exchange->request->stall_timeout_ms);
    }
    switch ((int)code) {
    case CURLE_ABORTED_BY_CALLBACK:
        response->is_retryable = false;
        return wl_err_set(err, WLOAD_ERR_CANCELED, "'%.256s': canceled", shown);
    case CURLE_OPERATION_TIMEDOUT:
        return wl_err_set(err, WLOAD_ERR_TIMEOUT, "'%.256s': %s", shown, text);
    case CURLE_OUT_OF_MEMORY:
        return wl_err_set(err, WLOAD_ERR_NOMEM,
                          "'%.256s': no memory for an answer, or a header beyond all bounds in it",
                          shown);
    default:
        return wl_err_set(err, WLOAD_ERR_NETWORK, "'%.256s': %s", shown, text);
    }
}

int wl_http_perform(struct wl_http *http, const struct wl_http_request *request,
                    struct wl_http_response *response, struct wload_error *err)
{
    struct exchange exchange = {.easy = http->easy, .request = request, .response = response};
    CURLcode code;

    wl_http_headers_begin(response);
    code = run(http, &exchange);
    return code == CURLE_OK || exchange.has_enough ? WLOAD_OK : fail(http, &exchange, code, err);
}
