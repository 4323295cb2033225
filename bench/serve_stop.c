/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "bench/serve.h"

#define NS_PER_S 1000000000

static const int signals[] = {SIGINT, SIGTERM};

/* Readable from the first signal on, for all threads. */
static int stop_fd = -1;

static void note(int number)
{
    const uint64_t one = 1;
    int saved = errno;

    (void)number;
    (void)!write(stop_fd, &one, sizeof(one));
    errno = saved;
}

int serve_stop_begin(struct wload_error *err)
{
    const struct sigaction noting = {.sa_handler = note};

    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_fd < 0) {
        return wl_err_sys(err, errno, "cannot make a descriptor to wait for the end on");
    }
    for (size_t i = 0; i < WL_COUNT_OF(signals); i++) {
        struct sigaction before;

        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            (void)sigaction(signals[i], &noting, NULL);
        }
    }
    return WLOAD_OK;
}

void serve_stop_end(void)
{
    for (size_t i = 0; i < WL_COUNT_OF(signals); i++) {
        struct sigaction now;

        if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler == note) {
            (void)signal(signals[i], SIG_DFL);
        }
    }
    (void)close(stop_fd);
    stop_fd = -1;
}

/* Whether the end came within that time; NULL: however long it takes. */
static bool came_within(const struct timespec *timeout)
{
    struct pollfd wanted = {.fd = stop_fd, .events = POLLIN};

    return ppoll(&wanted, 1, timeout, NULL) > 0;
}

bool serve_stop_came(void)
{
    return came_within(&(const struct timespec){0});
}

void serve_stop_wait(void)
{
    while (!came_within(NULL)) {
    }
}

void serve_sleep_until(int64_t deadline_ns)
{
    int64_t left_ns;

    while ((left_ns = deadline_ns - wl_clock_ns()) > 0) {
        const struct timespec timeout = {.tv_sec = left_ns / NS_PER_S,
                                         .tv_nsec = left_ns % NS_PER_S};

        if (came_within(&timeout)) {
            return;
        }
    }
}
