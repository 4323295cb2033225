/* SPDX-License-Identifier: Apache-2.0 */
/* The public face of snapshots: options taken, the context's log handed down. */
#include "cache/snapshot.h"

#include "base/err.h"
#include "loader/context.h"
#include "loader/options.h"
#include "loader/spec.h"

static struct wl_snapshot *inner(struct wload_snapshot *snapshot)
{
    return (struct wl_snapshot *)snapshot; /* its first member */
}

int wload_snapshot_open(struct wload_context *context, const char *spec,
                        const struct wload_snapshot_options *options, struct wload_snapshot **out,
                        struct wload_error *err)
{
    const struct wl_log *log = context ? &context->log : &(const struct wl_log){0};
    struct wload_snapshot_options taken;
    struct wl_snapshot *snapshot;
    struct wl_spec parsed;
    int rc;

    if (!spec || !out) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "%s is NULL", spec ? "out" : "spec");
    }
    rc = wl_snapshot_options_take(&taken, options, err);
    if (rc < 0) {
        return rc;
    }
    rc = wl_spec_parse(spec, taken.variant, &parsed, err);
    if (rc < 0) {
        return rc;
    }
    rc = wl_snapshot_open(log, &parsed, &taken, &snapshot, err);
    wl_spec_clear(&parsed);
    if (rc < 0) {
        return rc;
    }
    *out = &snapshot->shown;
    return WLOAD_OK;
}

void wload_snapshot_free(struct wload_snapshot *snapshot)
{
    wl_snapshot_free(inner(snapshot));
}

int wload_snapshot_fetch(struct wload_snapshot *snapshot, const struct wload_fetch_options *options,
                         struct wload_error *err)
{
    struct wload_fetch_options taken;
    int rc;

    if (!snapshot) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "snapshot is NULL");
    }
    rc = wl_fetch_options_take(&taken, options, err);
    return rc < 0 ? rc : wl_snapshot_fetch(inner(snapshot), &taken, WL_FETCH_ALL, err);
}

static int take_verify(struct wload_verify_options *target,
                       const struct wload_verify_options *source, struct wload_error *err)
{
    int rc = wl_options_take(target, sizeof(*target), source, err);
    const struct wl_option reserved = {"reserved", target->reserved, 0};

    return rc < 0 ? rc : wl_options_check(&reserved, 1, err);
}

int wload_snapshot_verify(struct wload_snapshot *snapshot,
                          const struct wload_verify_options *options, struct wload_error *err)
{
    struct wload_verify_options taken;
    int rc;

    if (!snapshot) {
        return wl_err_set(err, WLOAD_ERR_INVALID, "snapshot is NULL");
    }
    rc = take_verify(&taken, options, err);
    return rc < 0 ? rc : wl_snapshot_verify(inner(snapshot), &taken, err);
}
