/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus: from pinned host memory to a GPU by the driver's asynchronous copy, with nothing else
 * going on.  The driver is looked up by name here as well, so that the figure owes nothing to the
 * library that it judges.
 */
#include <dlfcn.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "bench/roof.h"

#define BLOCK_BYTES   (8ull << 20)
#define BLOCK_COUNT   8u
#define MEASURE_BYTES (1ull << 30)
/* The same numbers in both drivers. */
#define STREAM_NON_BLOCKING 1u
#define REGISTER_PORTABLE   1u

/* X(member, arguments, CUDA's name, HIP's name): NULL where a driver has no such call. */
#define DRIVER_CALLS(X)                                                              \
    X(init, (unsigned), "cuInit", "hipInit")                                         \
    X(device_get, (int *, int), "cuDeviceGet", NULL)                                 \
    X(context_retain, (void **, int), "cuDevicePrimaryCtxRetain", NULL)              \
    X(context_release, (int), "cuDevicePrimaryCtxRelease_v2", NULL)                  \
    X(context_push, (void *), "cuCtxPushCurrent_v2", NULL)                           \
    X(context_pop, (void **), "cuCtxPopCurrent_v2", NULL)                            \
    X(device_set, (int), NULL, "hipSetDevice")                                       \
    X(alloc, (uintptr_t *, size_t), "cuMemAlloc_v2", "hipMalloc")                    \
    X(free, (uintptr_t), "cuMemFree_v2", "hipFree")                                  \
    X(pin, (void *, size_t, unsigned), "cuMemHostRegister_v2", "hipHostRegister")    \
    X(unpin, (void *), "cuMemHostUnregister", "hipHostUnregister")                   \
    X(stream_new, (void **, unsigned), "cuStreamCreate", "hipStreamCreateWithFlags") \
    X(stream_free, (void *), "cuStreamDestroy_v2", "hipStreamDestroy")               \
    X(stream_wait, (void *), "cuStreamSynchronize", "hipStreamSynchronize")          \
    X(copy, (uintptr_t, const void *, size_t, void *), "cuMemcpyHtoDAsync_v2", "hipMemcpyHtoDAsync")

struct roof_bus {
#define DRIVER_MEMBER(member, arguments, cuda, hip) int(*member) arguments;
    DRIVER_CALLS(DRIVER_MEMBER)
#undef DRIVER_MEMBER
    int device;   /* CUDA's handle */
    char *memory; /* BLOCK_COUNT blocks, pinned */
    uintptr_t target;
    void *stream;
};

/* CUDA's driver and, for HIP, the versions of its runtime that have the same calls. */
static void *find_driver(bool is_cuda)
{
    static const char *const cuda_names[] = {"libcuda.so.1", NULL};
    static const char *const hip_names[] = {"libamdhip64.so.7", "libamdhip64.so.6",
                                            "libamdhip64.so.5", NULL};
    void *driver = NULL;

    for (const char *const *name = is_cuda ? cuda_names : hip_names; *name && !driver; name++) {
        driver = dlopen(*name, RTLD_NOW | RTLD_LOCAL);
    }
    return driver; /* never closed: a driver's threads outlive it */
}

static int resolve(struct roof_bus *bus, bool is_cuda, struct wload_error *err)
{
    void *driver = find_driver(is_cuda);
    const char *symbol;

    if (!driver) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "no driver to measure the bus with");
    }
#define DRIVER_RESOLVE(member, arguments, cuda, hip)                                       \
    symbol = is_cuda ? (cuda) : (hip);                                                     \
    if (symbol) {                                                                          \
        *(void **)&bus->member = dlsym(driver, symbol);                                    \
        if (!bus->member) {                                                                \
            return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "the driver has no %s", symbol); \
        }                                                                                  \
    }
    DRIVER_CALLS(DRIVER_RESOLVE)
#undef DRIVER_RESOLVE
    return WLOAD_OK;
}

/* CUDA's calls go to the context on top of the thread's stack, HIP's to the current device.
 * A driver's code, or 0. */
