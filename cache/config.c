/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/http.h"

#define COMPONENT        "cache"
#define ENDPOINT         "https://huggingface.co"
#define ENDPOINT_STAGING "https://hub-ci.huggingface.co"
#define TIMEOUT_S        10
#define SECONDS_MAX      (7 * 24 * 3600)
#define TOKEN_FILE_MAX   65536u
#define FOR_EVER         (-1)
#define READ_BY_OTHERS   (S_IRGRP | S_IROTH)
#define SPACE            " \t\r\n\v\f"

/* Older names of the cache, of another tool: those who still set one should know. */
static const char *const foreign_caches[] = {"TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE",
                                             "PYTORCH_PRETRAINED_BERT_CACHE"};

static const char *const root_variables[WL_CONFIG_ROOTS_MAX] = {"WLOAD_CACHE", "AIM_CACHE_PATH"};

static const char *const known_hosts[] = {"huggingface.co", "hf.co", "hub-ci.huggingface.co"};

static int no_memory(struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for what the environment says");
}

/* ---- Variables ------------------------------------------------------------------------- */

/* Empty is unset. */
static const char *value_of(const char *name)
{
    const char *value = getenv(name);

    return value && value[0] != '\0' ? value : NULL;
}

static bool is_true(const char *value)
{
    return value && (strcmp(value, "1") == 0 || strcasecmp(value, "on") == 0 ||
                     strcasecmp(value, "yes") == 0 || strcasecmp(value, "true") == 0);
}

static bool is_false(const char *value)
{
    return value && (strcmp(value, "0") == 0 || strcasecmp(value, "off") == 0 ||
                     strcasecmp(value, "no") == 0 || strcasecmp(value, "false") == 0);
}

/* Whole seconds; `missing` if unset or not understood. */
static int64_t seconds_of(const struct wl_log *log, const char *name, int64_t missing)
{
    const char *value = value_of(name);
    char *end = NULL;
    long seconds;

    if (!value) {
        return missing;
    }
    errno = 0;
    seconds = strtol(value, &end, 10);
    if (errno != 0 || end == value || end[strspn(end, SPACE)] != '\0' || seconds < 0 ||
        seconds > SECONDS_MAX) {
        WL_LOG(log, WLOAD_LOG_WARN, COMPONENT, "%s is no number of seconds up to %d: passed over",
               name, SECONDS_MAX);
        return missing;
    }
    return seconds;
}

/* 0 means the default. */
static int64_t timeout_ms_of(const struct wl_log *log, const char *name)
{
    int64_t seconds = seconds_of(log, name, TIMEOUT_S);

    return (seconds > 0 ? seconds : TIMEOUT_S) * 1000;
}

/* ---- Directories -------------------------------------------------------------------------- */

/* The value of a variable that is a path, expanded; NULL in *out: it is unset. */
static int path_of(const struct wl_log *log, const char *name, char **out, struct wload_error *err)
{
    const char *value = value_of(name);

    *out = NULL;
    if (!value) {
        if (getenv(name)) {
            WL_LOG(log, WLOAD_LOG_WARN, COMPONENT, "%s is empty: taken as not set", name);
        }
        return WLOAD_OK;
    }
    *out = wl_path_expand(value);
    return *out ? WLOAD_OK : no_memory(err);
}

/* NULL in *out: nobody knows. */
static int find_home(const struct wl_log *log, char **out, struct wload_error *err)
{
    char *parent = NULL;
    int rc = path_of(log, "HF_HOME", out, err);

    if (rc < 0 || *out) {
        return rc;
    }
    rc = path_of(log, "XDG_CACHE_HOME", &parent, err);
    if (rc < 0) {
        return rc;
    }
    if (parent) {
        *out = wl_str_new("%s/huggingface", parent);
        wl_sys->free(parent);
        return *out ? WLOAD_OK : no_memory(err);
    }
    if (!wl_path_home("", &parent)) {
        return no_memory(err);
    }
    *out = parent ? wl_str_new("%s/.cache/huggingface", parent) : NULL;
    rc = parent && !*out ? no_memory(err) : WLOAD_OK;
    wl_sys->free(parent);
    return rc;
}

static int find_hub_cache(const struct wl_log *log, const char *asked, const char *home,
                          struct wl_config *config, struct wload_error *err)
{
    int rc = WLOAD_OK;

    if (asked) {
        config->hub_cache = wl_path_expand_home(asked);
        rc = config->hub_cache ? WLOAD_OK : no_memory(err);
    } else {
        rc = path_of(log, "HF_HUB_CACHE", &config->hub_cache, err);
    }
    if (rc == WLOAD_OK && !config->hub_cache) {
        rc = path_of(log, "HUGGINGFACE_HUB_CACHE", &config->hub_cache, err);
    }
    if (rc == WLOAD_OK && !config->hub_cache) {
        if (!home) {
            return wl_err_set(err, WLOAD_ERR_NOT_FOUND,
                              "no home directory to keep a cache in: set HF_HOME");
        }
        config->hub_cache = wl_str_new("%s/hub", home);
        rc = config->hub_cache ? WLOAD_OK : no_memory(err);
    }
    return rc < 0 ? rc : wl_path_resolve(&config->hub_cache, err);
}

