/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a device survives the failure of any one call of the driver, and of any one
 * system call or allocation of ours.
 * Method: use every slot once; fail the first call of each name, then the second, ...
 * until the fault is no longer reached.  After each: an error that names the call and
 * has the driver's code, or, where nothing can be reported, none; and nothing is held.
 */
#include <semaphore.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "base/base.h"
#include "base/log.h"
#include "driver.h"
#include "faults.h"
#include "kernels/device.h"
#include "kernels/gpu_api.h"
#include "test.h"

#define SOURCE_BYTES (64u << 10)
#define MARK_COUNT   4
#define FAILURE      999 /* a code that the double never returns by itself */

static const struct wl_log silent;

static unsigned char *map_source(void)
{
    void *memory =
        mmap(NULL, SOURCE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(memory != MAP_FAILED);
    return memory;
}

static void post(void *semaphore)
{
    CHECK_EQ(sem_post(semaphore), 0);
}

/* What a queue is for; all of it without an allocation. */
static int use_queue(struct wl_queue *queue, void *tensor, const void *source,
                     struct wload_error *err)
{
    const struct wl_device_ops *ops = queue->device->ops;
    uint64_t allocations = faults_allocations();
    int rc = ops->copy_start(queue, tensor, source, 4096, err);

    if (rc == 0) {
        rc = ops->mark_put(queue, 0, err);
    }
    if (rc == 0) {
        sem_t noticed;

        CHECK_EQ(sem_init(&noticed, 0, 0), 0);
        rc = ops->mark_notify(queue, 0, post, &noticed, err);
        CHECK(rc < 0 || sem_wait(&noticed) == 0);
        CHECK_EQ(sem_destroy(&noticed), 0);
    }
    if (rc == 0) {
        rc = ops->mark_poll(queue, 0, err);
        rc = rc > 0 ? 0 : rc;
    }
    CHECK_EQ(faults_allocations(), allocations);
    return rc;
}

/* Use every slot once and undo it all, whatever fails on the way. */
static int use_once(const struct wl_device_ops *ops, unsigned char *source, struct wload_error *err)
{
    struct wload_device_info info = {.struct_size = sizeof(info)};
    struct wl_device *device = NULL;
    struct wl_queue *queue = NULL;
    unsigned char back[4096];
    void *tensor = NULL;
    int pinned = -1;
    int rc = wl_device_open(&silent, ops->kind, 0, &device, err);

    if (rc == 0) {
        rc = ops->describe(device, &info, err);
    }
    if (rc == 0) {
        rc = ops->memory_alloc(device, 4096, &tensor, err);
    }
    if (rc == 0) {
        rc = pinned = ops->pin(device, source, SOURCE_BYTES, err);
    }
    if (rc == 0) {
        rc = ops->queue_open(device, MARK_COUNT, &queue, err);
    }
    if (rc == 0) {
        rc = use_queue(queue, tensor, source, err);
    }
    if (rc == 0) {
        rc = ops->memory_read(device, tensor, sizeof(back), back, err);
    }
    if (queue) {
        ops->queue_close(queue);
    }
    if (pinned == 0) {
        ops->unpin(device, source);
    }
    if (tensor) {
        ops->memory_free(device, tensor, 4096);
    }
    wl_device_close(device);
    return rc;
}

/* Also made where nothing can be reported: on the way out of a slot, and in undoing. */
static bool may_go_unseen(enum wl_gpu_call call)
{
    static const enum wl_gpu_call calls[] = {
        WL_GPU_CALL_context_push,    WL_GPU_CALL_context_pop,   WL_GPU_CALL_context_release,
        WL_GPU_CALL_current_get,     WL_GPU_CALL_current_set,   WL_GPU_CALL_stream_sync,
        WL_GPU_CALL_stream_destroy,  WL_GPU_CALL_event_destroy, WL_GPU_CALL_memory_free,
        WL_GPU_CALL_host_unregister,
    };

    for (size_t i = 0; i < WL_COUNT_OF(calls); i++) {
        if (calls[i] == call) {
            return true;
        }
    }
    return false;
}

/* Once in a process, never with this driver, or without a failure of its own. */
static bool is_out_of_reach(enum wl_gpu_call call)
{
    return call == WL_GPU_CALL_init || call == WL_GPU_CALL_stream_host_func ||
           call == WL_GPU_CALL_error_string || call == WL_GPU_CALL_error_text;
}

static void check_failing_call(const struct wl_device_ops *ops, enum wl_gpu_call call,
                               const char *name)
{
    unsigned char *source = map_source();
    unsigned nth;

    for (nth = 1;; nth++) {
        struct wload_error err = {0};
        char fault[96];
        int rc;

        (void)snprintf(fault, sizeof(fault), "FAIL=%s:%u:%d", name, nth, FAILURE);
        driver_set(fault);
        rc = use_once(ops, source, &err);
        driver_check_clean();
        if (driver_count("failures") == 0) {
            CHECK_OK(rc, &err);
            break;
        }
        if (rc != 0 || !may_go_unseen(call)) {
            CHECK_EQ(rc, WLOAD_ERR_DEVICE);
            CHECK_EQ(err.code, rc);
            CHECK_EQ(err.device_code, FAILURE);
            CHECK(strstr(err.message, name));
        }
    }
    if (is_out_of_reach(call)) {
        CHECK_EQ(nth, 1);
    } else {
        CHECK(nth > 1);
    }
    CHECK_EQ(munmap(source, SOURCE_BYTES), 0);
}

/* Registration may be refused without harm to the copies. */
static void check_refused_pin(const struct wl_device_ops *ops, const char *name)
{
    static const struct {
        int code, status;
    } rows[] = {{1, WLOAD_ERR_UNSUPPORTED},
                {2, WLOAD_ERR_NOMEM},
                {304, WLOAD_ERR_UNSUPPORTED},
                {801, WLOAD_ERR_UNSUPPORTED},
                {FAILURE, WLOAD_ERR_DEVICE}};
    unsigned char *source = map_source();

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wload_error err = {0};
        struct wl_device *device;
        struct wl_queue *queue;
        unsigned char back = 0;
        void *tensor;
        char fault[96];

        (void)snprintf(fault, sizeof(fault), "FAIL=%s:1:%d", name, rows[i].code);
        driver_set(fault);
        CHECK_OK(wl_device_open(&silent, ops->kind, 0, &device, &err), &err);
        CHECK_EQ(ops->pin(device, source, SOURCE_BYTES, &err), rows[i].status);
        CHECK_EQ(err.code, rows[i].status);
        CHECK_EQ(err.device_code, rows[i].code);
        CHECK_OK(ops->memory_alloc(device, 1, &tensor, &err), &err);
        CHECK_OK(ops->queue_open(device, 1, &queue, &err), &err);
        source[0] = (unsigned char)(i + 1);
        CHECK_OK(ops->copy_start(queue, tensor, source, 1, &err), &err);
        ops->queue_close(queue);
        CHECK_OK(ops->memory_read(device, tensor, 1, &back, &err), &err);
        CHECK_EQ(back, i + 1);
        ops->memory_free(device, tensor, 1);
        wl_device_close(device);
        driver_check_clean();
    }
    CHECK_EQ(munmap(source, SOURCE_BYTES), 0);
}

