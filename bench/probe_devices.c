/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs: absent is not broken. */
#include <stdio.h>
#include <string.h>

#include "bench/probe.h"
#include "bench/text.h"
#include "wload.h"

#define DEVICES_MAX 32u

static void describe(struct probe_findings *findings, const char *name,
                     const struct wload_device_info *info)
{
    char subject[32], memory[TEXT_SIZE_BYTES], left[TEXT_SIZE_BYTES];
    struct probe_finding *finding;

    (void)snprintf(subject, sizeof(subject), "%u", info->index);
    finding = probe_add(findings, name, subject);
    probe_judge(finding, PROBE_OK, 0, "%s, %s (%s free), driver %u, PCI %s, NUMA node %d",
                info->name, text_size(info->memory_bytes, memory),
                text_size(info->memory_free_bytes, left), info->driver_version,
                info->pci_address[0] != '\0' ? info->pci_address : "unknown", info->numa_node);
}

static void probe_kind(struct probe_findings *findings, enum wload_device_kind kind,
                       const char *name, const char *how)
{
    struct wload_error err = {0};
    struct probe_finding *finding;
    int rc = WLOAD_OK;

    for (uint32_t i = 0; i < DEVICES_MAX && rc == WLOAD_OK; i++) {
        struct wload_device_info info = {.struct_size = sizeof(info)};

        rc = wload_device_describe(kind, i, &info, &err);
        if (rc == WLOAD_OK) {
            describe(findings, name, &info);
        } else if (rc == WLOAD_ERR_NOT_FOUND && i > 0) {
            return;
        }
    }
    if (rc == WLOAD_OK) {
        return;
    }
    finding = probe_add(findings, name, "");
    if (rc == WLOAD_ERR_UNSUPPORTED || rc == WLOAD_ERR_NOT_FOUND) {
        probe_judge(finding, PROBE_ABSENT, err.sys_errno, "%s", err.message);
        probe_remedy(finding, "none needed without such a GPU; else %s", how);
    } else {
        probe_judge(finding, PROBE_BROKEN, err.sys_errno, "%s", err.message);
        probe_remedy(finding, "mend the driver's installation; --device host works meanwhile");
    }
}

void probe_devices(struct probe_findings *findings)
{
    probe_kind(findings, WLOAD_DEVICE_CUDA, "cuda", "install NVIDIA's driver; docker: --gpus all");
    probe_kind(findings, WLOAD_DEVICE_HIP, "hip",
               "install ROCm's HIP runtime; docker: --device /dev/kfd --device /dev/dri");
    probe_judge(probe_add(findings, "gpu_kernels", ""), PROBE_ABSENT, 0, "none: copies only");
}
