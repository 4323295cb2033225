#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: eight wload and two official clients that fetch one model into one cache at once download
it about once, and agree; a full disk, a read-only cache and a cleaner that removes files half
there are survived.

Method: a fault server with a rate that lets them meet; what it sent to wload is counted.  The
disk is a small tmpfs and the read-only cache a mount of it, in a mount namespace of its own: this
script starts itself there.  Where the registry or such a namespace cannot be had, that part is
left out, and the last line says so.
"""
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import harness

harness.need_program()

import cache_judge  # noqa: E402
import mounts  # noqa: E402
from fault_server import FaultServer, Repo  # noqa: E402

HERE = pathlib.Path(__file__).parent
WLOADS, OFFICIALS = 8, 2
REPO = Repo("org/model", {"config.json": b"{}", "notes/read.txt": b"x" * 1000} |
            {f"model-{i}.safetensors": harness.weights(size << 20, i)
             for i, size in enumerate((16, 8, 8, 4, 2, 1))})
HASHES = {path: file.hash for path, file in REPO.files.items()}
LARGE = Repo("org/large", {"model.safetensors": harness.weights(40 << 20, 9)})
DISK_MIB = 24


def homes(stack):
    home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = stack.enter_context(FaultServer([REPO, LARGE], rate=100 << 20,
                                             tokens=[harness.TOKEN]))
    return home, server, harness.environment(server.url, home)


def official(environment, *arguments):
    kept = {name: os.environ[name] for name in ("XDG_CACHE_HOME", "HOME") if name in os.environ}
    # The judge's environments lie in the caller's home; the caches in ours.
    return subprocess.Popen([sys.executable, HERE / "official.py", *arguments],
                            env=os.environ | environment | kept | {"HF_HUB_DISABLE_XET": "1"},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def together(has_official):
    with contextlib.ExitStack() as stack:
        home, server, environment = homes(stack)
        clients = [official(environment, "org/model")
                   for _ in range(OFFICIALS if has_official else 0)]
        if clients:  # they take a second to start; so that they meet
            server.log.wait(lambda log: log.entries, 60)
        clients += [harness.start_wload(["fetch", "hf://org/model", "--json"], environment)
                    for _ in range(WLOADS)]
        for client in clients:
            out, err = client.communicate(timeout=harness.TIMEOUT_S)
            assert client.returncode == 0, f"{client.args}: {out} {err.decode()}"
            if client.args[0] != harness.WLOAD:
                snapshot = pathlib.Path(out.decode().strip())
                assert snapshot.samefile(cache_judge.folder(home / "hub", "org/model") /
                                         "snapshots" / REPO.commit), out
        cache_judge.check(home / "hub", "org/model", REPO.commit, HASHES)
        sent = server.log.bytes(agent="wload", path="/(files|resolve-cache)/")
        assert sent <= 1.05 * REPO.size(), f"{sent} bytes to wload for {REPO.size()}"
        assert has_official or sent >= REPO.size(), f"{sent} bytes: who brought the rest?"
        return f"{len(clients)} clients, {sent / REPO.size():.3f} of the bytes to wload"


def cleaned_meanwhile():
    """`hf cache prune` removes what is half there, and asks nobody."""
    with contextlib.ExitStack() as stack:
        home, server, environment = homes(stack)
        cache = home / "hub"
        server.rate.hold_at(12 << 20)
        fetch = harness.start_wload(["fetch", "hf://org/large", "--json"], environment)
        server.log.wait(lambda log: log.sent_bytes >= 8 << 20, harness.TIMEOUT_S)
        half_there = cache_judge.partials(cache)
        for path in half_there:
            os.unlink(path)
        server.rate.hold_at(None)
        out, err = fetch.communicate(timeout=harness.TIMEOUT_S)
        assert half_there, "nothing was half there"
        assert fetch.returncode == 0, f"{out} {err.decode()}"
        cache_judge.check(cache, "org/large", LARGE.commit,
                          {"model.safetensors": LARGE.files["model.safetensors"].hash})


# ---- In a mount namespace ----------------------------------------------------------------------

def full_disk():
    with contextlib.ExitStack() as stack:
        home, server, environment = homes(stack)
        mounts.small_disk(stack, home, DISK_MIB)
        arguments = ["fetch", "--json", "hf://org/model", "--include", "*.json", "--include",
                     "model-3*"]
        done = harness.run_wload(arguments, environment)
        assert done.returncode == 0, done.stderr.decode()
        kept = cache_judge.published(home / "hub", "org/model", REPO.commit)
        sent = server.log.bytes(path="/files/")
        done = harness.run_wload(["fetch", "--json", "hf://org/large"], environment)
        err = done.stderr.decode()
        assert done.returncode == 1 and len(err.splitlines()) == 1, f"{done.returncode}: {err}"
        assert re.search(fr"needs \d+ bytes in '{home}.*, where \d+ are free", err), err
        assert cache_judge.partials(home) == [], "something is left"
        assert server.log.bytes(path="/files/") == sent, "downloaded for nothing"
        assert cache_judge.published(home / "hub", "org/model", REPO.commit) == kept
        # Full to the last byte: another writer took what there was.
        (home / "filler").write_bytes(bytes(DISK_MIB << 20 >> 1))
        done = harness.run_wload(["fetch", "--json", "hf://org/model", "--include",
                                  "model-1*"], environment)
        assert done.returncode == 1 and b" are free" in done.stderr, done.stderr.decode()
        wrong = list(cache_judge.findings(home / "hub")) + cache_judge.partials(home)
        assert not wrong, wrong


def fetch_as(repo, home, server, environment):
    """The model is from now on what `repo` has; all of it arrives."""
    server.repos["models", "org/model"] = repo
    server.files |= {file.hash: file for file in repo.files.values()}
    done = harness.run_wload(["fetch", "--json", "hf://org/model"], environment)
    assert done.returncode == 0, done.stderr.decode()
    have = cache_judge.published(home / "hub", "org/model", repo.commit)
    assert have == {path: file.hash for path, file in repo.files.items()}, have


def full_of_what_is_wanted():
    """A new commit of which the disk has the large files, and could not have them twice."""
    with contextlib.ExitStack() as stack:
        home, server, environment = homes(stack)
        mounts.small_disk(stack, home, DISK_MIB)
        contents = {"config.json": b"{}", "model.safetensors": harness.weights(16 << 20)}
        for number in range(2):
            repo = Repo("org/model", contents | {"config.json": b"{}" * number})
            fetch_as(repo, home, server, environment)


def full_of_what_is_coming():
    """Two want what the disk has room for once, and of which nothing has come yet."""
    with contextlib.ExitStack() as stack:
        home, server, environment = homes(stack)
        mounts.small_disk(stack, home, DISK_MIB)
        server.rules.add({"match": {"listener": "cdn"}, "times": 3,  # all pieces
                          "action": {"cut": 0, "how": "stall"}})
        arguments = ["fetch", "--json", "hf://org/model", "--include", "model-0*"]
        fetches = [harness.start_wload(arguments,
                                       environment | {"HF_HUB_DOWNLOAD_TIMEOUT": "2"})]
        asked = server.log.wait(lambda log: log.requests(listener="cdn"), harness.TIMEOUT_S)
        assert asked, "nothing was asked for"
        fetches.append(harness.start_wload(arguments, environment))
        for fetch in fetches:
            out, err = fetch.communicate(timeout=harness.TIMEOUT_S)
            assert fetch.returncode == 0, f"{out} {err.decode()}"


def full_of_one_content():
    """That has two names, and that the disk has room for once."""
    with contextlib.ExitStack() as stack:
        home, server, environment = homes(stack)
        mounts.small_disk(stack, home, DISK_MIB)
        names = ["copy/model.safetensors", "model.safetensors"]
        repo = Repo("org/model", dict.fromkeys(names, harness.weights(16 << 20)))
        fetch_as(repo, home, server, environment)


def read_only():
    with contextlib.ExitStack() as stack:
        home, server, environment = homes(stack)
        done = harness.run_wload(["fetch", "--json", "hf://org/large"], environment)
        assert done.returncode == 0, done.stderr.decode()
        mounts.read_only(stack, home)
        for more in ({}, {"HF_HUB_OFFLINE": "1"}):
            done = harness.run_wload(["load", "--device", "host", "hf://org/large"],
                                     environment | more)
            assert done.returncode == 0 and not done.stderr, done.stderr.decode()
        sent = server.log.bytes(path="/files/")
        done = harness.run_wload(["fetch", "--json", "hf://org/large"], environment)
        assert done.returncode == 0, done.stderr.decode()
        done = harness.run_wload(["fetch", "--json", "hf://org/model"], environment)
        err = done.stderr.decode()
        assert done.returncode == 1 and "ead-only" in err, f"{done.returncode}: {err}"
        assert server.log.bytes(path="/files/") == sent, "downloaded for nothing"


def main():
    if mounts.are_allowed():
        full_disk()
        full_of_what_is_wanted()
        full_of_what_is_coming()
        full_of_one_content()
        read_only()
        return 0
    left_out = []
    judge = official({})
    _, why = judge.communicate()
    if judge.returncode not in (0, harness.SKIP):
        sys.exit(why.decode())
    if judge.returncode == harness.SKIP:
        left_out.append(f"without official clients: {why.decode().strip()}")
    said = together(judge.returncode == 0)
    cleaned_meanwhile()
    if not mounts.run_again(__file__):
        left_out.append("without mounts: this user may make none")
    print("; ".join([said, *left_out]))
    return 0


sys.exit(main())
