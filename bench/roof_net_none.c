/* SPDX-License-Identifier: Apache-2.0 */
/* The network's roof in a build without libcurl: there is none, and it says so. */
#include "base/err.h"
#include "bench/roof.h"

int roof_net_open(const struct wload_snapshot *snapshot, const char *token,
                  uint32_t connection_count, struct roof_net **out, struct wload_error *err)
{
    (void)snapshot;
    (void)token;
    (void)connection_count;
    (void)out;
    return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "this build was made without libcurl");
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
