/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an error says what the first finder knew, in one line, and its code is what is returned.
 * Method: fill errors in the three ways and read all fields; long, hostile and absent ones too.
 */
#include "base/err.h"

#include <errno.h>

#include "test.h"

static void check_fields(void)
{
    struct wload_error err;

    memset(&err, 0x55, sizeof(err));
    CHECK_EQ(wl_err_set(&err, WLOAD_ERR_SPEC, "no '%s'", "x"), WLOAD_ERR_SPEC);
    CHECK_EQ(err.code, WLOAD_ERR_SPEC);
    CHECK_STR(err.message, "no 'x'");
    CHECK_EQ(err.sys_errno, 0);
    CHECK_EQ(err.http_status, 0);
    CHECK_EQ(err.device_code, 0);
    CHECK_EQ(err.file_offset, 0);
    CHECK_EQ(err.memory_state, WLOAD_MEMORY_UNTOUCHED);

    CHECK_EQ(wl_err_at(&err, WLOAD_ERR_FORMAT, 1ull << 40, "bad"), WLOAD_ERR_FORMAT);
    CHECK_EQ(err.file_offset, 1ull << 40);

    CHECK_EQ(wl_err_sys(&err, EACCES, "cannot open '%s'", "f"), WLOAD_ERR_IO);
    CHECK_EQ(err.sys_errno, EACCES);
    CHECK_EQ(err.file_offset, 0);
    CHECK_STR(err.message, "cannot open 'f': Permission denied (EACCES)");

    CHECK_EQ(wl_err_set(NULL, WLOAD_ERR_IO, "nobody listens"), WLOAD_ERR_IO);
    CHECK_EQ(wl_err_at(NULL, WLOAD_ERR_IO, 1, "nobody listens"), WLOAD_ERR_IO);
    CHECK_EQ(wl_err_sys(NULL, ENOMEM, "nobody listens"), WLOAD_ERR_NOMEM);
}

static void check_errnos(void)
{
    CHECK_EQ(wl_err_sys(NULL, ENOENT, "x"), WLOAD_ERR_NOT_FOUND);
    CHECK_EQ(wl_err_sys(NULL, ENOTDIR, "x"), WLOAD_ERR_NOT_FOUND);
    CHECK_EQ(wl_err_sys(NULL, ENOSPC, "x"), WLOAD_ERR_NOSPACE);
    CHECK_EQ(wl_err_sys(NULL, EDQUOT, "x"), WLOAD_ERR_NOSPACE);
    CHECK_EQ(wl_err_sys(NULL, EIO, "x"), WLOAD_ERR_IO);
}

/* A message stays one line that ends, whatever it is given. */
static void check_hostile(void)
{
    struct wload_error err;
    char name[2000];

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    (void)wl_err_sys(&err, EIO, "'%s'", name);
    CHECK_EQ(strlen(err.message), sizeof(err.message) - 1);
    (void)wl_err_set(&err, WLOAD_ERR_FORMAT, "'%s'", "a\nb\x1b[2J\x7f\xc3\xa9");
    CHECK_STR(err.message, "'a?b?[2J?\xc3\xa9'");
}

int main(void)
{
    check_fields();
    check_errnos();
    check_hostile();
    CHECK_STR(wload_strerror(WLOAD_OK), "success");
    CHECK_STR(wload_strerror(WLOAD_ERR_FORMAT), "malformed weights file");
    CHECK_STR(wload_strerror(12345), "unknown status");
    CHECK_STR(wload_strerror(-12345), "unknown status");
    return 0;
}
