# SPDX-License-Identifier: Apache-2.0
"""An independent reader of weights, written from the format's description alone, and a way to ask
wload for the same.

expected(path) gives {tensor name: SHA-256 of its bytes} for a file, a directory of shards or a
pipeline, as wload names the tensors; digests(path, ...) gives what `wload load --digest` says.
"""
import ctypes
import hashlib
import json
import mmap
import os
import pathlib
import struct
import subprocess
import sys

BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8,
        "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16,
        "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64,
        "U64": 64}


def header(path):
    """{name: {"dtype", "shape", "data_offsets"}} and where the data begins."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        tensors = json.loads(file.read(size))
    tensors.pop("__metadata__", None)
    return tensors, 8 + size


def file_digests(path):
    tensors, base = header(path)
    found = {}
    with open(path, "rb") as file:
        for name, tensor in tensors.items():
            begin, end = tensor["data_offsets"]
            file.seek(base + begin)
            left, digest = end - begin, hashlib.sha256()
            while left > 0:
                part = file.read(min(left, 1 << 20))
                assert part, f"{path} ends inside {name}"
                digest.update(part)
                left -= len(part)
            found[name] = digest.hexdigest()
    return found


def expected(path, variant=None):
    path = pathlib.Path(path)
    if path.is_file():
        return file_digests(path)
    if (path / "model_index.json").exists():
        found = {}
        for part in sorted(json.loads((path / "model_index.json").read_text(encoding="utf-8"))):
            if any((path / part).glob("*.safetensors")):
                for name, digest in directory_digests(path / part, variant).items():
                    found[f"{part}/{name}"] = digest
        return found
    return directory_digests(path, variant)


def directory_digests(path, variant):
    indexes = list(path.glob("*.safetensors.index.json"))
    if variant:
        indexes = list(path.glob(f"*.safetensors.index.{variant}.json"))
        if not indexes:
            alone = [file for file in path.glob(f"*.{variant}.safetensors")]
            if alone:
                return file_digests(alone[0])
            return directory_digests(path, None)
    if not indexes:
        files = [file for file in path.glob("*.safetensors") if file.name.count(".") == 1]
        return {name: digest for file in files for name, digest in file_digests(file).items()}
    places = json.loads(indexes[0].read_text(encoding="utf-8"))["weight_map"]
    shards = {shard: file_digests(path / shard) for shard in set(places.values())}
    return {name: shards[shard][name] for name, shard in places.items()}


def write(path, tensors, metadata=None, pad=b""):
    """Write (name, dtype, shape, bytes) in this order with nothing between, not even padding."""
    entries, offset = {}, 0
    if metadata is not None:
        entries["__metadata__"] = metadata
    for name, dtype, shape, data in tensors:
        entries[name] = {"dtype": dtype, "shape": list(shape),
                         "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(entries, separators=(",", ":")).encode() + pad
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, data in tensors:
            file.write(data)


def wload(*arguments, double=False):
    """Run the program; with `double` it finds the double of the GPU driver."""
    environment = dict(os.environ)
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    if double:
        environment["LD_LIBRARY_PATH"] = os.environ["WLOAD_DOUBLE"]
    return subprocess.run([os.environ["WLOAD"], *map(str, arguments)], capture_output=True,
                          text=True, env=environment, check=False)


def load(path, *options, device="host"):
    """The JSON that `wload load --digest` prints; dies if it fails or says anything on stderr."""
    done = wload("load", path, "--json", "--digest", "--device", device, *options,
                 double=device.startswith(("cuda", "hip")))
    if done.returncode != 0 or done.stderr:
        sys.exit(f"wload load {path} --device {device} {' '.join(options)}: "
                 f"exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


READERS = ("uring", "pread")
POLICIES = ("direct", "buffered", "auto")
CHUNKS = ("64K", "256K", "1M", "8M", "16M")

# Each pair of a device, a reader, a policy and a chunk size occurs in one of these.
FEW_WAYS = [
    ("host", "uring", "direct", "64K"), ("host", "pread", "buffered", "64K"),
    ("cuda", "uring", "auto", "64K"), ("cuda", "pread", "direct", "64K"),
    ("host", "uring", "buffered", "256K"), ("cuda", "pread", "auto", "256K"),
    ("cuda", "uring", "direct", "256K"), ("host", "pread", "auto", "1M"),
    ("cuda", "uring", "buffered", "1M"), ("host", "pread", "direct", "1M"),
    ("host", "pread", "direct", "8M"), ("cuda", "uring", "auto", "8M"),
    ("cuda", "pread", "buffered", "8M"), ("host", "uring", "auto", "16M"),
    ("cuda", "pread", "direct", "16M"), ("host", "uring", "buffered", "16M"),
]
ALL_WAYS = [(device, reader, policy, chunk) for device in ("host", "cuda") for reader in READERS
            for policy in POLICIES for chunk in CHUNKS]


def possible(ways, directory):
    """`ways` without those that this kernel or file system refuses to anyone."""
    refused = set()
    if not ring_is_allowed():
        refused.add("uring")
    if not direct_is_allowed(directory):
        refused.add("direct")
    if refused:
        print(f"this machine refuses {', '.join(sorted(refused))}: left out")
    return [way for way in ways if not refused & set(way)]


def ring_is_allowed():
    """Ask the kernel itself for an io_uring, which is 425 on every architecture."""
    ring = ctypes.CDLL(None, use_errno=True).syscall(425, 4, ctypes.create_string_buffer(120))
    if ring >= 0:
        os.close(ring)
    return ring >= 0


def direct_is_allowed(directory):
    path = pathlib.Path(directory) / "direct"
    path.write_bytes(bytes(4096))
    try:
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)
        try:
            return os.preadv(file, [mmap.mmap(-1, 4096)], 0) == 4096
        finally:
            os.close(file)
    except OSError:
        return False
    finally:
        path.unlink()


def check(path, ways, variant=None):
    """wload must find the tensors of `path` and their bytes in each of `ways`."""
    wanted = expected(path, variant)
    options = ("--variant", variant) if variant else ()
    for device, reader, policy, chunk in ways:
        found = load(path, "--reader", reader, "--io", policy, "--chunk", chunk, *options,
                     device=device)
        way = f"{path} --device {device} --reader {reader} --io {policy} --chunk {chunk}"
        if found["digests"] != wanted:
            odd = sorted(name for name in wanted.keys() | found["digests"].keys()
                         if wanted.get(name) != found["digests"].get(name))
            sys.exit(f"{way}: {len(odd)} of {len(wanted)} tensors differ, first {odd[0]!r}: "
                     f"{found['digests'].get(odd[0])}, not {wanted.get(odd[0])}")
        io = found["io"]
        ok = (found["tensors"] == len(wanted) and found["device"].startswith(device) and
              (found["reader"] == reader or found["bytes"] == 0) and
              io["direct_bytes"] + io["buffered_bytes"] >= found["bytes"] and
              (policy != "buffered" or io["direct_bytes"] == 0) and
              (policy != "direct" or io["buffered_bytes"] == 0))
        if not ok:
            sys.exit(f"{way}: it says {found | {'digests': len(wanted)}}")
    return len(wanted)
