/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a lock is had by one at a time, is the file that its path names, and is done without
 * where there is none to be had.
 * Method: another process holds it, by flock(2) as other tools do, and is killed; a child has it
 * from its parent; a table of system calls removes the file between our open and our lock, or
 * knows no locks.  What only permissions can refuse is tried in a process without privileges.
 */
#include "cache/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "base/base.h"
#include "base/file.h"
#include "base/sys.h"
#include "tree.h"

#define NOBODY 65534

static unsigned warnings;

static void count_warning(void *user, enum wload_log_level level, const char *component,
                          const char *line)
{
    (void)user;
    CHECK_STR(component, "cache");
    CHECK(line[0] != '\0');
    warnings += level == WLOAD_LOG_WARN;
}

static const struct wl_log loud = {.line = count_warning, .level = WLOAD_LOG_WARN};

static struct stat status_of(const char *path)
{
    struct stat status;

    CHECK_EQ(lstat(path, &status), 0);
    return status;
}

static void check_free(const char *path)
{
    struct wload_error err = {0};
    struct wl_lock lock;

    CHECK_OK(wl_lock_try(&loud, path, &lock, &err), &err);
    CHECK(lock.is_held);
    CHECK(lock.fd < 0 || wl_file_is_at(lock.fd, path));
    wl_lock_release(&lock);
    CHECK(!lock.is_held);
    CHECK_EQ(lock.fd, -1);
}

static void check_taken(const char *path)
{
    struct wload_error err = {0};
    struct wl_lock lock = {.fd = 7};

    CHECK_EQ(wl_lock_try(&loud, path, &lock, &err), WLOAD_ERR_LOCKED);
    CHECK(strstr(err.message, path) != NULL);
    CHECK_EQ(lock.fd, 7);
}

/* ---- One at a time ------------------------------------------------------------------ */

static void check_made(void)
{
    const char *path = tree_path("made/.locks/models--a--b/c.lock");
    mode_t mask = umask(077);
    struct stat status;

    check_free(path);
    (void)umask(mask);
    status = status_of(path);
    CHECK_EQ(status.st_mode & 07777, 0664); /* the group shares it */
    CHECK_EQ(status.st_size, 0);
    check_free(path);
    CHECK_EQ(status_of(path).st_ino, status.st_ino); /* it stays, and others' words in it */
}

static void check_held_by_another(void)
{
    const char *path = tree_path("another.lock");
    int ready[2];
    char byte;
    pid_t child;

    CHECK_EQ(pipe(ready), 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int fd = open(path, O_RDWR | O_CREAT, 0644);

        CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
        CHECK_EQ(write(ready[1], "", 1), 1);
        (void)pause();
        _exit(0);
    }
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    check_taken(path);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    check_free(path);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

/* A child has the descriptor, and with it the lock, for as long as it lives. */
static void check_released_after_fork(void)
{
    const char *path = tree_path("forked.lock");
    struct wload_error err = {0};
    struct wl_lock lock;
    pid_t child;

    CHECK_OK(wl_lock_try(&loud, path, &lock, &err), &err);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)pause();
        _exit(0);
    }
    wl_lock_release(&lock);
    check_free(path);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
}

/* ---- The file is removed while we wait ---------------------------------------------- */

static const char *removed_path;
static unsigned removals_left;
static bool is_replaced;

static int removing_flock(int fd, int operation)
{
    if (removals_left > 0) {
        removals_left--;
        CHECK_EQ(unlink(removed_path), 0);
        if (is_replaced) {
            int other = open(removed_path, O_RDWR | O_CREAT | O_EXCL, 0644);

            CHECK(other >= 0);
            CHECK_EQ(close(other), 0);
        }
    }
    return flock(fd, operation);
}

static void check_removed_by_its_holder(bool replaces)
{
    struct wl_sys table = wl_sys_real;

    removed_path = tree_path("removed.lock");
    is_replaced = replaces;
    table.flock = removing_flock;
    wl_sys = &table;
    removals_left = 3;
    check_free(removed_path);
    CHECK_EQ(removals_left, 0);
    removals_left = 1000; /* somebody who never stops: not had, and no endless loop */
    check_taken(removed_path);
    CHECK(removals_left > 0);
    wl_sys = &wl_sys_real;
}

