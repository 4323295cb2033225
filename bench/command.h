/* SPDX-License-Identifier: Apache-2.0 */
/* The program's commands: one file each, `command_<name>.c`; main.c holds the array of them. */
#ifndef WLOAD_COMMAND_H
#define WLOAD_COMMAND_H

enum command_exit {
    COMMAND_DONE = 0,
    COMMAND_FAILED = 1,
    COMMAND_USAGE = 2,
    COMMAND_REGRESSION = 3
};

struct command {
    const char *name;
    const char *alias;   /* another name for it; NULL: none */
    const char *summary; /* one line, for `wload --help` */
    /* argv[0] is the command's name.  Returns enum command_exit. */
    int (*run)(int argc, const char **argv);
};

extern const struct command command_bench;
extern const struct command command_compare;
extern const struct command command_doctor;
extern const struct command command_fetch;
extern const struct command command_inspect;
extern const struct command command_load;
extern const struct command command_resolve;
extern const struct command command_serve;
extern const struct command command_synth;
extern const struct command command_verify;

#endif /* WLOAD_COMMAND_H */
