/* SPDX-License-Identifier: Apache-2.0 */
/* Reader: io_uring, one ring, registered files and buffers where the kernel grants them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/base.h"
#include "base/err.h"
#include "base/sys.h"
#include "loader/reader.h"

#define WAKE_DATA      (~0ull - 7) /* user_data of the poll on the eventfd; slots count from 0 */
#define REAP_MAX       64u
#define FILES_PER_ITEM 2u /* registered: the buffered descriptor, then the direct one */
#define END_WAIT_MS    30000

struct uring_reader {
    struct wl_reader base;
    struct io_uring ring;
    const struct wl_files *files;
    const struct wl_log *log;
    bool *is_buffer_registered; /* per slot */
    uint32_t slot_count;
    uint32_t in_flight;
    int wake_fd;
    int end_fd; /* hangs up when the kernel has let go of the ring and all its reads */
    bool is_wake_armed;
    bool has_files;
    bool has_buffers;
};

/* What each kernel grants, best first; a refused set of flags is retried with the next. */
static const unsigned setup_flags[] = {
    IORING_SETUP_CLAMP | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_CLAMP | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_CLAMP,
};

static int init_ring(struct uring_reader *uring, struct wload_error *err)
{
    int rc = -EINVAL;

    for (size_t i = 0; i < WL_COUNT_OF(setup_flags) && rc == -EINVAL; i++) {
        struct io_uring_params params = {.flags = setup_flags[i]};

        /* One entry more than slots for the wake poll, one for liburing's own time-outs. */
        rc = wl_sys->ring_init(uring->slot_count + 2, &uring->ring, &params);
    }
    if (rc < 0) {
        (void)wl_err_sys(err, -rc, "io_uring is refused");
        if (err) {
            err->code = WLOAD_ERR_UNSUPPORTED;
        }
        return WLOAD_ERR_UNSUPPORTED;
    }
    return WLOAD_OK;
}

/*
 * The ring's files, and last the writing end of a pipe, which only the ring then holds: the reading
 * end tells when the ring is gone.  Plain descriptors work as well, so the pipe may be alone.
 */
static int register_files(struct uring_reader *uring, struct wload_error *err)
{
    uint32_t count = uring->files->count * FILES_PER_ITEM;
    int *fds = wl_sys_array(count + 1, sizeof(fds[0]));
    int ends[2];
    int rc;

    if (!fds) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for an io_uring reader");
    }
    if (wl_sys->pipe(ends, O_CLOEXEC) < 0) {
        wl_sys->free(fds);
        return wl_err_sys(err, errno, "no pipe to see the ring's end by");
    }
    uring->end_fd = ends[0];
    for (uint32_t i = 0; i < uring->files->count; i++) {
        fds[FILES_PER_ITEM * i] = uring->files->items[i].fd;
        fds[FILES_PER_ITEM * i + 1] = uring->files->items[i].direct_fd;
    }
    fds[count] = ends[1];
    rc = wl_sys->ring_register_files(&uring->ring, fds, count + 1);
    wl_sys->free(fds);
    uring->has_files = rc == 0;
    if (!uring->has_files) {
        rc = wl_sys->ring_register_files(&uring->ring, &ends[1], 1);
    }
    (void)wl_sys->close(ends[1]);
    return rc < 0 ? wl_err_sys(err, -rc, "io_uring registers no file") : WLOAD_OK;
}

static int uring_open(const struct wl_reader_request *request, struct wl_reader **out,
                      struct wload_error *err)
{
    struct uring_reader *uring = wl_sys->alloc(sizeof(*uring));
    int rc;

