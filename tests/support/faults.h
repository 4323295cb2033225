/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of system calls that misbehaves on order.  Hang it in with
 * faults_begin(), take it out with faults_end().
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

struct faults {
    uint64_t fail_at;      /* the call that fails, counted from 1; 0: none */
    bool is_short;         /* reads return less than asked for, or EINTR */
    bool refuses_at_open;  /* O_DIRECT: EINVAL at open */
    bool refuses_at_read;  /* O_DIRECT: opens well, and every read says EINVAL */
    int ring_errno;        /* io_uring_setup fails with it; 0: works */
    bool refuses_buffers;  /* no buffer can be registered */
    bool denies_residency; /* no page is in the page cache */
    bool hides_residency;  /* neither cachestat nor mincore nor reads that do not wait */
    bool claims_residency; /* every page is in the page cache */
};

void faults_begin(const struct faults *faults);
/* Back to the real table.  Returns how many calls were made. */
uint64_t faults_end(void);
/* Blocks allocated and not freed since faults_begin(). */
int64_t faults_live_blocks(void);
/* Allocations since faults_begin(). */
uint64_t faults_allocations(void);

/* Open descriptors of this process. */
unsigned faults_open_descriptors(void);

#endif /* FAULTS_H */
