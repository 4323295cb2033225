/* SPDX-License-Identifier: Apache-2.0 */
/* What people read: escaped names, sizes, tables, one-line failures; and JSON out, by cJSON. */
#ifndef WLOAD_TEXT_H
#define WLOAD_TEXT_H

#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>

#include "wload.h"

#define TEXT_SIZE_BYTES 32

/* Names from files on a terminal: control, bidi and invalid bytes become \xNN or \u{NNNN}. */
void text_put_escaped(FILE *out, const char *text);

/* "4.00 GiB", "512 B". */
const char *text_size(uint64_t bytes, char out[TEXT_SIZE_BYTES]);

/* "1.23 GB/s", "45.6 MB/s": powers of 1000. */
const char *text_speed(double bytes_per_s, char out[TEXT_SIZE_BYTES]);

/* "wload: MESSAGE" in one line on stderr.  Returns COMMAND_FAILED. */
int text_fail(const struct wload_error *err);
__attribute__((format(printf, 1, 2))) int text_fail_plainly(const char *fmt, ...);

/* A string member; bytes that are not UTF-8, as a path may have, are escaped. */
void text_add_string(cJSON *object, const char *name, const char *text);
/* Print `json` and free it.  Returns COMMAND_DONE, or COMMAND_FAILED if stdout cannot take it. */
int text_put_json(cJSON *json);
/* Before the work that it is to report: can `path` be written to?  Nothing there is changed.
 * Returns COMMAND_DONE, or COMMAND_FAILED after one line on stderr. */
int text_check_file(const char *path);
/* What was printed goes out now; text_finish() says if it could not. */
void text_flush(void);
/* Flush stdout and say whether all was written: the last line of every command. */
int text_finish(void);

#endif /* WLOAD_TEXT_H */
