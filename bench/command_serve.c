/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"
#include "bench/command.h"
#include "bench/options.h"
#include "bench/serve.h"
#include "bench/snapshot.h"
#include "bench/text.h"

#define HOST           "127.0.0.1"
#define PORT_MAX       65535u
#define LATENCY_MS_MAX 60000u
#define NS_PER_MS      1000000
#define TOKEN_VARIABLE "WLOAD_SERVE_TOKEN"

/* The option texts, as popt gives them. */
struct texts {
    char **caches;
    char *host;
    char *port;
    char *token;
    char *max_rate;
    char *latency;
};

/* ---- Places ---------------------------------------------------------------------- */

static bool is_model_file(const char *name)
{
    return strcmp(name, "config.json") == 0 || strcmp(name, "model_index.json") == 0 ||
           wl_str_ends(name, ".safetensors") || wl_str_ends(name, ".gguf");
}

bool serve_is_model(const char *path)
{
    const struct dirent *entry;
    DIR *dir = opendir(path);
    bool is = false;

    while (dir && !is && (entry = readdir(dir)) != NULL) {
        is = is_model_file(entry->d_name);
    }
    if (dir) {
        (void)closedir(dir);
    }
    return is;
}

/* Takes a place over: its directory is made absolute.  Returns enum command_exit. */
static int add_place(struct serve_settings *settings, enum serve_layout layout, const char *path,
                     const char *repo)
{
    struct serve_place *place = &settings->places[settings->place_count];
    struct stat status;

    place->layout = layout;
    place->root = realpath(path, NULL);
    if (!place->root || stat(place->root, &status) < 0) {
        free(place->root);
        return text_fail_plainly("cannot serve '%s': %s", path, strerror(errno));
    }
    settings->place_count++;
    if (!S_ISDIR(status.st_mode)) {
        return text_fail_plainly("cannot serve '%s': it is no directory", path);
    }
    if (layout == SERVE_MODEL) {
        const char *slash = strrchr(place->root, '/');

        if (repo ? !(place->repo = strdup(repo)) : asprintf(&place->repo, "local%s", slash) < 0) {
            place->repo = NULL;
            return text_fail_plainly("no memory for '%s'", path);
        }
        if (!wl_hub_is_repo(place->repo)) {
            return text_fail_plainly("'%s' is no name for a model: give it as ORG/NAME=%s",
                                     place->repo, path);
        }
    }
    return COMMAND_DONE;
}

/* "DIR" or "ORG/NAME=DIR". */
static int add_operand(struct serve_settings *settings, const char *operand)
{
    const char *equals = strchr(operand, '=');
    struct stat status;
    char *repo;
    int rc;

    if (!equals || stat(operand, &status) == 0) {
        return add_place(settings, serve_is_model(operand) ? SERVE_MODEL : SERVE_MODELS, operand,
                         NULL);
    }
    repo = strndup(operand, (size_t)(equals - operand));
    if (!repo) {
        return text_fail_plainly("no memory for '%s'", operand);
    }
    rc = wl_hub_is_repo(repo)
             ? add_place(settings, SERVE_MODEL, equals + 1, repo)
             : options_refuse("serve", "the name", repo, "is no ORG/NAME of a model");
    free(repo);
    return rc;
}

static int add_default(struct serve_settings *settings)
{
    char *path = snapshot_cache_path();
    int rc = path ? add_place(settings, SERVE_CACHE, path, NULL)
                  : text_fail_plainly("no memory for the path of the cache");

    wl_sys->free(path);
    return rc;
}

static size_t count_of(char **list)
{
    size_t count = 0;

    while (list && list[count]) {
        count++;
    }
    return count;
}

/* What is named on the command line, or else the environment's cache. */
static int add_places(struct serve_settings *settings, char **caches, const char **operands,
                      size_t operand_count)
{
    size_t cache_count = count_of(caches);
    int rc = COMMAND_DONE;

    settings->places = calloc(cache_count + operand_count + 1, sizeof(settings->places[0]));
    if (!settings->places) {
        return text_fail_plainly("no memory for what to serve");
    }
    for (size_t i = 0; i < cache_count && rc == COMMAND_DONE; i++) {
        rc = add_place(settings, SERVE_CACHE, caches[i], NULL);
    }
    for (size_t i = 0; i < operand_count && rc == COMMAND_DONE; i++) {
        rc = add_operand(settings, operands[i]);
    }
    return cache_count + operand_count > 0 ? rc : add_default(settings);
}

