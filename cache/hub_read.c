/* SPDX-License-Identifier: Apache-2.0 */
/* Small files of a repository, from the hub into memory. */
#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/sys.h"
#include "cache/hub_api.h"

struct text {
    char *bytes;
    uint64_t size_bytes;
};

static int take_text(void *user, uint64_t offset, const void *data, size_t size_bytes)
{
    struct text *text = user;

    WL_ASSERT(offset <= text->size_bytes && size_bytes <= text->size_bytes - offset);
    memcpy(text->bytes + offset, data, size_bytes);
    return 0;
}

static int check_text(const struct wl_remote *remote, const struct text *text,
                      struct wload_error *err)
{
    char hex[WL_DIGEST_HEX_BYTES];
    struct wl_digest *digest;
    int rc = wl_digest_of_file(remote->hash, remote->size_bytes, &digest, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_digest_add(digest, text->bytes, text->size_bytes, err);
    rc = rc < 0 ? rc : wl_digest_finish(digest, hex, err);
    wl_digest_free(digest);
    if (rc == WLOAD_OK && strcmp(hex, remote->hash) != 0) {
        return wl_err_set(err, WLOAD_ERR_CHECKSUM, "'%s' has hash %s and should have %s",
                          remote->url, hex, remote->hash);
    }
    return rc;
}

int wl_hub_read(struct wl_transfer *transfer, struct wl_http *http, const struct wl_hub_repo *repo,
                const char *commit, const struct wl_listing_file *file, char **text,
                struct wload_error *err)
{
    char *url = wl_hub_file_url(transfer->config, repo, commit, file->name);
    struct wl_remote remote = {.url = url,
                               .name = file->name,
                               .size_bytes = file->size_bytes,
                               .hash = file->hash};
    struct text taken = {.size_bytes = file->size_bytes};
    int rc = WLOAD_OK;

    if (file->size_bytes > WL_INDEX_BYTES_MAX) {
        wl_sys->free(url);
        return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' of '%s' has %" PRIu64 " bytes", file->name,
                          repo->name, file->size_bytes);
    }
    taken.bytes = wl_sys_array(file->size_bytes + 1, 1);
    if (!url || !taken.bytes) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for '%s'", file->name);
    }
    if (rc == WLOAD_OK && file->size_bytes > 0) {
        rc = wl_transfer_range(transfer, http, &remote, 0, remote.size_bytes, take_text, &taken,
                               err);
    }
    rc = rc < 0 ? rc : check_text(&remote, &taken, err);
    wl_remote_clear(&remote);
    wl_sys->free(url);
    if (rc < 0) {
        wl_sys->free(taken.bytes);
        return rc;
    }
    *text = taken.bytes;
    return WLOAD_OK;
}
