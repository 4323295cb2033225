/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries of others that are loaded when they are first needed: what is never
 * used costs nothing at start, and where one is missing all else works.
 *
 * A library once loaded stays: its threads and exit handlers outlive any dlclose().
 */
#ifndef WL_LIBRARY_H
#define WL_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wload.h"

struct wl_library_call {
    const char *symbol; /* NULL: no such call in this library */
    size_t offset;      /* of its pointer in the table */
    bool is_optional;   /* may be missing; its pointer is then NULL */
};

struct wl_library {
    const char *const *names; /* the first that is there is used; NULL ends them */
    const char *noun;         /* for messages: "driver library" */
    const char *remedy;       /* ends messages: "; install it", or "" */
    int broken;               /* the status for one that is there and cannot be used */
    const struct wl_library_call *calls;
    size_t call_count;
};

/*
 * Load the library and point `table` to its calls.  WLOAD_ERR_UNSUPPORTED: none is
 * there.  library->broken: one is there, and it does not load or is too old.
 */
int wl_library_load(const struct wl_library *library, void *table, struct wload_error *err);

/* Whether none is there: not even one that is broken. */
bool wl_library_is_absent(const struct wl_library *library);

/* ---- What packagers see ---- */

/*
 * Define `names`, an array for struct wl_library, and tell of it in the ELF file as
 * https://systemd.io/ELF_DLOPEN_METADATA/ has it.  `priority` is "required",
 * "recommended" or "suggested".  All but `names` are string literals.
 */
#define WL_LIBRARY_NAMES(names, feature, description, priority, ...)                     \
    WL_LIBRARY_NOTE(names##_note,                                                        \
                    "[{\"feature\":\"" feature "\",\"description\":\"" description       \
                    "\",\"priority\":\"" priority "\",\"soname\":[" #__VA_ARGS__ "]}]"); \
    static const char *const names[] = {__VA_ARGS__, NULL}

/* The size of the struct is a multiple of 4, where the next note begins. */
#define WL_LIBRARY_NOTE(note, json)                                                           \
    static const struct {                                                                     \
        uint32_t owner_bytes;                                                                 \
        uint32_t json_bytes;                                                                  \
        uint32_t type;                                                                        \
        char owner[4];                                                                        \
        char text[sizeof(json)];                                                              \
    } note WL_LIBRARY_UNPADDED __attribute__((used, aligned(4), section(".note.dlopen"))) = { \
        sizeof("FDO"), sizeof(json), 0x407c0c0a, "FDO", json,                                 \
    }

/* clang's address sanitizer would put space between the notes; gcc's does not. */
#ifdef __clang__
#define WL_LIBRARY_UNPADDED __attribute__((no_sanitize("address")))
#else
#define WL_LIBRARY_UNPADDED
#endif

#endif /* WL_LIBRARY_H */
