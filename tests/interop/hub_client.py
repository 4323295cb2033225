#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the official client answers: a JSON list of [function, {argument: value}] from standard
input, a JSON list of answers to standard output.  Not a test: test_hub_clients.py runs it in the
environments of several versions.

An answer is a path, or {"error": class, "text": message}; of `cached`, "absent" if the cache knows
that there is no such file, null if it knows nothing; of `scan`, what it says of a whole cache.
"""
import json
import sys

import huggingface_hub


def cached(**arguments):
    found = huggingface_hub.try_to_load_from_cache(**arguments)
    return "absent" if found is huggingface_hub.file_download._CACHED_NO_EXIST else found


def scan(cache_dir=None):
    info = huggingface_hub.scan_cache_dir(cache_dir)
    return {"warnings": [str(warning) for warning in info.warnings],
            "bytes": info.size_on_disk,
            "repos": {repo.repo_id: {
                "bytes": repo.size_on_disk,
                "revisions": {revision.commit_hash: {
                    "refs": sorted(revision.refs),
                    "files": sorted(str(file.file_path.relative_to(revision.snapshot_path))
                                    for file in revision.files)}
                              for revision in repo.revisions}} for repo in info.repos}}


FUNCTIONS = {"cached": cached, "scan": scan,
             "snapshot_download": huggingface_hub.snapshot_download,
             "hf_hub_download": huggingface_hub.hf_hub_download}


def answer(function, arguments):
    try:
        return FUNCTIONS[function](**arguments)
    except Exception as error:  # whatever it is, it is the answer
        return {"error": type(error).__name__, "text": str(error)}


if __name__ == "__main__":
    json.dump([answer(*call) for call in json.load(sys.stdin)], sys.stdout)
