/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the first library that is there is used; one that is absent, one that is damaged and one
 * that lacks a call are told apart, and none of these touches the table.
 * Method: load calls of the C library's libm by lists of names, some of them of nothing and one of
 * a file that is no library; in a process of its own, which alone finds that file.
 */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/library.h"
#include "test.h"

#define DAMAGED "libwload-damaged.so.1"
#define ABSENT  "libwload-absent.so.1"
#define BROKEN  WLOAD_ERR_DEVICE

struct table {
    void *untouched; /* of a call without a symbol */
    double (*floor)(double value);
    double (*optional)(double value);
    double (*ceil)(double value);
};

static const struct wl_library_call calls[] = {
    {.symbol = NULL},
    {.symbol = "floor", .offset = offsetof(struct table, floor)},
    {.symbol = "wload_no_such_call", .offset = offsetof(struct table, optional), .is_optional = 1},
    {.symbol = "ceil", .offset = offsetof(struct table, ceil)},
};

static const struct wl_library_call calls_of_tomorrow[] = {
    {.symbol = "floor", .offset = offsetof(struct table, floor)},
    {.symbol = "wload_no_such_call", .offset = offsetof(struct table, ceil)},
};

static const struct row {
    const char *names[4];
    bool wants_tomorrow;
    int rc;
    bool is_absent;
    const char *said;
} rows[] = {
    {{"libm.so.6"}, false, WLOAD_OK, false, ""},
    {{ABSENT, "libm.so.6", DAMAGED}, false, WLOAD_OK, false, ""},
    {{ABSENT},
     false,
     WLOAD_ERR_UNSUPPORTED,
     true,
     "no test library '" ABSENT "' on this machine; remedy"},
    {{ABSENT, "libwload-absent.so.0"}, false, WLOAD_ERR_UNSUPPORTED, true, "'" ABSENT "'"},
    {{ABSENT, DAMAGED, "libm.so.6"}, false, BROKEN, false, "'" DAMAGED "' does not load: "},
    {{ABSENT, "libm.so.6"},
     true,
     BROKEN,
     false,
     "'libm.so.6' has no wload_no_such_call: the test library is too old; remedy"},
};

static void check_row(const struct row *row)
{
    const struct wl_library library = {
        .names = row->names,
        .noun = "test library",
        .remedy = "; remedy",
        .broken = BROKEN,
        .calls = row->wants_tomorrow ? calls_of_tomorrow : calls,
        .call_count = row->wants_tomorrow ? WL_COUNT_OF(calls_of_tomorrow) : WL_COUNT_OF(calls),
    };
    struct wload_error err = {0};
    struct table table = {.untouched = &table};

    CHECK_EQ(wl_library_load(&library, &table, &err), row->rc);
    CHECK_EQ(wl_library_load(&library, &table, NULL), row->rc); /* and the same again */
    CHECK_EQ(err.code, row->rc);
    CHECK(strstr(err.message, row->said));
    CHECK_EQ(wl_library_is_absent(&library), row->is_absent);
    CHECK(table.untouched == &table);
    CHECK(!table.optional);
    if (row->rc == WLOAD_OK) {
        CHECK(table.floor(1.5) < 1.25 && table.ceil(1.5) > 1.75);
    } else {
        CHECK(!table.floor && !table.ceil);
    }
}

static void run_with(const char *folder)
{
    pid_t child = fork();
    int status;

    CHECK(child >= 0);
    if (child == 0) {
        (void)setenv("LD_LIBRARY_PATH", folder, 1);
        (void)execl("/proc/self/exe", "test_library", "rows", (char *)NULL);
        _exit(127);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/test_library.XXXXXX";
    char path[sizeof(folder) + sizeof(DAMAGED)];
    int fd;

    (void)argv;
    for (size_t i = 0; argc > 1 && i < WL_COUNT_OF(rows); i++) {
        check_row(&rows[i]);
    }
    if (argc > 1) {
        return 0;
    }
    CHECK(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/" DAMAGED, folder);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "no library\n", 11), 11);
    CHECK_EQ(close(fd), 0);
    run_with(folder);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(rmdir(folder), 0);
    return 0;
}
