/* SPDX-License-Identifier: Apache-2.0 */
/* A keep at work: files with partial files, a small ring, threads that fill it, a disk. */
#ifndef KEEP_RIG_H
#define KEEP_RIG_H

#include <dirent.h>
#include <errno.h>
#include <pthread.h>

#include "base/base.h"
#include "base/digest.h"
#include "base/sys.h"
#include "loader/keep.h"
#include "tree.h"

#define FILES       4u
#define FILE_BYTES  (3u << 20)
#define SLOTS       5u
#define SLOT_BYTES  (2u << 20)
#define FEEDERS     3u
#define BLOCK_BYTES WL_PARTIAL_BLOCK_BYTES

/* ---- A ring and its files ------------------------------------------------------------- */

struct kept {
    uint8_t data[FILE_BYTES];
    char hash[WL_DIGEST_HEX_BYTES];
    char name[16];
    char path[TREE_PATH_BYTES];
    struct wl_partial partial;
    uint64_t size_bytes;
    uint64_t begun_bytes;
    uint32_t published;
    uint32_t discarded;
    bool is_kept; /* from the start */
};

enum flight_state {
    FREE,
    BEGUN,
    FILLING,
    FILLED,
    SETTLED
};

struct flight {
    enum flight_state state;
    uint32_t file;
    uint64_t offset;
    uint32_t size_bytes;
    uint32_t releases;
};

struct rig {
    struct wl_keep *keep;
    struct wl_keep_file given[FILES];
    uint32_t slot_bytes;
    uint64_t seed;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct flight flights[SLOTS];
    uint32_t flight_count; /* all that there were */
    uint32_t release_count;
    bool is_ending;
    pthread_t feeders[FEEDERS];
};

static struct kept files[FILES];
static _Alignas(4096) uint8_t ring[SLOTS][SLOT_BYTES];
static atomic_uint warnings;
static char warning[1024];

static uint32_t roll(uint64_t *state, uint32_t sides)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32) % sides;
}

static void count_line(void *user, enum wload_log_level level, const char *component,
                       const char *line)
{
    (void)user;
    if (level == WLOAD_LOG_WARN) {
        CHECK_STR(component, "cache");
        atomic_fetch_add(&warnings, 1);
        (void)snprintf(warning, sizeof(warning), "%s", line);
    }
}

static const struct wl_log counting = {.line = count_line, .level = WLOAD_LOG_DEBUG};

static void on_release(void *user, uint32_t slot)
{
    struct rig *rig = user;
    struct flight *flight = &rig->flights[slot];

    (void)pthread_mutex_lock(&rig->mutex);
    CHECK(flight->state == SETTLED);
    rig->release_count++;
    if (++flight->releases == 2) {
        memset(ring[slot], 0xee, rig->slot_bytes);
        flight->state = FREE;
    }
    (void)pthread_cond_broadcast(&rig->changed);
    (void)pthread_mutex_unlock(&rig->mutex);
}

static int on_publish(void *user, struct wload_error *err)
{
    struct kept *file = user;
    int rc = wl_partial_publish(&file->partial, file->path, false, err);

    file->published += rc == WLOAD_OK;
    return rc;
}

static void on_discard(void *user)
{
    struct kept *file = user;

    file->discarded++;
    wl_partial_discard(&file->partial);
}

static void make_file(struct kept *file, uint32_t number, uint64_t size_bytes, uint64_t *state)
{
    struct wl_digest *digest;
    struct wload_error err;

    (void)snprintf(file->name, sizeof(file->name), "blob-%u", number);
    (void)snprintf(file->path, sizeof(file->path), "%s", tree_path(file->name));
    (void)unlink(file->path);
    for (uint64_t i = 0; i < size_bytes; i++) {
        file->data[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + number * 31 + 1);
    }
    CHECK_OK(wl_digest_of_file(roll(state, 2) ? "" : "0123456789012345678901234567890123456789",
                               size_bytes, &digest, &err),
             &err);
    CHECK_OK(wl_digest_add(digest, file->data, size_bytes, &err), &err);
    CHECK_OK(wl_digest_finish(digest, file->hash, &err), &err);
    wl_digest_free(digest);
    file->partial = (struct wl_partial){.fd = -1};
    file->size_bytes = size_bytes;
    file->begun_bytes = file->published = file->discarded = 0;
    file->is_kept = false;
}

static int open_partial(struct kept *file, struct wload_error *err)
{
    struct wl_partial_place place = {.folder = sample_dir(),
                                     .stem = file->name,
                                     .hash = file->hash,
                                     .size_bytes = file->size_bytes};

    return wl_partial_open(&counting, &place, false, &file->partial, err);
}

