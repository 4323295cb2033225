/* SPDX-License-Identifier: Apache-2.0 */
/* What libcuda.so.1 exports, and its contexts: each thread has a stack of them. */
#include "double.h"

#define CONTEXTS_MAX 16

/* A context's handle is its device's place here; the value counts its owners. */
static unsigned contexts[DOUBLE_DEVICES_MAX];

static _Thread_local unsigned *stack[CONTEXTS_MAX];
static _Thread_local unsigned depth;

/* The device of the current context, or -1. */
static int current(void)
{
    return depth > 0 ? (int)(stack[depth - 1] - contexts) : -1;
}

static int retain(void **out, int device)
{
    if (!double_is_device(device)) {
        return DOUBLE_INVALID_DEVICE;
    }
    (void)pthread_mutex_lock(&double_state.lock);
    contexts[device]++;
    double_state.counters.live_contexts++;
    (void)pthread_mutex_unlock(&double_state.lock);
    *out = &contexts[device];
    return DOUBLE_OK;
}

static int release(int device)
{
    int code = DOUBLE_INVALID_CONTEXT;

    (void)pthread_mutex_lock(&double_state.lock);
    if (double_is_device(device) && contexts[device] > 0) {
        contexts[device]--;
        double_state.counters.live_contexts--;
        code = DOUBLE_OK;
    }
    (void)pthread_mutex_unlock(&double_state.lock);
    return code;
}

static int push(void *context)
{
    unsigned *counted = context;
    bool is_held = false;

    (void)pthread_mutex_lock(&double_state.lock);
    for (int device = 0; device < DOUBLE_DEVICES_MAX; device++) {
        is_held = is_held || (counted == &contexts[device] && *counted > 0);
    }
    (void)pthread_mutex_unlock(&double_state.lock);
    if (!is_held || depth == CONTEXTS_MAX) {
        return DOUBLE_INVALID_CONTEXT;
    }
    stack[depth++] = counted;
    return DOUBLE_OK;
}

static int pop(void **out)
{
    if (depth == 0) {
        return DOUBLE_INVALID_CONTEXT;
    }
    *out = stack[--depth];
    return DOUBLE_OK;
}

DOUBLE_API int cuInit(unsigned flags);
DOUBLE_API int cuGetErrorString(int code, const char **out);

int cuInit(unsigned flags)
{
    return double_init(__func__, flags);
}

int cuGetErrorString(int code, const char **out)
{
    *out = double_error_text(code);
    return DOUBLE_OK;
}

DOUBLE_CALL(cuDriverGetVersion, (int *out), double_driver_version(out))
DOUBLE_CALL(cuDeviceGetCount, (int *out), double_device_count(out))
DOUBLE_CALL(cuDeviceGet, (int *out, int index), double_device_get(out, index))
DOUBLE_CALL(cuDeviceGetName, (char *out, int size, int device),
            double_device_name(out, size, device))
DOUBLE_CALL(cuDeviceGetPCIBusId, (char *out, int size, int device),
            double_device_pci(out, size, device))
DOUBLE_CALL(cuDevicePrimaryCtxRetain, (void **out, int device), retain(out, device))
DOUBLE_FREEING_CALL(cuDevicePrimaryCtxRelease_v2, (int device), release(device))
DOUBLE_CALL(cuCtxPushCurrent_v2, (void *context), push(context))
DOUBLE_FREEING_CALL(cuCtxPopCurrent_v2, (void **out), pop(out))

DOUBLE_CALL(cuMemGetInfo_v2, (size_t * free_bytes, size_t *bytes),
            double_memory_info(current(), free_bytes, bytes))
DOUBLE_CALL(cuMemAlloc_v2, (uintptr_t * out, size_t size),
            double_memory_alloc(current(), out, size))
DOUBLE_FREEING_CALL(cuMemFree_v2, (uintptr_t address), double_memory_free(address))
DOUBLE_CALL(cuMemHostRegister_v2, (void *memory, size_t size, unsigned flags),
            double_host_register(memory, size, flags))
DOUBLE_FREEING_CALL(cuMemHostUnregister, (void *memory), double_host_unregister(memory))
DOUBLE_CALL(cuMemcpyHtoDAsync_v2, (uintptr_t target, const void *source, size_t size, void *stream),
            double_copy_in(target, source, size, stream))
DOUBLE_CALL(cuMemcpyDtoHAsync_v2, (void *target, uintptr_t source, size_t size, void *stream),
            double_copy_out(target, source, size, stream))

DOUBLE_CALL(cuStreamCreate, (void **out, unsigned flags),
            double_stream_create(current(), out, flags))
DOUBLE_FREEING_CALL(cuStreamDestroy_v2, (void *stream), double_stream_destroy(stream))
DOUBLE_CALL(cuStreamSynchronize, (void *stream), double_stream_sync(stream))
DOUBLE_CALL(cuStreamWaitEvent, (void *stream, void *event, unsigned flags),
            double_stream_wait_event(stream, event, flags))
#ifndef WLOAD_DOUBLE_OLD
DOUBLE_CALL(cuStreamAddCallback,
            (void *stream, double_callback callback, void *user, unsigned flags),
            double_stream_callback(stream, callback, user, flags))
#endif
DOUBLE_CALL(cuLaunchHostFunc, (void *stream, double_host_func function, void *user),
            double_stream_host_func(stream, function, user))
DOUBLE_CALL(cuEventCreate, (void **out, unsigned flags), double_event_create(out, flags))
DOUBLE_FREEING_CALL(cuEventDestroy_v2, (void *event), double_event_destroy(event))
DOUBLE_CALL(cuEventRecord, (void *event, void *stream), double_event_record(event, stream))
DOUBLE_CALL(cuEventQuery, (void *event), double_event_query(event))
