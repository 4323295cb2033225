/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/device_gpu.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"

static int fail(const struct wl_gpu_vendor *vendor, const struct wl_gpu_api *api, const char *who,
                enum wl_gpu_call call, int code, struct wload_error *err)
{
    int status = code == WL_GPU_OUT_OF_MEMORY ? WLOAD_ERR_NOMEM : WLOAD_ERR_DEVICE;
    const char *text = vendor->error_text(api, code);

    (void)wl_err_set(err, status, "%s: %s failed: %s (%d)", who, vendor->driver->calls[call].symbol,
                     text ? text : "unknown error", code);
    if (err) {
        err->device_code = code;
    }
    return status;
}

int wl_gpu_check(const struct wl_gpu_device *gpu, enum wl_gpu_call call, int code,
                 struct wload_error *err)
{
    char who[32];

    if (code == WL_GPU_SUCCESS) {
        return WLOAD_OK;
    }
    (void)snprintf(who, sizeof(who), "%s:%u", gpu->base.ops->name, gpu->index);
    return fail(gpu->vendor, wl_gpu_api_of(gpu), who, call, code, err);
}

/* ---- Drivers and devices --------------------------------------------------- */

/* 1: ready.  0: the driver has no device to serve. */
static int make_ready(struct wl_gpu_vendor *vendor, struct wload_error *err)
{
    struct wl_gpu_api api;
    int rc, code;

    if (vendor->is_ready) {
        return 1;
    }
    rc = wl_gpu_api_load(vendor->driver, &api, err);
    if (rc < 0) {
        return rc;
    }
    code = api.init(0);
    if (code == WL_GPU_NO_DEVICE || code == WL_GPU_INVALID_DEVICE) {
        return 0; /* HIP says the second where CUDA says the first */
    }
    if (code == WL_CUDA_STUB_LIBRARY) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED,
                          "'%s' is only a stub to link against: no driver on this machine",
                          vendor->driver->names[0]);
    }
    if (code != WL_GPU_SUCCESS) {
        return fail(vendor, &api, vendor->ops->name, WL_GPU_CALL_init, code, err);
    }
    vendor->api = api;
    vendor->is_ready = true;
    return 1;
}

int wl_gpu_count(struct wl_gpu_vendor *vendor, struct wload_error *err)
{
    int count = 0;
    int rc, code;

    (void)pthread_mutex_lock(&vendor->lock);
    rc = make_ready(vendor, err);
    (void)pthread_mutex_unlock(&vendor->lock);
    if (rc <= 0) {
        return rc;
    }
    code = vendor->api.device_count(&count);
    if (code == WL_GPU_NO_DEVICE) {
        return 0;
    }
    if (code != WL_GPU_SUCCESS) {
        return fail(vendor, &vendor->api, vendor->ops->name, WL_GPU_CALL_device_count, code, err);
    }
    return count;
}

int wl_gpu_open(struct wl_gpu_vendor *vendor, unsigned index, struct wl_device **out,
                struct wload_error *err)
{
    struct wl_gpu_device *gpu = wl_sys->alloc(sizeof(*gpu));
    int previous, rc;

    if (!gpu) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for device %s:%u", vendor->ops->name,
                          index);
    }
    gpu->base.ops = vendor->ops;
    atomic_init(&gpu->base.references, 1);
    gpu->vendor = vendor;
    gpu->index = index;
    rc = WL_GPU_TRY(gpu, err, device_get, &gpu->ordinal, (int)index);
    if (rc < 0) {
        goto out_free;
    }
    rc = vendor->acquire(gpu, err);
    if (rc < 0) {
        goto out_free;
    }
    rc = vendor->enter(gpu, &previous, err);
    if (rc < 0) {
        goto out_release;
    }
    rc = WL_GPU_TRY(gpu, err, stream_create, &gpu->read_stream, WL_GPU_STREAM_NON_BLOCKING);
    vendor->leave(gpu, previous);
    if (rc < 0) {
        goto out_release;
    }
    *out = &gpu->base;
    return WLOAD_OK;

out_release:
    vendor->release(gpu);
out_free:
    wl_sys->free(gpu);
    return rc;
}

struct wl_gpu_visit wl_gpu_enter_to_undo(const struct wl_gpu_device *gpu)
{
    struct wl_gpu_visit visit = {0};

    visit.is_entered = gpu->vendor->enter(gpu, &visit.previous, NULL) == WLOAD_OK;
    return visit;
}

void wl_gpu_leave_after_undo(const struct wl_gpu_device *gpu, struct wl_gpu_visit visit)
{
    if (visit.is_entered) {
        gpu->vendor->leave(gpu, visit.previous);
    }
}

void wl_gpu_close(struct wl_device *device)
{
    struct wl_gpu_device *gpu = wl_gpu_of(device);
    struct wl_gpu_visit visit = wl_gpu_enter_to_undo(gpu);

    (void)wl_gpu_api_of(gpu)->stream_destroy(gpu->read_stream);
    wl_gpu_leave_after_undo(gpu, visit);
    gpu->vendor->release(gpu);
    wl_sys->free(gpu);
}

