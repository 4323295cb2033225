/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wload compare: two reports of `wload bench`, row by row, by percent of roof.
 *
 * Percent of roof and not GB/s: a slower disk on the day of the second report is
 * no regression of the loader.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/sys.h"
#include "bench/command.h"
#include "bench/options.h"
#include "bench/text.h"

#define REPORT_BYTES_MAX   (64 << 20)
#define FAIL_OVER_PERCENT  5.0
#define FAIL_PERCENT_MAX   100.0
#define TIME_CHANGE_MIN_MS 1.0

struct settings {
    const char *base_path;
    const char *new_path;
    double fail_over_percent; /* of the base's figure */
    bool is_json;
};

/* A row's figures in one report. */
struct figures {
    bool is_measured; /* else the row is missing or absent */
    bool is_time;     /* then it has only milliseconds */
    double percent;
    double gb_per_s;
    double milliseconds;
};

enum verdict {
    VERDICT_SAME,
    VERDICT_BETTER,
    VERDICT_REGRESSION,
    VERDICT_MISSING,
    VERDICT_NEW
};

static const char *const verdict_names[] = {"same", "better", "regression", "missing", "new"};

/* ---- Reading a report ----------------------------------------------------------- */

static bool read_number(const cJSON *object, const char *name, double *out)
{
    const cJSON *item = cJSON_IsObject(object) ? wl_json_member(object, name) : NULL;

    if (!item || !cJSON_IsNumber(item) || item->valuedouble < 0) {
        return false;
    }
    *out = item->valuedouble;
    return true;
}

/* A row has a name, and figures or the reason why it has none. */
static bool read_row(const cJSON *row, struct figures *out)
{
    const cJSON *name = cJSON_IsObject(row) ? wl_json_member(row, "name") : NULL;
    const cJSON *percent, *milliseconds;

    *out = (struct figures){0};
    if (!name || !cJSON_IsString(name)) {
        return false;
    }
    if (cJSON_IsString(wl_json_member(row, "absent"))) {
        return true;
    }
    milliseconds = wl_json_member(row, "milliseconds");
    if (milliseconds) {
        out->is_time = true;
        out->is_measured = read_number(milliseconds, "median", &out->milliseconds);
        return out->is_measured;
    }
    percent = wl_json_member(row, "percent_of_roof");
    out->is_measured = percent && read_number(percent, "median", &out->percent) &&
                       read_number(row, "gb_per_s", &out->gb_per_s);
    return out->is_measured;
}

static int check_rows(const cJSON *report, const char *path, const cJSON **out,
                      struct wload_error *err)
{
    const cJSON *rows = cJSON_IsObject(report) ? wl_json_member(report, "rows") : NULL;
    struct figures ignored;

    if (!rows || !cJSON_IsArray(rows)) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' is no report of wload bench: no rows", path);
    }
    wl_json_each (row, rows) {
        if (!read_row(row, &ignored)) {
            return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' has a row without name or figures",
                              path);
        }
    }
    *out = rows;
    return WLOAD_OK;
}

