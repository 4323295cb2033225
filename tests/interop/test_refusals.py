#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: wload accepts and refuses what the official package does, but for the differences that the
tables below list with their reason, and what both accept they read alike.

Method: from a seed, 30 000 files of tensors and 6 000 shard indexes, well-formed ones with damage
to their structure or their bytes.  header_judge opens them all in one process.  The official judge
of a file is safetensors.deserialize(); of an index, what transformers does with one: json.loads,
then every file that weight_map names is opened by the official package.  A file where the two
disagree must answer to a row of the table; a file that answers to a row must be refused by wload;
and a row to which no file answers is stale, and fails the test.  `test_refusals.py SEED` takes
another seed.
"""
import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import judge
import mutants
import weights

judge.enter(judge.SAFETENSORS)

import safetensors  # noqa: E402

FILE_COUNT = 30_000
INDEX_COUNT = 6_000
DEPTH_MAX = 64
NAME_BYTES_MAX = 4096


class Facts:
    """What strict readers ask of a JSON text, found with the standard library's parser."""

    def __init__(self, text):
        self.text = text
        self.numbers, self.strings, self.twins, self.constants = [], [], False, []
        self.root = json.loads(text, object_pairs_hook=self.take_object, parse_int=self.take_number,
                               parse_float=self.take_number, parse_constant=self.constants.append)
        self.depth = self.measure(self.root)

    def take_object(self, pairs):
        self.twins |= len(dict(pairs)) != len(pairs)
        return dict(pairs)

    def take_number(self, text):
        self.numbers.append(text)
        return int(text) if text.lstrip("-").isdigit() else float(text)

    def measure(self, value):
        if isinstance(value, str):
            self.strings.append(value)
        if isinstance(value, dict):
            self.strings.extend(value)
            return 1 + max(map(self.measure, value.values()), default=0)
        if isinstance(value, list):
            return 1 + max(map(self.measure, value), default=0)
        return 0

    def tensors(self):
        return [value for name, value in self.root.items() if name != "__metadata__"]

    def shapes_and_offsets(self):
        for tensor in self.tensors():
            yield from tensor["shape"] + tensor["data_offsets"] if isinstance(tensor, dict) else []


# Rows of both tables: the reason, and which texts it holds for.
JSON_ROWS = {
    "a key stands twice: two readers could see two models":
        lambda facts: facts.twins,
    "a string holds NUL, where C would cut it":
        lambda facts: any("\0" in text for text in facts.strings),
    "nested deeper than any writer does: a bound on the parser's stack":
        lambda facts: facts.depth > DEPTH_MAX,
    "a number of more than 63 characters":
        lambda facts: any(len(text) > 63 for text in facts.numbers),
}
FILE_ROWS = JSON_ROWS | {
    "the format says that a header begins with '{'":
        lambda facts: not facts.text.startswith(b"{"),
    "a number that is not whole, though only in a field that is ignored":
        lambda facts: any(not text.isdigit() for text in facts.numbers),
    "a tensor without a name, or with one that no path or terminal can take":
        lambda facts: any(not name or len(name.encode("utf-8", "replace")) > NAME_BYTES_MAX
                          for name in facts.root),
    "more dimensions than any array library has":
        lambda facts: any(len(tensor["shape"]) > 64 for tensor in facts.tensors()
                          if isinstance(tensor, dict)),
    "a tensor as an array by position: an accident of the official parser":
        lambda facts: any(isinstance(tensor, list) for tensor in facts.tensors()),
    "a dtype as an object: an accident of the official parser":
        lambda facts: any(isinstance(tensor.get("dtype"), dict) for tensor in facts.tensors()
                          if isinstance(tensor, dict)),
    "a dimension that other readers of JSON round":
        lambda facts: any(number >= 1 << 53 for number in facts.shapes_and_offsets()),
}
INDEX_ROWS = JSON_ROWS | {
    "NaN and Infinity are not JSON":
        lambda facts: facts.constants,
    "half a surrogate pair is no character":
        lambda facts: any(not is_text(text) for text in facts.strings),
    "a number that no double holds":
        lambda facts: any(float(text) in (float("inf"), -float("inf")) for text in facts.numbers),
    "a shard is a file in the index's own directory":
        lambda facts: any("/" in shard or "\\" in shard or shard.startswith(".")
                          for shard in facts.root["weight_map"].values()),
    "a shard's name ends in .safetensors":
        lambda facts: any(not shard.endswith(".safetensors")
                          for shard in facts.root["weight_map"].values()),
    "a tensor that its shard does not hold would be missed much later":
        lambda facts: any(name not in SHARDS.get(shard, ())
                          for name, shard in facts.root["weight_map"].items()),
    "an index of nothing is a mistake":
        lambda facts: not facts.root["weight_map"],
}
SHARDS = {"s0.safetensors": ["a", "b", "both"], "s1.safetensors": ["c", "both"],
          "two words.safetensors": ["d"], "é.safetensors": ["e"]}