    if (!uring) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for an io_uring reader");
    }
    uring->base.ops = &wl_reader_uring;
    uring->files = request->files;
    uring->log = request->log;
    uring->slot_count = request->slot_count;
    uring->end_fd = -1;
    uring->is_buffer_registered = wl_sys_array(request->slot_count, sizeof(bool));
    if (!uring->is_buffer_registered) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for an io_uring reader");
        goto out_free;
    }
    uring->wake_fd = wl_sys->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (uring->wake_fd < 0) {
        rc = wl_err_sys(err, errno, "no eventfd to wake the reader");
        goto out_free;
    }
    rc = init_ring(uring, err);
    if (rc < 0) {
        goto out_close;
    }
    rc = register_files(uring, err);
    if (rc < 0) {
        goto out_exit;
    }
    uring->has_buffers = wl_sys->ring_reserve_buffers(&uring->ring, uring->slot_count) == 0;
    (void)snprintf(uring->base.note, WL_NOTE_BYTES, "io_uring, files %s, buffers %s",
                   uring->has_files ? "registered" : "plain",
                   uring->has_buffers ? "registered" : "plain");
    *out = &uring->base;
    return WLOAD_OK;

out_exit:
    wl_sys->ring_exit(&uring->ring);
    if (uring->end_fd >= 0) {
        (void)wl_sys->close(uring->end_fd);
    }
out_close:
    (void)wl_sys->close(uring->wake_fd);
out_free:
    wl_sys->free(uring->is_buffer_registered);
    wl_sys->free(uring);
    return rc;
}

/* Pinning may hit the memlock limit at any buffer: that one, and the rest, are read plainly. */
static void uring_buffer_add(struct wl_reader *reader, uint32_t slot, void *memory,
                             size_t size_bytes)
{
    struct uring_reader *uring = (struct uring_reader *)reader;
    struct iovec vector = {memory, size_bytes};
    int rc;

    WL_ASSERT(slot < uring->slot_count);
    if (!uring->has_buffers) {
        return;
    }
    rc = wl_sys->ring_set_buffer(&uring->ring, slot, &vector);
    if (rc < 0) {
        size_t used = strlen(uring->base.note);

        uring->has_buffers = false;
        (void)snprintf(uring->base.note + used, WL_NOTE_BYTES - used,
                       " but from number %u on, plain: %s (memlock limit?)", slot,
                       strerrorname_np(-rc));
        WL_LOG(uring->log, WLOAD_LOG_INFO, "reader",
               "buffer %u cannot be registered (%s); reads into it and later ones are plain", slot,
               strerrorname_np(-rc));
        return;
    }
    uring->is_buffer_registered[slot] = true;
}

static void uring_submit(struct wl_reader *reader, const struct wl_read *read)
{
    struct uring_reader *uring = (struct uring_reader *)reader;
    const struct wl_job_file *file = &uring->files->items[read->file_index];
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    int fd = read->is_direct ? file->direct_fd : file->fd;

    WL_ASSERT(sqe != NULL && read->slot < uring->slot_count);
    if (uring->has_files) {
        fd = (int)(read->file_index * FILES_PER_ITEM) + (read->is_direct ? 1 : 0);
    }
    if (read->is_staged && uring->is_buffer_registered[read->slot]) {
        io_uring_prep_read_fixed(sqe, fd, read->target, read->size_bytes, read->offset,
                                 (int)read->slot);
    } else {
        io_uring_prep_read(sqe, fd, read->target, read->size_bytes, read->offset);
    }
    if (uring->has_files) {
        sqe->flags |= IOSQE_FIXED_FILE;
    }
    if (!read->is_direct) {
        sqe->flags |= IOSQE_ASYNC; /* a page-cache copy would block the submitting thread */
    }
    sqe->user_data = read->slot;
    uring->in_flight++;
}

/* An error here comes back from the next reap(). */
static void uring_flush(struct wl_reader *reader)
{
    struct uring_reader *uring = (struct uring_reader *)reader;

    (void)wl_sys->ring_submit(&uring->ring);
}

