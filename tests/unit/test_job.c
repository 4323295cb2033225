/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a load through the public header does what the header says.
 * Method: one model of two files; every destination, reader, policy and chunk
 * size; each landed tensor is compared with plain reads of the file.  Then the
 * edges: selection, time-outs, cancel from another thread, callbacks that stop,
 * arenas used again and, by the double of the drivers, on another device, chunks
 * released late, elsewhere and slowly, more files than may be open, wrong use.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver.h"
#include "loader/arena.h"
#include "sample.h"
#include "test.h"
#include "tree.h"

#define HELD_MAX 4096

static struct wload_model *model;

struct load {
    unsigned landed[1024];
    void *addresses[1024];
    uint8_t *memory; /* of on_place */
    uint64_t used_bytes;
    const struct wload_chunk *held[HELD_MAX];
    unsigned held_count;
    unsigned stop_after; /* 0: never */
    unsigned events;
    bool keeps_chunks;
};

static int on_landed(void *user, const struct wload_tensor *tensor, void *address)
{
    struct load *load = user;

    load->landed[tensor->tensor_index]++;
    load->addresses[tensor->tensor_index] = address;
    if (!load->memory) { /* in an arena, or NULL */
        CHECK_EQ((uintptr_t)address % ((tensor->element_bits + 7) / 8), 0);
    }
    if (address) {
        CHECK(sample_is_equal(model, tensor, 0, address, tensor->size_bytes));
    }
    return load->stop_after != 0 && ++load->events == load->stop_after;
}

static int on_place(void *user, const struct wload_tensor *tensor, void **address)
{
    struct load *load = user;

    *address = load->memory + load->used_bytes;
    load->used_bytes += tensor->size_bytes + tensor->tensor_index % 3;
    return 0;
}

static int on_chunk(void *user, const struct wload_chunk *chunk)
{
    struct load *load = user;

    CHECK(sample_is_equal(model, chunk->tensor, chunk->tensor_offset, chunk->data,
                          chunk->size_bytes));
    if (load->keeps_chunks) {
        CHECK(load->held_count < HELD_MAX);
        load->held[load->held_count++] = chunk;
        return 0;
    }
    wload_chunk_release(chunk);
    return 0;
}

static void check_all_landed(const struct load *load)
{
    for (uint32_t i = 0; i < wload_model_info(model)->tensor_count; i++) {
        CHECK_EQ(load->landed[i], 1);
    }
}

static struct wload_stats stats_of(const struct wload_job *job)
{
    struct wload_stats stats = {.struct_size = sizeof(stats)};

    wload_job_stats(job, &stats);
    return stats;
}

/* One whole load; returns its stats (without notes: the job is gone). */
static struct wload_stats run(struct wload_job_options *options)
{
    struct wload_stats stats;
    struct wload_error err;
    struct wload_job *job;

    options->struct_size = sizeof(*options);
    CHECK_OK(wload_job_start(model, options, &job, &err), &err);
    CHECK_OK(wload_job_run(job, -1, &err), &err);
    CHECK_OK(wload_job_run(job, -1, &err), &err); /* done stays done */
    stats = stats_of(job);
    CHECK_EQ(stats.landed_bytes, stats.tensor_bytes);
    CHECK(stats.direct_bytes + stats.buffered_bytes >= stats.tensor_bytes);
    wload_job_free(job);
    return stats;
}

static void check_destinations(uint32_t reader_kind, uint32_t io_policy, uint64_t chunk_bytes)
{
    struct load load = {0};
    struct wload_job_options options = {.device_kind = WLOAD_DEVICE_HOST,
                                        .reader_kind = reader_kind,
                                        .io_policy = io_policy,
                                        .chunk_bytes = chunk_bytes,
                                        .staging_bytes = 32u << 20,
                                        .on_landed = on_landed,
                                        .user = &load};
    struct wload_stats stats = run(&options);

    check_all_landed(&load);
    CHECK_EQ(stats.reader_kind, reader_kind);
    CHECK(stats.straight_bytes > stats.tensor_bytes / 2);
    CHECK(io_policy != WLOAD_IO_BUFFERED || stats.direct_bytes == 0);

    load = (struct load){.memory = malloc(wload_model_info(model)->tensor_bytes + 4096)};
    options.on_place = on_place;
    stats = run(&options);
    check_all_landed(&load);
    CHECK(stats.straight_bytes < stats.tensor_bytes); /* whole chunks alone need no copy */
    CHECK(stats.staging_bytes > 0 && stats.staging_bytes <= options.staging_bytes);
    free(load.memory);

    load = (struct load){0};
    options.on_place = NULL;
    options.on_chunk = on_chunk;
    run(&options);
    check_all_landed(&load);
}

