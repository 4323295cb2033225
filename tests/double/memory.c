/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "double.h"

/* Addresses are never given twice, so the window is many times the memory. */
#define WINDOW_BYTES  (1ull << 36)
#define GRANULE_BYTES ((size_t)2 << 20) /* device memory comes in these, as in a real driver */
#define POISON        0xCB

/* One allocation, or one registration of host memory (no shadow). */
struct range {
    struct range *next;
    uintptr_t address;
    size_t size;
    void *shadow;
    int device;
};

static struct range *allocations;
static struct range *registrations;
static uintptr_t windows[DOUBLE_DEVICES_MAX];
static uint64_t given_bytes[DOUBLE_DEVICES_MAX]; /* of the window, ever */
static uint64_t used_bytes[DOUBLE_DEVICES_MAX];  /* of the memory, now */

static size_t granules(size_t size)
{
    return (size + GRANULE_BYTES - 1) & ~(GRANULE_BYTES - 1);
}

static struct range *find_in(struct range *list, uintptr_t address, size_t size)
{
    for (struct range *range = list; range; range = range->next) {
        if (address >= range->address && size <= range->size &&
            address - range->address <= range->size - size) {
            return range;
        }
    }
    return NULL;
}

/* Take the range that begins at `address` out of the list. */
static struct range *take_from(struct range **list, uintptr_t address)
{
    for (struct range **at = list; *at; at = &(*at)->next) {
        if ((*at)->address == address) {
            struct range *range = *at;

            *at = range->next;
            return range;
        }
    }
    return NULL;
}

static void add_to(struct range **list, struct range values)
{
    struct range *range = malloc(sizeof(*range));

    if (!range) {
        abort();
    }
    *range = values;
    range->next = *list;
    *list = range;
}

static uintptr_t map(size_t size, int protection)
{
    void *memory = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? 0 : (uintptr_t)memory;
}

void *double_shadow(uintptr_t address, size_t size)
{
    struct range *range = find_in(allocations, address, size);

    return range ? (char *)range->shadow + (address - range->address) : NULL;
}

bool double_is_device_address(uintptr_t address)
{
    for (int device = 0; device < DOUBLE_DEVICES_MAX; device++) {
        if (windows[device] && address >= windows[device] &&
            address - windows[device] < WINDOW_BYTES) {
            return true;
        }
    }
    return false;
}

bool double_is_registered(uintptr_t address, size_t size)
{
    return find_in(registrations, address, size) != NULL;
}

int double_memory_info(int device, size_t *free_bytes, size_t *bytes)
{
    if (device < 0) {
        return DOUBLE_INVALID_CONTEXT;
    }
    (void)pthread_mutex_lock(&double_state.lock);
    *bytes = double_state.settings.memory_bytes;
    *free_bytes = *bytes > used_bytes[device] ? *bytes - used_bytes[device] : 0;
    (void)pthread_mutex_unlock(&double_state.lock);
    return DOUBLE_OK;
}

/* Under the lock. */
static int allocate(int device, uintptr_t *out, size_t size)
{
    size_t taken = granules(size);
    struct range range = {.size = size, .device = device};

    if (taken > double_state.settings.memory_bytes ||
        used_bytes[device] > double_state.settings.memory_bytes - taken ||
        given_bytes[device] + taken > WINDOW_BYTES) {
        return DOUBLE_OUT_OF_MEMORY;
    }
    if (!windows[device]) {
        windows[device] = map(WINDOW_BYTES, PROT_NONE);
    }
    range.shadow = (void *)map(taken, PROT_READ | PROT_WRITE);
    if (!windows[device] || !range.shadow) {
        return DOUBLE_OUT_OF_MEMORY;
    }
    if (!double_state.settings.is_discarding) {
        memset(range.shadow, POISON, size);
    }
    range.address = windows[device] + given_bytes[device];
    given_bytes[device] += taken;
    used_bytes[device] += taken;
    double_state.counters.live_memory++;
    add_to(&allocations, range);
    *out = range.address;
    return DOUBLE_OK;
}

int double_memory_alloc(int device, uintptr_t *out, size_t size)
{
    int code;

    if (device < 0) {
        return DOUBLE_INVALID_CONTEXT;
    }
    if (size == 0) {
        return DOUBLE_INVALID_VALUE;
    }
    (void)pthread_mutex_lock(&double_state.lock);
    code = allocate(device, out, size);
    (void)pthread_mutex_unlock(&double_state.lock);
    return code;
}

int double_memory_free(uintptr_t address)
{
    struct range *range;

    if (address == 0) {
        return DOUBLE_OK;
    }
    (void)pthread_mutex_lock(&double_state.lock);
    range = take_from(&allocations, address);
    if (range) {
        if (double_is_busy(range->shadow, range->size)) {
            double_blame("device memory freed under a copy in flight");
        }
        (void)munmap(range->shadow, granules(range->size));
        used_bytes[range->device] -= granules(range->size);
        double_state.counters.live_memory--;
        free(range);
    }
    (void)pthread_mutex_unlock(&double_state.lock);
    return range ? DOUBLE_OK : DOUBLE_INVALID_VALUE;
}

/* Under the lock. */
static int add_registration(uintptr_t address, size_t size)
{
    for (struct range *range = registrations; range; range = range->next) {
        if (address < range->address + range->size && range->address < address + size) {
            return DOUBLE_ALREADY_REGISTERED;
        }
    }
    add_to(&registrations, (struct range){.address = address, .size = size});
    double_state.counters.live_pins++;
    return DOUBLE_OK;
}

int double_host_register(void *memory, size_t size, unsigned flags)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    int code;

    if (size == 0 || flags != 1 || (uintptr_t)memory % page != 0 || size % page != 0) {
        return DOUBLE_INVALID_VALUE;
    }
    (void)pthread_mutex_lock(&double_state.lock);
    code = add_registration((uintptr_t)memory, size);
    (void)pthread_mutex_unlock(&double_state.lock);
    return code;
}

int double_host_unregister(void *memory)
{
    struct range *range;

    (void)pthread_mutex_lock(&double_state.lock);
    range = take_from(&registrations, (uintptr_t)memory);
    if (range) {
        if (double_is_busy(memory, range->size)) {
            double_blame("host memory unregistered under a copy in flight");
        }
        double_state.counters.live_pins--;
        free(range);
    }
    (void)pthread_mutex_unlock(&double_state.lock);
    return range ? DOUBLE_OK : DOUBLE_NOT_REGISTERED;
}
