/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A double of the CUDA driver and of the HIP runtime, for machines without a GPU:
 * the calls that copies need, with the real ones' rules of order and lifetime.
 *
 *   - each stream is a thread; nothing runs inside the call that submits it
 *   - a device address faults when the host touches it: it lies in a window without
 *     access rights, and the bytes are in a shadow elsewhere
 *   - device addresses are never given twice, and new device memory is not zero
 *   - a copy that fails while it runs makes its device fail for good, as real ones do
 *
 * It proves order, lifetime, error paths and bytes.  It does not model bandwidth
 * shared by streams, copy engines, driver locks or the time that errors take.
 *
 * Environment, read by the first cuInit() or hipInit() and by wload_double_reset():
 *
 *   WLOAD_DOUBLE_DEVICES=N      devices, 0 to 8; default 1
 *   WLOAD_DOUBLE_MEMORY=BYTES   of each device; default 4 GiB
 *   WLOAD_DOUBLE_MODE=lazy      run only what somebody waits for; a poller is served
 *                               from its fourth poll on; default: eager
 *   WLOAD_DOUBLE_JITTER_US=N    each operation first takes up to N microseconds
 *   WLOAD_DOUBLE_GBPS=X         a copy takes at least its size / X
 *   WLOAD_DOUBLE_DISCARD=1      copies into a device are checked and write nothing
 *   WLOAD_DOUBLE_FAIL=CALL:NTH:CODE[,...]
 *                               the NTH call of that name returns CODE, every one if NTH
 *                               is 0.  It does nothing else, unless it is one that frees:
 *                               those free and then report, as real ones do.  CALL "copy"
 *                               is not a call but the running of a copy into a device.
 *   WLOAD_DOUBLE_STRICT=1       abort, saying why, on: an asynchronous copy from memory
 *                               that is not registered (unless the double itself refused
 *                               to register some), a source that changed before its copy
 *                               ran, memory freed or unregistered under a copy, a stream
 *                               destroyed with work in flight (unless the double failed a
 *                               call), an unknown stream or event, a driver call inside a
 *                               callback
 *   WLOAD_DOUBLE_REPORT=PATH    at exit, write all counters there, one "name value" a line
 *
 * Besides the drivers' names it exports wload_double_reset() and wload_double_counter().
 */
#ifndef DOUBLE_H
#define DOUBLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOUBLE_API __attribute__((visibility("default")))

#define DOUBLE_DEVICES_MAX 8

enum double_code {
    DOUBLE_OK = 0,
    DOUBLE_INVALID_VALUE = 1,
    DOUBLE_OUT_OF_MEMORY = 2,
    DOUBLE_NOT_INITIALIZED = 3,
    DOUBLE_NO_DEVICE = 100,
    DOUBLE_INVALID_DEVICE = 101,
    DOUBLE_INVALID_CONTEXT = 201,
    DOUBLE_INVALID_HANDLE = 400,
    DOUBLE_NOT_READY = 600,
    DOUBLE_ALREADY_REGISTERED = 712,
    DOUBLE_NOT_REGISTERED = 713
};

/* X(name): what is counted; "live_" are the objects that exist now. */
#define DOUBLE_COUNTERS(X) \
    X(calls)               \
    X(failures)            \
    X(copies_in)           \
    X(bytes_in)            \
    X(bytes_out)           \
    X(pageable)            \
    X(refused)             \
    X(notices)             \
    X(live_memory)         \
    X(live_pins)           \
    X(live_streams)        \
    X(live_events)         \
    X(live_contexts)

struct double_counters {
#define DOUBLE_FIELD(name) uint64_t name;
    DOUBLE_COUNTERS(DOUBLE_FIELD)
#undef DOUBLE_FIELD
};

struct double_settings {
    int device_count;
    uint64_t memory_bytes;
    double gbps;
    unsigned jitter_us;
    bool is_lazy;
    bool is_strict;
    bool is_discarding;
};

/* Everything below is under `lock`; `changed` is signalled whenever a waiter might go on. */
struct double_state {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_initialized;
    int sticky; /* the code of a copy that failed while it ran */
    struct double_settings settings;
    struct double_counters counters;
};

extern struct double_state double_state;

/* ---- The drivers' names ----------------------------------------------------------- */

