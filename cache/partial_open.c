/* SPDX-License-Identifier: Apache-2.0 */
/* How a partial file gets its name, its space and its map, and how others look at that. */
#include "cache/partial.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>

#include "base/base.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/partial_shared.h"
#include "cache/partial_view.h"

#define MAGIC            "wload partial"
#define VERSION          1u
#define HEAD_BYTES       128u
#define HEAD_ALIGN_BYTES (64u << 10) /* no machine has larger pages */
#define TRIES_MAX        16u
#define SALT             "wload-resume"
#define SALT_HEX_DIGITS  8

/* Before the map.  A file that begins its map with anything else is not resumed. */
struct head {
    char magic[16];
    uint32_t version;
    uint32_t block_bytes;
    uint64_t size_bytes;
    char hash[72];
};

_Static_assert(sizeof(struct head) <= HEAD_BYTES && WL_HUB_HASH_BYTES <= 72, "room for the hash");

/* ---- The shape of the file ---------------------------------------------------------- */

static void measure(struct wl_partial *partial, uint64_t size_bytes)
{
    partial->size_bytes = size_bytes;
    partial->block_count =
        size_bytes / WL_PARTIAL_BLOCK_BYTES + (size_bytes % WL_PARTIAL_BLOCK_BYTES != 0);
    partial->map_offset = wl_round_up(size_bytes, HEAD_ALIGN_BYTES) + HEAD_BYTES;
}

static uint64_t map_bytes(const struct wl_partial *partial)
{
    return (partial->block_count + 7) / 8;
}

static uint64_t end_of(const struct wl_partial *partial)
{
    return partial->size_bytes > 0 ? partial->map_offset + map_bytes(partial) : 0;
}

static struct head head_of(const struct wl_partial *partial, const char *hash)
{
    struct head head = {.magic = MAGIC,
                        .version = VERSION,
                        .block_bytes = WL_PARTIAL_BLOCK_BYTES,
                        .size_bytes = partial->size_bytes};

    memcpy(head.hash, hash, strlen(hash));
    return head;
}

/* ---- Names -------------------------------------------------------------------------- */

static int no_memory(const struct wl_partial_place *place, struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a partial file in '%s'", place->folder);
}

static char *path_of(const struct wl_partial_place *place, const char *digits)
{
    return wl_str_new("%s/%s.%.*s.incomplete", place->folder, place->stem, SALT_HEX_DIGITS, digits);
}

