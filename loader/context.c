/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/context.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"
#include "loader/options.h"

#define COMPONENTS            "spec,cache,http,index,plan,reader,staging,device,job"
#define COMPONENT_BYTES_SHOWN 80u /* of one that is none */

uint32_t wload_version(void)
{
    return WLOAD_VERSION_NUMBER;
}

static int take_context(struct wload_context_options *target,
                        const struct wload_context_options *source, struct wload_error *err)
{
    int rc = wl_options_take(target, sizeof(*target), source, err);
    const struct wl_option level = {"log_level", target->log_level, WLOAD_LOG_DEBUG};

    return rc < 0 ? rc : wl_options_check(&level, 1, err);
}

static bool is_component(const char *name, size_t name_bytes)
{
    for (const char *at = COMPONENTS; *at; at += strcspn(at, ","), at += *at == ',') {
        if (strncmp(at, name, name_bytes) == 0 &&
            (at[name_bytes] == ',' || at[name_bytes] == '\0')) {
            return true;
        }
    }
    return false;
}

/* One that is mistyped, or of a newer library, costs lines of the log and no load. */
static void log_unknown_components(const struct wl_log *log, const char *names)
{
    size_t bytes;

    for (; *names; names += bytes, names += *names == ',') {
        bytes = strcspn(names, ",");
        if (!is_component(names, bytes)) {
            WL_LOG(log, WLOAD_LOG_ERROR, "log", "no component '%.*s' among " COMPONENTS,
                   (int)wl_min(bytes, COMPONENT_BYTES_SHOWN), names);
        }
    }
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
    rc = take_context(&taken, options, err);
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
        log_unknown_components(&context->log, taken.log_components);
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
