/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses as text.  Read more strictly than a browser would: where two readers
 * could take different hosts out of the same text, it has none here, and so no
 * origin that a token could belong to.
 */
#include "cache/http.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HOST_BYTES 256
#define PORT_MAX   65535u

struct origin {
    bool is_https;
    char host[HOST_BYTES]; /* without the brackets of an IPv6 address */
    uint32_t port;
};

/* What follows "scheme://", or NULL. */
static const char *behind_scheme(const char *url, bool *is_https)
{
    *is_https = strncasecmp(url, "https://", 8) == 0;
    if (*is_https) {
        return url + 8;
    }
    return strncasecmp(url, "http://", 7) == 0 ? url + 7 : NULL;
}

/* Digits alone, or nothing at all for the scheme's own port. */
static bool read_port(const char *text, size_t size, struct origin *out)
{
    out->port = out->is_https ? 443 : 80;
    if (size == 0) {
        return true;
    }
    out->port = 0;
    for (size_t i = 0; i < size; i++) {
        if (!isdigit((unsigned char)text[i])) {
            return false;
        }
        out->port = out->port * 10 + (uint32_t)(text[i] - '0');
        if (out->port > PORT_MAX) {
            return false;
        }
    }
    return out->port > 0;
}

static bool read_host(const char *text, size_t size, bool is_bracketed, struct origin *out)
{
    if (size == 0 || size >= sizeof(out->host)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];

        if (is_bracketed ? !isxdigit(c) && c != ':' && c != '.'
                         : !isalnum(c) && c != '-' && c != '.' && c != '_') {
            return false;
        }
    }
    memcpy(out->host, text, size);
    out->host[size] = '\0';
    return true;
}

static bool read_origin(const char *url, struct origin *out)
{
    const char *host = behind_scheme(url, &out->is_https);
    const char *at, *end, *host_end, *port;
    bool is_bracketed;

    if (!host) {
        return false;
    }
    end = host + strcspn(host, "/?#");
    if (memchr(host, '\\', (size_t)(end - host))) {
        return false;
    }
    at = memchr(host, '@', (size_t)(end - host));
    if (at) {
        host = at + 1;
    }
    is_bracketed = *host == '[';
    host += is_bracketed;
    host_end = memchr(host, is_bracketed ? ']' : ':', (size_t)(end - host));
    if (!host_end && is_bracketed) {
        return false;
    }
    host_end = host_end ? host_end : end;
    port = host_end + is_bracketed;
    if (!read_host(host, (size_t)(host_end - host), is_bracketed, out) ||
        (port < end && *port != ':')) {
        return false;
    }
    port += port < end;
    return read_port(port, (size_t)(end - port), out);
}

bool wl_http_is_same_origin(const char *url, const char *other)
{
    struct origin a, b;

    return read_origin(url, &a) && read_origin(other, &b) && a.is_https == b.is_https &&
           a.port == b.port && strcasecmp(a.host, b.host) == 0;
}

bool wl_http_is_loopback(const char *url)
{
    struct in6_addr six;
    struct in_addr four;
    struct origin origin;

    if (!read_origin(url, &origin)) {
        return false;
    }
    if (inet_pton(AF_INET, origin.host, &four) == 1) {
        return ntohl(four.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, origin.host, &six) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&six);
    }
    return strcasecmp(origin.host, "localhost") == 0;
}

const char *wl_http_shown(const char *url, char out[WL_HTTP_TEXT_BYTES])
{
    const char *scheme = strstr(url, "://");
    const char *end = url + strcspn(url, "?#");
    const char *user = scheme && scheme < end ? scheme + 3 : url;
    const char *user_end = user;
    size_t used = 0;

    /* Whatever stands before an '@' may be a password. */
    for (const char *at = user; at < end && *at != '/'; at++) {
        if (*at == '@') {
            user_end = at + 1;
        }
    }
    for (const char *at = url; at < end && used + 4 <= WL_HTTP_TEXT_BYTES; at++) {
        unsigned char c = (unsigned char)*at;

        if (at >= user && at < user_end) {
            continue;
        }
        if (c > ' ' && c < 0x7f) {
            out[used++] = *at;
        } else {
            used += (size_t)snprintf(out + used, 4, "%%%02X", c);
        }
    }
    out[used] = '\0';
    return out;
}
