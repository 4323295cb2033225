/* SPDX-License-Identifier: Apache-2.0 */
/* wload doctor: what this machine gives to a load, found by trying, and what would help. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/options.h"
#include "bench/probe.h"
#include "bench/text.h"

#define PATHS_MAX 64

static const char *const verdict_names[] = {"ok", "degraded", "absent", "broken"};

/* Loads do without what is absent, and put up with what is degraded. */
static bool is_broken(const struct probe_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        if (findings->items[i].verdict == PROBE_BROKEN) {
            return true;
        }
    }
    return false;
}

static void probe_paths(struct probe_findings *findings, const struct options *options)
{
    for (size_t i = 0; i < options->operand_count; i++) {
        probe_path(findings, options->operands[i]);
    }
    if (options->operand_count > 0) {
        return;
    }
    probe_path(findings, ".");
    if (access("/dev/shm", R_OK) == 0) {
        probe_path(findings, "/dev/shm");
    }
}

static void put_finding(const struct probe_finding *finding)
{
    size_t width = strlen(finding->name);

    (void)fputs(finding->name, stdout);
    if (finding->subject[0] != '\0') {
        (void)fputc(' ', stdout);
        text_put_escaped(stdout, finding->subject);
        width += 1 + strlen(finding->subject);
    }
    (void)printf("%*s %-8s ", width < 22 ? (int)(22 - width) : 0, "",
                 verdict_names[finding->verdict]);
    if (finding->sys_errno != 0) {
        const char *name = strerrorname_np(finding->sys_errno);

        (void)printf(" %s:", name ? name : "unknown errno");
    }
    (void)fputc(' ', stdout);
    text_put_escaped(stdout, finding->text);
    (void)fputc('\n', stdout);
    if (finding->remedy[0] != '\0') {
        (void)fputs("    remedy: ", stdout);
        text_put_escaped(stdout, finding->remedy);
        (void)fputc('\n', stdout);
    }
}

static int put_table(const struct probe_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        put_finding(&findings->items[i]);
    }
    (void)puts(is_broken(findings) ? "\na load does not work here" : "\na load works here");
    return text_finish();
}

static void add_or_null(cJSON *object, const char *name, const char *text)
{
    if (text && text[0] != '\0') {
        text_add_string(object, name, text);
    } else {
        (void)cJSON_AddNullToObject(object, name);
    }
}

static int put_json(const struct probe_findings *findings)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *probes = cJSON_AddArrayToObject(object, "probes");

    (void)cJSON_AddBoolToObject(object, "works", !is_broken(findings));
    for (size_t i = 0; i < findings->count; i++) {
        const struct probe_finding *finding = &findings->items[i];
        cJSON *item = cJSON_CreateObject();

        (void)cJSON_AddStringToObject(item, "name", finding->name);
        add_or_null(item, "subject", finding->subject);
        (void)cJSON_AddStringToObject(item, "verdict", verdict_names[finding->verdict]);
        add_or_null(item, "errno",
                    finding->sys_errno != 0 ? strerrorname_np(finding->sys_errno) : NULL);
        text_add_string(item, "text", finding->text);
        add_or_null(item, "remedy", finding->remedy);
        (void)cJSON_AddItemToArray(probes, item);
    }
    return text_put_json(object);
}

static int examine(const struct options *options, bool is_json)
{
    struct probe_findings *findings = calloc(1, sizeof(*findings));
    int rc;

    if (!findings) {
        return text_fail_plainly("no memory for the findings");
    }
    probe_uring(findings);
    probe_paths(findings, options);
    probe_cache(findings);
    probe_machine(findings);
    probe_libcurl(findings);
    probe_microhttpd(findings);
    probe_devices(findings);
    rc = is_json ? put_json(findings) : put_table(findings);
    if (rc == COMMAND_DONE && is_broken(findings)) {
        rc = COMMAND_FAILED;
    }
    free(findings);
    return rc;
}

static int run(int argc, const char **argv)
{
    int is_json = 0;
    const struct poptOption table[] = {
        {"json", 0, POPT_ARG_NONE, &is_json, 0, "Print one JSON object", NULL},
        POPT_TABLEEND,
    };
    struct options options;
    int rc = options_parse(&options, argc, argv, table, "[OPTION...] [PATH...]", 0, PATHS_MAX);

    if (rc == 0) {
        rc = examine(&options, is_json > 0);
    }
    options_clear(&options);
    return rc;
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "Try what loads use here, and say what would help",
    .run = run,
};