/* ---- Not to be had ------------------------------------------------------------------ */

static void check_planted(void)
{
    const char *path = tree_path("planted.lock");
    struct wl_lock lock;
    struct wload_error err = {0};

    tree_write_text("victim", "precious");
    CHECK_EQ(chmod(tree_path("victim"), 0600), 0);
    CHECK_EQ(symlink("victim", path), 0);
    CHECK_EQ(wl_lock_try(&loud, path, &lock, &err), WLOAD_ERR_IO);
    CHECK(strstr(err.message, "symbolic link") != NULL);
    CHECK_EQ(status_of(tree_path("victim")).st_mode & 07777, 0600);
    CHECK_EQ(unlink(path), 0);

    CHECK_EQ(symlink("nowhere", tree_path("dangling")), 0);
    CHECK_EQ(wl_lock_try(&loud, tree_path("dangling/a.lock"), &lock, &err), WLOAD_ERR_IO);
    CHECK_EQ(err.sys_errno, ENOENT);
    CHECK_EQ(wl_lock_try(&loud, tree_path("victim/a.lock"), &lock, &err), WLOAD_ERR_IO);
    CHECK_EQ(err.sys_errno, ENOTDIR);
    CHECK_EQ(mkdir(tree_path("folder.lock"), 0755), 0);
    CHECK_EQ(wl_lock_try(&loud, tree_path("folder.lock"), &lock, &err), WLOAD_ERR_IO);
}

static void check_without(const char *path)
{
    struct wload_error err = {0};
    struct wl_lock lock;
    unsigned before = warnings;

    CHECK_OK(wl_lock_try(&loud, path, &lock, &err), &err);
    CHECK(!lock.is_held);
    CHECK_EQ(warnings, before + 1);
    wl_lock_release(&lock);
}

/* A cache of somebody else's: new locks cannot be made, old ones can be opened to read. */
static void check_read_only(void)
{
    pid_t child;
    int status;

    tree_write_text("theirs/old.lock", "");
    tree_write_text("theirs/secret.lock", "");
    CHECK_EQ(chmod(tree_path("theirs/old.lock"), 0444), 0);
    CHECK_EQ(chmod(tree_path("theirs/secret.lock"), 0), 0);
    CHECK_EQ(chmod(tree_path("theirs"), 0555), 0);
    CHECK_EQ(chmod(sample_dir(), 0755), 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (geteuid() == 0 && (setegid(NOBODY) != 0 || seteuid(NOBODY) != 0)) {
            (void)fprintf(stderr, "not tried without privileges: they cannot be dropped\n");
            _exit(0);
        }
        check_without(tree_path("theirs/new.lock"));
        check_without(tree_path("theirs/.locks/new.lock"));
        check_without(tree_path("theirs/secret.lock"));
        check_free(tree_path("theirs/old.lock"));
        _exit(0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(chmod(tree_path("theirs"), 0755), 0);
}

static int read_only_openat(int dir, const char *path, int flags, unsigned mode)
{
    if ((flags & O_ACCMODE) != O_RDONLY) {
        errno = EACCES;
        return -1;
    }
    return openat(dir, path, flags, mode);
}

static int flock_errno;

static int failing_flock(int fd, int operation)
{
    (void)operation;
    errno = flock_errno;
    return flock_errno == EBADF && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY ? 0 : -1;
}

/* NFS has no lock for a file that is open to be read only; servers fail in ways of their own. */
static void check_not_lockable(void)
{
    static const int failures[] = {EBADF, EINVAL, EIO, ESTALE};
    struct wl_sys table = wl_sys_real;
    const char *path = tree_path("remote.lock");

    tree_write_text("remote.lock", "");
    table.openat = read_only_openat;
    table.flock = failing_flock;
    wl_sys = &table;
    for (size_t i = 0; i < WL_COUNT_OF(failures); i++) {
        flock_errno = failures[i];
        check_without(path);
        CHECK_EQ(access(path, F_OK), 0);
    }
    table.openat = wl_sys_real.openat;
    flock_errno = EBADF;
    check_free(path);
    wl_sys = &wl_sys_real;
}

/* ---- A file system without locks ---------------------------------------------------- */

static int no_flock(int fd, int operation)
{
    (void)fd;
    (void)operation;
    errno = ENOSYS;
    return -1;
}

static ssize_t no_write(int fd, const void *buffer, size_t size)
{
    (void)fd;
    (void)buffer;
    (void)size;
    errno = ENOSPC;
    return -1;
}

/* A process that is no more. */
static pid_t dead_process(void)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        _exit(0);
    }
    CHECK_EQ(waitpid(child, NULL, 0), child);
    return child;
}

