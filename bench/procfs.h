/* SPDX-License-Identifier: Apache-2.0 */
/* Small facts that the kernel tells in text files. */
#ifndef WLOAD_PROCFS_H
#define WLOAD_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The first line of a file without its newline.  False: no such file, or it is empty. */
bool procfs_line(const char *path, char *line, size_t size);

/* The number behind "name:" in a file of such lines, as /proc/meminfo.  False: it is not there. */
bool procfs_number(const char *path, const char *name, uint64_t *value);

#endif /* WLOAD_PROCFS_H */
