/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP in a build without libcurl: there is none, and it says so. */
#include "base/err.h"
#include "base/sys.h"
#include "cache/http.h"

int wl_http_new(const struct wl_config *config, struct wl_http **out, struct wload_error *err)
{
    (void)config;
    (void)out;
    return wl_err_set(err, WLOAD_ERR_UNSUPPORTED,
                      "this build cannot download: it was made without libcurl");
}

void wl_http_free(struct wl_http *http)
{
    (void)http;
}

int wl_http_perform(struct wl_http *http, const struct wl_http_request *request,
                    struct wl_http_response *response, struct wload_error *err)
{
    (void)request;
    *response = (struct wl_http_response){0};
    return wl_http_new(NULL, &http, err);
}

void wl_http_response_clear(struct wl_http_response *response)
{
    wl_sys->free(response->body);
    *response = (struct wl_http_response){0};
}