/* Our own calls; what only makes the description poorer is no error. */
static void check_failing_system(const struct wl_device_ops *ops)
{
    unsigned char *source = map_source();
    uint64_t fail_at, calls;

    for (fail_at = 1;; fail_at++) {
        struct faults faults = {.fail_at = fail_at};
        struct wload_error err = {0};
        int rc;

        faults_begin(&faults);
        rc = use_once(ops, source, &err);
        CHECK_EQ(faults_live_blocks(), 0);
        calls = faults_end();
        if (rc != 0) {
            CHECK_EQ(rc, WLOAD_ERR_NOMEM);
            CHECK_EQ(err.code, rc);
            CHECK(err.message[0] != '\0');
        }
        if (calls < fail_at) {
            CHECK_OK(rc, &err);
            break;
        }
    }
    CHECK(fail_at > 2);
    CHECK_EQ(munmap(source, SOURCE_BYTES), 0);
}

static void check_driver(const struct wl_device_ops *ops, const struct wl_library_call *calls)
{
    driver_set("");
    check_failing_system(ops);
    driver_check_clean();
    for (size_t call = 0; call < WL_GPU_CALL_COUNT; call++) {
        if (calls[call].symbol) {
            check_failing_call(ops, (enum wl_gpu_call)call, calls[call].symbol);
        }
    }
    check_refused_pin(ops, calls[WL_GPU_CALL_host_register].symbol);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc == 1) {
        check_failing_system(&wl_device_host);
        CHECK_EQ(driver_run("", "drivers", NULL, NULL, 0), 0);
        return 0;
    }
    driver_attach();
    check_driver(&wl_device_cuda, wl_gpu_cuda_calls);
    check_driver(&wl_device_hip, wl_gpu_hip_calls);
    return 0;
}
