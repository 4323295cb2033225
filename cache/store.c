/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/store_layout.h"

const char wl_store_tag[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                            "# Downloaded models: they can be downloaded again, and backups may "
                            "leave them out.\n";

/* ---- Life cycle ----------------------------------------------------------------- */

static bool set_paths(struct wl_store *store, const char *root)
{
    store->root = wl_str_new("%s", root);
    if (store->ops == &wl_store_hub) {
        char *folder = wl_hub_folder(store->kind, store->repo);

        store->repo_path = folder ? wl_str_new("%s/%s", root, folder) : NULL;
        store->snapshot_path = store->repo_path
                                   ? wl_str_new("%s/snapshots/%s", store->repo_path, store->commit)
                                   : NULL;
        wl_sys->free(folder);
    } else {
        store->repo_path = wl_str_new("%s", root);
        store->snapshot_path = wl_str_new("%s", root);
    }
    return store->root && store->repo_path && store->snapshot_path;
}

int wl_store_init(struct wl_store *store, const struct wl_store_ops *ops,
                  const struct wl_config *config, const struct wl_log *log, enum wl_hub_kind kind,
                  const char *repo, const char *root, const char *commit, struct wload_error *err)
{
    bool is_hub = ops == &wl_store_hub;

    *store = (struct wl_store){0};
    if (is_hub && !wl_hub_is_repo(repo)) {
        return wl_err_set(err, WLOAD_ERR_SPEC, "'%.200s' cannot be a repository", repo);
    }
    if ((is_hub || commit[0] != '\0') && !wl_hub_is_commit(commit)) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "'%.80s' cannot be a commit", commit);
    }
    *store = (struct wl_store){.ops = ops, .config = config, .log = *log, .kind = kind};
    memcpy(store->commit, commit, strlen(commit) + 1);
    store->repo = wl_str_new("%s", repo);
    if (!store->repo || !set_paths(store, root)) {
        wl_store_clear(store);
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the paths of '%s'", repo);
    }
    return WLOAD_OK;
}

void wl_store_clear(struct wl_store *store)
{
    wl_sys->free(store->repo);
    wl_sys->free(store->root);
    wl_sys->free(store->repo_path);
    wl_sys->free(store->snapshot_path);
    *store = (struct wl_store){0};
}

bool wl_store_keeps_once(const struct wl_store *store)
{
    return store->ops == &wl_store_hub && !store->config->has_no_links;
}

char *wl_store_file_path(const struct wl_store *store, const char *name)
{
    return wl_hub_is_path(name) ? wl_str_new("%s/%s", store->snapshot_path, name) : NULL;
}

void wl_store_place_clear(struct wl_partial_place *place)
{
    wl_sys->free((void *)(uintptr_t)place->folder);
    wl_sys->free((void *)(uintptr_t)place->stem);
    wl_sys->free((void *)(uintptr_t)place->hash);
    *place = (struct wl_partial_place){0};
}

bool wl_store_hash(const struct wl_store *store, const char *name, char hash[WL_HUB_HASH_BYTES])
{
    return store->ops->hash(store, name, hash);
}

int wl_store_quarantine(struct wl_store *store, const struct wl_listing_file *file, char **moved_to,
                        struct wload_error *err)
{
    return store->ops->quarantine(store, file, moved_to, err);
}

/* ---- For the layouts ------------------------------------------------------------ */

int wl_store_no_memory(const struct wl_store *store, struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a path in '%s'", store->root);
}

/* 1: there is a folder, or something else that is no link.  0: there is nothing. */
static int check_folder(const char *path, struct wload_error *err)
{
    struct statx status;

    if (wl_sys->statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status) < 0) {
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : wl_err_sys(err, errno, "cannot examine '%s'", path);
    }
    return S_ISLNK(status.stx_mode)
               ? wl_err_set(err, WLOAD_ERR_IO,
                            "'%s' is a symbolic link, which would take files elsewhere: remove it",
                            path)
               : 1;
}

int wl_store_refuse_links(const struct wl_store *store, const char *path, struct wload_error *err)
{
    size_t own = strlen(store->repo_path);
    char *folder;
    int rc = 1;

    if (!wl_str_starts(path, store->repo_path) ||
        (store->ops == &wl_store_hub && wl_str_starts(path + own, "/blobs/"))) {
        return WLOAD_OK;
    }
    folder = wl_str_new("%s", path);
    if (!folder) {
        return wl_store_no_memory(store, err);
    }
    for (char *at = folder + own; rc > 0 && (at = strchr(at + 1, '/')) != NULL; *at = '/') {
        *at = '\0';
        rc = check_folder(folder, err);
    }
    wl_sys->free(folder);
    return rc < 0 ? rc : WLOAD_OK;
}

