/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever a server does, a range arrives byte for byte or fails with a
 * code and a text that say why; the token stays on the hub's origin.
 * Method: a hub and a storage on loopback that answer as each case wrote down;
 * check the bytes, what was asked, and that neither token nor signature is shown.
 */
#include "base/clock.h"
#include "base/err.h"
#include "cache/transfer.h"
#include "script_server.h"

#define SIZE      1000u
#define TOKEN     "hf_NobodyMaySeeThis"
#define SECRET    "X-Sig=SignedBySomebody"
#define HASH      "1111111111111111111111111111111111111111111111111111111111111111"
#define OTHER     "2222222222222222222222222222222222222222222222222222222222222222"
#define SHORT     "3333333333333333333333333333333333333333"
#define FILE_PATH "/org/model/resolve/main/weights"

static char data[SIZE + 100]; /* of the file, and what a server may send too much */

/* All that a case needs; one at a time. */
static struct {
    struct script_server hub;
    struct script_server storage;
    struct wl_config config;
    struct wl_transfer transfer;
    struct wl_http *http;
    struct wl_remote remote;
    struct wload_error err;
    pthread_mutex_t log_mutex;
    char log[1 << 16];
    char endpoint[64];
    char url[128];
    char got[SIZE];
    uint64_t got_end;
    int sink_rc;
} at;

static void keep_line(void *user, enum wload_log_level level, const char *component,
                      const char *line)
{
    size_t used;

    (void)user;
    (void)pthread_mutex_lock(&at.log_mutex);
    used = strlen(at.log);
    (void)snprintf(at.log + used, sizeof(at.log) - used, "%d %s: %s\n", (int)level, component,
                   line);
    (void)pthread_mutex_unlock(&at.log_mutex);
}

static void begin(void)
{
    const struct wl_log log = {.line = keep_line, .level = WLOAD_LOG_DEBUG};
    static char token[] = TOKEN;
    static char agent[] = "wload/test";

    memset(&at, 0, sizeof(at));
    CHECK(pthread_mutex_init(&at.log_mutex, NULL) == 0);
    script_start(&at.hub);
    script_start(&at.storage);
    (void)snprintf(at.endpoint, sizeof(at.endpoint), "http://127.0.0.1:%u", at.hub.port);
    (void)snprintf(at.url, sizeof(at.url), "%s" FILE_PATH, at.endpoint);
    at.config = (struct wl_config){
        .endpoint = at.endpoint,
        .token = token,
        .user_agent = agent,
        .metadata_timeout_ms = 20000,
        .download_timeout_ms = 20000,
    };
    at.remote =
        (struct wl_remote){.url = at.url, .name = "weights", .size_bytes = SIZE, .hash = HASH};
    CHECK_OK(wl_transfer_init(&at.transfer, &at.config, &log, 0, &at.err), &at.err);
    CHECK_OK(wl_http_new(&at.config, &at.http, &at.err), &at.err);
}

static void end(void)
{
    wl_http_free(at.http);
    wl_remote_clear(&at.remote);
    wl_transfer_clear(&at.transfer);
    script_stop(&at.hub);
    script_stop(&at.storage);
    (void)pthread_mutex_destroy(&at.log_mutex);
    CHECK(!strstr(at.log, TOKEN) && !strstr(at.log, SECRET));
    CHECK(!strstr(at.err.message, TOKEN) && !strstr(at.err.message, SECRET));
    for (uint32_t i = 0; i < at.storage.request_count; i++) {
        CHECK(!strstr(at.storage.requests[i], TOKEN));
    }
}

/* Tries after the first, as the log tells of them. */
static uint32_t retry_count(void)
{
    uint32_t count = 0;

    for (const char *line = at.log; (line = strstr(line, "; again in ")) != NULL; line++) {
        count++;
    }
    return count;
}

static int take(void *user, uint64_t offset, const void *bytes, size_t size)
{
    (void)user;
    if (at.sink_rc != 0) {
        return at.sink_rc < 0 ? wl_err_set(&at.err, at.sink_rc, "the sink's") : at.sink_rc;
    }
    CHECK_EQ(offset, at.got_end);
    CHECK(offset + size <= SIZE);
    memcpy(at.got + offset, bytes, size);
    at.got_end += size;
    return 0;
}

