/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP server on a thread that knows nothing: it gives one answer after the
 * other as a test wrote them down, whatever is asked, and keeps what was asked.
 */
#ifndef SCRIPT_SERVER_H
#define SCRIPT_SERVER_H

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "test.h"

#define SCRIPT_REPLIES     64
#define SCRIPT_CONNECTIONS 32
#define SCRIPT_HEAD_BYTES  4096

enum script_after {
    SCRIPT_KEEP,  /* the connection stays */
    SCRIPT_CLOSE, /* and so the body ends */
    SCRIPT_RESET,
    SCRIPT_HANG /* the connection stays, and nothing comes any more */
};

struct script_reply {
    enum script_after after;
    const char *body;
    size_t body_bytes;
    char head[SCRIPT_HEAD_BYTES]; /* status line and headers, each with its end */
};

struct script_connection {
    int fd;
    size_t used;
    char text[SCRIPT_HEAD_BYTES];
};

struct script_server {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t asked;
    int listener;
    int stop[2];
    unsigned port;
    struct script_connection connections[SCRIPT_CONNECTIONS];
    uint32_t connection_count; /* open now */
    uint32_t accept_count;
    struct script_reply replies[SCRIPT_REPLIES];
    uint32_t reply_count;
    char requests[SCRIPT_REPLIES][SCRIPT_HEAD_BYTES];
    uint32_t request_count;
};

static void script_send(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t put = send(fd, data, size, MSG_NOSIGNAL);

        if (put <= 0) {
            return; /* the client has enough */
        }
        data += put;
        size -= (size_t)put;
    }
}

/* False: the connection is to be closed. */
static bool script_answer(struct script_server *server, struct script_connection *connection)
{
    const struct linger reset = {.l_onoff = 1};
    const struct script_reply *reply;
    int unsent = 1;

    (void)pthread_mutex_lock(&server->mutex);
    CHECK(server->request_count < SCRIPT_REPLIES);
    reply = &server->replies[server->request_count];
    memcpy(server->requests[server->request_count++], connection->text, sizeof(connection->text));
    if (server->request_count > server->reply_count) {
        (void)fprintf(stderr, "asked once more than expected:\n%s", connection->text);
        exit(1);
    }
    (void)pthread_mutex_unlock(&server->mutex);

    script_send(connection->fd, reply->head, strlen(reply->head));
    script_send(connection->fd, "\r\n", 2);
    script_send(connection->fd, reply->body, reply->body_bytes);
    connection->used = 0;
    (void)pthread_mutex_lock(&server->mutex);
    (void)pthread_cond_broadcast(&server->asked);
    (void)pthread_mutex_unlock(&server->mutex);
    if (reply->after == SCRIPT_RESET) {
        while (ioctl(connection->fd, SIOCOUTQ, &unsent) == 0 && unsent > 0) {
            (void)poll(NULL, 0, 1);
        }
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    return reply->after == SCRIPT_KEEP || reply->after == SCRIPT_HANG;
}

/* False: the connection is to be closed. */
static bool script_read(struct script_server *server, struct script_connection *connection)
{
    size_t room = sizeof(connection->text) - 1 - connection->used;
    ssize_t got = recv(connection->fd, connection->text + connection->used, room, 0);

    if (got <= 0) {
        return false;
    }
    connection->used += (size_t)got;
    connection->text[connection->used] = '\0';
    return !strstr(connection->text, "\r\n\r\n") || script_answer(server, connection);
}

static void *script_serve(void *argument)
{
    struct script_server *server = argument;

    for (;;) {
        struct pollfd fds[SCRIPT_CONNECTIONS + 2] = {
            {.fd = server->stop[0], .events = POLLIN},
            {.fd = server->listener, .events = POLLIN},
        };

        for (uint32_t i = 0; i < server->connection_count; i++) {
            fds[2 + i] = (struct pollfd){.fd = server->connections[i].fd, .events = POLLIN};
        }
        (void)poll(fds, 2 + server->connection_count, -1);
        if (fds[0].revents != 0) {
            return NULL;
        }
        for (uint32_t i = server->connection_count; i-- > 0;) {
            if (fds[2 + i].revents != 0 && !script_read(server, &server->connections[i])) {
                (void)close(server->connections[i].fd);
                server->connections[i] = server->connections[--server->connection_count];
            }
        }
        if (fds[1].revents != 0) {
            CHECK(server->connection_count < SCRIPT_CONNECTIONS);
            server->connections[server->connection_count] =
                (struct script_connection){.fd = accept(server->listener, NULL, NULL)};
            server->connection_count++;
            server->accept_count++;
        }
    }
}

static void script_start(struct script_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);

    *server = (struct script_server){.listener = socket(AF_INET, SOCK_STREAM, 0)};
    CHECK(bind(server->listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(listen(server->listener, SCRIPT_CONNECTIONS) == 0);
    CHECK(getsockname(server->listener, (struct sockaddr *)&address, &size) == 0);
    server->port = ntohs(address.sin_port);
    CHECK(pipe(server->stop) == 0);
    CHECK(pthread_mutex_init(&server->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&server->asked, NULL) == 0);
    CHECK(pthread_create(&server->thread, NULL, script_serve, server) == 0);
}

/* Every answer was asked for, and nothing beyond. */
static void script_stop(struct script_server *server)
{
    CHECK(write(server->stop[1], "", 1) == 1);
    CHECK(pthread_join(server->thread, NULL) == 0);
    for (uint32_t i = 0; i < server->connection_count; i++) {
        (void)close(server->connections[i].fd);
    }
    (void)close(server->stop[0]);
    (void)close(server->stop[1]);
    (void)close(server->listener);
    (void)pthread_mutex_destroy(&server->mutex);
    (void)pthread_cond_destroy(&server->asked);
    CHECK_EQ(server->request_count, server->reply_count);
}

/* Write down the next answer.  `body` is borrowed. */
__attribute__((format(printf, 5, 6))) static void script_add(struct script_server *server,
                                                             enum script_after after,
                                                             const char *body, size_t body_bytes,
                                                             const char *head, ...)
{
    struct script_reply *reply = &server->replies[server->reply_count];
    va_list ap;

    (void)pthread_mutex_lock(&server->mutex);
    CHECK(server->reply_count < SCRIPT_REPLIES);
    reply->after = after;
    reply->body = body;
    reply->body_bytes = body_bytes;
    va_start(ap, head);
    CHECK(vsnprintf(reply->head, sizeof(reply->head), head, ap) < (int)sizeof(reply->head));
    va_end(ap);
    server->reply_count++;
    (void)pthread_mutex_unlock(&server->mutex);
}

/* Until that many requests were answered. */
static void script_wait(struct script_server *server, uint32_t count)
{
    (void)pthread_mutex_lock(&server->mutex);
    while (server->request_count < count) {
        (void)pthread_cond_wait(&server->asked, &server->mutex);
    }
    (void)pthread_mutex_unlock(&server->mutex);
}

/* Whether request number `number` has that text in its head. */
static bool script_was_asked(struct script_server *server, uint32_t number, const char *text)
{
    bool found;

    (void)pthread_mutex_lock(&server->mutex);
    found = number < server->request_count && strstr(server->requests[number], text);
    (void)pthread_mutex_unlock(&server->mutex);
    return found;
}

#endif /* SCRIPT_SERVER_H */
