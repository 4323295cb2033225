/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "bench/synth.h"
#include "bench/text.h"

#define WIDTH_STEPS_MAX    8192u
#define BODY_PERCENT       94u /* of the size, at most; the rest is vocabulary */
#define VOCABULARY_MIN     16u
#define HEADER_ENTRY_BYTES 130u /* of one tensor, about */
#define TOLERANCE_DIVISOR  50u  /* 2 % */
#define SCALE_BLOCK        128u /* fp8 weights have one scale for so many rows and columns */
#define EXPERTS_MIN        4u
#define TENSORS_FIRST      64u

struct preset {
    const char *name;
    void (*build)(struct synth_model *model, uint64_t size_bytes);
};

const char *synth_dtype_name(enum wload_dtype dtype)
{
    static const char *const names[] = {
#define NAME(name, value, bits) [value] = #name,
        WLOAD_DTYPE_MAP(NAME)
#undef NAME
    };

    return names[dtype];
}

uint32_t synth_dtype_bits(enum wload_dtype dtype)
{
    static const uint32_t sizes[] = {
#define BITS(name, value, bits) [value] = (bits),
        WLOAD_DTYPE_MAP(BITS)
#undef BITS
    };

    return sizes[dtype];
}

/* The next free place, or NULL without memory. */
static struct synth_tensor *grow(struct synth_component *component)
{
    if (component->tensor_count == component->tensor_max) {
        size_t max = wl_max(TENSORS_FIRST, component->tensor_max * 2);
        struct synth_tensor *tensors =
            reallocarray(component->tensors, max, sizeof(component->tensors[0]));

        if (!tensors) {
            return NULL;
        }
        component->tensors = tensors;
        component->tensor_max = max;
    }
    return &component->tensors[component->tensor_count];
}

void synth_add(struct synth_component *component, enum wload_dtype dtype, struct synth_shape shape,
               const char *fmt, ...)
{
    uint64_t size_bytes = synth_dtype_bits(dtype) / 8;

    for (uint32_t i = 0; i < shape.rank; i++) {
        size_bytes *= shape.dimensions[i];
    }
    if (!component->is_measured) {
        struct synth_tensor *tensor = grow(component);
        va_list ap;

        if (!tensor) {
            component->is_exhausted = true;
            return;
        }
        *tensor = (struct synth_tensor){NULL, dtype, shape, size_bytes, component->tensor_count};
        va_start(ap, fmt);
        if (vasprintf(&tensor->name, fmt, ap) < 0) {
            component->is_exhausted = true;
            va_end(ap);
            return;
        }
        va_end(ap);
    }
    component->tensor_count++;
    component->size_bytes += size_bytes;
}

uint64_t synth_aim_bytes(const struct synth_component *component)
{
    return component->size_bytes + component->tensor_count * HEADER_ENTRY_BYTES / 2;
}

static struct synth_scale scale_of(const struct synth_family *family, uint64_t step)
{
    struct synth_scale scale = {.hidden = family->hidden_step * step};

    scale.layers = (scale.hidden + family->hidden_per_layer / 2) / family->hidden_per_layer;
    scale.layers = wl_max(scale.layers, family->layers_min);
    return scale;
}

static uint64_t measure(const struct synth_family *family, const struct synth_scale *scale)
{
    struct synth_component component = {.is_measured = true};

    family->add(&component, scale);
    return synth_aim_bytes(&component);
}

void synth_add_component(struct synth_model *model, const struct synth_family *family,
                         uint64_t size_bytes)
{
    struct synth_component *component = &model->components[model->component_count++];
    uint64_t body_max = family->vocabulary_bytes ? size_bytes / 100 * BODY_PERCENT : size_bytes;
    struct synth_scale scale = scale_of(family, 1);

    for (uint64_t step = 2; step <= WIDTH_STEPS_MAX; step++) {
        struct synth_scale wider = scale_of(family, step);

        if (measure(family, &wider) > body_max) {
            break;
        }
        scale = wider;
    }
    if (family->vocabulary_bytes) {
        uint64_t body = measure(family, &scale);
        uint64_t left = size_bytes > body ? size_bytes - body : 0;

        scale.vocabulary = left / (family->vocabulary_bytes * scale.hidden);
        scale.vocabulary = wl_max(scale.vocabulary, VOCABULARY_MIN);
    }
    component->directory = family->directory;
    component->stem = family->stem;
    component->config_name = "config.json";
    component->config = family->configure(&scale);
    family->add(component, &scale);
}

void synth_configure(cJSON *config, const char *name, uint64_t value)
{
    (void)cJSON_AddNumberToObject(config, name, (double)value);
}

cJSON *synth_configure_causal(const struct synth_scale *scale, const char *architecture,
                              const char *type)
{
    cJSON *config = cJSON_CreateObject();

    (void)cJSON_AddItemToObject(config, "architectures", cJSON_CreateStringArray(&architecture, 1));
    (void)cJSON_AddStringToObject(config, "model_type", type);
    (void)cJSON_AddStringToObject(config, "torch_dtype", "bfloat16");
    synth_configure(config, "hidden_size", scale->hidden);
    synth_configure(config, "num_hidden_layers", scale->layers);
    synth_configure(config, "vocab_size", scale->vocabulary);
    (void)cJSON_AddFalseToObject(config, "tie_word_embeddings");
    return config;
}

static const struct preset presets[] = {
    {"llama", synth_add_llama},
    {"moe", synth_add_moe},
    {"diffusion", synth_add_pipeline},
};

static const struct preset *find_preset(const char *name)
{
    for (size_t i = 0; i < WL_COUNT_OF(presets); i++) {
        if (strcmp(presets[i].name, name) == 0) {
            return &presets[i];
        }
    }
    return NULL;
}

bool synth_is_preset(const char *preset)
{
    return find_preset(preset) != NULL;
}

static bool is_near(uint64_t size_bytes, uint64_t wanted_bytes)
{
    uint64_t apart =
        size_bytes > wanted_bytes ? size_bytes - wanted_bytes : wanted_bytes - size_bytes;

    return apart <= wanted_bytes / TOLERANCE_DIVISOR;
}

int synth_build(const char *preset, uint64_t size_bytes, struct synth_model *out,
                struct wload_error *err)
{
    struct synth_model model = {0};
    char size[TEXT_SIZE_BYTES];
    bool is_exhausted = false;
    int rc = WLOAD_OK;

    find_preset(preset)->build(&model, size_bytes);
    for (size_t i = 0; i < model.component_count; i++) {
        model.tensor_count += model.components[i].tensor_count;
        model.size_bytes += model.components[i].size_bytes;
        is_exhausted |= model.components[i].is_exhausted || !model.components[i].config;
    }
    if (is_exhausted) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the tensors of the model");
    } else if (!is_near(model.size_bytes, size_bytes) ||
               !is_near(model.size_bytes + model.tensor_count * HEADER_ENTRY_BYTES, size_bytes)) {
        rc = wl_err_set(err, WLOAD_ERR_INVALID, "%s is too little for a model of preset '%s'",
                        text_size(size_bytes, size), preset);
    }
    if (rc < 0) {
        synth_clear(&model);
        return rc;
    }
    *out = model;
    return WLOAD_OK;
}

void synth_clear(struct synth_model *model)
{
    for (size_t i = 0; i < model->component_count; i++) {
        struct synth_component *component = &model->components[i];

        for (size_t j = 0; j < component->tensor_count; j++) {
            free(component->tensors[j].name);
        }
        free(component->tensors);
        cJSON_Delete(component->config);
    }
    cJSON_Delete(model->pipeline);
}