static void check_selection(void)
{
    const char *const patterns[] = {"a/layer.1?.weight", "b/layer.3.weight"};
    const char *const missing[] = {"a/layer.*", "no such tensor"};
    struct load load = {0};
    struct wload_job_options options = {.device_kind = WLOAD_DEVICE_HOST,
                                        .patterns = patterns,
                                        .pattern_count = 2,
                                        .on_landed = on_landed,
                                        .user = &load};
    struct wload_stats stats = run(&options);
    struct wload_error err;
    struct wload_job *job;

    CHECK_EQ(stats.tensor_count, 11);
    for (uint32_t i = 0; i < wload_model_info(model)->tensor_count; i++) {
        const char *name = wload_model_tensor(model, i)->name;
        bool is_wanted = strcmp(name, patterns[1]) == 0 ||
                         (strncmp(name, "a/layer.1", 9) == 0 && strlen(name) == 17);

        CHECK_EQ(load.landed[i], is_wanted);
    }
    options.patterns = missing;
    CHECK_EQ(wload_job_start(model, &options, &job, &err), WLOAD_ERR_NOT_FOUND);
    CHECK(strstr(err.message, "no such tensor") != NULL);
}

/* The second job lands in the memory of the first, and finds it faulted in. */
static void check_arena(void)
{
    struct load first = {0}, second = {0};
    struct wload_job_options options = {.on_landed = on_landed, .user = &first};
    struct wload_error err;
    struct wload_job *job, *other;
    const struct wload_tensor *tensor = wload_model_tensor(model, 0);
    uint8_t *copy = malloc(tensor->size_bytes + 1);

    CHECK_OK(wload_arena_new(NULL, WLOAD_DEVICE_HOST, 0, &options.arena, &err), &err);
    run(&options);
    options.user = &second;
    run(&options);
    CHECK(memcmp(first.addresses, second.addresses, sizeof(first.addresses)) == 0);
    CHECK_OK(wload_arena_read(options.arena, second.addresses[0], tensor->size_bytes, copy, &err),
             &err);
    CHECK(sample_is_equal(model, tensor, 0, copy, tensor->size_bytes));
    CHECK_EQ(wload_arena_read(options.arena, copy, 1, copy, &err), WLOAD_ERR_INVALID);

    CHECK_OK(wload_job_start(model, &options, &job, &err), &err);
    CHECK_EQ(wload_job_start(model, &options, &other, &err), WLOAD_ERR_INVALID); /* in use */
    wload_job_free(job);                                                         /* never run */
    wload_arena_free(options.arena);
    free(copy);
}

/* An arena counts as faulted in where a job has filled it, not where it wanted little of it. */
static void check_touched(void)
{
    const char *const pattern = "layer.3.weight";
    const char *path = sample_write("e.safetensors", 20u << 20, 6);
    struct wload_job_options options = {.patterns = &pattern, .pattern_count = 1};
    struct wload_model *whole = model;
    struct wload_error err;

    CHECK_OK(wload_model_open(NULL, path, NULL, &model, &err), &err);
    CHECK_OK(wload_arena_new(NULL, WLOAD_DEVICE_HOST, 0, &options.arena, &err), &err);
    run(&options);
    CHECK(options.arena->size_bytes > 0);
    CHECK_EQ(options.arena->touched_bytes, 0);
    options.patterns = NULL;
    options.pattern_count = 0;
    run(&options);
    CHECK(options.arena->touched_bytes >= wload_model_info(model)->tensor_bytes);
    wload_arena_free(options.arena);
    wload_model_free(model);
    model = whole;
    CHECK_EQ(unlink(path), 0);
}

