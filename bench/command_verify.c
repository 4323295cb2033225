/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "bench/command.h"
#include "bench/options.h"
#include "bench/progress.h"
#include "bench/snapshot.h"
#include "bench/text.h"

struct request {
    struct wload_context *context;
    const char *spec;
    struct wload_snapshot_options snapshot;
    bool quarantines;
    bool is_json;
    bool is_verbose;
};

/* What was found so far; the arrays with --json only. */
struct tally {
    const struct request *request;
    struct progress progress;
    struct wload_fetch_progress now;
    int64_t begin_ns;
    uint32_t good_count;
    uint32_t bad_count;
    uint32_t missing_count;
    uint32_t unknown_count;
    cJSON *bad;
    cJSON *missing;
    cJSON *unknown;
};

static void put_file(const char *name, const char *detail)
{
    text_put_escaped(stdout, name);
    (void)fputs(": ", stdout);
    text_put_escaped(stdout, detail);
    (void)fputc('\n', stdout);
    text_flush();
}

/* A file that is not bad, and not good either. */
static void note_other(struct tally *tally, cJSON *names, const char *name, const char *what)
{
    if (names) {
        cJSON *item = cJSON_CreateObject();

        text_add_string(item, "name", name);
        (void)cJSON_AddItemToArray(names, item);
    } else if (tally->request->is_verbose) {
        put_file(name, what);
    }
}

static void note_bad(struct tally *tally, const char *name, int status, const char *detail)
{
    if (tally->bad) {
        cJSON *item = cJSON_CreateObject();

        text_add_string(item, "name", name);
        text_add_string(item, "status", wload_strerror(status));
        text_add_string(item, "detail", detail);
        (void)cJSON_AddItemToArray(tally->bad, item);
    } else {
        put_file(name, detail);
    }
}

static int note_file(void *user, const struct wload_snapshot_file *file, int status,
                     const char *detail)
{
    struct tally *tally = user;

    if (status != WLOAD_OK) {
        progress_end(&tally->progress);
    }
    if (status == WLOAD_OK) {
        tally->good_count++;
        tally->now.received_bytes += file->size_bytes;
    } else if (status == WLOAD_ERR_NOT_FOUND) {
        tally->missing_count++;
        note_other(tally, tally->missing, file->name, "not here");
    } else if (status == WLOAD_ERR_UNSUPPORTED) {
        tally->unknown_count++;
        note_other(tally, tally->unknown, file->name, "nothing says which hash it must have");
    } else {
        tally->bad_count++;
        note_bad(tally, file->name, status, detail);
        tally->now.received_bytes += file->size_bytes;
    }
    tally->now.present_bytes += file->size_bytes;
    tally->now.done_count++;
    tally->now.elapsed_ns = wl_clock_ns() - tally->begin_ns;
    progress_draw(&tally->progress, &tally->now);
    return 0;
}

static int report_json(const struct tally *tally, const struct wload_snapshot *snapshot)
{
    cJSON *json = snapshot_json(tally->request->spec, snapshot);
    double seconds = (double)(wl_clock_ns() - tally->begin_ns) / 1e9;

    (void)cJSON_AddNumberToObject(json, "checked_files", tally->good_count + tally->bad_count);
    (void)cJSON_AddNumberToObject(json, "checked_bytes", (double)tally->now.received_bytes);
    (void)cJSON_AddItemToObject(json, "bad", tally->bad);
    (void)cJSON_AddItemToObject(json, "missing", tally->missing);
    (void)cJSON_AddItemToObject(json, "unknown", tally->unknown);
    (void)cJSON_AddNumberToObject(json, "seconds", seconds);
    (void)cJSON_AddNumberToObject(
        json, "gb_per_s", seconds > 0 ? (double)tally->now.received_bytes / 1e9 / seconds : 0);
    return text_put_json(json);
}

