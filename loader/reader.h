/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader takes reads and hands back results, in any order.
 *
 * reader_uring.c is the fast one; reader_pread.c works where io_uring is barred.
 * A reader knows the job's files by number and never opens or closes one.
 * All calls but wake() and close() come from the job's thread.
 */
#ifndef WL_READER_H
#define WL_READER_H

#include "base/log.h"
#include "loader/files.h"

struct wl_read {
    uint64_t offset;
    void *target;
    uint32_t size_bytes;
    uint32_t slot; /* the staging slot that the read belongs to; one read each at a time */
    uint32_t file_index;
    bool is_direct; /* through direct_fd, and all of it aligned */
    bool is_staged; /* the target lies in the slot's buffer */
};

struct wl_read_done {
    uint32_t slot;
    int32_t result; /* bytes read, fewer than asked for at any time; or a negative errno */
};

struct wl_reader { /* first member of every backend's own struct */
    const struct wl_reader_ops *ops;
    char note[WL_NOTE_BYTES]; /* how it reads, and what was refused; may grow while it works */
};

struct wl_reader_request {
    const struct wl_files *files;
    uint32_t slot_count;     /* slots are 0 .. slot_count - 1: the most reads in flight */
    uint32_t parallel_count; /* reads that are worth carrying out at once */
    const struct wl_log *log;
};

struct wl_reader_ops {
    const char *name;
    enum wload_reader_kind kind;

    /* Make everything that reads will need, and say in the note how, in a few words.  NULL: this
     * reader stands before another one, and is opened by wl_reader_net_open(). */
    int (*open)(const struct wl_reader_request *request, struct wl_reader **out,
                struct wload_error *err);
    /* Optional help: slot's buffer is this memory, for as long as the reader is open. */
    void (*buffer_add)(struct wl_reader *reader, uint32_t slot, void *memory, size_t size_bytes);
    /* Queue one read.  There is always room: a slot has one read at a time. */
    void (*submit)(struct wl_reader *reader, const struct wl_read *read);
    /* Start what is queued now: the caller is about to be busy. */
    void (*flush)(struct wl_reader *reader);
    /*
     * Start what is queued and collect up to `max` results.  Waits for the first
     * for at most timeout_ns (negative: for ever), or until wake().  Returns how
     * many, or a negative errno.
     */
    int (*reap)(struct wl_reader *reader, struct wl_read_done *done, uint32_t max,
                int64_t timeout_ns);
    /* Any thread: a reap() that waits, or else the next one, returns at once. */
    void (*wake)(struct wl_reader *reader);
    /* Any thread, when no other uses the reader.  Waits for reads in flight: no target is written
     * to after this returns. */
    void (*close)(struct wl_reader *reader);
};

extern const struct wl_reader_ops wl_reader_uring;
extern const struct wl_reader_ops wl_reader_pread;

/*
 * The reader of that kind; WLOAD_READER_AUTO: the first that opens, and its note
 * says why the ones before it did not.
 */
int wl_reader_open(enum wload_reader_kind kind, const struct wl_reader_request *request,
                   struct wl_reader **out, struct wload_error *err);

#endif /* WL_READER_H */