/* One range of the file; when it comes, it is right. */
static int range(uint64_t first, uint64_t last)
{
    int rc;

    at.got_end = first;
    memset(&at.err, 0, sizeof(at.err));
    rc = wl_transfer_range(&at.transfer, at.http, &at.remote, first, last, take, NULL, &at.err);
    if (rc == WLOAD_OK) {
        CHECK_EQ(at.got_end, last);
        CHECK(memcmp(at.got + first, data + first, last - first) == 0);
    } else {
        CHECK_EQ(at.err.code, rc);
        CHECK(at.err.message[0] != '\0');
    }
    return rc;
}

/* ---- Answers ------------------------------------------------------------------ */

/* As it should be; `more` are headers, each with its end. */
static void add_part(struct script_server *server, uint64_t first, uint64_t last, const char *more)
{
    script_add(server, SCRIPT_KEEP, data + first, last - first,
               "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64
               "/%u\r\nContent-Length: %" PRIu64 "\r\n%s",
               first, last - 1, SIZE, last - first, more);
}

static void add_status(struct script_server *server, int status, const char *more)
{
    script_add(server, SCRIPT_KEEP, "", 0, "HTTP/1.1 %d Nothing\r\nContent-Length: 0\r\n%s", status,
               more);
}

/* The hub says where the storage has it. */
static void add_redirect(const char *more)
{
    script_add(&at.hub, SCRIPT_KEEP, "moved", 5,
               "HTTP/1.1 302 Found\r\nContent-Length: 5\r\nX-Linked-Etag: \"" HASH "\"\r\n"
               "X-Linked-Size: %u\r\nETag: \"%s\"\r\nLocation: http://127.0.0.1:%u/blob?" SECRET
               "\r\n%s",
               SIZE, OTHER, at.storage.port, more);
}

static bool hub_has_token(uint32_t number)
{
    return script_was_asked(&at.hub, number, "\r\nAuthorization: Bearer " TOKEN "\r\n");
}

/* ---- Redirects and the token -------------------------------------------------- */

static void hub_answers_itself(void)
{
    begin();
    add_part(&at.hub, 100, 300, "ETag: \"" HASH "\"\r\n");
    add_part(&at.hub, 300, SIZE, "ETag: \"" HASH "\"\r\n");
    CHECK_OK(range(100, 300), &at.err);
    CHECK_OK(range(300, SIZE), &at.err);
    CHECK(script_was_asked(&at.hub, 0, "GET " FILE_PATH " HTTP/1.1\r\n"));
    CHECK(script_was_asked(&at.hub, 0, "\r\nRange: bytes=100-299\r\n"));
    CHECK(script_was_asked(&at.hub, 0, "\r\nAccept-Encoding: identity\r\n"));
    CHECK(script_was_asked(&at.hub, 0, "\r\nUser-Agent: wload/test\r\n"));
    CHECK(!script_was_asked(&at.hub, 0, "If-Range"));
    CHECK(script_was_asked(&at.hub, 1, "\r\nIf-Range: \"" HASH "\"\r\n"));
    CHECK(hub_has_token(0) && hub_has_token(1));
    CHECK_EQ(atomic_load(&at.transfer.received_bytes), SIZE - 100);
    CHECK(!wl_remote_refuses_ranges(&at.transfer, &at.remote));
    end();
    CHECK_EQ(at.hub.accept_count, 1);

    begin(); /* its own ETag may be a hash of something else */
    add_part(&at.hub, 0, SIZE, "ETag: \"" SHORT "\"\r\n");
    CHECK_OK(range(0, SIZE), &at.err);
    end();
}

