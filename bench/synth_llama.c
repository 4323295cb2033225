/* SPDX-License-Identifier: Apache-2.0 */
/* A dense llama in bf16. */
#include "bench/synth.h"

static uint64_t llama_head(uint64_t hidden)
{
    uint64_t head = 128;

    while (hidden % (4 * head) != 0) {
        head /= 2;
    }
    return head;
}

static void add_llama_layer(struct synth_component *c, unsigned layer, uint64_t hidden)
{
    const struct synth_shape norm = synth_1d(hidden);
    const struct synth_shape square = synth_2d(hidden, hidden);
    const struct synth_shape key = synth_2d(hidden / 4, hidden);
    const struct synth_shape inner = synth_2d(hidden * 7 / 2, hidden);
    const struct synth_shape outer = synth_2d(hidden, hidden * 7 / 2);

    synth_add(c, WLOAD_BF16, norm, "model.layers.%u.input_layernorm.weight", layer);
    synth_add(c, WLOAD_BF16, square, "model.layers.%u.self_attn.q_proj.weight", layer);
    synth_add(c, WLOAD_BF16, key, "model.layers.%u.self_attn.k_proj.weight", layer);
    synth_add(c, WLOAD_BF16, key, "model.layers.%u.self_attn.v_proj.weight", layer);
    synth_add(c, WLOAD_BF16, square, "model.layers.%u.self_attn.o_proj.weight", layer);
    synth_add(c, WLOAD_BF16, norm, "model.layers.%u.post_attention_layernorm.weight", layer);
    synth_add(c, WLOAD_BF16, inner, "model.layers.%u.mlp.gate_proj.weight", layer);
    synth_add(c, WLOAD_BF16, inner, "model.layers.%u.mlp.up_proj.weight", layer);
    synth_add(c, WLOAD_BF16, outer, "model.layers.%u.mlp.down_proj.weight", layer);
}

static void add_llama(struct synth_component *c, const struct synth_scale *scale)
{
    const struct synth_shape words = synth_2d(scale->vocabulary, scale->hidden);

    synth_add(c, WLOAD_BF16, words, "model.embed_tokens.weight");
    for (unsigned layer = 0; layer < scale->layers; layer++) {
        add_llama_layer(c, layer, scale->hidden);
    }
    synth_add(c, WLOAD_BF16, synth_1d(scale->hidden), "model.norm.weight");
    synth_add(c, WLOAD_BF16, words, "lm_head.weight");
}

static cJSON *configure_llama(const struct synth_scale *scale)
{
    cJSON *config = synth_configure_causal(scale, "LlamaForCausalLM", "llama");
    uint64_t head = llama_head(scale->hidden);
    uint64_t heads = scale->hidden / head;

    synth_configure(config, "intermediate_size", scale->hidden * 7 / 2);
    synth_configure(config, "head_dim", head);
    synth_configure(config, "num_attention_heads", heads);
    synth_configure(config, "num_key_value_heads", heads / 4);
    (void)cJSON_AddNumberToObject(config, "rms_norm_eps", 1e-5);
    synth_configure(config, "rope_theta", 500000);
    return config;
}

void synth_add_llama(struct synth_model *model, uint64_t size_bytes)
{
    static const struct synth_family family = {
        .directory = "",
        .stem = "model",
        .hidden_step = 64,
        .hidden_per_layer = 128,
        .layers_min = 1,
        .vocabulary_bytes = 4,
        .add = add_llama,
        .configure = configure_llama,
    };

    synth_add_component(model, &family, size_bytes);
}
