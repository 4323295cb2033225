/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the same bytes land on every rung of the ladder, and the job says which
 * rung it stood on.
 * Method: a double of the table of system calls takes one thing away at a time:
 * io_uring, registered buffers, O_DIRECT at open and at the first read, the
 * residency counts; or gives short and interrupted reads everywhere.  Policies
 * that ask for what is gone must fail and name the errno.
 */
#include <errno.h>
#include <stdbool.h>

#include "faults.h"
#include "sample.h"
#include "test.h"

static const char *path;
static struct wload_model *model;
static bool has_uring;

static int on_landed(void *user, const struct wload_tensor *tensor, void *address)
{
    CHECK(sample_is_equal(model, tensor, 0, address, tensor->size_bytes));
    ++*(uint64_t *)user;
    return 0;
}

struct outcome {
    int rc;
    struct wload_error err;
    struct wload_stats stats;
    char reader_note[256];
    char io_note[256];
};

static struct outcome load(const struct faults *faults, uint32_t reader_kind, uint32_t io_policy)
{
    struct outcome outcome = {.stats = {.struct_size = sizeof(outcome.stats)}};
    uint64_t landed = 0;
    struct wload_job_options options = {
        .struct_size = sizeof(options),
        .device_kind = WLOAD_DEVICE_HOST,
        .reader_kind = reader_kind,
        .io_policy = io_policy,
        .chunk_bytes = 128u << 10,
        .on_landed = on_landed,
        .user = &landed,
    };
    struct wload_job *job = NULL;

    faults_begin(faults);
    outcome.rc = wload_job_start(model, &options, &job, &outcome.err);
    if (outcome.rc == WLOAD_OK) {
        outcome.rc = wload_job_run(job, -1, &outcome.err);
        wload_job_stats(job, &outcome.stats);
        (void)snprintf(outcome.reader_note, sizeof(outcome.reader_note), "%s",
                       outcome.stats.reader_note);
        (void)snprintf(outcome.io_note, sizeof(outcome.io_note), "%s", outcome.stats.io_note);
    }
    wload_job_free(job);
    (void)faults_end();
    CHECK(outcome.rc < 0 || landed == wload_model_info(model)->tensor_count);
    CHECK_EQ(outcome.err.code, outcome.rc); /* what was refused on the way is no error */
    return outcome;
}

static void check_no_uring(int refusal, const char *name)
{
    struct faults faults = {.ring_errno = refusal};
    struct outcome outcome = load(&faults, WLOAD_READER_AUTO, WLOAD_IO_AUTO);

    CHECK_EQ(outcome.rc, WLOAD_OK);
    CHECK_EQ(outcome.stats.reader_kind, WLOAD_READER_PREAD);
    CHECK(strstr(outcome.reader_note, name) != NULL);
    outcome = load(&faults, WLOAD_READER_URING, WLOAD_IO_AUTO);
    CHECK_EQ(outcome.rc, WLOAD_ERR_UNSUPPORTED);
    CHECK_EQ(outcome.err.sys_errno, refusal);
    CHECK(strstr(outcome.err.message, name) != NULL);
}

static void check_no_direct(bool at_read)
{
    struct faults faults = {
        .refuses_at_open = !at_read,
        .refuses_at_read = at_read,
        .denies_residency = true, /* else what was just written is read from the page cache */
    };

    for (uint32_t reader = WLOAD_READER_AUTO; reader <= WLOAD_READER_PREAD; reader++) {
        struct outcome outcome;

        if (reader == WLOAD_READER_URING && !has_uring) {
            continue;
        }
        outcome = load(&faults, reader, WLOAD_IO_AUTO);
        CHECK_EQ(outcome.rc, WLOAD_OK);
        CHECK_EQ(outcome.stats.direct_bytes, 0);
        CHECK(strstr(outcome.io_note, "EINVAL") != NULL);
        CHECK(strstr(outcome.io_note, path) != NULL);
        outcome = load(&faults, reader, WLOAD_IO_DIRECT);
        CHECK(outcome.rc < 0);
        CHECK_EQ(outcome.err.sys_errno, EINVAL);
        CHECK(strstr(outcome.err.message, "O_DIRECT") != NULL);
        CHECK(strstr(outcome.err.message, "EINVAL") != NULL);
        CHECK_EQ(outcome.err.memory_state,
                 at_read ? WLOAD_MEMORY_PARTLY_WRITTEN : WLOAD_MEMORY_UNTOUCHED);
    }
}

static void check_slow_rungs(void)
{
    static const struct faults rungs[] = {
        {.refuses_buffers = true},
        {.denies_residency = true},
        {.hides_residency = true},
        {.claims_residency = true},
        {.is_short = true},
        {.is_short = true, .denies_residency = true},
        {.is_short = true, .denies_residency = true, .refuses_at_read = true},
        {.is_short = true, .claims_residency = true},
    };

    for (size_t i = 0; i < sizeof(rungs) / sizeof(rungs[0]); i++) {
        for (uint32_t reader = WLOAD_READER_AUTO; reader <= WLOAD_READER_PREAD; reader++) {
            for (uint32_t io = WLOAD_IO_AUTO; io <= WLOAD_IO_BUFFERED; io++) {
                struct outcome outcome;

                if ((rungs[i].refuses_at_read && io == WLOAD_IO_DIRECT) ||
                    (reader == WLOAD_READER_URING && !has_uring)) {
                    continue;
                }
                outcome = load(&rungs[i], reader, io);
                CHECK_EQ(outcome.rc, WLOAD_OK);
                CHECK(io != WLOAD_IO_AUTO || !rungs[i].claims_residency ||
                      outcome.stats.direct_bytes == 0);
            }
        }
    }
}

int main(void)
{
    struct wload_error err;

    path = sample_write("model.safetensors", 3000000, 11);
    CHECK_OK(wload_model_open(NULL, path, NULL, &model, &err), &err);
    has_uring = sample_has_uring();
    check_no_uring(EPERM, "EPERM");
    check_no_uring(ENOSYS, "ENOSYS");
    check_no_direct(false);
    check_no_direct(true);
    check_slow_rungs();
    wload_model_free(model);
    return 0;
}