/* *rows lives as long as *report, which the caller deletes. */
static int read_report(const char *path, cJSON **report, const cJSON **rows,
                       struct wload_error *err)
{
    char *text = NULL;
    size_t size = 0;
    int rc = wl_file_read(path, REPORT_BYTES_MAX, &text, &size, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_json_parse(text, size, path, 0, report, err);
    wl_sys->free(text);
    return rc < 0 ? rc : check_rows(*report, path, rows, err);
}

static const cJSON *find_row(const cJSON *rows, const char *name)
{
    wl_json_each (row, rows) {
        if (strcmp(wl_json_member(row, "name")->valuestring, name) == 0) {
            return row;
        }
    }
    return NULL;
}

/* ---- Comparing ------------------------------------------------------------------- */

/* What of a row is compared. */
static double figure_of(const struct figures *figures)
{
    return figures->is_time ? figures->milliseconds : figures->percent;
}

static double change_percent(const struct figures *base, const struct figures *new)
{
    return figure_of(base) > 0 ? (figure_of(new) / figure_of(base) - 1) * 100 : 0;
}

static enum verdict judge(const struct figures *base, const struct figures *new,
                          double fail_over_percent)
{
    double change = change_percent(base, new);

    if (!base->is_measured) {
        return VERDICT_NEW;
    }
    if (!new->is_measured || new->is_time != base->is_time) {
        return VERDICT_MISSING;
    }
    if (base->is_time) {
        /* Less is better, and what a machine's mood may do is no change. */
        change = fabs(new->milliseconds - base->milliseconds) < TIME_CHANGE_MIN_MS ? 0 : -change;
    }
    if (change < -fail_over_percent) {
        return VERDICT_REGRESSION;
    }
    return change > fail_over_percent ? VERDICT_BETTER : VERDICT_SAME;
}

static void put_figure(bool is_measured, double value)
{
    if (is_measured) {
        (void)printf(" %8.2f", value);
    } else {
        (void)printf(" %8s", "-");
    }
}

static void put_line(const char *name, const struct figures *base, const struct figures *new,
                     enum verdict verdict)
{
    char change[16] = "-";

    if (base->is_measured && new->is_measured) {
        (void)snprintf(change, sizeof(change), "%+.1f%%", change_percent(base, new));
    }
    text_put_escaped(stdout, name);
    (void)printf("%*s", strlen(name) < 17 ? (int)(17 - strlen(name)) : 1, "");
    put_figure(base->is_measured, figure_of(base));
    put_figure(new->is_measured, figure_of(new));
    (void)printf(" %8s ", change);
    if (base->is_time || new->is_time) {
        (void)printf(" %8s %8s", "ms", "");
    } else {
        put_figure(base->is_measured, base->gb_per_s);
        put_figure(new->is_measured, new->gb_per_s);
    }
    (void)printf("  %s\n", verdict_names[verdict]);
}

static void add_figures(cJSON *object, const char *name, const struct figures *figures)
{
    cJSON *item;

    if (!figures->is_measured) {
        (void)cJSON_AddNullToObject(object, name);
        return;
    }
    item = cJSON_AddObjectToObject(object, name);
    if (figures->is_time) {
        (void)cJSON_AddNumberToObject(item, "milliseconds", figures->milliseconds);
        return;
    }
    (void)cJSON_AddNumberToObject(item, "percent_of_roof", figures->percent);
    (void)cJSON_AddNumberToObject(item, "gb_per_s", figures->gb_per_s);
}

static cJSON *line_json(const char *name, const struct figures *base, const struct figures *new,
                        enum verdict verdict)
{
    cJSON *object = cJSON_CreateObject();

