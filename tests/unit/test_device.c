/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every device keeps the contract of struct wl_device_ops.
 * Method: one set of checks, run on the host and, through the double of the drivers, on
 * cuda and hip: eager, lazy and with jitter.  For the GPUs also: a copy fails while it
 * runs, memory runs out, the caller's own current device stays what it is; and planted
 * misuse is caught by the double, so that its silence means that there is none.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/base.h"
#include "base/log.h"
#include "base/sys.h"
#include "driver.h"
#include "kernels/device.h"
#include "test.h"

#define SOURCE_BYTES (4u << 20)
#define TENSOR_BYTES (3u * 1000 * 1000 + 7)
#define MARK_COUNT   4
#define THREAD_COUNT 4

static const struct wl_log silent;

/* ---- Helpers ----------------------------------------------------------------- */

static unsigned char *map_source(void)
{
    void *memory =
        mmap(NULL, SOURCE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(memory != MAP_FAILED);
    return memory;
}

static void fill(unsigned char *bytes, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (unsigned char)(seed >> 56);
    }
}

static struct wl_device *open_device(const struct wl_device_ops *ops)
{
    struct wload_error err;
    struct wl_device *device;

    CHECK_OK(wl_device_open(&silent, ops->kind, 0, &device, &err), &err);
    CHECK(device->ops == ops);
    return device;
}

static void wait_for(struct wl_queue *queue, uint32_t mark)
{
    struct wload_error err = {0};
    int rc;

    do {
        rc = queue->device->ops->mark_poll(queue, mark, &err);
        (void)sched_yield();
    } while (rc == 0);
    if (rc < 0) {
        (void)fprintf(stderr, "%s\n", err.message);
    }
    CHECK_EQ(rc, 1);
}

static void post(void *semaphore)
{
    CHECK_EQ(sem_post(semaphore), 0);
}

/* ---- The contract, on a device with memory and a queue ----------------------------- */

struct fixture {
    const struct wl_device_ops *ops;
    struct wl_device *device;
    struct wl_queue *queue;
    unsigned char *source; /* pinned, for the tensor and a page more */
    unsigned char *copy;   /* host memory to read back to */
    char *tensor;          /* device memory */
    sem_t noticed;
    struct wload_error err;
};

static void set_up(struct fixture *f, struct wl_device *device)
{
    memset(f, 0, sizeof(*f));
    f->ops = device->ops;
    f->device = wl_device_share(device);
    f->source = map_source();
    f->copy = malloc(TENSOR_BYTES);
    CHECK(f->copy);
    CHECK_EQ(sem_init(&f->noticed, 0, 0), 0);
    CHECK_OK(f->ops->pin(device, f->source, SOURCE_BYTES, &f->err), &f->err);
    CHECK_OK(f->ops->memory_alloc(device, TENSOR_BYTES, (void **)&f->tensor, &f->err), &f->err);
    CHECK_EQ((uintptr_t)f->tensor % 256, 0);
    CHECK_OK(f->ops->queue_open(device, MARK_COUNT, &f->queue, &f->err), &f->err);
}

static void tear_down(struct fixture *f)
{
    if (f->queue) {
        f->ops->queue_close(f->queue);
    }
    f->ops->memory_free(f->device, f->tensor, TENSOR_BYTES);
    f->ops->unpin(f->device, f->source);
    CHECK_EQ(munmap(f->source, SOURCE_BYTES), 0);
    CHECK_EQ(sem_destroy(&f->noticed), 0);
    free(f->copy);
    wl_device_close(f->device);
}

static void start_copy(struct fixture *f, size_t offset, size_t size)
{
    CHECK_OK(f->ops->copy_start(f->queue, f->tensor + offset, f->source + offset, size, &f->err),
             &f->err);
}

static void put_mark(struct fixture *f, uint32_t mark)
{
    CHECK_OK(f->ops->mark_put(f->queue, mark, &f->err), &f->err);
}

static void ask_notice(struct fixture *f, uint32_t mark)
{
    CHECK_OK(f->ops->mark_notify(f->queue, mark, post, &f->noticed, &f->err), &f->err);
}

static void check_tensor(struct fixture *f, size_t size)
{
    unsigned char *pinned = f->source + TENSOR_BYTES; /* what is left of it */

    memset(f->copy, 0, size);
    CHECK_OK(f->ops->memory_read(f->device, f->tensor, size, f->copy, &f->err), &f->err);
    CHECK(memcmp(f->copy, f->source, size) == 0);
    memset(pinned, 0, 4096);
    CHECK_OK(f->ops->memory_read(f->device, f->tensor, 4096, pinned, &f->err), &f->err);
    CHECK(memcmp(pinned, f->source, 4096) == 0);
}

