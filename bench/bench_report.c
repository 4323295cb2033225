/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmark found: a table for people, and everything as JSON. */
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "bench/bench.h"
#include "bench/options.h"
#include "bench/text.h"

#define GB 1e9

/* ---- The table ---------------------------------------------------------------- */

static void put_row(FILE *out, const struct bench_row *row)
{
    const struct bench_load *load;
    char direct[TEXT_SIZE_BYTES], buffered[TEXT_SIZE_BYTES];

    (void)fprintf(out, "%-17s", row->name);
    if (row->look_count > 0) {
        (void)fprintf(out, "%6.2f ms, %.2f to %.2f: the median of %u, no roof\n",
                      row->milliseconds.median, row->milliseconds.min, row->milliseconds.max,
                      row->look_count);
        return;
    }
    if (row->pair_count == 0) {
        (void)fputs("absent: ", out);
        text_put_escaped(out, row->absent);
        (void)fputc('\n', out);
        return;
    }
    load = &row->pairs[row->pair_count - 1].load;
    (void)fprintf(out, "%6.1f %6.1f %6.1f  %6.2f %6.2f  %6.3f %6.3f  ", row->percent.median,
                  row->percent.min, row->percent.max, row->gb_per_s, row->roof_gb_per_s,
                  row->cpu_seconds_per_gb, row->roof_cpu_seconds_per_gb);
    if (row->is_download) {
        (void)fprintf(out, "%-5s %10s %10s\n", "-", "-", "-");
        return;
    }
    (void)fprintf(out, "%-5s %10s %10s\n", options_reader_name(load->stats.reader_kind),
                  text_size(load->stats.direct_bytes, direct),
                  text_size(load->stats.buffered_bytes, buffered));
}

static void put_network_note(FILE *out, const struct bench_row *row, const struct bench_load *load)
{
    double seconds = (double)load->figure.elapsed_ns / GB;
    double download_seconds = (double)load->download.elapsed_ns / GB;
    char received[TEXT_SIZE_BYTES];

    (void)fprintf(out, "%s downloaded ", text_size(load->received_bytes, received));
    if (row->is_download) {
        (void)fprintf(out, "and verified in %.3f s\n", seconds);
    } else if (load->download.elapsed_ns > 0) {
        (void)fprintf(out, "in %.3f s, loaded in %.3f s\n", download_seconds,
                      seconds - download_seconds);
    } else {
        (void)fprintf(out, "while loaded, in %.3f s\n", seconds);
    }
}

static void put_notes(FILE *out, const struct bench_row *row)
{
    const struct bench_pair *last = &row->pairs[row->pair_count - 1];
    const struct bench_load *load = &last->load;
    char before[TEXT_SIZE_BYTES], after[TEXT_SIZE_BYTES];

    (void)fprintf(out, "%s: roof is %s%s; ", row->name,
                  row->has_bus ? "the slower of bus and " : "", row->roof_name);
    if (row->has_network) {
        put_network_note(out, row, load);
    } else {
        (void)fprintf(out, "in the page cache %s before, %s after\n",
                      text_size((uint64_t)last->load_resident_before, before),
                      text_size((uint64_t)last->load_resident_after, after));
    }
    if (load->reader_note[0] != '\0' || load->io_note[0] != '\0') {
        (void)fprintf(out, "    %s%s%s\n", load->reader_note,
                      load->reader_note[0] != '\0' && load->io_note[0] != '\0' ? "; " : "",
                      load->io_note);
    }
}

void bench_put_table(FILE *out, const struct bench_report *report)
{
    char bytes[TEXT_SIZE_BYTES];

    text_put_escaped(out, report->settings.spec);
    (void)fprintf(out, ": %u tensors in %u files, %s; medians of %u pairs\n\n",
                  report->model.tensor_count, report->model.file_count,
                  text_size(report->model.tensor_bytes, bytes), report->settings.run_count);
    (void)fputs("                     percent of roof       GB/s         CPU s/GB        read\n"
                "row              median    min    max    load   roof    load   roof"
                "  by        direct   buffered\n",
                out);
    for (uint32_t i = 0; i < report->row_count; i++) {
        put_row(out, &report->rows[i]);
    }
    (void)fputc('\n', out);
    for (uint32_t i = 0; i < report->row_count; i++) {
        if (report->rows[i].pair_count > 0) {
            put_notes(out, &report->rows[i]);
        }
    }
}

