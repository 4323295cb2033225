# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: models to serve, and wload run against a server."""
import json
import os
import pathlib
import random
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))

SKIP = 77
TOKEN = "hf_ThisTokenMustNeverBeSeen"
WLOAD = os.environ.get("WLOAD", "")
PACE = 4 if os.environ.get("WLOAD_SANITIZE") else 1  # sanitizers are slow
TIMEOUT_S = 100 * PACE
KEPT = ("PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")


def skip(reason):
    print(f"skipped: {reason}", file=sys.stderr)
    sys.exit(SKIP)


def need_program():
    if not WLOAD:
        skip("this build has no program")
    trial = run_wload(["fetch", "org/none"], environment("http://127.0.0.1:1", "/nowhere"))
    if b"without libcurl" in trial.stderr:
        skip("this build has no network")


def weights(size, seed=0, names=("a.weight", "b.weight")):
    """The bytes of a safetensors file with two tensors, of about that size."""
    half = size // 2
    header = json.dumps({name: {"dtype": "U8", "shape": [half],
                                "data_offsets": [half * i, half * i + half]}
                         for i, name in enumerate(names)}).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + random.Random(seed).randbytes(2 * half)


def environment(server_url, home, **changes):
    """A clean one: nothing of the caller's reaches wload, proxies and certificates least of all."""
    values = {name: os.environ[name] for name in KEPT if name in os.environ}
    values |= {"HOME": str(home), "HF_HOME": str(home), "HF_ENDPOINT": server_url,
               "HF_TOKEN": TOKEN, "WLOAD_RETRY_MS": "20"}
    return {name: value for name, value in (values | changes).items() if value is not None}


def run_wload(arguments, env):
    return subprocess.run([WLOAD, *arguments], env=env, capture_output=True, check=False,
                          timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)


def start_wload(arguments, env):
    return subprocess.Popen([WLOAD, *arguments], env=env, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