static void redirects_keep_the_query(void)
{
    begin();
    add_status(&at.hub, 307, "Location: /api/resolve-cache/a/b?etag=%22x%22&c=d\r\n");
    add_status(&at.hub, 307, "Location: ?e=f#g\r\n");
    add_part(&at.hub, 0, SIZE, "");
    CHECK_OK(range(0, SIZE), &at.err);
    CHECK(script_was_asked(&at.hub, 1, "GET /api/resolve-cache/a/b?etag=%22x%22&c=d HTTP"));
    CHECK(script_was_asked(&at.hub, 2, "GET /api/resolve-cache/a/b?e=f HTTP"));
    CHECK(hub_has_token(1) && hub_has_token(2));
    end();
}

static void storage_gets_no_token(void)
{
    begin();
    add_redirect("");
    add_part(&at.storage, 0, 500, "ETag: \"tag\"\r\n");
    add_part(&at.storage, 500, SIZE, "ETag: \"tag\"\r\n");
    CHECK_OK(range(0, 500), &at.err);
    CHECK_OK(range(500, SIZE), &at.err); /* the hub is not asked again */
    CHECK(hub_has_token(0));
    CHECK(script_was_asked(&at.storage, 0, "GET /blob?" SECRET " HTTP"));
    CHECK(!script_was_asked(&at.storage, 0, "If-Range"));
    CHECK(script_was_asked(&at.storage, 1, "\r\nIf-Range: \"tag\"\r\n"));
    add_status(&at.storage, 307, "Location: /moved\r\n"); /* another thing, another ETag */
    add_part(&at.storage, 500, 600, "ETag: \"new\"\r\n");
    CHECK_OK(range(500, 600), &at.err);
    CHECK(script_was_asked(&at.storage, 2, "If-Range"));
    CHECK(!script_was_asked(&at.storage, 3, "If-Range"));
    end();
    CHECK_EQ(at.storage.accept_count, 1);
}

static void other_name_of_the_host_gets_no_token(void)
{
    char location[128];

    begin();
    (void)snprintf(location, sizeof(location), "Location: http://localhost:%u/blob\r\n",
                   at.hub.port);
    add_status(&at.hub, 302, location);
    add_part(&at.hub, 0, SIZE, "ETag: \"" OTHER "\"\r\n"); /* no hub's word: not compared */
    CHECK_OK(range(0, SIZE), &at.err);
    CHECK(hub_has_token(0));
    CHECK(!script_was_asked(&at.hub, 1, "Authorization"));
    end();
}

static void redirects_end(void)
{
    static const char *const nowhere[] = {
        "",
        "Location: ftp://127.0.0.1/a\r\n",
        "Location: http://\r\n",
        "Location: /a\x01\r\n",
        "Location: file:///etc/passwd\r\n",
    };

    begin();
    for (uint32_t i = 0; i <= WL_TRANSFER_HOPS_MAX; i++) {
        add_status(&at.hub, 302, "Location: " FILE_PATH "\r\n");
    }
    CHECK_EQ(range(0, SIZE), WLOAD_ERR_HTTP);
    CHECK_EQ(at.err.http_status, 302);
    CHECK(strstr(at.err.message, "too often"));
    end();
    for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
        begin();
        add_status(&at.hub, 302, nowhere[i]);
        CHECK(range(0, SIZE) < 0);
        CHECK(at.err.code == WLOAD_ERR_HTTP || at.err.code == WLOAD_ERR_NETWORK);
        end();
    }
}

/* ---- Answers that are not what was asked for ----------------------------------- */