/* ---- JSON ------------------------------------------------------------------------ */

static void add_number(cJSON *object, const char *name, double value)
{
    (void)cJSON_AddNumberToObject(object, name, value);
}

static void add_bytes(cJSON *object, const char *name, uint64_t value)
{
    (void)cJSON_AddNumberToObject(object, name, (double)value);
}

static void add_text(cJSON *object, const char *name, const char *text)
{
    (void)cJSON_AddStringToObject(object, name, text);
}

static void add_seconds(cJSON *object, const char *name, int64_t value_ns)
{
    (void)cJSON_AddNumberToObject(object, name, (double)value_ns / GB);
}

static void add_spread(cJSON *object, const char *name, const struct bench_spread *spread)
{
    cJSON *item = cJSON_AddObjectToObject(object, name);

    add_number(item, "median", spread->median);
    add_number(item, "min", spread->min);
    add_number(item, "max", spread->max);
}

static void add_io(cJSON *object, const struct wload_stats *stats)
{
    cJSON *io = cJSON_AddObjectToObject(object, "io");

    add_bytes(io, "direct_bytes", stats->direct_bytes);
    add_bytes(io, "buffered_bytes", stats->buffered_bytes);
}

static cJSON *pair_json(const struct bench_row *row, const struct bench_pair *pair)
{
    cJSON *object = cJSON_CreateObject();
    const struct bench_load *load = &pair->load;

    add_text(object, "first", pair->is_load_first ? "load" : "roof");
    add_number(object, "percent_of_roof",
               100.0 * (double)pair->roof.elapsed_ns / (double)load->figure.elapsed_ns);
    add_seconds(object, "seconds", load->figure.elapsed_ns);
    add_seconds(object, "roof_seconds", pair->roof.elapsed_ns);
    if (pair->bus_ns > 0) {
        add_seconds(object, "bus_seconds", pair->bus_ns);
    }
    add_seconds(object, "cpu_seconds", load->figure.cpu_ns);
    add_seconds(object, "roof_cpu_seconds", pair->roof.cpu_ns);
    if (row->has_network) {
        if (load->download.elapsed_ns > 0) {
            add_seconds(object, "download_seconds", load->download.elapsed_ns);
        }
        add_bytes(object, "received_bytes", load->received_bytes);
    } else {
        add_number(object, "resident_bytes_before", (double)pair->load_resident_before);
        add_number(object, "resident_bytes_after", (double)pair->load_resident_after);
        add_number(object, "roof_resident_bytes_before", (double)pair->roof_resident_before);
    }
    if (!row->is_download) {
        add_seconds(object, "wait_storage_seconds", load->stats.wait_storage_ns);
        add_seconds(object, "wait_device_seconds", load->stats.wait_device_ns);
        add_io(object, &load->stats);
    }
    return object;
}

/* How a load read. */
static void add_reading(cJSON *object, const struct bench_load *load)
{
    add_text(object, "reader", options_reader_name(load->stats.reader_kind));
    add_text(object, "reader_note", load->reader_note);
    add_text(object, "io_note", load->io_note);
    add_io(object, &load->stats);
    add_bytes(object, "staging_bytes", load->stats.staging_bytes);
    add_bytes(object, "straight_bytes", load->stats.straight_bytes);
    add_bytes(object, "queue_depth", load->stats.queue_depth);
}

static void add_figures(cJSON *object, const struct bench_row *row)
{
    cJSON *pairs;

    add_bytes(object, "bytes", row->bytes);
    add_spread(object, "percent_of_roof", &row->percent);
    add_number(object, "gb_per_s", row->gb_per_s);
    add_number(object, "roof_gb_per_s", row->roof_gb_per_s);
    add_number(object, "cpu_seconds_per_gb", row->cpu_seconds_per_gb);
    add_number(object, "roof_cpu_seconds_per_gb", row->roof_cpu_seconds_per_gb);
    add_text(object, "roof", row->roof_name);
    (void)cJSON_AddBoolToObject(object, "roof_has_bus", row->has_bus);
    if (!row->is_download) {
        add_reading(object, &row->pairs[row->pair_count - 1].load);
    }
    pairs = cJSON_AddArrayToObject(object, "pairs");
    for (uint32_t i = 0; i < row->pair_count; i++) {
        (void)cJSON_AddItemToArray(pairs, pair_json(row, &row->pairs[i]));
    }
}

