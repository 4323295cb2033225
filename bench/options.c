/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/options.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "bench/command.h"
#include "bench/text.h"

#define TITLE_BYTES_MAX     64
#define CONNECTIONS_MAX     256u
#define FRACTION_DIGITS_MAX 6u /* times the largest unit, these still fit 64 bits */
#define WARNINGS_MAX        64u
#define WARNING_BYTES_MAX   1024u     /* as long as a line of the log */
#define HELP_VALUE          (1 << 20) /* beyond every option's number */

struct name {
    const char *text;
    uint32_t value;
};

static const struct name device_names[] = {
    {"auto", WLOAD_DEVICE_AUTO},
    {"host", WLOAD_DEVICE_HOST},
    {"cuda", WLOAD_DEVICE_CUDA},
    {"hip", WLOAD_DEVICE_HIP},
};

static const struct name reader_names[] = {
    {"auto", WLOAD_READER_AUTO},
    {"uring", WLOAD_READER_URING},
    {"pread", WLOAD_READER_PREAD},
};

static const struct name io_names[] = {
    {"auto", WLOAD_IO_AUTO},
    {"direct", WLOAD_IO_DIRECT},
    {"buffered", WLOAD_IO_BUFFERED},
};

/* "wload load", as popt prints it and as error lines begin. */
static char title[TITLE_BYTES_MAX];

/* One line, whatever bytes the command line held. */
static int refuse(const char *what, const char *why)
{
    (void)fprintf(stderr, "%s: ", title);
    text_put_escaped(stderr, what);
    (void)fprintf(stderr, ": %s; see '%s --help'\n", why, title);
    return COMMAND_USAGE;
}

int options_refuse(const char *command, const char *option, const char *value, const char *why)
{
    (void)fprintf(stderr, "wload %s: %s", command, option);
    if (value) {
        (void)fputs(" '", stderr);
        text_put_escaped(stderr, value);
        (void)fputc('\'', stderr);
    }
    (void)fprintf(stderr, ": %s\n", why);
    return COMMAND_USAGE;
}

static unsigned kind_of(const struct poptOption *option)
{
    return option->argInfo & POPT_ARG_MASK;
}

static bool is_end(const struct poptOption *option)
{
    return !option->longName && !option->shortName;
}

/*
 * popt is not let near strings, lists and flags: it would leak the first copy of a
 * string given twice, and could not count.  It returns their number in the table
 * instead, counted from 1.
 */
static struct poptOption *copy_table(const struct poptOption *table)
{
    static const struct poptOption help = {"help",           'h', POPT_ARG_NONE, NULL, HELP_VALUE,
                                           "Show this help", NULL};
    size_t count = 0;
    struct poptOption *copy;

    while (!is_end(&table[count])) {
        count++;
    }
    copy = calloc(count + 2, sizeof(*copy));
    if (!copy) {
        return NULL;
    }
    memcpy(copy, table, count * sizeof(*copy));
    copy[count] = help;
    for (size_t i = 0; i < count; i++) {
        unsigned kind = kind_of(&copy[i]);

        if (kind == POPT_ARG_STRING || kind == POPT_ARG_ARGV || kind == POPT_ARG_NONE) {
            copy[i].argInfo = kind == POPT_ARG_NONE ? POPT_ARG_NONE : POPT_ARG_STRING;
            copy[i].arg = NULL;
            copy[i].val = (int)i + 1;
        }
    }
    return copy;
}

/* Returns 0 or a negative POPT_ERROR_*. */
static int take(struct options *options, const struct poptOption *option)
{
    char **text = option->arg;
    char *value;
    int rc;

    if (kind_of(option) == POPT_ARG_NONE) {
        ++*(int *)option->arg;
        return 0;
    }
    value = poptGetOptArg(options->context);
    if (kind_of(option) == POPT_ARG_STRING) {
        free(*text);
        *text = value;
        return value ? 0 : POPT_ERROR_NOARG;
    }
    rc = poptSaveString(option->arg, POPT_ARG_ARGV, value);
    free(value);
    return rc < 0 ? rc : 0;
}

static _Noreturn void print_help(struct options *options)
{
    poptPrintHelp(options->context, stdout, 0);
    options_clear(options);
    exit(text_finish());
}

