# SPDX-License-Identifier: Apache-2.0
"""What the tests of the first start share: models to load from a hub, and what must come out."""
import contextlib
import json
import os
import pathlib
import tempfile

import harness  # which finds fault_server
import cache_judge
from fault_server import Repo
from hub_run import Run, hashes

HEADER_BYTES = 16 << 10  # asked for of each file before the length of its header is known
SMALL_SIZES = ("--chunk", "64K", "--staging", "1M")
LARGE_SIZES = ("--chunk", "64M", "--staging", "64M")
SMALL_FILES = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b'{"version": "1.0"}'}
BYSTANDERS = {"pytorch_model.bin": b"not wanted", "onnx/model.onnx": b"nor this"}


def shards(sizes, folder="", stem="model", seed=0):
    """Files with an index; tensor names differ from shard to shard."""
    names = [f"{stem}-{i + 1:05}-of-{len(sizes):05}.safetensors" for i in range(len(sizes))]
    contents, weight_map = {}, {}
    for i, (name, size) in enumerate(zip(names, sizes)):
        tensors = (f"layers.{i}.a", f"layers.{i}.b")
        contents[folder + name] = harness.weights(size, seed + i, tensors)
        weight_map |= dict.fromkeys(tensors, name)
    index = {"metadata": {"total_size": sum(sizes)}, "weight_map": weight_map}
    return contents | {f"{folder}{stem}.safetensors.index.json": json.dumps(index).encode()}


SINGLE = Repo("org/single", SMALL_FILES | {"model.safetensors": harness.weights(3 << 20, 1)})
SHARDED = Repo("org/sharded", SMALL_FILES | BYSTANDERS |
               shards((5 << 20, 1 << 20, 2500000, 300), seed=10))
DIFFUSION = Repo("org/diffusion", BYSTANDERS | {
    "model_index.json": json.dumps({"_class_name": "Pipeline",
                                    "unet": ["diffusers", "UNet2DConditionModel"],
                                    "vae": ["diffusers", "AutoencoderKL"]}).encode(),
    "unet/config.json": b"{}", "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.safetensors": harness.weights(700000, 20)} |
    shards((2 << 20, 400000), "unet/", "diffusion_pytorch_model", 21))


def spec(repo):
    return f"hf://{repo.name}"


def load_arguments(spec_text, *options):
    """With the tensors' digests; the last --device counts."""
    return ["load", spec_text, "--device", "host", "--json", "--digest", *options]


def local_digests(repo, *options):
    """Of the tensors of the same files, loaded from a plain directory."""
    with tempfile.TemporaryDirectory() as root:
        for path, file in repo.files.items():
            place = pathlib.Path(root, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.data)
        arguments = ["load", root, "--device", "host", "--json", "--digest", *options]
        done = harness.run_wload(arguments, harness.environment("http://127.0.0.1:1", root))
    assert done.returncode == 0, done.stderr.decode()
    digests = json.loads(done.stdout)["digests"]
    assert digests
    return digests


def is_weights(path):
    return path.endswith((".safetensors", ".safetensors.index.json", "model_index.json"))


def loaded_files(repo, is_weights_only=False):
    """{name: hash} of what a load leaves in a cache."""
    return {path: hash for path, hash in hashes(repo).items()
            if path not in BYSTANDERS and (is_weights(path) or not is_weights_only)}


class LoadRun(Run):
    def __init__(self, stack, repo, rules=(), **server):
        super().__init__(stack, [repo], rules, **server)
        self.repo = repo

    def load(self, *options, spec_text="", **expected):
        """Returns the report; None: it failed as expected."""
        out = self.wload(*load_arguments(spec_text or spec(self.repo), *options), **expected)
        return json.loads(out) if self.done.returncode == 0 else None

    def judge_load(self, is_weights_only=False):
        """What a load leaves is in the cache, all of it and nothing else."""
        cache_judge.check(self.cache, self.repo.name, self.repo.commit,
                          loaded_files(self.repo, is_weights_only))

    def left(self):
        """All that is in the home, folders too."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))

    def content_bytes(self):
        """That the server sent of files."""
        return self.server.log.bytes(path="/(files|resolve-cache)/")


def double_environment():
    """With a device that stands in for a GPU."""
    return {"LD_LIBRARY_PATH": os.environ["WLOAD_DOUBLE"], "WLOAD_DOUBLE_STRICT": "1"}


@contextlib.contextmanager
def load_run(repo, rules=(), **server):
    with contextlib.ExitStack() as stack:
        yield LoadRun(stack, repo, rules, **server)
