#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: kill -9 at any moment of a fetch loses nothing that was whole, publishes nothing that is
not, and costs at most 24 MB that are received again.

Method: kill_series.py, with 20 kills in fetches of one repository.
"""
import harness

harness.need_program()

import kill_series  # noqa: E402
from fault_server import Repo  # noqa: E402

SIZES_MIB = (40, 24, 16, 8, 4, 2, 1, 1)
REPO = Repo("org/model", {"config.json": b"{}"} |
            {f"model-{i}.safetensors": harness.weights(size << 20, i)
             for i, size in enumerate(SIZES_MIB)})

kill_series.run(REPO, ["fetch", f"hf://{REPO.name}", "--json"], 20)
