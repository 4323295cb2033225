/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled and never linked: gpu_calls.h says of the driver what AMD's own header says. */
#include <hip/hip_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

typedef hipError_t wl_gpu_status;
typedef hipDevice_t wl_gpu_ordinal;
typedef hipDeviceptr_t wl_gpu_address;
typedef hipStream_t wl_gpu_stream;
typedef hipEvent_t wl_gpu_event;
typedef hipStreamCallback_t wl_gpu_callback;
typedef hipHostFn_t wl_gpu_host_func;

#include "kernels/gpu_calls.h"

/* What gpu_api.h puts in their place is passed alike. */
_Static_assert(sizeof(wl_gpu_status) == sizeof(int), "wl_gpu_status");
_Static_assert(sizeof(wl_gpu_ordinal) == sizeof(int), "wl_gpu_ordinal");
_Static_assert(sizeof(wl_gpu_address) == sizeof(uintptr_t), "wl_gpu_address");

/* The source of a copy has become const in the course of the releases: either is right. */
#define CUDA(result, member, arguments, symbol)
#define HIP(result, member, arguments, symbol)     typedef result(*member##_plain) arguments;
#define BOTH(result, member, arguments, cuda, hip) HIP(result, member, arguments, hip)
#define wl_gpu_source                              void *
WL_GPU_CALLS(BOTH, CUDA, HIP)
#undef wl_gpu_source
#undef HIP

#define HIP(result, member, arguments, symbol)                                               \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&symbol), result(*) arguments) || \
                       __builtin_types_compatible_p(__typeof__(&symbol), member##_plain),    \
                   #symbol " is declared otherwise");
#define wl_gpu_source const void *
WL_GPU_CALLS(BOTH, CUDA, HIP)

#define NUMBER(name, cuda, hip, value) _Static_assert((hip) == (value), #hip);
WL_GPU_NUMBERS(NUMBER)