static int find_local_dir(const char *asked, struct wl_config *config, struct wload_error *err)
{
    if (!asked) {
        return WLOAD_OK;
    }
    config->local_dir = wl_path_expand_home(asked);
    return config->local_dir ? wl_path_resolve(&config->local_dir, err) : no_memory(err);
}

static int find_roots(const struct wl_log *log, struct wl_config *config, struct wload_error *err)
{
    for (size_t i = 0; i < WL_COUNT_OF(root_variables); i++) {
        char **root = &config->plain_roots[config->root_count];
        int rc = path_of(log, root_variables[i], root, err);

        if (rc == WLOAD_OK && *root) {
            config->root_names[config->root_count++] = root_variables[i];
            rc = wl_path_resolve(root, err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return WLOAD_OK;
}

static int hint_at_foreign_caches(const struct wl_log *log, const struct wl_config *config,
                                  struct wload_error *err)
{
    for (size_t i = 0; i < WL_COUNT_OF(foreign_caches); i++) {
        const char *value = value_of(foreign_caches[i]);
        char *path = value ? wl_path_expand(value) : NULL;
        int rc = value && !path ? no_memory(err) : WLOAD_OK;

        if (path) {
            rc = wl_path_resolve(&path, err);
        }
        if (path && rc == WLOAD_OK && strcmp(path, config->hub_cache) != 0) {
            WL_LOG(log, WLOAD_LOG_WARN, COMPONENT,
                   "%s is not looked at; the cache is '%s': HF_HUB_CACHE would move it",
                   foreign_caches[i], config->hub_cache);
        }
        wl_sys->free(path);
        if (rc < 0) {
            return rc;
        }
    }
    return WLOAD_OK;
}

/* ---- The endpoint --------------------------------------------------------------------------- */

/* Never shows what is wrong: there may be a password in it. */
static int find_endpoint(struct wl_config *config, struct wload_error *err)
{
    const char *value = value_of("HF_ENDPOINT");
    size_t bytes;

    if (is_true(getenv("HUGGINGFACE_CO_STAGING"))) {
        value = ENDPOINT_STAGING;
    }
    value = value ? value : ENDPOINT;
    bytes = strlen(value);
    while (bytes > 0 && value[bytes - 1] == '/') {
        bytes--;
    }
    config->endpoint = wl_str_new("%.*s", (int)bytes, value);
    if (!config->endpoint) {
        return no_memory(err);
    }
    bytes = wl_str_starts(config->endpoint, "https://")  ? strlen("https://")
            : wl_str_starts(config->endpoint, "http://") ? strlen("http://")
                                                         : 0;
    if (bytes == 0 || strchr("/", config->endpoint[bytes]) ||
        strpbrk(config->endpoint, "@?#\\\"<>")) {
        return wl_err_set(err, WLOAD_ERR_INVALID,
                          "HF_ENDPOINT is no http:// or https:// address of a host, without user, "
                          "query and fragment");
    }
    for (const char *at = config->endpoint; *at; at++) {
        if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f) {
            return wl_err_set(err, WLOAD_ERR_INVALID,
                              "HF_ENDPOINT has a character that no address has");
        }
    }
    return WLOAD_OK;
}

static bool is_known(const char *host, size_t bytes)
{
    for (size_t i = 0; i < WL_COUNT_OF(known_hosts); i++) {
        if (strlen(known_hosts[i]) == bytes && strncasecmp(known_hosts[i], host, bytes) == 0) {
            return true;
        }
    }
    return false;
}

/* Somebody else may have set the endpoint: say once where the token goes. */
static void warn_of_endpoint(const struct wl_log *log, const struct wl_config *config)
{
    bool is_plain = wl_str_starts(config->endpoint, "http://");
    const char *host = strstr(config->endpoint, "://") + 3;
    size_t bytes = host[0] == '[' ? strcspn(host, "]/") + 1 : strcspn(host, ":/");

    if (!config->token || wl_http_is_loopback(config->endpoint)) {
        return;
    }
    if (is_plain) {
        WL_LOG(log, WLOAD_LOG_WARN, COMPONENT, "the endpoint '%s' is plain http: the token %s",
               config->endpoint,
               config->allows_http_token ? "can be read on its way there"
                                         : "is not sent there without WLOAD_ALLOW_HTTP_TOKEN=1");
    } else if (!is_known(host, bytes)) {
        WL_LOG(log, WLOAD_LOG_WARN, COMPONENT, "the token is sent to the endpoint '%s'",
               config->endpoint);
    }
}

/* ---- The token --------------------------------------------------------------------------------
 */

/* What is left of [text, text + bytes) between white space becomes the token; nothing left is
 * none.  The text appears in no message. */
static int take_token(const char *text, size_t bytes, const char *from, char **out,
                      struct wload_error *err)
{
    while (bytes > 0 && strchr(SPACE, text[0]) && text[0] != '\0') {
        text++;
        bytes--;
    }
    while (bytes > 0 && strchr(SPACE, text[bytes - 1]) && text[bytes - 1] != '\0') {
        bytes--;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < 0x21 || text[i] > 0x7e) {
            return wl_err_set(err, WLOAD_ERR_AUTH,
                              "the token in %s has a character that no token has", from);
        }
    }
    if (bytes > WL_CONFIG_TOKEN_BYTES_MAX) {
        return wl_err_set(err, WLOAD_ERR_AUTH,
                          "the token in %s has %zu bytes; at most %u can be sent", from, bytes,
                          WL_CONFIG_TOKEN_BYTES_MAX);
    }
    if (bytes == 0) {
        return WLOAD_OK;
    }
    *out = wl_str_new("%.*s", (int)bytes, text);
    return *out ? WLOAD_OK : no_memory(err);
}

static void warn_of_mode(const struct wl_log *log, const char *path)
{
    struct statx status;

    if (wl_sys->statx(AT_FDCWD, path, 0, STATX_MODE, &status) == 0 &&
        (status.stx_mode & READ_BY_OTHERS) != 0) {
        WL_LOG(log, WLOAD_LOG_WARN, COMPONENT,
               "'%s' can be read by others: chmod 600 keeps the token private", path);
    }
}

static int read_token_file(const struct wl_log *log, const char *path, struct wl_config *config,
                           struct wload_error *err)
{
    struct wload_error finding = {0};
    char *text;
    size_t bytes;
    int rc = wl_file_read(path, TOKEN_FILE_MAX, &text, &bytes, &finding);

    if (rc == WLOAD_ERR_NOMEM) {
        return no_memory(err);
    }
    if (rc < 0) {
        if (finding.sys_errno != ENOENT && finding.sys_errno != ENOTDIR) {
            WL_LOG(log, WLOAD_LOG_WARN, COMPONENT, "no token: %s", finding.message);
            config->token_note = wl_str_new("%s", finding.message);
            return config->token_note ? WLOAD_OK : no_memory(err);
        }
        return WLOAD_OK;
    }
    rc = take_token(text, bytes, path, &config->token, err);
    explicit_bzero(text, bytes);
    wl_sys->free(text);
    if (config->token) {
        warn_of_mode(log, path);
    }
    return rc;
}

static int find_token_file(const struct wl_log *log, const char *home, struct wl_config *config,
                           struct wload_error *err)
{
    char *path;
    int rc = path_of(log, "HF_TOKEN_PATH", &path, err);

    if (rc < 0) {
        return rc;
    }
    if (!path && home) {
        path = wl_str_new("%s/token", home);
        if (!path) {
            return no_memory(err);
        }
    }
    rc = path ? read_token_file(log, path, config, err) : WLOAD_OK;
    wl_sys->free(path);
    return rc;
}

static int find_token(const struct wl_log *log, const char *asked, const char *home,
                      struct wl_config *config, struct wload_error *err)
{
    static const char *const variables[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    char **out = &config->token;
    int rc = WLOAD_OK;

    if (asked) {
        return take_token(asked, strlen(asked), "the options", out, err);
    }
    if (is_true(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
        return WLOAD_OK;
    }
    if (value_of("HF_OIDC_RESOURCE")) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED,
                          "HF_OIDC_RESOURCE is set, and this library exchanges no tokens: unset it "
                          "or give a token");
    }
    for (size_t i = 0; i < WL_COUNT_OF(variables) && rc == WLOAD_OK && !*out; i++) {
        const char *value = value_of(variables[i]);

        rc = value ? take_token(value, strlen(value), variables[i], out, err) : WLOAD_OK;
    }
    return rc == WLOAD_OK && !*out ? find_token_file(log, home, config, err) : rc;
}

/* What the environment says is no failure before it would be sent; what the caller says is. */
static int read_token(const struct wl_log *log, const char *asked, const char *home,
                      struct wl_config *config, struct wload_error *err)
{
    struct wload_error why = {0};
    int rc = find_token(log, asked, home, config, &why);

    if (rc < 0 && rc != WLOAD_ERR_NOMEM && !asked) {
        config->token_error = why;
        return WLOAD_OK;
    }
    if (rc < 0 && err) {
        *err = why;
    }
    return rc;
}

/* ---- The rest ------------------------------------------------------------------- */

static int find_certificates(const struct wl_log *log, struct wl_config *config,
                             struct wload_error *err)
{
    const char *file = value_of("SSL_CERT_FILE");
    const char *path = file ? NULL : value_of("SSL_CERT_DIR");

    config->ca_file = file ? wl_str_new("%s", file) : NULL;
    config->ca_path = path ? wl_str_new("%s", path) : NULL;
    if ((file && !config->ca_file) || (path && !config->ca_path)) {
        return no_memory(err);
    }
    if (file || path) {
        WL_LOG(log, WLOAD_LOG_DEBUG, COMPONENT, "certificates are those of '%s'",
               file ? file : path);
    }
    return WLOAD_OK;
}

static int make_user_agent(const struct wl_log *log, struct wl_config *config,
                           struct wload_error *err)
{
    const char *origin = value_of("HF_HUB_USER_AGENT_ORIGIN");

    for (const char *at = origin; at && *at; at++) {
        if (*at < 0x20 || *at > 0x7e) {
            WL_LOG(log, WLOAD_LOG_WARN, COMPONENT,
                   "HF_HUB_USER_AGENT_ORIGIN is no plain text: passed over");
            origin = NULL;
            break;
        }
    }
    config->user_agent =
        wl_str_new("wload/%d.%d.%d%s%s", WLOAD_VERSION_MAJOR, WLOAD_VERSION_MINOR,
                   WLOAD_VERSION_PATCH, origin ? "; origin/" : "", origin ? origin : "");
    return config->user_agent ? WLOAD_OK : no_memory(err);
}

static void read_switches(const struct wl_log *log, const struct wl_config_overrides *overrides,
                          struct wl_config *config)
{
    const char *offline = value_of("HF_HUB_OFFLINE"); /* the first that is not empty decides */
    int64_t lock_s = seconds_of(log, "WLOAD_LOCK_TIMEOUT", FOR_EVER);

    offline = offline ? offline : value_of("TRANSFORMERS_OFFLINE");
    config->is_offline = overrides->is_offline || is_true(offline);
    config->has_no_links = is_true(getenv("HF_HUB_DISABLE_SYMLINKS"));
    config->allows_http_token = is_true(getenv("WLOAD_ALLOW_HTTP_TOKEN"));
    config->never_flushes = is_false(getenv("WLOAD_FSYNC"));
    config->metadata_timeout_ms = timeout_ms_of(log, "HF_HUB_ETAG_TIMEOUT");
    config->download_timeout_ms = timeout_ms_of(log, "HF_HUB_DOWNLOAD_TIMEOUT");
    config->lock_timeout_ms = lock_s < 0 ? FOR_EVER : lock_s * 1000;
}

int wl_config_read(const struct wl_log *log, const struct wl_config_overrides *overrides,
                   struct wl_config *out, struct wload_error *err)
{
    struct wl_config config = {0};
    char *home = NULL;
    int rc;

    read_switches(log, overrides, &config);
    rc = find_home(log, &home, err);
    if (rc == WLOAD_OK) {
        rc = find_hub_cache(log, overrides->cache_dir, home, &config, err);
    }
    if (rc == WLOAD_OK) {
        rc = find_local_dir(overrides->local_dir, &config, err);
    }
    if (rc == WLOAD_OK) {
        rc = find_roots(log, &config, err);
    }
    if (rc == WLOAD_OK) {
        rc = hint_at_foreign_caches(log, &config, err);
    }
    if (rc == WLOAD_OK) {
        rc = find_endpoint(&config, err);
    }
    if (rc == WLOAD_OK && !config.is_offline) {
        rc = read_token(log, overrides->token, home, &config, err);
    }
    if (rc == WLOAD_OK) {
        rc = find_certificates(log, &config, err);
    }
    if (rc == WLOAD_OK) {
        rc = make_user_agent(log, &config, err);
    }
    wl_sys->free(home);
    if (rc < 0) {
        wl_config_clear(&config);
        return rc;
    }
    warn_of_endpoint(log, &config);
    *out = config;
    return WLOAD_OK;
}

void wl_config_clear(struct wl_config *config)
{
    for (uint32_t i = 0; i < WL_CONFIG_ROOTS_MAX; i++) {
        wl_sys->free(config->plain_roots[i]);
    }
    if (config->token) {
        explicit_bzero(config->token, strlen(config->token));
    }
    wl_sys->free(config->token);
    wl_sys->free(config->token_note);
    wl_sys->free(config->hub_cache);
    wl_sys->free(config->local_dir);
    wl_sys->free(config->endpoint);
    wl_sys->free(config->ca_file);
    wl_sys->free(config->ca_path);
    wl_sys->free(config->user_agent);
    *config = (struct wl_config){0};
}
