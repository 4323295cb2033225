/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What test_stream.c is made of: a stand-in for wl_transfer_range() that hands out the content and
 * writes down what it was asked for, a cache for each case, and reads on threads.
 */
#ifndef STREAM_RIG_H
#define STREAM_RIG_H

#include "loader/stream.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/sys.h"
#include "stored.h"

#define BLOCK ((uint64_t)WL_PARTIAL_BLOCK_BYTES)
#define SIZE  (12 * BLOCK + 777)
#define NAME  "folder/model.safetensors"
#define PART  100000u /* bytes that the stand-in hands out at once */
#define ASKED 64

#define SECOND_NS INT64_C(1000000000)

static char content[SIZE + 1]; /* a text, so that stored.h can hash it */
static struct wl_listing_file file;

/* ---- The stand-in ------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t mutex;
    uint64_t begins[ASKED], ends[ASKED];
    uint32_t count;
    uint64_t fails_after;               /* bytes of one call; UINT64_MAX: it does not */
    void (*meanwhile)(uint64_t offset); /* before each part; NULL: nothing happens */
} hub = {.mutex = PTHREAD_MUTEX_INITIALIZER};

int wl_transfer_range(struct wl_transfer *given, struct wl_http *http, struct wl_remote *remote,
                      uint64_t begin, uint64_t end, wl_transfer_sink_fn sink, void *user,
                      struct wload_error *err)
{
    CHECK(given && !http);
    CHECK_STR(remote->url, "http://127.0.0.1:1/org/name/resolve/" STORED_COMMIT "/" NAME);
    CHECK_STR(remote->hash, file.hash);
    CHECK_EQ(remote->size_bytes, SIZE);
    CHECK(begin < end && end <= SIZE);
    (void)pthread_mutex_lock(&hub.mutex);
    CHECK(hub.count < ASKED);
    hub.begins[hub.count] = begin;
    hub.ends[hub.count++] = end;
    (void)pthread_mutex_unlock(&hub.mutex);
    for (uint64_t at = begin; at < end;) {
        uint64_t size = wl_min(PART, end - at);
        int rc;

        if (hub.meanwhile) {
            hub.meanwhile(at);
        }
        if (at - begin >= hub.fails_after) {
            return wl_err_set(err, WLOAD_ERR_NETWORK, "the line is cut");
        }
        rc = sink(user, at, content + at, size);
        if (rc != 0) {
            return rc;
        }
        at += size;
    }
    return WLOAD_OK;
}

void wl_remote_clear(struct wl_remote *remote)
{
    remote->url = NULL;
}

/* The rest of what wl_transfer_range() comes with; no stream has a use for it. */

void wl_remote_reset(struct wl_transfer *other, struct wl_remote *remote)
{
    CHECK(!other && remote);
}

bool wl_remote_refuses_ranges(struct wl_transfer *other, struct wl_remote *remote)
{
    wl_remote_reset(other, remote);
    return false;
}

static void expect_nothing(void)
{
    hub.count = 0;
    hub.fails_after = UINT64_MAX;
    hub.meanwhile = NULL;
}

/* Asked for in any order. */
static void check_asked(uint64_t begin, uint64_t end)
{
    for (uint32_t i = 0; i < hub.count; i++) {
        if (hub.begins[i] == begin && hub.ends[i] == end) {
            return;
        }
    }
    (void)fprintf(stderr, "not asked for %" PRIu64 " to %" PRIu64 "\n", begin, end);
    exit(1);
}

static uint64_t asked_bytes(void)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < hub.count; i++) {
        bytes += hub.ends[i] - hub.begins[i];
    }
    return bytes;
}

/* ---- A clock ------------------------------------------------------------------------------ */

static _Atomic int64_t clock_ns = 1;
static int64_t clock_step_ns;       /* that passes between two looks at it */
static void (*at_look)(int64_t ns); /* with each; NULL: nothing happens */

