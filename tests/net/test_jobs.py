#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a job of a model on a hub loads what the hub has, whatever lies where its files belong;
holds up nobody before it is run; and comes back when it is told to, up to its very end.

Method: support/hub_jobs.c loads from a fault server, through the public header, and from a plain
directory for comparison.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import harness

harness.need_program()  # a build without it has no network, or no tests that need one

import cache_judge  # noqa: E402
import first_run as first  # noqa: E402
from fault_server import Repo  # noqa: E402
from hub_run import run_all, run_flow  # noqa: E402

HUB_JOBS = pathlib.Path(os.environ["WLOAD_BUILD"], "tests", "hub_jobs")
FLOWS = []


def flow(function):
    FLOWS.append((function.__name__.replace("_", " "), function))
    return function


def model(sizes, *seeds):
    """Of each shard the size, and what its content depends on."""
    contents = first.shards(sizes)
    for i, path in enumerate(sorted(path for path in contents if path.endswith(".safetensors"))):
        names = (f"layers.{i}.a", f"layers.{i}.b")
        contents[path] = harness.weights(sizes[i], seeds[i], names)
    return Repo("org/model", first.SMALL_FILES | contents)


def hub_jobs(*arguments, server_url="http://127.0.0.1:1", home="/nowhere", cwd=None):
    """Of each job [the number that its tensors make, bytes received]."""
    done = subprocess.run([HUB_JOBS, *arguments], env=harness.environment(server_url, home),
                          capture_output=True, check=False, timeout=harness.TIMEOUT_S, cwd=cwd)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr.decode()}"
    return [[int(word) for word in line.split()] for line in done.stdout.decode().splitlines()]


def jobs_of(run, case, *arguments):
    return hub_jobs(case, first.spec(run.repo), *arguments, server_url=run.server.url,
                    home=run.home, cwd=run.home)


def number_of(repo):
    with tempfile.TemporaryDirectory() as root:
        for path, file in repo.files.items():
            pathlib.Path(root, path).write_bytes(file.data)
        [[number, received]] = hub_jobs("load", root)
    assert received == 0
    return number


# ---- What lies there already -------------------------------------------------------------------

@flow
def a_directory_of_another_revision(stack):
    """Of the same sizes, all of it or one file, and of others."""
    place = stack.enter_context(tempfile.TemporaryDirectory())
    sizes = (3 << 20, 1 << 20, 700000)
    for repo, wanted_bytes in ((model(sizes, 1, 2, 3), sum(sizes)),
                               (model(sizes, 4, 5, 6), sum(sizes)),
                               (model(sizes, 4, 7, 6), sizes[1]),
                               (model(sizes[::-1], 1, 2, 3), sum(sizes))):
        run = first.LoadRun(stack, repo)
        [[number, received]] = jobs_of(run, "load", place)
        assert number == number_of(repo), "these are not the tensors of the hub"
        assert wanted_bytes <= received <= 1.02 * wanted_bytes, received
        assert jobs_of(run, "load", place) == [[number, 0]]
        for path in first.loaded_files(repo):
            assert pathlib.Path(place, path).read_bytes() == repo.files[path].data, path


@flow
def a_directory_that_is_slow_to_read(stack):
    """A time-out and a cancel hold while it is found out what lies there, too."""
    repo = model((3 << 20,), 1)
    number = number_of(repo)
    [path] = (path for path in repo.files if path.endswith(".safetensors"))
    right = repo.files[path].data
    for content, missing_bytes in ((right, 0), (bytes(len(right)), len(right))):
        for case, ended in ("leave", []), ("check", [[number, missing_bytes]]):
            run = first.LoadRun(stack, repo)
            place = stack.enter_context(tempfile.TemporaryDirectory())
            pathlib.Path(place, path).write_bytes(content)
            assert jobs_of(run, case, place) == ended
            [[again, received]] = jobs_of(run, "load", place)
            assert again == number and received in (0, missing_bytes)
            assert received == 0 or case == "leave"


@flow
def a_directory_however_it_is_written(stack):
    """With slashes at its end, from the directory that the program is in at first, from home."""
    repo = model((1 << 20, 700000), 1, 2)
    run = first.LoadRun(stack, repo)
    number = number_of(repo)
    for written, place in (("{home}/a/", "a"), ("b/", "b"), ("./c//", "c"), ("~/d", "d")):
        [[loaded, received]] = jobs_of(run, "load", written.format(home=run.home))
        assert loaded == number and received > 0, written
        for path in first.loaded_files(repo):
            assert (run.home / place / path).read_bytes() == repo.files[path].data, written


# ---- Several jobs ------------------------------------------------------------------------------

@flow
def a_job_that_is_started_and_not_run(stack):
    repo = model((3 << 20, 1 << 20, 700000), 1, 2, 3)
    run = first.LoadRun(stack, repo)
    [[number, received], again] = jobs_of(run, "two")
    assert number == number_of(repo) and received > 4 << 20
    assert again == [number, 0]
    run.judge_load()


@flow
def a_job_without_descriptors_for_the_cache(stack):
    """It loads all the same, and its note names the limit."""
    repo = model((1 << 20, 700000), 1, 2)
    run = first.LoadRun(stack, repo)
    [[number, received]] = jobs_of(run, "few")
    assert number == number_of(repo) and received > 0
    assert cache_judge.partials(run.home) == []


# ---- The beginning -------------------------------------------------------------------------------

@flow
def headers_that_do_not_come(stack):
    run = first.LoadRun(stack, first.SINGLE, [{"match": {"path": "safetensors$"},
                                               "action": {"delay": 10 * harness.TIMEOUT_S}}])
    assert jobs_of(run, "stop") == []


# ---- The end -----------------------------------------------------------------------------------

@flow
def a_disk_that_is_not_done_when_all_has_landed(stack):
    """A time-out and a cancel hold while files are published, too."""
    for case in ("slow", "cancel"):
        run = first.LoadRun(stack, first.SINGLE)
        ended = jobs_of(run, case)
        assert len(ended) == (case == "slow"), ended
        assert jobs_of(run, "load") == [[number_of(run.repo), 0]], "what was proven was not kept"
        run.judge_load()


sys.exit(run_all((name, lambda function=function: run_flow(function)) for name, function in FLOWS))
