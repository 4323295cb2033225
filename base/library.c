/* SPDX-License-Identifier: Apache-2.0 */
#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

#include "base/err.h"

/*
 * The C library's message begins with the file that it could not open: our own
 * name if there is no such library, else the path of one that is there and
 * damaged, or the name of another that it needs.
 */
static bool says_absent(const char *message, const char *name)
{
    size_t length = strlen(name);

    return strncmp(message, name, length) == 0 && message[length] == ':';
}

/* NULL with *message: *name is there and does not load; without: none is there. */
static void *open_first(const struct wl_library *library, const char **name, const char **message)
{
    *message = NULL;
    for (size_t i = 0; library->names[i]; i++) {
        void *handle = dlopen(library->names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

        *name = library->names[i];
        if (handle) {
            return handle;
        }
        *message = dlerror();
        if (!says_absent(*message, *name)) {
            return NULL;
        }
        *message = NULL;
    }
    return NULL;
}

/* The name of a call that the library lacks, or NULL. */
static const char *find_missing(const struct wl_library *library, void *handle)
{
    for (size_t i = 0; i < library->call_count; i++) {
        const struct wl_library_call *call = &library->calls[i];

        if (call->symbol && !call->is_optional && !dlsym(handle, call->symbol)) {
            return call->symbol;
        }
    }
    return NULL;
}

int wl_library_load(const struct wl_library *library, void *table, struct wload_error *err)
{
    const char *name, *message, *missing;
    void *handle = open_first(library, &name, &message);

    if (!handle && message) {
        return wl_err_set(err, library->broken, "'%s' does not load: %s", name, message);
    }
    if (!handle) {
        return wl_err_set(err, WLOAD_ERR_UNSUPPORTED, "no %s '%s' on this machine%s", library->noun,
                          library->names[0], library->remedy);
    }
    missing = find_missing(library, handle);
    if (missing) {
        return wl_err_set(err, library->broken, "'%s' has no %s: the %s is too old%s", name,
                          missing, library->noun, library->remedy);
    }
    for (size_t i = 0; i < library->call_count; i++) {
        const struct wl_library_call *call = &library->calls[i];
        void *address;

        if (call->symbol) {
            address = dlsym(handle, call->symbol);
            memcpy((char *)table + call->offset, &address, sizeof(address));
        }
    }
    return WLOAD_OK;
}

bool wl_library_is_absent(const struct wl_library *library)
{
    const char *name, *message;

    return !open_first(library, &name, &message) && !message;
}
