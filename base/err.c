/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(struct wload_error) == 512, "frozen: callers allocate it");

const char *wload_strerror(int status)
{
    switch (status) {
#define WL_CASE(name, value, text) \
    case WLOAD_##name:             \
        return text;
        WLOAD_STATUS_MAP(WL_CASE)
#undef WL_CASE
    default:
        return "unknown status";
    }
}

/* A message is one line whatever the names in it: control characters become '?'. */
static void flatten(char *message)
{
    for (; *message; message++) {
        if ((unsigned char)*message < 0x20 || *message == 0x7f) {
            *message = '?';
        }
    }
}

__attribute__((format(printf, 3, 0))) static void fill(struct wload_error *err, int code,
                                                       const char *fmt, va_list ap)
{
    memset(err, 0, sizeof(*err));
    err->code = code;
    (void)vsnprintf(err->message, sizeof(err->message), fmt, ap);
    flatten(err->message);
}

int wl_err_set(struct wload_error *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (err) {
        va_start(ap, fmt);
        fill(err, code, fmt, ap);
        va_end(ap);
    }
    return code;
}

int wl_err_at(struct wload_error *err, int code, uint64_t offset, const char *fmt, ...)
{
    va_list ap;

    if (err) {
        va_start(ap, fmt);
        fill(err, code, fmt, ap);
        va_end(ap);
        err->file_offset = offset;
    }
    return code;
}

static int status_of_errno(int sys_errno)
{
    switch (sys_errno) {
    case ENOENT:
    case ENOTDIR:
        return WLOAD_ERR_NOT_FOUND;
    case ENOMEM:
        return WLOAD_ERR_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return WLOAD_ERR_NOSPACE;
    default:
        return WLOAD_ERR_IO;
    }
}

__attribute__((format(printf, 4, 0))) static void fill_sys(struct wload_error *err, int code,
                                                           int sys_errno, const char *fmt,
                                                           va_list ap)
{
    size_t used;

    fill(err, code, fmt, ap);
    used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof(err->message) - used, ": %s (%s)",
                   strerrordesc_np(sys_errno), strerrorname_np(sys_errno));
    err->sys_errno = sys_errno;
}

int wl_err_sys(struct wload_error *err, int sys_errno, const char *fmt, ...)
{
    int code = status_of_errno(sys_errno);
    va_list ap;

    if (err) {
        va_start(ap, fmt);
        fill_sys(err, code, sys_errno, fmt, ap);
        va_end(ap);
    }
    return code;
}

int wl_err_make(struct wload_error *err, int sys_errno, const char *fmt, ...)
{
    int found = status_of_errno(sys_errno);
    int code = found == WLOAD_ERR_NOT_FOUND ? WLOAD_ERR_IO : found;
    va_list ap;

    if (err) {
        va_start(ap, fmt);
        fill_sys(err, code, sys_errno, fmt, ap);
        va_end(ap);
    }
    return code;
}
