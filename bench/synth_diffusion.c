/* SPDX-License-Identifier: Apache-2.0 */
/* A pipeline from text to images in fp16: T5 encoder, diffusion transformer, autoencoder. */
#include <stdarg.h>
#include <stdio.h>

#include "base/base.h"
#include "bench/synth.h"

#define TRANSFORMER_PERCENT 20u /* of the pipeline's bytes; the text encoder takes what is left */
#define AUTOENCODER_PERCENT 4u
#define PREFIX_BYTES_MAX    96
#define T5_HEAD             64u
#define T5_BUCKETS          32u /* of relative positions */
#define DIT_HEADS           16u
#define DIT_PATCH           2ull
#define DIT_TIME            256u
#define LATENTS             4ull
#define COLORS              3u
#define LEVELS_MAX          4u
#define GROUPS_MAX          32u

/* PREFIX.weight of that shape and PREFIX.bias of its first dimension. */
__attribute__((format(printf, 3, 4))) static void add_pair(struct synth_component *c,
                                                           struct synth_shape shape,
                                                           const char *fmt, ...)
{
    char prefix[PREFIX_BYTES_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(prefix, sizeof(prefix), fmt, ap);
    va_end(ap);
    synth_add(c, WLOAD_F16, shape, "%s.weight", prefix);
    synth_add(c, WLOAD_F16, synth_1d(shape.dimensions[0]), "%s.bias", prefix);
}

/* ---- Text encoder ------------------------------------------------------------ */

static uint64_t t5_inner(uint64_t hidden)
{
    return hidden * 5 / 2;
}

static void add_t5_block(struct synth_component *c, unsigned block, uint64_t hidden)
{
    static const char *const matrices[] = {"q", "k", "v", "o"};
    const struct synth_shape inner = synth_2d(t5_inner(hidden), hidden);
    const struct synth_shape outer = synth_2d(hidden, t5_inner(hidden));
    const struct synth_shape norm = synth_1d(hidden);

    for (size_t i = 0; i < WL_COUNT_OF(matrices); i++) {
        synth_add(c, WLOAD_F16, synth_2d(hidden, hidden),
                  "encoder.block.%u.layer.0.SelfAttention.%s.weight", block, matrices[i]);
    }
    if (block == 0) {
        synth_add(c, WLOAD_F16, synth_2d(T5_BUCKETS, hidden / T5_HEAD),
                  "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
    }
    synth_add(c, WLOAD_F16, norm, "encoder.block.%u.layer.0.layer_norm.weight", block);
    synth_add(c, WLOAD_F16, inner, "encoder.block.%u.layer.1.DenseReluDense.wi_0.weight", block);
    synth_add(c, WLOAD_F16, inner, "encoder.block.%u.layer.1.DenseReluDense.wi_1.weight", block);
    synth_add(c, WLOAD_F16, outer, "encoder.block.%u.layer.1.DenseReluDense.wo.weight", block);
    synth_add(c, WLOAD_F16, norm, "encoder.block.%u.layer.1.layer_norm.weight", block);
}

static void add_t5(struct synth_component *c, const struct synth_scale *scale)
{
    synth_add(c, WLOAD_F16, synth_2d(scale->vocabulary, scale->hidden), "shared.weight");
    for (unsigned block = 0; block < scale->layers; block++) {
        add_t5_block(c, block, scale->hidden);
    }
    synth_add(c, WLOAD_F16, synth_1d(scale->hidden), "encoder.final_layer_norm.weight");
}

static cJSON *configure_t5(const struct synth_scale *scale)
{
    static const char *const architectures[] = {"T5EncoderModel"};
    cJSON *config = cJSON_CreateObject();

    (void)cJSON_AddItemToObject(config, "architectures", cJSON_CreateStringArray(architectures, 1));
    (void)cJSON_AddStringToObject(config, "model_type", "t5");
    (void)cJSON_AddStringToObject(config, "torch_dtype", "float16");
    (void)cJSON_AddStringToObject(config, "feed_forward_proj", "gated-gelu");
    synth_configure(config, "d_model", scale->hidden);
    synth_configure(config, "d_ff", t5_inner(scale->hidden));
    synth_configure(config, "d_kv", T5_HEAD);
    synth_configure(config, "num_heads", scale->hidden / T5_HEAD);
    synth_configure(config, "num_layers", scale->layers);
    synth_configure(config, "vocab_size", scale->vocabulary);
    return config;
}

/* ---- Diffusion transformer ------------------------------------------------------ */

static uint64_t dit_caption(uint64_t hidden)
{
    return hidden * 7 / 2;
}

static void add_dit_block(struct synth_component *c, unsigned block, uint64_t hidden)
{
    static const char *const matrices[] = {"to_q", "to_k", "to_v", "to_out.0"};

    synth_add(c, WLOAD_F16, synth_2d(6, hidden), "transformer_blocks.%u.scale_shift_table", block);
    for (unsigned attention = 1; attention <= 2; attention++) {
        for (size_t i = 0; i < WL_COUNT_OF(matrices); i++) {
            add_pair(c, synth_2d(hidden, hidden), "transformer_blocks.%u.attn%u.%s", block,
                     attention, matrices[i]);
        }
    }
    add_pair(c, synth_2d(4 * hidden, hidden), "transformer_blocks.%u.ff.net.0.proj", block);
    add_pair(c, synth_2d(hidden, 4 * hidden), "transformer_blocks.%u.ff.net.2", block);
}

static void add_dit(struct synth_component *c, const struct synth_scale *scale)
{
    const struct synth_shape square = synth_2d(scale->hidden, scale->hidden);
    uint64_t hidden = scale->hidden;

    synth_add(c, WLOAD_F16, synth_2d(2, hidden), "scale_shift_table");
    add_pair(c, synth_4d(hidden, LATENTS, DIT_PATCH), "pos_embed.proj");
    add_pair(c, synth_2d(hidden, DIT_TIME), "adaln_single.emb.timestep_embedder.linear_1");
    add_pair(c, square, "adaln_single.emb.timestep_embedder.linear_2");
    add_pair(c, synth_2d(6 * hidden, hidden), "adaln_single.linear");
    add_pair(c, synth_2d(hidden, dit_caption(hidden)), "caption_projection.linear_1");
    add_pair(c, square, "caption_projection.linear_2");
    for (unsigned block = 0; block < scale->layers; block++) {
        add_dit_block(c, block, hidden);
    }
    add_pair(c, synth_2d(2 * LATENTS * DIT_PATCH * DIT_PATCH, hidden), "proj_out");
}

static cJSON *configure_dit(const struct synth_scale *scale)
{
    cJSON *config = cJSON_CreateObject();

    (void)cJSON_AddStringToObject(config, "_class_name", "PixArtTransformer2DModel");
    synth_configure(config, "num_attention_heads", DIT_HEADS);
    synth_configure(config, "attention_head_dim", scale->hidden / DIT_HEADS);
    synth_configure(config, "cross_attention_dim", scale->hidden);
    synth_configure(config, "caption_channels", dit_caption(scale->hidden));
    synth_configure(config, "num_layers", scale->layers);
    synth_configure(config, "in_channels", LATENTS);
    synth_configure(config, "out_channels", 2 * LATENTS);
    synth_configure(config, "patch_size", DIT_PATCH);
    return config;
}

/* ---- Autoencoder ------------------------------------------------------------------ */

static unsigned level_count(const struct synth_scale *scale)
{
    return (unsigned)wl_min(scale->layers, LEVELS_MAX);
}

static uint64_t level_channels(const struct synth_scale *scale, unsigned level)
{
    return scale->hidden << wl_min(level, 2);
}

static void add_resnet(struct synth_component *c, uint64_t out, uint64_t in, const char *prefix)
{
    add_pair(c, synth_1d(in), "%s.norm1", prefix);
    add_pair(c, synth_4d(out, in, 3), "%s.conv1", prefix);
    add_pair(c, synth_1d(out), "%s.norm2", prefix);
    add_pair(c, synth_4d(out, out, 3), "%s.conv2", prefix);
    if (in != out) {
        add_pair(c, synth_4d(out, in, 1), "%s.conv_shortcut", prefix);
    }
}

static void add_middle(struct synth_component *c, uint64_t channels, const char *half)
{
    static const char *const matrices[] = {"to_q", "to_k", "to_v", "to_out.0"};
    char prefix[PREFIX_BYTES_MAX];

    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(prefix, sizeof(prefix), "%s.mid_block.resnets.%u", half, i);
        add_resnet(c, channels, channels, prefix);
    }
    add_pair(c, synth_1d(channels), "%s.mid_block.attentions.0.group_norm", half);
    for (size_t i = 0; i < WL_COUNT_OF(matrices); i++) {
        add_pair(c, synth_2d(channels, channels), "%s.mid_block.attentions.0.%s", half,
                 matrices[i]);
    }
}

/* The levels of one half, and what joins each to the next. */
static void add_levels(struct synth_component *c, const struct synth_scale *scale, bool is_encoder)
{
    const char *half = is_encoder ? "encoder.down" : "decoder.up";
    unsigned count = level_count(scale);
    unsigned resnet_count = is_encoder ? 2 : 3;
    uint64_t in = level_channels(scale, is_encoder ? 0 : count - 1);
    char prefix[PREFIX_BYTES_MAX];

    for (unsigned block = 0; block < count; block++) {
        uint64_t out = level_channels(scale, is_encoder ? block : count - 1 - block);

        for (unsigned i = 0; i < resnet_count; i++) {
            (void)snprintf(prefix, sizeof(prefix), "%s_blocks.%u.resnets.%u", half, block, i);
            add_resnet(c, out, i == 0 ? in : out, prefix);
        }
        if (block + 1 < count) {
            add_pair(c, synth_4d(out, out, 3), "%s_blocks.%u.%ssamplers.0.conv", half, block,
                     is_encoder ? "down" : "up");
        }
        in = out;
    }
}

static void add_autoencoder(struct synth_component *c, const struct synth_scale *scale)
{
    uint64_t inner = level_channels(scale, level_count(scale) - 1);

    add_pair(c, synth_4d(scale->hidden, COLORS, 3), "encoder.conv_in");
    add_levels(c, scale, true);
    add_middle(c, inner, "encoder");
    add_pair(c, synth_1d(inner), "encoder.conv_norm_out");
    add_pair(c, synth_4d(2 * LATENTS, inner, 3), "encoder.conv_out");
    add_pair(c, synth_4d(2 * LATENTS, 2 * LATENTS, 1), "quant_conv");
    add_pair(c, synth_4d(LATENTS, LATENTS, 1), "post_quant_conv");
    add_pair(c, synth_4d(inner, LATENTS, 3), "decoder.conv_in");
    add_middle(c, inner, "decoder");
    add_levels(c, scale, false);
    add_pair(c, synth_1d(scale->hidden), "decoder.conv_norm_out");
    add_pair(c, synth_4d(COLORS, scale->hidden, 3), "decoder.conv_out");
}

static cJSON *configure_autoencoder(const struct synth_scale *scale)
{
    cJSON *config = cJSON_CreateObject();
    cJSON *channels;

    (void)cJSON_AddStringToObject(config, "_class_name", "AutoencoderKL");
    synth_configure(config, "in_channels", COLORS);
    synth_configure(config, "out_channels", COLORS);
    synth_configure(config, "latent_channels", LATENTS);
    synth_configure(config, "layers_per_block", 2);
    synth_configure(config, "norm_num_groups", wl_min(scale->hidden, GROUPS_MAX));
    channels = cJSON_AddArrayToObject(config, "block_out_channels");
    for (unsigned level = 0; level < level_count(scale); level++) {
        (void)cJSON_AddItemToArray(channels,
                                   cJSON_CreateNumber((double)level_channels(scale, level)));
    }
    return config;
}

/* ---- The pipeline ------------------------------------------------------------------ */

static void add_to_index(cJSON *pipeline, const char *name, const char *library, const char *class)
{
    const char *const pair[] = {library, class};

    (void)cJSON_AddItemToObject(pipeline, name, cJSON_CreateStringArray(pair, 2));
}

/* A part that has no weights. */
static void add_plain_component(struct synth_model *model, const char *directory,
                                const char *config_name, const char *class)
{
    struct synth_component *component = &model->components[model->component_count++];

    component->directory = directory;
    component->config_name = config_name;
    component->config = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(component->config, "_class_name", class);
}

void synth_add_pipeline(struct synth_model *model, uint64_t size_bytes)
{
    static const struct synth_family transformer = {
        .directory = "transformer",
        .stem = "diffusion_pytorch_model",
        .hidden_step = 16,
        .hidden_per_layer = 41,
        .layers_min = 1,
        .add = add_dit,
        .configure = configure_dit,
    };
    static const struct synth_family autoencoder = {
        .directory = "vae",
        .stem = "diffusion_pytorch_model",
        .hidden_step = 4,
        .hidden_per_layer = 32,
        .layers_min = 1,
        .add = add_autoencoder,
        .configure = configure_autoencoder,
    };
    static const struct synth_family text_encoder = {
        .directory = "text_encoder",
        .stem = "model",
        .hidden_step = 64,
        .hidden_per_layer = 170,
        .layers_min = 1,
        .vocabulary_bytes = 2,
        .add = add_t5,
        .configure = configure_t5,
    };
    uint64_t used = 0;

    model->pipeline = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(model->pipeline, "_class_name", "PixArtSigmaPipeline");
    (void)cJSON_AddStringToObject(model->pipeline, "_diffusers_version", "0.30.0");
    add_to_index(model->pipeline, "scheduler", "diffusers", "DPMSolverMultistepScheduler");
    add_to_index(model->pipeline, "text_encoder", "transformers", "T5EncoderModel");
    add_to_index(model->pipeline, "tokenizer", "transformers", "T5Tokenizer");
    add_to_index(model->pipeline, "transformer", "diffusers", "PixArtTransformer2DModel");
    add_to_index(model->pipeline, "vae", "diffusers", "AutoencoderKL");

    add_plain_component(model, "scheduler", "scheduler_config.json", "DPMSolverMultistepScheduler");
    add_plain_component(model, "tokenizer", "tokenizer_config.json", "T5Tokenizer");
    synth_add_component(model, &autoencoder, size_bytes / 100 * AUTOENCODER_PERCENT);
    synth_add_component(model, &transformer, size_bytes / 100 * TRANSFORMER_PERCENT);
    for (size_t i = 0; i < model->component_count; i++) {
        used += synth_aim_bytes(&model->components[i]);
    }
    synth_add_component(model, &text_encoder, size_bytes > used ? size_bytes - used : 0);
}