/* Pieces of odd sizes, a mark behind each, each mark put again as soon as it is reached. */
static void check_marks(struct fixture *f)
{
    size_t piece = TENSOR_BYTES / 13, offset = 0;
    uint32_t put_count = 0;

    fill(f->source, TENSOR_BYTES, 1);
    while (offset < TENSOR_BYTES) {
        size_t size = TENSOR_BYTES - offset < piece ? TENSOR_BYTES - offset : piece;

        if (put_count >= MARK_COUNT) {
            wait_for(f->queue, put_count % MARK_COUNT);
        }
        start_copy(f, offset, size);
        put_mark(f, put_count % MARK_COUNT);
        put_count++;
        offset += size;
    }
    wait_for(f->queue, (put_count - 1) % MARK_COUNT);
    for (uint32_t mark = 0; mark < MARK_COUNT; mark++) { /* all others were put before it */
        CHECK_EQ(f->ops->mark_poll(f->queue, mark, &f->err), 1);
    }
    check_tensor(f, TENSOR_BYTES);
}

/* What a reached mark frees may be written to at once. */
static void check_reuse(struct fixture *f)
{
    for (unsigned round = 0; round < 20; round++) {
        fill(f->source, 4096, round);
        start_copy(f, 0, 4096);
        put_mark(f, 0);
        wait_for(f->queue, 0);
    }
    check_tensor(f, 4096);
}

static void check_notices(struct fixture *f)
{
    int count;

    for (uint32_t mark = 0; mark < MARK_COUNT; mark++) {
        start_copy(f, mark, 100000);
        put_mark(f, mark);
        ask_notice(f, mark);
    }
    for (uint32_t mark = 0; mark < MARK_COUNT; mark++) {
        CHECK_EQ(sem_wait(&f->noticed), 0);
        CHECK_EQ(f->ops->mark_poll(f->queue, mark, &f->err), 1);
    }
    ask_notice(f, 0); /* of a mark long reached */
    CHECK_EQ(sem_wait(&f->noticed), 0);
    CHECK_EQ(sem_getvalue(&f->noticed, &count), 0);
    CHECK_EQ(count, 0); /* once each */
}

/* close waits for the copies in flight, and for the notices if there are any. */
static void check_close(struct fixture *f)
{
    int count;

    fill(f->source, TENSOR_BYTES, 2);
    start_copy(f, 0, TENSOR_BYTES);
    put_mark(f, 0);
    ask_notice(f, 0);
    f->ops->queue_close(f->queue);
    f->queue = NULL;
    CHECK_EQ(sem_getvalue(&f->noticed, &count), 0);
    CHECK_EQ(count, 1);
    check_tensor(f, TENSOR_BYTES);

    CHECK_OK(f->ops->queue_open(f->device, MARK_COUNT, &f->queue, &f->err), &f->err);
    fill(f->source, TENSOR_BYTES, 3);
    start_copy(f, 0, TENSOR_BYTES);
    f->ops->queue_close(f->queue);
    f->queue = NULL;
    check_tensor(f, TENSOR_BYTES);
}

static void check_contract(const struct wl_device_ops *ops)
{
    struct wl_device *device = open_device(ops);
    struct fixture f;

    set_up(&f, device);
    wl_device_close(device); /* the fixture's share keeps it open */
    CHECK_EQ((uintptr_t)f.tensor % (ops->is_host ? 2u << 20 : 256), 0);
    check_marks(&f);
    check_reuse(&f);
    check_notices(&f);
    start_copy(&f, 0, 0);
    CHECK_OK(ops->memory_read(f.device, f.tensor, 0, f.copy, &f.err), &f.err);
    check_close(&f);
    tear_down(&f);
}

static void *use_queue(void *argument)
{
    struct fixture f;

    set_up(&f, argument);
    for (unsigned round = 0; round < 5; round++) {
        fill(f.source, TENSOR_BYTES, (uintptr_t)&f + round);
        start_copy(&f, 0, TENSOR_BYTES);
        put_mark(&f, round % MARK_COUNT);
        wait_for(f.queue, round % MARK_COUNT);
        check_tensor(&f, TENSOR_BYTES);
    }
    tear_down(&f);
    return NULL;
}

