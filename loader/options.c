/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/options.h"

#include <string.h>

#include "base/base.h"
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

int wl_options_check(const struct wl_option *options, size_t count, struct wload_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (options[i].value > options[i].max) {
            return wl_err_set(err, WLOAD_ERR_INVALID, "%s is %u, and can be %u at most",
                              options[i].name, options[i].value, options[i].max);
        }
    }
    return WLOAD_OK;
}

int wl_options_check_list(const char *name, const char *const *items, size_t count,
                          struct wload_error *err)
{
    if (!items && count > 0) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "%s is NULL, and %zu are counted", name, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (!items[i]) {
            return wl_err_set(err, WLOAD_ERR_INVALID, "%s[%zu] is NULL", name, i);
        }
    }
    return WLOAD_OK;
}

/* An empty path would be the root of the machine, or whatever directory the process is in. */
static int check_path(const char *name, const char *path, struct wload_error *err)
{
    return path && path[0] == '\0' ? wl_err_set(err, WLOAD_ERR_INVALID, "%s is empty", name)
                                   : WLOAD_OK;
}

int wl_snapshot_options_take(struct wload_snapshot_options *out,
                             const struct wload_snapshot_options *source, struct wload_error *err)
{
    int rc = wl_options_take(out, sizeof(*out), source, err);
    const struct wl_option numbers[] = {
        {"scope", out->scope, WLOAD_SCOPE_WEIGHTS},
        {"network", out->network, WLOAD_NETWORK_FIRST},
    };

    rc = rc < 0 ? rc : wl_options_check(numbers, WL_COUNT_OF(numbers), err);
    rc = rc < 0 ? rc : wl_options_check_list("include", out->include, out->include_count, err);
    rc = rc < 0 ? rc : wl_options_check_list("exclude", out->exclude, out->exclude_count, err);
    rc = rc < 0 ? rc : check_path("cache_dir", out->cache_dir, err);
    rc = rc < 0 ? rc : check_path("local_dir", out->local_dir, err);
    if (rc == WLOAD_OK && out->cache_dir && out->local_dir) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "at most one of cache_dir and local_dir says where files go");
    }
    return rc;
}

int wl_fetch_options_take(struct wload_fetch_options *out, const struct wload_fetch_options *source,
                          struct wload_error *err)
{
    int rc = wl_options_take(out, sizeof(*out), source, err);
    const struct wl_option numbers[] = {
        {"connection_count", out->connection_count, WL_TRANSFER_CONNECTIONS_MAX},
        {"io_policy", out->io_policy, WLOAD_IO_BUFFERED},
    };

    return rc < 0 ? rc : wl_options_check(numbers, WL_COUNT_OF(numbers), err);
}
