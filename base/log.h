/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines for people; trace.h records events for tools.
 *
 * Lower case, no final period, values after their names without '=': "file 3
 * offset 4096 short by 512".  Never a token, never the query part of a URL.
 * Library code logs decisions and retries; failures are returned, not logged.
 */
#ifndef WL_LOG_H
#define WL_LOG_H

#include <stdbool.h>

#include "wload.h"

struct wl_log {
    wload_log_fn line; /* NULL: nobody listens */
    void *user;
    uint32_t level;
    char components[120]; /* comma-separated; logged at every level */
};

bool wl_log_wants(const struct wl_log *log, enum wload_log_level level, const char *component);

__attribute__((format(printf, 4, 5))) void wl_log_write(const struct wl_log *log,
                                                        enum wload_log_level level,
                                                        const char *component, const char *fmt,
                                                        ...);

/* The arguments are not evaluated when nobody listens. */
#define WL_LOG(log, severity, component, ...)                    \
    do {                                                         \
        if (wl_log_wants(log, severity, component)) {            \
            wl_log_write(log, severity, component, __VA_ARGS__); \
        }                                                        \
    } while (0)

#endif /* WL_LOG_H */