/* Bytes of the path up to and with the first part of it that is no folder. */
static int obstacle_bytes(const char *path)
{
    size_t bytes = 0;
    bool is_folder = true;

    while (is_folder && path[bytes]) {
        struct statx status;
        char *part;

        bytes += strspn(path + bytes, "/");
        bytes += strcspn(path + bytes, "/");
        part = wl_str_new("%.*s", (int)bytes, path);
        is_folder = part && wl_sys->statx(AT_FDCWD, part, 0, STATX_TYPE, &status) == 0 &&
                    S_ISDIR(status.stx_mode);
        wl_sys->free(part);
    }
    return (int)bytes;
}

int wl_store_make_folders(const struct wl_store *store, const char *path, struct wload_error *err)
{
    char *inside = wl_str_new("%s/", path);
    int rc = inside ? wl_store_refuse_links(store, inside, err) : wl_store_no_memory(store, err);

    wl_sys->free(inside);
    if (rc < 0) {
        return rc;
    }
    rc = wl_file_make_folders(path);
    return rc < 0 ? wl_err_make(err, -rc, "cannot make the folder '%s', at '%.*s'", path,
                                obstacle_bytes(path), path)
                  : WLOAD_OK;
}

int wl_store_make_room(const struct wl_store *store, const char *path, struct wload_error *err)
{
    int rc = wl_store_refuse_links(store, path, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_file_make_folders_above(path);
    return rc < 0 ? wl_err_make(err, -rc, "cannot make the folder of '%s'", path) : WLOAD_OK;
}

/* 1: in this folder names that differ only in the case of letters are one file.  0: they are two.
 */
static int is_blind_to_case(const char *folder, struct wload_error *err)
{
    char unique[WL_FILE_UNIQUE_BYTES];
    int rc = wl_file_unique(unique);
    struct statx status;
    char *lower, *upper;

    if (rc < 0) {
        return wl_err_sys(err, -rc, "no name for a folder in '%s'", folder);
    }
    lower = wl_str_new("%s/.wload-%s", folder, unique);
    upper = wl_str_new("%s/.WLOAD-%s", folder, unique);
    if (!lower || !upper) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a name in '%s'", folder);
    } else if (wl_sys->mkdirat(AT_FDCWD, lower, 0777) < 0) {
        rc = wl_err_sys(err, errno, "cannot make '%s'", lower);
    } else {
        rc = wl_sys->statx(AT_FDCWD, upper, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status) == 0;
        (void)wl_sys->unlinkat(AT_FDCWD, lower, AT_REMOVEDIR);
    }
    wl_sys->free(upper);
    wl_sys->free(lower);
    return rc;
}

int wl_store_refuse_folds(const struct wl_store *store, const struct wl_listing *listing,
                          struct wload_error *err)
{
    const char *one, *other;
    int rc =
        wl_listing_folds(listing, &one, &other) ? is_blind_to_case(store->snapshot_path, err) : 0;

    return rc > 0 ? wl_err_set(err, WLOAD_ERR_FORMAT,
                               "'%s' has '%.80s' and '%.80s', which are one file in '%s': keep it "
                               "where upper case is not lower case",
                               store->repo, one, other, store->snapshot_path)
                  : rc;
}

int wl_store_examine(const char *path, uint64_t size_bytes, int64_t *modified_ns,
                     struct wload_error *err)
{
    struct statx status;

    if (wl_sys->statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_SIZE | STATX_MTIME, &status) < 0) {
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? 0
                   : wl_err_sys(err, errno, "cannot examine '%s'", path);
    }
    if (modified_ns) {
        *modified_ns = status.stx_mtime.tv_sec * 1000000000 + status.stx_mtime.tv_nsec;
    }
    return S_ISREG(status.stx_mode) && status.stx_size == size_bytes;
}

int wl_store_read(const char *path, uint64_t bytes_max, char **text, size_t *size_bytes,
                  struct wload_error *err)
{
    struct wl_file_identity identity;
    int fd = wl_file_open(path, O_NOFOLLOW, &identity, err);
    char *read = NULL;
    int64_t got;
    int rc;

    if (fd < 0) {
        return fd;
    }
    if (identity.size_bytes > bytes_max) {
        rc = wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' is larger than such a file can be", path);
        goto out_close;
    }
    read = wl_sys_array(identity.size_bytes + 1, 1);
    if (!read) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for '%s'", path);
        goto out_close;
    }
    got = wl_sys_read(fd, read, identity.size_bytes, 0);
    if (got < 0) {
        rc = wl_err_sys(err, (int)-got, "cannot read '%s'", path);
        wl_sys->free(read);
        goto out_close;
    }
    *text = read;
    *size_bytes = (size_t)got;
    rc = WLOAD_OK;

out_close:
    (void)wl_sys->close(fd);
    return rc;
}