/* Bytes 100 to 300 are asked for; all of these are refused at once. */
static void wrong_answers(void)
{
    static const struct {
        const char *head;
        const char *says;
    } cases[] = {
        {"206 x\r\nContent-Range: bytes 101-299/1000\r\n", "101"},
        {"206 x\r\nContent-Range: bytes 0-199/1000\r\n", "asked for"},
        {"206 x\r\nContent-Range: bytes 100-300/1000\r\n", "asked for"},
        {"206 x\r\nContent-Range: bytes 100-299/1001\r\n", "1001"},
        {"206 x\r\nContent-Range: bytes 100-299/999\r\n", "999"},
        {"206 x\r\nContent-Range: bytes 100-\r\n", "no range"},
        {"206 x\r\n", "no range"},
        {"200 x\r\nContent-Length: 200\r\n", "should have"},
        {"200 x\r\nContent-Length: 1001\r\n", "should have"},
        {"204 x\r\n", "204"},
        {"206 x\r\nContent-Range: bytes 100-299/1000\r\nContent-Encoding: gzip\r\n", "encoded"},
        {"206 x\r\nContent-Range: bytes 100-299/1000\r\nETag: \"" OTHER "\"\r\n", OTHER},
        {"206 x\r\nContent-Range: bytes 100-299/1000\r\nX-Linked-Size: 7\r\n", " 7 bytes"},
        {"416 x\r\nContent-Range: bytes */77\r\nContent-Length: 0\r\n", "77"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin();
        script_add(&at.hub, SCRIPT_CLOSE, data, 200, "HTTP/1.1 %s", cases[i].head);
        CHECK_EQ(range(100, 300), WLOAD_ERR_CHECKSUM);
        CHECK_EQ(at.err.http_status, strtol(cases[i].head, NULL, 10));
        CHECK(strstr(at.err.message, cases[i].says));
        CHECK(strstr(at.err.message, "weights"));
        CHECK_EQ(at.got_end, 100);
        end();
    }
}

/* A body that does not have the promised length is asked for again, then given up. */
static void wrong_lengths(void)
{
    begin();
    script_add(&at.hub, SCRIPT_CLOSE, data, 250,
               "HTTP/1.1 206 x\r\nContent-Range: bytes 0-199/1000\r\nContent-Length: 250\r\n");
    add_part(&at.hub, 0, 200, "");
    CHECK_OK(range(0, 200), &at.err);
    for (uint32_t i = 0; i < WL_TRANSFER_TRIES; i++) {
        script_add(&at.hub, SCRIPT_CLOSE, data, 150,
                   "HTTP/1.1 206 x\r\nContent-Range: bytes 0-199/1000\r\nContent-Length: 150\r\n");
    }
    CHECK_EQ(range(0, 200), WLOAD_ERR_NETWORK);
    CHECK_EQ(retry_count(), 1 + WL_TRANSFER_TRIES - 1);
    script_add(&at.hub, SCRIPT_CLOSE, data, 150,
               "HTTP/1.1 206 x\r\nContent-Range: bytes 0-199/1000\r\nContent-Length: 150\r\n");
    add_part(&at.hub, 1, 200, ""); /* this is not asked for again */
    CHECK_EQ(range(0, 200), WLOAD_ERR_CHECKSUM);
    end();
}

/* The hub's own word on the file comes with the redirect; the storage is not asked. */
static void hub_names_another_file(void)
{
    static const char *const heads[] = {
        "X-Linked-Etag: \"" OTHER "\"\r\n",
        "X-Linked-Etag: \"" SHORT "\"\r\n",
        "X-Linked-Etag: \"" HASH "\"\r\nX-Linked-Size: 999\r\n",
    };

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        begin();
        script_add(&at.hub, SCRIPT_KEEP, "", 0,
                   "HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:%u/b?" SECRET
                   "\r\n%s",
                   at.storage.port, heads[i]);
        CHECK_EQ(range(0, SIZE), WLOAD_ERR_CHECKSUM);
        CHECK(strstr(at.err.message, "the hub says"));
        end();
    }
}

static void file_changes(void)
{
    static const char *const changed[] = {
        "206 x\r\nContent-Range: bytes 500-999/1000\r\nETag: \"new\"\r\n",
        "200 x\r\nContent-Length: 1000\r\nETag: \"new\"\r\n", /* as If-Range has it */
    };

    for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++) {
        begin();
        add_redirect("");
        add_part(&at.storage, 0, 500, "ETag: \"old\"\r\n");
        script_add(&at.storage, SCRIPT_CLOSE, data, 500, "HTTP/1.1 %s", changed[i]);
        CHECK_OK(range(0, 500), &at.err);
        CHECK_EQ(range(500, SIZE), WLOAD_ERR_CHECKSUM);
        CHECK(strstr(at.err.message, "changed"));
        CHECK(script_was_asked(&at.storage, 1, "\r\nIf-Range: \"old\"\r\n"));
        CHECK_EQ(at.got_end, 500);
        end();
    }
    begin(); /* a weak one names no bytes: it is not sent */
    add_part(&at.hub, 0, 500, "ETag: W/\"weak\"\r\n");
    add_part(&at.hub, 500, SIZE, "ETag: W/\"other\"\r\n");
    CHECK_OK(range(0, 500), &at.err);
    CHECK_OK(range(500, SIZE), &at.err);
    CHECK(!script_was_asked(&at.hub, 1, "If-Range"));
    end();
}

