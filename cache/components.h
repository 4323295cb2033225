/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a diffusion pipeline, as its model_index.json names them. */
#ifndef WL_COMPONENTS_H
#define WL_COMPONENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wload.h"

#define WL_PIPELINE_FILE "model_index.json"

struct wl_components {
    char **names;         /* each the name of a folder */
    bool *are_weightless; /* by name: of a class that has no weights, as a tokenizer */
    uint32_t count;
};

/* `what` names the text in errors. */
int wl_components_parse(const char *text, size_t size_bytes, const char *what,
                        struct wl_components *out, struct wload_error *err);
/* The same from a file. */
int wl_components_read(const char *path, struct wl_components *out, struct wload_error *err);
void wl_components_clear(struct wl_components *components);

#endif /* WL_COMPONENTS_H */
