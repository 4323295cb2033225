/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "bench/command.h"
#include "bench/load.h"
#include "bench/options.h"
#include "bench/text.h"

static double gb_per_s(const struct load_result *result)
{
    double seconds = result->times[0].seconds;

    return seconds > 0 ? (double)result->stats.tensor_bytes / 1e9 / seconds : 0;
}

static const char *device_name(const struct load_request *request, const struct load_result *result)
{
    return request->is_sink ? "null" : options_device_name(result->stats.device_kind);
}

static size_t landed_max(const struct load_result *result)
{
    return result->landed ? wload_model_info(result->model)->tensor_count : 0;
}

/* ---- JSON --------------------------------------------------------------------------- */

static void add_number(cJSON *object, const char *name, uint64_t value)
{
    (void)cJSON_AddNumberToObject(object, name, (double)value);
}

static void add_seconds(cJSON *object, const char *name, int64_t ns)
{
    (void)cJSON_AddNumberToObject(object, name, (double)ns / 1e9);
}

static void add_runs(cJSON *object, const struct load_result *result)
{
    cJSON *seconds = cJSON_AddArrayToObject(object, "runs");
    cJSON *cpu_seconds = cJSON_AddArrayToObject(object, "runs_cpu_seconds");

    for (size_t i = 0; i < result->run_count; i++) {
        (void)cJSON_AddItemToArray(seconds, cJSON_CreateNumber(result->times[i].seconds));
        (void)cJSON_AddItemToArray(cpu_seconds, cJSON_CreateNumber(result->times[i].cpu_seconds));
    }
}

static void add_io(cJSON *object, const struct wload_stats *stats)
{
    cJSON *io = cJSON_AddObjectToObject(object, "io");

    add_number(io, "direct_bytes", stats->direct_bytes);
    add_number(io, "buffered_bytes", stats->buffered_bytes);
}

static void add_digests(cJSON *object, const struct load_result *result)
{
    cJSON *digests = cJSON_AddObjectToObject(object, "digests");

    for (size_t i = 0; i < landed_max(result); i++) {
        const struct landed *item = &result->landed[i];

        if (item->tensor) {
            (void)cJSON_AddStringToObject(digests, item->tensor->name, item->hex);
        }
    }
}

static int report_json(const struct load_request *request, const struct load_result *result)
{
    const struct wload_stats *stats = &result->stats;
    cJSON *json = cJSON_CreateObject();

    text_add_string(json, "spec", request->spec);
    if (request->snapshot.variant) {
        text_add_string(json, "variant", request->snapshot.variant);
    } else {
        (void)cJSON_AddNullToObject(json, "variant");
    }
    text_add_string(json, "model_note", wload_model_info(result->model)->note);
    add_number(json, "tensors", stats->tensor_count);
    add_number(json, "bytes", stats->tensor_bytes);
    (void)cJSON_AddNumberToObject(json, "seconds", result->times[0].seconds);
    add_runs(json, result);
    (void)cJSON_AddNumberToObject(json, "gb_per_s", gb_per_s(result));
    (void)cJSON_AddStringToObject(json, "device", device_name(request, result));
    add_number(json, "device_index", stats->device_index);
    (void)cJSON_AddStringToObject(json, "reader", options_reader_name(stats->reader_kind));
    (void)cJSON_AddStringToObject(json, "reader_note", result->reader_note);
    add_io(json, stats);
    (void)cJSON_AddStringToObject(json, "io_note", result->io_note);
    add_number(json, "network_bytes", stats->network_bytes);
    text_add_string(json, "cache_note", result->cache_note);
    add_number(json, "resident_bytes_before", stats->resident_bytes);
    add_number(json, "straight_bytes", stats->straight_bytes);
    add_number(json, "staging_bytes", stats->staging_bytes);
    add_number(json, "queue_depth", stats->queue_depth);
    add_number(json, "peak_rss_bytes", result->peak_rss_bytes);
    (void)cJSON_AddNumberToObject(json, "cpu_seconds", result->times[0].cpu_seconds);
    add_seconds(json, "wait_storage_seconds", stats->wait_storage_ns);
    add_seconds(json, "wait_device_seconds", stats->wait_device_ns);
    if (result->landed) {
        add_digests(json, result);
    }
    return text_put_json(json);
}

/* ---- For people ------------------------------------------------------------------------ */

static void put_note(const char *note)
{
    if (*note) {
        (void)fputs(" (", stdout);
        text_put_escaped(stdout, note);
        (void)fputc(')', stdout);
    }
    (void)fputc('\n', stdout);
}

static void put_size(const char *before, uint64_t bytes, const char *after)
{
    char size[TEXT_SIZE_BYTES];

    (void)printf("%s%s%s", before, text_size(bytes, size), after);
}

static void put_runs(const struct load_result *result)
{
    (void)fputs("  runs      ", stdout);
    for (size_t i = 0; i < result->run_count; i++) {
        (void)printf("%s%.3f", i == 0 ? "" : ", ", result->times[i].seconds);
    }
    (void)puts(" s");
}

static void put_digests(const struct load_result *result)
{
    for (size_t i = 0; i < landed_max(result); i++) {
        const struct landed *item = &result->landed[i];

        if (item->tensor) {
            (void)printf("%s  ", item->hex);
            text_put_escaped(stdout, item->tensor->name);
            (void)fputc('\n', stdout);
        }
    }
}

static int report_text(const struct load_request *request, const struct load_result *result)
{
    const struct wload_stats *stats = &result->stats;

    text_put_escaped(stdout, request->spec);
    (void)printf(": %" PRIu64 " tensors, ", stats->tensor_count);
    put_size("", stats->tensor_bytes, "");
    (void)printf(" in %.3f s, %.2f GB/s\n", result->times[0].seconds, gb_per_s(result));
    (void)printf("  device    %s", device_name(request, result));
    (void)printf(stats->device_index > 0 ? ":%u\n" : "\n", stats->device_index);
    (void)printf("  reader    %s", options_reader_name(stats->reader_kind));
    put_note(result->reader_note);
    put_size("  io        ", stats->direct_bytes, " direct, ");
    put_size("", stats->buffered_bytes, " buffered");
    put_note(result->io_note);
    if (stats->network_bytes > 0) {
        put_size("  network   ", stats->network_bytes, " received\n");
    }
    put_size("  resident  ", stats->resident_bytes, " in the page cache before\n");
    put_size("  memory    ", stats->staging_bytes, " staging, ");
    put_size("", result->peak_rss_bytes, " resident at most\n");
    (void)printf("  time      %.3f CPU s, waited %.3f s for storage and %.3f s for the device\n",
                 result->times[0].cpu_seconds, (double)stats->wait_storage_ns / 1e9,
                 (double)stats->wait_device_ns / 1e9);
    if (result->run_count > 1) {
        put_runs(result);
    }
    put_digests(result);
    return text_finish();
}

int load_report(const struct load_request *request, const struct load_result *result)
{
    return request->is_json ? report_json(request, result) : report_text(request, result);
}