static void clear_places(struct serve_settings *settings)
{
    for (size_t i = 0; i < settings->place_count; i++) {
        free(settings->places[i].root);
        free(settings->places[i].repo);
    }
    free(settings->places);
}

/* ---- The command ----------------------------------------------------------------- */

static bool is_token(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (*at < 0x21 || *at > 0x7e) {
            return false;
        }
    }
    return *text != '\0';
}

/* A token is never shown, not even a wrong one. */
static int read_token(const char *given, struct serve_settings *settings)
{
    const char *token = given ? given : getenv(TOKEN_VARIABLE);

    if (token && !is_token(token)) {
        return options_refuse("serve", given ? "--token" : TOKEN_VARIABLE, "...",
                              "is empty or has a character that is not printable ASCII");
    }
    settings->token = token;
    return COMMAND_DONE;
}

static int read_texts(const struct texts *texts, struct serve_settings *settings)
{
    uint64_t port = 0;
    uint64_t latency_ms = 0;

    if (texts->port && !options_whole(texts->port, PORT_MAX, &port)) {
        return options_refuse("serve", "--port", texts->port, "not a number from 0 to 65535");
    }
    if (texts->latency && !options_whole(texts->latency, LATENCY_MS_MAX, &latency_ms)) {
        return options_refuse("serve", "--latency", texts->latency, "not a number up to 60000");
    }
    if (texts->max_rate && !(options_size(texts->max_rate, &settings->rate_bytes_per_s) &&
                             settings->rate_bytes_per_s > 0)) {
        return options_refuse("serve", "--max-rate", texts->max_rate, "not a size");
    }
    settings->host = texts->host ? texts->host : HOST;
    settings->port = (uint16_t)port;
    settings->latency_ns = (int64_t)latency_ms * NS_PER_MS;
    return read_token(texts->token, settings);
}

static int run(int argc, const char **argv)
{
    struct serve_settings settings = {0};
    struct texts texts = {0};
    int verbosity = 0;
    const struct poptOption table[] = {
        {"cache-dir", '\0', POPT_ARG_ARGV, &texts.caches, 0,
         "Serve this Hugging Face cache; may be given again (the environment's)", "DIR"},
        {"host", '\0', POPT_ARG_STRING, &texts.host, 0, "Listen on this address (127.0.0.1)",
         "ADDRESS"},
        {"port", '\0', POPT_ARG_STRING, &texts.port, 0, "Listen on this port (any that is free)",
         "N"},
        {"token", '\0', POPT_ARG_STRING, &texts.token, 0,
         "Answer only who shows this token ($" TOKEN_VARIABLE ")", "TOKEN"},
        {"max-rate", '\0', POPT_ARG_STRING, &texts.max_rate, 0,
         "Send at most that much a second on each connection, for example 85M", "SIZE"},
        {"latency", '\0', POPT_ARG_STRING, &texts.latency, 0,
         "Wait that many milliseconds before each answer", "MS"},
        {"verbose", 'v', POPT_ARG_NONE, &verbosity, 0, "Tell each request on stderr", NULL},
        POPT_TABLEEND,
    };
    struct options options;
    int rc = options_parse(&options, argc, argv, table, "[OPTION...] [DIR | ORG/NAME=DIR]...", 0,
                           SIZE_MAX);

    if (rc == COMMAND_DONE) {
        rc = read_texts(&texts, &settings);
    }
    if (rc == COMMAND_DONE) {
        settings.is_verbose = verbosity > 0;
        rc = add_places(&settings, texts.caches, options.operands, options.operand_count);
        rc = rc == COMMAND_DONE ? serve_run(&settings) : rc;
        clear_places(&settings);
    }
    options_clear(&options);
    return rc;
}

const struct command command_serve = {
    .name = "serve",
    .summary = "Be a read-only hub for the models on this machine",
    .run = run,
};
