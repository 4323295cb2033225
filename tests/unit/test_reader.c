/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every reader keeps the contract of reader.h.
 * Method: the same checks over each row of the registry, on a real file: reads of
 * all sizes, through the page cache and past it, the end of the file, a bad
 * descriptor, time-outs, wake() before and during a wait, and a close with reads
 * still in flight, by the thread that submitted them and by another one; of these
 * one is from a pipe, so that it cannot end by itself.  Of the reader for networks,
 * which others test, the note.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/sys.h"
#include "loader/intake.h"
#include "loader/reader.h"
#include "sample.h"
#include "test.h"

#define SLOTS      4u
#define SLOT_BYTES (256u << 10)
#define FILE_BYTES (3u << 20)

static uint8_t *truth;
static uint8_t *memory;
static uint64_t file_bytes;
static int pipe_ends[2];
static struct wl_job_file items[3];
static struct wl_files files = {.items = items, .count = 3};

static void refuse_line(void *user, enum wload_log_level level, const char *component,
                        const char *line)
{
    (void)user;
    (void)level;
    (void)fprintf(stderr, "%s: %s\n", component, line);
    exit(1);
}

static const struct wl_log errors = {.line = refuse_line, .level = WLOAD_LOG_ERROR};

static void open_files(void)
{
    const char *path = sample_write("reader.safetensors", FILE_BYTES, 7);
    struct stat status;

    items[0] = (struct wl_job_file){.path = path, .align_bytes = 4096, .is_direct = true};
    items[0].fd = open(path, O_RDONLY | O_CLOEXEC);
    items[0].direct_fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    items[1] = (struct wl_job_file){.path = "no file", .fd = -1, .direct_fd = -1};
    CHECK_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
    items[2] = (struct wl_job_file){.path = "a pipe", .fd = pipe_ends[0], .direct_fd = -1};
    CHECK(items[0].fd >= 0);
    CHECK_EQ(fstat(items[0].fd, &status), 0);
    file_bytes = (uint64_t)status.st_size;
    truth = malloc(file_bytes);
    CHECK_EQ(pread(items[0].fd, truth, file_bytes, 0), (ssize_t)file_bytes);
    memory =
        mmap(NULL, SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
}

static uint8_t *buffer(uint32_t slot)
{
    return memory + slot * SLOT_BYTES;
}

static struct wl_reader *open_reader(enum wload_reader_kind kind)
{
    struct wl_reader_request request = {.files = &files,
                                        .slot_count = SLOTS,
                                        .parallel_count = SLOTS,
                                        .log = &errors};
    struct wl_reader *reader = NULL;
    struct wload_error err;

    if (wl_reader_open(kind, &request, &reader, &err) != WLOAD_OK) {
        printf("skipped: %s\n", err.message);
        return NULL;
    }
    CHECK(reader->note[0] != '\0');
    CHECK_EQ(reader->ops->kind, kind);
    for (uint32_t slot = 0; slot + 1 < SLOTS; slot++) { /* the last one stays unregistered */
        reader->ops->buffer_add(reader, slot, buffer(slot), SLOT_BYTES);
    }
    return reader;
}

static void submit(struct wl_reader *reader, uint32_t slot, uint64_t offset, uint32_t size_bytes,
                   bool is_direct)
{
    struct wl_read read = {
        .offset = offset,
        .target = buffer(slot),
        .size_bytes = size_bytes,
        .slot = slot,
        .is_direct = is_direct && items[0].direct_fd >= 0,
        .is_staged = true,
    };

    memset(buffer(slot), 0xee, SLOT_BYTES);
    reader->ops->submit(reader, &read);
}

/* All of a range, by as many reads as the reader needs. */
static void read_fully(struct wl_reader *reader, uint32_t slot, uint64_t offset,
                       uint32_t size_bytes, bool is_direct)
{
    struct wl_read_done done;

    submit(reader, slot, offset, size_bytes, is_direct);
    reader->ops->flush(reader);
    while (reader->ops->reap(reader, &done, 1, -1) == 0) {
    }
    CHECK_EQ(done.slot, slot);
    CHECK(done.result > 0 && (uint32_t)done.result <= size_bytes);
    CHECK(memcmp(buffer(slot), truth + offset, (size_t)done.result) == 0);
}

static void check_reads(struct wl_reader *reader)
{
    read_fully(reader, 0, 0, 8, false);
    read_fully(reader, 1, 4096, 64u << 10, true);
    read_fully(reader, 2, 8192, SLOT_BYTES, true);
    read_fully(reader, 3, 12345, 54321, false);
    read_fully(reader, 0, wl_round_down(file_bytes, 4096), 8192, true); /* reaches past the end */
}

/* All slots at once; each comes back exactly once. */
static void check_parallel(struct wl_reader *reader)
{
    bool is_back[SLOTS] = {0};
    uint32_t count = 0;

    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        submit(reader, slot, slot * 4096ull, 128u << 10, slot % 2 == 0);
    }
    while (count < SLOTS) {
        struct wl_read_done done[SLOTS];
        int got = reader->ops->reap(reader, done, SLOTS, -1);

        CHECK(got >= 0);
        for (int i = 0; i < got; i++, count++) {
            CHECK(!is_back[done[i].slot]);
            is_back[done[i].slot] = true;
            CHECK(done[i].result > 0);
            CHECK(memcmp(buffer(done[i].slot), truth + done[i].slot * 4096ull,
                         (size_t)done[i].result) == 0);
        }
    }
}

