/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES_MAX 1024

static bool listed(const char *components, const char *component)
{
    size_t length = strlen(component);

    for (const char *at = components; *at; at += strcspn(at, ","), at += *at == ',') {
        if (strncmp(at, component, length) == 0 && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

bool wl_log_wants(const struct wl_log *log, enum wload_log_level level, const char *component)
{
    return log->line && ((uint32_t)level <= log->level || listed(log->components, component));
}

void wl_log_write(const struct wl_log *log, enum wload_log_level level, const char *component,
                  const char *fmt, ...)
{
    char line[LINE_BYTES_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    log->line(log->user, level, component, line);
}
