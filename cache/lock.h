/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks that every tool on the machine respects: flock(2) on an empty file, or, where
 * that is not known, a file that is a lock by existing.
 *
 * A lock saves bandwidth: two processes do not download the same file.  It is
 * never what correctness rests on, for on some file systems everyone gets it.
 * The files of flock(2) are not removed: another may be waiting on them.  Those that
 * are locks by existing go with the lock.
 */
#ifndef WL_LOCK_H
#define WL_LOCK_H

#include <stdint.h>

#include "base/log.h"

struct wl_lock {
    int fd;       /* -1: not held, or held by its existence only */
    char *path;   /* of a lock that is a lock by existing; NULL: flock, or none */
    bool is_held; /* false: it cannot be had at all (read-only), the caller goes on without */
};

/*
 * Take the lock at `path`, whose directories are made where missing, or come
 * back at once.  WLOAD_ERR_LOCKED: another has it.  Where the file can be
 * neither made nor opened nor locked, and cannot stand for a lock by existing:
 * WLOAD_OK with is_held false, logged as "cache".
 */
int wl_lock_try(const struct wl_log *log, const char *path, struct wl_lock *out,
                struct wload_error *err);
void wl_lock_release(struct wl_lock *lock);

/*
 * Another process has had the lock of file `name`, and nothing has come of it, for
 * `waited_ns`.  That is logged once, when it is long, and noted in *is_noticed; it
 * is WLOAD_ERR_LOCKED beyond `limit_ms` (-1: never).
 */
int wl_lock_wait(const struct wl_log *log, const char *name, int64_t waited_ns, int64_t limit_ms,
                 bool *is_noticed, struct wload_error *err);

#endif /* WL_LOCK_H */
