/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands that name a model have in common: their options, and how a
 * snapshot is told.
 *
 *   words --snapshot_read_words()--> options --wload_snapshot_open()--> snapshot
 */
#ifndef WLOAD_SNAPSHOT_H
#define WLOAD_SNAPSHOT_H

#include <cjson/cJSON.h>
#include <popt.h>
#include <stdbool.h>
#include <stdint.h>

#include "wload.h"

/* The options as popt gives them; a command has those of the rows that are in its table. */
struct snapshot_words {
    char *revision;
    char *subfolder;
    char *variant;
    char **include;
    char **exclude;
    char *cache_dir;
    char *local_dir;
    char *token;
    int is_offline;
};

/* The cache that the environment names; begins with '~' if nobody knows a home.  Free with
 * wl_sys->free(); NULL without memory. */
char *snapshot_cache_path(void);

/* Rows of a table for options_parse(). */
#define SNAPSHOT_REVISION(words)                                  \
    {                                                             \
        "revision", '\0', POPT_ARG_STRING, &(words)->revision, 0, \
            "Branch, tag or commit of a named model; main", "REV" \
    }
#define SNAPSHOT_SUBFOLDER(words)                                   \
    {                                                               \
        "subfolder", '\0', POPT_ARG_STRING, &(words)->subfolder, 0, \
            "Only what is below this folder of it", "DIR"           \
    }
#define SNAPSHOT_VARIANT(words)                                   \
    {                                                             \
        "variant", '\0', POPT_ARG_STRING, &(words)->variant, 0,   \
            "The files of this variant, for example fp16", "NAME" \
    }
#define SNAPSHOT_INCLUDE(words)                                 \
    {                                                           \
        "include", '\0', POPT_ARG_ARGV, &(words)->include, 0,   \
            "Only files that match; may be given again", "GLOB" \
    }
#define SNAPSHOT_EXCLUDE(words)                               \
    {                                                         \
        "exclude", '\0', POPT_ARG_ARGV, &(words)->exclude, 0, \
            "No files that match; may be given again", "GLOB" \
    }
#define SNAPSHOT_CACHE_DIR(words)                                   \
    {                                                               \
        "cache-dir", '\0', POPT_ARG_STRING, &(words)->cache_dir, 0, \
            "Another cache than the environment says", "DIR"        \
    }
#define SNAPSHOT_LOCAL_DIR(words)                                   \
    {                                                               \
        "local-dir", '\0', POPT_ARG_STRING, &(words)->local_dir, 0, \
            "A plain directory, instead of a cache", "DIR"          \
    }
#define SNAPSHOT_TOKEN(words)                                      \
    {                                                              \
        "token", '\0', POPT_ARG_STRING, &(words)->token, 0,        \
            "For the hub; $HF_TOKEN or the one logged in", "TOKEN" \
    }
#define SNAPSHOT_OFFLINE(words)                                                             \
    {                                                                                       \
        "offline", '\0', POPT_ARG_NONE, &(words)->is_offline, 0, "Open no connection", NULL \
    }

/*
 * From words to options, which point into them; with --offline the network is off,
 * else as `network` says.  Returns 0, or COMMAND_USAGE after one line on stderr.
 */
int snapshot_read_words(const char *command, const struct snapshot_words *words, uint32_t network,
                        struct wload_snapshot_options *options);

/*
 * Open a model by the spec, the options' variant and place.  Shows the progress of
 * what is downloaded for it, beside what `fetch` (may be NULL) says of how; call
 * interrupt_end() once a failure has been reported.
 */
int snapshot_open_model(struct wload_context *context, const char *spec,
                        const struct wload_snapshot_options *options,
                        const struct wload_fetch_options *fetch, struct wload_model **out,
                        struct wload_error *err);

/* wload_snapshot_fetch() as `fetch` (may be NULL) says, with its progress shown; call
 * interrupt_end() once a failure has been reported. */
int snapshot_fetch(struct wload_snapshot *snapshot, const char *spec,
                   const struct wload_fetch_options *fetch, struct wload_error *err);

/* Bytes of a file that a fetch would download; -1: none of it. */
int64_t snapshot_left(const struct wload_snapshot_file *file, bool is_forced);

/* What a snapshot is and where. */
cJSON *snapshot_json(const char *spec, const struct wload_snapshot *snapshot);

/* Add to it which files a fetch would download, and how much that is. */
void snapshot_add_missing(cJSON *json, const struct wload_snapshot *snapshot, bool is_forced);

/* Tell that in a table, as `hf download --dry-run` does. */
void snapshot_put_missing(const struct wload_snapshot *snapshot, bool is_forced);

#endif /* WLOAD_SNAPSHOT_H */
