#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: synth keeps its size within 2 %, is reproducible, writes all or nothing, and its weights are
# finite.
# Method: make each preset at several sizes and in several numbers of shards; read the files with a
# parser of our own in Python; fill a small file system where this process may mount one.
set -euo pipefail

if [ -z "${WLOAD:-}" ]; then
    echo "skipped: this build has no program"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "$*" >&2
    exit 1
}

# judge DIR BYTES SHARDS: the files of DIR hold what was asked for; prints a digest per tensor.
judge() {
    python3 - "$@" <<'PYTHON'
import hashlib
import json
import math
import os
import struct
import sys

directory, wanted, shards = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F8_E4M3": 1}


def floats(dtype, data):
    data = data[:4096]
    if dtype == "F8_E4M3":
        return [math.nan if byte & 0x7f == 0x7f else 0.0 for byte in data]
    if dtype == "BF16":
        data = b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2))
        dtype = "F32"
    code = {"F16": "e", "F32": "f"}[dtype]
    return struct.unpack(f"<{len(data) // BYTES[dtype]}{code}", data)


def judge_file(path, tensors):
    with open(path, "rb") as file:
        raw = file.read()
    begin = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:begin])
    assert header.pop("__metadata__") == {"format": "pt"} and begin % 8 == 0, path
    end = 0
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        assert first == end and last - first == BYTES[entry["dtype"]] * math.prod(entry["shape"])
        end = last
        data = raw[begin + first:begin + last]
        assert all(math.isfinite(x) and abs(x) < 1 for x in floats(entry["dtype"], data)), name
        assert name not in tensors
        tensors[name] = (hashlib.sha256(data).hexdigest(), os.path.basename(path))
    assert begin + end == len(raw), path
    return begin + end


file_bytes = data_bytes = 0
for at, _, names in os.walk(directory):
    tensors = {}
    weights = sorted(name for name in names if name.endswith(".safetensors"))
    for name in weights:
        file_bytes += judge_file(os.path.join(at, name), tensors)
    assert len(weights) in (0, shards), weights
    if shards > 1 and weights:
        index_name, = [name for name in names if name.endswith(".safetensors.index.json")]
        with open(os.path.join(at, index_name), encoding="utf-8") as file:
            index = json.load(file)
        assert index["weight_map"] == {name: where for name, (_, where) in tensors.items()}
        stem = index_name.removesuffix(".safetensors.index.json")
        assert weights == [f"{stem}-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    for name, (digest, _) in sorted(tensors.items()):
        print(os.path.relpath(at, directory), name, digest)
assert abs(file_bytes - wanted) <= wanted * 0.02, f"{file_bytes} bytes in files, not {wanted}"
PYTHON
}

for preset in llama moe diffusion; do
    for size in 1048576 3000000 33554432; do
        "$WLOAD" synth one --preset $preset --size $size --seed 7 --json >one.json
        "$WLOAD" synth many --preset $preset --size $size --seed 7 --shards 5 >/dev/null
        judge one $size 1 | sort >one.digests
        judge many $size 5 | sort >many.digests
        cmp one.digests many.digests || fail "$preset of $size depends on the number of shards"
        python3 - one.json $size <<'PYTHON'
import json
import sys

report = json.load(open(sys.argv[1], encoding="utf-8"))
assert abs(report["bytes"] - int(sys.argv[2])) <= int(sys.argv[2]) * 0.02, report
PYTHON
        rm -r one many
    done
    "$WLOAD" synth first --preset $preset --size 1M --seed 1 >/dev/null
    "$WLOAD" synth again --preset $preset --size 1M --seed 1 >/dev/null
    "$WLOAD" synth other --preset $preset --size 1M --seed 2 >/dev/null
    diff -r first again || fail "$preset is not reproducible"
    judge first 1048576 1 | sort >first.digests
    judge other 1048576 1 | sort >other.digests
    [ "$(comm -12 first.digests other.digests | wc -l)" = 0 ] || fail "$preset ignores its seed"
    rm -r first again other
done

# --force replaces the weights there, of whatever preset, and leaves other files alone.
"$WLOAD" synth model --preset diffusion --size 1M --shards 2 >/dev/null
echo mine >model/README
"$WLOAD" synth model --force --size 1M --shards 3 >/dev/null
"$WLOAD" synth model --force --size 1M >/dev/null
[ "$(cd model && echo *)" = "README config.json model.safetensors scheduler text_encoder tokenizer \
transformer vae" ] || fail "--force left: $(find model)"
"$WLOAD" load model >/dev/null

mkdir small
if mount -t tmpfs -o size=2M none small 2>/dev/null; then
    trap 'umount "$work/small"; rm -rf "$work"' EXIT
    ! "$WLOAD" synth small/model --size 16M >out 2>err || fail "16M went into 2M"
    [[ ! -s out && $(wc -l <err) = 1 && $(cat err) = *ENOSPC* ]] || fail "16M: $(cat out err)"
    [ -z "$(ls -A small)" ] || fail "a full disk was left with $(find small)"
else
    echo "not tried: a full disk, for this process may not mount one"
fi
