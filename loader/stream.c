/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/stream.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/sys.h"
#include "cache/hub_api.h"

#define FOLLOW_NS     (4 * 1000000ll)   /* between two looks at a file that grows */
#define LOCK_RETRY_NS (100 * 1000000ll) /* between two looks at whether its writer lives */

/* One read on its way. */
struct reading {
    struct wl_stream *stream;
    struct wl_http *http;
    uint8_t *memory;
    uint64_t offset;  /* in the file, of the first byte of memory */
    uint64_t at;      /* bytes before this are there */
    int64_t waits_ns; /* since when none come from another that leads; 0: they do */
    uint64_t end;
    void (*arrived)(void *user, uint32_t bytes);
    void *user;
};

static void advance(struct reading *reading, uint64_t bytes)
{
    reading->at += bytes;
    reading->waits_ns = 0;
    reading->arrived(reading->user, (uint32_t)(reading->at - reading->offset));
}

/* ---- Who has the file --------------------------------------------------------------------- */

/* We have the lock, and adopt() returned `rc`: the file is there by now, or it is ours to bring. */
static int lead(struct wl_stream *stream, int rc, struct wload_error *err)
{
    struct wl_store *store = &stream->snapshot->store;
    struct wl_partial_place place;
    struct wl_file_identity identity;

    if (rc > 0) {
        rc = wl_file_open(stream->path, 0, &identity, err);
        if (rc >= 0) {
            stream->whole_fd = rc;
            stream->state = WL_STREAM_WHOLE;
            wl_lock_release(&stream->lock);
            return WLOAD_OK;
        }
    }
    if (rc == 0) {
        rc = store->ops->place(store, stream->file, &place, err);
    }
    if (rc == WLOAD_OK) {
        rc = wl_partial_open(&store->log, &place, false, &stream->partial, err);
        wl_store_place_clear(&place);
        if (rc == WLOAD_OK) {
            rc = wl_partial_set_io(&stream->partial, &store->log, stream->io_policy, err);
        }
    }
    if (rc < 0) {
        wl_partial_close(&stream->partial);
        wl_lock_release(&stream->lock);
        stream->state = WL_STREAM_PASSING;
        return rc;
    }
    stream->state = WL_STREAM_LEADING;
    return WLOAD_OK;
}

/* With the mutex.  Try to get the file's lock.  WLOAD_ERR_LOCKED: another leads. */
static int try_lead(struct wl_stream *stream, struct wload_error *err)
{
    struct wl_store *store = &stream->snapshot->store;
    int rc = store->ops->lock(store, stream->file, &stream->lock, err);

    if (rc < 0) {
        return rc;
    }
    rc = store->ops->adopt(store, stream->file, NULL, err);
    if (rc == WL_STORE_UNKNOWN) {
        stream->state = WL_STREAM_CHECKING;
        return WLOAD_OK;
    }
    return lead(stream, rc, err);
}

int wl_stream_open(struct wl_stream *stream, struct wload_error *err)
{
    const struct wl_hub_repo repo = {.kind = stream->snapshot->spec.kind,
                                     .name = stream->snapshot->spec.path};

    stream->lock.fd = -1;
    stream->partial.fd = -1;
    stream->view.fd = -1;
    stream->whole_fd = -1;
    stream->state = WL_STREAM_PASSING;
    stream->url = wl_hub_file_url(&stream->snapshot->config, &repo, stream->snapshot->store.commit,
                                  stream->file->name);
    if (!stream->url) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the address of '%s'",
                          stream->file->name);
    }
    stream->remote = (struct wl_remote){.url = stream->url,
                                        .name = stream->file->name,
                                        .size_bytes = stream->file->size_bytes,
                                        .hash = stream->file->hash};
    WL_ASSERT(pthread_mutex_init(&stream->mutex, NULL) == 0);
    stream->is_open = true;
    return WLOAD_OK;
}

int wl_stream_begin(struct wl_stream *stream, struct wload_error *err)
{
    int rc;

    (void)pthread_mutex_lock(&stream->mutex);
    rc = try_lead(stream, err);
    if (rc == WLOAD_ERR_LOCKED) {
        stream->state = WL_STREAM_FOLLOWING;
        rc = WLOAD_OK;
    }
    (void)pthread_mutex_unlock(&stream->mutex);
    return rc;
}

