/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a line is written where its level or its component is wanted, and nowhere else.
 * Method: collect lines; arguments of lines that nobody wants must not be evaluated.
 */
#include "base/log.h"

#include "test.h"

static char last[2048];
static unsigned lines;

static void take(void *user, enum wload_log_level level, const char *component, const char *line)
{
    CHECK(user == &lines);
    lines++;
    (void)snprintf(last, sizeof(last), "%d %s %s", (int)level, component, line);
}

static unsigned count_up(unsigned *counter)
{
    return ++*counter;
}

int main(void)
{
    struct wl_log silent = {.level = WLOAD_LOG_DEBUG};
    struct wl_log log = {.line = take, .user = &lines, .level = WLOAD_LOG_WARN};
    struct wl_log some = {.line = take,
                          .user = &lines,
                          .level = WLOAD_LOG_ERROR,
                          .components = "reader,plan"};
    char text[3000];
    unsigned evaluated = 0;

    WL_LOG(&silent, WLOAD_LOG_ERROR, "job", "%u", count_up(&evaluated));
    WL_LOG(&log, WLOAD_LOG_INFO, "job", "%u", count_up(&evaluated));
    CHECK_EQ(evaluated, 0);
    CHECK_EQ(lines, 0);
    WL_LOG(&log, WLOAD_LOG_WARN, "job", "short by %u", count_up(&evaluated));
    CHECK_EQ(evaluated, 1);
    CHECK_STR(last, "2 job short by 1");

    CHECK(wl_log_wants(&some, WLOAD_LOG_DEBUG, "reader"));
    CHECK(wl_log_wants(&some, WLOAD_LOG_DEBUG, "plan"));
    CHECK(wl_log_wants(&some, WLOAD_LOG_ERROR, "job"));
    CHECK(!wl_log_wants(&some, WLOAD_LOG_DEBUG, "job"));
    CHECK(!wl_log_wants(&some, WLOAD_LOG_DEBUG, "read"));
    CHECK(!wl_log_wants(&some, WLOAD_LOG_DEBUG, "readers"));
    CHECK(!wl_log_wants(&some, WLOAD_LOG_DEBUG, "lan"));

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    wl_log_write(&log, WLOAD_LOG_ERROR, "job", "%s", text);
    CHECK_EQ(lines, 2);
    CHECK(strlen(last) < sizeof(text));
    return 0;
}
