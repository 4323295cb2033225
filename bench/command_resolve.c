/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "bench/command.h"
#include "bench/options.h"
#include "bench/snapshot.h"
#include "bench/text.h"

struct request {
    struct wload_context *context;
    const char *spec;
    struct wload_snapshot_options snapshot;
    bool is_dry;
    bool is_json;
};

static int report_json(const struct request *request, const struct wload_snapshot *snapshot)
{
    cJSON *json = snapshot_json(request->spec, snapshot);
    cJSON *places;

    snapshot_add_missing(json, snapshot, false);
    places = cJSON_AddArrayToObject(json, "places");
    for (uint32_t i = 0; i < snapshot->place_count; i++) {
        cJSON *place = cJSON_CreateObject();

        text_add_string(place, "path", snapshot->places[i].path);
        text_add_string(place, "finding", snapshot->places[i].finding);
        (void)cJSON_AddItemToArray(places, place);
    }
    return text_put_json(json);
}

static int report_text(const struct request *request, const struct wload_snapshot *snapshot)
{
    if (request->is_dry) {
        snapshot_put_missing(snapshot, false);
    } else {
        text_put_escaped(stdout, snapshot->path);
        (void)fputc('\n', stdout);
    }
    return text_finish();
}

/* A word as a shell takes it. */
static void put_word(FILE *out, const char *word)
{
    (void)fputs(*word ? " " : " ''", out);
    for (; *word; word++) {
        unsigned char c = (unsigned char)*word;

        if (c < 0x80 && !isalnum(c) && !strchr("%+,-./:=@_", c)) {
            (void)fputc('\\', out);
        }
        (void)fputc(c, out);
    }
}

static void put_option(FILE *out, const char *name, const char *value)
{
    if (value) {
        (void)fprintf(out, " %s", name);
        put_word(out, value);
    }
}

/* The command that would bring what was asked for to where it was looked for; NULL: no memory.
 * Free with free(). */
static char *fetch_command(const struct request *request)
{
    const struct wload_snapshot_options *options = &request->snapshot;
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);

    if (!out) {
        return NULL;
    }
    (void)fputs("wload fetch", out);
    put_option(out, "--revision", options->revision);
    put_option(out, "--subfolder", options->subfolder);
    for (size_t i = 0; i < options->include_count; i++) {
        put_option(out, "--include", options->include[i]);
    }
    for (size_t i = 0; i < options->exclude_count; i++) {
        put_option(out, "--exclude", options->exclude[i]);
    }
    put_option(out, "--variant", options->variant);
    put_option(out, "--cache-dir", options->cache_dir);
    put_option(out, "--local-dir", options->local_dir);
    put_word(out, request->spec);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* One line that says what is not here, or not taken, and what may help. */
static int tell_missing(const struct request *request, const struct wload_snapshot *snapshot)
{
    char *command = fetch_command(request);
    const char *remedy = command ? command : "wload fetch";
    char size[TEXT_SIZE_BYTES];
    int rc;

    if (snapshot->origin[0] != '\0') {
        rc = text_fail_plainly("'%s': %" PRIu32 " of %" PRIu32 " files, %s, are not on this "
                               "machine; '%s' would bring them",
                               request->spec, snapshot->missing_count, snapshot->file_count,
                               text_size(snapshot->missing_bytes, size), remedy);
    } else if (snapshot->refusal[0] == '\0') {
        rc = text_fail_plainly("'%s' is not on this machine; '%s' would bring it", request->spec,
                               remedy);
    } else if (snapshot->is_refusal_final) {
        rc = text_fail_plainly("%s", snapshot->refusal);
    } else {
        rc = text_fail_plainly("%s; '%s' may bring it", snapshot->refusal, remedy);
    }
    free(command);
    return rc;
}

/* Of a dataset nothing is loaded: all of it counts. */
static uint32_t scope_of(const char *spec)
{
    return strncasecmp(spec, "hf", 2) == 0 && wl_str_starts(spec + 2, "://datasets/")
               ? WLOAD_SCOPE_ALL
               : WLOAD_SCOPE_LOAD;
}

static int resolve(const struct request *request)
{
    struct wload_snapshot *snapshot = NULL;
    struct wload_error err;
    bool is_answered;
    int rc = COMMAND_DONE;

    if (wload_snapshot_open(request->context, request->spec, &request->snapshot, &snapshot, &err) <
        0) {
        return text_fail(&err);
    }
    is_answered = snapshot->origin[0] != '\0' && (request->is_dry || snapshot->missing_count == 0);
    if (request->is_json) {
        rc = report_json(request, snapshot);
    } else if (is_answered) {
        rc = report_text(request, snapshot);
    }
    if (rc == COMMAND_DONE && !is_answered) {
        rc = tell_missing(request, snapshot);
    }
    wload_snapshot_free(snapshot);
    return rc;
}

static int run(int argc, const char **argv)
{
    struct request request = {0};
    struct snapshot_words words = {0};
    int is_dry = 0;
    int is_json = 0;
    int verbosity = 0;
    const struct poptOption table[] = {
        SNAPSHOT_REVISION(&words),
        SNAPSHOT_SUBFOLDER(&words),
        SNAPSHOT_INCLUDE(&words),
        SNAPSHOT_EXCLUDE(&words),
        SNAPSHOT_VARIANT(&words),
        SNAPSHOT_CACHE_DIR(&words),
        SNAPSHOT_LOCAL_DIR(&words),
        {"dry-run", '\0', POPT_ARG_NONE, &is_dry, 0,
         "Tell what a load would download; may ask the hub", NULL},
        SNAPSHOT_TOKEN(&words),
        SNAPSHOT_OFFLINE(&words),
        {"json", '\0', POPT_ARG_NONE, &is_json, 0,
         "Report as one JSON object, places looked at too", NULL},
        {"verbose", 'v', POPT_ARG_NONE, &verbosity, 0,
         "Say on stderr where was looked; -vv each step", NULL},
        POPT_TABLEEND,
    };
    struct options options;
    int rc = options_parse(&options, argc, argv, table, "[OPTION...] SPEC", 1, 1);

    if (rc == COMMAND_DONE) {
        rc = snapshot_read_words("resolve", &words, is_dry ? WLOAD_NETWORK_AUTO : WLOAD_NETWORK_OFF,
                                 &request.snapshot);
    }
    if (rc == COMMAND_DONE) {
        request.spec = options.operands[0];
        request.snapshot.scope = scope_of(request.spec);
        request.is_dry = is_dry != 0;
        request.is_json = is_json != 0;
        request.context = options_context(verbosity, 0);
        rc = request.context ? resolve(&request) : COMMAND_FAILED;
        wload_context_free(request.context);
    }
    options_clear(&options);
    return rc;
}

const struct command command_resolve = {
    .name = "resolve",
    .summary = "Print where a model is on this machine, or what is missing of it",
    .run = run,
};
