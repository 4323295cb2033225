/* SPDX-License-Identifier: Apache-2.0 */
/* What of the program needs libcurl, in a build without: there is none, and it says so. */
#include "base/err.h"
#include "bench/probe.h"
#include "bench/roof.h"

#define WITHOUT "this build was made without libcurl"

int roof_net_open(const struct wload_snapshot *snapshot, const char *token,
                  uint32_t connection_count, struct roof_net **out, struct wload_error *err)
{
    (void)snapshot;
    (void)token;
    (void)connection_count;
    (void)out;
    return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, WITHOUT);
}

void roof_net_close(struct roof_net *net)
{
    (void)net;
}

int roof_net_measure(struct roof_net *net, struct roof_figure *out, struct wload_error *err)
{
    (void)out;
    return roof_net_open(NULL, NULL, 0, &net, err);
}

void probe_libcurl(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "libcurl", "");

    probe_judge(finding, PROBE_ABSENT, 0, WITHOUT);
    probe_remedy(finding, "none needed where all models are local; else build with WLOAD_NET=ON");
}
