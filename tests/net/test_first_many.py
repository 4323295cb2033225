#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: eight `wload load` of one model at once download it once and all get it; a dead leader is
replaced; a fetch and a load share one download; a disk that is full or read-only costs a line on
stderr, and not the load.

Method: a fault server with a rate that lets them meet, whose bytes are counted.  The disk is a
small tmpfs and the read-only cache a mount of it, in a mount namespace of its own: this script
starts itself there.  Where such a namespace cannot be had, that part is left out, and the last
line says so.
"""
import contextlib
import json
import signal
import sys

import harness

harness.need_program()

import cache_judge  # noqa: E402
import first_run as first  # noqa: E402
import mounts  # noqa: E402
from fault_server import Repo  # noqa: E402

PROCESSES = 8
MODEL = Repo("org/model", first.SMALL_FILES |
             first.shards([size << 20 for size in (24, 16, 16, 9, 2, 1)]))
LARGE = Repo("org/large", first.SMALL_FILES | {"model.safetensors": harness.weights(48 << 20, 9)})
RATE = (64 << 20) // harness.PACE
AGAIN_MAX = 24 * 1000 * 1000


def start(run, *options, command=first.load_arguments, **environment):
    return harness.start_wload(command(first.spec(run.repo), *options),
                               harness.environment(run.server.url, run.home, **environment))


def finish(run, process, digests):
    out, err = process.communicate(timeout=harness.TIMEOUT_S)
    assert process.returncode == 0 and not err, f"exit {process.returncode}: {err.decode()}"
    report = json.loads(out)
    assert "digests" not in report or report["digests"] == digests
    return report


def fetch_arguments(spec_text, *options):
    return ["fetch", "--json", spec_text, *options]


def null_arguments(spec_text, *options):
    return ["load", spec_text, "--device", "null", "--json", *options]


def header_count(log, file):
    """How often the header of one file was asked for."""
    asked = f"bytes=0-{first.HEADER_BYTES - 1}"
    return sum(f"/files/{file.hash}" in entry["target"] and entry["headers"].get("range") == asked
               for entry in log.entries)


def wait_for_bytes(run, count):
    assert run.server.log.wait(lambda log: log.sent_bytes >= count, harness.TIMEOUT_S)


# ---- Many at once ------------------------------------------------------------------------------

def together(repo, options=()):
    digests = first.local_digests(repo)
    with first.load_run(repo, rate=RATE) as run:
        reports = [finish(run, process, digests)
                   for process in [start(run, *options) for _ in range(PROCESSES)]]
        run.judge_load()
        share = run.content_bytes() / repo.size()
        received = sum(report["network_bytes"] for report in reports)
        assert share <= 1.02, f"the origin sent {share:.3f} of the model"
        assert received <= 1.02 * repo.size(), f"{received} bytes were received"
        return share


def with_a_fetch(is_fetch_first):
    digests = first.local_digests(MODEL)
    with first.load_run(MODEL, rate=RATE) as run:
        commands = [fetch_arguments, first.load_arguments, first.load_arguments]
        if not is_fetch_first:
            commands.reverse()
        processes = []
        for command in commands:
            processes.append(start(run, command=command))
            wait_for_bytes(run, 1 << 20)
        for process in processes:
            finish(run, process, digests)
        run.judge_load()
        sent = run.content_bytes()
        assert sent <= 1.02 * MODEL.size(), f"{sent} bytes for {MODEL.size()}"


def kill_a_leader(repo, kill_signal, commands):
    """The first of the commands leads; it is stopped when all are at it.  The rest finish."""
    digests = first.local_digests(repo)
    largest = max(repo.files.values(), key=lambda file: len(file.data))  # not there for long
    with first.load_run(repo, rate=RATE // 2) as run:
        run.server.rate.hold_at(repo.size() // 3 + (1 << 20))
        leader = start(run, command=commands[0])
        wait_for_bytes(run, 4 << 20)
        before = header_count(run.server.log, largest)
        followers = [start(run, command=command) for command in commands[1:]]
        due = before + sum(command != fetch_arguments for command in commands[1:])
        assert run.server.log.wait(lambda log: header_count(log, largest) >= due,
                                   harness.TIMEOUT_S)
        wait_for_bytes(run, repo.size() // 3)
        leader.send_signal(kill_signal)
        leader.communicate()
        assert leader.returncode != 0, "it was done before"
        run.server.rate.hold_at(None)
        for follower in followers:
            finish(run, follower, digests)
        run.judge_load()
        again = run.content_bytes() - repo.size()
        assert again <= AGAIN_MAX, f"{again} bytes were sent again"


# ---- In a mount namespace ----------------------------------------------------------------------

def warned(run, says, *options, **environment):
    """Exit 0, all tensors, and one line on stderr."""
    report = run.load(*options, says=says, **environment)
    err = run.done.stderr.decode()
    assert len(err.splitlines()) == 1 and err.startswith("wload: warning: "), f"said: {err!r}"
    assert report["digests"] == first.local_digests(run.repo)
    assert cache_judge.partials(run.home) == [], "something is left"
    assert list(cache_judge.findings(run.cache)) == []
    return report


def full_disk(repo, disk_mib):
    for options in ((), first.SMALL_SIZES):
        with contextlib.ExitStack() as stack:
            run = first.LoadRun(stack, repo)
            mounts.small_disk(stack, run.home, disk_mib)
            warned(run, "cache is off.*room", *options)
            have = cache_judge.published(run.cache, repo.name, repo.commit)
            assert have.items() <= first.loaded_files(repo).items()


def disk_without_a_byte():
    with contextlib.ExitStack() as stack:
        run = first.LoadRun(stack, first.SHARDED)
        mounts.small_disk(stack, run.home, 1)
        with contextlib.suppress(OSError), open(run.home / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        report = run.load(says="cache is off")
        assert report["digests"] == first.local_digests(run.repo)
        assert len(run.done.stderr.splitlines()) == 1, run.done.stderr
        assert cache_judge.partials(run.home) == []


def read_only():
    for repo in (first.SINGLE, first.SHARDED, first.DIFFUSION):
        for fetched in ((), ("--include", "*.json"), ("--include", "*00001-of*"), None):
            with contextlib.ExitStack() as stack:
                run = first.LoadRun(stack, repo)
                if fetched:
                    run.wload("fetch", "--json", first.spec(repo), *fetched,
                              code=1 if repo is first.SINGLE and "*00001-of*" in fetched else 0)
                elif fetched is None:
                    run.load()
                left = run.left()
                mounts.read_only(stack, run.home)
                if fetched is None:
                    report = run.load()
                    assert report["network_bytes"] == 0
                    assert report["digests"] == first.local_digests(repo)
                else:
                    warned(run, "cache is off.*ead-only")
                assert run.left() == left


def disk_that_is_not_mounted():
    """Where a link of the cache leads; what else the cache has is no help, and in nobody's way."""
    for place in ("models--org--sharded/blobs", ".locks"):
        with contextlib.ExitStack() as stack:
            run = first.LoadRun(stack, first.SHARDED)
            (run.cache / place).parent.mkdir(parents=True)
            (run.cache / place).symlink_to("/nonexistent/disk")
            report = run.load(says=f"cache is off.*{place}.*ENOENT")
            assert report["digests"] == first.local_digests(run.repo)
            assert len(run.done.stderr.splitlines()) == 1, run.done.stderr
            run.wload("fetch", "--json", first.spec(run.repo), code=1, says=f"{place}.*ENOENT")


def main():
    if mounts.are_allowed():
        full_disk(MODEL, 30)
        full_disk(LARGE, 30)
        disk_without_a_byte()
        read_only()
        return 0
    shares = [together(MODEL), together(LARGE, first.SMALL_SIZES)]
    for is_fetch_first in (False, True):
        with_a_fetch(is_fetch_first)
    load, fetch = first.load_arguments, fetch_arguments
    kill_a_leader(LARGE, signal.SIGKILL, [load, load, load, null_arguments])
    kill_a_leader(MODEL, signal.SIGKILL, [load, load, load, null_arguments])
    kill_a_leader(MODEL, signal.SIGKILL, [fetch, load, load])
    kill_a_leader(MODEL, signal.SIGINT, [load, load, fetch])
    disk_that_is_not_mounted()
    said = f"{PROCESSES} at once: the origin sent {max(shares):.3f} of the model"
    if not mounts.run_again(__file__):
        said += "; without mounts: this user may make none"
    print(said)
    return 0


sys.exit(main())
