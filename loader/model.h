/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model: the files that a spec means, and the tensors in them.
 *
 *   spec --resolve--> manifest --headers, several at once--> tables --index--> model
 *
 * Immutable once opened; counted by reference (its caller, and each job).  Holds
 * no descriptor: a job opens the files again and compares their identity.
 */
#ifndef WL_MODEL_H
#define WL_MODEL_H

#include <stdatomic.h>

#include "base/file.h"
#include "loader/context.h"
#include "loader/index.h"

struct wload_model {
    atomic_uint references;
    struct wload_context *context;
    struct wload_model_info info;
    struct wl_index index;
    struct wload_file *files; /* info.file_count; the paths are owned */
    struct wl_file_identity *identities;
};

struct wload_model *wl_model_share(struct wload_model *model);

#endif /* WL_MODEL_H */
