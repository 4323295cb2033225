/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/serve_http.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "bench/command.h"
#include "bench/text.h"

#define BODY_BYTES_MAX  (4u << 20)
#define CONNECTIONS_MAX 1024u
#define IDLE_S          120u
#define HEAD_BYTES_MAX  (64u << 10) /* of a request or an answer, all headers */
#define BACKLOG         512
#define LOOPBACK_IPV4   0x7fu
#define PORT_DIGITS_MAX 6

#define SEGMENT_BYTES_MIN 536u
#define SEGMENT_BYTES_MAX 32767u /* the kernel's bound */
#define SEGMENTS_PER_S    1000u

/* ---- A request's way through the library ----------------------------------------- */

static void *begin_request(void *user, const char *target, struct MHD_Connection *connection)
{
    struct serve_request *request = calloc(1, sizeof(*request));

    if (request) {
        request->server = user;
        request->connection = connection;
        request->target = strdup(target);
    }
    return request;
}

static void keep_body(struct serve_request *request, const char *data, size_t size)
{
    char *body = NULL;

    if (!request->is_large && size <= BODY_BYTES_MAX - request->body_bytes) {
        body = realloc(request->body, request->body_bytes + size);
    }
    if (!body) {
        request->is_large = true;
        return;
    }
    memcpy(body + request->body_bytes, data, size);
    request->body = body;
    request->body_bytes += size;
}

static enum MHD_Result send_answer(struct serve_request *request)
{
    struct serve_reply reply = serve_answer(request);
    enum MHD_Result result;

    if (!reply.response) {
        return MHD_NO; /* no memory: the connection is closed */
    }
    request->status = reply.status;
    request->sent_bytes = strcmp(request->method, MHD_HTTP_METHOD_HEAD) == 0 ? 0 : reply.body_bytes;
    result = microhttpd->queue_response(request->connection, reply.status, reply.response);
    microhttpd->destroy_response(reply.response);
    return result;
}

/* Called once when the headers are there, for each part of a body, and once behind it. */
static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_bytes, void **context)
{
    struct serve_request *request = *context;

    (void)user;
    (void)connection;
    (void)url;
    (void)version;
    if (!request || !request->target) {
        return MHD_NO;
    }
    if (!request->is_begun) {
        request->is_begun = true;
        (void)snprintf(request->method, sizeof(request->method), "%s", method);
        return MHD_YES;
    }
    if (*data_bytes > 0) {
        keep_body(request, data, *data_bytes);
        *data_bytes = 0;
        return MHD_YES;
    }
    return send_answer(request);
}

/* Without the query: what is in it is nobody's business. */
static void log_request(const struct serve_request *request, enum MHD_RequestTerminationCode how)
{
    request->target[strcspn(request->target, "?")] = '\0';
    flockfile(stderr);
    text_put_escaped(stderr, request->method);
    (void)fputc(' ', stderr);
    text_put_escaped(stderr, request->target);
    (void)fprintf(stderr, " %u %" PRIu64 "%s\n", request->status, request->sent_bytes,
                  how == MHD_REQUEST_TERMINATED_COMPLETED_OK ? "" : " broken off");
    funlockfile(stderr);
}

static void end_request(void *user, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode how)
{
    struct serve_request *request = *context;

    (void)user;
    (void)connection;
    if (!request) {
        return;
    }
    if (request->target && request->server->settings->is_verbose) {
        log_request(request, how);
    }
    free(request->target);
    free(request->body);
    free(request);
    *context = NULL;
}

/* ---- The socket ------------------------------------------------------------------ */

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    }
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == LOOPBACK_IPV4;
}

/* A socket that listens, or -1 with errno. */
static int open_socket(const struct addrinfo *info)
{
    const int one = 1;
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol);
    int saved;

    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* How fast each connection sends: those that are accepted inherit it.  The kernel lets ten segments
 * go before it keeps to the rate, so a low one wants small segments.  -1: errno. */
static int limit_rate(int fd, uint64_t bytes_per_s)
{
    const int segment =
        (int)wl_min(SEGMENT_BYTES_MAX, wl_max(SEGMENT_BYTES_MIN, bytes_per_s / SEGMENTS_PER_S));

    if (segment < (int)SEGMENT_BYTES_MAX &&
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment)) < 0) {
        return -1;
    }
    return setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &bytes_per_s, sizeof(bytes_per_s));
}

