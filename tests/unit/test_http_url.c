/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: which addresses belong to one origin, which are this machine, and what
 * of an address may be shown; where two readers could see different hosts, none.
 * Method: tables of hostile and ordinary addresses.
 */
#include "cache/http.h"
#include "test.h"

#define HUB "https://hub.example"

static void check_origins(void)
{
    static const struct {
        const char *url;
        const char *other;
        bool is_same;
    } cases[] = {
        {HUB, HUB, true},
        {HUB "/a?b#c", HUB "/d", true},
        {HUB "?a", HUB, true},
        {HUB "#a", HUB, true},
        {"HTTPS://HUB.Example/", HUB, true},
        {HUB ":443/a", HUB, true},
        {HUB ":/a", HUB, true},
        {"https://user@hub.example/", HUB, true},
        {"http://[::1]:8080/a", "http://[::1]:8080", true},
        {"http://hub.example:80", "http://hub.example", true},
        {"http://hub.example", HUB, false},
        {"http://hub.example:443", HUB, false},
        {HUB ":444", HUB, false},
        {HUB ".evil.example/", HUB, false},
        {"https://cdn.hub.example/", HUB, false},
        {"https://hub.example@evil.example/", HUB, false},
        {"https://evil.example/@hub.example/", HUB, false},
        {"https://evil.example?@hub.example/", HUB, false},
        {"https://evil.example#@hub.example/", HUB, false},
        {"https://evil.example\\@hub.example/", HUB, false},
        {"https://a@b@hub.example/", HUB, false},
        {"https://hub.example\n.evil.example/", HUB, false},
        {"https://hub.example /", HUB, false},
        {"https://hub%2eexample/", HUB, false},
        {HUB ":443a/", HUB, false},
        {HUB ":65979/", HUB, false}, /* 443 and 65536 */
        {HUB ":4294967739/", HUB, false},
        {HUB ":0/", HUB ":0/", false},
        {"https://[::1/", "https://[::1/", false},
        {"https://[::1]x/", "https://[::1]x/", false},
        {"https://", "https://", false},
        {"https://:443", "https://:443", false},
        {"ftp://hub.example", "ftp://hub.example", false},
        {"//hub.example/", HUB, false},
        {"/a", "/a", false},
        {"", "", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (wl_http_is_same_origin(cases[i].url, cases[i].other) != cases[i].is_same ||
            wl_http_is_same_origin(cases[i].other, cases[i].url) != cases[i].is_same) {
            (void)fprintf(stderr, "'%s' and '%s'\n", cases[i].url, cases[i].other);
            exit(1);
        }
    }
}

static void check_long_host(void)
{
    char url[600] = "https://";

    memset(url + 8, 'a', 300);
    CHECK(!wl_http_is_same_origin(url, url));
    url[8 + 200] = '\0';
    CHECK(wl_http_is_same_origin(url, url));
}

static void check_loopback(void)
{
    static const char *const here[] = {
        "http://127.0.0.1:8080/a", "http://127.9.8.7", "http://localhost/",
        "http://LOCALHOST:1",      "http://[::1]:80/", "https://[0:0::0:1]",
    };
    static const char *const elsewhere[] = {
        "http://128.0.0.1",   "http://localhost.example", "http://127.0.0.1.example",
        "http://[::2]",       "http://0.0.0.0",           "http://127.1@hub.example",
        "http://hub.example", "http://127.0.0.1\\@a",     "localhost",
    };

    for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
        CHECK(wl_http_is_loopback(here[i]));
    }
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
        CHECK(!wl_http_is_loopback(elsewhere[i]));
    }
}

static void check_shown(void)
{
    char out[WL_HTTP_TEXT_BYTES];
    char url[2 * WL_HTTP_TEXT_BYTES];

    CHECK_STR(wl_http_shown(HUB "/a/b?sig=secret", out), HUB "/a/b");
    CHECK_STR(wl_http_shown(HUB "/a#secret", out), HUB "/a");
    CHECK_STR(wl_http_shown("https://me:secret@hub.example/a@b", out), HUB "/a@b");
    CHECK_STR(wl_http_shown("https://me:sec@ret@hub.example", out), HUB);
    CHECK_STR(wl_http_shown("https://me:secret\\@hub.example/", out), HUB "/");
    CHECK_STR(wl_http_shown("me:secret@hub.example/a", out), "hub.example/a");
    CHECK_STR(wl_http_shown(HUB "?next=https://me@x", out), HUB);
    CHECK_STR(wl_http_shown("/org/na\x1bme\n\xc2\x9b", out), "/org/na%1Bme%0A%C2%9B");
    CHECK_STR(wl_http_shown("", out), "");

    memset(url, '\n', sizeof(url) - 1); /* three bytes out of each */
    url[sizeof(url) - 1] = '\0';
    wl_http_shown(url, out);
    CHECK(strlen(out) < sizeof(out));
    CHECK(strlen(out) % 3 == 0);
}

int main(void)
{
    check_origins();
    check_long_host();
    check_loopback();
    check_shown();
    return 0;
}