/* As another process might have left it: with some blocks. */
static uint64_t write_some(struct kept *file, uint64_t *state)
{
    struct wload_error err;

    for (uint64_t at = 0; at < file->size_bytes; at += BLOCK_BYTES) {
        if (roll(state, 3) == 0) {
            CHECK_OK(wl_partial_write(&file->partial, at, at, file->data + at,
                                      wl_min(BLOCK_BYTES, file->size_bytes - at), &err),
                     &err);
        }
    }
    return wl_partial_present(&file->partial);
}

static struct wl_keep_file given_of(struct kept *file, bool is_kept)
{
    file->is_kept = is_kept;
    return (struct wl_keep_file){
        .name = file->name,
        .hash = file->hash,
        .tensor = "layer.weight",
        .size_bytes = file->size_bytes,
        .publish = on_publish,
        .discard = on_discard,
        .user = file,
    };
}

/* ---- Filling it ------------------------------------------------------------------------- */

static void fill(struct rig *rig, uint32_t slot, uint64_t *state)
{
    const struct flight *flight = &rig->flights[slot];
    const uint8_t *source = files[flight->file].data + flight->offset;
    uint32_t step_max = 1 + roll(state, flight->size_bytes);

    for (uint32_t at = 0; at < flight->size_bytes;) {
        uint32_t step = (uint32_t)wl_min(1 + roll(state, step_max), flight->size_bytes - at);

        memcpy(ring[slot] + at, source + at, step);
        at += step;
        wl_keep_arrived(rig->keep, slot, at);
    }
}

static uint32_t find_flight(const struct rig *rig, enum flight_state flight_state, uint32_t first)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (rig->flights[(first + i) % SLOTS].state == flight_state) {
            return (first + i) % SLOTS;
        }
    }
    return SLOTS;
}

static void *feed(void *argument)
{
    struct rig *rig = argument;
    uint64_t state;

    (void)pthread_mutex_lock(&rig->mutex);
    state = rig->seed += 0x9e3779b97f4a7c15u;
    while (!rig->is_ending) {
        uint32_t slot = find_flight(rig, BEGUN, roll(&state, SLOTS));

        if (slot == SLOTS) {
            (void)pthread_cond_wait(&rig->changed, &rig->mutex);
            continue;
        }
        rig->flights[slot].state = FILLING;
        (void)pthread_mutex_unlock(&rig->mutex);
        fill(rig, slot, &state);
        (void)pthread_mutex_lock(&rig->mutex);
        rig->flights[slot].state = FILLED;
        (void)pthread_cond_broadcast(&rig->changed);
    }
    (void)pthread_mutex_unlock(&rig->mutex);
    return NULL;
}

static int open_keep(struct rig *rig, struct wl_trace *trace, struct wload_error *err)
{
    struct wl_keep_request request = {
        .files = rig->given,
        .file_count = FILES,
        .slot_count = SLOTS,
        .release = on_release,
        .user = rig,
        .log = &counting,
        .trace = trace,
    };
    int rc;

    (void)pthread_mutex_init(&rig->mutex, NULL);
    (void)pthread_cond_init(&rig->changed, NULL);
    atomic_store(&warnings, 0);
    rc = wl_keep_open(&request, &rig->keep, err);
    for (uint32_t i = 0; i < FILES && rc == WLOAD_OK; i++) {
        if (files[i].is_kept && rig->given[i].size_bytes > 0) {
            wl_keep_attach(rig->keep, i, &files[i].partial);
        }
    }
    return rc;
}

static void close_keep(struct rig *rig)
{
    wl_keep_close(rig->keep);
    (void)pthread_cond_destroy(&rig->changed);
    (void)pthread_mutex_destroy(&rig->mutex);
}

/* The job's part, of one slot. */
static void begin(struct rig *rig, uint32_t slot, uint32_t number)
{
    struct kept *file = &files[number];
    uint64_t offset = file->begun_bytes;
    uint32_t size_bytes = (uint32_t)wl_min(rig->slot_bytes, file->size_bytes - offset);

    file->begun_bytes += size_bytes;
    rig->flight_count++;
    wl_keep_begin(rig->keep, slot, number, offset, ring[slot], size_bytes);
    (void)pthread_mutex_lock(&rig->mutex);
    rig->flights[slot] =
        (struct flight){.state = BEGUN, .file = number, .offset = offset, .size_bytes = size_bytes};
    (void)pthread_cond_broadcast(&rig->changed);
    (void)pthread_mutex_unlock(&rig->mutex);
}

static void settle(struct rig *rig, uint32_t slot)
{
    (void)pthread_mutex_lock(&rig->mutex);
    CHECK(rig->flights[slot].state == FILLED);
    rig->flights[slot].state = SETTLED;
    (void)pthread_mutex_unlock(&rig->mutex);
    wl_keep_settle(rig->keep, slot);
}

