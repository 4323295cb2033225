#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the first `wload load` of a model brings it from the hub to the device and into the cache
in one pass: the tensors are those of a local load, the cache is one that all tools accept, and
whatever the hub, its CDN or an earlier load that was broken off have done, it ends as it should.

Method: models of several shapes are loaded from a fault server and, for comparison, from a plain
directory.  Each row of fault_cases.py that fetch is tested with is loaded, too: as it is, where
the first request for a weights file is the one for its header, and with its rules held back until
the weights themselves are asked for.  After each run the cache is judged.  Many run side by side.
`test_first.py TEXT` runs those alone whose name holds the text.
"""
import dataclasses
import json
import os
import re
import signal
import sys

import harness

harness.need_program()

import cache_judge  # noqa: E402
import fault_cases as table  # noqa: E402
import first_run as first  # noqa: E402
from hub_run import hashes, judge_failed, run_all, run_flow  # noqa: E402

FLOWS = []


def flow(function):
    FLOWS.append((function.__name__.replace("_", " "), function))
    return function


# ---- Every shape -------------------------------------------------------------------------------

SHAPES = [
    ("single", first.SINGLE, (), {}),
    ("single in small chunks", first.SINGLE, first.SMALL_SIZES, {}),
    ("single in one chunk", first.SINGLE, first.LARGE_SIZES, {}),
    ("single over one connection", first.SINGLE, ("--max-workers", "1"), {}),
    ("single, read by pread", first.SINGLE, ("--reader", "pread"), {}),
    ("shards", first.SHARDED, (), {}),
    ("shards in small chunks", first.SHARDED, first.SMALL_SIZES, {}),
    ("shards in chunks that are larger", first.SHARDED, first.LARGE_SIZES, {}),
    ("shards, weights only", first.SHARDED, ("--weights-only",), {}),
    ("pipeline", first.DIFFUSION, (), {}),
    ("pipeline, weights only", first.DIFFUSION, ("--weights-only",), {}),
    ("pipeline in small chunks", first.DIFFUSION, first.SMALL_SIZES, {}),
    ("single on a GPU's double", first.SINGLE, ("--device", "cuda"), "double"),
    ("shards on a GPU's double", first.SHARDED, ("--device", "cuda", *first.SMALL_SIZES), "double"),
]


def run_shape(repo, options, environment):
    environment = first.double_environment() if environment == "double" else environment
    is_weights_only = "--weights-only" in options
    with first.load_run(repo) as run:
        report = run.load(*options, **environment)
        assert report["digests"] == first.local_digests(repo)
        assert report["network_bytes"] >= report["bytes"], report
        sent = run.content_bytes()
        headers = sum(name.endswith(".safetensors") for name in repo.files) * first.HEADER_BYTES
        assert sent <= 1.01 * repo.size() + headers, f"{sent} bytes for {repo.size()}"
        run.judge_load(is_weights_only)
        asked = len(run.server.log.requests())
        for more in ({}, {"HF_HUB_OFFLINE": "1"}):
            again = run.load(*options, **environment, **more)
            assert again["digests"] == report["digests"] and again["network_bytes"] == 0, again
        run.wload("verify", first.spec(repo),
                  *[] if is_weights_only else ["--include", "*.json"], "--include", "*.safetensors")
        assert len(run.server.log.requests()) == asked, "it asked for what it has"
        run.judge_load(is_weights_only)


@flow
def a_device_that_keeps_nothing(stack):
    run = first.LoadRun(stack, first.SHARDED)
    run.wload("load", first.spec(run.repo), "--device", "null", *first.SMALL_SIZES)
    run.judge_load()
    assert run.load(HF_HUB_OFFLINE="1")["digests"] == first.local_digests(run.repo)


@flow
def a_subfolder(stack):
    run = first.LoadRun(stack, first.DIFFUSION)
    report = run.load("--subfolder", "unet")
    wanted = {name.removeprefix("unet/"): digest
              for name, digest in first.local_digests(run.repo).items()
              if name.startswith("unet/")}
    assert report["digests"] == wanted, report["digests"]
    have = {path: hash for path, hash in hashes(run.repo).items() if path.startswith("unet/")}
    cache_judge.check(run.cache, run.repo.name, run.repo.commit, have)
    assert run.load("--subfolder", "unet", HF_HUB_OFFLINE="1")["digests"] == wanted


@flow
def some_tensors(stack):
    """Of the files that they are in all is brought, and proven."""
    run = first.LoadRun(stack, first.SHARDED)
    pattern = ("--tensor", "layers.1.a", "--tensor", "layers.3.*")
    report = run.load(*pattern)
    assert report["digests"] == first.local_digests(run.repo, *pattern)
    assert len(report["digests"]) == 3
    wanted = {path: hash for path, hash in first.loaded_files(run.repo).items()
              if not re.search("0000[13]-of", path)}
    cache_judge.check(run.cache, run.repo.name, run.repo.commit, wanted)
    assert run.load()["digests"] == first.local_digests(run.repo)
    run.judge_load()
    assert run.content_bytes() <= 1.01 * run.repo.size()


@flow
def some_tensors_of_a_file_that_is_wrong_elsewhere(stack):
    end = len(first.SINGLE.files["model.safetensors"].data)
    run = first.LoadRun(stack, first.SINGLE, [table.rule({"flip": end - 1}, table.CDN)])
    run.load("--tensor", "a.weight", code=1, says="model.safetensors.*a.weight")
    assert "model.safetensors" not in cache_judge.published(run.cache, run.repo.name,
                                                            run.repo.commit)


@flow
def a_cache_that_has_some_shards(stack):
    run = first.LoadRun(stack, first.SHARDED)
    run.fetch(first.spec(run.repo), "--include", "model-00001*", "--include", "tokenizer*")
    sent = run.content_bytes()
    assert run.load(*first.SMALL_SIZES)["digests"] == first.local_digests(run.repo)
    run.judge_load()
    left = run.repo.size() - 5 * (1 << 20)
    assert run.content_bytes() - sent <= 1.01 * left, "what was there was brought again"


@flow
def a_cache_with_a_blob_of_another_size(stack):
    """Whoever wrote it: what has the wrong size is brought again."""
    for repo in (first.SINGLE, first.SHARDED):
        for change_bytes in (-1, 5):
            run = first.LoadRun(stack, repo)
            run.load()
            largest = max(repo.files.values(), key=lambda file: len(file.data))
            blob, = run.cache.glob(f"*/blobs/{largest.hash}")
            os.truncate(blob, blob.stat().st_size + change_bytes)
            run.load(code=1, says="network is off", HF_HUB_OFFLINE="1")
            report = run.load()
            assert report["digests"] == first.local_digests(repo)
            assert report["network_bytes"] >= len(largest.data)
            run.judge_load()


@flow
def offline_and_not_there(stack):
    run = first.LoadRun(stack, first.SINGLE)
    run.load(code=1, says="network is off", HF_HUB_OFFLINE="1")
    run.load("--no-cache", code=1, says="network is off", HF_HUB_OFFLINE="1")
    assert run.server.log.requests() == [] and run.left() == []


@flow
def offline_and_without_small_files(stack):
    """What is missing is named, and that the weights would do."""
    run = first.LoadRun(stack, first.SHARDED)
    loads_alone = "the weights are all here, and can be loaded alone"
    run.load("--weights-only")
    run.load(code=1, says=f"2 of 7 files .* as 'config.json', .*; {loads_alone}$",
             HF_HUB_OFFLINE="1")
    run.fetch("--offline", first.spec(run.repo), code=1, says="as 'config.json', .* is off$")
    run.load("--weights-only", HF_HUB_OFFLINE="1")
    run = first.LoadRun(stack, first.SINGLE)
    run.fetch(first.spec(run.repo), "--include", "*.json")
    run.load(code=1, says="1 of 3 files .* as 'model.safetensors', and the network is off$",
             HF_HUB_OFFLINE="1")


@flow
def a_cache_that_cannot_be_made(stack):
    """As on a volume that is not mounted: there is a load, and nothing is kept."""
    run = first.LoadRun(stack, first.SHARDED)
    dangling = run.home / "dangling"
    dangling.symlink_to("/dev/null/mounted")
    for cache in "/dev/null/hub", dangling:
        says = "cache is off.*, at '/dev/null': No"
        report = run.load(says=says, HF_HUB_CACHE=str(cache))
        assert report["digests"] == first.local_digests(run.repo)
        run.fetch(first.spec(run.repo), code=1, says="cannot make the folder",
                  HF_HUB_CACHE=str(cache))
    assert run.left() == ["dangling"]


@flow
def a_cache_behind_a_link_to_nothing(stack):
    run = first.LoadRun(stack, first.SINGLE)
    run.cache.symlink_to(run.home / "purged/hub")
    run.load()
    run.judge_load()
    assert (run.home / "purged/hub/models--org--single").is_dir()


@flow
def a_directory_that_is_not_whole(stack):
    """It hides neither the hub nor the cache."""
    run = first.LoadRun(stack, first.SHARDED)
    place = run.home / "plain" / run.repo.name
    place.mkdir(parents=True)
    for name in "config.json", "model.safetensors.index.json":
        (place / name).write_bytes(run.repo.files[name].data)
    plain = {"WLOAD_CACHE": str(place.parents[1])}
    for more in ({}, {"HF_HUB_OFFLINE": "1"}):
        report = run.load(spec_text=run.repo.name, **plain, **more)
        assert report["digests"] == first.local_digests(run.repo)
    assert run.wload("resolve", run.repo.name, **plain).startswith(str(run.cache.resolve()))


@flow
def a_snapshot_that_is_not_whole(stack):
    """Of a tool that keeps no listing: what is missing is asked for."""
    run = first.LoadRun(stack, first.SHARDED)
    run.fetch(first.spec(run.repo), "--include", "*.json")
    folder = run.cache / f"models--{run.repo.name.replace('/', '--')}"
    (folder / "trees" / f"{run.repo.commit}.json").unlink()
    run.wload("resolve", run.repo.name, code=1,
              says="names '.+', which is not there; 'wload fetch .+' may bring it")
    assert run.load()["digests"] == first.local_digests(run.repo)
    run.judge_load()


# ---- Faults ------------------------------------------------------------------------------------

# Headers are asked for with the first bytes.
WEIGHTS_RANGE = r"^(?!bytes=0-16383$)(?=.*(?:%s))"
# A load tries once more by itself, and then the file is one and the same.
MENDED = "another ETag in mid-file"


def is_for_weights(match):
    return match.get("listener") == "cdn" or match.get("path") == table.RESOLVE


def held_back(rule):
    match = rule["match"]
    return rule | {"match": match | {"range": WEIGHTS_RANGE % match.get("range", "")}}


def load_cases():
    for case in table.RETRIED + table.REFUSED + table.GARBAGE + table.HOSTILE:
        if case.arguments:
            continue  # of fetch alone
        yield f"{case.name}, at once", case
        if any(is_for_weights(rule["match"]) for rule in case.rules):
            rules = tuple(held_back(rule) if is_for_weights(rule["match"]) else rule
                          for rule in case.rules)
            yield f"{case.name}, at the weights", dataclasses.replace(case, rules=rules)


def run_case(case):
    with first.load_run(case.repo, case.rules, **case.server) as run:
        says = case.says if case.name != MENDED else ""
        report = run.load(code=1 if says else 0, says=says, spec_text=case.spec,
                          **case.environment)
        if report:
            assert report["digests"] == first.local_digests(case.repo)
            run.judge_load()
        else:
            judge_failed(run, case)


# ---- Content that is wrong ---------------------------------------------------------------------

SECOND = first.SHARDED.files["model-00002-of-00004.safetensors"].hash


@flow
def a_shard_that_is_wrong_for_ever(stack):
    """Refused and not published; the others are sound and may stay."""
    run = first.LoadRun(stack, first.SHARDED, [
        table.rule({"flip": 700000}, {"listener": "cdn", "path": SECOND})])
    for options in ((), first.SMALL_SIZES, ("--no-cache",)):
        run.load(*options, code=1, says=r"model-00002-of-00004.safetensors.*'layers\.1\.[ab]'")
        have = cache_judge.published(run.cache, run.repo.name, run.repo.commit)
        right = first.loaded_files(run.repo)
        assert have.items() < right.items() and SECOND not in have.values(), have
        cache_judge.check(run.cache, run.repo.name, run.repo.commit, have, ref=None,
                          may_have_partials=True)
        assert SECOND not in str(cache_judge.partials(run.cache)), "what is wrong was kept"
    run.server.rules.rules.clear()
    assert run.load()["digests"] == first.local_digests(run.repo)
    run.judge_load()


@flow
def a_shard_that_is_wrong_once(stack):
    run = first.LoadRun(stack, first.SHARDED, [held_back(table.once(
        {"flip": 700000}, {"listener": "cdn", "path": SECOND}))])
    assert run.load()["digests"] == first.local_digests(run.repo)
    run.judge_load()
    asked = run.server.log.requests(path=SECOND, range=WEIGHTS_RANGE % "")
    assert len(asked) == 2, "the first answer was not the wrong one"


@flow
def a_header_that_is_wrong(stack):
    """Not proven when it is read: what it says may be nonsense, and may be wrong unnoticed."""
    size = first.SINGLE.size()
    for offset in (0, 7, 8, 30, 100):
        run = first.LoadRun(stack, first.SINGLE, [table.rule({"flip": offset}, table.CDN)])
        run.load(code=1, says="model.safetensors")
        assert cache_judge.partials(run.cache) == []
        assert "model.safetensors" not in cache_judge.published(run.cache, run.repo.name,
                                                                run.repo.commit)
        assert run.content_bytes() <= 2.1 * size
    # The names are sound JSON still, so that the hash alone can tell.
    data = bytes(first.SINGLE.files["model.safetensors"].data)
    run = first.LoadRun(stack, first.SINGLE,
                        [table.rule({"flip": data.index(b"a.weight")}, table.CDN)])
    run.load(code=1, says="model.safetensors' has hash .* tensor '[`a].weight'")


@flow
def an_index_that_is_wrong(stack):
    run = first.LoadRun(stack, first.SHARDED, [table.rule({"flip": 100},
                                                          {"path": "resolve-cache.*index"})])
    for options in ((), ("--no-cache",)):
        run.load(*options, code=1, says="model.safetensors.index.json.*hash")


# ---- What an earlier load left -----------------------------------------------------------------

LARGE_SIZE = len(table.LARGE.files["model.safetensors"].data)


MAP_BEGIN = -(-LARGE_SIZE // (64 << 10)) * (64 << 10) + 128  # a bit for each block that is there
BLOCK_BYTES = 256 << 10


def kept_bytes(run):
    count = 0
    for path in run.cache.glob("*/blobs/*.incomplete"):
        with open(path, "rb") as file:
            file.seek(MAP_BEGIN)
            count += sum(byte.bit_count() for byte in file.read())
    return count * BLOCK_BYTES


def broken_off(stack):
    """A load of one large file, killed in the middle: the run, and its partial file."""
    run = first.LoadRun(stack, table.LARGE)
    run.server.rate.hold_at(6 << 20)
    process = harness.start_wload(
        first.load_arguments(first.spec(run.repo), *first.SMALL_SIZES),
        harness.environment(run.server.url, run.home))
    for _ in range(harness.TIMEOUT_S * 10):  # what the disk has wakes nobody
        if run.server.log.wait(lambda _: kept_bytes(run) >= 4 << 20, 0.1):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    run.server.rate.hold_at(None)
    partial, = cache_judge.partials(run.cache)
    return run, partial


def resume(run, most_bytes=2 * LARGE_SIZE):
    """The next load is right, and makes the cache so; returns what was sent for it."""
    before = run.content_bytes()
    assert run.load()["digests"] == first.local_digests(run.repo)
    run.judge_load()
    sent = run.content_bytes() - before
    assert sent <= most_bytes + (1 << 16), f"{sent} bytes, not {most_bytes}"
    return sent


@flow
def broken_off_and_resumed(stack):
    run, _ = broken_off(stack)
    resume(run, LARGE_SIZE - (4 << 20))


@flow
def broken_off_and_resumed_by_fetch(stack):
    run, _ = broken_off(stack)
    run.fetch(first.spec(run.repo))
    run.judge_load()
    assert run.content_bytes() <= LARGE_SIZE + (3 << 20)


@flow
def broken_off_and_not_to_be_kept(stack):
    """--no-cache neither uses what is there nor touches it."""
    run, partial = broken_off(stack)
    with open(partial, "rb") as file:
        before = file.read()
    left = run.left()
    assert run.load("--no-cache")["digests"] == first.local_digests(run.repo)
    with open(partial, "rb") as file:
        assert file.read() == before and run.left() == left


def flip_bit(path):
    """In the first bytes, which had come when the load was broken off."""
    with open(path, "r+b") as file:
        file.seek(5000)
        byte = file.read(1)[0]
        file.seek(5000)
        file.write(bytes([byte ^ 1]))


def claim_all(path):
    """The map says that all has come."""
    with open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(MAP_BEGIN)
        file.write(b"\xff" * (end - MAP_BEGIN))


def cut_to(size):
    return lambda path: os.truncate(path, size)


def fill_with(content):
    def fill(path):
        with open(path, "wb") as file:
            file.write(content)
    return fill


def make_folder(path):
    os.unlink(path)
    os.mkdir(path)


def make_link(path):
    os.unlink(path)
    os.symlink("/etc/hostname", path)


def add_name(path):
    """A second one: what is written to the file would change another."""
    os.link(path, os.path.join(os.path.dirname(path), f"{'0' * 64}.01234567.incomplete"))


DAMAGES = [
    ("a bit is wrong", flip_bit),
    ("the map claims all", claim_all),
    ("the map is cut off", cut_to(LARGE_SIZE + 70000)),
    ("the content is cut off", cut_to(1 << 20)),
    ("the size of the whole file", cut_to(LARGE_SIZE)),
    ("empty", cut_to(0)),
    ("garbage of the right size", fill_with(os.urandom(LARGE_SIZE))),
    ("garbage", fill_with(b"garbage" * 1000)),
]


def run_damage(damage):
    def go(stack):
        run, partial = broken_off(stack)
        damage(partial)
        resume(run)
    run_flow(go)


@flow
def what_is_left_is_no_file(stack):
    """Not wload's to remove or to write to; another name does."""
    for replace in (make_folder, make_link):
        run, partial = broken_off(stack)
        replace(partial)
        assert run.load()["digests"] == first.local_digests(run.repo)
        assert cache_judge.partials(run.cache) == [partial]
        os.rename(partial, run.home / "aside")
        run.judge_load()