static void server_without_ranges(void)
{
    begin();
    script_add(&at.hub, SCRIPT_KEEP, data, SIZE, "HTTP/1.1 200 x\r\nContent-Length: %u\r\n", SIZE);
    script_add(&at.hub, SCRIPT_CLOSE, data, SIZE, "HTTP/1.1 200 x\r\n");
    script_add(&at.hub, SCRIPT_CLOSE, data, SIZE - 300, "HTTP/1.1 200 x\r\n");
    script_add(&at.hub, SCRIPT_CLOSE, data, SIZE, "HTTP/1.1 200 x\r\n");
    CHECK_OK(range(100, 300), &at.err);
    CHECK(wl_remote_refuses_ranges(&at.transfer, &at.remote));
    CHECK_OK(range(400, 401), &at.err);
    CHECK_OK(range(0, SIZE), &at.err); /* goes on from byte 700 of the whole */
    CHECK(script_was_asked(&at.hub, 3, "\r\nRange: bytes=700-999\r\n"));
    wl_remote_reset(&at.transfer, &at.remote);
    CHECK(!wl_remote_refuses_ranges(&at.transfer, &at.remote));
    end();
}

/* ---- Bodies that break off ------------------------------------------------------ */

static void broken_bodies(void)
{
    begin();
    script_add(&at.hub, SCRIPT_RESET, data, 120,
               "HTTP/1.1 206 x\r\nContent-Range: bytes 0-999/1000\r\nContent-Length: 1000\r\n");
    script_add(&at.hub, SCRIPT_CLOSE, data + 120, 80,
               "HTTP/1.1 206 x\r\nContent-Range: bytes 120-999/1000\r\nContent-Length: 880\r\n");
    script_add(&at.hub, SCRIPT_CLOSE, data + 200, 100,
               "HTTP/1.1 206 x\r\nContent-Range: bytes 200-999/1000\r\n");
    add_part(&at.hub, 300, 400, ""); /* less than was asked for: legal */
    add_part(&at.hub, 400, SIZE, "");
    CHECK_OK(range(0, SIZE), &at.err);
    CHECK(script_was_asked(&at.hub, 1, "\r\nRange: bytes=120-999\r\n"));
    CHECK(script_was_asked(&at.hub, 2, "\r\nRange: bytes=200-999\r\n"));
    CHECK(script_was_asked(&at.hub, 3, "\r\nRange: bytes=300-999\r\n"));
    CHECK(script_was_asked(&at.hub, 4, "\r\nRange: bytes=400-999\r\n"));
    CHECK_EQ(retry_count(), 3);
    CHECK_EQ(atomic_load(&at.transfer.received_bytes), SIZE);
    end();
}

/* As often as it takes while bytes come; so often without any. */
static void tries_are_counted_without_progress(void)
{
    begin();
    for (uint32_t i = 0; i < 2 * WL_TRANSFER_TRIES; i++) {
        script_add(&at.hub, SCRIPT_RESET, data + i, 1,
                   "HTTP/1.1 206 x\r\nContent-Range: bytes %u-999/1000\r\nContent-Length: %u\r\n",
                   i, SIZE - i);
    }
    for (uint32_t i = 1; i < WL_TRANSFER_TRIES; i++) { /* the last one's break was the first */
        script_add(&at.hub, SCRIPT_RESET, "", 0,
                   "HTTP/1.1 206 x\r\nContent-Range: bytes 12-999/1000\r\n");
    }
    CHECK_EQ(range(0, SIZE), WLOAD_ERR_NETWORK);
    CHECK_EQ(at.got_end, 2 * WL_TRANSFER_TRIES);
    end();
}