static void check_timeout(void)
{
    struct load load = {0};
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .device_kind = WLOAD_DEVICE_HOST,
                                        .on_landed = on_landed,
                                        .chunk_bytes = 64u << 10,
                                        .user = &load};
    struct wload_error err;
    struct wload_job *job;
    int rc;

    CHECK_OK(wload_job_start(model, &options, &job, &err), &err);
    do {
        rc = wload_job_run(job, 0, &err);
    } while (rc == WLOAD_PENDING);
    CHECK_EQ(rc, WLOAD_OK);
    check_all_landed(&load);
    wload_job_free(job);
}

struct keeper {
    struct wload_job *job;
    struct load *load;
    sem_t is_full;
};

static void *release_all(void *argument)
{
    struct keeper *keeper = argument;

    (void)sem_wait(&keeper->is_full);
    for (unsigned i = 0; i < keeper->load->held_count; i++) {
        wload_chunk_release(keeper->load->held[i]);
    }
    return NULL;
}

/* A sink that holds everything stops the reading; releases from elsewhere let it go on. */
static void check_held_chunks(void)
{
    struct load load = {.keeps_chunks = true};
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .on_chunk = on_chunk,
                                        .on_landed = on_landed,
                                        .chunk_bytes = 64u << 10,
                                        .staging_bytes = 128u << 10,
                                        .user = &load};
    struct keeper keeper = {.load = &load};
    struct wload_error err;
    struct wload_stats stats;
    pthread_t thread;

    CHECK_EQ(sem_init(&keeper.is_full, 0, 0), 0);
    CHECK_OK(wload_job_start(model, &options, &keeper.job, &err), &err);
    while (load.held_count < options.staging_bytes / options.chunk_bytes) {
        CHECK_EQ(wload_job_run(keeper.job, 1, &err), WLOAD_PENDING);
    }
    CHECK_EQ(wload_job_run(keeper.job, 20, &err), WLOAD_PENDING);
    stats = stats_of(keeper.job);
    CHECK_EQ(stats.staging_bytes, options.staging_bytes);
    CHECK(stats.wait_device_ns > 0);
    load.keeps_chunks = false;
    CHECK_EQ(pthread_create(&thread, NULL, release_all, &keeper), 0);
    CHECK_EQ(sem_post(&keeper.is_full), 0);
    CHECK_OK(wload_job_run(keeper.job, -1, &err), &err);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    check_all_landed(&load);
    wload_job_free(keeper.job);
    CHECK_EQ(sem_destroy(&keeper.is_full), 0);
}

/* The wake of a release, which takes its time. */
static struct {
    sem_t has_begun;
    atomic_bool is_slow;
    atomic_bool is_over;
} wake;

/* Instead of the C library's: this is how the reader of io_uring is woken. */
int eventfd_write(int fd, eventfd_t value)
{
    if (atomic_load(&wake.is_slow)) {
        (void)sem_post(&wake.has_begun);
        for (unsigned i = 0; i < 20000; i++) {
            (void)sched_yield();
        }
        atomic_store(&wake.is_over, true);
    }
    return write(fd, &value, sizeof(value)) == sizeof(value) ? 0 : -1;
}

static void *release_slowly(void *argument)
{
    atomic_store(&wake.is_slow, true);
    wload_chunk_release(argument);
    atomic_store(&wake.is_slow, false);
    return NULL;
}

/* The last release lets the load end before it has itself come to its end: the job waits for it. */
static void check_slow_release(void)
{
    struct load load = {.keeps_chunks = true};
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .on_chunk = on_chunk,
                                        .reader_kind = WLOAD_READER_URING,
                                        .user = &load};
    struct wload_error err;
    struct wload_job *job;
    uint64_t held_bytes = 0;
    pthread_t thread;

    CHECK_EQ(sem_init(&wake.has_begun, 0, 0), 0);
    CHECK_OK(wload_job_start(model, &options, &job, &err), &err);
    for (unsigned i = 0; held_bytes < stats_of(job).tensor_bytes;) {
        CHECK_EQ(wload_job_run(job, 0, &err), WLOAD_PENDING);
        while (i < load.held_count) {
            held_bytes += load.held[i++]->size_bytes;
        }
    }
    while (load.held_count > 1) {
        wload_chunk_release(load.held[--load.held_count]);
    }
    CHECK_EQ(pthread_create(&thread, NULL, release_slowly, (void *)(uintptr_t)load.held[0]), 0);
    (void)sem_wait(&wake.has_begun);
    while (wload_job_run(job, 0, &err) == WLOAD_PENDING) {
    }
    wload_job_free(job);
    CHECK(atomic_load(&wake.is_over));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(sem_destroy(&wake.has_begun), 0);
}