int64_t wl_clock_ns(void)
{
    int64_t ns = atomic_fetch_add(&clock_ns, clock_step_ns);

    if (at_look) {
        at_look(ns);
    }
    return ns;
}

int64_t wl_clock_cpu_ns(void)
{
    return wl_clock_ns();
}

/* ---- A stream and its cache ----------------------------------------------------------------- */

static struct wl_transfer transfer;
static char endpoint[] = "http://127.0.0.1:1";
static char repo[] = "org/name";
static char cache[TREE_PATH_BYTES];
static char published[TREE_PATH_BYTES];
static struct wl_snapshot snapshot;

static struct {
    pthread_mutex_t mutex;
    uint32_t lead_count;
    uint32_t refusal_count;
    struct wl_stream *leader;
    struct wload_error why;
} told = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static atomic_uint warning_count;

static void count_warning(void *user, enum wload_log_level level, const char *component,
                          const char *line)
{
    (void)user;
    CHECK(level == WLOAD_LOG_WARN && line[0] != '\0');
    CHECK_STR(component, "cache");
    atomic_fetch_add(&warning_count, 1);
}

/* A new cache, in which the snapshot is begun. */
static void begin_store(const char *name, const struct wl_store_ops *ops)
{
    struct wl_listing listing = {.files = &file, .count = 1, .is_complete = true};
    struct wload_error err = {0};

    (void)snprintf(cache, sizeof(cache), "%s", tree_path(name));
    snapshot = (struct wl_snapshot){.config = {.endpoint = endpoint, .lock_timeout_ms = -1},
                                    .log = {.line = count_warning, .level = WLOAD_LOG_WARN},
                                    .spec = {.kind = WL_HUB_MODEL, .path = repo}};
    CHECK_OK(wl_store_init(&snapshot.store, ops, &snapshot.config, &snapshot.log, WL_HUB_MODEL,
                           repo, cache, STORED_COMMIT, &err),
             &err);
    CHECK_OK(snapshot.store.ops->begin(&snapshot.store, &listing, &err), &err);
    (void)snprintf(published, sizeof(published), "%s/%s", snapshot.store.snapshot_path, NAME);
    told.lead_count = told.refusal_count = 0;
    clock_step_ns = SECOND_NS / 20;
    at_look = NULL;
    expect_nothing();
    atomic_store(&transfer.is_canceled, false);
    atomic_store(&warning_count, 0);
}

static void begin_cache(const char *name)
{
    begin_store(name, &wl_store_hub);
}

static void end_cache(unsigned partial_count, bool is_published)
{
    CHECK_EQ(stored_count(cache, ".incomplete"), partial_count);
    CHECK_EQ(access(published, F_OK) == 0, is_published);
    if (is_published) {
        int fd = open(published, O_RDONLY);
        static char read_back[SIZE + 1];

        CHECK(fd >= 0);
        CHECK_EQ(read(fd, read_back, sizeof(read_back)), (ssize_t)SIZE);
        CHECK(memcmp(read_back, content, SIZE) == 0);
        CHECK_EQ(close(fd), 0);
    }
    wl_store_clear(&snapshot.store);
}

static void note_lead(void *user, struct wl_stream *stream)
{
    CHECK(user == &told && stream->state == WL_STREAM_LEADING && stream->partial.fd >= 0);
    told.lead_count++;
    told.leader = stream;
}

static void note_refusal(void *user, const struct wload_error *why)
{
    CHECK(user == &told);
    told.refusal_count++;
    told.why = *why;
}

static struct wl_stream new_stream(void)
{
    return (struct wl_stream){.snapshot = &snapshot,
                              .transfer = &transfer,
                              .file = &file,
                              .path = published,
                              .on_lead = note_lead,
                              .on_refusal = note_refusal,
                              .user = &told};
}