static int enter(struct roof_bus *bus, int index)
{
    void *context = NULL;
    int code;

    if (bus->device_set) {
        return bus->device_set(index);
    }
    code = bus->device_get(&bus->device, index);
    if (code == 0) {
        code = bus->context_retain(&context, bus->device);
    }
    return code == 0 ? bus->context_push(context) : code;
}

/* All that is ready before the clock starts, one copy included.  A driver's code, or 0. */
static int prepare(struct roof_bus *bus, int index)
{
    uint64_t size_bytes = BLOCK_COUNT * BLOCK_BYTES;
    int code = bus->init(0);

    if (code == 0) {
        code = enter(bus, index);
    }
    if (code == 0) {
        code = bus->stream_new(&bus->stream, STREAM_NON_BLOCKING);
    }
    if (code == 0) {
        code = bus->alloc(&bus->target, size_bytes);
    }
    if (code == 0) {
        code = bus->pin(bus->memory, size_bytes, REGISTER_PORTABLE);
    }
    if (code == 0) {
        code = bus->copy(bus->target, bus->memory, BLOCK_BYTES, bus->stream);
    }
    return code == 0 ? bus->stream_wait(bus->stream) : code;
}

int roof_bus_open(enum wload_device_kind kind, uint32_t index, struct roof_bus **out,
                  struct wload_error *err)
{
    struct roof_bus *bus = calloc(1, sizeof(*bus));
    int rc, code;

    if (!bus) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the bus roof");
    }
    rc = resolve(bus, kind == WLOAD_DEVICE_CUDA, err);
    if (rc < 0) {
        goto out_free;
    }
    bus->memory = roof_memory_map(BLOCK_COUNT * BLOCK_BYTES, false);
    if (!bus->memory) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the bus roof");
        goto out_free;
    }
    roof_memory_touch(bus->memory, BLOCK_COUNT * BLOCK_BYTES);
    code = prepare(bus, (int)index);
    if (code != 0) {
        rc = wl_err_set(err, WLOAD_ERR_DEVICE, "the driver cannot measure the bus: error %d", code);
        goto out_unmap;
    }
    *out = bus;
    return WLOAD_OK;

out_unmap: /* what the driver holds of a broken device goes with the process */
    roof_memory_unmap(bus->memory, BLOCK_COUNT * BLOCK_BYTES);
out_free:
    free(bus);
    return rc;
}

void roof_bus_close(struct roof_bus *bus)
{
    if (!bus) {
        return;
    }
    (void)bus->unpin(bus->memory);
    (void)bus->free(bus->target);
    (void)bus->stream_free(bus->stream);
    if (bus->context_release) {
        void *context;

        (void)bus->context_pop(&context);
        (void)bus->context_release(bus->device);
    }
    roof_memory_unmap(bus->memory, BLOCK_COUNT * BLOCK_BYTES);
    free(bus);
}

int roof_bus_measure(struct roof_bus *bus, uint64_t size_bytes, struct roof_figure *out,
                     struct wload_error *err)
{
    uint64_t blocks = wl_max(1, wl_min(size_bytes, MEASURE_BYTES) / BLOCK_BYTES);
    double scale = (double)size_bytes / (double)(blocks * BLOCK_BYTES);
    int64_t begin_ns = wl_clock_ns();
    int64_t begin_cpu_ns = wl_clock_cpu_ns();
    int code = 0;

    for (uint64_t i = 0; i < blocks && code == 0; i++) {
        uint64_t at = i % BLOCK_COUNT * BLOCK_BYTES;

        code = bus->copy(bus->target + at, bus->memory + at, BLOCK_BYTES, bus->stream);
    }
    if (code == 0) {
        code = bus->stream_wait(bus->stream);
    }
    if (code != 0) {
        return wl_err_set(err, WLOAD_ERR_DEVICE, "the bus cannot be measured: driver error %d",
                          code);
    }
    out->elapsed_ns = (int64_t)((double)(wl_clock_ns() - begin_ns) * scale);
    out->cpu_ns = (int64_t)((double)(wl_clock_cpu_ns() - begin_cpu_ns) * scale);
    return WLOAD_OK;
}
