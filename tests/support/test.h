/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test is a program: its first comment says goal and method.  A failed check
 * prints both values and exits 1; exit 77 means skipped, after saying why.
 */
#ifndef TEST_H
#define TEST_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEST_SKIP 77

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

#define CHECK_EQ(a, b)                                                                       \
    do {                                                                                     \
        int64_t a_ = (int64_t)(a), b_ = (int64_t)(b);                                        \
        if (a_ != b_) {                                                                      \
            (void)fprintf(stderr, "%s:%d: %s is %" PRId64 ", %s is %" PRId64 "\n", __FILE__, \
                          __LINE__, #a, a_, #b, b_);                                         \
            exit(1);                                                                         \
        }                                                                                    \
    } while (0)

#define CHECK_STR(a, b)                                                                        \
    do {                                                                                       \
        const char *a_ = (a), *b_ = (b);                                                       \
        if (strcmp(a_, b_) != 0) {                                                             \
            (void)fprintf(stderr, "%s:%d: %s is '%s', not '%s'\n", __FILE__, __LINE__, #a, a_, \
                          b_);                                                                 \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

/* A call that must succeed; prints the library's message if it does not. */
#define CHECK_OK(call, err)                                                                \
    do {                                                                                   \
        int rc_ = (call);                                                                  \
        if (rc_ != 0) {                                                                    \
            (void)fprintf(stderr, "%s:%d: %s is %d: %s\n", __FILE__, __LINE__, #call, rc_, \
                          (err)->message);                                                 \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)

#endif /* TEST_H */