/* ---- Reading -------------------------------------------------------------------------------- */

static int read_file(struct reading *reading, int fd, uint64_t until, struct wload_error *err)
{
    const char *path = reading->stream->path;

    while (reading->at < until) {
        size_t size = (size_t)wl_min(until - reading->at, WL_PARTIAL_BLOCK_BYTES);
        int64_t got =
            wl_sys_read(fd, reading->memory + (reading->at - reading->offset), size, reading->at);

        if (got != (int64_t)size) {
            return got < 0 ? wl_err_sys(err, (int)-got, "cannot read what is there of '%s'", path)
                           : wl_err_at(err, WLOAD_ERR_IO, reading->at,
                                       "what is there of '%s' lost its end", path);
        }
        advance(reading, size);
    }
    return WLOAD_OK;
}

static int read_partial(struct reading *reading, uint64_t until, struct wload_error *err)
{
    while (reading->at < until) {
        uint64_t size = wl_min(until - reading->at, WL_PARTIAL_BLOCK_BYTES);
        int rc = wl_partial_read(&reading->stream->partial, reading->at,
                                 reading->memory + (reading->at - reading->offset), size, err);

        if (rc < 0) {
            return rc;
        }
        advance(reading, size);
    }
    return WLOAD_OK;
}

static int take_bytes(void *user, uint64_t offset, const void *data, size_t size_bytes)
{
    struct reading *reading = user;

    WL_ASSERT(offset == reading->at && size_bytes <= reading->end - offset);
    memcpy(reading->memory + (offset - reading->offset), data, size_bytes);
    advance(reading, size_bytes);
    return 0;
}

static int ask_hub(struct reading *reading, uint64_t until, struct wload_error *err)
{
    return wl_transfer_range(reading->stream->transfer, reading->http, &reading->stream->remote,
                             reading->at, until, take_bytes, reading, err);
}

/* The next bytes of a file that we lead: the partial file's, or the hub's up to what that has. */
static int read_leading(struct reading *reading, struct wload_error *err)
{
    const struct wl_partial *partial = &reading->stream->partial;
    uint64_t ready = wl_min(wl_partial_ready(partial, reading->at), reading->end);
    uint64_t gap_begin, gap_end;

    if (ready > reading->at) {
        return read_partial(reading, ready, err);
    }
    if (!wl_partial_gap(partial, wl_round_down(reading->at, WL_PARTIAL_BLOCK_BYTES), &gap_begin,
                        &gap_end) ||
        gap_begin > reading->at) {
        return WLOAD_OK; /* it was filled this moment: look again */
    }
    return ask_hub(reading, wl_min(gap_end, reading->end), err);
}

static void rest(void)
{
    const struct timespec moment = {.tv_nsec = FOLLOW_NS};

    (void)nanosleep(&moment, NULL);
}

/* With the mutex: what comes of `rc`, and of the state now.  If the disk takes nothing, nobody
 * leads. */
static int settle(struct wl_stream *stream, int rc, const struct wload_error *why,
                  struct wload_error *err)
{
    if (rc == WLOAD_OK && stream->state == WL_STREAM_LEADING) {
        stream->on_lead(stream->user, stream); /* before any thread brings what is to be written */
    } else if (rc == WLOAD_ERR_IO || rc == WLOAD_ERR_NOSPACE) {
        stream->state = WL_STREAM_PASSING;
        stream->on_refusal(stream->user, why);
        rc = WLOAD_OK;
    }
    if (rc < 0 && err) {
        *err = *why;
    }
    return rc;
}

/* With the mutex: if the leader has ended, it is our turn. */
static int take_turn(struct wl_stream *stream, struct wload_error *err)
{
    struct wload_error why = {0};
    int rc = try_lead(stream, &why);

    if (rc == WLOAD_ERR_LOCKED) {
        return WLOAD_OK;
    }
    if (rc == WLOAD_OK && stream->state == WL_STREAM_LEADING) {
        WL_LOG(&stream->snapshot->log, WLOAD_LOG_INFO, "cache",
               "'%s': its other download has ended; going on with it", stream->file->name);
    }
    return settle(stream, rc, &why, err);
}