/* The name that all processes know. */
static int shared_path(const struct wl_partial_place *place, char **out, struct wload_error *err)
{
    struct wl_digest *digest;
    char hex[WL_DIGEST_HEX_BYTES];
    int rc = wl_digest_new(WL_DIGEST_SHA256, &digest, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_digest_add(digest, SALT, strlen(SALT), err);
    rc = rc < 0 ? rc : wl_digest_add(digest, place->hash, strlen(place->hash), err);
    rc = rc < 0 ? rc : wl_digest_finish(digest, hex, err);
    wl_digest_free(digest);
    if (rc < 0) {
        return rc;
    }
    *out = path_of(place, hex);
    return *out ? WLOAD_OK : no_memory(place, err);
}

static int open_private(struct wl_partial *partial, const struct wl_partial_place *place,
                        struct wload_error *err)
{
    char unique[WL_FILE_UNIQUE_BYTES];
    int fd = -EEXIST;

    for (unsigned tries = 0; tries < TRIES_MAX && fd == -EEXIST; tries++) {
        int rc = wl_file_unique(unique);

        if (rc < 0) {
            return wl_err_sys(err, -rc, "no name for a partial file in '%s'", place->folder);
        }
        wl_sys->free(partial->path);
        partial->path = path_of(place, unique);
        if (!partial->path) {
            return no_memory(place, err);
        }
        fd = wl_partial_open_path(partial->path, O_RDWR | O_CREAT | O_EXCL);
    }
    if (fd < 0) {
        return wl_err_make(err, -fd, "cannot make '%s'", partial->path);
    }
    partial->fd = fd;
    partial->is_private = true;
    return WLOAD_OK;
}

static int open_file(const struct wl_log *log, struct wl_partial *partial,
                     const struct wl_partial_place *place, struct wload_error *err)
{
    int rc = wl_file_make_folders(place->folder);

    if (rc < 0) {
        return wl_err_make(err, -rc, "cannot make '%s'", place->folder);
    }
    if (place->hash[0] != '\0') {
        rc = shared_path(place, &partial->path, err);
        if (rc < 0) {
            return rc;
        }
        partial->fd = wl_partial_open_shared(partial->path);
        if (partial->fd >= 0) {
            return WLOAD_OK;
        }
        WL_LOG(log, WLOAD_LOG_INFO, "cache",
               "'%s' is not to be had: downloading under another name", partial->path);
    }
    return open_private(partial, place, err);
}

/* ---- Opening ------------------------------------------------------------------------ */

/* What an earlier process left. */
enum left {
    LEFT_NOTHING,
    LEFT_PARTS,
    LEFT_WHOLE /* without its map: the process died while it published */
};

static int examine(const struct wl_partial *partial, const char *hash, enum left *out)
{
    struct head expected = head_of(partial, hash);
    struct head head;
    struct stat status;
    int64_t got;

    *out = LEFT_NOTHING;
    if (wl_sys->fstat(partial->fd, &status) < 0) {
        return -errno;
    }
    if (partial->size_bytes > 0 && (uint64_t)status.st_size == partial->size_bytes) {
        *out = LEFT_WHOLE;
    } else if (partial->size_bytes > 0 && (uint64_t)status.st_size == end_of(partial)) {
        got = wl_sys_read(partial->fd, &head, sizeof(head), partial->map_offset - HEAD_BYTES);
        if (got < 0) {
            return (int)got;
        }
        *out = got == sizeof(head) && memcmp(&head, &expected, sizeof(head)) == 0 ? LEFT_PARTS
                                                                                  : LEFT_NOTHING;
    }
    return 0;
}

/* Where no space can be claimed, what is free must do for what is missing. */
static int check_free(const struct wl_partial *partial, uint64_t kept_bytes)
{
    uint64_t missing = end_of(partial) - kept_bytes;
    struct statvfs status;

    return wl_sys->fstatvfs(partial->fd, &status) == 0 &&
                   (uint64_t)status.f_bavail < missing / wl_max(status.f_frsize, 1)
               ? -ENOSPC
               : 0;
}

/* The file gets all of its blocks; beyond `kept_bytes` it reads as zeros. */
static int claim(const struct wl_partial *partial, uint64_t kept_bytes)
{
    int rc;

    if (wl_sys->ftruncate(partial->fd, (off_t)kept_bytes) < 0) {
        return -errno;
    }
    if (partial->size_bytes == 0) {
        return 0;
    }
    do {
        rc = wl_sys->fallocate(partial->fd, 0, 0, (off_t)end_of(partial));
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        return errno == EOPNOTSUPP || errno == ENOSYS ? check_free(partial, kept_bytes) : -errno;
    }
    return 0;
}

/* Before anybody else has the map. */
static void *plain_bits(struct wl_partial_map *map)
{
    return (void *)(uintptr_t)map->bits;
}

/* The map in memory, as the file has it or as `left` says.  0 or a negative errno. */
static int make_map(struct wl_partial *partial, enum left left)
{
    uint64_t bytes = map_bytes(partial);
    struct wl_partial_map *map = wl_sys_array(sizeof(*map) + bytes, 1);
    int64_t got = 0;

    if (!map) {
        return -ENOMEM;
    }
    (void)pthread_mutex_init(&map->changes, NULL);
    if (left == LEFT_WHOLE) {
        memset(plain_bits(map), 0xff, bytes);
    } else if (left == LEFT_PARTS) {
        got = wl_sys_read(partial->fd, plain_bits(map), bytes, partial->map_offset);
    }
    if (got < 0) {
        wl_partial_map_free(map);
        return (int)got;
    }
    partial->map = map;
    return 0;
}

/* The map in the file, and then the head, which says that there is one.  0 or a negative errno. */
static int write_map(const struct wl_partial *partial, const char *hash)
{
    struct head head = head_of(partial, hash);
    int rc = wl_sys_write_at(partial->fd, plain_bits(partial->map), map_bytes(partial),
                             partial->map_offset);

    return rc < 0 ? rc
                  : wl_sys_write_at(partial->fd, &head, sizeof(head),
                                    partial->map_offset - HEAD_BYTES);
}

static int prepare(struct wl_partial *partial, const struct wl_partial_place *place, enum left left,
                   struct wload_error *err)
{
    int rc = left == LEFT_PARTS ? 0 : claim(partial, left == LEFT_WHOLE ? partial->size_bytes : 0);

    if (rc < 0) {
        return wl_err_sys(err, -rc, "no room for the %" PRIu64 " bytes of '%s'",
                          partial->size_bytes, partial->path);
    }
    if (partial->size_bytes == 0) {
        return WLOAD_OK;
    }
    rc = make_map(partial, left);
    if (rc == 0 && left != LEFT_PARTS && !partial->is_private) {
        rc = write_map(partial, place->hash);
    }
    return rc < 0 ? wl_err_sys(err, -rc, "cannot make the map of '%s'", partial->path) : WLOAD_OK;
}

int wl_partial_open(const struct wl_log *log, const struct wl_partial_place *place, bool is_fresh,
                    struct wl_partial *out, struct wload_error *err)
{
    struct wl_partial partial = {.fd = -1};
    enum left left = LEFT_NOTHING;
    int rc;

    if (place->size_bytes > WL_DIMENSION_MAX) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' cannot have %" PRIu64 " bytes", place->stem,
                          place->size_bytes);
    }
    WL_ASSERT(strlen(place->hash) < WL_HUB_HASH_BYTES);
    measure(&partial, place->size_bytes);
    rc = open_file(log, &partial, place, err);
    if (rc < 0) {
        wl_sys->free(partial.path);
        return rc;
    }
    rc = is_fresh ? 0 : examine(&partial, place->hash, &left);
    if (rc < 0) {
        rc = wl_err_sys(err, -rc, "cannot read '%s'", partial.path);
        wl_partial_close(&partial);
        return rc;
    }
    rc = prepare(&partial, place, left, err);
    if (rc < 0) {
        if (left == LEFT_NOTHING) {
            wl_partial_discard(&partial);
        }
        wl_partial_close(&partial);
        return rc;
    }
    *out = partial;
    return WLOAD_OK;
}