def is_text(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def ask_wload(paths):
    """[(accepted, rest of the line)], one for each path, from one process."""
    done = subprocess.run([pathlib.Path(os.environ["WLOAD_BUILD"]) / "tests" / "header_judge"],
                          input="".join(f"{path}\n" for path in paths), capture_output=True,
                          text=True, check=False)
    if done.returncode != 0 or done.stderr:
        sys.exit(f"header_judge: exit {done.returncode}\n{done.stderr[-4000:]}")
    lines = [line.split("\t") for line in done.stdout.split("\n")[:-1]]
    assert len(lines) == len(paths), f"{len(lines)} answers to {len(paths)} questions"
    return [(line[0] == "accept", line[1:]) for line in lines]


def ask_official(file):
    """{name: (dtype, shape, data)}, or None where it refuses."""
    try:
        return {name: (tensor["dtype"], tensor["shape"], bytes(tensor["data"]))
                for name, tensor in safetensors.deserialize(file)}
    except safetensors.SafetensorError:
        return None


def ask_transformers(text, directory):
    """{name: file} as transformers would load them, or None where it fails."""
    try:
        places = json.loads(text.decode())["weight_map"]
        for shard in sorted(set(places.values())):
            path = directory / shard
            if not path.is_file() or ask_official(path.read_bytes()) is None:
                return None
        return places
    except (UnicodeError, ValueError, LookupError, TypeError, AttributeError, RecursionError,
            OSError):
        return None


def tensors_in(fields):
    """{name: (dtype, shape, offset, size)} from a line of header_judge."""
    found = {}
    for field in fields:
        name, dtype, shape, offset, size = field.split(":")
        dims = [int(dim) for dim in shape.split("x")] if shape else []
        found[bytes.fromhex(name).decode()] = (dtype, dims, int(offset), int(size))
    return found


def read_alike(file, official, fields):
    found = tensors_in(fields)
    return official == {name: (dtype, shape, file[offset:offset + size])
                        for name, (dtype, shape, offset, size) in found.items()}


class Tally:
    """Counts what answers to each row, and fails on what answers to none."""

    def __init__(self, what, rows):
        self.what, self.rows = what, rows
        self.answers, self.accepted, self.refused = collections.Counter(), 0, 0

    def take(self, official, wload, text, shown):
        """`official` and `wload`: accepted or not; `text`: the JSON, if the official accepts."""
        reasons = []
        if official:
            facts = Facts(text)
            reasons = [reason for reason, holds in self.rows.items() if holds(facts)]
        if wload[0] != (official and not reasons):
            sys.exit(f"{self.what}: official {'accepts' if official else 'refuses'}, wload says "
                     f"{wload[0] or wload[1]}, rows {reasons}:\n{shown!r}")
        self.answers.update(reasons)
        self.accepted += wload[0]
        self.refused += not wload[0] and not reasons

    def finish(self):
        print(f"{self.what}: both accept {self.accepted}, both refuse {self.refused}")
        for reason in self.rows:
            print(f"  only wload refuses {self.answers[reason]:4}: {reason}")
        stale = [reason for reason in self.rows if not self.answers[reason]]
        if stale or not self.accepted or not self.refused:
            sys.exit(f"{self.what}: no case answers to {stale}")


def judge_files(root, rng):
    tally = Tally("files", FILE_ROWS)
    files = [mutants.file_mutant(rng) for _ in range(FILE_COUNT)]
    paths = [root / f"{number}.safetensors" for number in range(FILE_COUNT)]
    for path, file in zip(paths, files):
        path.write_bytes(file)
    for file, wload in zip(files, ask_wload(paths)):
        official = ask_official(file)
        size = int.from_bytes(file[:8], "little")
        tally.take(official is not None, wload, file[8:8 + size], file[:2000])
        if wload[0] and not read_alike(file, official, wload[1]):
            sys.exit(f"files: both accept, and read it differently: {wload[1]}\n{file[:2000]!r}")
    tally.finish()


def judge_indexes(root, rng):
    tally = Tally("indexes", INDEX_ROWS)
    for shard, names in SHARDS.items():
        weights.write(root / shard, [(name, "U8", [5], rng.randbytes(5)) for name in names])
    (root / "sub").mkdir()
    (root / "sub" / "s0.safetensors").write_bytes((root / "s0.safetensors").read_bytes())
    (root / ".s0.safetensors").write_bytes((root / "s0.safetensors").read_bytes())
    (root / "s0.bin").write_bytes((root / "s0.safetensors").read_bytes())
    (root / "broken.safetensors").write_bytes((root / "s0.safetensors").read_bytes()[:-1])
    (root / "folder.safetensors").mkdir()
    os.mkfifo(root / "pipe.safetensors")
    texts = [mutants.index_mutant(SHARDS, rng) for _ in range(INDEX_COUNT)]
    paths = [root / f"{number}.safetensors.index.json" for number in range(INDEX_COUNT)]
    for path, text in zip(paths, texts):
        path.write_bytes(text)
    for text, wload in zip(texts, ask_wload(paths)):
        places = ask_transformers(text, root)
        tally.take(places is not None, wload, text, text[:2000])
        if wload[0] and tensors_in(wload[1]).keys() != places.keys():
            sys.exit(f"indexes: not the tensors of the map: {wload[1]}\n{text[:2000]!r}")
    tally.finish()


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for part, judge_part in (("files", judge_files), ("indexes", judge_indexes)):
            (root / part).mkdir()
            judge_part(root / part, random.Random(f"{part} {seed}"))


if __name__ == "__main__":
    main()
