/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: header lines become numbers and texts only where they are well formed.
 * Method: lines in, members out; each number once as it should be and once in
 * every way that a lenient reader would take.
 */
#include "cache/http_headers.h"
#include "test.h"

static struct wl_http_response response;

static bool add(const char *line)
{
    return wl_http_headers_add(&response, line, strlen(line));
}

static void begin(const char *line)
{
    wl_http_headers_begin(&response);
    CHECK(add(line));
}

static void check_numbers(void)
{
    static const char *const bad[] = {
        "Content-Length: ",     "Content-Length: -1",
        "Content-Length: +1",   "Content-Length: 1x",
        "Content-Length: 0x10", "Content-Length: 1 2",
        "Content-Length: 1,1",  "Content-Length: 9223372036854775808",
        "Content-Length",       "Content-Length : 5",
        " Content-Length: 5",
    };

    begin("Content-Length: 42");
    CHECK_EQ(response.content_bytes, 42);
    CHECK(add("content-length:\t42 "));
    CHECK(!add("Content-Length: 43"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        begin(bad[i]);
        CHECK_EQ(response.content_bytes, -1);
    }
    begin("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT");
    CHECK_EQ(response.retry_after_s, -1);
    begin("Retry-After: 7");
    CHECK_EQ(response.retry_after_s, 7);
}

static void check_content_range(void)
{
    static const char *const bad[] = {
        "Content-Range: bytes 5-4/10",
        "Content-Range: bytes 0-10/10",
        "Content-Range: bytes 0-9",
        "Content-Range: bytes -9/10",
        "Content-Range: bytes 0-/10",
        "Content-Range: 0-9/10",
        "Content-Range: bytes 0-9/1x",
        "Content-Range: lines 0-9/10",
        "Content-Range: bytes 0-9/",
        "Content-Range: bytes */",
        "Content-Range: bytes 0-99999999999999999999/*",
    };

    begin("Content-Range: bytes 0-9/10");
    CHECK_EQ(response.range_begin, 0);
    CHECK_EQ(response.range_end, 10);
    CHECK_EQ(response.range_total, 10);
    CHECK(!add("Content-Range: bytes 1-9/10"));
    begin("Content-Range: bytes 5-6/*");
    CHECK_EQ(response.range_end, 7);
    CHECK_EQ(response.range_total, -1);
    begin("Content-Range: bytes */77");
    CHECK_EQ(response.range_begin, -1);
    CHECK_EQ(response.range_total, 77);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        begin(bad[i]);
        CHECK_EQ(response.range_begin, -1);
        CHECK_EQ(response.range_end, -1);
        CHECK_EQ(response.range_total, -1);
    }
}

static void check_texts(void)
{
    char line[2 * WL_HTTP_URL_BYTES] = "ETag: ";

    begin("ETag: \"abc\"");
    CHECK_STR(response.etag, "\"abc\"");
    CHECK(add("etag: \"abc\""));
    CHECK(!add("ETag: \"abd\""));
    begin("ETag: a\x1b[31m");
    CHECK_STR(response.etag, "");

    memset(line + 6, 'a', WL_HTTP_TEXT_BYTES); /* one more than there is room for */
    begin(line);
    CHECK_STR(response.etag, "");
    memcpy(line, "X-Error-Message: ", 17); /* which may be cut */
    begin(line);
    CHECK_EQ(strlen(response.error_message), WL_HTTP_TEXT_BYTES - 11);
    memset(line, 'a', sizeof(line) - 1);
    memcpy(line, "Location: ", 10);
    begin(line);
    CHECK_STR(response.location, "");

    begin("X-Request-Id: one");
    CHECK(add("X-Request-Id: two"));
    CHECK_STR(response.request_id, "one");
    begin("Location: /a");
    CHECK(add("Location: /a"));
    CHECK(!add("Location: /b"));
    begin("Content-Encoding: gzip");
    CHECK(response.is_encoded);
    begin("Content-Encoding: Identity");
    CHECK(!response.is_encoded);
}

static void check_link(void)
{
    static const struct {
        const char *line;
        const char *next;
    } cases[] = {
        {"Link: <https://a/b?c=1,2>; rel=\"next\"", "https://a/b?c=1,2"},
        {"Link: </b>;rel=next", "/b"},
        {"Link: </a>; rel=\"prev\", </b>; rel=\"next\"", "/b"},
        {"Link: </a>; title=\"x, <y>; rel=next\"; rel=prev, </b>; rel=\"last NEXT\"", "/b"},
        {"Link: </a>; rel=\"nextdoor\"", ""},
        {"Link: </a>; title=\"rel=next\"", ""},
        {"Link: </a; rel=next", ""},
        {"Link: /a; rel=next", ""},
        {"Link: ,,,", ""},
        {"Link: <", ""},
        {"Link: <>; rel=\"", ""},
        {"Link: </a\x01>; rel=next", ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(cases[i].line);
        CHECK_STR(response.next, cases[i].next);
    }
}

static void check_rate_limit(void)
{
    begin("RateLimit: \"api\";r=0;t=55");
    CHECK_EQ(response.rate_limit_left, 0);
    CHECK_EQ(response.rate_limit_reset_s, 55);
    begin("RateLimit: \"a;r=9\" ; t=5 , \"b\";r=1;t=1");
    CHECK_EQ(response.rate_limit_left, -1);
    CHECK_EQ(response.rate_limit_reset_s, 5);
    begin("RateLimit: \"api;r=0;t=1");
    CHECK_EQ(response.rate_limit_left, -1);
    begin("RateLimit: x;r=-1;t=1.5");
    CHECK_EQ(response.rate_limit_left, -1);
    CHECK_EQ(response.rate_limit_reset_s, -1);
}

int main(void)
{
    check_numbers();
    check_content_range();
    check_texts();
    check_link();
    check_rate_limit();
    return 0;
}
