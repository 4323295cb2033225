/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "double.h"

#define DRIVER_VERSION 13000

bool double_is_device(int device)
{
    return device >= 0 && device < double_state.settings.device_count;
}

int double_driver_version(int *out)
{
    *out = DRIVER_VERSION;
    return DOUBLE_OK;
}

int double_device_count(int *out)
{
    *out = double_state.settings.device_count;
    return DOUBLE_OK;
}

int double_device_get(int *out, int index)
{
    if (!double_is_device(index)) {
        return DOUBLE_INVALID_DEVICE;
    }
    *out = index;
    return DOUBLE_OK;
}

int double_device_name(char *out, int size, int device)
{
    if (!double_is_device(device)) {
        return DOUBLE_INVALID_DEVICE;
    }
    (void)snprintf(out, (size_t)size, "double %d", device);
    return DOUBLE_OK;
}

int double_device_pci(char *out, int size, int device)
{
    if (!double_is_device(device)) {
        return DOUBLE_INVALID_DEVICE;
    }
    /* Upper case, as CUDA has it, and no address that a machine gives to a device of its own. */
    (void)snprintf(out, (size_t)size, "FFFF:FF:%02X.0", device);
    return DOUBLE_OK;
}
