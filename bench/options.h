/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines, by popt.  A command has a table of options, parses once, and
 * reads its operands.  Every failure is one line on stderr and COMMAND_USAGE.
 */
#ifndef WLOAD_OPTIONS_H
#define WLOAD_OPTIONS_H

#include <popt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wload.h"

struct options {
    const char **operands;
    size_t operand_count;
    poptContext context;            /* owns the operands */
    struct poptOption *table;       /* what popt was given */
    const struct poptOption *given; /* what options_parse() was given */
};

/*
 * Parse argv[1..] by `table`.  `usage` is the rest of the usage line, for example
 * "[OPTION...] SPEC"; exactly operand_count_min to operand_count_max operands are
 * accepted.  --help prints and exits 0.  Returns 0, or COMMAND_USAGE after one
 * line on stderr.  Call options_clear() in both cases.
 *
 * What POPT_ARG_STRING and POPT_ARG_ARGV point to starts as NULL, and options_clear()
 * frees it and makes it NULL again.  Of a string given twice the last counts.  What
 * POPT_ARG_NONE points to, an int, is how often the flag was given: -vv makes it 2.
 */
int options_parse(struct options *options, int argc, const char **argv,
                  const struct poptOption *table, const char *usage, size_t operand_count_min,
                  size_t operand_count_max);
void options_clear(struct options *options);

/* Say on stderr, in one line, that `option` cannot be `value` (NULL: it has none), and why. Returns
 * COMMAND_USAGE. */
int options_refuse(const char *command, const char *option, const char *value, const char *why);

/* "8M", "256MiB", "4096", "1.5G": bytes, K M G T are powers of 1024.  False: not a size. */
bool options_size(const char *text, uint64_t *bytes);

/* "12": decimal digits alone, at most `max`.  False: not such a number. */
bool options_whole(const char *text, uint64_t max, uint64_t *value);

/* "16": how many connections at once a download may have, 1 to 256. */
bool options_connections(const char *text, uint32_t *count);

/* "auto", "host", "cuda", "cuda:1", "hip:0"; "null" only where `is_null` is given. */
bool options_device(const char *text, uint32_t *kind, uint32_t *index, bool *is_null);

/* "auto", "direct", "buffered"; and "auto", "uring", "pread". */
bool options_io(const char *text, uint32_t *io_policy);
bool options_reader(const char *text, uint32_t *reader_kind);
const char *options_device_name(uint32_t kind);
const char *options_reader_name(uint32_t reader_kind);

/*
 * The context of a command: logs errors to stderr, warnings where that is a
 * terminal, with verbosity 1 up to INFO, with 2 up to DEBUG; $WLOAD_LOG names
 * components to log in full.  A warning is told once.  NULL after one line on stderr.
 */
struct wload_context *options_context(int verbosity, uint32_t trace_event_count);

/* What people must know of a result without having asked: "warning: ..." in one line on stderr,
 * unless a context has logged just that.  Nothing if `note` is empty. */
void options_warn(const char *what, const char *note);

#endif /* WLOAD_OPTIONS_H */
