/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines that nobody uses now, with their connections open.  What is asked for
 * first, a listing, then headers, then weights, comes from the same few servers:
 * whoever needs a line goes on with one that already leads there.
 */
#ifndef WL_LINES_H
#define WL_LINES_H

#include <pthread.h>

#include "cache/http.h"

#define WL_LINES_MAX 512u /* that are kept: more than are ever used at once */

/* Shared by threads. */
struct wl_lines {
    const struct wl_config *config; /* borrowed */
    pthread_mutex_t mutex;
    struct wl_http *idle[WL_LINES_MAX]; /* the last is the one that was used last */
    uint32_t idle_count;
};

void wl_lines_init(struct wl_lines *lines, const struct wl_config *config);

/* A line for one thread, to be given back. */
int wl_lines_take(struct wl_lines *lines, struct wl_http **out, struct wload_error *err);
void wl_lines_give(struct wl_lines *lines, struct wl_http *http); /* NULL: nothing */

/* Close all that are idle: no server is asked again soon. */
void wl_lines_close(struct wl_lines *lines);

/* All were given back. */
void wl_lines_clear(struct wl_lines *lines);

#endif /* WL_LINES_H */
