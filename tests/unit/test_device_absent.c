/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the automatic choice passes over a driver that is absent and stops at one that
 * is broken; a kind asked for by name says what is wrong.
 * Method: open each kind where the drivers are missing, stubs, without devices, failing,
 * damaged or not drivers at all; each row in a process of its own, since a driver once
 * loaded stays.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "driver.h"
#include "kernels/device.h"
#include "test.h"

#define FAIL    "WLOAD_DOUBLE_FAIL"
#define DEVICES "WLOAD_DOUBLE_DEVICES"
#define ABSENT  WLOAD_ERR_UNSUPPORTED
#define NONE    WLOAD_ERR_NOT_FOUND
#define BROKEN  WLOAD_ERR_DEVICE

enum folder {
    DOUBLE,  /* both drivers */
    EMPTY,   /* no driver */
    DAMAGED, /* a libcuda.so.1 that is no library */
    STRANGE, /* a libcuda.so.1 that is another library */
    FOLDER_COUNT
};

static const struct row {
    enum folder folder;
    const char *name, *value; /* a setting of the double */
    int found;                /* automatically: a device kind, or an error */
    int cuda, hip;            /* asked for by name: WLOAD_OK or an error */
    const char *said;         /* in the message of what is not WLOAD_OK */
} rows[] = {
    {DOUBLE, DEVICES, "1", WLOAD_DEVICE_CUDA, WLOAD_OK, WLOAD_OK, ""},
    {DOUBLE, DEVICES, "0", WLOAD_DEVICE_HOST, NONE, NONE, "0 devices"},
    {DOUBLE, FAIL, "cuInit:0:34", WLOAD_DEVICE_HIP, ABSENT, WLOAD_OK, "stub"},
    {DOUBLE, FAIL, "cuInit:0:34,hipInit:0:100", WLOAD_DEVICE_HOST, ABSENT, NONE, ""},
    {DOUBLE, FAIL, "cuInit:0:100,hipInit:0:101", WLOAD_DEVICE_HOST, NONE, NONE, "0 devices"},
    {DOUBLE, FAIL, "cuDeviceGetCount:0:100", WLOAD_DEVICE_HIP, NONE, WLOAD_OK, "0 devices"},
    {DOUBLE, FAIL, "cuInit:0:999", BROKEN, BROKEN, WLOAD_OK, "cuInit failed"},
    {DOUBLE, FAIL, "cuInit:0:100,hipInit:0:999", BROKEN, NONE, BROKEN, ""},
    {DOUBLE, FAIL, "cuDeviceGetCount:0:999", BROKEN, BROKEN, WLOAD_OK, "cuDeviceGetCount failed"},
    {DOUBLE, FAIL, "cuDevicePrimaryCtxRetain:0:46", BROKEN, BROKEN, WLOAD_OK, "cuda:0"},
    {EMPTY, DEVICES, "1", WLOAD_DEVICE_HOST, ABSENT, ABSENT, "no driver library"},
    {DAMAGED, DEVICES, "1", BROKEN, BROKEN, ABSENT, ""},
    {STRANGE, DEVICES, "1", BROKEN, BROKEN, ABSENT, ""},
};

static const struct wl_log silent;

static void check_open(enum wload_device_kind kind, int expected, const char *said)
{
    struct wload_error err = {0};
    struct wl_device *device;
    int rc = wl_device_open(&silent, kind, 0, &device, &err);

    if (rc == WLOAD_OK) {
        rc = kind == WLOAD_DEVICE_AUTO ? (int)device->ops->kind : WLOAD_OK;
        wl_device_close(device);
    } else {
        CHECK_EQ(err.code, rc);
        CHECK(err.message[0] != '\0');
    }
    if (rc != expected || !strstr(err.message, rc < 0 ? said : "")) {
        (void)fprintf(stderr, "kind %d: %d, not %d; %s\n", (int)kind, rc, expected, err.message);
        exit(1);
    }
}

static int has_real_driver(void)
{
    return dlopen("libcuda.so.1", RTLD_LAZY) || dlopen("libamdhip64.so.7", RTLD_LAZY) ||
           dlopen("libamdhip64.so.6", RTLD_LAZY) || dlopen("libamdhip64.so.5", RTLD_LAZY);
}

/* In the process of its own. */
static void check_row(const struct row *row)
{
    CHECK_EQ(setenv(row->name, row->value, 1), 0);
    check_open(WLOAD_DEVICE_AUTO, row->found, row->said);
    check_open(WLOAD_DEVICE_AUTO, row->found, row->said); /* asking again changes nothing */
    check_open(WLOAD_DEVICE_CUDA, row->cuda, row->said);
    check_open(WLOAD_DEVICE_HIP, row->hip, row->said);
    check_open(WLOAD_DEVICE_HOST, WLOAD_OK, "");
    check_open((enum wload_device_kind)99, WLOAD_ERR_INVALID, "99");
}

static void make_damaged(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "no library\n", 11), 11);
    CHECK_EQ(close(fd), 0);
}

static void make_strange(const char *path)
{
    void *library = dlopen("libm.so.6", RTLD_NOW);
    struct link_map *map;

    CHECK(library);
    CHECK_EQ(dlinfo(library, RTLD_DI_LINKMAP, &map), 0);
    CHECK_EQ(symlink(map->l_name, path), 0);
    CHECK_EQ(dlclose(library), 0);
}

int main(int argc, char **argv)
{
    char root[] = "/tmp/test_device_absent.XXXXXX";
    const char *folders[FOLDER_COUNT] = {getenv("WLOAD_DOUBLE"), root, root, root};
    char path[sizeof(root) + 16];

    if (argc > 2) {
        check_row(&rows[strtoul(argv[2], NULL, 10)]);
        return 0;
    }
    CHECK(folders[DOUBLE]);
    CHECK_EQ(unsetenv("WLOAD_HIP_FORCE"), 0);
    if (access("/dev/kfd", F_OK) < 0) {
        check_open(WLOAD_DEVICE_HIP, ABSENT, "/dev/kfd");
    }
    CHECK(mkdtemp(root));
    (void)snprintf(path, sizeof(path), "%s/libcuda.so.1", root);
    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        char number[8];

        if (rows[i].folder != DOUBLE && has_real_driver()) {
            (void)printf("row %zu left out: this machine has a driver of its own\n", i);
            continue;
        }
        if (rows[i].folder == DAMAGED) {
            make_damaged(path);
        } else if (rows[i].folder == STRANGE) {
            make_strange(path);
        }
        (void)snprintf(number, sizeof(number), "%zu", i);
        CHECK_EQ(setenv("WLOAD_DOUBLE", folders[rows[i].folder], 1), 0);
        CHECK_EQ(driver_run("", "row", number, NULL, 0), 0);
        (void)unlink(path);
    }
    CHECK_EQ(rmdir(root), 0);
    return 0;
}