/* Define the call `name`: refused as double_enter() says, else what `result` returns. */
#define DOUBLE_CALL(name, parameters, result)             \
    DOUBLE_API int name parameters;                       \
    int name parameters                                   \
    {                                                     \
        int refusal = double_enter(#name);                \
        return refusal != DOUBLE_OK ? refusal : (result); \
    }

/* The same for a call that frees: it does so even if it must return another error. */
#define DOUBLE_FREEING_CALL(name, parameters, result) \
    DOUBLE_API int name parameters;                   \
    int name parameters                               \
    {                                                 \
        int refusal = double_enter(#name);            \
        int code = (result);                          \
        return refusal != DOUBLE_OK ? refusal : code; \
    }

/* ---- state.c: settings, failures on demand, complaints, counters ---------------- */

/* First thing in every driver call: DOUBLE_OK, or the code that it must return. */
int double_enter(const char *call);
int double_init(const char *call, unsigned flags);
/* Whether this one shall fail, and with what; under the lock. */
int double_injected(const char *call);
/* The program under test broke a rule of the driver. */
void double_blame(const char *what);
const char *double_error_text(int code);
/* Set while this thread runs a callback of the program. */
extern _Thread_local bool double_in_callback;

DOUBLE_API void wload_double_reset(void);
DOUBLE_API uint64_t wload_double_counter(const char *name);

/* ---- device.c ----------------------------------------------------------------------- */

bool double_is_device(int device);
int double_driver_version(int *out);
int double_device_count(int *out);
int double_device_get(int *out, int index);
int double_device_name(char *out, int size, int device);
int double_device_pci(char *out, int size, int device);

/* ---- memory.c: device memory and registered host memory -------------------------- */

int double_memory_info(int device, size_t *free_bytes, size_t *bytes);
int double_memory_alloc(int device, uintptr_t *out, size_t size);
int double_memory_free(uintptr_t address);
int double_host_register(void *memory, size_t size, unsigned flags);
int double_host_unregister(void *memory);

/* Where the bytes of device memory are, or NULL if it is not wholly in one live allocation; under
 * the lock. */
void *double_shadow(uintptr_t address, size_t size);
/* Whether it may be device memory, live or not; under the lock. */
bool double_is_device_address(uintptr_t address);
/* Whether host memory is registered as a whole; under the lock. */
bool double_is_registered(uintptr_t address, size_t size);

/* ---- stream.c: threads that carry out operations in order ------------------------- */

struct double_event;
typedef void (*double_callback)(void *stream, int status, void *user);
typedef void (*double_host_func)(void *user);

int double_stream_create(int device, void **out, unsigned flags);
int double_stream_destroy(void *handle);
int double_stream_sync(void *handle);
int double_copy_in(uintptr_t target, const void *source, size_t size, void *stream);
int double_copy_out(void *target, uintptr_t source, size_t size, void *stream);
int double_stream_callback(void *stream, double_callback callback, void *user, unsigned flags);
int double_stream_host_func(void *stream, double_host_func function, void *user);

/* Whether an operation not yet done reads or writes this memory; under the lock. */
bool double_is_busy(const void *memory, size_t size);

struct double_stream;

/* The stream of a handle, or NULL after a complaint; under the lock. */
struct double_stream *double_stream_find(void *handle);
/* Queue a record of the event, or a wait for its last record; under the lock. */
uint64_t double_stream_record(struct double_stream *stream, struct double_event *event);
void double_stream_wait(struct double_stream *stream, struct double_event *event);
/* In lazy mode: let a stream go on up to the operation of that number; under the lock. */
void double_stream_demand(struct double_stream *stream, uint64_t number);

/* ---- event.c ---------------------------------------------------------------------- */

/*
 * An event counts its records: a wait is for the count at the time it was asked for,
 * so a later record does not disturb it.
 */
struct double_event {
    struct double_event *next;
    uint64_t recorded;            /* records asked for */
    uint64_t reached;             /* records passed by their stream */
    unsigned polls;               /* since the last record */
    unsigned users;               /* the owner, and operations not yet done */
    struct double_stream *stream; /* of the last record, and its number there */
    uint64_t number;
};

int double_event_create(void **out, unsigned flags);
int double_event_destroy(void *handle);
int double_event_record(void *handle, void *stream);
int double_event_query(void *handle);
int double_stream_wait_event(void *stream, void *handle, unsigned flags);
/* One user less; under the lock. */
void double_event_drop(struct double_event *event);

#endif /* DOUBLE_H */
