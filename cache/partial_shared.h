/* SPDX-License-Identifier: Apache-2.0 */
/* How a process gets the partial file that all know by one name; for partial_open.c only. */
#ifndef WL_PARTIAL_SHARED_H
#define WL_PARTIAL_SHARED_H

/* Never blocks and follows no link.  A descriptor, or a negative errno. */
int wl_partial_open_path(const char *path, int flags);

/*
 * Open or make the file at `path` with a lock that keeps all others away, of any
 * machine.  -1: another process writes it, it is nothing to write to, or no lock
 * here is known to do that.
 */
int wl_partial_open_shared(const char *path);

#endif /* WL_PARTIAL_SHARED_H */
