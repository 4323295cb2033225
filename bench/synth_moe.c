/* SPDX-License-Identifier: Apache-2.0 */
/* A mixture of experts as DeepSeek V3 has it: matrices in fp8, with a scale per block. */
#include <stdio.h>

#include "base/base.h"
#include "bench/synth.h"

#define SCALE_BLOCK 128u /* rows and columns of a matrix that share a scale */
#define EXPERTS_MIN 4u

struct moe {
    uint64_t hidden;
    uint64_t heads;
    uint64_t query_rank;
    uint64_t key_rank;
    uint64_t rope; /* of each head's dimensions, these turn with the position */
    uint64_t nope; /* and these do not */
    uint64_t dense_inner;
    uint64_t expert_inner;
    uint64_t experts;
    uint64_t dense_layers;
};

static struct moe moe_of(const struct synth_scale *scale)
{
    return (struct moe){
        .hidden = scale->hidden,
        .heads = scale->hidden / 64,
        .query_rank = scale->hidden / 4,
        .key_rank = scale->hidden / 8,
        .rope = 64,
        .nope = 128,
        .dense_inner = scale->hidden * 5 / 2,
        .expert_inner = scale->hidden / 4,
        .experts = wl_max(EXPERTS_MIN, scale->hidden / 28 / 4 * 4),
        .dense_layers = scale->layers < 30 ? 1 : 3,
    };
}

static void add_fp8(struct synth_component *c, uint64_t rows, uint64_t columns, unsigned layer,
                    const char *name)
{
    const struct synth_shape scales =
        synth_2d((rows + SCALE_BLOCK - 1) / SCALE_BLOCK, (columns + SCALE_BLOCK - 1) / SCALE_BLOCK);

    synth_add(c, WLOAD_F8_E4M3, synth_2d(rows, columns), "model.layers.%u.%s.weight", layer, name);
    synth_add(c, WLOAD_F32, scales, "model.layers.%u.%s.weight_scale_inv", layer, name);
}

static void add_moe_attention(struct synth_component *c, const struct moe *moe, unsigned layer)
{
    const struct synth_shape query = synth_1d(moe->query_rank);
    const struct synth_shape key = synth_1d(moe->key_rank);
    uint64_t head = moe->nope + moe->rope;

    add_fp8(c, moe->query_rank, moe->hidden, layer, "self_attn.q_a_proj");
    synth_add(c, WLOAD_BF16, query, "model.layers.%u.self_attn.q_a_layernorm.weight", layer);
    add_fp8(c, moe->heads * head, moe->query_rank, layer, "self_attn.q_b_proj");
    add_fp8(c, moe->key_rank + moe->rope, moe->hidden, layer, "self_attn.kv_a_proj_with_mqa");
    synth_add(c, WLOAD_BF16, key, "model.layers.%u.self_attn.kv_a_layernorm.weight", layer);
    add_fp8(c, moe->heads * moe->nope * 2, moe->key_rank, layer, "self_attn.kv_b_proj");
    add_fp8(c, moe->hidden, moe->heads * moe->nope, layer, "self_attn.o_proj");
}

/* `prefix` ends where the name of the matrix begins: "mlp.experts.3." */
static void add_moe_mlp(struct synth_component *c, uint64_t hidden, uint64_t inner, unsigned layer,
                        const char *prefix)
{
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    char name[64];

    for (size_t i = 0; i < WL_COUNT_OF(names); i++) {
        bool is_down = i == 2;

        (void)snprintf(name, sizeof(name), "%s%s", prefix, names[i]);
        add_fp8(c, is_down ? hidden : inner, is_down ? inner : hidden, layer, name);
    }
}

static void add_moe_experts(struct synth_component *c, const struct moe *moe, unsigned layer)
{
    char prefix[40];

    synth_add(c, WLOAD_BF16, synth_2d(moe->experts, moe->hidden), "model.layers.%u.mlp.gate.weight",
              layer);
    synth_add(c, WLOAD_F32, synth_1d(moe->experts),
              "model.layers.%u.mlp.gate.e_score_correction_bias", layer);
    for (unsigned expert = 0; expert < moe->experts; expert++) {
        (void)snprintf(prefix, sizeof(prefix), "mlp.experts.%u.", expert);
        add_moe_mlp(c, moe->hidden, moe->expert_inner, layer, prefix);
    }
    add_moe_mlp(c, moe->hidden, moe->expert_inner, layer, "mlp.shared_experts.");
}

static void add_moe(struct synth_component *c, const struct synth_scale *scale)
{
    const struct synth_shape words = synth_2d(scale->vocabulary, scale->hidden);
    const struct synth_shape norm = synth_1d(scale->hidden);
    const struct moe moe = moe_of(scale);

    synth_add(c, WLOAD_BF16, words, "model.embed_tokens.weight");
    for (unsigned layer = 0; layer < scale->layers; layer++) {
        synth_add(c, WLOAD_BF16, norm, "model.layers.%u.input_layernorm.weight", layer);
        add_moe_attention(c, &moe, layer);
        synth_add(c, WLOAD_BF16, norm, "model.layers.%u.post_attention_layernorm.weight", layer);
        if (layer < moe.dense_layers) {
            add_moe_mlp(c, moe.hidden, moe.dense_inner, layer, "mlp.");
        } else {
            add_moe_experts(c, &moe, layer);
        }
    }
    synth_add(c, WLOAD_BF16, norm, "model.norm.weight");
    synth_add(c, WLOAD_BF16, words, "lm_head.weight");
}

static cJSON *configure_moe(const struct synth_scale *scale)
{
    static const int block[] = {SCALE_BLOCK, SCALE_BLOCK};
    const struct moe moe = moe_of(scale);
    cJSON *config = synth_configure_causal(scale, "DeepseekV3ForCausalLM", "deepseek_v3");
    cJSON *quantization = cJSON_AddObjectToObject(config, "quantization_config");

    synth_configure(config, "intermediate_size", moe.dense_inner);
    synth_configure(config, "moe_intermediate_size", moe.expert_inner);
    synth_configure(config, "n_routed_experts", moe.experts);
    synth_configure(config, "n_shared_experts", 1);
    synth_configure(config, "num_experts_per_tok", EXPERTS_MIN);
    synth_configure(config, "first_k_dense_replace", moe.dense_layers);
    synth_configure(config, "num_attention_heads", moe.heads);
    synth_configure(config, "num_key_value_heads", moe.heads);
    synth_configure(config, "q_lora_rank", moe.query_rank);
    synth_configure(config, "kv_lora_rank", moe.key_rank);
    synth_configure(config, "qk_rope_head_dim", moe.rope);
    synth_configure(config, "qk_nope_head_dim", moe.nope);
    synth_configure(config, "v_head_dim", moe.nope);
    (void)cJSON_AddStringToObject(quantization, "quant_method", "fp8");
    (void)cJSON_AddStringToObject(quantization, "fmt", "e4m3");
    (void)cJSON_AddItemToObject(quantization, "weight_block_size", cJSON_CreateIntArray(block, 2));
    return config;
}

void synth_add_moe(struct synth_model *model, uint64_t size_bytes)
{
    static const struct synth_family family = {
        .directory = "",
        .stem = "model",
        .hidden_step = 64,
        .hidden_per_layer = 118,
        .layers_min = 2,
        .vocabulary_bytes = 4,
        .add = add_moe,
        .configure = configure_moe,
    };

    synth_add_component(model, &family, size_bytes);
}
