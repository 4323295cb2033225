/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for the files of `wload serve` where libmicrohttpd is missing. */
#include "bench/serve.h"
#include "bench/text.h"

int serve_run(const struct serve_settings *settings)
{
    (void)settings;
    return text_fail_plainly("this build cannot serve: it was made without libmicrohttpd");
}