static void add_rows(cJSON *object, const struct bench_report *report)
{
    cJSON *rows = cJSON_AddArrayToObject(object, "rows");

    for (uint32_t i = 0; i < report->row_count; i++) {
        const struct bench_row *row = &report->rows[i];
        cJSON *item = cJSON_CreateObject();

        add_text(item, "name", row->name);
        if (row->pair_count > 0) {
            add_figures(item, row);
        } else if (row->look_count > 0) {
            add_spread(item, "milliseconds", &row->milliseconds);
            add_bytes(item, "looks", row->look_count);
        } else {
            text_add_string(item, "absent", row->absent);
        }
        (void)cJSON_AddItemToArray(rows, item);
    }
}

static void add_machine(cJSON *object, const struct bench_report *report)
{
    cJSON *machine = cJSON_AddObjectToObject(object, "machine");
    struct utsname system = {0};

    (void)uname(&system);
    add_bytes(machine, "cpus", report->roof.cpu_count);
    add_bytes(machine, "memory_bytes",
              (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
    add_text(machine, "kernel", system.release);
    add_text(machine, "architecture", system.machine);
    if (report->device.kind != WLOAD_DEVICE_AUTO) {
        add_text(machine, "device_kind", options_device_name(report->device.kind));
        add_text(machine, "device", report->device.name);
        add_bytes(machine, "device_memory_bytes", report->device.memory_bytes);
        add_bytes(machine, "driver_version", report->device.driver_version);
    }
}

static void add_calibration(cJSON *object, const struct roof *roof)
{
    cJSON *ways = cJSON_AddArrayToObject(object, "calibration");

    for (size_t i = 0; i < ROOF_WAYS_MAX; i++) {
        const struct roof_way *way = &roof->ways[i];

        if (way->gb_per_s > 0) {
            cJSON *item = cJSON_CreateObject();

            add_text(item, "way", way->name);
            add_number(item, "gb_per_s", way->gb_per_s);
            (void)cJSON_AddBoolToObject(item, "chosen",
                                        way == roof->direct || way == roof->direct_fresh);
            (void)cJSON_AddItemToArray(ways, item);
        }
    }
}

static void add_settings(cJSON *object, const struct bench_settings *settings)
{
    static const char *const policies[] = {"auto", "direct", "buffered"};
    cJSON *item = cJSON_AddObjectToObject(object, "options");

    WL_ASSERT(settings->job.io_policy < WL_COUNT_OF(policies));
    add_text(item, "reader", options_reader_name(settings->job.reader_kind));
    add_text(item, "io", policies[settings->job.io_policy]);
    add_bytes(item, "chunk_bytes", settings->job.chunk_bytes);
    add_bytes(item, "staging_bytes", settings->job.staging_bytes);
    add_bytes(item, "queue_depth", settings->job.queue_depth);
    add_bytes(item, "connections", settings->connection_count);
    add_bytes(item, "runs", settings->run_count);
    add_bytes(item, "seed", settings->seed);
}

cJSON *bench_json(const struct bench_report *report)
{
    cJSON *object = cJSON_CreateObject();
    uint32_t version = wload_version();
    char text[64];
    time_t now = time(NULL);
    struct tm utc;

    (void)snprintf(text, sizeof(text), "%u.%u.%u", version / 10000, version / 100 % 100,
                   version % 100);
    add_text(object, "wload", text);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    add_text(object, "date", text);
    add_machine(object, report);
    text_add_string(object, "spec", report->settings.spec);
    add_bytes(object, "files", report->model.file_count);
    add_bytes(object, "tensors", report->model.tensor_count);
    add_bytes(object, "bytes", report->model.tensor_bytes);
    add_bytes(object, "roof_read_bytes", report->roof.plan.read_bytes);
    add_bytes(object, "roof_ring_bytes", report->roof.ring_bytes);
    add_settings(object, &report->settings);
    add_calibration(object, &report->roof);
    add_rows(object, report);
    return object;
}
