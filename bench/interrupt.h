/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ctrl-C while there is something to put in order: noted, looked at by the work
 * between two steps, and died of once all is clean.  A second one kills at once.
 *
 *   interrupt_begin() ... interrupt_came() ... interrupt_end()
 */
#ifndef WLOAD_INTERRUPT_H
#define WLOAD_INTERRUPT_H

#include <stdbool.h>

/* From now on SIGINT, SIGTERM and SIGHUP are only noted; those that are ignored stay so. */
void interrupt_begin(void);

/* Whether one came since. */
bool interrupt_came(void);

/* Give the signals back their effect, and die of the one that came, if one did.  Nothing if
 * there was no interrupt_begin(). */
void interrupt_end(void);

#endif /* WLOAD_INTERRUPT_H */
