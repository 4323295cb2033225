/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests against the double of the GPU drivers (double/double.h).  The dynamic
 * linker takes its search path when a program starts, so a test starts itself
 * again to have the double found: driver_run() in one process, driver_attach()
 * in the next.
 */
#ifndef DRIVER_H
#define DRIVER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Run this program again with two arguments (NULL: none), the double of
 * `folder` below $WLOAD_DOUBLE in its search path.  Returns what waitpid() says of
 * it; with `said`, what it wrote to stderr is there and nowhere else.
 */
int driver_run(const char *folder, const char *mode, const char *detail, char *said,
               size_t said_bytes);

void driver_attach(void);

/* Start the double anew with settings like "MODE=lazy FAIL=copy:2:700", the default for others. */
void driver_set(const char *settings);

/* A counter of the double. */
uint64_t driver_count(const char *name);

/* Nothing that the drivers ever gave is still held. */
void driver_check_clean(void);

/* A call that the drivers export; copy it into a pointer of its type. */
void *driver_symbol(const char *name);

#endif /* DRIVER_H */