static void *cancel(void *argument)
{
    wload_job_cancel(argument);
    return NULL;
}

/* A sink that never releases would wait for ever, but for the cancel. */
static void check_cancel(void)
{
    struct load load = {.keeps_chunks = true};
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .on_chunk = on_chunk,
                                        .chunk_bytes = 64u << 10,
                                        .staging_bytes = 64u << 10,
                                        .user = &load};
    struct wload_error err;
    struct wload_job *job;
    pthread_t thread;

    CHECK_OK(wload_job_start(model, &options, &job, &err), &err);
    CHECK_EQ(pthread_create(&thread, NULL, cancel, job), 0);
    CHECK_EQ(wload_job_run(job, -1, &err), WLOAD_ERR_CANCELED);
    CHECK_EQ(err.memory_state, WLOAD_MEMORY_UNTOUCHED);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(wload_job_run(job, -1, &err), WLOAD_ERR_INVALID); /* only to be freed */
    wload_job_free(job);
}

struct elsewhere {
    struct wload_job *job;
    struct wload_error err;
};

static void *run_elsewhere(void *argument)
{
    struct elsewhere *elsewhere = argument;

    CHECK_EQ(wload_job_run(elsewhere->job, -1, &elsewhere->err), WLOAD_ERR_INVALID);
    return NULL;
}

static void check_elsewhere(struct wload_job *job, uint32_t memory_state)
{
    struct elsewhere elsewhere = {.job = job};
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, run_elsewhere, &elsewhere), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(elsewhere.err.memory_state, memory_state);
}

static void check_callback_stops(void)
{
    struct load load = {.stop_after = 40};
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .device_kind = WLOAD_DEVICE_HOST,
                                        .on_landed = on_landed,
                                        .user = &load};
    struct wload_error err;
    struct wload_job *job;

    CHECK_OK(wload_job_start(model, &options, &job, &err), &err);
    CHECK_EQ(wload_job_run(job, -1, &err), WLOAD_ERR_CALLBACK);
    CHECK_EQ(err.code, WLOAD_ERR_CALLBACK);
    CHECK(strstr(err.message, "layer.") != NULL);
    CHECK_EQ(err.memory_state, WLOAD_MEMORY_PARTLY_WRITTEN);
    CHECK_EQ(load.events, 40);
    err.memory_state = WLOAD_MEMORY_UNTOUCHED;
    CHECK_EQ(wload_job_run(job, -1, &err), WLOAD_ERR_INVALID);
    CHECK_EQ(err.memory_state, WLOAD_MEMORY_PARTLY_WRITTEN);
    check_elsewhere(job, WLOAD_MEMORY_PARTLY_WRITTEN);
    wload_job_free(job);
}

struct nested {
    struct wload_job *job;
    unsigned refused;
};

static int run_again(void *user, const struct wload_tensor *tensor, void *address)
{
    struct nested *nested = user;
    struct wload_error err;

    (void)tensor;
    (void)address;
    CHECK_EQ(wload_job_run(nested->job, -1, &err), WLOAD_ERR_INVALID);
    CHECK(strstr(err.message, "callback") != NULL);
    nested->refused++;
    return 0;
}

/* A callback that runs its own job is refused, and the load goes on. */
static void check_nested_run(void)
{
    struct nested nested = {0};
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .device_kind = WLOAD_DEVICE_HOST,
                                        .on_landed = run_again,
                                        .user = &nested};
    struct wload_error err;

    CHECK_OK(wload_job_start(model, &options, &nested.job, &err), &err);
    CHECK_OK(wload_job_run(nested.job, -1, &err), &err);
    CHECK_EQ(nested.refused, wload_model_info(model)->tensor_count);
    wload_job_free(nested.job);
}

