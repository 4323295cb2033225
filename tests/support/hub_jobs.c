/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs of a model on a hub, through the public header; net/test_jobs.py runs them:
 *
 *   hub_jobs load SPEC [DIR]    one, with the plain directory DIR instead of the cache
 *   hub_jobs two SPEC           two, of which the one that is started last is run first
 *
 * Prints of each a number that all bytes of all tensors make, and how many bytes were received.
 */
#include <stdbool.h>

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

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(struct wload_model *model);
    } cases[] = {{"load", load_once}, {"two", load_twice}};
    struct wload_model *model;

    CHECK(argc == 3 || argc == 4);
    model = open_model(argv[2], argc == 4 ? argv[3] : NULL);
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