/* Whether the content is there already, by the name that it has once it is whole. */
static bool is_there(const struct wl_partial_place *place)
{
    char *path = wl_str_new("%s/%s", place->folder, place->stem);
    struct statx status;
    bool is_whole = path &&
                    wl_sys->statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_SIZE, &status) == 0 &&
                    S_ISREG(status.stx_mode) && status.stx_size == place->size_bytes;

    wl_sys->free(path);
    return is_whole;
}

uint64_t wl_partial_peek(const struct wl_partial_place *place)
{
    struct wl_partial partial = {.fd = -1};
    enum left left;
    uint64_t bytes = 0;

    if (place->hash[0] == '\0' || place->size_bytes > WL_DIMENSION_MAX) {
        return 0;
    }
    if (is_there(place)) {
        return place->size_bytes;
    }
    if (shared_path(place, &partial.path, NULL) < 0) {
        return 0;
    }
    measure(&partial, place->size_bytes);
    partial.fd = wl_partial_open_path(partial.path, O_RDONLY);
    if (partial.fd < 0 || examine(&partial, place->hash, &left) < 0 || left == LEFT_NOTHING) {
        goto out_close;
    }
    bytes = left == LEFT_WHOLE ? partial.size_bytes : 0;
    if (left == LEFT_PARTS && make_map(&partial, left) == 0) {
        bytes = wl_partial_present(&partial);
    }

out_close:
    if (partial.fd >= 0) {
        (void)wl_sys->close(partial.fd);
    }
    wl_partial_map_free(partial.map);
    wl_sys->free(partial.path);
    return bytes;
}