static void check_misuse(void)
{
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .device_kind = WLOAD_DEVICE_HOST};
    struct {
        struct wload_job_options options;
        uint64_t newer;
    } future = {.options = {.struct_size = sizeof(future)}};
    struct wload_stats stats = {.struct_size = sizeof(stats), .tensor_count = 7};
    struct wload_error err;
    struct wload_job *job;

    CHECK_EQ(wload_job_start(NULL, &options, &job, &err), WLOAD_ERR_INVALID);
    options.chunk_bytes = 100000;
    CHECK_EQ(wload_job_start(model, &options, &job, &err), WLOAD_ERR_INVALID);
    options.chunk_bytes = 1u << 20;
    options.staging_bytes = 1000;
    CHECK_EQ(wload_job_start(model, &options, &job, NULL), WLOAD_ERR_INVALID);
    options.staging_bytes = 0;
    options.queue_depth = 100000;
    CHECK_EQ(wload_job_start(model, &options, &job, &err), WLOAD_ERR_INVALID);
    options.queue_depth = 0;
    options.on_chunk = on_chunk;
    options.on_place = on_place;
    CHECK_EQ(wload_job_start(model, &options, &job, &err), WLOAD_ERR_INVALID);
    future.newer = 1;
    CHECK_EQ(wload_job_start(model, &future.options, &job, &err), WLOAD_ERR_UNSUPPORTED);
    future.options = (struct wload_job_options){0};
    CHECK_EQ(wload_job_start(model, &future.options, &job, &err), WLOAD_ERR_INVALID);

    options.on_chunk = NULL;
    options.on_place = NULL;
    CHECK_OK(wload_job_start(model, &options, &job, &err), &err);
    check_elsewhere(job, WLOAD_MEMORY_UNTOUCHED);
    wload_job_stats(job, NULL);
    wload_job_free(job);
    wload_job_stats(NULL, &stats);
    CHECK_EQ(stats.tensor_count, 7);
    CHECK_EQ(wload_job_run(NULL, -1, &err), WLOAD_ERR_INVALID);
    wload_job_free(NULL);
    wload_job_cancel(NULL);
    wload_chunk_release(NULL);
    wload_arena_free(NULL);
}

/* The file behind a model may be replaced: a job says so before it touches anything. */
static void check_replaced_file(void)
{
    struct wload_model *old;
    struct wload_error err;
    struct wload_job *job;
    const char *path = sample_write("c.safetensors", 100000, 3);

    CHECK_OK(wload_model_open(NULL, path, NULL, &old, &err), &err);
    path = sample_write("c.safetensors", 100000, 4);
    CHECK_EQ(wload_job_start(old, NULL, &job, &err), WLOAD_ERR_IO);
    CHECK(strstr(err.message, "c.safetensors") != NULL);
    wload_model_free(old);
    CHECK_EQ(unlink(path), 0);
}

/* A model of more files than may be open at once: the error says what to do. */
static void check_many_files(void)
{
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .device_kind = WLOAD_DEVICE_HOST};
    struct rlimit limit, few;
    struct wload_model *many;
    struct wload_error err;
    struct wload_job *job;

    for (unsigned i = 0; i < 40; i++) {
        char name[32], tensor[32];

        (void)snprintf(name, sizeof(name), "many/%u.safetensors", i);
        (void)snprintf(tensor, sizeof(tensor), "t%u", i);
        tree_write_tensors(name, tensor);
    }
    CHECK_OK(wload_model_open(NULL, tree_path("many"), NULL, &many, &err), &err);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = (struct rlimit){.rlim_cur = 32, .rlim_max = limit.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    CHECK_EQ(wload_job_start(many, &options, &job, NULL), WLOAD_ERR_IO);
    CHECK_EQ(wload_job_start(many, &options, &job, &err), WLOAD_ERR_IO);
    CHECK_EQ(err.sys_errno, EMFILE);
    CHECK(strstr(err.message, "40 files takes 80 descriptors") != NULL);
    CHECK(strstr(err.message, "32 open") != NULL && strstr(err.message, "ulimit -n") != NULL);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_OK(wload_job_start(many, &options, &job, &err), &err);
    wload_job_free(job);
    wload_model_free(many);
}

static int shrink(void *user, const struct wload_tensor *tensor, void *address)
{
    (void)tensor;
    (void)address;
    CHECK_EQ(truncate(user, 900000), 0);
    return 0;
}

