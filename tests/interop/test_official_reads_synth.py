#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what `wload synth` writes is a model to everyone: the official package opens each file,
finds in it the tensors that the index promises, and the bytes that wload loads; and it is
reproducible.

Method: each preset in small, twice with one seed and once with another.
"""
import hashlib
import json
import os
import pathlib
import sys
import tempfile

import judge
import weights

judge.enter(judge.SAFETENSORS)

import safetensors  # noqa: E402

PRESETS = {"llama": {"BF16"}, "moe": {"BF16", "F8_E4M3", "F32"}, "diffusion": {"F16"}}


def synth(directory, preset, seed):
    done = weights.wload("synth", directory, "--preset", preset, "--size", "24M", "--shards", "3",
                         "--seed", seed)
    if done.returncode != 0 or done.stderr:
        sys.exit(f"wload synth --preset {preset}: exit {done.returncode}: {done.stderr}")


def files_of(directory):
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in directory.glob("**/*") if path.is_file()}


def official(directory):
    """{tensor as wload names it: (dtype, digest)}; a component is a folder."""
    found = {}
    for path in sorted(directory.glob("**/*.safetensors")):
        part = path.parent.relative_to(directory)
        prefix = "" if part == pathlib.Path(".") else f"{part}/"
        with safetensors.safe_open(path, framework="numpy") as file:
            names = set(file.keys())
        for name, tensor in safetensors.deserialize(path.read_bytes()):
            names.remove(name)
            assert prefix + name not in found, f"{prefix + name} is there twice"
            digest = hashlib.sha256(tensor["data"]).hexdigest()
            found[prefix + name] = (tensor["dtype"], digest)
        assert not names, f"{path}: {names}"
    return found


def check_indexes(directory):
    """Each index maps all tensors of its directory, to where they are, and says how many bytes."""
    count = 0
    for index in directory.glob("**/*.safetensors.index.json"):
        content = json.loads(index.read_text(encoding="utf-8"))
        places, size = {}, 0
        for path in index.parent.glob("*.safetensors"):
            for name, tensor in weights.header(path)[0].items():
                places[name] = path.name
                size += tensor["data_offsets"][1] - tensor["data_offsets"][0]
        assert content["weight_map"] == places, f"{index} does not map what is there"
        assert content["metadata"]["total_size"] == size, f"{index}: total_size is not {size}"
        count += 1
    return count


def main():
    with tempfile.TemporaryDirectory(dir=os.environ["WLOAD_BUILD"]) as directory:
        for preset, dtypes in PRESETS.items():
            root = pathlib.Path(directory) / preset
            root.mkdir()
            for name, seed in (("first", 5), ("again", 5), ("other", 6)):
                synth(root / name, preset, seed)
            assert files_of(root / "first") == files_of(root / "again"), f"{preset}: not reproduced"
            assert files_of(root / "first") != files_of(root / "other"), f"{preset}: seed unused"
            found = official(root / "first")
            indexes = check_indexes(root / "first")
            assert dtypes <= {dtype for dtype, _ in found.values()}, f"{preset}: dtypes"
            loaded = weights.load(root / "first")
            digests = {name: digest for name, (_, digest) in found.items()}
            assert loaded["digests"] == digests, f"{preset}: digests differ"
            assert 20e6 < loaded["bytes"] < 30e6, f"{preset}: {loaded['bytes']} bytes, not 24M"
            print(f"{preset}: {len(found)} tensors, {indexes} indexes")


if __name__ == "__main__":
    main()