void wl_partial_sweep(const struct wl_partial_place *place)
{
    char *path;
    int fd;

    if (place->hash[0] == '\0' || shared_path(place, &path, NULL) < 0) {
        return;
    }
    fd = wl_partial_open_path(path, O_RDWR);
    if (fd >= 0) {
        if (wl_sys->flock(fd, LOCK_EX | LOCK_NB) == 0 && wl_file_is_at(fd, path)) {
            (void)wl_sys->unlinkat(AT_FDCWD, path, 0);
        }
        (void)wl_sys->close(fd);
    }
    wl_sys->free(path);
}

/* ---- Watching ----------------------------------------------------------------------- */

bool wl_partial_view_open(const struct wl_partial_place *place, struct wl_partial_view *out)
{
    struct wl_partial partial = {.fd = -1};
    enum left left = LEFT_NOTHING;

    if (place->hash[0] == '\0' || place->size_bytes > WL_DIMENSION_MAX ||
        shared_path(place, &partial.path, NULL) < 0) {
        return false;
    }
    measure(&partial, place->size_bytes);
    partial.fd = wl_partial_open_path(partial.path, O_RDONLY);
    wl_sys->free(partial.path);
    if (partial.fd < 0) {
        return false;
    }
    if (examine(&partial, place->hash, &left) < 0 || left == LEFT_NOTHING) {
        (void)wl_sys->close(partial.fd);
        return false;
    }
    /* What is read ahead of what is there would be in the way of those who write past it. */
    (void)wl_sys->fadvise(partial.fd, 0, 0, POSIX_FADV_RANDOM);
    *out = (struct wl_partial_view){.fd = partial.fd, .size_bytes = place->size_bytes};
    return true;
}

/* The bits of the map from the one of `block` on, as many as fit.  Returns how many, 0: none. */
static uint64_t read_bits(const struct wl_partial_view *view, uint64_t block, unsigned char *bits,
                          size_t bits_bytes)
{
    struct wl_partial partial = {.fd = view->fd};
    uint64_t first = block / 8;
    int64_t got;

    measure(&partial, view->size_bytes);
    got = wl_sys_read(view->fd, bits, wl_min(bits_bytes, (partial.block_count + 7) / 8 - first),
                      partial.map_offset + first);
    return got > 0 ? (uint64_t)got * 8 - block % 8 : 0;
}

uint64_t wl_partial_view_ready(const struct wl_partial_view *view, uint64_t offset, uint64_t end)
{
    unsigned char bits[256];
    uint64_t first = offset / WL_PARTIAL_BLOCK_BYTES;
    uint64_t count = read_bits(view, first, bits, sizeof(bits));
    uint64_t block = first;
    struct stat status;

    while (block - first < count && (bits[block / 8 - first / 8] >> (block % 8) & 1) != 0) {
        block++;
    }
    /* Asked for last: what was cut off while we read is whole. */
    if (wl_sys->fstat(view->fd, &status) == 0 && (uint64_t)status.st_size == view->size_bytes) {
        return end;
    }
    return wl_min(end, wl_max(offset, block * WL_PARTIAL_BLOCK_BYTES));
}

uint64_t wl_partial_view_present(const struct wl_partial_view *view)
{
    unsigned char bits[256];
    uint64_t present = 0, block = 0, count;

    while ((count = read_bits(view, block, bits, sizeof(bits))) > 0) {
        for (uint64_t i = 0; i < count / 8; i++) {
            present += (unsigned)__builtin_popcount(bits[i]);
        }
        block += count;
    }
    return present;
}

void wl_partial_view_close(struct wl_partial_view *view)
{
    if (view->fd >= 0) {
        (void)wl_sys->close(view->fd);
    }
    view->fd = -1;
}
