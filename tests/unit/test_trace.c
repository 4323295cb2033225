/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the trace keeps the newest events and writes JSON that tools can read.
 * Method: add more events than it holds, from two threads, and parse the file.
 */
#include "base/trace.h"

#include <pthread.h>

#include "base/file.h"
#include "base/json.h"
#include "base/sys.h"
#include "tree.h"

#define EVENT_COUNT 64u

static cJSON *write_and_parse(const struct wl_trace *trace)
{
    struct wload_error err = {0};
    cJSON *root = NULL;
    char *text = NULL;
    size_t size = 0;

    CHECK_OK(wl_trace_write(trace, tree_path("trace.json"), &err), &err);
    CHECK_OK(wl_file_read(tree_path("trace.json"), 1u << 20, &text, &size, &err), &err);
    CHECK_OK(wl_json_parse(text, size, "trace.json", 0, &root, &err), &err);
    wl_sys->free(text);
    return root;
}

static void *add_many(void *trace)
{
    struct wl_trace_event event = {.name = "read", .lane = 7};

    for (uint32_t i = 0; i < 10 * EVENT_COUNT; i++) {
        wl_trace_add(trace, &event);
    }
    return NULL;
}

static void check_newest(void)
{
    struct wload_error err = {0};
    struct wl_trace *trace;
    cJSON *root;
    const cJSON *event;

    CHECK_OK(wl_trace_new(EVENT_COUNT, &trace, &err), &err);
    for (uint32_t i = 0; i < EVENT_COUNT + 10; i++) {
        struct wl_trace_event added = {.name = "copy",
                                       .begin_ns = 1000 * (int64_t)i + 5,
                                       .end_ns = 1000 * (int64_t)i + 2503,
                                       .offset = 1ull << 40,
                                       .size_bytes = i,
                                       .file_index = 3,
                                       .lane = i % 4};

        wl_trace_add(trace, &added);
    }
    root = write_and_parse(trace);
    event = wl_json_member(root, "traceEvents");
    CHECK_EQ(cJSON_GetArraySize(event), EVENT_COUNT);
    event = event->child;
    CHECK_STR(wl_json_member(event, "name")->valuestring, "copy");
    CHECK_EQ(wl_json_member(event, "tid")->valuedouble, 10 % 4);
    CHECK_EQ(wl_json_member(event, "ts")->valuedouble * 1000, 10 * 1000 + 5);
    CHECK_EQ(wl_json_member(event, "dur")->valuedouble * 1000 + 0.5, 2498);
    CHECK_EQ(wl_json_member(wl_json_member(event, "args"), "bytes")->valuedouble, 10);
    CHECK_EQ(wl_json_member(wl_json_member(event, "args"), "offset")->valuedouble, 1ull << 40);
    cJSON_Delete(root);
    wl_trace_free(trace);
}

static void check_threads(void)
{
    struct wload_error err = {0};
    struct wl_trace *trace;
    pthread_t thread;
    cJSON *root;

    CHECK_OK(wl_trace_new(20 * EVENT_COUNT, &trace, &err), &err);
    CHECK_EQ(pthread_create(&thread, NULL, add_many, trace), 0);
    (void)add_many(trace);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    root = write_and_parse(trace);
    CHECK_EQ(cJSON_GetArraySize(wl_json_member(root, "traceEvents")), 20 * EVENT_COUNT);
    cJSON_Delete(root);
    wl_trace_free(trace);
}

int main(void)
{
    struct wload_error err = {0};
    struct wl_trace_event event = {.name = "read"};
    struct wl_trace *trace;
    cJSON *root;

    wl_trace_add(NULL, &event);
    CHECK_OK(wl_trace_new(1, &trace, &err), &err);
    root = write_and_parse(trace);
    CHECK_EQ(cJSON_GetArraySize(wl_json_member(root, "traceEvents")), 0);
    cJSON_Delete(root);
    CHECK_EQ(wl_trace_write(trace, tree_path("no/such/folder"), &err), WLOAD_ERR_NOT_FOUND);
    CHECK(strstr(err.message, "no/such/folder") != NULL);
    wl_trace_free(trace);
    check_newest();
    check_threads();
    return 0;
}
