#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: directories as the official transformers and diffusers write them load with the right
bytes: one file, shards with an index, a pipeline of components, and a variant beside the plain
files.

Method: make small random models from configurations (nothing is downloaded), save them in each
layout, find their bytes with an independent reader, and load them with wload in a covering set
of ways.  diffusers must be able to open the pipeline again, so the layout is one it stands by.
WLOAD_TEST_TORCH=0 skips this: torch is a download of half a gigabyte.
"""
import os
import pathlib
import sys
import tempfile

import judge
import weights

judge.enter(judge.TORCH)

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

ABSENT = dict.fromkeys(["tokenizer", "safety_checker", "feature_extractor", "image_encoder"])


def language_models():
    """Name, model, and the largest shard: of one file, of many shards, with tied weights, bf16."""
    size = {"vocab_size": 997, "hidden_size": 64, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 176}
    yield "bert", transformers.BertModel(transformers.BertConfig(
        vocab_size=997, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=128)), "5GB"
    yield "llama", transformers.LlamaForCausalLM(transformers.LlamaConfig(**size)).to(
        torch.bfloat16), "100KB"
    yield "mixtral", transformers.MixtralForCausalLM(transformers.MixtralConfig(
        num_local_experts=4, **size)), "500KB"
    yield "t5", transformers.T5ForConditionalGeneration(transformers.T5Config(
        vocab_size=997, d_model=64, d_ff=128, d_kv=16, num_layers=2, num_heads=4)), "200KB"


def pipeline():
    """Stable Diffusion in small, and without its optional parts."""
    torch.manual_seed(7)
    return diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(
            block_out_channels=(32, 64), in_channels=3, out_channels=3, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
        unet=diffusers.UNet2DConditionModel(
            block_out_channels=(32, 64), layers_per_block=1, sample_size=16, in_channels=4,
            out_channels=4, cross_attention_dim=32, attention_head_dim=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D")),
        text_encoder=transformers.CLIPTextModel(transformers.CLIPTextConfig(
            hidden_size=32, intermediate_size=37, num_attention_heads=4, num_hidden_layers=3,
            vocab_size=500, bos_token_id=0, eos_token_id=2)),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
        **ABSENT)


def files_in(path):
    return sum(1 for _ in path.glob("**/*.safetensors"))


def main():
    for library in (transformers, diffusers):
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
    torch.manual_seed(7)
    with tempfile.TemporaryDirectory(dir=os.environ["WLOAD_BUILD"]) as directory:
        root = pathlib.Path(directory)
        ways = weights.possible(weights.FEW_WAYS, root)
        for name, model, shard in language_models():
            model.save_pretrained(root / name, max_shard_size=shard)
            model.half().save_pretrained(root / f"{name}-fp16", max_shard_size=shard,
                                         variant="fp16")
            print(f"{name}: {weights.check(root / name, ways)} tensors in "
                  f"{files_in(root / name)} files, and as fp16: "
                  f"{weights.check(root / f'{name}-fp16', ways, 'fp16')}")
        official = pipeline()
        for shard in ("10GB", "300KB"):
            path = root / f"pipeline-{shard}"
            official.save_pretrained(path, max_shard_size=shard)
            diffusers.StableDiffusionPipeline.from_pretrained(path, **ABSENT)
            weights.check(path, ways)
            pipeline().to(dtype=torch.float16).save_pretrained(path, max_shard_size=shard,
                                                               variant="fp16")
            diffusers.StableDiffusionPipeline.from_pretrained(path, variant="fp16", **ABSENT)
            print(f"pipeline: {weights.check(path, ways)} tensors, of the variant beside it "
                  f"{weights.check(path, ways, 'fp16')}, in {files_in(path)} files")
        unknown = weights.wload("load", root / "pipeline-10GB", "--variant", "no-such")
        if unknown.returncode != 1:
            sys.exit(f"a variant that no component has: exit {unknown.returncode}")


if __name__ == "__main__":
    main()