/* A file that loses its end while it is read is an error that names the place. */
static void check_shrinking_file(uint32_t io_policy)
{
    char path[SAMPLE_PATH_BYTES];
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .device_kind = WLOAD_DEVICE_HOST,
                                        .io_policy = io_policy,
                                        .chunk_bytes = 64u << 10,
                                        .staging_bytes = 64u << 10,
                                        .on_landed = shrink,
                                        .user = path};
    struct wload_model *shrinking;
    struct wload_error err;
    struct wload_job *job;

    (void)snprintf(path, sizeof(path), "%s", sample_write("d.safetensors", 2000000, 5));
    CHECK_OK(wload_model_open(NULL, path, NULL, &shrinking, &err), &err);
    CHECK_OK(wload_job_start(shrinking, &options, &job, &err), &err);
    CHECK_EQ(wload_job_run(job, -1, &err), WLOAD_ERR_FORMAT);
    CHECK(strstr(err.message, "d.safetensors") != NULL && strstr(err.message, "shrank") != NULL);
    CHECK(err.file_offset >= 900000 - 4096);
    CHECK_EQ(err.memory_state, WLOAD_MEMORY_PARTLY_WRITTEN);
    wload_job_free(job);
    wload_model_free(shrinking);
    CHECK_EQ(unlink(path), 0);
}

static void open_model(void)
{
    static const char *const index = "{\"_class_name\":\"Sample\",\"a\":[\"l\",\"C\"],"
                                     "\"b\":[\"l\",\"C\"]}";
    char path[SAMPLE_PATH_BYTES];
    struct wload_error err;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/a", sample_dir());
    CHECK_EQ(mkdir(path, 0755), 0);
    (void)snprintf(path, sizeof(path), "%s/b", sample_dir());
    CHECK_EQ(mkdir(path, 0755), 0);
    (void)sample_write("a/model.safetensors", 9u << 20, 1);
    (void)sample_write("b/model.safetensors", 700000, 2);
    (void)snprintf(path, sizeof(path), "%s/model_index.json", sample_dir());
    file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK(fputs(index, file) >= 0);
    CHECK_EQ(fclose(file), 0);
    CHECK_OK(wload_model_open(NULL, sample_dir(), NULL, &model, &err), &err);
    CHECK(wload_model_info(model)->tensor_count <= 1024);
}

/* On a machine with two devices: a job that says where its arena is says so rightly. */
static void check_arena_elsewhere(void)
{
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .device_kind = WLOAD_DEVICE_CUDA};
    struct wload_error err;
    struct wload_job *job;

    driver_attach();
    driver_set("DEVICES=2");
    CHECK_OK(wload_arena_new(NULL, WLOAD_DEVICE_CUDA, 1, &options.arena, &err), &err);
    CHECK_EQ(wload_job_start(model, &options, &job, &err), WLOAD_ERR_INVALID);
    CHECK(strstr(err.message, "cuda:1") != NULL);
    options.device_kind = WLOAD_DEVICE_HOST;
    options.device_index = 1;
    CHECK_EQ(wload_job_start(model, &options, &job, &err), WLOAD_ERR_INVALID);
    options.device_kind = WLOAD_DEVICE_CUDA;
    run(&options);
    options.device_kind = WLOAD_DEVICE_AUTO;
    options.device_index = 0;
    CHECK_EQ(run(&options).device_index, 1);
    wload_arena_free(options.arena);
    driver_check_clean();
}

int main(int argc, char **argv)
{
    bool has_uring;

    (void)argv;
    open_model();
    if (argc > 1) {
        check_arena_elsewhere();
        wload_model_free(model);
        return 0;
    }
    CHECK_EQ(driver_run("", "two devices", NULL, NULL, 0), 0);
    has_uring = sample_has_uring();
    for (uint32_t reader = WLOAD_READER_URING; reader <= WLOAD_READER_PREAD; reader++) {
        if (reader == WLOAD_READER_URING && !has_uring) {
            continue;
        }
        for (uint32_t io = WLOAD_IO_AUTO; io <= WLOAD_IO_BUFFERED; io++) {
            check_destinations(reader, io, 64u << 10);
            check_destinations(reader, io, 1u << 20);
            check_destinations(reader, io, 16u << 20);
        }
    }
    check_selection();
    check_arena();
    check_touched();
    check_timeout();
    check_held_chunks();
    if (has_uring) {
        check_slow_release();
    }
    check_cancel();
    check_callback_stops();
    check_nested_run();
    check_misuse();
    check_replaced_file();
    check_many_files();
    check_shrinking_file(WLOAD_IO_BUFFERED);
    check_shrinking_file(WLOAD_IO_DIRECT);
    wload_model_free(model);
    return 0;
}
