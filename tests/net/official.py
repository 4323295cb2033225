#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""official.py REPO: the official client downloads a snapshot and prints where it is.  Exit 77 where
the package cannot be had.  Not a test: test_many.py runs it beside wload.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "interop"))

import judge  # noqa: E402

# Without hf-xet: the server speaks HTTP alone.
judge.enter({"whole": ["huggingface_hub==2.4.0"], "alone": ["typing-extensions"]})

if len(sys.argv) > 1:
    import huggingface_hub

    print(huggingface_hub.snapshot_download(sys.argv[1]))
