/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of plain directories: the files themselves, and what is known about each. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/store_layout.h"

#define RECORD_BYTES_MAX 4096u
#define SECOND_NS        1000000000
#define SECONDS_MAX      (1ll << 33)
#define READ_BYTES       (1u << 20)
#define SHORT_NAME_BYTES 29 /* SHA-1 in base 64, padded, and a NUL */

/* ---- Names ---------------------------------------------------------------------- */

/* What a directory keeps for itself is out of reach of a repository's names. */
static int check_name(const char *name, struct wload_error *err)
{
    WL_ASSERT(wl_hub_is_path(name));
    return wl_hub_is_private_path(name)
               ? wl_err_set(err, WLOAD_ERR_FORMAT,
                            "'%s' would overwrite what the directory keeps for itself", name)
               : WLOAD_OK;
}

/* Of what is kept about a file; `ending`: "metadata" or "lock". */
static char *kept_path(const struct wl_store *store, const char *name, const char *ending)
{
    return wl_str_new("%s/" WL_STORE_KEPT "/download/%s.%s", store->root, name, ending);
}

static char *record_path(const struct wl_store *store, const char *name)
{
    return kept_path(store, name, "metadata");
}

/* Forty digits of 4 bits as digits of 6, of the alphabet for URLs. */
static void shorten(const char *hex, char out[SHORT_NAME_BYTES])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned held = 0;
    unsigned bits = 0;

    for (; *hex; hex++) {
        held = held << 4 | (unsigned)(*hex <= '9' ? *hex - '0' : *hex - 'a' + 10);
        bits += 4;
        if (bits >= 6) {
            bits -= 6;
            *out++ = digits[held >> bits & 63];
        }
    }
    *out++ = digits[held << (6 - bits) & 63];
    *out++ = '=';
    *out = '\0';
}

