/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: two processes write one partial file nowhere, also where flock(2) keeps nobody away, or
 * the processes of one machine only.
 * Method: a table of system calls gives the lock to everyone; then it names file systems of one
 * machine, of several, and unknown ones, with the options that they are mounted with.
 */
#include "cache/partial.h"

#include <errno.h>
#include <sys/sysmacros.h>

#include "base/base.h"
#include "base/sys.h"
#include "tree.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SIZE (2 * (uint64_t)WL_PARTIAL_BLOCK_BYTES + 5)

static const struct wl_log quiet;
static unsigned char content[SIZE];

static struct wl_partial open_in(const char *folder)
{
    const struct wl_partial_place place = {.folder = tree_path(folder),
                                           .stem = HASH,
                                           .hash = HASH,
                                           .size_bytes = SIZE};
    struct wl_partial partial;
    struct wload_error err = {0};

    CHECK_OK(wl_partial_open(&quiet, &place, false, &partial, &err), &err);
    return partial;
}

static void write_all(struct wl_partial *partial)
{
    struct wload_error err = {0};

    CHECK_OK(wl_partial_write(partial, 0, 0, content, SIZE, &err), &err);
}

static void check_published(const char *name)
{
    static unsigned char there[SIZE + 1];
    int fd = open(tree_path(name), O_RDONLY);

    CHECK(fd >= 0);
    CHECK_EQ(read(fd, there, sizeof(there)), SIZE);
    CHECK_EQ(close(fd), 0);
    CHECK(memcmp(there, content, SIZE) == 0);
}

/* ---- A lock that everyone gets ------------------------------------------------------- */

static int void_flock(int fd, int operation)
{
    (void)operation;
    CHECK(fd >= 0);
    return 0;
}

/* Neither undoes what the other has written, nor changes what it has published. */
static void check_void(void)
{
    struct wl_sys table = wl_sys_real;
    struct wload_error err = {0};
    struct wl_partial first, second;

    table.flock = void_flock;
    wl_sys = &table;
    first = open_in("void");
    write_all(&first);
    second = open_in("void");
    CHECK_EQ(wl_partial_present(&first), SIZE);
    CHECK_EQ(wl_partial_present(&second), 0);
    CHECK_OK(wl_partial_publish(&first, tree_path("void/done"), false, &err), &err);
    CHECK_OK(wl_partial_write(&second, 0, 0, "other", 5, &err), &err);
    check_published("void/done");
    wl_partial_close(&second);
    wl_sys = &wl_sys_real;
}

/* What was left there when there were locks is not touched. */
static void check_void_later(void)
{
    struct wl_sys table = wl_sys_real;
    struct wl_partial left = open_in("later");
    struct wl_partial partial;

    CHECK(!left.is_private);
    write_all(&left);
    table.flock = void_flock;
    wl_sys = &table;
    partial = open_in("later");
    wl_sys = &wl_sys_real;
    CHECK(partial.is_private);
    CHECK(strcmp(partial.path, left.path) != 0);
    wl_partial_discard(&partial);
    CHECK_EQ(wl_partial_present(&left), SIZE);
    wl_partial_discard(&left);
}

/* ---- Other file systems -------------------------------------------------------------- */

static unsigned long type;    /* that the file system claims to be of; 0: nothing is told */
static char mounted_with[64]; /* its options; "": it is not among the mounts */

static int other_fstatfs(int fd, struct statfs *out)
{
    CHECK(fd >= 0);
    memset(out, 0, sizeof(*out));
    out->f_type = (__typeof__(out->f_type))type;
    errno = ENOSYS;
    return type == 0 ? -1 : 0;
}

static int other_openat(int dir, const char *path, int flags, unsigned mode)
{
    return openat(dir, strcmp(path, "/proc/self/mountinfo") == 0 ? tree_path("mounts") : path,
                  flags, mode);
}

static void write_mounts(void)
{
    char text[512];
    struct stat status;

    CHECK_EQ(stat(sample_dir(), &status), 0);
    (void)snprintf(text, sizeof(text),
                   "21 1 %u:%u1 / /other rw,flock - x y rw,flock,local_lock=none\n"
                   "22 1 %u:%u / /x\\040y rw,flock shared:1 - x flock %s\n"
                   "23 1 0:999999 / / rw - x y rw,flock,local_lock=none\n",
                   major(status.st_dev), minor(status.st_dev),
                   major(status.st_dev) + (mounted_with[0] == '\0' ? 1 : 0), minor(status.st_dev),
                   mounted_with);
    tree_write_text("mounts", text);
}

static void check_types(void)
{
    static const struct {
        unsigned long type;
        const char *mounted_with;
        bool is_private;
    } rows[] = {
        {0xef53, "rw", false},     /* ext4 */
        {0x58465342, "rw", false}, /* XFS */
        {0x9123683e, "rw", false}, /* btrfs */
        {0x01021994, "rw", false}, /* tmpfs */
        {0x794c7630, "rw", false}, /* overlayfs */
        {0x2fc12fc1, "rw", false}, /* ZFS */
        {0x00c36400, "rw", false}, /* Ceph */
        {0x65735546, "rw", true},  /* FUSE */
        {0x01021997, "rw", true},  /* 9p */
        {0x12345678, "rw", true},  /* one that nobody knows */
        {0x6969, "rw,vers=4.2,local_lock=none,addr=::1", false},
        {0x6969, "rw,vers=3,local_lock=flock,addr=::1", true},
        {0x6969, "rw,vers=3,local_lock=all,addr=::1", true},
        {0x6969, "rw,vers=3,addr=::1", true},
        {0x6969, "", true},
        {0x0bd00bd0, "flock", false},
        {0x0bd00bd0, "rw,flock,lazystatfs", false},
        {0x0bd00bd0, "rw,lazystatfs,flock", false},
        {0x0bd00bd0, "rw,localflock,flockless", true},
        {0x0bd00bd0, "rw,lazystatfs", true},
        {0x47504653, "rw,flock", true},
        {0x19830326, "rw", true},
        {0xff534d42, "rw", true},
        {0xfe534d42, "rw", true},
        {0, "rw", true},
    };
    struct wl_sys table = wl_sys_real;

    table.fstatfs = other_fstatfs;
    table.openat = other_openat;
    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wl_partial partial;

        type = rows[i].type;
        (void)snprintf(mounted_with, sizeof(mounted_with), "%s", rows[i].mounted_with);
        write_mounts();
        wl_sys = &table;
        partial = open_in("machines");
        wl_sys = &wl_sys_real;
        if (partial.is_private != rows[i].is_private) {
            (void)fprintf(stderr, "row %zu\n", i);
            exit(1);
        }
        wl_partial_discard(&partial);
        CHECK_EQ(rmdir(tree_path("machines")), 0); /* nothing is left */
    }
}

int main(void)
{
    memset(content, 'c', sizeof(content));
    check_void();
    check_void_later();
    check_types();
    return 0;
}