static void long_bodies(void)
{
    const char *head = "HTTP/1.1 206 x\r\nContent-Range: bytes 0-199/1000\r\n";

    begin();
    script_add(&at.hub, SCRIPT_CLOSE, data, 201, "%s", head);
    add_part(&at.hub, 199, 200, ""); /* the end once more, now as it should be */
    CHECK_OK(range(0, 200), &at.err);
    script_add(&at.hub, SCRIPT_CLOSE, data, 250, "%s", head);
    for (uint32_t i = 1; i < WL_TRANSFER_TRIES; i++) {
        script_add(&at.hub, SCRIPT_CLOSE, data + 199, 2,
                   "HTTP/1.1 206 x\r\nContent-Range: bytes 199-199/1000\r\n");
    }
    CHECK_EQ(range(0, 200), WLOAD_ERR_NETWORK);
    CHECK(strstr(at.err.message, "more bytes"));
    end();
}

static void stalled_body(void)
{
    begin();
    at.config.download_timeout_ms = 200;
    script_add(&at.hub, SCRIPT_HANG, data, 120,
               "HTTP/1.1 206 x\r\nContent-Range: bytes 0-999/1000\r\nContent-Length: 1000\r\n");
    add_part(&at.hub, 120, SIZE, "");
    CHECK_OK(range(0, SIZE), &at.err);
    CHECK(strstr(at.log, "nothing came for 200 ms"));
    end();
}

/* ---- Addresses that expire -------------------------------------------------------- */

static void expired_address(void)
{
    begin();
    add_redirect("");
    add_part(&at.storage, 0, 100, "ETag: \"tag\"\r\n");
    add_status(&at.storage, 403, "");
    add_redirect("");
    add_part(&at.storage, 100, 200, "ETag: \"another storage's tag\"\r\n");
    add_status(&at.storage, 400, "");
    add_redirect("");
    add_status(&at.storage, 401, "");
    CHECK_OK(range(0, 100), &at.err);
    CHECK_OK(range(100, 200), &at.err);
    CHECK_EQ(range(200, 300), WLOAD_ERR_HTTP); /* fresh, and refused all the same */
    CHECK_EQ(at.err.http_status, 401);
    CHECK(strstr(at.err.message, "clock"));
    end();
    CHECK_EQ(at.hub.accept_count, 1); /* redirects leave the connection as it was */

    begin(); /* once for each progress */
    add_redirect("");
    for (uint32_t i = 0; i < 3; i++) {
        script_add(&at.storage, SCRIPT_CLOSE, data + i * 100, 100,
                   "HTTP/1.1 206 x\r\nContent-Range: bytes %u-999/1000\r\n", i * 100);
        add_status(&at.storage, 403, "");
        add_redirect("");
    }
    add_part(&at.storage, 300, SIZE, "");
    CHECK_OK(range(0, SIZE), &at.err);
    end();
}

/* ---- Waits -------------------------------------------------------------------------- */

static void failing_server(void)
{
    begin();
    add_status(&at.hub, 500, "");
    add_status(&at.hub, 502, "");
    add_status(&at.hub, 504, "");
    add_status(&at.hub, 408, "");
    add_status(&at.hub, 503, "");
    add_part(&at.hub, 0, SIZE, "");
    CHECK_OK(range(0, SIZE), &at.err);
    CHECK_EQ(retry_count(), 5);
    for (uint32_t i = 0; i < WL_TRANSFER_TRIES; i++) {
        add_status(&at.hub, 503, "");
    }
    CHECK_EQ(range(0, SIZE), WLOAD_ERR_HTTP);
    CHECK_EQ(at.err.http_status, 503);
    CHECK(strstr(at.err.message, "try again later"));
    add_status(&at.hub, 501, "");
    CHECK_EQ(range(0, SIZE), WLOAD_ERR_HTTP);
    end();

    begin(); /* the storage fails: the hub may know another one */
    add_redirect("");
    add_part(&at.storage, 0, 100, "");
    add_status(&at.storage, 502, "");
    add_redirect("");
    add_part(&at.storage, 100, SIZE, "");
    CHECK_OK(range(0, 100), &at.err);
    CHECK_OK(range(100, SIZE), &at.err);
    end();
}