/* Of the whole command line, the options.  Returns 0 or COMMAND_USAGE. */
static int take_options(struct options *options)
{
    int rc;

    while ((rc = poptGetNextOpt(options->context)) > 0) {
        if (rc == HELP_VALUE) {
            print_help(options);
        }
        rc = take(options, &options->given[rc - 1]);
        if (rc < 0) {
            break;
        }
    }
    return rc == -1
               ? 0
               : refuse(poptBadOption(options->context, POPT_BADOPTION_NOALIAS), poptStrerror(rc));
}

int options_parse(struct options *options, int argc, const char **argv,
                  const struct poptOption *table, const char *usage, size_t operand_count_min,
                  size_t operand_count_max)
{
    int rc;

    *options = (struct options){.given = table};
    (void)snprintf(title, sizeof(title), "wload %s", argv[0]);
    argv[0] = title;
    options->table = copy_table(table);
    options->context =
        options->table ? poptGetContext("wload", argc, argv, options->table, POPT_CONTEXT_NO_EXEC)
                       : NULL;
    if (!options->context) {
        return refuse(usage, "no memory for the options");
    }
    poptSetOtherOptionHelp(options->context, usage);
    rc = take_options(options);
    if (rc != 0) {
        return rc;
    }
    options->operands = poptGetArgs(options->context);
    while (options->operands && options->operands[options->operand_count]) {
        options->operand_count++;
    }
    if (options->operand_count < operand_count_min) {
        return refuse(usage, "an operand is missing");
    }
    if (options->operand_count > operand_count_max) {
        return refuse(options->operands[operand_count_max], "one operand too many");
    }
    return 0;
}

static void free_list(char **list)
{
    for (char **item = list; item && *item; item++) {
        free(*item);
    }
    free(list);
}

void options_clear(struct options *options)
{
    for (const struct poptOption *option = options->given; !is_end(option); option++) {
        if (kind_of(option) == POPT_ARG_STRING) {
            char **text = option->arg;

            free(*text);
            *text = NULL;
        } else if (kind_of(option) == POPT_ARG_ARGV) {
            char ***list = option->arg;

            free_list(*list);
            *list = NULL;
        }
    }
    (void)poptFreeContext(options->context);
    free(options->table);
}

bool options_whole(const char *text, uint64_t max, uint64_t *value)
{
    uint64_t sum = 0;

    if (*text == '\0') {
        return false;
    }
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(sum, 10u, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(*text - '0'), &sum)) {
            return false;
        }
    }
    if (*text != '\0' || sum > max) {
        return false;
    }
    *value = sum;
    return true;
}

bool options_connections(const char *text, uint32_t *count)
{
    uint64_t value;

    if (!options_whole(text, CONNECTIONS_MAX, &value) || value == 0) {
        return false;
    }
    *count = (uint32_t)value;
    return true;
}

/* "", "B", "K", "KiB", ...: powers of 1024.  0: not a unit. */
static uint64_t unit_bytes(const char *text)
{
    static const char letters[] = "KMGT";
    const char *letter;

    if (*text == '\0' || strcmp(text, "B") == 0) {
        return 1;
    }
    letter = strchr(letters, *text);
    if (!letter || (text[1] != '\0' && strcmp(text + 1, "iB") != 0)) {
        return 0;
    }
    return 1ull << (10 * (letter - letters + 1));
}

bool options_size(const char *text, uint64_t *bytes)
{
    char digits[24] = "";
    size_t whole_size = strspn(text, "0123456789");
    uint64_t fraction = 0;
    uint64_t scale = 1;
    uint64_t whole;
    uint64_t unit;

    if (whole_size >= sizeof(digits)) {
        return false;
    }
    memcpy(digits, text, whole_size);
    text += whole_size;
    if (*text == '.') {
        size_t fraction_size = strspn(++text, "0123456789");

        if (fraction_size == 0 || fraction_size > FRACTION_DIGITS_MAX) {
            return false;
        }
        for (; fraction_size > 0; fraction_size--, text++) {
            fraction = fraction * 10 + (uint64_t)(*text - '0');
            scale *= 10;
        }
    }
    unit = unit_bytes(text);
    if (!options_whole(digits, UINT64_MAX, &whole) || unit == 0 || (unit == 1 && scale > 1) ||
        __builtin_mul_overflow(whole, unit, &whole) ||
        __builtin_add_overflow(whole, fraction * unit / scale, &whole)) {
        return false;
    }
    *bytes = whole;
    return true;
}