/* Settle or begin something, or wait.  False: nothing is left to do. */
static bool turn(struct rig *rig, uint64_t *state)
{
    uint32_t filled, empty, number = roll(state, FILES);

    for (uint32_t i = 0; i < FILES && files[number].begun_bytes == files[number].size_bytes; i++) {
        number = (number + 1) % FILES;
    }
    (void)pthread_mutex_lock(&rig->mutex);
    filled = find_flight(rig, FILLED, roll(state, SLOTS));
    empty = files[number].begun_bytes < files[number].size_bytes
                ? find_flight(rig, FREE, roll(state, SLOTS))
                : SLOTS;
    if (filled == SLOTS && empty == SLOTS) {
        if (rig->release_count == 2 * rig->flight_count) {
            (void)pthread_mutex_unlock(&rig->mutex);
            return false;
        }
        (void)pthread_cond_wait(&rig->changed, &rig->mutex);
    }
    (void)pthread_mutex_unlock(&rig->mutex);
    if (filled != SLOTS) {
        settle(rig, filled);
    } else if (empty != SLOTS) {
        begin(rig, empty, number);
    }
    return true;
}

/* A load of all files, or of flight_max slots.  What wl_keep_check() said, or wl_keep_finish(). */
static int run(struct rig *rig, uint32_t flight_max, uint64_t seed, struct wload_error *err)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    bool is_whole;
    int rc = WLOAD_OK;

    rig->seed = seed;
    for (uint32_t i = 0; i < FEEDERS; i++) {
        CHECK_EQ(pthread_create(&rig->feeders[i], NULL, feed, rig), 0);
    }
    while (rc == WLOAD_OK && rig->flight_count < flight_max && turn(rig, &state)) {
        rc = wl_keep_check(rig->keep, err);
    }
    is_whole = rc == WLOAD_OK && rig->flight_count < flight_max;
    if (is_whole) {
        rc = wl_keep_finish(rig->keep, INT64_MAX, err);
    } else {
        wl_keep_stop(rig->keep); /* while bytes still arrive */
    }
    (void)pthread_mutex_lock(&rig->mutex);
    rig->is_ending = true;
    (void)pthread_cond_broadcast(&rig->changed);
    (void)pthread_mutex_unlock(&rig->mutex);
    for (uint32_t i = 0; i < FEEDERS; i++) {
        (void)pthread_join(rig->feeders[i], NULL);
    }
    return rc;
}

/* ---- What is left ------------------------------------------------------------------------ */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static unsigned partials_left(void)
{
    DIR *dir = opendir(sample_dir());
    struct dirent *entry;
    unsigned count = 0;

    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        count += strstr(entry->d_name, ".incomplete") != NULL;
    }
    CHECK_EQ(closedir(dir), 0);
    return count;
}

static void check_published(const struct kept *file)
{
    static uint8_t found[FILE_BYTES + 1];
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0);
    CHECK_EQ(wl_sys_real.pread(fd, found, sizeof(found), 0), (ssize_t)file->size_bytes);
    CHECK(memcmp(found, file->data, file->size_bytes) == 0);
    CHECK_EQ(close(fd), 0);
    CHECK_EQ(file->published, 1);
    CHECK_EQ(file->discarded, 0);
}

#define HEAD_BYTES 128 /* of a partial file, between its own bytes and the map at its end */

/* A disk that fails from some byte on, or blocks; counts what it takes of the files' own bytes. */
static struct wl_sys disk;
static atomic_ullong disk_bytes;
static atomic_int cached_fd = -1;  /* what is written to it, */
static atomic_ullong cached_bytes; /* in all */
static uint64_t disk_room;
static pthread_mutex_t disk_gate = PTHREAD_MUTEX_INITIALIZER;

static ssize_t disk_pwrite(int fd, const void *data, size_t size_bytes, off_t offset)
{
    struct stat status;
    uint64_t counted;

    (void)pthread_mutex_lock(&disk_gate);
    (void)pthread_mutex_unlock(&disk_gate);
    CHECK_EQ(fstat(fd, &status), 0);
    counted = offset + HEAD_BYTES < status.st_size ? size_bytes : 0;
    if (atomic_fetch_add(&disk_bytes, counted) + counted > disk_room) {
        errno = ENOSPC;
        return -1;
    }
    if (fd == atomic_load(&cached_fd)) {
        atomic_fetch_add(&cached_bytes, counted);
    }
    return wl_sys_real.pwrite(fd, data, size_bytes, offset);
}

static void use_disk(uint64_t room)
{
    disk = wl_sys_real;
    disk.pwrite = disk_pwrite;
    disk_room = room;
    atomic_store(&disk_bytes, 0);
    atomic_store(&cached_bytes, 0);
    wl_sys = &disk;
}

#endif /* KEEP_RIG_H */
