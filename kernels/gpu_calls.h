/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver calls that we use, each once, by the name under which the driver
 * exports it: where CUDA has a _v2, the bare name is an older function.
 *
 *   BOTH(result, member, arguments, CUDA symbol, HIP symbol)
 *   CUDA(result, member, arguments, symbol)
 *   HIP(result, member, arguments, symbol)
 *
 * gpu_api.h gives the wl_gpu_ types our meaning, abi_cuda.c and abi_hip.c the vendor's.
 */
#ifndef WL_GPU_CALLS_H
#define WL_GPU_CALLS_H

/* clang-format off */
#define WL_GPU_CALLS(BOTH, CUDA, HIP)                                                             \
    BOTH(wl_gpu_status, init, (unsigned), cuInit, hipInit)                                        \
    BOTH(wl_gpu_status, driver_version, (int *), cuDriverGetVersion, hipDriverGetVersion)         \
    BOTH(wl_gpu_status, device_count, (int *), cuDeviceGetCount, hipGetDeviceCount)               \
    BOTH(wl_gpu_status, device_get, (wl_gpu_ordinal *, int), cuDeviceGet, hipDeviceGet)           \
    BOTH(wl_gpu_status, device_name, (char *, int, wl_gpu_ordinal),                               \
         cuDeviceGetName, hipDeviceGetName)                                                       \
    BOTH(wl_gpu_status, device_pci, (char *, int, wl_gpu_ordinal),                                \
         cuDeviceGetPCIBusId, hipDeviceGetPCIBusId)                                               \
    BOTH(wl_gpu_status, memory_info, (size_t *, size_t *), cuMemGetInfo_v2, hipMemGetInfo)        \
    BOTH(wl_gpu_status, memory_alloc, (wl_gpu_address *, size_t), cuMemAlloc_v2, hipMalloc)       \
    BOTH(wl_gpu_status, memory_free, (wl_gpu_address), cuMemFree_v2, hipFree)                     \
    BOTH(wl_gpu_status, host_register, (void *, size_t, unsigned),                                \
         cuMemHostRegister_v2, hipHostRegister)                                                   \
    BOTH(wl_gpu_status, host_unregister, (void *), cuMemHostUnregister, hipHostUnregister)        \
    BOTH(wl_gpu_status, copy_to_device,                                                           \
         (wl_gpu_address, wl_gpu_source, size_t, wl_gpu_stream),                                  \
         cuMemcpyHtoDAsync_v2, hipMemcpyHtoDAsync)                                                \
    BOTH(wl_gpu_status, copy_to_host, (void *, wl_gpu_address, size_t, wl_gpu_stream),            \
         cuMemcpyDtoHAsync_v2, hipMemcpyDtoHAsync)                                                \
    BOTH(wl_gpu_status, stream_create, (wl_gpu_stream *, unsigned),                               \
         cuStreamCreate, hipStreamCreateWithFlags)                                                \
    BOTH(wl_gpu_status, stream_destroy, (wl_gpu_stream), cuStreamDestroy_v2, hipStreamDestroy)    \
    BOTH(wl_gpu_status, stream_sync, (wl_gpu_stream), cuStreamSynchronize, hipStreamSynchronize)  \
    BOTH(wl_gpu_status, stream_wait_event, (wl_gpu_stream, wl_gpu_event, unsigned),               \
         cuStreamWaitEvent, hipStreamWaitEvent)                                                   \
    BOTH(wl_gpu_status, stream_callback, (wl_gpu_stream, wl_gpu_callback, void *, unsigned),      \
         cuStreamAddCallback, hipStreamAddCallback)                                               \
    BOTH(wl_gpu_status, stream_host_func, (wl_gpu_stream, wl_gpu_host_func, void *),              \
         cuLaunchHostFunc, hipLaunchHostFunc)                                                     \
    BOTH(wl_gpu_status, event_create, (wl_gpu_event *, unsigned),                                 \
         cuEventCreate, hipEventCreateWithFlags)                                                  \
    BOTH(wl_gpu_status, event_destroy, (wl_gpu_event), cuEventDestroy_v2, hipEventDestroy)        \
    BOTH(wl_gpu_status, event_record, (wl_gpu_event, wl_gpu_stream),                              \
         cuEventRecord, hipEventRecord)                                                           \
    BOTH(wl_gpu_status, event_query, (wl_gpu_event), cuEventQuery, hipEventQuery)                 \
    CUDA(wl_gpu_status, error_string, (wl_gpu_status, const char **), cuGetErrorString)           \
    CUDA(wl_gpu_status, context_retain, (wl_gpu_context *, wl_gpu_ordinal),                       \
         cuDevicePrimaryCtxRetain)                                                                \
    CUDA(wl_gpu_status, context_release, (wl_gpu_ordinal), cuDevicePrimaryCtxRelease_v2)          \
    CUDA(wl_gpu_status, context_push, (wl_gpu_context), cuCtxPushCurrent_v2)                      \
    CUDA(wl_gpu_status, context_pop, (wl_gpu_context *), cuCtxPopCurrent_v2)                      \
    HIP(const char *, error_text, (wl_gpu_status), hipGetErrorString)                             \
    HIP(wl_gpu_status, current_get, (int *), hipGetDevice)                                        \
    HIP(wl_gpu_status, current_set, (int), hipSetDevice)
/* clang-format on */

/* Numbers that are the same in both drivers. */
#define WL_GPU_NUMBERS(NUMBER)                                                          \
    NUMBER(SUCCESS, CUDA_SUCCESS, hipSuccess, 0)                                        \
    NUMBER(INVALID_VALUE, CUDA_ERROR_INVALID_VALUE, hipErrorInvalidValue, 1)            \
    NUMBER(OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY, hipErrorOutOfMemory, 2)             \
    NUMBER(NO_DEVICE, CUDA_ERROR_NO_DEVICE, hipErrorNoDevice, 100)                      \
    NUMBER(INVALID_DEVICE, CUDA_ERROR_INVALID_DEVICE, hipErrorInvalidDevice, 101)       \
    NUMBER(OPERATING_SYSTEM, CUDA_ERROR_OPERATING_SYSTEM, hipErrorOperatingSystem, 304) \
    NUMBER(NOT_READY, CUDA_ERROR_NOT_READY, hipErrorNotReady, 600)                      \
    NUMBER(NOT_SUPPORTED, CUDA_ERROR_NOT_SUPPORTED, hipErrorNotSupported, 801)          \
    NUMBER(REGISTER_PORTABLE, CU_MEMHOSTREGISTER_PORTABLE, hipHostRegisterPortable, 1)  \
    NUMBER(STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING, hipStreamNonBlocking, 1)        \
    NUMBER(EVENT_DISABLE_TIMING, CU_EVENT_DISABLE_TIMING, hipEventDisableTiming, 2)

#define WL_CUDA_STUB_LIBRARY 34 /* cuInit() of the library that programs are linked against */

#endif /* WL_GPU_CALLS_H */
