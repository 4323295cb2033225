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
#include "cache/snapshot.h"
#include "loader/context.h"
#include "loader/index.h"

#define WL_NOT_LISTED UINT32_MAX

struct wload_model {
    atomic_uint references;
    struct wload_context *context;
    struct wload_model_info info;
    struct wl_index index;
    struct wload_file *files;            /* info.file_count; the paths are owned */
    struct wl_file_identity *identities; /* of files on this machine */
    /* A model that is not all on this machine: */
    struct wl_snapshot *snapshot; /* which knows where the rest is; NULL: there is none */
    uint32_t *listed; /* by file: its number in the snapshot's listing; WL_NOT_LISTED: here */
    uint32_t connection_count;         /* 0: the default */
    enum wload_io_policy write_policy; /* of what is kept */
    bool is_unkept;                    /* nothing is kept of what comes: */
    char *unkept_why;                  /* why, where that was not asked for; else NULL */
    char *note;                        /* what info.note says; NULL: "" */
};

struct wload_model *wl_model_share(struct wload_model *model);

#endif /* WL_MODEL_H */
