#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: kill -9 at any moment of a first load publishes nothing that is not whole and proven, and
costs at most 24 MB that are received again; the next load goes on, and its tensors are right.

Method: kill_series.py, with 15 kills in loads of one model of several shards.
"""
import json

import harness

harness.need_program()

import first_run as first  # noqa: E402
import kill_series  # noqa: E402
from fault_server import Repo  # noqa: E402

REPO = Repo("org/model", first.SMALL_FILES |
            first.shards([size << 20 for size in (40, 24, 16, 8, 4, 2, 1, 1)]))
DIGESTS = first.local_digests(REPO)


def judge(report):
    assert json.loads(report)["digests"] == DIGESTS


kill_series.run(REPO, first.load_arguments(first.spec(REPO)), 15, judge)
