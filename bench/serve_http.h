/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of `wload serve` that speak HTTP share.
 *
 *   request --serve_answer()--> reply, which serve_http.c sends
 *
 * Each connection has a thread, so an answer may sleep and read files.
 */
#ifndef WLOAD_SERVE_HTTP_H
#define WLOAD_SERVE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/microhttpd.h"
#include "bench/serve.h"

#define SERVE_METHOD_BYTES 16

struct serve_server {
    const struct serve_settings *settings;
    struct serve_catalog *catalog;
    struct MHD_Daemon *daemon;
    char origin[512]; /* "http://127.0.0.1:8080" */
};

struct serve_request {
    struct serve_server *server;
    struct MHD_Connection *connection;
    char *target; /* as it came: encoded, with its query */
    char method[SERVE_METHOD_BYTES];
    char *body; /* of a POST; is_large: too much of it came */
    size_t body_bytes;
    bool is_begun;
    bool is_large;
    unsigned status; /* of the answer; 0: none was sent */
    uint64_t sent_bytes;
};

struct serve_reply {
    struct MHD_Response *response; /* NULL: no memory */
    unsigned status;
    uint64_t body_bytes;
};

struct serve_reply serve_answer(const struct serve_request *request);

/* A header of the request, or NULL. */
const char *serve_header(const struct serve_request *request, const char *name);
/* Add a header in printf's manner. */
__attribute__((format(printf, 3, 4))) void serve_add_header(struct serve_reply *reply,
                                                            const char *name, const char *fmt, ...);
/* A refusal; `code` and `commit` may be NULL. */
struct serve_reply serve_refuse(unsigned status, const char *code, const char *message,
                                const char *commit);
/* The content of a file that is open; takes the descriptor over. */
struct serve_reply serve_send_file(const struct serve_request *request,
                                   const struct serve_snapshot *snapshot,
                                   const struct serve_file *file, int fd);

#endif /* WLOAD_SERVE_HTTP_H */
