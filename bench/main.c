/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/base.h"
#include "bench/command.h"
#include "bench/text.h"

static const struct command *const commands[] = {
    &command_load,  &command_inspect, &command_fetch,   &command_resolve, &command_verify,
    &command_serve, &command_bench,   &command_compare, &command_synth,   &command_doctor,
};

/*
 * A descriptor that was closed by our parent would be the next file's: a report
 * would be written into it.  Reading ends take the place, so that writing fails.
 */
static void fill_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDONLY);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* A model has as many files as it has shards, and all are open during a load. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < WL_COUNT_OF(commands); i++) {
        const char *alias = commands[i]->alias;

        if (strcmp(commands[i]->name, name) == 0 || (alias && strcmp(alias, name) == 0)) {
            return commands[i];
        }
    }
    return NULL;
}

static int refuse(const char *what, const char *name)
{
    (void)fprintf(stderr, "wload: %s", what);
    text_put_escaped(stderr, name);
    (void)fputs("; see 'wload --help'\n", stderr);
    return COMMAND_USAGE;
}

static int print_help(void)
{
    (void)puts("Usage: wload COMMAND [OPTION...] [OPERAND...]\n"
               "Bring model weights from disk or a hub into host or GPU memory.\n\n"
               "Commands:");
    for (size_t i = 0; i < WL_COUNT_OF(commands); i++) {
        (void)printf("  %-9s%s\n", commands[i]->name, commands[i]->summary);
    }
    (void)puts("\n'wload help COMMAND' tells a command's options; wload(1) is the manual.");
    return text_finish();
}

static int print_version(void)
{
    uint32_t version = wload_version();

    (void)printf("wload %u.%u.%u\n", version / 10000, version / 100 % 100, version % 100);
    return text_finish();
}

static int run(const char *name, int argc, const char **argv)
{
    const struct command *command = find_command(name);

    return command ? command->run(argc, argv) : refuse("no such command: ", name);
}

int main(int argc, const char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";

    fill_standard_descriptors();
    raise_descriptor_limit();
    if (argc < 2) {
        return refuse("a command is missing", "");
    }
    if (strcmp(word, "--version") == 0) {
        return print_version();
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        return print_help();
    }
    if (strcmp(word, "help") == 0) {
        const char *help[] = {argc > 2 ? argv[2] : "", "--help", NULL};

        return argc > 2 ? run(help[0], 2, help) : print_help();
    }
    if (word[0] == '-') {
        return refuse("no such option: ", word);
    }
    return run(word, argc - 1, argv + 1);
}
