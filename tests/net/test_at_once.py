#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: with --max-workers N, no more than N requests for content are under way at once, but for
those that are about to end, and of these half as many as N; where the server is slow to answer,
the next request is indeed there ahead of an end.  From the first question to the last byte no
more connections are opened than there may be requests at once.

Method: a server that keeps every answer back for a while and sends slowly notes, when a request
comes, what has left of the other answers.  A piece that is about to end has half of its bytes.
What has left may still be on its way, so that the connections are more than the requests that the
server sees at once.
"""
import contextlib
import sys

import harness

harness.need_program()

import first_run as first  # noqa: E402
from fault_server import CONTENT, Repo  # noqa: E402
from hub_run import run_all  # noqa: E402

DELAY_S = 0.2 * harness.PACE
RATE = (96 << 20) // harness.PACE ** 2
COMMANDS = {"fetch": (20 << 20, ["fetch", "--json"]),
            "load": (8 << 20, ["load", "--device", "null", "--json", "--chunk", "2M",
                               "--staging", "32M"])}
WORKERS = (1, 4)


def measure(log):
    """Of all requests at their beginning: the most that were under way, and of these with less
    than half of their bytes, the new one included."""
    most, most_begun = 0, 0
    for request in log.requests(path=CONTENT):
        begun = sum(size is None or 2 * leaving < size for leaving, size in request["beside"])
        most = max(most, 1 + len(request["beside"]))
        most_begun = max(most_begun, 1 + begun)
    return most, most_begun


def check(command, workers):
    size, arguments = COMMANDS[command]
    repo = Repo("org/model", {"model.safetensors": harness.weights(size * workers)})
    delay = {"match": {"path": CONTENT}, "action": {"delay": DELAY_S}}
    with first.load_run(repo, [delay], rate=RATE) as run:
        run.wload(*arguments, first.spec(repo), "--max-workers", str(workers))
        most, most_begun = measure(run.server.log)
        asked = len(run.server.log.requests(path=CONTENT))
        accepted = {listener.name: listener.accepted_count for listener in run.server.listeners}
    assert asked > 2 * workers, f"{asked} requests for {workers} workers"
    assert most_begun == workers, f"{most_begun} at their beginning, not {workers}"
    assert most <= workers + workers // 2, f"{most} at once, with {workers} workers"
    assert workers == 1 or most > workers, f"never more than {most} at once: none was ahead"
    for name, count in accepted.items():
        assert count <= workers + workers // 2, \
            f"{count} connections to the {name}, with {workers} workers"


def everything():
    for command in COMMANDS:
        for workers in WORKERS:
            yield f"{command}, {workers}", lambda row=(command, workers): check(*row)


sys.exit(run_all(everything()))
