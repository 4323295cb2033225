/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: found once, passed on untouched.
 *
 * The function that finds a failure calls one of these and returns what it
 * returns.  Every caller above only cleans up and returns the same number.
 */
#ifndef WL_ERR_H
#define WL_ERR_H

#include "wload.h"

/* Fill *err if err is not NULL.  Returns `code`, so `return wl_err_set(...)` reads well. */
__attribute__((format(printf, 3, 4))) int wl_err_set(struct wload_error *err, int code,
                                                     const char *fmt, ...);

/* The same, for a finding at `offset` of the file that the message names. */
__attribute__((format(printf, 4, 5))) int wl_err_at(struct wload_error *err, int code,
                                                    uint64_t offset, const char *fmt, ...);

/* For a failed system call: picks the status for `sys_errno` and appends its text. */
__attribute__((format(printf, 3, 4))) int wl_err_sys(struct wload_error *err, int sys_errno,
                                                     const char *fmt, ...);

/* The same, of a path that was to be made: what is missing of it, or is no folder, is WLOAD_ERR_IO.
 * WLOAD_ERR_NOT_FOUND is of models. */
__attribute__((format(printf, 3, 4))) int wl_err_make(struct wload_error *err, int sys_errno,
                                                      const char *fmt, ...);

#endif /* WL_ERR_H */
