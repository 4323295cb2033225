/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/context.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/sys.h"
#include "cache/transfer.h"

uint32_t wload_version(void)
{
    return WLOAD_VERSION_NUMBER;
}

int wl_options_take(void *target, size_t target_bytes, const void *source, struct wload_error *err)
{
    const unsigned char *bytes = source;
    size_t source_bytes;
    size_t known;

    memset(target, 0, target_bytes);
    if (!source) {
        return WLOAD_OK;
    }
    memcpy(&source_bytes, source, sizeof(source_bytes));
    if (source_bytes < sizeof(size_t)) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "struct_size is %zu: set it to sizeof the options", source_bytes);
    }
    known = source_bytes < target_bytes ? source_bytes : target_bytes;
    for (size_t i = known; i < source_bytes; i++) {
        if (bytes[i] != 0) {
            return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "an option is newer than this library");
        }
    }
    memcpy(target, source, known);
    return WLOAD_OK;
}

int wl_fetch_options_take(struct wload_fetch_options *target,
                          const struct wload_fetch_options *source, struct wload_error *err)
{
    int rc = wl_options_take(target, sizeof(*target), source, err);

    if (rc == WLOAD_OK && target->connection_count > WL_TRANSFER_CONNECTIONS_MAX) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "%u connections; at most %u are made",
                          target->connection_count, WL_TRANSFER_CONNECTIONS_MAX);
    }
    if (rc == WLOAD_OK && target->io_policy > WLOAD_IO_BUFFERED) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "io_policy is not one of its enum");
    }
    return rc;
}

int wload_context_new(const struct wload_context_options *options, struct wload_context **out,
                      struct wload_error *err)
{
    struct wload_context_options taken;
    struct wload_context *context;
    int rc;

    if (!out) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "out is NULL");
    }
    rc = wl_options_take(&taken, sizeof(taken), options, err);
    if (rc < 0) {
        return rc;
    }
    context = wl_sys->alloc(sizeof(*context));
    if (!context) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a context");
    }
    atomic_init(&context->references, 1);
    context->log.line = taken.log;
    context->log.user = taken.log_user;
    context->log.level = taken.log_level ? taken.log_level : WLOAD_LOG_WARN;
    if (taken.log_components) {
        (void)snprintf(context->log.components, sizeof(context->log.components), "%s",
                       taken.log_components);
    }
    if (taken.trace_event_count > 0) {
        rc = wl_trace_new(taken.trace_event_count, &context->trace, err);
        if (rc < 0) {
            wload_context_free(context);
            return rc;
        }
    }
    *out = context;
    return WLOAD_OK;
}

int wl_context_share(struct wload_context *context, struct wload_context **out,
                     struct wload_error *err)
{
    if (!context) {
        return wload_context_new(NULL, out, err);
    }
    atomic_fetch_add(&context->references, 1);
    *out = context;
    return WLOAD_OK;
}

void wload_context_free(struct wload_context *context)
{
    if (context && atomic_fetch_sub(&context->references, 1) == 1) {
        wl_trace_free(context->trace);
        wl_sys->free(context);
    }
}

int wload_context_trace(struct wload_context *context, const char *path, struct wload_error *err)
{
    if (!context || !path) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "%s is NULL", context ? "path" : "context");
    }
    if (!context->trace) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "'%s': the context was made with trace_event_count 0", path);
    }
    return wl_trace_write(context->trace, path, err);
}
