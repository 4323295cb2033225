/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a load survives the failure of any one system call or allocation.
 * Method: fail the first call of a whole load, then the second, ... until the
 * fault is no longer reached; with both readers, into an arena, to the caller's
 * memory and into a sink.  After each: the right bytes, or an error with a
 * message; no descriptor and no block of memory is left.  A last run asserts
 * that the loop allocates nothing.
 */
#include <stdbool.h>
#include <sys/stat.h>

#include "faults.h"
#include "sample.h"
#include "test.h"

#define MEMORY_BYTES (4u << 20)

enum destination {
    INTO_ARENA,
    INTO_MEMORY,
    INTO_SINK,
    DESTINATION_COUNT
};

struct load {
    struct wload_model *model;
    uint64_t landed;
    uint64_t used_bytes;
};

static uint8_t memory[MEMORY_BYTES];
static const char *path;

static int on_landed(void *user, const struct wload_tensor *tensor, void *address)
{
    struct load *load = user;

    load->landed++;
    if (address) {
        CHECK(sample_is_equal(load->model, tensor, 0, address, tensor->size_bytes));
    }
    return 0;
}

static int on_place(void *user, const struct wload_tensor *tensor, void **address)
{
    struct load *load = user;

    *address = memory + load->used_bytes;
    load->used_bytes += tensor->size_bytes;
    CHECK(load->used_bytes <= MEMORY_BYTES);
    return 0;
}

static int on_chunk(void *user, const struct wload_chunk *chunk)
{
    struct load *load = user;

    CHECK(sample_is_equal(load->model, chunk->tensor, chunk->tensor_offset, chunk->data,
                          chunk->size_bytes));
    wload_chunk_release(chunk);
    return 0;
}

static int load_once(uint32_t reader_kind, enum destination destination, struct wload_error *err)
{
    struct load load = {0};
    struct wload_job_options options = {
        .struct_size = sizeof(options),
        .device_kind = WLOAD_DEVICE_HOST,
        .reader_kind = reader_kind,
        .chunk_bytes = 256u << 10,
        .on_place = destination == INTO_MEMORY ? on_place : NULL,
        .on_chunk = destination == INTO_SINK ? on_chunk : NULL,
        .on_landed = on_landed,
        .user = &load,
    };
    struct wload_job *job = NULL;
    int rc = wload_model_open(NULL, path, NULL, &load.model, err);

    if (rc == WLOAD_OK) {
        rc = wload_job_start(load.model, &options, &job, err);
    }
    if (rc == WLOAD_OK) {
        uint64_t before = faults_allocations();

        rc = wload_job_run(job, -1, err);
        CHECK_EQ(faults_allocations(), before); /* the loop allocates nothing */
    }
    if (rc == WLOAD_OK) {
        CHECK_EQ(load.landed, wload_model_info(load.model)->tensor_count);
    }
    wload_job_free(job);
    wload_model_free(load.model);
    return rc;
}

/* Fail call number fail_at.  Returns whether it was reached. */
static bool try_fault(uint32_t reader_kind, enum destination destination, uint64_t fail_at,
                      unsigned *failures)
{
    struct faults faults = {.fail_at = fail_at};
    struct wload_error err = {0};
    unsigned descriptors = faults_open_descriptors();
    uint64_t calls;
    int rc;

    faults_begin(&faults);
    rc = load_once(reader_kind, destination, &err);
    calls = faults_end();
    CHECK_EQ(faults_live_blocks(), 0);
    CHECK_EQ(faults_open_descriptors(), descriptors);
    CHECK_EQ(err.code, rc);
    if (rc < 0) {
        (*failures)++;
        CHECK(err.message[0] != '\0');
    }
    return calls >= fail_at;
}

int main(void)
{
    path = sample_write("model.safetensors", 1500000, 5);
    for (uint32_t reader = WLOAD_READER_AUTO; reader <= WLOAD_READER_PREAD; reader++) {
        for (int into = 0; into < DESTINATION_COUNT; into++) {
            uint64_t fail_at = 1;
            unsigned failures = 0;

            while (try_fault(reader, (enum destination)into, fail_at, &failures)) {
                fail_at++;
            }
            CHECK(fail_at > 20); /* the table was really in the way */
            CHECK(failures > 10);
        }
    }
    return 0;
}
