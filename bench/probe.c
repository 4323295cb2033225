/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/probe.h"

#include <stdarg.h>
#include <stdio.h>

struct probe_finding *probe_add(struct probe_findings *findings, const char *name,
                                const char *subject)
{
    struct probe_finding *finding;

    if (findings->count < PROBE_FINDINGS_MAX) {
        findings->count++;
    }
    finding = &findings->items[findings->count - 1];
    *finding = (struct probe_finding){.name = name};
    (void)snprintf(finding->subject, sizeof(finding->subject), "%s", subject);
    return finding;
}

void probe_judge(struct probe_finding *finding, enum probe_verdict verdict, int sys_errno,
                 const char *fmt, ...)
{
    va_list ap;

    finding->verdict = verdict;
    finding->sys_errno = sys_errno;
    va_start(ap, fmt);
    (void)vsnprintf(finding->text, sizeof(finding->text), fmt, ap);
    va_end(ap);
}

void probe_remedy(struct probe_finding *finding, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(finding->remedy, sizeof(finding->remedy), fmt, ap);
    va_end(ap);
}

void probe_judge_library(struct probe_finding *finding, const struct wl_library *library,
                         const struct wload_error *why, const char *need)
{
    if (wl_library_is_absent(library)) {
        probe_judge(finding, PROBE_ABSENT, 0, "%s", why->message);
        probe_remedy(finding, "none needed %s; else install it", need);
    } else {
        probe_judge(finding, PROBE_DEGRADED, 0, "%s", why->message);
        probe_remedy(finding, "none needed %s; else mend its installation or renew it", need);
    }
}
