/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for the files of `wload serve` where libmicrohttpd is missing. */
#include "bench/probe.h"
#include "bench/serve.h"
#include "bench/text.h"

int serve_run(const struct serve_settings *settings)
{
    (void)settings;
    return text_fail_plainly("this build cannot serve: it was made without libmicrohttpd");
}

void probe_microhttpd(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "libmicrohttpd", "");

    probe_judge(finding, PROBE_ABSENT, 0, "this build was made without libmicrohttpd");
    probe_remedy(finding, "none needed but for wload serve; else build with WLOAD_SERVE=ON");
}
