#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure wload against other loaders of safetensors on one model, and print a table.

    peers.py MODEL_DIRECTORY [--rounds N] [--only TEXT]... [--out FILE]

Each loader runs in a fresh process, with a run of wload right before or after it: storage drifts
within minutes, so only such a pair is compared.  Cold: the model's pages have been evicted, and
the kernel says so.  Warm: they are all in the page cache.  The clock runs from opening the files
to the last tensor in memory, without the interpreter's start and imports; CPU seconds are those of
the process within that time, kernel threads for it included.
"""
import argparse
import ctypes
import datetime
import importlib
import importlib.metadata
import json
import os
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "interop"))
import judge  # noqa: E402

judge.enter(judge.PEERS)

import loaders  # noqa: E402

PACKAGES = ["safetensors", "fastsafetensors", "runai-model-streamer", "torch", "numpy"]
LOADERS = loaders.LOADERS | loaders.FLOORS
WLOAD_DEVICE = {"kept": "host", "streamed": "null"}
COLD_MAX, WARM_MIN = 0.001, 0.999
PART_BYTES = 8 << 20


# ---- In the process of one loader ----------------------------------------------------------------

def run_one(name, directory):
    """Load once and print the seconds, after checking that what is kept is private memory."""
    kind, modules, load = LOADERS[name]
    files = model_files(directory)
    for module in modules:
        importlib.import_module(module)
    cpu, begin = time.process_time(), time.perf_counter()
    kept = load(files)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    if kind == "kept":
        if any(path in pathlib.Path("/proc/self/maps").read_text() for path in files):
            sys.exit(f"{name}: the files are still mapped")
        if resident_memory() < total_bytes(files) * 0.99:
            sys.exit(f"{name}: {resident_memory()} bytes in memory, less than the model")
    del kept
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu}))


def resident_memory():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


# ---- The page cache ------------------------------------------------------------------------------

def model_files(directory):
    return sorted(str(path) for path in pathlib.Path(directory).resolve().glob("*.safetensors"))


def total_bytes(files):
    return sum(os.path.getsize(path) for path in files)


def resident_part(files):
    """How much of the files the page cache holds, from 0 to 1, by mincore()."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    page, resident, pages = os.sysconf("SC_PAGESIZE"), 0, 0
    for path in files:
        size = os.path.getsize(path)
        file = os.open(path, os.O_RDONLY)
        address = libc.mmap(None, size, 1, 1, file, 0)  # PROT_READ, MAP_SHARED
        os.close(file)
        vector = ctypes.create_string_buffer(-(-size // page))
        if address == ctypes.c_void_p(-1).value or libc.mincore(address, size, vector) != 0:
            sys.exit(f"mincore: {os.strerror(ctypes.get_errno())}")
        libc.munmap(address, size)
        resident += sum(byte & 1 for byte in vector.raw[:-(-size // page)])
        pages += -(-size // page)
    return resident / pages


def make_cold(files):
    for path in files:
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
    if resident_part(files) > COLD_MAX:
        sys.exit("the model's pages cannot be evicted: does something hold it open or mapped?")


def make_warm(files):
    if resident_part(files) < 1:
        part = bytearray(PART_BYTES)
        for path in files:
            with open(path, "rb", buffering=0) as file:
                while file.readinto(part):
                    pass
    if resident_part(files) < WARM_MIN:
        sys.exit("the model does not stay in the page cache: too little memory?")


STATES = {"cold": make_cold, "warm": make_warm}


# ---- The rounds ----------------------------------------------------------------------------------

def measure(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def measure_peer(name, directory):
    return measure(sys.executable, __file__, directory, "--one", name)


def measure_wload(kind, directory):
    return measure(os.environ["WLOAD"], "load", directory, "--device", WLOAD_DEVICE[kind], "--json")


def run_rounds(directory, names, rounds):
    """{(peer, temperature): [(peer's measure, wload's)]}, one pair for each round."""
    files, pairs = model_files(directory), {}
    for number in range(rounds):
        pending = [(name, state) for name in names for state in STATES]
        random.shuffle(pending)
        for name, state in pending:
            found = {}
            for who in random.sample(["peer", "wload"], 2):
                STATES[state](files)
                found[who] = (measure_peer(name, directory) if who == "peer" else
                              measure_wload(LOADERS[name][0], directory))
            pairs.setdefault((name, state), []).append((found["peer"], found["wload"]))
            print(f"round {number + 1} of {rounds}: {name}, {state}: "
                  f"{found['peer']['seconds']:.2f} s, wload {found['wload']['seconds']:.2f} s",
                  file=sys.stderr, flush=True)
    return pairs


# ---- The table -----------------------------------------------------------------------------------

def ahead_text(title, pairs):
    ratios = [peer["seconds"] / wload["seconds"] for peer, wload in pairs]
    text = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    is_behind = title not in loaders.FLOORS and statistics.median(ratios) <= 1
    return f"**not ahead** {text}" if is_behind else text


def medians(measures, gigabytes):
    return [f"{gigabytes / statistics.median(one['seconds'] for one in measures):.2f}",
            f"{statistics.median(one['cpu_seconds'] for one in measures) / gigabytes:.3f}"]


def wload_row(title, pairs_by_state, gigabytes):
    cells = [title]
    for pairs in pairs_by_state:
        cells += medians([wload for _, wload in pairs], gigabytes) + ["", ""]
    return "| " + " | ".join(cells) + " |"


def peer_row(title, pairs_by_state, gigabytes):
    cells = [title]
    for pairs in pairs_by_state:
        cpu = [peer["cpu_seconds"] / wload["cpu_seconds"] for peer, wload in pairs]
        cells += medians([peer for peer, _ in pairs], gigabytes)
        cells += [ahead_text(title, pairs), f"{statistics.median(cpu):.1f}"]
    return "| " + " | ".join(cells) + " |"


def table(pairs, gigabytes):
    for kind, title in (("kept", "Every tensor kept in private host memory"),
                        ("streamed", "Streamed through memory that is used again")):
        names = [name for name in LOADERS if LOADERS[name][0] == kind and (name, "cold") in pairs]
        if not names:
            continue
        ours = [[pair for name in names for pair in pairs[name, state]] for state in STATES]
        yield f"\n## {title}\n"
        yield ("| loader | cold GB/s | CPU s/GB | its time / wload's | its CPU / wload's "
               "| warm GB/s | CPU s/GB | its time / wload's | its CPU / wload's |")
        yield "|---|---|---|---|---|---|---|---|---|"
        yield wload_row(f"**wload**, `--device {WLOAD_DEVICE[kind]}`", ours, gigabytes)
        for name in names:
            yield peer_row(name, [pairs[name, state] for state in STATES], gigabytes)


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") / 2**30
    return f"{os.cpu_count()} x {cpu}, {memory:.0f} GiB, Linux {platform.release()}"


def report(directory, pairs, rounds):
    files = model_files(directory)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    wload = subprocess.run([os.environ["WLOAD"], "--version"], capture_output=True, text=True,
                           check=True).stdout.split("\n")[0]
    yield "# wload beside other loaders\n"
    yield (f"{datetime.date.today()}, {machine()}, Python {platform.python_version()}; {wload}, "
           f"{versions}.")
    yield (f"{total_bytes(files) / 1e9:.2f} GB in {len(files)} files; medians over {rounds} "
           "rounds; a ratio is the median of pairs run one after the other, with the least and the "
           "greatest: above 1 wload is ahead.  Made by `bench/peers/run`.")
    yield from table(pairs, total_bytes(files) / 1e9)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", help="loaders whose name holds this")
    parser.add_argument("--out")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return run_one(arguments.one, arguments.directory)
    names = [name for name in LOADERS
             if any(text in name for text in arguments.only or [""])]
    pairs = run_rounds(arguments.directory, names, arguments.rounds)
    text = "\n".join(report(arguments.directory, pairs, arguments.rounds)) + "\n"
    print(text)
    if arguments.out:
        pathlib.Path(arguments.out).write_text(text, encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