int wl_store_write(const struct wl_store *store, const char *folder, const char *stem,
                   const char *path, const char *text, struct wload_error *err)
{
    /* Its name needs a hash, which is nowhere compared with the content. */
    const struct wl_partial_place place = {.folder = folder,
                                           .stem = stem,
                                           .hash = store->commit,
                                           .size_bytes = strlen(text)};
    struct wl_partial partial;
    int rc = wl_store_make_room(store, path, err);

    rc = rc < 0 ? rc : wl_partial_open(&store->log, &place, true, &partial, err);
    if (rc < 0) {
        return rc;
    }
    rc = wl_partial_write(&partial, 0, 0, text, place.size_bytes, err);
    rc = rc < 0 ? rc : wl_partial_publish(&partial, path, wl_store_flushes(store), err);
    wl_partial_discard(&partial);
    return rc;
}

static void log_failure(const struct wl_store *store, const struct wload_error *why)
{
    WL_LOG(&store->log, WLOAD_LOG_WARN, "cache", "going on without a file: %s", why->message);
}

void wl_store_note_absent(const struct wl_store *store, const char *folder, const char *path,
                          const char *text)
{
    struct wload_error why;
    struct statx status;

    if (wl_sys->statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status) < 0 &&
        errno == ENOENT &&
        wl_store_write(store, folder, strrchr(path, '/') + 1, path, text, &why) < 0) {
        log_failure(store, &why);
    }
}

static int read_listing(const char *path, struct wl_listing *out, struct wload_error *err)
{
    char *text;
    size_t size_bytes;
    int rc = wl_store_read(path, WL_LISTING_TEXT_MAX, &text, &size_bytes, err);

    if (rc == WLOAD_OK) {
        rc = wl_listing_parse(text, size_bytes, path, out, err);
        wl_sys->free(text);
    }
    return rc;
}

static char *listing_path(const struct wl_store *store)
{
    return wl_str_new("%s%s/trees/%s.json", store->repo_path,
                      store->ops == &wl_store_hub ? "" : "/" WL_STORE_KEPT, store->commit);
}

void wl_store_note_listing(const struct wl_store *store, const char *folder,
                           const struct wl_listing *listing)
{
    struct wl_listing kept = {0};
    struct wload_error why = {0};
    char *path = NULL;
    char *text = NULL;
    int rc = WLOAD_OK;

    if (!listing->is_complete || store->commit[0] == '\0') {
        return;
    }
    path = listing_path(store);
    if (path && read_listing(path, &kept, NULL) == WLOAD_OK) {
        wl_listing_clear(&kept);
        goto out_free;
    }
    text = wl_listing_print(listing);
    rc = path && text ? wl_store_write(store, folder, "tree", path, text, &why)
                      : wl_store_no_memory(store, &why);
    if (rc < 0) {
        log_failure(store, &why);
    }

out_free:
    wl_sys->free(text);
    wl_sys->free(path);
}

int wl_store_listing(const struct wl_store *store, struct wl_listing *out, struct wload_error *err)
{
    char *path = listing_path(store);
    int rc = path ? read_listing(path, out, err) : wl_store_no_memory(store, err);

    wl_sys->free(path);
    if (rc < 0 && rc != WLOAD_ERR_NOMEM && rc != WLOAD_ERR_NOT_FOUND) {
        struct wload_error why = err ? *err : (struct wload_error){0};

        /* Some tools write it for their own user alone; ask the hub, as if there were none. */
        return wl_err_set(err, WLOAD_ERR_NOT_FOUND, "no usable listing: %s", why.message);
    }
    return rc;
}

bool wl_store_flushes(const struct wl_store *store)
{
    return !store->config->never_flushes;
}

void wl_store_sweep(const struct wl_store *store, const struct wl_listing_file *file)
{
    struct wl_partial_place place;

    if (store->ops->place(store, file, &place, NULL) == WLOAD_OK) {
        wl_partial_sweep(&place);
        wl_store_place_clear(&place);
    }
}

int wl_store_move_aside(const struct wl_store *store, const char *path, const char *folder,
                        const char *stem, char **moved_to, struct wload_error *err)
{
    char unique[WL_FILE_UNIQUE_BYTES];
    int rc = wl_file_unique(unique);
    char *target;

    if (rc < 0) {
        return wl_err_sys(err, -rc, "no name to move '%s' to", path);
    }
    target = wl_str_new("%s/%s.%s.quarantined", folder, stem[0] != '\0' ? stem : "file", unique);
    if (!target) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a name to move '%s' to", path);
    }
    rc = wl_store_refuse_links(store, path, err);
    rc = rc < 0 ? rc : wl_store_make_room(store, target, err);
    if (rc == WLOAD_OK && wl_sys->renameat(AT_FDCWD, path, AT_FDCWD, target) < 0) {
        rc = wl_err_sys(err, errno, "cannot move '%s' aside", path);
    }
    if (rc < 0) {
        wl_sys->free(target);
        return rc;
    }
    *moved_to = target;
    return WLOAD_OK;
}
