/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: no header, address or refusal of a server crashes, or comes out of its
 * reader other than promised.
 * Method: read the input as header lines, as an address and as the body of a
 * refusal, and check what no input may change.
 */
#include <stdbool.h>
#include <strings.h>

#include "base/sys.h"
#include "cache/http_headers.h"
#include "cache/transfer.h"
#include "fuzz_driver.h"

#define HUB   "https://hub.example"
#define TOKEN "hf_NobodyMaySeeThis"

static bool is_printable(const char *text)
{
    while ((unsigned char)*text >= ' ' && *text != 0x7f) {
        text++;
    }
    return *text == '\0';
}

static void check_headers(const char *text, size_t size, struct wl_http_response *response)
{
    wl_http_headers_begin(response);
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;

        (void)wl_http_headers_add(response, text + at, length);
        at += length + 1;
    }
    CHECK(response->content_bytes >= -1 && response->retry_after_s >= -1);
    CHECK(response->rate_limit_left >= -1 && response->rate_limit_reset_s >= -1);
    CHECK((response->range_begin < 0) == (response->range_end < 0));
    CHECK(response->range_begin < 0 || response->range_begin < response->range_end);
    CHECK(response->range_total < 0 || response->range_end <= response->range_total);
    CHECK(is_printable(response->etag) && is_printable(response->linked_etag));
    CHECK(is_printable(response->commit) && is_printable(response->error_code));
    CHECK(is_printable(response->location) && is_printable(response->next));
}

static void check_url(const char *text)
{
    char out[WL_HTTP_TEXT_BYTES];

    wl_http_shown(text, out);
    CHECK(strlen(out) < sizeof(out) && is_printable(out) && !strpbrk(out, "?# "));
    if (wl_http_is_same_origin(text, HUB)) {
        CHECK(wl_http_is_same_origin(HUB, text));
        CHECK(strncasecmp(text, "https://", 8) == 0);
        CHECK(!wl_http_is_loopback(text));
    }
}

static void check_refusal(const char *text, size_t size, struct wl_http_response *response)
{
    static char endpoint[] = HUB;
    static char token[] = TOKEN;
    static const struct wl_config config = {.endpoint = endpoint, .token = token};
    static const struct wl_transfer transfer = {.config = &config};
    struct wload_error err = {0};
    char url[sizeof(HUB) + FUZZ_BYTES_MAX + 1];

    (void)snprintf(url, sizeof(url), HUB "/%s", strstr(text, TOKEN) ? "" : text);
    response->status = 400 + (int)(size % 200);
    response->body = wl_sys->alloc(size + 1);
    CHECK(response->body);
    memcpy(response->body, text, size);
    response->body_bytes = size;
    CHECK(wl_transfer_refusal(&transfer, url, response, &err) < 0);
    CHECK(is_printable(err.message) && !strstr(err.message, TOKEN));
    wl_http_response_clear(response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wl_http_response response;
    char text[FUZZ_BYTES_MAX + 1];

    if (size > FUZZ_BYTES_MAX) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    check_headers(text, size, &response);
    check_url(text);
    check_refusal(text, size, &response);
    return 0;
}
