/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/sys.h"
#include "bench/serve_http.h"
#include "bench/text.h"

#define HEADER_BYTES_MAX (32u << 10)
#define HOST_BYTES_MAX   255u
#define ORIGIN_BYTES     (HOST_BYTES_MAX + 9) /* with its scheme */
#define PATHS_MAX        1000u /* twice what the official client asks for by itself */
#define SCHEME           "Bearer "

/* ---- Headers and refusals -------------------------------------------------------- */

const char *serve_header(const struct serve_request *request, const char *name)
{
    return microhttpd->lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

void serve_add_header(struct serve_reply *reply, const char *name, const char *fmt, ...)
{
    char value[HEADER_BYTES_MAX];
    va_list ap;
    int size;

    va_start(ap, fmt);
    size = vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    if (reply->response &&
        (size < 0 || (size_t)size >= sizeof(value) ||
         microhttpd->add_response_header(reply->response, name, value) != MHD_YES)) {
        microhttpd->destroy_response(reply->response);
        reply->response = NULL;
    }
}

/* An answer in JSON; frees it. */
static struct serve_reply send_json(unsigned status, cJSON *json)
{
    char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    struct serve_reply reply = {.status = status};

    cJSON_Delete(json);
    if (text) {
        reply.body_bytes = strlen(text);
        reply.response =
            microhttpd->create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    }
    if (!reply.response) {
        free(text);
    }
    serve_add_header(&reply, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json; charset=utf-8");
    return reply;
}

struct serve_reply serve_refuse(unsigned status, const char *code, const char *message,
                                const char *commit)
{
    cJSON *json = cJSON_CreateObject();
    struct serve_reply reply;

    (void)cJSON_AddStringToObject(json, "error", message);
    reply = send_json(status, json);
    serve_add_header(&reply, "X-Error-Message", "%s", message);
    if (code) {
        serve_add_header(&reply, "X-Error-Code", "%s", code);
    }
    if (commit) {
        serve_add_header(&reply, "X-Repo-Commit", "%s", commit);
    }
    return reply;
}

static struct serve_reply refuse_entry(const struct serve_snapshot *snapshot)
{
    return serve_refuse(MHD_HTTP_NOT_FOUND, "EntryNotFound", "Entry not found", snapshot->commit);
}

static struct serve_reply refuse_method(const char *allowed)
{
    struct serve_reply reply =
        serve_refuse(MHD_HTTP_METHOD_NOT_ALLOWED, NULL, "This server is read-only", NULL);

    serve_add_header(&reply, MHD_HTTP_HEADER_ALLOW, "%s", allowed);
    return reply;
}

/* What the catalog did not find, or failed at: that is for the eyes of who runs the server. */
static struct serve_reply refuse_find(int rc, const struct wload_error *err)
{
    if (rc == SERVE_NO_REPO) {
        return serve_refuse(MHD_HTTP_NOT_FOUND, "RepoNotFound", "Repository not found", NULL);
    }
    if (rc == SERVE_NO_REVISION) {
        return serve_refuse(MHD_HTTP_NOT_FOUND, "RevisionNotFound", "Revision not found", NULL);
    }
    if (rc == WLOAD_ERR_CANCELED) {
        return serve_refuse(MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "The server ends", NULL);
    }
    if (rc == WLOAD_ERR_NOT_FOUND) {
        return serve_refuse(MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "The file is being changed", NULL);
    }
    flockfile(stderr);
    (void)text_fail(err);
    funlockfile(stderr);
    return serve_refuse(MHD_HTTP_INTERNAL_SERVER_ERROR, NULL,
                        "The server cannot read its files; its own output says why", NULL);
}

/* ---- Who may ask ----------------------------------------------------------------- */

/* In a time that only the length of what came tells from. */
static bool is_equal(const char *given, const char *wanted)
{
    size_t wanted_size = strlen(wanted);
    size_t size = strlen(given);
    volatile unsigned char difference = size != wanted_size;

    for (size_t i = 0; i < size; i++) {
        difference |= (unsigned char)(given[i] ^ wanted[i % (wanted_size + 1)]);
    }
    return difference == 0;
}

static bool may_ask(const struct serve_request *request, struct serve_reply *refusal)
{
    const char *wanted = request->server->settings->token;
    const char *given = serve_header(request, MHD_HTTP_HEADER_AUTHORIZATION);

    if (!wanted) {
        return true;
    }
    if (given && strncasecmp(given, SCHEME, strlen(SCHEME)) == 0 &&
        is_equal(given + strlen(SCHEME), wanted)) {
        return true;
    }
    /* Over plain http clients tell what is not theirs to see by this code alone; with it a token
     * that is wrong would read as a model that is not there. */
    *refusal = given ? serve_refuse(MHD_HTTP_UNAUTHORIZED, NULL,
                                    "Invalid credentials in Authorization header", NULL)
                     : serve_refuse(MHD_HTTP_UNAUTHORIZED, "RepoNotFound",
                                    "This server wants a token", NULL);
    serve_add_header(refusal, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    return false;
}

/* ---- Answers --------------------------------------------------------------------- */

static struct serve_reply send_content(const struct serve_request *request,
                                       const struct serve_route *route, struct serve_query *query)
{
    struct serve_catalog *catalog = request->server->catalog;
    const struct serve_file *file;
    struct serve_snapshot *snapshot;
    struct serve_reply reply;
    struct wload_error err;
    int fd = 0;

    for (;;) {
        int rc = serve_catalog_find(catalog, query, &snapshot, &err);

        if (rc != SERVE_FOUND) {
            return refuse_find(rc, &err);
        }
        file = serve_snapshot_file(snapshot, route->path);
        fd = file ? serve_snapshot_open(snapshot, file, &err) : 0;
        if (fd != WLOAD_ERR_NOT_FOUND || query->is_anew) {
            break;
        }
        serve_catalog_release(catalog, snapshot); /* it has changed since it was listed */
        query->is_anew = true;
    }
    if (!file) {
        reply = refuse_entry(snapshot);
    } else {
        reply = fd >= 0 ? serve_send_file(request, snapshot, file, fd) : refuse_find(fd, &err);
    }
    serve_catalog_release(catalog, snapshot);
    return reply;
}

/* Whether a proxy says that the client speaks TLS with it; of several, the first is the client's.
 * Whoever makes it up misleads himself alone. */
static bool is_behind_tls(const struct serve_request *request)
{
    const char *schemes = serve_header(request, "X-Forwarded-Proto");
    size_t size = schemes ? strcspn(schemes, ", ") : 0;

    return size == strlen("https") && strncasecmp(schemes, "https", size) == 0;
}

/* The origin as the client names it, so that it takes it for the same.  The official client does
 * not follow an address without one. */
static const char *origin_of(const struct serve_request *request, char out[ORIGIN_BYTES])
{
    const char *host = serve_header(request, MHD_HTTP_HEADER_HOST);
    size_t size = host ? strlen(host) : 0;

    if (size == 0 || size > HOST_BYTES_MAX) {
        return request->server->origin;
    }
    for (const char *at = host; *at; at++) {
        if (!isalnum((unsigned char)*at) && !strchr(".-_:[]", *at)) {
            return request->server->origin;
        }
    }
    (void)snprintf(out, ORIGIN_BYTES, "%s://%s", is_behind_tls(request) ? "https" : "http", host);
    return out;
}

static void add_next(struct serve_reply *reply, const struct serve_request *request,
                     const struct serve_route *route, const char *cursor)
{
    char origin[ORIGIN_BYTES];
    char *revision = wl_hub_escape(route->revision, false);
    char *path = wl_hub_escape(route->path, false);
    char *escaped = wl_hub_escape(cursor, false);

    if (revision && path && escaped) {
        serve_add_header(reply, MHD_HTTP_HEADER_LINK,
                         "<%s/api/%ss/%s/tree/%s%s%s?recursive=%s&cursor=%s>; rel=\"next\"",
                         origin_of(request, origin), wl_hub_kind_name(route->kind), route->repo,
                         revision, *path ? "/" : "", path, route->is_recursive ? "true" : "false",
                         escaped);
    } else if (reply->response) {
        microhttpd->destroy_response(reply->response);
        reply->response = NULL;
    }
    wl_sys->free(escaped);
    wl_sys->free(path);
    wl_sys->free(revision);
}

static struct serve_reply send_tree(const struct serve_request *request,
                                    const struct serve_route *route,
                                    const struct serve_snapshot *snapshot)
{
    const struct serve_folder *folder =
        serve_snapshot_folder(snapshot, route->path, strlen(route->path));
    struct serve_reply reply;
    char *next = NULL;

    if (!folder) {
        return refuse_entry(snapshot);
    }
    reply = send_json(MHD_HTTP_OK, serve_api_tree(route, snapshot, folder, &next));
    if (next) {
        add_next(&reply, request, route, next);
    }
    free(next);
    return reply;
}

struct paths {
    char *items[PATHS_MAX];
    size_t count;
};

/* Takes a path over; NULL is malformed, or no memory.  Returns the status of the answer. */
static unsigned add_path(struct paths *paths, char *path)
{
    if (!path) {
        return MHD_HTTP_BAD_REQUEST;
    }
    if (paths->count == PATHS_MAX) {
        free(path);
        return MHD_HTTP_CONTENT_TOO_LARGE;
    }
    paths->items[paths->count++] = path;
    return MHD_HTTP_OK;
}

/* The values of "paths" in a form. */
static unsigned read_form(const char *body, size_t size, struct paths *paths)
{
    static const char name[] = "paths=";
    unsigned status = MHD_HTTP_OK;

    while (size > 0 && status == MHD_HTTP_OK) {
        const char *end = memchr(body, '&', size);
        size_t part = end ? (size_t)(end - body) : size;

        if (part >= strlen(name) && memcmp(body, name, strlen(name)) == 0) {
            status = add_path(paths, serve_decode(body + strlen(name), part - strlen(name), true));
        }
        body += part + (end != NULL);
        size -= part + (end != NULL);
    }
    return status;
}

static unsigned read_json(const char *body, size_t size, struct paths *paths)
{
    unsigned status = MHD_HTTP_OK;
    const cJSON *list;
    cJSON *json;

    if (wl_json_parse(body, size, "the request", 0, &json, NULL) < 0) {
        return MHD_HTTP_BAD_REQUEST;
    }
    list = wl_json_member(json, "paths");
    if (cJSON_IsArray(list)) {
        wl_json_each (item, list) {
            if (cJSON_IsString(item) && status == MHD_HTTP_OK) {
                status = add_path(paths, strdup(item->valuestring));
            }
        }
    }
    cJSON_Delete(json);
    return status;
}

static unsigned read_paths(const struct serve_request *request, struct paths *paths)
{
    static const char json[] = "application/json";
    const char *type = serve_header(request, MHD_HTTP_HEADER_CONTENT_TYPE);

    if (request->is_large) {
        return MHD_HTTP_CONTENT_TOO_LARGE;
    }
    return type && strncasecmp(type, json, strlen(json)) == 0
               ? read_json(request->body, request->body_bytes, paths)
               : read_form(request->body, request->body_bytes, paths);
}

static struct serve_reply refuse_paths(unsigned status)
{
    char message[80] = "Malformed list of paths";

    if (status == MHD_HTTP_CONTENT_TOO_LARGE) {
        (void)snprintf(message, sizeof(message), "Too many paths: ask for at most %u at once",
                       PATHS_MAX);
    }
    return serve_refuse(status, NULL, message, NULL);
}

static struct serve_reply send_paths(const struct serve_request *request,
                                     const struct serve_snapshot *snapshot)
{
    struct paths paths = {.count = 0};
    unsigned status = read_paths(request, &paths);
    struct serve_reply reply =
        status == MHD_HTTP_OK
            ? send_json(status, serve_api_paths(snapshot, paths.items, paths.count))
            : refuse_paths(status);

    for (size_t i = 0; i < paths.count; i++) {
        free(paths.items[i]);
    }
    return reply;
}

static struct serve_reply send_refs(const struct serve_request *request,
                                    const struct serve_route *route)
{
    struct wload_error err;
    cJSON *json;
    int rc = serve_api_refs(request->server->catalog, route, &json, &err);

    return rc == SERVE_FOUND ? send_json(MHD_HTTP_OK, json) : refuse_find(rc, &err);
}

static struct serve_reply send_listing(const struct serve_request *request,
                                       const struct serve_route *route,
                                       const struct serve_query *query)
{
    struct serve_catalog *catalog = request->server->catalog;
    struct serve_snapshot *snapshot;
    struct serve_reply reply;
    struct wload_error err;
    int rc = serve_catalog_find(catalog, query, &snapshot, &err);

    if (rc != SERVE_FOUND) {
        return refuse_find(rc, &err);
    }
    if (route->what == SERVE_INFO) {
        reply = send_json(MHD_HTTP_OK, serve_api_info(route, snapshot));
    } else {
        reply = route->what == SERVE_TREE ? send_tree(request, route, snapshot)
                                          : send_paths(request, snapshot);
    }
    serve_catalog_release(catalog, snapshot);
    return reply;
}

static struct serve_reply answer_route(const struct serve_request *request,
                                       const struct serve_route *route)
{
    bool is_post = strcmp(request->method, MHD_HTTP_METHOD_POST) == 0;
    bool is_read = strcmp(request->method, MHD_HTTP_METHOD_GET) == 0 ||
                   strcmp(request->method, MHD_HTTP_METHOD_HEAD) == 0;
    struct serve_query query = {
        .kind = route->kind,
        .repo = route->repo,
        .revision = route->revision,
        .is_whole = route->what != SERVE_CONTENT,
    };
    struct serve_reply refusal;

    if (route->what == SERVE_HEALTH) {
        return is_read ? send_json(MHD_HTTP_OK, cJSON_CreateTrue()) : refuse_method("GET, HEAD");
    }
    if (!may_ask(request, &refusal)) {
        return refusal;
    }
    if (route->what == SERVE_NOTHING) {
        return serve_refuse(MHD_HTTP_NOT_FOUND, NULL, "Not found", NULL);
    }
    if (route->what == SERVE_PATHS ? !is_post : !is_read) {
        return refuse_method(route->what == SERVE_PATHS ? "POST" : "GET, HEAD");
    }
    if (route->what == SERVE_REFS) {
        return send_refs(request, route);
    }
    return route->what == SERVE_CONTENT ? send_content(request, route, &query)
                                        : send_listing(request, route, &query);
}

struct serve_reply serve_answer(const struct serve_request *request)
{
    int64_t latency_ns = request->server->settings->latency_ns;
    struct serve_route route;
    struct serve_reply reply;

    if (latency_ns > 0) {
        serve_sleep_until(wl_clock_ns() + latency_ns);
    }
    reply = serve_route_parse(request->target, &route)
                ? answer_route(request, &route)
                : serve_refuse(MHD_HTTP_BAD_REQUEST, NULL, "Malformed address", NULL);
    serve_route_clear(&route);
    return reply;
}
