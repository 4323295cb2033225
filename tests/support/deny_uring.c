/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deny_uring EPERM|ENOSYS COMMAND [ARGUMENT...]
 *
 * Run a command that may not use io_uring: a seccomp filter answers its three system calls
 * with that error, as container runtimes (EPERM) and old kernels (ENOSYS) do.  Exit 77: this
 * machine takes no filter.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* One number on every architecture, and they follow each other: setup, enter, register. */
#define NR_FIRST 425
#define NR_LAST  427

static int deny(unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, NR_FIRST, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, NR_LAST, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return -1;
    }
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
    unsigned error = 0;

    if (argc >= 3) {
        error = strcmp(argv[1], "EPERM") == 0 ? EPERM : strcmp(argv[1], "ENOSYS") == 0 ? ENOSYS : 0;
    }
    if (error == 0) {
        (void)fprintf(stderr, "usage: deny_uring EPERM|ENOSYS COMMAND [ARGUMENT...]\n");
        return 2;
    }
    if (deny(error) < 0) {
        (void)fprintf(stderr, "deny_uring: no seccomp filter here: %s\n", strerror(errno));
        return 77;
    }
    (void)execvp(argv[2], argv + 2);
    (void)fprintf(stderr, "deny_uring: cannot run '%s': %s\n", argv[2], strerror(errno));
    return 127;
}
