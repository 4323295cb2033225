/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the environment says about caches and hubs, read once per snapshot.
 *
 * The variables and their precedence are those of the field (HF_HOME,
 * HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE ...), so that wload looks
 * where every other tool on the machine does.
 */
#ifndef WL_CONFIG_H
#define WL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"

#define WL_CONFIG_ROOTS_MAX       2
#define WL_CONFIG_TOKEN_BYTES_MAX 8000u /* servers take no longer headers */

struct wl_config {
    char *hub_cache;                             /* absolute, links resolved */
    char *local_dir;                             /* the same; NULL: none was asked for */
    char *plain_roots[WL_CONFIG_ROOTS_MAX];      /* directories of <org>/<name>/ */
    const char *root_names[WL_CONFIG_ROOTS_MAX]; /* the variables that named them */
    uint32_t root_count;
    char *endpoint;   /* without a slash at its end */
    char *token;      /* NULL: none; offline none is looked for */
    char *token_note; /* why there is none though it has a file; NULL: it has not, or is there */
    struct wload_error token_error; /* code not 0: the environment's cannot be sent; who asks a hub
                                     * fails with it, who asks none has no use for it */
    char *ca_file;                  /* NULL: the system's */
    char *ca_path;                  /* NULL: the system's */
    char *user_agent;               /* "wload/0.1.0" and what HF_HUB_USER_AGENT_ORIGIN adds */
    bool is_offline;
    bool has_no_links;      /* HF_HUB_DISABLE_SYMLINKS: files instead of links */
    bool allows_http_token; /* WLOAD_ALLOW_HTTP_TOKEN: to http:// beyond loopback, too */
    bool never_flushes;     /* WLOAD_FSYNC=0: after a loss of power files may be ruined */
    int64_t metadata_timeout_ms;
    int64_t download_timeout_ms; /* without a byte */
    int64_t lock_timeout_ms;     /* WLOAD_LOCK_TIMEOUT, in seconds there; -1: wait for ever */
};

/* What the caller says instead of the environment; NULL: the environment. */
struct wl_config_overrides {
    const char *cache_dir;
    const char *local_dir; /* there is no other source of it */
    const char *token;     /* "": none, whatever the environment says */
    bool is_offline;
};

/* Logs as "cache".  Clear with wl_config_clear(). */
int wl_config_read(const struct wl_log *log, const struct wl_config_overrides *overrides,
                   struct wl_config *out, struct wload_error *err);
void wl_config_clear(struct wl_config *config);

#endif /* WL_CONFIG_H */