static bool find_name(const struct name *names, size_t count, const char *text, size_t text_size,
                      uint32_t *value)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i].text) == text_size && memcmp(names[i].text, text, text_size) == 0) {
            *value = names[i].value;
            return true;
        }
    }
    return false;
}

bool options_device(const char *text, uint32_t *kind, uint32_t *index, bool *is_null)
{
    size_t name_size = strcspn(text, ":");
    uint64_t number = 0;
    uint32_t found;

    if (is_null) {
        *is_null = strcmp(text, "null") == 0;
        if (*is_null) {
            *kind = WLOAD_DEVICE_HOST;
            *index = 0;
            return true;
        }
    }
    if (!find_name(device_names, WL_COUNT_OF(device_names), text, name_size, &found)) {
        return false;
    }
    if (text[name_size] == ':' && ((found != WLOAD_DEVICE_CUDA && found != WLOAD_DEVICE_HIP) ||
                                   !options_whole(text + name_size + 1, UINT32_MAX, &number))) {
        return false;
    }
    *kind = found;
    *index = (uint32_t)number;
    return true;
}

bool options_io(const char *text, uint32_t *io_policy)
{
    return find_name(io_names, WL_COUNT_OF(io_names), text, strlen(text), io_policy);
}

bool options_reader(const char *text, uint32_t *reader_kind)
{
    return find_name(reader_names, WL_COUNT_OF(reader_names), text, strlen(text), reader_kind);
}

const char *options_device_name(uint32_t kind)
{
    WL_ASSERT(kind < WL_COUNT_OF(device_names) && device_names[kind].value == kind);
    return device_names[kind].text;
}

const char *options_reader_name(uint32_t reader_kind)
{
    WL_ASSERT(reader_kind < WL_COUNT_OF(reader_names) &&
              reader_names[reader_kind].value == reader_kind);
    return reader_names[reader_kind].text;
}

/* Of a warning: whether it is said for the first time.  Called from any thread. */
static bool is_new(const char *line)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static char *said[WARNINGS_MAX]; /* what comes after so many is new each time */
    size_t i = 0;
    bool is;

    (void)pthread_mutex_lock(&mutex);
    while (i < WARNINGS_MAX && said[i] && strcmp(said[i], line) != 0) {
        i++;
    }
    is = i == WARNINGS_MAX || !said[i];
    if (is && i < WARNINGS_MAX) {
        said[i] = strdup(line);
    }
    (void)pthread_mutex_unlock(&mutex);
    return is;
}

/* A progress line may stand on the terminal: write over it. */
static void print_log(void *user, enum wload_log_level level, const char *component,
                      const char *line)
{
    (void)user;
    if (level == WLOAD_LOG_WARN && !is_new(line)) {
        return;
    }
    flockfile(stderr);
    (void)fprintf(stderr, "%s%s: ", isatty(STDERR_FILENO) ? "\r\033[K" : "", component);
    text_put_escaped(stderr, line);
    (void)fputc('\n', stderr);
    funlockfile(stderr);
}

static uint32_t log_level(int verbosity)
{
    if (verbosity > 0) {
        return verbosity > 1 ? WLOAD_LOG_DEBUG : WLOAD_LOG_INFO;
    }
    return isatty(STDERR_FILENO) ? WLOAD_LOG_WARN : WLOAD_LOG_ERROR;
}

void options_warn(const char *what, const char *note)
{
    char line[WARNING_BYTES_MAX];

    (void)snprintf(line, sizeof(line), "%s%s", what, note);
    if (note[0] != '\0' && is_new(line)) {
        (void)text_fail_plainly("warning: %s", line);
    }
}

struct wload_context *options_context(int verbosity, uint32_t trace_event_count)
{
    const struct wload_context_options context_options = {
        .struct_size = sizeof(context_options),
        .log = print_log,
        .log_level = log_level(verbosity),
        .log_components = getenv("WLOAD_LOG"),
        .trace_event_count = trace_event_count,
    };
    struct wload_context *context;
    struct wload_error err;

    if (wload_context_new(&context_options, &context, &err) < 0) {
        (void)text_fail(&err);
        return NULL;
    }
    return context;
}