/* In another thread, to be canceled. */
static void *range_apart(void *out)
{
    struct wl_remote remote = {.url = at.url, .name = "other", .size_bytes = SIZE, .hash = ""};
    struct wl_http *http;
    int *rc = out;

    CHECK_EQ(wl_http_new(&at.config, &http, NULL), WLOAD_OK);
    *rc = wl_transfer_range(&at.transfer, http, &remote, 0, SIZE, take, NULL, NULL);
    wl_http_free(http);
    wl_remote_clear(&remote);
    return NULL;
}

static int64_t paused_s(void)
{
    int64_t until_ns;

    (void)pthread_mutex_lock(&at.transfer.mutex);
    until_ns = at.transfer.paused_until_ns;
    (void)pthread_mutex_unlock(&at.transfer.mutex);
    return until_ns == 0 ? -1 : (until_ns - wl_clock_ns() + 999999999) / 1000000000;
}

/* One is told to wait, and all do; canceled, they come back at once. */
static void rate_limit(const char *header, int64_t expected_s)
{
    pthread_t threads[2];
    int rcs[2];
    int64_t told_s;

    begin();
    add_status(&at.hub, 429, header);
    CHECK(pthread_create(&threads[0], NULL, range_apart, &rcs[0]) == 0);
    do {
        told_s = paused_s();
        (void)poll(NULL, 0, 1);
    } while (told_s < 0);
    CHECK(told_s <= expected_s && told_s > expected_s - 20);
    CHECK(pthread_create(&threads[1], NULL, range_apart, &rcs[1]) == 0);
    wl_transfer_cancel(&at.transfer);
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK_EQ(rcs[i], WLOAD_ERR_CANCELED);
    }
    CHECK(strstr(at.log, "too many requests"));
    end();
}

static int count(void *user, uint64_t offset, const void *bytes, size_t size)
{
    uint64_t *next = user;

    CHECK_EQ(offset, *next);
    CHECK(memcmp(bytes, data + offset, size) == 0);
    *next += size;
    return 0;
}

static void *range_beside(void *unused)
{
    struct wl_http *http;
    uint64_t next = 0;

    (void)unused;
    CHECK_EQ(wl_http_new(&at.config, &http, NULL), WLOAD_OK);
    CHECK_EQ(wl_transfer_range(&at.transfer, http, &at.remote, 0, SIZE, count, &next, NULL),
             WLOAD_OK);
    CHECK_EQ(next, SIZE);
    wl_http_free(http);
    return NULL;
}