static void write_owner(const char *name, pid_t process, const char *host)
{
    char text[400];

    (void)snprintf(text, sizeof(text), "%d\n%s\n", (int)process, host);
    tree_write_text(name, text);
}

static void check_soft(void)
{
    struct wl_sys table = wl_sys_real;
    const char *path = tree_path("soft/a.lock");
    struct wload_error err = {0};
    struct wl_lock lock;
    char host[256] = "";
    char expected[300];
    char text[300] = "";
    int fd;

    CHECK_EQ(gethostname(host, sizeof(host) - 1), 0);
    table.flock = no_flock;
    wl_sys = &table;
    CHECK_OK(wl_lock_try(&loud, path, &lock, &err), &err);
    CHECK(lock.is_held);
    (void)snprintf(expected, sizeof(expected), "%d\n%s\n", (int)getpid(), host);
    fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    CHECK(read(fd, text, sizeof(text) - 1) > 0);
    CHECK_EQ(close(fd), 0);
    CHECK_STR(text, expected);
    CHECK_EQ(status_of(path).st_mode & 0022, 0);
    check_taken(path);
    wl_lock_release(&lock);
    CHECK(access(path, F_OK) != 0); /* it is a lock by existing */

    write_owner("soft/dead.lock", dead_process(), host);
    check_free(tree_path("soft/dead.lock"));
    write_owner("soft/remote.lock", dead_process(), "another-host");
    check_taken(tree_path("soft/remote.lock"));

    tree_write_text("soft/empty.lock", "");
    check_without(tree_path("soft/empty.lock"));
    tree_write_text("soft/odd.lock", "-1\nhost\n");
    check_without(tree_path("soft/odd.lock"));
    CHECK_EQ(access(tree_path("soft/odd.lock"), F_OK), 0);

    table.write = no_write;
    path = tree_path("soft/full.lock");
    check_without(path);
    CHECK(access(path, F_OK) != 0); /* empty, it would hold up all others for ever */
    wl_sys = &wl_sys_real;
}

/* Whoever waits is told once, for whom, and waits no longer than allowed. */
static void check_waiting(void)
{
    const int64_t second_ns = 1000000000;
    struct wload_error err = {0};
    bool is_noticed = false;

    warnings = 0;
    CHECK_OK(wl_lock_wait(&loud, "file", 0, 0, &is_noticed, &err), &err);
    CHECK_OK(wl_lock_wait(&loud, "file", 10 * second_ns, -1, &is_noticed, &err), &err);
    CHECK(!is_noticed && warnings == 0);
    CHECK_OK(wl_lock_wait(&loud, "file", 10 * second_ns + 1, -1, &is_noticed, &err), &err);
    CHECK_OK(wl_lock_wait(&loud, "file", INT64_MAX, -1, &is_noticed, &err), &err);
    CHECK(is_noticed && warnings == 1);
    CHECK_OK(wl_lock_wait(&loud, "file", 2 * second_ns, 2000, &is_noticed, &err), &err);
    CHECK_EQ(wl_lock_wait(&loud, "file", 2 * second_ns + 1, 2000, &is_noticed, &err),
             WLOAD_ERR_LOCKED);
    CHECK_STR(err.message, "'file' has been another process's to download for 2 s");
}

int main(void)
{
    check_waiting();
    check_made();
    check_held_by_another();
    check_released_after_fork();
    check_removed_by_its_holder(false);
    check_removed_by_its_holder(true);
    check_planted();
    check_read_only();
    check_not_lockable();
    check_soft();
    return 0;
}
