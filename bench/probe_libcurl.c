/* SPDX-License-Identifier: Apache-2.0 */
#include "base/libcurl.h"
#include "bench/probe.h"

void probe_libcurl(struct probe_findings *findings)
{
    struct probe_finding *finding = probe_add(findings, "libcurl", "");
    const curl_version_info_data *version;
    struct wload_error err;

    if (wl_libcurl_load(&err) < 0) {
        probe_judge_library(finding, &wl_libcurl_library, &err, "where all models are local");
        return;
    }
    version = wl_libcurl->version_info(CURLVERSION_NOW);
    if (version->ssl_version) {
        probe_judge(finding, PROBE_OK, 0, "version %s with %s", version->version,
                    version->ssl_version);
    } else {
        probe_judge(finding, PROBE_DEGRADED, 0, "version %s, without TLS", version->version);
        probe_remedy(finding, "install one that has TLS, or set HF_ENDPOINT to an http: address");
    }
}