    (void)cJSON_AddStringToObject(object, "name", name);
    add_figures(object, "base", base);
    add_figures(object, "new", new);
    if (base->is_measured && new->is_measured) {
        (void)cJSON_AddNumberToObject(object, "change_percent", change_percent(base, new));
    }
    (void)cJSON_AddStringToObject(object, "verdict", verdict_names[verdict]);
    return object;
}

/* Say the verdict on one row.  Returns whether it fails the comparison. */
static bool report_row(const struct settings *settings, const char *name, const cJSON *base_row,
                       const cJSON *new_row, cJSON *lines)
{
    struct figures base = {0};
    struct figures new = {0};
    enum verdict verdict;

    if (base_row) {
        (void)read_row(base_row, &base);
    }
    if (new_row) {
        (void)read_row(new_row, &new);
    }
    if (!base.is_measured && !new.is_measured) {
        return false;
    }
    verdict = judge(&base, &new, settings->fail_over_percent);
    if (settings->is_json) {
        (void)cJSON_AddItemToArray(lines, line_json(name, &base, &new, verdict));
    } else {
        put_line(name, &base, &new, verdict);
    }
    return verdict == VERDICT_REGRESSION || verdict == VERDICT_MISSING;
}

/* The rows of both reports, the base's first.  Returns how many fail. */
static unsigned report_rows(const struct settings *settings, const cJSON *base, const cJSON *new,
                            cJSON *lines)
{
    unsigned count = 0;

    wl_json_each (row, base) {
        const char *name = wl_json_member(row, "name")->valuestring;

        count += report_row(settings, name, row, find_row(new, name), lines);
    }
    wl_json_each (row, new) {
        const char *name = wl_json_member(row, "name")->valuestring;

        if (!find_row(base, name)) {
            count += report_row(settings, name, NULL, row, lines);
        }
    }
    return count;
}

static int put_comparison(const struct settings *settings, const cJSON *base, const cJSON *new)
{
    cJSON *object = settings->is_json ? cJSON_CreateObject() : NULL;
    cJSON *lines = cJSON_AddArrayToObject(object, "rows");
    unsigned count;
    int rc;

    if (!settings->is_json) {
        (void)puts("                   percent of roof                GB/s\n"
                   "row                  base      new   change      base      new");
    }
    count = report_rows(settings, base, new, lines);
    if (settings->is_json) {
        (void)cJSON_AddNumberToObject(object, "fail_over_percent", settings->fail_over_percent);
        (void)cJSON_AddNumberToObject(object, "regressions", count);
        rc = text_put_json(object);
    } else {
        (void)printf("\n%u of the rows fell by more than %g%% of the base's figure or are "
                     "missing\n",
                     count, settings->fail_over_percent);
        rc = text_finish();
    }
    return rc == COMMAND_DONE && count > 0 ? COMMAND_REGRESSION : rc;
}

static int compare(const struct settings *settings)
{
    cJSON *base = NULL;
    cJSON *new = NULL;
    const cJSON *base_rows, *new_rows;
    struct wload_error err = {0};
    int rc;

    if (read_report(settings->base_path, &base, &base_rows, &err) < 0 ||
        read_report(settings->new_path, &new, &new_rows, &err) < 0) {
        rc = text_fail(&err);
    } else {
        rc = put_comparison(settings, base_rows, new_rows);
    }
    cJSON_Delete(base);
    cJSON_Delete(new);
    return rc;
}

/* "5%", "5", "0.5%". */
static bool read_percent(const char *text, double *percent)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || !(value >= 0 && value <= FAIL_PERCENT_MAX)) {
        return false;
    }
    if (strcmp(end, "%") != 0 && *end != '\0') {
        return false;
    }
    *percent = value;
    return true;
}

static int run(int argc, const char **argv)
{
    struct settings settings = {.fail_over_percent = FAIL_OVER_PERCENT};
    char *fail_over = NULL;
    int is_json = 0;
    const struct poptOption table[] = {
        {"fail-over", 0, POPT_ARG_STRING, &fail_over, 0,
         "Exit 3 when a row's median percent of roof falls by more than this part of the base's "
         "(5%: from 96.0 to below 91.2), or a row is missing",
         "PERCENT"},
        {"json", 0, POPT_ARG_NONE, &is_json, 0, "Print one JSON object", NULL},
        POPT_TABLEEND,
    };
    struct options options;
    int rc = options_parse(&options, argc, argv, table, "[OPTION...] BASE.json NEW.json", 2, 2);

    if (rc == 0 && fail_over && !read_percent(fail_over, &settings.fail_over_percent)) {
        rc = options_refuse("compare", "--fail-over", fail_over, "not a percentage");
    }
    if (rc == 0) {
        settings.base_path = options.operands[0];
        settings.new_path = options.operands[1];
        settings.is_json = is_json > 0;
        rc = compare(&settings);
    }
    options_clear(&options);
    return rc;
}

const struct command command_compare = {
    .name = "compare",
    .summary = "Compare two reports of bench and fail on a regression",
    .run = run,
};
