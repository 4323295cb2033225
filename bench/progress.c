/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "bench/interrupt.h"
#include "bench/text.h"

#define STEP_NS         100000000 /* at most ten lines a second */
#define MEMORY_S        3.0       /* of the speed: older bytes hardly count */
#define NAME_BYTES_MAX  40
#define LEFT_BYTES      24
#define SECONDS_AT_MOST (100.0 * 3600)

void progress_begin(struct progress *progress)
{
    *progress = (struct progress){.has_terminal = isatty(STDERR_FILENO) == 1};
}

static void measure(struct progress *progress, const struct wload_fetch_progress *now)
{
    double seconds = (double)(now->elapsed_ns - progress->measured_ns) / 1e9;
    double bytes_per_s;

    if (seconds <= 0) {
        return;
    }
    bytes_per_s = (double)(now->received_bytes - progress->measured_bytes) / seconds;
    progress->bytes_per_s = progress->measured_ns == 0
                                ? bytes_per_s
                                : progress->bytes_per_s + (bytes_per_s - progress->bytes_per_s) *
                                                              seconds / (seconds + MEMORY_S);
    progress->measured_ns = now->elapsed_ns;
    progress->measured_bytes = now->received_bytes;
}

/* "0:07", "1:02:03", "-:--". */
static const char *left_text(const struct progress *progress,
                             const struct wload_fetch_progress *now, char out[LEFT_BYTES])
{
    double seconds = progress->bytes_per_s >= 1
                         ? (double)(now->total_bytes - now->present_bytes) / progress->bytes_per_s
                         : SECONDS_AT_MOST;
    unsigned whole;

    if (seconds >= SECONDS_AT_MOST) {
        return "-:--";
    }
    whole = (unsigned)(seconds + 0.5);
    if (whole >= 3600) {
        (void)snprintf(out, LEFT_BYTES, "%u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
    } else {
        (void)snprintf(out, LEFT_BYTES, "%u:%02u", whole / 60, whole % 60);
    }
    return out;
}

static void put_waiting(const char *name)
{
    char shown[NAME_BYTES_MAX + 1];

    (void)snprintf(shown, sizeof(shown), "%s", name);
    (void)fputs("\rwaiting for another process, which downloads ", stderr);
    text_put_escaped(stderr, shown);
    (void)fputs("\033[K", stderr);
}

static void put_line(const struct progress *progress, const struct wload_fetch_progress *now)
{
    uint64_t percent =
        now->total_bytes > 0
            ? (uint64_t)(100.0 * (double)now->present_bytes / (double)now->total_bytes)
            : 100;
    char present[TEXT_SIZE_BYTES];
    char total[TEXT_SIZE_BYTES];
    char speed[TEXT_SIZE_BYTES];
    char left[LEFT_BYTES];

    (void)fprintf(stderr, "\r%3" PRIu64 "%%  %s of %s  %s  %s left  %u of %u files\033[K", percent,
                  text_size(now->present_bytes, present), text_size(now->total_bytes, total),
                  text_speed(progress->bytes_per_s, speed), left_text(progress, now, left),
                  now->done_count, now->file_count);
}

void progress_draw(struct progress *progress, const struct wload_fetch_progress *now)
{
    if (!progress->has_terminal ||
        (progress->drawn_ns != 0 && now->elapsed_ns - progress->drawn_ns < STEP_NS)) {
        return;
    }
    measure(progress, now);
    flockfile(stderr);
    if (now->waiting_for) {
        put_waiting(now->waiting_for);
    } else {
        put_line(progress, now);
    }
    funlockfile(stderr);
    progress->drawn_ns = now->elapsed_ns;
    progress->is_shown = true;
}

int progress_step(void *user, const struct wload_fetch_progress *now)
{
    struct progress *progress = user;

    if (!progress->has_begun) {
        progress->has_begun = true;
        interrupt_begin();
    }
    progress_draw(progress, now);
    return interrupt_came();
}

void progress_end(struct progress *progress)
{
    if (progress->is_shown) {
        (void)fputs("\r\033[K", stderr);
        progress->is_shown = false;
    }
}
