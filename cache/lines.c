/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/lines.h"

#include "base/base.h"

void wl_lines_init(struct wl_lines *lines, const struct wl_config *config)
{
    *lines = (struct wl_lines){.config = config};
    WL_ASSERT(pthread_mutex_init(&lines->mutex, NULL) == 0);
}

int wl_lines_take(struct wl_lines *lines, struct wl_http **out, struct wload_error *err)
{
    struct wl_http *http = NULL;

    (void)pthread_mutex_lock(&lines->mutex);
    if (lines->idle_count > 0) {
        http = lines->idle[--lines->idle_count];
    }
    (void)pthread_mutex_unlock(&lines->mutex);
    if (!http) {
        return wl_http_new(lines->config, out, err);
    }
    *out = http;
    return WLOAD_OK;
}

void wl_lines_give(struct wl_lines *lines, struct wl_http *http)
{
    (void)pthread_mutex_lock(&lines->mutex);
    if (http && lines->idle_count < WL_LINES_MAX) {
        lines->idle[lines->idle_count++] = http;
        http = NULL;
    }
    (void)pthread_mutex_unlock(&lines->mutex);
    wl_http_free(http);
}

void wl_lines_close(struct wl_lines *lines)
{
    (void)pthread_mutex_lock(&lines->mutex);
    while (lines->idle_count > 0) {
        wl_http_free(lines->idle[--lines->idle_count]);
    }
    (void)pthread_mutex_unlock(&lines->mutex);
}

void wl_lines_clear(struct wl_lines *lines)
{
    wl_lines_close(lines);
    (void)pthread_mutex_destroy(&lines->mutex);
}