@flow
def what_is_left_has_a_second_name(stack):
    run, partial = broken_off(stack)
    add_name(partial)
    other, = set(cache_judge.partials(run.cache)) - {partial}
    with open(other, "rb") as file:
        before = file.read()
    assert run.load()["digests"] == first.local_digests(run.repo)
    with open(other, "rb") as file:
        assert file.read() == before, "another file was written to"


# ---- Nothing is kept ---------------------------------------------------------------------------

@flow
def nothing_is_kept(stack):
    for repo in (first.SINGLE, first.SHARDED, first.DIFFUSION):
        for options in ((), first.SMALL_SIZES):
            run = first.LoadRun(stack, repo)
            report = run.load("--no-cache", *options)
            assert report["digests"] == first.local_digests(repo)
            assert run.left() == [], run.left()


@flow
def nothing_is_kept_of_what_fails(stack):
    for rule in (table.rule({"flip": 700000}, {"listener": "cdn", "path": SECOND}),
                 table.rule(table.reply(404), table.CDN, first=4),
                 table.rule({"drop": True}, table.CDN, first=4)):
        run = first.LoadRun(stack, first.SHARDED, [rule])
        run.load("--no-cache", code=1, says="model-0000|http")
        assert run.left() == [], run.left()


@flow
def nothing_is_kept_of_what_is_killed(stack):
    for sent_bytes in (300, 4 << 20):
        run = first.LoadRun(stack, table.LARGE, rate=32 << 20)
        process = harness.start_wload(
            first.load_arguments(first.spec(run.repo), "--no-cache"),
            harness.environment(run.server.url, run.home))
        assert run.server.log.wait(lambda log, size=sent_bytes: log.sent_bytes >= size,
                                   harness.TIMEOUT_S)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert run.left() == [], run.left()


