/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "double.h"

#define FAULTS_MAX 16

struct fault {
    char call[64];
    unsigned long nth;
    unsigned long seen;
    int code;
};

struct double_state double_state = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
};

_Thread_local bool double_in_callback;

static struct fault faults[FAULTS_MAX];
static size_t fault_count;

static const char *setting(const char *name, const char *fallback)
{
    const char *value = getenv(name);

    return value && *value ? value : fallback;
}

static bool is_set(const char *name)
{
    return strcmp(setting(name, "0"), "1") == 0;
}

static void read_faults(const char *text)
{
    fault_count = 0;
    while (*text && fault_count < FAULTS_MAX) {
        struct fault *fault = &faults[fault_count];

        memset(fault, 0, sizeof(*fault));
        if (sscanf(text, "%63[^:]:%lu:%d", fault->call, &fault->nth, &fault->code) == 3) {
            fault_count++;
        } else {
            (void)fprintf(stderr, "double: cannot read WLOAD_DOUBLE_FAIL at '%s'\n", text);
            abort();
        }
        text += strcspn(text, ",");
        text += *text == ',';
    }
}

static void read_settings(void)
{
    struct double_settings *settings = &double_state.settings;
    int count = (int)strtol(setting("WLOAD_DOUBLE_DEVICES", "1"), NULL, 10);

    settings->device_count = count < DOUBLE_DEVICES_MAX ? count : DOUBLE_DEVICES_MAX;
    settings->memory_bytes = strtoull(setting("WLOAD_DOUBLE_MEMORY", "4294967296"), NULL, 0);
    settings->gbps = strtod(setting("WLOAD_DOUBLE_GBPS", "0"), NULL);
    settings->jitter_us = (unsigned)strtoul(setting("WLOAD_DOUBLE_JITTER_US", "0"), NULL, 0);
    settings->is_lazy = strcmp(setting("WLOAD_DOUBLE_MODE", "eager"), "lazy") == 0;
    settings->is_strict = is_set("WLOAD_DOUBLE_STRICT");
    settings->is_discarding = is_set("WLOAD_DOUBLE_DISCARD");
    read_faults(setting("WLOAD_DOUBLE_FAIL", ""));
}

void double_blame(const char *what)
{
    (void)fprintf(stderr, "double: %s\n", what);
    if (double_state.settings.is_strict) {
        abort();
    }
}

int double_injected(const char *call)
{
    for (size_t i = 0; i < fault_count; i++) {
        struct fault *fault = &faults[i];

        if (strcmp(fault->call, call) == 0 && (fault->nth == 0 || ++fault->seen == fault->nth)) {
            double_state.counters.failures++;
            return fault->code;
        }
    }
    return DOUBLE_OK;
}

int double_enter(const char *call)
{
    int code;

    (void)pthread_mutex_lock(&double_state.lock);
    double_state.counters.calls++;
    if (double_in_callback) {
        double_blame("a driver call inside a callback");
    }
    code = double_state.is_initialized ? double_injected(call) : DOUBLE_NOT_INITIALIZED;
    if (code != DOUBLE_OK && strstr(call, "HostRegister")) {
        double_state.counters.refused++;
    }
    if (code == DOUBLE_OK) {
        code = double_state.sticky;
    }
    (void)pthread_mutex_unlock(&double_state.lock);
    return code;
}

int double_init(const char *call, unsigned flags)
{
    int code;

    (void)pthread_mutex_lock(&double_state.lock);
    if (!double_state.is_initialized) {
        read_settings();
    }
    code = double_injected(call);
    if (code == DOUBLE_OK && flags != 0) {
        code = DOUBLE_INVALID_VALUE;
    }
    if (code == DOUBLE_OK && double_state.settings.device_count == 0) {
        code = DOUBLE_NO_DEVICE;
    }
    double_state.is_initialized = double_state.is_initialized || code == DOUBLE_OK;
    (void)pthread_mutex_unlock(&double_state.lock);
    return code;
}

const char *double_error_text(int code)
{
    switch (code) {
    case DOUBLE_OK:
        return "no error";
    case DOUBLE_INVALID_VALUE:
        return "invalid argument";
    case DOUBLE_OUT_OF_MEMORY:
        return "out of memory";
    case DOUBLE_NOT_INITIALIZED:
        return "not initialized";
    case DOUBLE_NO_DEVICE:
        return "no device";
    case DOUBLE_INVALID_DEVICE:
        return "invalid device number";
    case DOUBLE_INVALID_CONTEXT:
        return "no current context";
    default:
        return "an error of the double";
    }
}

/* ---- Counters, for tests ---------------------------------------------------------- */

static uint64_t counter(const char *name)
{
#define DOUBLE_LOOK_UP(field)               \
    if (strcmp(name, #field) == 0) {        \
        return double_state.counters.field; \
    }
    DOUBLE_COUNTERS(DOUBLE_LOOK_UP)
#undef DOUBLE_LOOK_UP
    (void)fprintf(stderr, "double: there is no counter '%s'\n", name);
    abort();
}

uint64_t wload_double_counter(const char *name)
{
    uint64_t value;

    (void)pthread_mutex_lock(&double_state.lock);
    value = counter(name);
    (void)pthread_mutex_unlock(&double_state.lock);
    return value;
}

/* A new beginning but for what is alive. */
void wload_double_reset(void)
{
    (void)pthread_mutex_lock(&double_state.lock);
    read_settings();
    double_state.sticky = DOUBLE_OK;
    double_state.counters.calls = 0;
    double_state.counters.failures = 0;
    double_state.counters.copies_in = 0;
    double_state.counters.bytes_in = 0;
    double_state.counters.bytes_out = 0;
    double_state.counters.pageable = 0;
    double_state.counters.refused = 0;
    double_state.counters.notices = 0;
    (void)pthread_mutex_unlock(&double_state.lock);
}

__attribute__((destructor)) static void write_report(void)
{
    const char *path = getenv("WLOAD_DOUBLE_REPORT");
    FILE *file = path && *path ? fopen(path, "we") : NULL;

    if (!file) {
        return;
    }
    (void)pthread_mutex_lock(&double_state.lock);
#define DOUBLE_PRINT(name) \
    (void)fprintf(file, "%s %llu\n", #name, (unsigned long long)double_state.counters.name);
    DOUBLE_COUNTERS(DOUBLE_PRINT)
#undef DOUBLE_PRINT
    (void)pthread_mutex_unlock(&double_state.lock);
    (void)fclose(file);
}
