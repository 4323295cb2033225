/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line on stderr while files are downloaded or hashed: only on a terminal, at
 * most ten times a second, gone at the end.
 *
 *   progress_begin() ... progress_step() or progress_draw() ... progress_end()
 */
#ifndef WLOAD_PROGRESS_H
#define WLOAD_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "wload.h"

struct progress {
    bool has_terminal;
    bool is_shown;
    bool has_begun; /* progress_step() was called */
    int64_t drawn_ns;
    int64_t measured_ns;
    uint64_t measured_bytes;
    double bytes_per_s; /* of late; 0: not known */
};

void progress_begin(struct progress *progress);

/*
 * The on_progress of a download, `user` is the progress.  From the first call on
 * signals are only noted (interrupt.h), and one that came stops the download: call
 * interrupt_end() once that was reported.
 */
int progress_step(void *user, const struct wload_fetch_progress *now);

/* Only the line. */
void progress_draw(struct progress *progress, const struct wload_fetch_progress *now);

/* Erase the line; it may be drawn again. */
void progress_end(struct progress *progress);

#endif /* WLOAD_PROGRESS_H */