/* The first read to come here hashes what lies at the path, the others wait for that. */
static int read_checking(struct wl_stream *stream, struct wload_error *err)
{
    struct wl_store *store = &stream->snapshot->store;
    struct wload_error why = {0};
    int rc = WLOAD_OK;

    (void)pthread_mutex_lock(&stream->mutex);
    if (stream->state == WL_STREAM_CHECKING) {
        rc = store->ops->adopt(store, stream->file, &stream->transfer->is_canceled, &why);
        rc = settle(stream, lead(stream, rc, &why), &why, err);
    }
    (void)pthread_mutex_unlock(&stream->mutex);
    return rc;
}

/* With the mutex: there is a leader.  It is waited for while it gets on, with whatever part of the
 * file, and a while more. */
static int wait_for_leader(const struct reading *reading, struct wload_error *err)
{
    struct wl_stream *stream = reading->stream;
    uint64_t present = stream->view.fd >= 0 ? wl_partial_view_present(&stream->view) : 0;
    int64_t now = wl_clock_ns();
    int64_t waited_ns;

    if (present != stream->present) {
        stream->present = present;
        stream->progress_ns = now;
    }
    waited_ns =
        now - (reading->waits_ns > stream->progress_ns ? reading->waits_ns : stream->progress_ns);
    return wl_lock_wait(&stream->snapshot->log, stream->file->name, waited_ns,
                        stream->snapshot->config.lock_timeout_ms, &stream->is_noticed, err);
}

/* With the mutex: look what the leader has, and whether there is one.  *ready is the end of what
 * can be read. */
static int look(struct reading *reading, uint64_t *ready, struct wload_error *err)
{
    struct wl_stream *stream = reading->stream;
    struct wl_store *store = &stream->snapshot->store;
    struct wl_partial_place place;
    int64_t now;
    int rc;

    if (stream->view.fd < 0) {
        rc = store->ops->place(store, stream->file, &place, err);
        if (rc < 0) {
            return rc;
        }
        (void)wl_partial_view_open(&place, &stream->view);
        wl_store_place_clear(&place);
    }
    *ready = stream->view.fd >= 0 ? wl_partial_view_ready(&stream->view, reading->at, reading->end)
                                  : reading->at;
    now = wl_clock_ns();
    if (*ready == reading->at && reading->waits_ns == 0) {
        reading->waits_ns = now;
    }
    if (*ready > reading->at || now < stream->retry_ns) {
        return WLOAD_OK;
    }
    stream->retry_ns = now + LOCK_RETRY_NS;
    rc = take_turn(stream, err);
    return rc == WLOAD_OK && stream->state == WL_STREAM_FOLLOWING ? wait_for_leader(reading, err)
                                                                  : rc;
}

static int read_following(struct reading *reading, struct wload_error *err)
{
    struct wl_stream *stream = reading->stream;
    uint64_t ready = reading->at;
    bool waits = false;
    int fd = -1;
    int rc = WLOAD_OK;

    (void)pthread_mutex_lock(&stream->mutex);
    if (stream->state == WL_STREAM_FOLLOWING) {
        rc = look(reading, &ready, err);
        fd = stream->view.fd;
        waits = stream->state == WL_STREAM_FOLLOWING && ready == reading->at;
    }
    (void)pthread_mutex_unlock(&stream->mutex);
    if (rc < 0) {
        return rc;
    }
    if (ready > reading->at) {
        return read_file(reading, fd, ready, err);
    }
    if (waits) {
        rest();
    }
    return atomic_load(&stream->transfer->is_canceled)
               ? wl_err_set(err, WLOAD_ERR_CANCELED, "'%s': canceled", stream->file->name)
               : WLOAD_OK;
}

