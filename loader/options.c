/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/options.h"

#include <string.h>

#include "base/err.h"
#include "cache/transfer.h"

int wl_options_take(void *target, size_t target_bytes, const void *source, struct wload_error *err)
{
    const unsigned char *bytes = source;
    size_t source_bytes;
    size_t known;

    memset(target, 0, target_bytes);
    if (!source) {
        return WLOAD_OK;
    }
    memcpy(&source_bytes, source, sizeof(source_bytes));
    if (source_bytes < sizeof(size_t)) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "struct_size is %zu: set it to sizeof the options", source_bytes);
    }
    known = source_bytes < target_bytes ? source_bytes : target_bytes;
    for (size_t i = known; i < source_bytes; i++) {
        if (bytes[i] != 0) {
            return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "an option is newer than this library");
        }
    }
    memcpy(target, source, known);
    return WLOAD_OK;
}

int wl_fetch_options_take(struct wload_fetch_options *target,
                          const struct wload_fetch_options *source, struct wload_error *err)
{
    int rc = wl_options_take(target, sizeof(*target), source, err);

    if (rc == WLOAD_OK && target->connection_count > WL_TRANSFER_CONNECTIONS_MAX) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "%u connections; at most %u are made",
                          target->connection_count, WL_TRANSFER_CONNECTIONS_MAX);
    }
    if (rc == WLOAD_OK && target->io_policy > WLOAD_IO_BUFFERED) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "io_policy is not one of its enum");
    }
    return rc;
}