/* The NUMA node that the kernel gives for a PCI address, or -1. */
static int32_t numa_node_of(const char *pci_address)
{
    char path[96], text[16] = "";
    int fd;

    (void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/numa_node", pci_address);
    fd = wl_sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (wl_sys_read(fd, text, sizeof(text) - 1, 0) <= 0) {
        (void)snprintf(text, sizeof(text), "-1");
    }
    (void)wl_sys->close(fd);
    return (int32_t)strtol(text, NULL, 10);
}

int wl_gpu_describe(struct wl_device *device, struct wload_device_info *info,
                    struct wload_error *err)
{
    struct wl_gpu_device *gpu = wl_gpu_of(device);
    size_t free_bytes = 0, bytes = 0;
    int version = 0;
    int previous, rc;

    rc = WL_GPU_TRY(gpu, err, driver_version, &version);
    if (rc == WLOAD_OK) {
        rc = WL_GPU_TRY(gpu, err, device_name, info->name, (int)sizeof(info->name), gpu->ordinal);
    }
    if (rc == WLOAD_OK) {
        rc = WL_GPU_TRY(gpu, err, device_pci, info->pci_address, (int)sizeof(info->pci_address),
                        gpu->ordinal);
    }
    if (rc == WLOAD_OK) {
        rc = gpu->vendor->enter(gpu, &previous, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = WL_GPU_TRY(gpu, err, memory_info, &free_bytes, &bytes);
    gpu->vendor->leave(gpu, previous);
    if (rc < 0) {
        return rc;
    }
    for (char *at = info->pci_address; *at; at++) {
        *at = (char)tolower((unsigned char)*at); /* as sysfs spells it */
    }
    info->kind = gpu->base.ops->kind;
    info->index = gpu->index;
    info->memory_bytes = bytes;
    info->memory_free_bytes = free_bytes;
    info->driver_version = (uint32_t)version;
    info->numa_node = numa_node_of(info->pci_address);
    return WLOAD_OK;
}

/* ---- Memory ---------------------------------------------------------------- */

int wl_gpu_pin(struct wl_device *device, void *memory, uint64_t size_bytes, struct wload_error *err)
{
    struct wl_gpu_device *gpu = wl_gpu_of(device);
    struct wload_error why = {0};
    int previous;
    int rc = gpu->vendor->enter(gpu, &previous, err);

    if (rc < 0) {
        return rc;
    }
    rc = WL_GPU_TRY(gpu, &why, host_register, memory, size_bytes, WL_GPU_REGISTER_PORTABLE);
    gpu->vendor->leave(gpu, previous);
    if (why.device_code == WL_GPU_INVALID_VALUE || why.device_code == WL_GPU_OPERATING_SYSTEM ||
        why.device_code == WL_GPU_NOT_SUPPORTED) {
        rc = why.code = WLOAD_ERR_UNSUPPORTED; /* this memory or this kernel, not the device */
    }
    if (rc < 0 && err) {
        *err = why;
    }
    return rc;
}

void wl_gpu_unpin(struct wl_device *device, void *memory)
{
    struct wl_gpu_device *gpu = wl_gpu_of(device);
    struct wl_gpu_visit visit = wl_gpu_enter_to_undo(gpu);

    (void)wl_gpu_api_of(gpu)->host_unregister(memory);
    wl_gpu_leave_after_undo(gpu, visit);
}

int wl_gpu_memory_alloc(struct wl_device *device, uint64_t size_bytes, void **out,
                        struct wload_error *err)
{
    struct wl_gpu_device *gpu = wl_gpu_of(device);
    const struct wl_gpu_api *api = wl_gpu_api_of(gpu);
    size_t free_bytes = 0, bytes = 0;
    wl_gpu_address address;
    int previous, code;
    int rc = gpu->vendor->enter(gpu, &previous, err);

    if (rc < 0) {
        return rc;
    }
    code = api->memory_alloc(&address, wl_max(size_bytes, 1)); /* drivers refuse 0 */
    if (code == WL_GPU_OUT_OF_MEMORY) {
        (void)api->memory_info(&free_bytes, &bytes);
        rc = wl_err_set(err, WLOAD_ERR_NOMEM,
                        "%s:%u: no room for %" PRIu64 " bytes, %zu of %zu are free: %s failed (%d)",
                        gpu->base.ops->name, gpu->index, size_bytes, free_bytes, bytes,
                        gpu->vendor->driver->calls[WL_GPU_CALL_memory_alloc].symbol, code);
        if (err) {
            err->device_code = code;
        }
    } else {
        rc = wl_gpu_check(gpu, WL_GPU_CALL_memory_alloc, code, err);
    }
    gpu->vendor->leave(gpu, previous);
    if (rc == WLOAD_OK) {
        *out = (void *)address;
    }
    return rc;
}

void wl_gpu_memory_free(struct wl_device *device, void *memory, uint64_t size_bytes)
{
    struct wl_gpu_device *gpu = wl_gpu_of(device);
    struct wl_gpu_visit visit = wl_gpu_enter_to_undo(gpu);

    (void)size_bytes;
    (void)wl_gpu_api_of(gpu)->memory_free((wl_gpu_address)memory);
    wl_gpu_leave_after_undo(gpu, visit);
}

int wl_gpu_memory_read(struct wl_device *device, const void *memory, uint64_t size_bytes,
                       void *target, struct wload_error *err)
{
    struct wl_gpu_device *gpu = wl_gpu_of(device);
    int previous, rc;

    if (size_bytes == 0) {
        return WLOAD_OK;
    }
    rc = gpu->vendor->enter(gpu, &previous, err);
    if (rc < 0) {
        return rc;
    }
    rc = WL_GPU_TRY(gpu, err, copy_to_host, target, (wl_gpu_address)memory, size_bytes,
                    gpu->read_stream);
    if (rc == WLOAD_OK) {
        rc = WL_GPU_TRY(gpu, err, stream_sync, gpu->read_stream);
    }
    gpu->vendor->leave(gpu, previous);
    return rc;
}
