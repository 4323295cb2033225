/* SPDX-License-Identifier: Apache-2.0 */
/* Small models for tests, and the judge of what was loaded: plain reads of the same files. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stdbool.h>

#include "wload.h"

#define SAMPLE_PATH_BYTES 256

/* A new directory under $TMPDIR that is removed, with all in it, when the program exits. */
const char *sample_dir(void);

/*
 * Write `name` in sample_dir(): a safetensors file of about size_bytes with
 * tensors of many sizes and dtypes, empty, scalar and unaligned ones among them.
 * The same seed writes the same bytes.  Returns the file's path.
 */
const char *sample_write(const char *name, uint64_t size_bytes, uint64_t seed);

/* Whether `data` is what plain reads find of `tensor` from tensor_offset on. */
int sample_is_equal(const struct wload_model *model, const struct wload_tensor *tensor,
                    uint64_t tensor_offset, const void *data, uint64_t size_bytes);

/* Whether the kernel gives this process a ring: container runtimes refuse it, and old kernels. */
bool sample_has_uring(void);

#endif /* SAMPLE_H */