/* What one thread learns of a file, the others read. */
static void many_threads(void)
{
    pthread_t threads[8];
    const size_t thread_count = sizeof(threads) / sizeof(threads[0]);

    begin();
    for (size_t i = 0; i < thread_count; i++) {
        add_part(&at.hub, 0, SIZE, "ETag: \"" HASH "\"\r\n");
    }
    for (size_t i = 0; i < thread_count; i++) {
        CHECK(pthread_create(&threads[i], NULL, range_beside, NULL) == 0);
    }
    for (size_t i = 0; i < thread_count; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK_EQ(atomic_load(&at.transfer.received_bytes), thread_count * SIZE);
    end();
}

static void canceled_in_the_body(void)
{
    pthread_t thread;
    int rc;

    begin();
    script_add(&at.hub, SCRIPT_HANG, data, 120,
               "HTTP/1.1 206 x\r\nContent-Range: bytes 0-999/1000\r\nContent-Length: 1000\r\n");
    CHECK(pthread_create(&thread, NULL, range_apart, &rc) == 0);
    script_wait(&at.hub, 1);
    wl_transfer_cancel(&at.transfer);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQ(rc, WLOAD_ERR_CANCELED);
    CHECK_EQ(range(0, 1), WLOAD_ERR_CANCELED);
    end();
}

static void nobody_listens(void)
{
    begin();
    script_stop(&at.hub);
    CHECK_EQ(range(0, SIZE), WLOAD_ERR_NETWORK);
    CHECK_EQ(retry_count(), WL_TRANSFER_REACHES - 1);
    script_start(&at.hub);
    end();
}

/* ---- Sinks, headers ------------------------------------------------------------------ */

static void sink_stops(void)
{
    begin();
    add_part(&at.hub, 0, SIZE, "");
    add_part(&at.hub, 0, SIZE, "");
    at.sink_rc = WLOAD_ERR_NOSPACE;
    CHECK_EQ(range(0, SIZE), WLOAD_ERR_NOSPACE);
    CHECK_STR(at.err.message, "the sink's");
    at.sink_rc = 1;
    CHECK_EQ(range(0, SIZE), WLOAD_ERR_CANCELED);
    end();
}

static void only_last_headers_count(void)
{
    static const char trailers[] = "4\r\ngone\r\n0\r\nHTTP/1.1 206 OK: x\r\n\r\n";

    begin();
    script_add(&at.hub, SCRIPT_KEEP, data, SIZE,
               "HTTP/1.1 103 Early Hints\r\nX-Linked-Etag: \"" OTHER "\"\r\n"
               "Content-Range: bytes 5-6/7\r\n\r\n"
               "HTTP/1.1 206 x\r\nContent-Range: bytes 0-999/1000\r\nContent-Length: 1000\r\n");
    CHECK_OK(range(0, SIZE), &at.err);
    script_add(&at.hub, SCRIPT_CLOSE, data, SIZE,
               "HTTP/1.1 206 x\r\nContent-Range: bytes 0-999/1000\r\nETag: \"a\"\r\n"
               "ETag: \"b\"\r\n");
    CHECK_EQ(range(0, SIZE), WLOAD_ERR_NETWORK);
    CHECK(strstr(at.err.message, "twice"));
    script_add(&at.hub, SCRIPT_KEEP, trailers, strlen(trailers),
               "HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n");
    CHECK_EQ(range(0, SIZE), WLOAD_ERR_NOT_FOUND);
    CHECK(strstr(at.err.message, "'gone'"));
    end();
}

static void endless_headers(void)
{
    static char filler[(300u << 10) + 1];

    begin();
    for (size_t i = 0; i + 64 < sizeof(filler); i += 64) {
        (void)snprintf(filler + i, 65, "X-%060zu\r\n", i);
        filler[i + 20] = ':';
    }
    script_add(&at.hub, SCRIPT_CLOSE, filler, strlen(filler),
               "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 x\r\nContent-Range: bytes 0-999/1000");
    CHECK_EQ(range(0, SIZE), WLOAD_ERR_NETWORK);
    end();
}

int main(void)
{
    struct wl_config config = {0};
    struct wl_http *http;

    if (wl_http_new(&config, &http, NULL) == WLOAD_ERR_UNSUPPORTED) {
        (void)fprintf(stderr, "this build has no network\n");
        return TEST_SKIP;
    }
    wl_http_free(http);
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1); /* not for this machine's own servers */
    (void)setenv("WLOAD_RETRY_MS", "1", 1);
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (char)(i * 7 + i / 256);
    }
    hub_answers_itself();
    redirects_keep_the_query();
    storage_gets_no_token();
    other_name_of_the_host_gets_no_token();
    redirects_end();
    wrong_answers();
    wrong_lengths();
    hub_names_another_file();
    file_changes();
    server_without_ranges();
    broken_bodies();
    tries_are_counted_without_progress();
    long_bodies();
    stalled_body();
    expired_address();
    failing_server();
    rate_limit("Retry-After: 1000000\r\n", WL_TRANSFER_PAUSE_MAX);
    rate_limit("RateLimit: \"api\";r=0;t=77\r\nRetry-After: 5\r\n", 78);
    many_threads();
    canceled_in_the_body();
    nobody_listens();
    sink_stops();
    only_last_headers_count();
    endless_headers();
    return 0;
}