static void check_ends(struct wl_reader *reader)
{
    struct wl_read bad = {.target = buffer(1), .size_bytes = 4096, .slot = 1, .file_index = 1};
    struct wl_read_done done;

    submit(reader, 0, wl_round_up(file_bytes, 4096), 4096, false);
    while (reader->ops->reap(reader, &done, 1, -1) == 0) {
    }
    CHECK_EQ(done.result, 0);
    reader->ops->submit(reader, &bad);
    while (reader->ops->reap(reader, &done, 1, -1) == 0) {
    }
    CHECK_EQ(done.slot, 1);
    CHECK_EQ(done.result, -EBADF);
}

static void *wake_it(void *argument)
{
    struct wl_reader *reader = argument;

    reader->ops->wake(reader);
    return NULL;
}

static void check_waits(struct wl_reader *reader)
{
    struct wl_read_done done;
    int64_t begin_ns = wl_clock_ns();
    pthread_t thread;

    CHECK_EQ(reader->ops->reap(reader, &done, 1, 0), 0);
    CHECK_EQ(reader->ops->reap(reader, &done, 1, 20000000), 0);
    CHECK(wl_clock_ns() - begin_ns >= 19000000);
    reader->ops->wake(reader); /* before the wait: not lost */
    CHECK_EQ(reader->ops->reap(reader, &done, 1, -1), 0);
    CHECK_EQ(pthread_create(&thread, NULL, wake_it, reader), 0);
    CHECK_EQ(reader->ops->reap(reader, &done, 1, -1), 0); /* a hang here fails by time-out */
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void check_untouched(void)
{
    memset(memory, 0x11, SLOTS * SLOT_BYTES);
    for (size_t i = 0; i < SLOTS * SLOT_BYTES; i++) {
        CHECK_EQ(memory[i], 0x11);
    }
}

/* After close no target is written to: the memory may be somebody else's. */
static void check_close(struct wl_reader *reader)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        submit(reader, slot, slot * 4096ull, SLOT_BYTES, true);
    }
    reader->ops->close(reader);
    check_untouched();
}

static void *close_it(void *argument)
{
    struct wl_reader *reader = argument;

    reader->ops->close(reader);
    CHECK_EQ(write(pipe_ends[1], truth, 4096), 4096);
    check_untouched();
    return NULL;
}

static void check_close_elsewhere(struct wl_reader *reader)
{
    struct wl_read endless = {.target = buffer(0),
                              .size_bytes = 4096,
                              .file_index = 2,
                              .is_staged = true};
    pthread_t thread;

    reader->ops->submit(reader, &endless);
    for (uint32_t slot = 1; slot < SLOTS; slot++) {
        submit(reader, slot, slot * 4096ull, SLOT_BYTES, slot % 2 == 0);
    }
    reader->ops->flush(reader);
    CHECK_EQ(pthread_create(&thread, NULL, close_it, reader), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(read(pipe_ends[0], memory, 4096), 4096); /* nobody else has */
}

static void grow_note(struct wl_reader *reader, uint32_t slot, void *target, size_t size_bytes)
{
    (void)target;
    (void)size_bytes;
    (void)snprintf(reader->note, sizeof(reader->note), "buffer %u refused", slot);
}

static void forget(struct wl_reader *reader)
{
    (void)reader;
}

/* What the reader behind the one for networks finds late is told, too. */
static void check_note_behind(void)
{
    static const struct wl_reader_ops ops = {.buffer_add = grow_note, .close = forget};
    static struct wl_intake intake = {.transfer.connection_count = 2};
    struct wl_reader local = {.ops = &ops, .note = "as it began"};
    struct wl_reader_request request = {.slot_count = SLOTS};
    struct wl_reader *reader;
    struct wload_error err;

    CHECK_OK(wl_reader_net_open(&intake, &request, &local, &reader, &err), &err);
    CHECK_STR(reader->note, "2 connections; as it began");
    reader->ops->buffer_add(reader, 3, buffer(3), SLOT_BYTES);
    CHECK_STR(reader->note, "2 connections; buffer 3 refused");
    reader->ops->close(reader);
}

int main(void)
{
    open_files();
    for (int kind = WLOAD_READER_URING; kind <= WLOAD_READER_PREAD; kind++) {
        struct wl_reader *reader = open_reader((enum wload_reader_kind)kind);

        if (reader) {
            check_reads(reader);
            check_parallel(reader);
            check_ends(reader);
            check_waits(reader);
            check_close(reader);
            check_close_elsewhere(open_reader((enum wload_reader_kind)kind));
        }
    }
    check_note_behind();
    free(truth);
    return 0;
}
