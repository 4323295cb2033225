/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled and never linked: gpu_calls.h says of the driver what NVIDIA's own header says. */
#include <cuda.h>
#include <stddef.h>
#include <stdint.h>

typedef CUresult wl_gpu_status;
typedef CUdevice wl_gpu_ordinal;
typedef CUdeviceptr wl_gpu_address;
typedef const void *wl_gpu_source;
typedef CUstream wl_gpu_stream;
typedef CUevent wl_gpu_event;
typedef CUcontext wl_gpu_context;
typedef CUstreamCallback wl_gpu_callback;
typedef CUhostFn wl_gpu_host_func;

#include "kernels/gpu_calls.h"

/* What gpu_api.h puts in their place is passed alike. */
_Static_assert(sizeof(wl_gpu_status) == sizeof(int), "wl_gpu_status");
_Static_assert(sizeof(wl_gpu_ordinal) == sizeof(int), "wl_gpu_ordinal");
_Static_assert(sizeof(wl_gpu_address) == sizeof(uintptr_t), "wl_gpu_address");

#define CUDA(result, member, arguments, symbol)                                            \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&symbol), result(*) arguments), \
                   #symbol " is declared otherwise");
#define BOTH(result, member, arguments, cuda, hip) CUDA(result, member, arguments, cuda)
#define HIP(result, member, arguments, symbol)
WL_GPU_CALLS(BOTH, CUDA, HIP)

#define NUMBER(name, cuda, hip, value) _Static_assert((cuda) == (value), #cuda);
WL_GPU_NUMBERS(NUMBER)
_Static_assert(CUDA_ERROR_STUB_LIBRARY == WL_CUDA_STUB_LIBRARY, "CUDA_ERROR_STUB_LIBRARY");
