/* SPDX-License-Identifier: Apache-2.0 */
/* What libamdhip64.so exports: each thread has a current device, the first one at its start. */
#include "double.h"

static _Thread_local int current;

static int get_current(int *out)
{
    *out = current;
    return DOUBLE_OK;
}

static int set_current(int device)
{
    if (!double_is_device(device)) {
        return DOUBLE_INVALID_DEVICE;
    }
    current = device;
    return DOUBLE_OK;
}

DOUBLE_API int hipInit(unsigned flags);
DOUBLE_API const char *hipGetErrorString(int code);

int hipInit(unsigned flags)
{
    return double_init(__func__, flags);
}

const char *hipGetErrorString(int code)
{
    return double_error_text(code);
}

DOUBLE_CALL(hipDriverGetVersion, (int *out), double_driver_version(out))
DOUBLE_CALL(hipGetDeviceCount, (int *out), double_device_count(out))
DOUBLE_CALL(hipDeviceGet, (int *out, int index), double_device_get(out, index))
DOUBLE_CALL(hipDeviceGetName, (char *out, int size, int device),
            double_device_name(out, size, device))
DOUBLE_CALL(hipDeviceGetPCIBusId, (char *out, int size, int device),
            double_device_pci(out, size, device))
DOUBLE_CALL(hipGetDevice, (int *out), get_current(out))
DOUBLE_CALL(hipSetDevice, (int device), set_current(device))

DOUBLE_CALL(hipMemGetInfo, (size_t * free_bytes, size_t *bytes),
            double_memory_info(current, free_bytes, bytes))
DOUBLE_CALL(hipMalloc, (uintptr_t * out, size_t size), double_memory_alloc(current, out, size))
DOUBLE_FREEING_CALL(hipFree, (uintptr_t address), double_memory_free(address))
DOUBLE_CALL(hipHostRegister, (void *memory, size_t size, unsigned flags),
            double_host_register(memory, size, flags))
DOUBLE_FREEING_CALL(hipHostUnregister, (void *memory), double_host_unregister(memory))
DOUBLE_CALL(hipMemcpyHtoDAsync, (uintptr_t target, const void *source, size_t size, void *stream),
            double_copy_in(target, source, size, stream))
DOUBLE_CALL(hipMemcpyDtoHAsync, (void *target, uintptr_t source, size_t size, void *stream),
            double_copy_out(target, source, size, stream))

DOUBLE_CALL(hipStreamCreateWithFlags, (void **out, unsigned flags),
            double_stream_create(current, out, flags))
DOUBLE_FREEING_CALL(hipStreamDestroy, (void *stream), double_stream_destroy(stream))
DOUBLE_CALL(hipStreamSynchronize, (void *stream), double_stream_sync(stream))
DOUBLE_CALL(hipStreamWaitEvent, (void *stream, void *event, unsigned flags),
            double_stream_wait_event(stream, event, flags))
#ifndef WLOAD_DOUBLE_OLD
DOUBLE_CALL(hipStreamAddCallback,
            (void *stream, double_callback callback, void *user, unsigned flags),
            double_stream_callback(stream, callback, user, flags))
#endif
DOUBLE_CALL(hipLaunchHostFunc, (void *stream, double_host_func function, void *user),
            double_stream_host_func(stream, function, user))
DOUBLE_CALL(hipEventCreateWithFlags, (void **out, unsigned flags), double_event_create(out, flags))
DOUBLE_FREEING_CALL(hipEventDestroy, (void *event), double_event_destroy(event))
DOUBLE_CALL(hipEventRecord, (void *event, void *stream), double_event_record(event, stream))
DOUBLE_CALL(hipEventQuery, (void *event), double_event_query(event))
