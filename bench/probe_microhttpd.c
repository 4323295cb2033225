/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/microhttpd.h"
#include "bench/probe.h"

void probe_microhttpd(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "libmicrohttpd", "");
    struct wload_error err;

    if (microhttpd_load(&err) < 0) {
        probe_judge_library(finding, &microhttpd_library, &err, "but for wload serve");
    } else {
        probe_judge(finding, PROBE_OK, 0, "version %s", microhttpd->get_version());
    }
}
