#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: whatever the size of the model, a load into device memory or a sink needs no more host
# memory than its ring and 64 MiB, and the ring is at most 256 MiB.
# Method: a model three times as large as the ring, into the memory of the driver's double, which
# here drops what is copied to it, and into a sink; the peak of resident memory as the kernel says.
set -euo pipefail

if [ -n "$WLOAD_SANITIZE" ]; then
    echo "skipped: a sanitizer's own memory would be counted"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$WLOAD" synth "$work/model" --preset moe --size 768M --shards 3 --seed 9 >"$work/synth.out"

check() { # NAME DEVICE OPTION...
    local name=$1 device=$2
    shift 2
    LD_LIBRARY_PATH=$WLOAD_DOUBLE WLOAD_DOUBLE_DISCARD=1 WLOAD_HIP_FORCE=1 \
        "$WLOAD" load "$work/model" --device "$device" --json "$@" >"$work/report"
    python3 - "$name" "$work/report" <<'PYTHON'
import json
import sys

name, report = sys.argv[1], json.load(open(sys.argv[2]))
ring, peak = report["staging_bytes"], report["peak_rss_bytes"]
assert report["bytes"] > 700 << 20, report["bytes"]
assert 0 < ring <= 256 << 20, f"{name}: a ring of {ring}"
assert peak <= ring + (64 << 20), f"{name}: {peak} bytes at most, with a ring of {ring}"
PYTHON
}

# Container runtimes and old kernels give no ring.
readers=(pread)
if [[ $("$WLOAD" doctor) =~ (^|$'\n')io_uring\ +ok\  ]]; then
    readers+=(uring)
fi
for reader in "${readers[@]}"; do
    check "cuda, $reader" cuda --reader "$reader"
    check "cuda cold, $reader" cuda --reader "$reader" --io direct
    check "sink, $reader" null --reader "$reader"
done
check "hip" hip
check "cuda, large chunks" cuda --chunk 64M
