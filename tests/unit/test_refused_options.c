/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an option that cannot be is refused before anything is done, and the error names it; a
 * component that the log does not have is said and costs nothing else.
 * Method: each public struct of options with one field wrong at a time, on a model in a plain
 * directory that all of them would do with.
 */
#include "base/base.h"
#include "tree.h"

static struct wload_model *model;
static struct wload_snapshot *snapshot;
static char lines[1024];

static void expect(int rc, const struct wload_error *err, const char *finding)
{
    if (rc != WLOAD_ERR_INVALID || err->code != rc || !strstr(err->message, finding)) {
        (void)fprintf(stderr, "%d '%s', not '%s'\n", rc, err->message, finding);
        exit(1);
    }
}

/* ---- Snapshots, and the models that are named --------------------------------------------- */

static void refuse_snapshot(struct wload_snapshot_options options, const char *finding)
{
    struct wload_model_options model_options = {.struct_size = sizeof(model_options),
                                                .snapshot = &options};
    struct wload_snapshot *none = NULL;
    struct wload_model *no_model = NULL;
    struct wload_error err = {0};

    options.struct_size = sizeof(options);
    expect(wload_snapshot_open(NULL, "acme/small", &options, &none, &err), &err, finding);
    err = (struct wload_error){0};
    expect(wload_model_open(NULL, "acme/small", &model_options, &no_model, &err), &err, finding);
    CHECK(!none && !no_model);
}

static void check_snapshot(void)
{
    static const char *const torn[] = {"*.safetensors", NULL};
    struct wload_snapshot_options options = {.struct_size = sizeof(options),
                                             .include = torn,
                                             .include_count = 1,
                                             .scope = WLOAD_SCOPE_WEIGHTS};
    struct wload_error err;

    CHECK_OK(wload_snapshot_open(NULL, "acme/small", &options, &snapshot, &err), &err);
    CHECK_EQ(snapshot->file_count, 1);
    refuse_snapshot((struct wload_snapshot_options){.include_count = 2}, "include is NULL");
    refuse_snapshot((struct wload_snapshot_options){.exclude_count = 2}, "exclude is NULL");
    refuse_snapshot((struct wload_snapshot_options){.include = torn, .include_count = 2},
                    "include[1] is NULL");
    refuse_snapshot((struct wload_snapshot_options){.exclude = torn, .exclude_count = 2},
                    "exclude[1] is NULL");
    refuse_snapshot((struct wload_snapshot_options){.scope = 77},
                    "scope is 77, and can be 2 at most");
    refuse_snapshot((struct wload_snapshot_options){.network = 3}, "network is 3");
    refuse_snapshot((struct wload_snapshot_options){.cache_dir = "/a", .local_dir = "/b"},
                    "cache_dir and local_dir");
    refuse_snapshot((struct wload_snapshot_options){.cache_dir = ""}, "cache_dir is empty");
    refuse_snapshot((struct wload_snapshot_options){.local_dir = ""}, "local_dir is empty");
}

static void refuse_fetch(struct wload_fetch_options options, const char *finding)
{
    struct wload_model_options model_options = {.struct_size = sizeof(model_options),
                                                .fetch = &options};
    struct wload_model *no_model = NULL;
    struct wload_error err = {0};

    options.struct_size = sizeof(options);
    expect(wload_snapshot_fetch(snapshot, &options, &err), &err, finding);
    err = (struct wload_error){0};
    expect(wload_model_open(NULL, "acme/small", &model_options, &no_model, &err), &err, finding);
    CHECK(!no_model);
}

static void check_fetch_and_verify(void)
{
    struct wload_verify_options verify = {.struct_size = sizeof(verify), .reserved = 5};
    struct wload_error err = {0};

    refuse_fetch((struct wload_fetch_options){.connection_count = 257},
                 "connection_count is 257, and can be 256 at most");
    refuse_fetch((struct wload_fetch_options){.io_policy = 3}, "io_policy is 3");
    expect(wload_snapshot_verify(snapshot, &verify, &err), &err, "reserved is 5");
}

/* ---- Jobs --------------------------------------------------------------------------------- */

static void refuse_job(struct wload_job_options options, const char *finding)
{
    struct wload_error err = {0};
    struct wload_job *job = NULL;

    options.struct_size = sizeof(options);
    expect(wload_job_start(model, &options, &job, &err), &err, finding);
    CHECK(!job);
}

static void check_job(void)
{
    static const char *const torn[] = {"*", NULL};

    refuse_job((struct wload_job_options){.pattern_count = 1}, "patterns is NULL");
    refuse_job((struct wload_job_options){.patterns = torn, .pattern_count = 2},
               "patterns[1] is NULL");
    refuse_job((struct wload_job_options){.device_kind = 4}, "device_kind is 4");
    refuse_job((struct wload_job_options){.reader_kind = 3}, "reader_kind is 3");
    refuse_job((struct wload_job_options){.io_policy = 3}, "io_policy is 3");
    refuse_job((struct wload_job_options){.queue_depth = 1025}, "queue_depth is 1025");
    refuse_job((struct wload_job_options){.reserved = 1}, "reserved is 1, and can be 0 at most");
}

/* ---- Contexts ----------------------------------------------------------------------------- */

static void take_line(void *user, enum wload_log_level level, const char *component,
                      const char *line)
{
    const char *rest = strstr(line, " among spec,");
    size_t used = strlen(lines);

    (void)user;
    CHECK_EQ(level, WLOAD_LOG_ERROR);
    CHECK(rest != NULL);
    (void)snprintf(lines + used, sizeof(lines) - used, "%s: %.*s;", component, (int)(rest - line),
                   line);
}

static void check_context(void)
{
    struct wload_context_options options = {.struct_size = sizeof(options), .log_level = 99};
    struct wload_context *context = NULL;
    struct wload_error err = {0};

    expect(wload_context_new(&options, &context, &err), &err, "log_level is 99");
    options.log_level = WLOAD_LOG_ERROR;
    options.log_components = "spec,cache,http,index,plan,reader,staging,device,job";
    options.log = take_line;
    CHECK_OK(wload_context_new(&options, &context, &err), &err);
    wload_context_free(context);
    CHECK_STR(lines, "");
    options.log_components = "foo,job,read";
    CHECK_OK(wload_context_new(&options, &context, &err), &err);
    wload_context_free(context);
    CHECK_STR(lines, "log: no component 'foo';log: no component 'read';");
}

int main(void)
{
    struct wload_error err;

    tree_write_tensors("acme/small/model.safetensors", "a b");
    tree_write_text("acme/small/config.json", "{}");
    CHECK_EQ(setenv("WLOAD_CACHE", sample_dir(), 1), 0);
    CHECK_EQ(setenv("HF_HUB_OFFLINE", "1", 1), 0);
    CHECK_OK(wload_model_open(NULL, "acme/small", NULL, &model, &err), &err);
    check_snapshot();
    check_fetch_and_verify();
    check_job();
    check_context();
    wload_snapshot_free(snapshot);
    wload_model_free(model);
    return 0;
}
