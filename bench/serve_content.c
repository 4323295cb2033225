/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/serve_http.h"

static struct MHD_Response *nothing(void)
{
    return microhttpd->create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
}

/* Bytes of the file; closes it sooner or later. */
static struct MHD_Response *body_of(int fd, uint64_t first, uint64_t count)
{
    struct MHD_Response *response = NULL;

    if (count > 0) {
        response = microhttpd->create_response_from_fd_at_offset64(count, fd, first);
    }
    if (!response) {
        (void)close(fd);
    }
    return response || count > 0 ? response : nothing();
}

static void describe(struct serve_reply *reply, const struct serve_snapshot *snapshot,
                     const struct serve_file *file)
{
    serve_add_header(reply, "X-Repo-Commit", "%s", snapshot->commit);
    serve_add_header(reply, MHD_HTTP_HEADER_ETAG, "\"%s\"", file->hash);
    if (serve_file_is_large(file)) {
        serve_add_header(reply, "X-Linked-Etag", "\"%s\"", file->hash);
        serve_add_header(reply, "X-Linked-Size", "%" PRIu64, file->identity.size_bytes);
    }
    serve_add_header(reply, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
}

/* Which bytes are wanted; those of another file than is known to the client: all. */
static enum serve_range range_of(const struct serve_request *request, const struct serve_file *file,
                                 uint64_t *first, uint64_t *count)
{
    const char *condition = serve_header(request, MHD_HTTP_HEADER_IF_RANGE);
    const char *header = serve_header(request, MHD_HTTP_HEADER_RANGE);
    char etag[WL_HUB_HASH_BYTES + 2];

    (void)snprintf(etag, sizeof(etag), "\"%s\"", file->hash);
    if (strcmp(request->method, MHD_HTTP_METHOD_GET) != 0 ||
        (condition && strcmp(condition, etag) != 0)) {
        header = NULL;
    }
    return serve_range_parse(header, file->identity.size_bytes, first, count);
}

struct serve_reply serve_send_file(const struct serve_request *request,
                                   const struct serve_snapshot *snapshot,
                                   const struct serve_file *file, int fd)
{
    const char *known = serve_header(request, MHD_HTTP_HEADER_IF_NONE_MATCH);
    struct serve_reply reply = {.status = MHD_HTTP_OK};
    uint64_t first;
    uint64_t count;
    enum serve_range range = range_of(request, file, &first, &count);

    if (known && serve_range_has_etag(known, file->hash)) {
        (void)close(fd);
        reply.status = MHD_HTTP_NOT_MODIFIED;
        reply.response = nothing();
        describe(&reply, snapshot, file);
        return reply;
    }
    if (range == SERVE_OUTSIDE) {
        (void)close(fd);
        reply = serve_refuse(MHD_HTTP_RANGE_NOT_SATISFIABLE, NULL, "The range is not in the file",
                             snapshot->commit);
        serve_add_header(&reply, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes */%" PRIu64,
                         file->identity.size_bytes);
        return reply;
    }
    reply.response = body_of(fd, first, count);
    reply.body_bytes = count;
    describe(&reply, snapshot, file);
    serve_add_header(&reply, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
    if (range == SERVE_PART) {
        reply.status = MHD_HTTP_PARTIAL_CONTENT;
        serve_add_header(&reply, MHD_HTTP_HEADER_CONTENT_RANGE,
                         "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, first + count - 1,
                         file->identity.size_bytes);
    }
    return reply;
}