/* The name of a partial file begins with that of the record, digested, for long names. */
static int short_name(const char *name, char out[SHORT_NAME_BYTES], struct wload_error *err)
{
    static const char ending[] = ".metadata";
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    char hex[WL_DIGEST_HEX_BYTES];
    struct wl_digest *digest;
    int rc = wl_digest_new(WL_DIGEST_SHA1, &digest, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_digest_add(digest, base, strlen(base), err);
    rc = rc < 0 ? rc : wl_digest_add(digest, ending, sizeof(ending) - 1, err);
    rc = rc < 0 ? rc : wl_digest_finish(digest, hex, err);
    wl_digest_free(digest);
    if (rc == WLOAD_OK) {
        shorten(hex, out);
    }
    return rc;
}

/* The folder in which the record and the partial file of `name` lie. */
static char *kept_folder(const struct wl_store *store, const char *name)
{
    const char *slash = strrchr(name, '/');

    return wl_str_new("%s/" WL_STORE_KEPT "/download%s%.*s", store->root, slash ? "/" : "",
                      slash ? (int)(slash - name) : 0, name);
}

/* ---- Records -------------------------------------------------------------------- */

/* <commit> \n <hash> \n <seconds> \n */
struct record {
    char commit[WL_HUB_COMMIT_BYTES];
    char hash[WL_HUB_HASH_BYTES];
    int64_t time_ns;
};

/* "1700000000.25"; -1 if it is none. */
static int64_t parse_time(const char *text)
{
    char *end;
    long long seconds;
    int64_t part = 0;
    int64_t unit = SECOND_NS;

    if (*text < '0' || *text > '9') {
        return -1;
    }
    seconds = strtoll(text, &end, 10);
    if (seconds >= SECONDS_MAX) {
        return -1;
    }
    if (*end == '.') {
        for (end++; *end >= '0' && *end <= '9'; end++) {
            unit /= 10;
            part += unit * (*end - '0');
        }
    }
    return *end == '\0' ? seconds * SECOND_NS + part : -1;
}

static bool parse_record(char *text, struct record *out)
{
    char *lines[3];

    for (unsigned i = 0; i < WL_COUNT_OF(lines); i++) {
        char *end = strchr(text, '\n');

        if (!end) {
            return false;
        }
        *end = '\0';
        lines[i] = text;
        text = end + 1;
    }
    out->time_ns = parse_time(lines[2]);
    if (*text != '\0' || !wl_hub_is_commit(lines[0]) || !wl_hub_is_hash(lines[1]) ||
        out->time_ns < 0) {
        return false;
    }
    memcpy(out->commit, lines[0], strlen(lines[0]) + 1);
    memcpy(out->hash, lines[1], strlen(lines[1]) + 1);
    return true;
}

/* False: there is none that can be read. */
static bool read_record(const struct wl_store *store, const char *name, struct record *out)
{
    char *path = record_path(store, name);
    char *text;
    size_t size_bytes;
    bool is_read = false;

    if (path && wl_store_read(path, RECORD_BYTES_MAX, &text, &size_bytes, NULL) == WLOAD_OK) {
        is_read = strlen(text) == size_bytes && parse_record(text, out);
        wl_sys->free(text);
    }
    wl_sys->free(path);
    return is_read;
}

/*
 * Its time is the file's own: what is changed later by more than the second that
 * is allowed for coarse clocks is seen to be another content.
 */
static int write_record(const struct wl_store *store, const struct wl_listing_file *file,
                        int64_t modified_ns, struct wload_error *err)
{
    int64_t time_ns = modified_ns > 0 ? modified_ns : 0;
    char *path = record_path(store, file->name);
    char *folder = kept_folder(store, file->name);
    char *text = wl_str_new("%s\n%s\n%" PRId64 ".%06" PRId64 "\n", store->commit, file->hash,
                            time_ns / SECOND_NS, time_ns % SECOND_NS / 1000);
    char stem[SHORT_NAME_BYTES];
    int rc =
        path && folder && text ? short_name(file->name, stem, err) : wl_store_no_memory(store, err);

    rc = rc < 0 ? rc : wl_store_write(store, folder, stem, path, text, err);
    wl_sys->free(text);
    wl_sys->free(folder);
    wl_sys->free(path);
    return rc;
}

/* Whether the record speaks of the file as it is, and of the content wanted. */
static bool is_recorded(const struct record *record, const struct wl_listing_file *file,
                        int64_t modified_ns)
{
    return strcmp(record->hash, file->hash) == 0 && modified_ns - SECOND_NS <= record->time_ns;
}

/* ---- Is it there ---------------------------------------------------------------- */

/* 1: a file of that size is there. */
static int examine(const struct wl_store *store, const struct wl_listing_file *file,
                   int64_t *modified_ns, struct wload_error *err)
{
    int rc = check_name(file->name, err);
    char *path;

    if (rc < 0) {
        return rc;
    }
    path = wl_store_file_path(store, file->name);
    rc = path ? wl_store_examine(path, file->size_bytes, modified_ns, err)
              : wl_store_no_memory(store, err);
    wl_sys->free(path);
    return rc;
}

/* A link into a cache tells as much as a record: contents there are named by their hashes. */
static bool is_linked(const struct wl_store *store, const struct wl_listing_file *file)
{
    char *path = wl_store_file_path(store, file->name);
    char hash[WL_HUB_HASH_BYTES];
    bool is_right = path && wl_store_link_hash(path, hash) && strcmp(hash, file->hash) == 0;

    wl_sys->free(path);
    return is_right;
}

/* Of two commits a file often has the same size: without a hash alone that is enough. */
static int plain_find(const struct wl_store *store, const struct wl_listing_file *file,
                      struct wload_error *err)
{
    struct record record;
    int64_t modified_ns;
    int rc = examine(store, file, &modified_ns, err);

    if (rc <= 0 || file->hash[0] == '\0') {
        return rc;
    }
    return (read_record(store, file->name, &record) && is_recorded(&record, file, modified_ns)) ||
           is_linked(store, file);
}

static int hash_bytes(int fd, const char *path, struct wl_digest *digest, uint64_t size_bytes,
                      const atomic_bool *is_canceled, struct wload_error *err)
{
    void *buffer = wl_sys->alloc(READ_BYTES);
    int rc = buffer ? WLOAD_OK : wl_err_set(err, WLOAD_ERR_NOMEM, "no memory to read '%s'", path);

    for (uint64_t at = 0; at < size_bytes && rc == WLOAD_OK; at += READ_BYTES) {
        size_t size = (size_t)wl_min(size_bytes - at, READ_BYTES);
        int64_t got;

        if (atomic_load(is_canceled)) {
            rc = wl_err_set(err, WLOAD_ERR_CANCELED, "'%s': canceled", path);
            break;
        }
        got = wl_sys_read(fd, buffer, size, at);
        rc = got < 0 ? wl_err_sys(err, (int)-got, "cannot read '%s'", path)
                     : wl_digest_add(digest, buffer, (size_t)got, err);
    }
    wl_sys->free(buffer);
    return rc;
}

/* 1: the content of the file at `path` has the hash. */
static int check_content(const char *path, const struct wl_listing_file *file,
                         const atomic_bool *is_canceled, struct wload_error *err)
{
    char hex[WL_DIGEST_HEX_BYTES];
    struct wl_file_identity identity;
    struct wl_digest *digest;
    int rc = wl_digest_of_file(file->hash, file->size_bytes, &digest, err);
    int fd;

    if (rc < 0) {
        return rc;
    }
    fd = wl_file_open(path, 0, &identity, err);
    rc = fd < 0 ? fd : hash_bytes(fd, path, digest, file->size_bytes, is_canceled, err);
    rc = rc < 0 ? rc : wl_digest_finish(digest, hex, err);
    if (fd >= 0) {
        (void)wl_sys->close(fd);
    }
    wl_digest_free(digest);
    return rc < 0 ? rc : strcmp(hex, file->hash) == 0;
}

/* 1: whatever is known about the file, its content is the one wanted. */
static int has_content(const struct wl_store *store, const struct wl_listing_file *file,
                       const atomic_bool *is_canceled, struct wload_error *err)
{
    char *path = wl_store_file_path(store, file->name);
    int rc = path ? check_content(path, file, is_canceled, err) : wl_store_no_memory(store, err);

    wl_sys->free(path);
    return rc;
}

static int recognize(struct wl_store *store, const struct wl_listing_file *file,
                     const atomic_bool *is_canceled, struct wload_error *err)
{
    struct record record;
    int64_t modified_ns;
    int rc = examine(store, file, &modified_ns, err);

    if (rc <= 0 || file->hash[0] == '\0') {
        return rc;
    }
    if (!read_record(store, file->name, &record) || !is_recorded(&record, file, modified_ns)) {
        rc = is_canceled ? has_content(store, file, is_canceled, err) : WL_STORE_UNKNOWN;
    } else if (strcmp(record.commit, store->commit) == 0) {
        return 1;
    }
    if (rc != 1) {
        return rc;
    }
    rc = write_record(store, file, modified_ns, err);
    return rc < 0 ? rc : 1;
}

static int plain_adopt(struct wl_store *store, const struct wl_listing_file *file,
                       const atomic_bool *is_canceled, struct wload_error *err)
{
    int rc = recognize(store, file, is_canceled, err);

    if (rc == 1) {
        wl_store_sweep(store, file);
    }
    return rc;
}

bool wl_store_is_filled(const char *directory)
{
    char *kept = wl_str_new("%s/" WL_STORE_KEPT, directory);
    struct statx status;
    bool is_filled = kept && wl_sys->statx(AT_FDCWD, kept, 0, STATX_TYPE, &status) == 0;

    wl_sys->free(kept);
    return is_filled;
}

/* ---- Making it so --------------------------------------------------------------- */

static int plain_begin(struct wl_store *store, const struct wl_listing *listing,
                       struct wload_error *err)
{
    char *kept = wl_str_new("%s/" WL_STORE_KEPT, store->root);
    char *ignore = wl_str_new("%s/" WL_STORE_KEPT "/.gitignore", store->root);
    char *tag = wl_str_new("%s/" WL_STORE_KEPT "/CACHEDIR.TAG", store->root);
    int rc;

    if (!kept || !ignore || !tag) {
        rc = wl_store_no_memory(store, err);
        goto out_free;
    }
    rc = wl_store_make_folders(store, kept, err);
    rc = rc < 0 ? rc : wl_store_refuse_folds(store, listing, err);
    if (rc < 0) {
        goto out_free;
    }
    wl_store_note_absent(store, kept, ignore, "*");
    wl_store_note_absent(store, kept, tag, wl_store_tag);
    wl_store_note_listing(store, kept, listing);

out_free:
    wl_sys->free(tag);
    wl_sys->free(ignore);
    wl_sys->free(kept);
    return rc;
}

static int plain_lock(struct wl_store *store, const struct wl_listing_file *file,
                      struct wl_lock *lock, struct wload_error *err)
{
    int rc = check_name(file->name, err);
    char *path;

    if (rc < 0) {
        return rc;
    }
    path = kept_path(store, file->name, "lock");
    rc = path ? wl_store_refuse_links(store, path, err) : wl_store_no_memory(store, err);
    rc = rc < 0 ? rc : wl_lock_try(&store->log, path, lock, err);
    wl_sys->free(path);
    return rc;
}

static int plain_place(const struct wl_store *store, const struct wl_listing_file *file,
                       struct wl_partial_place *out, struct wload_error *err)
{
    struct wl_partial_place place = {.size_bytes = file->size_bytes};
    char stem[SHORT_NAME_BYTES];
    int rc = check_name(file->name, err);

    rc = rc < 0 ? rc : short_name(file->name, stem, err);
    if (rc < 0) {
        return rc;
    }
    place.folder = kept_folder(store, file->name);
    place.stem = wl_str_new("%s%s%s", stem, file->hash[0] != '\0' ? "." : "", file->hash);
    place.hash = wl_str_new("%s", file->hash);
    if (!place.folder || !place.stem || !place.hash) {
        wl_store_place_clear(&place);
        return wl_store_no_memory(store, err);
    }
    *out = place;
    return WLOAD_OK;
}

static int plain_publish(struct wl_store *store, const struct wl_listing_file *file,
                         struct wl_partial *partial, struct wload_error *err)
{
    int64_t modified_ns = 0;
    int rc = check_name(file->name, err);
    char *path;

    if (rc < 0) {
        return rc;
    }
    path = wl_store_file_path(store, file->name);
    rc = path ? wl_store_make_room(store, path, err) : wl_store_no_memory(store, err);
    rc = rc < 0 ? rc : wl_partial_publish(partial, path, wl_store_flushes(store), err);
    rc = rc < 0 ? rc : wl_store_examine(path, file->size_bytes, &modified_ns, err);
    rc = rc < 0 ? rc : write_record(store, file, modified_ns, err);
    wl_sys->free(path);
    if (rc == WLOAD_OK) {
        wl_store_sweep(store, file);
    }
    return rc;
}

/* The directory is what it is, whatever a revision means later: other tools look in caches for
 * revisions, and there is nothing of this in one. */
static int plain_finish(struct wl_store *store, const char *revision, struct wload_error *err)
{
    (void)store;
    (void)revision;
    (void)err;
    return WLOAD_OK;
}

/* ---- Content proven wrong ------------------------------------------------------- */

static bool plain_hash(const struct wl_store *store, const char *name, char hash[WL_HUB_HASH_BYTES])
{
    struct record record;

    if (check_name(name, NULL) < 0 || !read_record(store, name, &record)) {
        return false;
    }
    memcpy(hash, record.hash, sizeof(record.hash));
    return true;
}

static int set_aside(const struct wl_store *store, const struct wl_listing_file *file,
                     char **moved_to, struct wload_error *err)
{
    char *path = wl_store_file_path(store, file->name);
    char *folder = wl_str_new("%s/" WL_STORE_KEPT "/quarantine", store->root);
    char *record = record_path(store, file->name);
    int rc = path && folder && record
                 ? wl_store_move_aside(store, path, folder, file->hash, moved_to, err)
                 : wl_store_no_memory(store, err);

    if (rc == WLOAD_OK) {
        (void)wl_sys->unlinkat(AT_FDCWD, record, 0); /* without the file it says nothing */
    }
    wl_sys->free(record);
    wl_sys->free(folder);
    wl_sys->free(path);
    return rc;
}

static int plain_quarantine(struct wl_store *store, const struct wl_listing_file *file,
                            char **moved_to, struct wload_error *err)
{
    struct wl_listing_file known = *file;
    struct wl_lock lock;
    int rc = plain_lock(store, &known, &lock, err);

    if (rc == WLOAD_OK) {
        (void)plain_hash(store, known.name, known.hash);
        rc = set_aside(store, &known, moved_to, err);
        wl_lock_release(&lock);
    }
    return rc;
}

const struct wl_store_ops wl_store_plain = {
    .name = "plain",
    .begin = plain_begin,
    .find = plain_find,
    .adopt = plain_adopt,
    .lock = plain_lock,
    .place = plain_place,
    .publish = plain_publish,
    .finish = plain_finish,
    .hash = plain_hash,
    .quarantine = plain_quarantine,
};