int wl_stream_read(struct wl_stream *stream, struct wl_http *http, uint64_t offset, void *memory,
                   uint32_t size_bytes, void (*arrived)(void *user, uint32_t bytes), void *user,
                   struct wload_error *err)
{
    struct reading reading = {.stream = stream,
                              .http = http,
                              .memory = memory,
                              .offset = offset,
                              .at = offset,
                              .end = offset + size_bytes,
                              .arrived = arrived,
                              .user = user};
    int rc = WLOAD_OK;

    while (rc == WLOAD_OK && reading.at < reading.end) {
        enum wl_stream_state state;

        (void)pthread_mutex_lock(&stream->mutex);
        state = stream->state;
        (void)pthread_mutex_unlock(&stream->mutex);
        switch (state) {
        case WL_STREAM_CHECKING:
            rc = read_checking(stream, err);
            break;
        case WL_STREAM_LEADING:
            rc = read_leading(&reading, err);
            break;
        case WL_STREAM_FOLLOWING:
            rc = read_following(&reading, err);
            break;
        case WL_STREAM_WHOLE:
            rc = read_file(&reading, stream->whole_fd, reading.end, err);
            break;
        case WL_STREAM_PASSING:
            rc = ask_hub(&reading, reading.end, err);
            break;
        }
    }
    return rc;
}

/* ---- The end -----------------------------------------------------------------------------------
 */

static int publish(struct wl_stream *stream, struct wload_error *err)
{
    struct wl_store *store = &stream->snapshot->store;
    int rc = store->ops->publish(store, stream->file, &stream->partial, err);

    if (rc == WLOAD_OK) {
        wl_lock_release(&stream->lock);
    }
    return rc;
}

int wl_stream_publish(struct wl_stream *stream, struct wload_error *err)
{
    bool leads;

    (void)pthread_mutex_lock(&stream->mutex);
    leads = stream->state == WL_STREAM_LEADING;
    (void)pthread_mutex_unlock(&stream->mutex);
    return leads ? publish(stream, err) : WLOAD_OK;
}

void wl_stream_finish(struct wl_stream *stream)
{
    struct wload_error why = {0};
    uint64_t begin, end;
    int rc;

    (void)pthread_mutex_lock(&stream->mutex);
    rc = stream->state == WL_STREAM_FOLLOWING ? try_lead(stream, &why) : WLOAD_ERR_LOCKED;
    if (rc == WLOAD_OK && stream->state == WL_STREAM_CHECKING) {
        /* What lies at the path is known less well than what was read. */
        rc = lead(stream, 0, &why);
    }
    (void)pthread_mutex_unlock(&stream->mutex);
    /* What was proven is what the view showed. */
    if (rc == WLOAD_OK && stream->state == WL_STREAM_LEADING && stream->view.fd >= 0 &&
        wl_file_is_at(stream->view.fd, stream->partial.path) &&
        !wl_partial_gap(&stream->partial, 0, &begin, &end)) {
        rc = publish(stream, &why);
    }
    if (rc < 0 && rc != WLOAD_ERR_LOCKED) {
        WL_LOG(&stream->snapshot->log, WLOAD_LOG_INFO, "cache", "'%s' is loaded but not kept: %s",
               stream->file->name, why.message);
    }
}

void wl_stream_discard(struct wl_stream *stream)
{
    (void)pthread_mutex_lock(&stream->mutex);
    if (stream->state == WL_STREAM_LEADING) {
        stream->state = WL_STREAM_PASSING;
        stream->is_discarded = true; /* reads may be at it still */
        wl_lock_release(&stream->lock);
    }
    (void)pthread_mutex_unlock(&stream->mutex);
}

void wl_stream_close(struct wl_stream *stream)
{
    if (!stream->is_open) {
        return;
    }
    stream->is_open = false;
    if (stream->is_discarded) {
        wl_partial_discard(&stream->partial);
    } else {
        wl_partial_close(&stream->partial);
    }
    wl_partial_view_close(&stream->view);
    if (stream->whole_fd >= 0) {
        (void)wl_sys->close(stream->whole_fd);
    }
    wl_lock_release(&stream->lock);
    wl_remote_clear(&stream->remote);
    wl_sys->free(stream->url);
    (void)pthread_mutex_destroy(&stream->mutex);
}
