/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static void (*reset)(void);
static uint64_t (*counter)(const char *name);

static void use_double(const char *folder)
{
    const char *root = getenv("WLOAD_DOUBLE");
    char path[4096];

    if (!root) {
        (void)fprintf(stderr, "WLOAD_DOUBLE does not name the folder of the double\n");
        exit(1);
    }
    (void)snprintf(path, sizeof(path), "%s/%s", root, folder);
    CHECK_EQ(setenv("LD_LIBRARY_PATH", path, 1), 0);
    CHECK_EQ(setenv("WLOAD_HIP_FORCE", "1", 1), 0);
    CHECK_EQ(setenv("WLOAD_DOUBLE_STRICT", "1", 1), 0);
}

int driver_run(const char *folder, const char *mode, const char *detail, char *said,
               size_t said_bytes)
{
    int output = memfd_create("stderr", MFD_CLOEXEC);
    int status;
    pid_t child;

    CHECK(output >= 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (said) {
            (void)dup2(output, STDERR_FILENO);
        }
        use_double(folder);
        (void)execl("/proc/self/exe", "test", mode, detail, (char *)NULL);
        _exit(127);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    if (said) {
        ssize_t got = pread(output, said, said_bytes - 1, 0);

        CHECK(got >= 0);
        said[got] = '\0';
    }
    CHECK_EQ(close(output), 0);
    return status;
}

void *driver_symbol(const char *name)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    void *address = library ? dlsym(library, name) : NULL;

    if (!address) {
        (void)fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return address;
}

void driver_attach(void)
{
    void *address = driver_symbol("wload_double_reset");

    memcpy(&reset, &address, sizeof(address));
    address = driver_symbol("wload_double_counter");
    memcpy(&counter, &address, sizeof(address));
}

void driver_set(const char *settings)
{
    static const char *const names[] = {"DEVICES", "MEMORY", "MODE", "JITTER_US", "FAIL"};
    int length = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "WLOAD_DOUBLE_%s", names[i]);
        CHECK_EQ(unsetenv(name), 0);
    }
    for (const char *at = settings; *at; at += length) {
        char name[32] = "WLOAD_DOUBLE_", value[96];

        CHECK_EQ(sscanf(at, " %16[A-Z_]=%95[^ ]%n", name + strlen(name), value, &length), 2);
        CHECK_EQ(setenv(name, value, 1), 0);
    }
    reset();
}

uint64_t driver_count(const char *name)
{
    return counter(name);
}

void driver_check_clean(void)
{
    CHECK_EQ(counter("live_memory"), 0);
    CHECK_EQ(counter("live_pins"), 0);
    CHECK_EQ(counter("live_streams"), 0);
    CHECK_EQ(counter("live_events"), 0);
    CHECK_EQ(counter("live_contexts"), 0);
}
