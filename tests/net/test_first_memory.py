#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: however large the model, a first load takes no more memory than its ring and 64 MiB.

Method: a model of 320 MiB through rings of 64 MiB and of 16 MiB, on to nowhere and to a device
that stands in for a GPU, kept and not; and one of many small files, into host memory, where a huge
page for each would be 240 MiB; the peak is the kernel's figure of the whole process.  A
shell lies between, for a process begins with the peak of the one that it is forked from, and
this one is large.
"""
import json
import os
import subprocess
import sys

import harness

harness.need_program()
if os.environ.get("WLOAD_SANITIZE"):
    harness.skip("sanitizers have memory of their own")

import first_run as first  # noqa: E402
from fault_server import Repo  # noqa: E402

LARGE = Repo("org/large", first.shards([128 << 20, 128 << 20, 64 << 20]))
SMALL = Repo("org/small", first.shards([4096] * 120))
MORE_BYTES = 64 << 20
DOUBLE = first.double_environment() | {"WLOAD_DOUBLE_DISCARD": "1"}
ROWS = [
    (LARGE, 320 << 20, "null", 64, (), {}),
    (LARGE, 320 << 20, "null", 16, ("--no-cache",), {}),
    (LARGE, 320 << 20, "cuda", 64, (), DOUBLE),
    (LARGE, 320 << 20, "cuda", 16, ("--chunk", "2M"), DOUBLE),
    (SMALL, 120 * 4096, "host", 16, (), {}),
]


def main():
    peaks = []
    for model, size, device, ring_mib, options, environment in ROWS:
        with first.load_run(model) as run:
            command = ["load", first.spec(model), "--json", "--device", device, "--staging",
                       f"{ring_mib}M", *options]
            done = subprocess.run(
                ["sh", "-c", '"$@"; exit $?', "sh", harness.WLOAD, *command], check=False,
                env=harness.environment(run.server.url, run.home, PATH=os.environ["PATH"],
                                        **environment), capture_output=True)
            assert done.returncode == 0 and not done.stderr, done.stderr.decode()
            report = json.loads(done.stdout)
            most = (ring_mib << 20) + MORE_BYTES
            assert report["bytes"] >= size and report["device"] == device, report
            assert report["network_bytes"] >= size, report
            assert report["peak_rss_bytes"] <= most, f"{report['peak_rss_bytes']}, not {most}"
            peaks.append(f"{report['peak_rss_bytes'] >> 20} MiB with a ring of {ring_mib} MiB")
    print("; ".join(peaks))
    return 0


sys.exit(main())