static int report_text(const struct tally *tally, const struct wload_snapshot *snapshot)
{
    double seconds = (double)(wl_clock_ns() - tally->begin_ns) / 1e9;
    char size[TEXT_SIZE_BYTES];
    char speed[TEXT_SIZE_BYTES];

    (void)printf("Verified %" PRIu32 " files of ", tally->good_count + tally->bad_count);
    text_put_escaped(stdout, snapshot->path);
    (void)printf(", %s in %.3f s, %s: ", text_size(tally->now.received_bytes, size), seconds,
                 text_speed(seconds > 0 ? (double)tally->now.received_bytes / seconds : 0, speed));
    if (tally->bad_count > 0) {
        (void)printf("%" PRIu32 " bad", tally->bad_count);
    } else {
        (void)fputs("no bad ones", stdout);
    }
    if (tally->missing_count > 0) {
        (void)printf("; %" PRIu32 " are not here", tally->missing_count);
    }
    if (tally->unknown_count > 0) {
        (void)printf("; of %" PRIu32 " the hash is not known", tally->unknown_count);
    }
    (void)fputc('\n', stdout);
    return text_finish();
}

static int check(struct tally *tally, struct wload_snapshot *snapshot)
{
    const struct request *request = tally->request;
    const struct wload_verify_options options = {
        .struct_size = sizeof(options),
        .quarantines = request->quarantines,
        .on_file = note_file,
        .user = tally,
    };
    struct wload_error err;
    int rc;

    tally->now.total_bytes = snapshot->total_bytes;
    tally->now.file_count = snapshot->file_count;
    progress_begin(&tally->progress);
    if (request->is_json) {
        tally->bad = cJSON_CreateArray();
        tally->missing = cJSON_CreateArray();
        tally->unknown = cJSON_CreateArray();
    }
    rc = wload_snapshot_verify(snapshot, &options, &err);
    progress_end(&tally->progress);
    if (rc < 0 && tally->bad_count == 0) { /* it is no file's failure */
        cJSON_Delete(tally->bad);
        cJSON_Delete(tally->missing);
        cJSON_Delete(tally->unknown);
        return text_fail(&err);
    }
    rc = request->is_json ? report_json(tally, snapshot) : report_text(tally, snapshot);
    return tally->bad_count > 0 ? COMMAND_FAILED : rc;
}

static int verify(const struct request *request)
{
    struct tally tally = {.request = request, .begin_ns = wl_clock_ns()};
    struct wload_snapshot *snapshot = NULL;
    struct wload_error err;
    int rc;

    if (wload_snapshot_open(request->context, request->spec, &request->snapshot, &snapshot, &err) <
        0) {
        return text_fail(&err);
    }
    rc = check(&tally, snapshot);
    wload_snapshot_free(snapshot);
    return rc;
}

static int run(int argc, const char **argv)
{
    struct request request = {0};
    struct snapshot_words words = {0};
    int quarantines = 0;
    int is_json = 0;
    int verbosity = 0;
    const struct poptOption table[] = {
        SNAPSHOT_REVISION(&words),
        SNAPSHOT_SUBFOLDER(&words),
        SNAPSHOT_INCLUDE(&words),
        SNAPSHOT_EXCLUDE(&words),
        SNAPSHOT_CACHE_DIR(&words),
        SNAPSHOT_LOCAL_DIR(&words),
        {"quarantine", '\0', POPT_ARG_NONE, &quarantines, 0,
         "Move bad files aside; the next fetch brings them", NULL},
        {"json", '\0', POPT_ARG_NONE, &is_json, 0, "Report as one JSON object", NULL},
        {"verbose", 'v', POPT_ARG_NONE, &verbosity, 0,
         "Name also files that are not here; -vv each step", NULL},
        POPT_TABLEEND,
    };
    struct options options;
    int rc = options_parse(&options, argc, argv, table, "[OPTION...] SPEC", 1, 1);

    if (rc == COMMAND_DONE) {
        rc = snapshot_read_words("verify", &words, WLOAD_NETWORK_OFF, &request.snapshot);
    }
    if (rc == COMMAND_DONE) {
        request.spec = options.operands[0];
        request.quarantines = quarantines != 0;
        request.is_json = is_json != 0;
        request.is_verbose = verbosity > 0;
        request.context = options_context(verbosity, 0);
        rc = request.context ? verify(&request) : COMMAND_FAILED;
        wload_context_free(request.context);
    }
    options_clear(&options);
    return rc;
}

const struct command command_verify = {
    .name = "verify",
    .summary = "Hash a model's files and compare with what they must have",
    .run = run,
};
