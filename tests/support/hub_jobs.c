/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs of a model on a hub, through the public header; net/test_jobs.py runs them:
 *
 *   hub_jobs load SPEC [DIR]    one, with the plain directory DIR instead of the cache
 *   hub_jobs two SPEC           two, of which the one that is started last is run first
 *   hub_jobs slow SPEC          one, with a disk that is not done when all has landed
 *   hub_jobs cancel SPEC        the same, canceled then
 *   hub_jobs few SPEC           one, with no descriptors for locks
 *   hub_jobs check SPEC DIR     one, with a disk that is slow to read what lies in DIR already
 *   hub_jobs leave SPEC DIR     the same, canceled meanwhile
 *   hub_jobs stop SPEC          none: opening the model is stopped while its headers come
 *
 * Prints of each that ends well a number that all bytes of all tensors make, and how many bytes
 * were received.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "base/sys.h"
#include "test.h"
#include "wload.h"

#define TENSORS_MAX 64u

struct load {
    struct wload_model *model;
    struct wload_job *job;
    const uint8_t *addresses[TENSORS_MAX];
};

static int on_landed(void *user, const struct wload_tensor *tensor, void *address)
{
    struct load *load = user;

    load->addresses[tensor->tensor_index] = address;
    return 0;
}

static struct wload_model *open_model(const char *spec, const char *local_dir)
{
    const struct wload_snapshot_options snapshot = {.struct_size = sizeof(snapshot),
                                                    .local_dir = local_dir};
    const struct wload_model_options options = {.struct_size = sizeof(options),
                                                .snapshot = &snapshot};
    struct wload_model *model;
    struct wload_error err;

    CHECK_OK(wload_model_open(NULL, spec, &options, &model, &err), &err);
    CHECK(wload_model_info(model)->tensor_count <= TENSORS_MAX);
    return model;
}

static void start(struct load *load, struct wload_model *model)
{
    const struct wload_job_options options = {.struct_size = sizeof(options),
                                              .device_kind = WLOAD_DEVICE_HOST,
                                              .on_landed = on_landed,
                                              .user = load};
    struct wload_error err;

    load->model = model;
    CHECK_OK(wload_job_start(model, &options, &load->job, &err), &err);
}

static struct wload_stats stats_of(const struct load *load)
{
    struct wload_stats stats = {.struct_size = sizeof(stats)};

    wload_job_stats(load->job, &stats);
    return stats;
}

/* Run it to its end, say what came, and free it. */
static void finish(struct load *load)
{
    uint64_t sum = 0xcbf29ce484222325u;
    struct wload_error err;

    CHECK_OK(wload_job_run(load->job, -1, &err), &err);
    for (uint32_t i = 0; i < wload_model_info(load->model)->tensor_count; i++) {
        for (uint64_t at = 0; at < wload_model_tensor(load->model, i)->size_bytes; at++) {
            sum = (sum ^ load->addresses[i][at]) * 0x100000001b3u;
        }
    }
    (void)printf("%" PRIu64 " %" PRIu64 "\n", sum, stats_of(load).network_bytes);
    wload_job_free(load->job);
}

static void load_once(struct wload_model *model)
{
    struct load load = {0};

    start(&load, model);
    finish(&load);
}

static void load_twice(struct wload_model *model)
{
    struct load first = {0}, second = {0};

    start(&first, model);
    start(&second, model);
    finish(&second);
    finish(&first);
}

/* ---- A disk that takes its time -------------------------------------------------------------- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_stuck;
    bool is_asked; /* somebody waits for it */
} disk = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void wait_for_disk(void)
{
    (void)pthread_mutex_lock(&disk.mutex);
    disk.is_asked = true;
    while (disk.is_stuck) {
        (void)pthread_cond_wait(&disk.changed, &disk.mutex);
    }
    (void)pthread_mutex_unlock(&disk.mutex);
}

static int slow_fsync(int fd)
{
    wait_for_disk();
    return wl_sys_real.fsync(fd);
}

/* Of what is hashed: nothing else is read in parts as large as these. */
static ssize_t slow_pread(int fd, void *memory, size_t size_bytes, off_t offset)
{
    if (size_bytes == 1u << 20) {
        wait_for_disk();
    }
    return wl_sys_real.pread(fd, memory, size_bytes, offset);
}

static void set_stuck(bool is_stuck)
{
    (void)pthread_mutex_lock(&disk.mutex);
    disk.is_stuck = is_stuck;
    disk.is_asked = false;
    (void)pthread_cond_broadcast(&disk.changed);
    (void)pthread_mutex_unlock(&disk.mutex);
}

static bool is_asked(void)
{
    bool is_asked;

    (void)pthread_mutex_lock(&disk.mutex);
    is_asked = disk.is_asked;
    (void)pthread_mutex_unlock(&disk.mutex);
    return is_asked;
}

/* Start it, and run it until there is nothing left but to wait for the disk. */
static void load_but_for_the_disk(struct load *load, struct wload_model *model)
{
    struct wload_error err;

    start(load, model);
    set_stuck(true);
    do {
        CHECK_EQ(wload_job_run(load->job, 1, &err), WLOAD_PENDING);
    } while (stats_of(load).landed_bytes < stats_of(load).tensor_bytes || !is_asked());
    CHECK_EQ(wload_job_run(load->job, 0, &err), WLOAD_PENDING);
}