/* Where it listens, as an URL. */
static void name_origin(struct serve_server *server, int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    char host[NI_MAXHOST] = "";
    char port[NI_MAXSERV] = "";
    bool is_bracketed;

    (void)getsockname(fd, (struct sockaddr *)&address, &size);
    (void)getnameinfo((const struct sockaddr *)&address, size, host, sizeof(host), port,
                      sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
    is_bracketed = strchr(host, ':') != NULL;
    (void)snprintf(server->origin, sizeof(server->origin), "http://%s%.256s%s:%.8s",
                   is_bracketed ? "[" : "", host, is_bracketed ? "]" : "", port);
    if (!is_loopback(&address) && !server->settings->token) {
        (void)fprintf(stderr,
                      "wload: whoever reaches %s may read all that is served; --token asks them "
                      "for one\n",
                      server->origin);
    }
}

static int listen_on(struct serve_server *server, struct wload_error *err)
{
    const struct serve_settings *settings = server->settings;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char port[PORT_DIGITS_MAX];
    struct addrinfo *list;
    int fd = -1;
    int rc;

    (void)snprintf(port, sizeof(port), "%u", (unsigned)settings->port);
    rc = getaddrinfo(settings->host, port, &hints, &list);
    if (rc != 0) {
        return wl_err_set(err, WLOAD_ERR_NETWORK, "no address is '%s': %s", settings->host,
                          gai_strerror(rc));
    }
    for (const struct addrinfo *info = list; info && fd < 0; info = info->ai_next) {
        fd = open_socket(info);
    }
    rc = errno;
    freeaddrinfo(list);
    if (fd < 0) {
        return wl_err_sys(err, rc, "cannot listen on '%s', port %s", settings->host, port);
    }
    if (settings->rate_bytes_per_s > 0 && limit_rate(fd, settings->rate_bytes_per_s) < 0) {
        rc = wl_err_sys(err, errno, "cannot limit the rate of a connection");
        (void)close(fd);
        return rc;
    }
    name_origin(server, fd);
    return fd;
}

/* ---- The server ------------------------------------------------------------------ */

/* Signals are for the main thread, which starts the others with all of them blocked. */
static int start_daemon(struct serve_server *server, struct wload_error *err)
{
    int fd = listen_on(server, err);
    sigset_t before;
    sigset_t all;

    if (fd < 0) {
        return fd;
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    server->daemon = microhttpd->start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0, NULL,
        NULL, handle, server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK,
        begin_request, server, MHD_OPTION_NOTIFY_COMPLETED, end_request, server,
        MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_BYTES_MAX, MHD_OPTION_END);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!server->daemon) {
        (void)close(fd);
        return wl_err_set(err, WLOAD_ERR_NETWORK, "cannot start to serve at %s", server->origin);
    }
    return WLOAD_OK;
}

/* Ready is who can be asked for any file without first having to compute its hash. */
static int announce(const struct serve_server *server)
{
    struct wload_error err;
    size_t count;

    serve_catalog_warm(server->catalog);
    if (serve_stop_came()) {
        return COMMAND_DONE;
    }
    if (serve_catalog_count(server->catalog, &count, &err) < 0) {
        return text_fail(&err);
    }
    (void)printf("Serving %zu %s at %s\n", count, count == 1 ? "repository" : "repositories",
                 server->origin);
    return text_finish();
}

static int serve(struct serve_server *server)
{
    struct wload_error err;
    int rc;

    if (start_daemon(server, &err) < 0) {
        return text_fail(&err);
    }
    rc = announce(server);
    if (rc == COMMAND_DONE) {
        serve_stop_wait();
    }
    microhttpd->stop_daemon(server->daemon);
    return rc;
}

int serve_run(const struct serve_settings *settings)
{
    struct serve_server server = {.settings = settings};
    struct wload_error err;
    int rc;

    (void)signal(SIGPIPE, SIG_IGN);
    if (microhttpd_load(&err) < 0) {
        return text_fail(&err);
    }
    if (serve_catalog_new(settings->places, settings->place_count, &server.catalog, &err) < 0) {
        return text_fail(&err);
    }
    rc = serve_stop_begin(&err) < 0 ? text_fail(&err) : serve(&server);
    serve_stop_end();
    serve_catalog_free(server.catalog);
    return rc;
}
