/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models that nobody trained: the names, dtypes and proportions of well-known
 * architectures at any size, with random weights that a seed reproduces.
 *
 *   synth_build()   preset, size -> components with their tensors, in memory
 *   synth_plan()    components, shards -> names, headers and indexes of all files
 *   synth_write()   files, seed -> a directory with all of them, or as it was before
 */
#ifndef WLOAD_SYNTH_H
#define WLOAD_SYNTH_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wload.h"

#define SYNTH_RANK_MAX       4u
#define SYNTH_COMPONENTS_MAX 5u
#define SYNTH_SIZE_BYTES_MAX (16ull << 40)

struct synth_shape {
    uint32_t rank;
    uint64_t dimensions[SYNTH_RANK_MAX];
};

struct synth_tensor {
    char *name;
    enum wload_dtype dtype;
    struct synth_shape shape;
    uint64_t size_bytes;
    uint64_t number; /* in the component: its content depends on it, not on its file */
};

/* A directory with a configuration and perhaps weights. */
struct synth_component {
    const char *directory; /* "" for the root */
    const char *stem;      /* of the weights' names, "model" for example */
    const char *config_name;
    cJSON *config;
    struct synth_tensor *tensors; /* NULL while only measuring */
    size_t tensor_count;
    size_t tensor_max;
    uint64_t size_bytes;
    bool is_measured;  /* count tensors and bytes, keep nothing */
    bool is_exhausted; /* memory ran out: what was added is not all there */
};

struct synth_model {
    struct synth_component components[SYNTH_COMPONENTS_MAX];
    size_t component_count;
    cJSON *pipeline; /* model_index.json, or NULL */
    size_t tensor_count;
    uint64_t size_bytes; /* of all tensors */
};

/* How large a member of a family of models is. */
struct synth_scale {
    uint64_t hidden;
    uint64_t layers;
    uint64_t vocabulary;
};

/* An architecture that is scaled by its width; depth follows, the vocabulary fills up. */
struct synth_family {
    const char *directory;
    const char *stem;
    uint64_t hidden_step;
    uint64_t hidden_per_layer;
    uint64_t layers_min;
    uint64_t vocabulary_bytes; /* of one more word, for each of `hidden`; 0: has no vocabulary */
    void (*add)(struct synth_component *component, const struct synth_scale *scale);
    cJSON *(*configure)(const struct synth_scale *scale);
};

static inline struct synth_shape synth_1d(uint64_t size)
{
    return (struct synth_shape){1, {size}};
}

static inline struct synth_shape synth_2d(uint64_t rows, uint64_t columns)
{
    return (struct synth_shape){2, {rows, columns}};
}

static inline struct synth_shape synth_4d(uint64_t out, uint64_t in, uint64_t side)
{
    return (struct synth_shape){4, {out, in, side, side}};
}

/* Append a tensor, its name in printf's manner. */
__attribute__((format(printf, 4, 5))) void synth_add(struct synth_component *component,
                                                     enum wload_dtype dtype,
                                                     struct synth_shape shape, const char *fmt,
                                                     ...);

/* Make the largest member of `family` that fits into size_bytes a component of `model`. */
void synth_add_component(struct synth_model *model, const struct synth_family *family,
                         uint64_t size_bytes);

/* The middle between tensors and files: aiming at it brings both near what was asked for. */
uint64_t synth_aim_bytes(const struct synth_component *component);

void synth_configure(cJSON *config, const char *name, uint64_t value);
/* What the config.json of every language model here begins with. */
cJSON *synth_configure_causal(const struct synth_scale *scale, const char *architecture,
                              const char *type);

/* The presets, each in its own file: fill the empty `model` with about size_bytes. */
void synth_add_llama(struct synth_model *model, uint64_t size_bytes);
void synth_add_moe(struct synth_model *model, uint64_t size_bytes);
void synth_add_pipeline(struct synth_model *model, uint64_t size_bytes);

bool synth_is_preset(const char *preset);
int synth_build(const char *preset, uint64_t size_bytes, struct synth_model *out,
                struct wload_error *err);
void synth_clear(struct synth_model *model);

const char *synth_dtype_name(enum wload_dtype dtype);
uint32_t synth_dtype_bits(enum wload_dtype dtype);

/* A text, then the content of a run of tensors: a shard's header and weights, or just JSON. */
struct synth_file {
    char *name; /* below the model's directory */
    char *text;
    size_t text_bytes;
    const struct synth_tensor *tensors;
    size_t tensor_count;
    uint64_t size_bytes; /* in all */
    uint64_t stream;     /* of random numbers: each component has its own */
};

struct synth_files {
    struct synth_file *items; /* in the order in which they may appear: an index after its shards */
    size_t count;
    size_t max;
    size_t shard_count; /* of these, files with weights */
    uint64_t size_bytes;
};

/* Cut each component into `shard_count` files.  Sorts the tensors as files have them. */
int synth_plan(struct synth_model *model, size_t shard_count, struct synth_files *out,
               struct wload_error *err);
void synth_files_clear(struct synth_files *files);

/*
 * Write them into the directory `path`, which is made if it is not there and must be
 * empty unless `is_forced`: then the weights and indexes there are replaced.  After a
 * failure or an interrupt the directory is as it was.
 */
int synth_write(const struct synth_model *model, const struct synth_files *files, const char *path,
                uint64_t seed, bool is_forced, struct wload_error *err);

#endif /* WLOAD_SYNTH_H */