static void arm_wake(struct uring_reader *uring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

    WL_ASSERT(sqe != NULL);
    io_uring_prep_poll_add(sqe, uring->wake_fd, POLLIN);
    sqe->user_data = WAKE_DATA;
    uring->is_wake_armed = true;
}

/* Take what has completed, without waiting. */
static uint32_t collect(struct uring_reader *uring, struct wl_read_done *done, uint32_t max)
{
    struct io_uring_cqe *cqes[REAP_MAX];
    uint32_t taken = wl_sys->ring_peek(&uring->ring, cqes, max < REAP_MAX ? max : REAP_MAX);
    uint32_t count = 0;

    for (uint32_t i = 0; i < taken; i++) {
        if (cqes[i]->user_data == WAKE_DATA) {
            eventfd_t value;

            uring->is_wake_armed = false;
            (void)eventfd_read(uring->wake_fd, &value);
        } else if (cqes[i]->user_data < uring->slot_count) {
            WL_ASSERT(uring->in_flight > 0);
            uring->in_flight--;
            done[count++] =
                (struct wl_read_done){.slot = (uint32_t)cqes[i]->user_data, .result = cqes[i]->res};
        } /* else liburing's own time-out */
    }
    io_uring_cq_advance(&uring->ring, taken);
    return count;
}

static int uring_reap(struct wl_reader *reader, struct wl_read_done *done, uint32_t max,
                      int64_t timeout_ns)
{
    struct uring_reader *uring = (struct uring_reader *)reader;
    struct __kernel_timespec limit = {.tv_sec = timeout_ns / 1000000000,
                                      .tv_nsec = timeout_ns % 1000000000};
    int rc;

    if (timeout_ns == 0) {
        rc = wl_sys->ring_submit(&uring->ring);
    } else {
        if (!uring->is_wake_armed) {
            arm_wake(uring);
        }
        rc = wl_sys->ring_wait(&uring->ring, timeout_ns < 0 ? NULL : &limit);
    }
    if (rc < 0 && rc != -ETIME && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY) {
        return rc;
    }
    return (int)collect(uring, done, max);
}

static void uring_wake(struct wl_reader *reader)
{
    struct uring_reader *uring = (struct uring_reader *)reader;

    (void)eventfd_write(uring->wake_fd, 1);
}

/* The ring is left: the kernel cancels its reads and, when all of them are over, lets go of it. */
static void await_end(struct uring_reader *uring)
{
    struct pollfd end = {.fd = uring->end_fd};
    int rc;

    do {
        rc = poll(&end, 1, END_WAIT_MS);
    } while (rc < 0 && errno == EINTR);
    if (rc <= 0) {
        WL_LOG(uring->log, WLOAD_LOG_ERROR, "reader",
               "reads in flight have not ended in %d s, their memory may still be written to: does "
               "the storage hang, or a child process hold the ring?",
               END_WAIT_MS / 1000);
    }
}

/* A thread that did not submit the reads cannot reap them: the ring takes it for nobody's. */
static void uring_close(struct wl_reader *reader)
{
    struct uring_reader *uring = (struct uring_reader *)reader;
    struct wl_read_done done[REAP_MAX];
    int rc = 0;

    while (uring->in_flight > 0 && rc >= 0) {
        rc = uring_reap(reader, done, REAP_MAX, -1);
    }
    wl_sys->ring_exit(&uring->ring);
    if (rc < 0) {
        await_end(uring);
    }
    (void)wl_sys->close(uring->end_fd);
    (void)wl_sys->close(uring->wake_fd);
    wl_sys->free(uring->is_buffer_registered);
    wl_sys->free(uring);
}

const struct wl_reader_ops wl_reader_uring = {
    .name = "uring",
    .kind = WLOAD_READER_URING,
    .open = uring_open,
    .buffer_add = uring_buffer_add,
    .submit = uring_submit,
    .flush = uring_flush,
    .reap = uring_reap,
    .wake = uring_wake,
    .close = uring_close,
};