static void check_threads(const struct wl_device_ops *ops)
{
    struct wl_device *device = open_device(ops);
    pthread_t threads[THREAD_COUNT];

    for (size_t i = 0; i < THREAD_COUNT; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, use_queue, device), 0);
    }
    for (size_t i = 0; i < THREAD_COUNT; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    wl_device_close(device);
}

static void check_out_of_memory(const struct wl_device_ops *ops, uint64_t size)
{
    struct wl_device *device = open_device(ops);
    struct wload_error err = {0};
    char text[32];
    void *memory;

    CHECK_EQ(ops->memory_alloc(device, size, &memory, &err), WLOAD_ERR_NOMEM);
    CHECK_EQ(err.code, WLOAD_ERR_NOMEM);
    (void)snprintf(text, sizeof(text), "%" PRIu64, size);
    CHECK(strstr(err.message, text));
    CHECK(strstr(err.message, ops->name));
    CHECK_OK(ops->memory_alloc(device, 1, &memory, &err), &err); /* and life goes on */
    ops->memory_free(device, memory, 1);
    wl_device_close(device);
}

static void check_describe(const struct wl_device_ops *ops)
{
    struct wload_device_info info = {.struct_size = sizeof(info)};
    struct wload_error err;

    CHECK_OK(wload_device_describe(ops->kind, 0, &info, &err), &err);
    CHECK_EQ(info.struct_size, sizeof(info));
    CHECK_EQ(info.kind, ops->kind);
    CHECK_EQ(info.index, 0);
    CHECK(info.name[0] != '\0');
    CHECK(info.memory_bytes >= info.memory_free_bytes && info.memory_free_bytes > 0);
    CHECK_EQ(wload_device_describe(ops->kind, 7, &info, &err), WLOAD_ERR_NOT_FOUND);

    memset(&info, 0x5a, sizeof(info)); /* an older caller's struct ends before the name */
    info.struct_size = offsetof(struct wload_device_info, name);
    CHECK_OK(wload_device_describe(ops->kind, 0, &info, &err), &err);
    CHECK_EQ(info.kind, ops->kind);
    CHECK_EQ(info.name[0], 0x5a);
    info.struct_size = 0;
    CHECK_EQ(wload_device_describe(ops->kind, 0, &info, &err), WLOAD_ERR_INVALID);
    CHECK_EQ(wload_device_describe(ops->kind, 0, NULL, &err), WLOAD_ERR_INVALID);
}

/* ---- Of the GPUs only -------------------------------------------------------------- */

/* A copy that fails while it runs: whoever waits hears of it, in either way. */
static void check_failing_copy(const struct wl_device_ops *ops)
{
    struct wl_device *device;
    struct fixture f;

    driver_set("MODE=lazy FAIL=copy:2:700");
    device = open_device(ops);
    set_up(&f, device);
    wl_device_close(device);
    start_copy(&f, 0, 4096);
    put_mark(&f, 0);
    wait_for(f.queue, 0);
    start_copy(&f, 0, 4096);
    put_mark(&f, 1);
    ask_notice(&f, 1); /* only now does the lazy double run it */
    CHECK_EQ(sem_wait(&f.noticed), 0);
    CHECK_EQ(ops->mark_poll(f.queue, 1, &f.err), WLOAD_ERR_DEVICE);
    CHECK_EQ(f.err.device_code, 700);
    CHECK_EQ(ops->memory_read(f.device, f.tensor, 1, f.copy, &f.err), WLOAD_ERR_DEVICE);
    tear_down(&f);
    driver_check_clean();
}

/* The caller's own current device is the same after every call. */
static void check_manners(void)
{
    int (*pop)(void **), (*set)(int), (*get)(int *);
    void *context;
    int device;
    void *address = driver_symbol("cuCtxPopCurrent_v2");

    memcpy(&pop, &address, sizeof(address));
    address = driver_symbol("hipSetDevice");
    memcpy(&set, &address, sizeof(address));
    address = driver_symbol("hipGetDevice");
    memcpy(&get, &address, sizeof(address));
    driver_set("DEVICES=2");
    CHECK_EQ(set(1), 0);
    check_contract(&wl_device_cuda);
    check_contract(&wl_device_hip);
    CHECK_EQ(pop(&context), 201); /* nothing left on the stack */
    CHECK_EQ(get(&device), 0);
    CHECK_EQ(device, 1);
    CHECK_EQ(set(0), 0);
}

