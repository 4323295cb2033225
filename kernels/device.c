/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/device.h"

#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/log.h"

/* In the order in which WLOAD_DEVICE_AUTO tries them; the host is always there. */
static const struct wl_device_ops *const backends[] = {
    &wl_device_cuda,
    &wl_device_hip,
    &wl_device_host,
};

int wl_device_open(const struct wl_log *log, enum wload_device_kind kind, uint32_t index,
                   struct wl_device **out, struct wload_error *err)
{
    for (size_t i = 0; i < WL_COUNT_OF(backends); i++) {
        const struct wl_device_ops *ops = backends[i];
        struct wload_error why = {0};
        int count;

        if (kind != WLOAD_DEVICE_AUTO && kind != ops->kind) {
            continue;
        }
        count = ops->count(&why);
        if (kind == WLOAD_DEVICE_AUTO && (count == WLOAD_ERR_UNSUPPORTED || count == 0)) {
            WL_LOG(log, WLOAD_LOG_INFO, "device", "%s passed over: %s", ops->name,
                   count == 0 ? "the driver finds no device" : why.message);
            continue;
        }
        if (count < 0) {
            if (err) {
                *err = why;
            }
            return count;
        }
        if (index >= (uint32_t)count) {
            return wl_err_set(err, WLOAD_ERR_NOT_FOUND,
                              "%s has %d devices; number %u was asked for", ops->name, count,
                              index);
        }
        return ops->open(index, out, err);
    }
    return wl_err_set(err, WLOAD_ERR_INVALID, "there is no device kind %d", (int)kind);
}

struct wl_device *wl_device_share(struct wl_device *device)
{
    atomic_fetch_add(&device->references, 1);
    return device;
}

void wl_device_close(struct wl_device *device)
{
    if (device && atomic_fetch_sub(&device->references, 1) == 1) {
        device->ops->close(device);
    }
}

int wload_device_describe(enum wload_device_kind kind, uint32_t index,
                          struct wload_device_info *info, struct wload_error *err)
{
    static const struct wl_log silent = {0};
    struct wload_device_info full = {0};
    struct wl_device *device;
    size_t size;
    int rc;

    if (!info || info->struct_size < sizeof(info->struct_size)) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "no place for the description: set struct_size");
    }
    rc = wl_device_open(&silent, kind, index, &device, err);
    if (rc < 0) {
        return rc;
    }
    rc = device->ops->describe(device, &full, err);
    wl_device_close(device);
    if (rc < 0) {
        return rc;
    }
    size = info->struct_size;
    memset(info, 0, size);
    memcpy(info, &full, wl_min(size, sizeof(full)));
    info->struct_size = size;
    return WLOAD_OK;
}