# ---- What it says of itself --------------------------------------------------------------------

@flow
def a_trace_of_each_chunk(stack):
    run = first.LoadRun(stack, table.LARGE)
    trace = run.home / "trace.json"
    chunk = 1 << 20
    for device, environment in (("host", {}), ("cuda", first.double_environment()), ("null", {})):
        run.wload("load", first.spec(run.repo), "--device", device, "--chunk", "1M", "--trace",
                  str(trace), "--cache-dir", str(run.home / device), **environment)
        events = json.loads(trace.read_text())["traceEvents"]
        names = {"network", "write", "digest", "consume", "copy"} - {"copy" * (device == "null")}
        for name in names:
            ranges = sorted((event["args"]["offset"], event["args"]["bytes"])
                            for event in events if event["name"] == name)
            assert [begin for begin, _ in ranges] == list(range(0, LARGE_SIZE, chunk)), \
                f"{device}, {name}: {ranges}"
            assert sum(size for _, size in ranges) == LARGE_SIZE, f"{device}, {name}: {ranges}"
        assert sum(event["name"] == "publish" for event in events) == 1


def everything():
    for name, repo, options, environment in SHAPES:
        yield name, lambda row=(repo, options, environment): run_shape(*row)
    for name, case in load_cases():
        yield name, lambda case=case: run_case(case)
    for name, damage in DAMAGES:
        yield f"what is left: {name}", lambda damage=damage: run_damage(damage)
    for name, function in FLOWS:
        yield name, lambda function=function: run_flow(function)


sys.exit(run_all(everything()))