static void open_stream(struct wl_stream *stream, enum wl_stream_state state)
{
    struct wload_error err = {0};

    *stream = new_stream();
    CHECK_OK(wl_stream_open(stream, &err), &err);
    CHECK_EQ(stream->state, WL_STREAM_PASSING);
    if (state != WL_STREAM_PASSING) {
        CHECK_OK(wl_stream_begin(stream, &err), &err);
        CHECK_EQ(stream->state, state);
    }
}

/* ---- Reading ----------------------------------------------------------------------------------
 */

struct read {
    struct wl_stream *stream;
    uint64_t offset;
    uint32_t size;
    char *memory;
    pthread_mutex_t mutex;
    pthread_cond_t came;
    uint32_t arrived;
    int rc;
    struct wload_error err;
    pthread_t thread;
};

static void note_arrived(void *user, uint32_t bytes)
{
    struct read *read = user;

    (void)pthread_mutex_lock(&read->mutex);
    CHECK(bytes > read->arrived && bytes <= read->size);
    CHECK(memcmp(read->memory, content + read->offset, bytes) == 0);
    read->arrived = bytes;
    (void)pthread_cond_broadcast(&read->came);
    (void)pthread_mutex_unlock(&read->mutex);
}

static void *run_read(void *argument)
{
    struct read *read = argument;

    read->rc = wl_stream_read(read->stream, NULL, read->offset, read->memory, read->size,
                              note_arrived, read, &read->err);
    return NULL;
}

static void prepare_read(struct read *read, struct wl_stream *stream, uint64_t offset,
                         uint64_t size)
{
    *read = (struct read){.stream = stream, .offset = offset, .size = (uint32_t)size};
    read->memory = malloc(size);
    CHECK(read->memory != NULL);
    CHECK_EQ(pthread_mutex_init(&read->mutex, NULL), 0);
    CHECK_EQ(pthread_cond_init(&read->came, NULL), 0);
}

static void start_read(struct read *read, struct wl_stream *stream, uint64_t offset, uint64_t size)
{
    prepare_read(read, stream, offset, size);
    CHECK_EQ(pthread_create(&read->thread, NULL, run_read, read), 0);
}

static void wait_arrived(struct read *read, uint64_t bytes)
{
    (void)pthread_mutex_lock(&read->mutex);
    while (read->arrived < bytes) {
        (void)pthread_cond_wait(&read->came, &read->mutex);
    }
    (void)pthread_mutex_unlock(&read->mutex);
}

static void clear_read(struct read *read)
{
    (void)pthread_cond_destroy(&read->came);
    (void)pthread_mutex_destroy(&read->mutex);
    free(read->memory);
}

static void finish_read(struct read *read, int rc)
{
    CHECK_EQ(pthread_join(read->thread, NULL), 0);
    if (rc == WLOAD_OK) {
        CHECK_OK(read->rc, &read->err);
        CHECK_EQ(read->arrived, read->size);
    }
    CHECK_EQ(read->rc, rc);
    clear_read(read);
}

/* On this thread. */
static void read_range(struct wl_stream *stream, uint64_t offset, uint64_t size, int rc)
{
    struct read read;

    prepare_read(&read, stream, offset, size);
    (void)run_read(&read);
    CHECK_EQ(read.rc, rc);
    CHECK(rc < 0 || read.arrived == size);
    clear_read(&read);
}

static void put(struct wl_stream *stream, uint64_t first_block, uint64_t end_block)
{
    uint64_t begin = first_block * BLOCK;
    uint64_t end = wl_min(end_block * BLOCK, SIZE);
    struct wload_error err = {0};

    CHECK_OK(wl_partial_write(&stream->partial, begin, begin, content + begin, end - begin, &err),
             &err);
}

static void publish(struct wl_stream *stream)
{
    struct wload_error err = {0};

    CHECK_OK(wl_stream_publish(stream, &err), &err);
}

#endif /* STREAM_RIG_H */