static void load_slowly(struct wload_model *model)
{
    struct load load = {0};

    load_but_for_the_disk(&load, model);
    set_stuck(false);
    finish(&load);
}

static void *cancel(void *job)
{
    wload_job_cancel(job);
    return NULL;
}

static void load_and_cancel(struct wload_model *model)
{
    struct load load = {0};
    struct wload_error err;
    pthread_t thread;

    load_but_for_the_disk(&load, model);
    CHECK_EQ(pthread_create(&thread, NULL, cancel, load.job), 0);
    CHECK_EQ(wload_job_run(load.job, -1, &err), WLOAD_ERR_CANCELED);
    CHECK_EQ(err.code, WLOAD_ERR_CANCELED);
    CHECK_EQ(err.memory_state, WLOAD_MEMORY_PARTLY_WRITTEN);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(wload_job_run(load.job, -1, &err), WLOAD_ERR_INVALID); /* only to be freed */
    set_stuck(false);
    wload_job_free(load.job);
}

/* ---- What lies there already ---------------------------------------------------------------- */

/* Start it, and run it until it waits to know what lies there. */
static void load_but_for_the_check(struct load *load, struct wload_model *model)
{
    struct wload_error err;

    start(load, model);
    set_stuck(true);
    do {
        CHECK_EQ(wload_job_run(load->job, 1, &err), WLOAD_PENDING);
    } while (!is_asked());
    CHECK_EQ(wload_job_run(load->job, 0, &err), WLOAD_PENDING);
    CHECK_EQ(stats_of(load).landed_bytes, 0);
}

static void load_checked(struct wload_model *model)
{
    struct load load = {0};

    load_but_for_the_check(&load, model);
    set_stuck(false);
    finish(&load);
}

static void load_and_leave(struct wload_model *model)
{
    struct load load = {0};
    struct wload_error err;

    load_but_for_the_check(&load, model);
    wload_job_cancel(load.job);
    CHECK_EQ(wload_job_run(load.job, -1, &err), WLOAD_ERR_CANCELED);
    set_stuck(false);
    wload_job_free(load.job);
}

/* ---- Opening -------------------------------------------------------------------------------- */

static int stop(void *user, const struct wload_fetch_progress *progress)
{
    unsigned *count = user;

    CHECK(progress->file_count == 1 && progress->done_count == 0);
    CHECK(progress->present_bytes == 0 && progress->total_bytes > 0);
    ++*count;
    return 1;
}

/* Without small files to download, so that it is the headers that are waited for. */
static void stop_opening(const char *spec)
{
    unsigned count = 0;
    const struct wload_snapshot_options snapshot = {.struct_size = sizeof(snapshot),
                                                    .scope = WLOAD_SCOPE_WEIGHTS};
    const struct wload_fetch_options fetch = {.struct_size = sizeof(fetch),
                                              .on_progress = stop,
                                              .user = &count};
    const struct wload_model_options options = {.struct_size = sizeof(options),
                                                .snapshot = &snapshot,
                                                .fetch = &fetch};
    struct wload_model *model;
    struct wload_error err = {0};

    CHECK_EQ(wload_model_open(NULL, spec, &options, &model, &err), WLOAD_ERR_CALLBACK);
    CHECK_EQ(err.code, WLOAD_ERR_CALLBACK);
    CHECK(strstr(err.message, "on_progress stopped the download"));
    CHECK_EQ(count, 1);
}

/* ---- A process that may open no more --------------------------------------------------------- */

static int few_openat(int dir, const char *path, int flags, unsigned mode)
{
    errno = EMFILE;
    return strstr(path, "/.locks/") ? -1 : wl_sys_real.openat(dir, path, flags, mode);
}

static void load_with_few(struct wload_model *model)
{
    struct wl_sys table = wl_sys_real;
    const struct wl_sys *before = wl_sys;
    struct load load = {0};
    struct wload_error err;
    struct rlimit limit;
    char may[32];

    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    (void)snprintf(may, sizeof(may), "may have %llu open", (unsigned long long)limit.rlim_cur);
    table.openat = few_openat;
    wl_sys = &table;
    start(&load, model);
    CHECK_OK(wload_job_run(load.job, -1, &err), &err);
    CHECK(strstr(stats_of(&load).cache_note, may) && strstr(stats_of(&load).cache_note, "EMFILE"));
    finish(&load);
    wl_sys = before;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(struct wload_model *model);
    } cases[] = {{"load", load_once},         {"two", load_twice},    {"slow", load_slowly},
                 {"cancel", load_and_cancel}, {"few", load_with_few}, {"check", load_checked},
                 {"leave", load_and_leave}};
    struct wl_sys table = wl_sys_real;
    struct wload_model *model;

    CHECK(argc == 3 || argc == 4);
    table.fsync = slow_fsync;
    table.pread = slow_pread;
    wl_sys = &table;
    if (strcmp(argv[1], "stop") == 0) {
        stop_opening(argv[2]);
        return 0;
    }
    model = open_model(argv[2], argc == 4 ? argv[3] : NULL);
    CHECK_EQ(chdir("/"), 0); /* a DIR that is relative is known by now */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run(model);
            wload_model_free(model);
            return 0;
        }
    }
    (void)fprintf(stderr, "no case '%s'\n", argv[1]);
    return 2;
}
