/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a libcurl that raises SIGPIPE ends no process, and what a caller does about that signal,
 * its mask, its disposition, one that is pending, is after an exchange what it was before.
 * Method: an exchange whose receiver writes to a pipe that nobody reads, as such a libcurl would to
 * its socket.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "cache/http.h"
#include "script_server.h"

static int broken_pipe(void)
{
    int ends[2];

    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(close(ends[0]), 0);
    return ends[1];
}

static int write_in_vain(void *user, const struct wl_http_response *response, const void *data,
                         size_t size_bytes)
{
    const int *fd = user;

    CHECK_EQ(response->status, 200);
    CHECK_EQ(write(*fd, data, size_bytes), -1);
    CHECK_EQ(errno, EPIPE);
    return 0;
}

static bool is_pending(void)
{
    sigset_t pending;

    CHECK_EQ(sigpending(&pending), 0);
    return sigismember(&pending, SIGPIPE) == 1;
}

static bool is_blocked(void)
{
    sigset_t mask;

    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    CHECK_EQ(sigismember(&mask, SIGTERM), 0);
    return sigismember(&mask, SIGPIPE) == 1;
}

static void exchange(void)
{
    static char agent[] = "wload/test";
    const struct wl_config config = {.user_agent = agent};
    struct wl_http_response response = {0};
    struct script_server server;
    struct wload_error err = {0};
    struct wl_http *http;
    char url[64];
    int fd = broken_pipe();
    struct wl_http_request request = {.url = url,
                                      .connect_timeout_ms = 20000,
                                      .stall_timeout_ms = 20000,
                                      .on_body = write_in_vain,
                                      .user = &fd};

    script_start(&server);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/file", server.port);
    script_add(&server, SCRIPT_KEEP, "body", 4, "HTTP/1.1 200 x\r\nContent-Length: 4\r\n");
    CHECK_OK(wl_http_new(&config, &http, &err), &err);
    CHECK_OK(wl_http_perform(http, &request, &response, &err), &err);
    wl_http_response_clear(&response);
    wl_http_free(http);
    script_wait(&server, 1);
    CHECK(script_was_asked(&server, 0, "/file"));
    script_stop(&server);
    CHECK_EQ(close(fd), 0);
}

static void check_default(void)
{
    struct sigaction action;

    exchange();
    CHECK(!is_pending() && !is_blocked());
    CHECK_EQ(sigaction(SIGPIPE, NULL, &action), 0);
    CHECK(action.sa_handler == SIG_DFL);
}

static void check_blocked(void)
{
    sigset_t pipe_alone;
    int number;

    CHECK_EQ(sigemptyset(&pipe_alone), 0);
    CHECK_EQ(sigaddset(&pipe_alone, SIGPIPE), 0);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &pipe_alone, NULL), 0);
    exchange();
    CHECK(!is_pending() && is_blocked());
    CHECK_EQ(raise(SIGPIPE), 0);
    exchange();
    CHECK(is_pending() && is_blocked()); /* the caller's own */
    CHECK_EQ(sigwait(&pipe_alone, &number), 0);
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &pipe_alone, NULL), 0);
}

int main(void)
{
    const struct wl_config config = {0};
    struct wl_http *http;

    if (wl_http_new(&config, &http, NULL) == WLOAD_ERR_UNSUPPORTED) {
        (void)fprintf(stderr, "this build has no network\n");
        return TEST_SKIP;
    }
    wl_http_free(http);
    (void)signal(SIGPIPE, SIG_DFL); /* whoever started this may ignore it */
    check_default();
    check_blocked();
    return 0;
}