static void check_driver(const struct wl_device_ops *ops)
{
    static const char *const modes[] = {"", "MODE=lazy", "JITTER_US=300"};
    struct wload_device_info info = {.struct_size = sizeof(info)};
    struct wload_error err;

    for (size_t i = 0; i < WL_COUNT_OF(modes); i++) {
        driver_set(modes[i]);
        check_contract(ops);
        check_threads(ops);
        driver_check_clean();
        CHECK_EQ(driver_count("pageable"), 0);
    }
    driver_set("MEMORY=8388608");
    check_out_of_memory(ops, 16u << 20);
    driver_set("DEVICES=2");
    check_describe(ops);
    CHECK_OK(wload_device_describe(ops->kind, 1, &info, &err), &err);
    CHECK_EQ(info.index, 1);
    CHECK_STR(info.pci_address, "ffff:ff:01.0");
    CHECK_EQ(info.numa_node, -1);
    CHECK_EQ(info.driver_version, 13000);
    check_failing_copy(ops);
}

/* ---- Misuse, each in a process of its own ------------------------------------------- */

/* The name, and what the double says on it; NULL: the host faults. */
static const struct misuse {
    const char *name, *complaint;
} misuses[] = {
    {"changed", "a source changed before its copy ran"},
    {"freed", "device memory freed under a copy in flight"},
    {"unpinned", "host memory unregistered under a copy in flight"},
    {"pageable", "an asynchronous copy from memory that is not registered"},
    {"touched", NULL},
};

static void commit(const char *name)
{
    const struct wl_device_ops *ops = &wl_device_cuda;
    struct wl_device *device = open_device(ops);
    static const struct rlimit no_core;
    struct fixture f;

    CHECK_EQ(setrlimit(RLIMIT_CORE, &no_core), 0);
    set_up(&f, device);
    if (strcmp(name, "pageable") == 0) {
        (void)ops->copy_start(f.queue, f.tensor, f.copy, 4096, &f.err);
    }
    start_copy(&f, 0, 4096);
    if (strcmp(name, "changed") == 0) {
        memset(f.source, 1, 4096);
    } else if (strcmp(name, "freed") == 0) {
        ops->memory_free(device, f.tensor, TENSOR_BYTES);
    } else if (strcmp(name, "unpinned") == 0) {
        ops->unpin(device, f.source);
    } else if (strcmp(name, "touched") == 0) {
        *(volatile char *)f.tensor = 1;
    }
    ops->queue_close(f.queue);
}

static void check_misuses(void)
{
    CHECK_EQ(setenv("WLOAD_DOUBLE_MODE", "lazy", 1), 0);
    for (size_t i = 0; i < WL_COUNT_OF(misuses); i++) {
        char said[4096];
        int status = driver_run("", "misuse", misuses[i].name, said, sizeof(said));

        if (misuses[i].complaint && !strstr(said, misuses[i].complaint)) {
            (void)fprintf(stderr, "misuse '%s' said: %s\n", misuses[i].name, said);
            exit(1);
        }
        CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    }
}

/* ---- All of it ---------------------------------------------------------------------- */

/* The page after what the kernel gives: no alignment comes by luck. */
static void *map_off_by_a_page(void *address, size_t size, int protection, int flags, int fd,
                               off_t offset)
{
    char *memory = wl_sys_real.mmap(address, size + 4096, protection, flags, fd, offset);

    CHECK(memory != MAP_FAILED);
    CHECK_EQ(munmap(memory, 4096), 0);
    return memory + 4096;
}

static void check_host(void)
{
    struct wl_sys table = wl_sys_real;

    check_contract(&wl_device_host);
    check_threads(&wl_device_host);
    check_out_of_memory(&wl_device_host, 1ull << 60);
    check_out_of_memory(&wl_device_host, UINT64_MAX);
    check_describe(&wl_device_host);
    table.mmap = map_off_by_a_page;
    wl_sys = &table;
    check_contract(&wl_device_host);
    wl_sys = &wl_sys_real;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";

    if (argc == 1) {
        check_host();
        CHECK_EQ(driver_run("", "drivers", NULL, NULL, 0), 0);
        CHECK_EQ(driver_run("old", "old drivers", NULL, NULL, 0), 0);
        check_misuses();
        return 0;
    }
    driver_attach();
    if (strcmp(mode, "misuse") == 0) {
        commit(argv[2]);
        return 0;
    }
    if (strcmp(mode, "drivers") == 0) {
        check_driver(&wl_device_cuda);
        check_driver(&wl_device_hip);
        check_manners();
    } else {
        check_contract(&wl_device_cuda);
        check_contract(&wl_device_hip);
        CHECK(driver_count("notices") > 0);
        driver_check_clean();
    }
    return 0;
}
