#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: few bytes out of many places take little host memory, though huge pages are to be had:
# small tensors far apart in one file, and many small files.
# Method: both into host memory; the peak of resident memory as the kernel says.  A huge page for
# each place would be 600 MiB and more.
set -euo pipefail

if [ -n "$WLOAD_SANITIZE" ]; then
    echo "skipped: a sanitizer's own memory would be counted"
    exit 77
fi
if ! grep -q '\[always\]\|\[madvise\]' /sys/kernel/mm/transparent_hugepage/enabled; then
    echo "skipped: this kernel gives no huge pages"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/many"
python3 - "$work" <<'PYTHON'
import json
import struct
import sys


def write(path, tensors):
    header, at = {}, 0
    for name, size in tensors:
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)


apart = [t for i in range(300) for t in ((f"small.{i}", 4096), (f"large.{i}", (4 << 20) - 4096))]
write(f"{sys.argv[1]}/apart.safetensors", apart)
for i in range(300):
    write(f"{sys.argv[1]}/many/{i}.safetensors", [(str(i), 2000)])
PYTHON

check() { # MODEL OPTION...
    local model=$1
    shift
    "$WLOAD" load "$work/$model" --device host --json "$@" >"$work/report"
    python3 - "$model $*" "$work/report" <<'PYTHON'
import json
import sys

what, report = sys.argv[1], json.load(open(sys.argv[2]))
assert report["tensors"] == 300, report["tensors"]
assert report["straight_bytes"] >= report["bytes"], report
peak = report["peak_rss_bytes"]
assert peak <= 64 << 20, f"{what}: {peak} bytes at most, to load {report['bytes']}"
PYTHON
}

# Container runtimes and old kernels give no ring.
readers=(pread)
if [[ $("$WLOAD" doctor) =~ (^|$'\n')io_uring\ +ok\  ]]; then
    readers+=(uring)
fi
for reader in "${readers[@]}"; do
    for io in direct buffered; do
        check apart.safetensors --tensor 'small.*' --reader "$reader" --io $io
        check many --reader "$reader" --io $io
    done
done
