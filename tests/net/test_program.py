#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: fetch, resolve, verify and load of a named model say what they do, do only that, and stop
where they are told to.

Method: a hub that is well (see fault_server.py) and a home for each flow below; what the program
prints is compared with patterns, what it asks the hub with the server's log.  Where a moment
matters, the server holds back the bytes and its log says when they were asked for.
`test_program.py TEXT` runs those flows alone whose name holds the text.
"""
import contextlib
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import tempfile
import traceback

import harness

harness.need_program()

import fault_cases as table  # noqa: E402
from fault_server import FaultServer, Repo  # noqa: E402

LARGE_BYTES = 24 << 20
CONTENTS = {
    "config.json": b"{}",
    "model.safetensors": harness.weights(1 << 20, 1),
    "model.fp16.safetensors": harness.weights(1 << 19, 2),
    "onnx/model.onnx": b"onnx" * 100,
    "tokenizer.json": b'{"a": 1}\n',
}
SPEC = "org/model"
FLOWS = []


def flow(function):
    FLOWS.append((function.__name__.replace("_", " "), function))
    return function


class Run:
    """A server and a home with a cache."""

    def __init__(self, stack, contents=None, others=(), **server):
        self.home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        self.repo = Repo(SPEC, contents or CONTENTS)
        self.server = stack.enter_context(
            FaultServer([self.repo, *others], **({"tokens": [harness.TOKEN, "other"]} | server)))
        self.snapshot = self.home / f"hub/models--org--model/snapshots/{self.repo.commit}"

    def environment(self, **changes):
        return harness.environment(self.server.url, self.home, **changes)

    def wload(self, *arguments, code=0, err="", **changes):
        """Its standard output; standard error is exactly one line of that pattern, or nothing."""
        done = harness.run_wload(arguments, self.environment(**changes))
        said = done.stderr.decode()
        assert done.returncode == code, f"{arguments}: exit {done.returncode}: {said}"
        if "-v" not in arguments:
            assert re.fullmatch(f"wload: {err}\n" if err else "", said), f"{arguments}: {said!r}"
        assert harness.TOKEN not in said + done.stdout.decode()
        return done.stdout.decode()

    def json(self, *arguments, **expected):
        return json.loads(self.wload(*arguments, "--json", **expected))

    def requests(self, **match):
        return self.server.log.requests(**match)


def on_terminal(run, *arguments, **changes):
    """What a program says whose standard output goes elsewhere: there, and on the terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen([harness.WLOAD, *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=slave,
                          env=run.environment(**changes)) as process:
        os.close(slave)
        said = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while part := os.read(master, 4096):
                said += part
        out = process.stdout.read()
    os.close(master)
    assert process.returncode == 0, said
    return out.decode(), said.decode()


def screen(said):
    """The lines that stand on a terminal at the end."""
    rows, column = [""], 0
    for part in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", said):
        if part == "\n":
            rows.append("")
        elif part == "\x1b[K":
            rows[-1] = rows[-1][:column]
        elif part != "\r":
            rows[-1] = rows[-1][:column] + part + rows[-1][column + len(part):]
        column = 0 if part in "\r\n" else column + len(part) * (part[0] != "\x1b")
    return "\n".join(row for row in rows if row)


def same(text, *patterns):
    lines = text.splitlines()
    assert len(lines) == len(patterns), f"{len(lines)} lines, not {len(patterns)}: {text}"
    for line, pattern in zip(lines, patterns):
        assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}"


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# ---- fetch ----------------------------------------------------------------

@flow
def a_fetch_and_another(stack):
    run = Run(stack)
    size = run.repo.size() / 2**20
    path, said = on_terminal(run, "fetch", SPEC)
    same(path, re.escape(str(run.snapshot)))
    same(said.rsplit("\033[K", 1)[-1],
         rf"{SPEC}: 5 files, {size:.2f} MiB; 5 new, {size:.2f} MiB received in [0-9.]+ s, "
         r"[0-9.]+ [GM]B/s")
    for name, file in run.repo.files.items():
        assert (run.snapshot / name).read_bytes() == file.data
    same(run.wload("download", f"hf://{SPEC}@main"), re.escape(str(run.snapshot)))
    [again] = run.json("fetch", "--force", "--max-workers", "2", SPEC)["snapshots"]
    assert again["new_files"] == 5 and again["received_bytes"] == run.repo.size(), again


@flow
def what_a_fetch_reports(stack):
    run = Run(stack)
    [told] = run.json("fetch", f"hf://models/{SPEC}", "--include", "*.json")["snapshots"]
    seconds, speed = told.pop("seconds"), told.pop("gb_per_s")
    assert abs(speed - told["received_bytes"] / seconds / 1e9) < speed / 100
    assert told == {
        "spec": f"hf://models/{SPEC}", "repo": SPEC, "kind": "model", "revision": "main",
        "commit": run.repo.commit, "path": str(run.snapshot), "origin": "hub", "note": "",
        "files": 2, "total_bytes": 11, "received_bytes": 11, "new_files": 2}, told


@flow
def a_dry_run(stack):
    run = Run(stack)
    run.wload("fetch", SPEC, "--include", "*.json")
    out = run.wload("fetch", SPEC, "--dry-run")
    same(out, r"\[dry-run\] Will download 3 files \(out of 5\) totalling 1\.50 MiB\.",
         "FILE +SIZE", "config.json +-", r"model.fp16.safetensors +512\...? KiB",
         r"model.safetensors +1\.00 MiB", "onnx/model.onnx +400 B", "tokenizer.json +-")
    assert len({len(line) for line in out.splitlines()[1:]}) == 1, f"no columns: {out}"
    [told] = run.json("fetch", SPEC, "--dry-run")["snapshots"]
    missing = {name: len(CONTENTS[name]) for name in sorted(CONTENTS) if ".json" not in name}
    assert told["missing"] == [{"name": k, "bytes": v} for k, v in missing.items()], told
    assert told["missing_files"] == 3 and told["missing_bytes"] == sum(missing.values())
    [told] = run.json("fetch", SPEC, "--dry-run", "--force")["snapshots"]
    assert told["missing_files"] == 5 and told["missing_bytes"] == run.repo.size()
    assert not run.requests(path="safetensors"), "a dry run asked for a file"
    assert sorted(path.name for path in run.snapshot.iterdir()) == ["config.json",
                                                                    "tokenizer.json"]


@flow
def three_names_of_one_content(stack):
    """It comes once, and nobody waits for its lock."""
    large = CONTENTS["model.safetensors"]
    names = ["copy/model.safetensors", "model.safetensors", "more/model.safetensors"]
    run = Run(stack, dict.fromkeys(names, large) | {"config.json": b"{}"}, rate=4 << 20)
    run.wload("fetch", SPEC, "--include", "config.json")
    [told] = run.json("fetch", SPEC, "--dry-run")["snapshots"]
    assert told["missing_files"] == 3 and told["missing_bytes"] == len(large), told
    for options in [], ["--force"]:
        [told] = run.json("fetch", SPEC, *options, WLOAD_LOCK_TIMEOUT="0")["snapshots"]
        assert told["received_bytes"] == len(large) + 2 * len(options), told
        assert all((run.snapshot / name).read_bytes() == large for name in names)
        assert len({(run.snapshot / name).stat().st_ino for name in names}) == 1

    run = Run(stack, dict.fromkeys(names, large))
    options = {"HF_HUB_DISABLE_SYMLINKS": "1"}
    [told] = run.json("fetch", SPEC, "--dry-run", **options)["snapshots"]
    assert told["missing_bytes"] == 3 * len(large), told
    [told] = run.json("fetch", SPEC, **options)["snapshots"]
    assert told["received_bytes"] == 3 * len(large), told
    assert len({(run.snapshot / name).stat().st_ino for name in names}) == 3


@flow
def several_models_of_which_one_is_not(stack):
    run = Run(stack)
    none, path, told = run.json("fetch", "org/none", "/", SPEC, code=1, err=(
        ".*/org/none/.*\nwload: '/' is a path; .*"))["snapshots"]
    assert none["spec"] == "org/none" and "/org/none/" in none.pop("error"), none
    assert path["spec"] == "/" and path.pop("error").startswith("'/' is a path"), path
    assert none.keys() == path.keys() == {"spec", "status"}
    assert told["repo"] == SPEC and run.snapshot.is_dir()


@flow
def options_that_choose(stack):
    run = Run(stack)
    told = run.json("fetch", SPEC, "--dry-run", "--variant", "fp16", "--exclude", "onnx/")
    assert [item["name"] for item in told["snapshots"][0]["missing"]] == [
        "config.json", "model.fp16.safetensors", "tokenizer.json"]
    for command in "fetch", "resolve":
        told = run.json(command, SPEC, "--dry-run", "--variant", "fp16", "--include", "*.safeten*")
        told = told["snapshots"][0] if command == "fetch" else told
        assert [item["name"] for item in told["missing"]] == ["model.fp16.safetensors"], told
    told = run.json("fetch", SPEC, "--dry-run", "--subfolder", "onnx")
    assert [item["name"] for item in told["snapshots"][0]["missing"]] == ["onnx/model.onnx"]
    told = run.json("fetch", f"hf://{SPEC}/onnx")
    assert told["snapshots"][0]["path"] == str(run.snapshot / "onnx")


@flow
def names_that_are_not_there(stack):
    run = Run(stack)
    run.wload("fetch", SPEC, "--include", "config.json", "--include", "no/such.json",
              "--include", "none-*")
    absent = run.snapshot.parents[1] / ".no_exist" / run.repo.commit
    assert [str(path.relative_to(absent)) for path in absent.rglob("*") if path.is_file()] == [
        "no/such.json"]


@flow
def names_in_the_way_of_each_other(stack):
    run = Run(stack)
    run.repo.revisions |= {name: run.repo.commit for name in ("a", "a/b", "c/d", "c")}
    refs = run.home / "hub/models--org--model/refs"
    for revision, other in ("a", "a/b"), ("c/d", "c"):
        run.wload("fetch", SPEC, "--revision", revision)
        run.wload("fetch", SPEC, "--revision", other, "--force")
        run.wload("resolve", SPEC, "--revision", revision)
        assert (refs / revision).is_file() and not (refs / other).is_file()
    for names in ("none", "none/x"), ("nil/x", "nil"):
        patterns = [word for name in (*names, "*.onnx") for word in ("--include", name)]
        run.wload("fetch", SPEC, "--force", *patterns)
    assert not list(refs.parents[0].rglob("*.incomplete"))


@flow
def tokens(stack):
    run = Run(stack)
    sent = lambda: {request["headers"].get("authorization") for request in run.requests()
                    if request["listener"] == "hub"}
    run.wload("fetch", SPEC, "--include", "*.json", "--token", "")
    assert sent() == {None}, "an empty --token is none"
    run.wload("fetch", SPEC, "--include", "*.onnx", "--token", "other")
    assert sent() == {None, "Bearer other"}
    run.wload("fetch", SPEC)
    assert sent() == {None, "Bearer other", f"Bearer {harness.TOKEN}"}


@flow
def a_hub_that_is_away(stack):
    run = Run(stack)
    run.wload("fetch", SPEC)
    away = {"HF_ENDPOINT": "http://127.0.0.1:1", "WLOAD_RETRY_MS": "1"}
    out = run.wload("fetch", SPEC, err="warning: the hub could not be asked: .+", **away)
    assert out == f"{run.snapshot}\n"
    told = run.json("fetch", SPEC, err="warning: .+", **away)
    assert told["snapshots"][0]["note"].startswith("the hub could not be asked")
    run.wload("fetch", "org/none", code=1, err=".+", **away)
    before = len(run.requests())
    run.wload("fetch", SPEC, "--offline")
    run.wload("fetch", "org/none", "--offline", code=1, err=".*network is off.*")
    assert len(run.requests()) == before, "--offline asked the hub"


@flow
def a_plain_directory(stack):
    run = Run(stack)
    place = run.home / "plain"
    same(run.wload("fetch", SPEC, "--local-dir", str(place)), re.escape(str(place)))
    assert (place / "onnx/model.onnx").read_bytes() == CONTENTS["onnx/model.onnx"]
    assert not (place / "config.json").is_symlink() and not run.snapshot.exists()
    same(run.wload("resolve", SPEC, "--local-dir", str(place)), re.escape(str(place)))
    same(run.wload("verify", SPEC, "--local-dir", str(place)),
         f"Verified 5 files of {re.escape(str(place))}, .+: no bad ones")
    damage(place / "model.safetensors")
    run.wload("verify", SPEC, "--local-dir", str(place), "--quarantine", code=1)
    assert not (place / "model.safetensors").exists()
    [told] = run.json("fetch", SPEC, "--local-dir", str(place))["snapshots"]
    assert told["new_files"] == 1


@flow
def a_plain_directory_without_the_hub(stack):
    run = Run(stack)
    place = run.home / "plain"
    options = ["--local-dir", str(place)]
    away = {"HF_ENDPOINT": "http://127.0.0.1:1", "WLOAD_RETRY_MS": "1"}
    warning = "warning: the hub could not be asked: .+"
    pinned = f"{SPEC}@{run.repo.commit}"
    path = re.escape(str(place))

    run.wload("fetch", SPEC, *options, "--include", "config.json")
    run.wload("resolve", SPEC, *options, code=1,
              err=r"'org/model': 2 of 3 files, 1\.00 MiB, are not on this machine; 'wload fetch "
              f"--local-dir {path} org/model' would bring them")
    same(run.wload("resolve", SPEC, *options, "--include", "config.json"), path)
    for spec in SPEC, f"hf://{pinned}":
        run.wload("fetch", spec, *options, code=1, err=".*127.0.0.1:1.*", **away)
        run.wload("fetch", spec, *options, "--offline", code=1, err=".*4 of 5 files.*is off")

    run.wload("fetch", SPEC, *options)
    asked = len(run.requests())
    same(run.wload("fetch", SPEC, *options, err=warning, **away), path)
    same(run.wload("fetch", f"hf://{pinned}", *options, **away), path)
    for spec in SPEC, f"hf://{pinned}":
        same(run.wload("fetch", spec, *options, "--offline"), path)
    assert run.json("fetch", SPEC, *options, err=warning, **away)["snapshots"][0]["note"]
    run.wload("fetch", SPEC, *options, "--force", code=1,
              err=f"{warning}\nwload: .+ which commit '{path}' is of.+", **away)
    run.wload("fetch", f"hf://{SPEC}@{'0' * 40}", *options, code=1, err=".+", **away)
    run.wload("resolve", f"hf://{SPEC}@{'0' * 40}", *options, code=1, err=".+")
    assert len(run.requests()) == asked, "somebody was asked"

    (place / "config.json").unlink()
    run.wload("fetch", SPEC, *options, code=1, err=".*127.0.0.1:1.*", **away)
    same(run.wload("verify", SPEC, *options), "Verified 4 files of .+: no bad ones; 1 are not here")


# ---- resolve ----------------------------------------------------------------

@flow
def resolving(stack):
    run = Run(stack)
    run.wload("resolve", SPEC, code=1,
              err="'org/model' is not on this machine; 'wload fetch org/model' would bring it")
    run.wload("resolve", SPEC, "--revision", "v1", code=1,
              err=".*; 'wload fetch --revision v1 org/model' would bring it")
    for option in "--local-dir", "--cache-dir":
        run.wload("resolve", SPEC, option, "/none", code=1,
                  err=f".*; 'wload fetch {option} /none org/model' would bring it")
    run.wload("fetch", SPEC, "--include", "*.json")
    run.wload("resolve", SPEC, code=1, err=r"'org/model': 1 of 3 files, 1\.00 MiB, are not on this "
              "machine; 'wload fetch org/model' would bring them")
    told = run.json("resolve", SPEC, code=1, err=".+")
    assert told["missing"] == [{"name": "model.safetensors",
                                "bytes": len(CONTENTS["model.safetensors"])}], told
    assert told["origin"] == "cache" and told["places"][0]["finding"], told
    before = len(run.requests())
    same(run.wload("resolve", SPEC, "--include", "*.json"), re.escape(str(run.snapshot)))
    assert len(run.requests()) == before, "resolve asked the hub"

    out = run.wload("resolve", SPEC, "--dry-run")
    assert out.startswith("[dry-run] Will download 1 files (out of 3) totalling 1.00 MiB.\n"), out
    assert len(run.requests()) > before and not run.requests(path="safetensors")
    run.wload("fetch", SPEC)
    same(run.wload("resolve", f"hf://{SPEC}@{run.repo.commit}"), re.escape(str(run.snapshot)))
    told = run.json("resolve", SPEC)
    assert told["missing"] == [] and told["path"] == str(run.snapshot)


@flow
def what_is_here_and_cannot_be_loaded(stack):
    """The reason is told, and a fetch alone where it may change something."""
    run = Run(stack, others=[Repo("l/bin", {"pytorch_model.bin": b"bin"})])
    none = r"'l/bin' has no weights in safetensors, only 'pytorch_model.bin': convert them"
    run.wload("fetch", "l/bin")
    run.wload("fetch", SPEC)
    before = len(run.requests())
    run.wload("resolve", "l/bin", code=1, err=none)
    run.wload("load", "l/bin", "--offline", "--device", "null", code=1, err=none)
    run.wload("fetch", "l/bin", "--offline", "--dry-run", "--include", "*.gguf", code=1,
              err="'l/bin' has no file that the patterns keep")
    for options, err in ((["--variant", "int4"], "'org/model' has no weights of variant 'int4'"),
                         (["--subfolder", "none"], "'org/model' has no 'none'"),
                         (["--include", "none"], "'org/model' has no file that .+ keep")):
        run.wload("resolve", SPEC, *options, code=1, err=err)
        assert run.json("resolve", SPEC, *options, code=1, err=err)["places"][-1]["finding"]
    for options in [], ["--json"], ["--quarantine"]:
        run.wload("verify", SPEC, "--include", "none", *options, code=1,
                  err="'org/model' has no file that the patterns keep")
    assert len(run.requests()) == before, "the hub was asked"

    # A directory that nobody filled says nothing of the hub.
    root = run.home / "plain"
    (root / "l/bin").mkdir(parents=True)
    (root / "l/bin/model.gguf").write_bytes(b"gguf")
    roots = {"WLOAD_CACHE": str(root), "HF_HOME": str(root)}
    gguf = "'l/bin' has no weights in safetensors, only 'model.gguf': convert them"
    run.wload("resolve", "l/bin", code=1, err=f"{gguf}; 'wload fetch l/bin' may bring it", **roots)
    run.wload("load", "l/bin", "--offline", code=1, err=f"{gguf}; the network is off", **roots)
    run.wload("resolve", "l/bin", "--revision", "v1", code=1, **roots, err=(
        "'l/bin' is a plain directory here, which has no revision 'v1'; "
        "'wload fetch --revision v1 l/bin' may bring it"))


@flow
def what_has_no_weights(stack):
    """All of it is what there is to be had."""
    contents = {"README.md": b"#", "sub/data.bin": b"data"}
    run = Run(stack, others=[Repo("d/set", contents, kind="datasets"),
                             Repo("t/text", {"a.txt": b"a"})])
    place = run.home / "place"
    for spec in "hf://datasets/d/set", "HF://datasets/d/set", "t/text":
        for options in [], ["--local-dir", str(place / spec)]:
            path = run.wload("fetch", spec, *options)
            assert run.wload("resolve", spec, *options) == path
            out = run.wload("resolve", spec, *options, "--dry-run")
            assert out.startswith("[dry-run] Will download 0 files"), out
    next((run.home / "hub/datasets--d--set").rglob("data.bin")).resolve().unlink()
    run.wload("resolve", "hf://datasets/d/set", code=1, err=(
        "'hf://datasets/d/set': 1 of 2 files, 4 B, .+; 'wload fetch hf://datasets/d/set' would .+"))


@flow
def a_dry_run_of_a_load_that_needs_no_hub(stack):
    """In a plain directory, in a cache: as the load looks."""
    run = Run(stack)
    place = run.home / "plain/org/model"
    away = {"HF_ENDPOINT": "http://127.0.0.1:1", "WLOAD_RETRY_MS": "1"}
    run.wload("fetch", SPEC, "--local-dir", str(place))
    before = len(run.requests())
    for server in away, {}:
        roots = {"WLOAD_CACHE": str(run.home / "plain"), **server}
        out = run.wload("resolve", SPEC, "--dry-run", **roots)
        assert out.startswith("[dry-run] Will download 0 files (out of "), out
        run.wload("load", SPEC, "--device", "null", **roots)
    assert len(run.requests()) == before, "the hub was asked"
    run.wload("resolve", SPEC, "--dry-run", code=1, err=".*127.0.0.1:1.*", **away)
    run.wload("fetch", SPEC)
    assert run.wload("resolve", SPEC, "--dry-run", **away).startswith("[dry-run] Will download 0 ")


# ---- verify ----------------------------------------------------------------

@flow
def verifying(stack):
    run = Run(stack)
    run.wload("verify", SPEC, code=1, err="'org/model' is not on this machine")
    run.wload("fetch", SPEC)
    before = len(run.requests())
    good = rf"Verified 5 files of {re.escape(str(run.snapshot))}, 1\.50 MiB in [0-9.]+ s, .+"
    same(run.wload("verify", SPEC), f"{good}: no bad ones")
    damage(run.snapshot / "model.safetensors")
    (run.snapshot / "config.json").resolve().unlink()
    large = run.repo.files["model.safetensors"].hash
    bad = rf"model.safetensors: expected {large} \(sha256\), got [0-9a-f]{{64}}"
    same(run.wload("verify", SPEC, code=1), bad,
         r"Verified 4 files of .+: 1 bad; 1 are not here")
    told = run.json("verify", SPEC, code=1)
    assert re.fullmatch(bad, f"{told['bad'][0]['name']}: {told['bad'][0]['detail']}"), told
    assert told["missing"] == [{"name": "config.json"}] and told["unknown"] == []
    assert told["checked_files"] == 4
    same(run.wload("verify", SPEC, "--quarantine", code=1), f"{bad}; moved to '.+'", "Verified.+")
    assert len(run.requests()) == before, "verify asked the hub"

    run.wload("resolve", SPEC, code=1, err=".*2 of 3 files.*")
    assert run.json("fetch", SPEC)["snapshots"][0]["new_files"] == 2
    same(run.wload("verify", SPEC), f"{good}: no bad ones")


@flow
def weights_that_are_gone_from_a_cache_of_links_alone(stack):
    """As of clients that keep no listing beside them."""
    run = Run(stack)
    run.wload("fetch", SPEC, "--include", "config.json", "--include", "model.safetensors")
    for listing in (run.home / "hub").rglob("trees/*.json"):
        listing.unlink()
    (run.snapshot / "model.safetensors").resolve().unlink()
    same(run.wload("verify", SPEC), "Verified 1 files of .+: no bad ones; 1 are not here")
    for patterns in [], ["--include", "*"]:
        run.wload("resolve", SPEC, *patterns, code=1, err=r"'org/model': 1 of 2 files, .+")
    run.wload("load", SPEC, "--device", "null", "--offline", code=1,
              err=".*1 of 2 files are not on this machine, as 'model.safetensors'.*")
    run.wload("load", SPEC, "--device", "null")
    assert (run.snapshot / "model.safetensors").read_bytes() == CONTENTS["model.safetensors"]


# ---- load ----------------------------------------------------------------

@flow
def a_load_fetches_what_is_missing(stack):
    run = Run(stack, rate=4 << 20)
    first = run.json("load", SPEC, "--device", "host", "--digest")
    assert run.requests(path="/model.safetensors") and not run.requests(path="onnx|fp16")
    again = run.json("load", SPEC, "--device", "host", "--digest", "--offline", "--drop-cache",
                     "--repeat", "2")
    assert again["digests"] == first["digests"] and len(first["digests"]) == 2
    assert again["spec"] == SPEC and len(again["runs"]) == 2
    assert first["seconds"] > 0.2, "a MiB at 4 MiB/s is a part of the load"
    run.wload("load", SPEC, "--device", "null", "--variant", "fp16", "--offline", code=1, err=".+")
    half = run.json("load", SPEC, "--device", "null", "--variant", "fp16")
    assert half["bytes"] == 1 << 19 and half["variant"] == "fp16"
    told = run.json("inspect", f"hf://{SPEC}", "--offline")
    assert told["tensor_count"] == 2 and told["files"][0]["path"].startswith(str(run.snapshot))


# ---- Signals and the terminal ----------------------------------------------------------------

@flow
def a_revision_that_nobody_noted(stack):
    """As where a load was killed when it had all but that."""
    run = Run(stack)
    run.wload("load", SPEC, "--device", "null")
    ref = run.home / "hub/models--org--model/refs/main"
    for lost in (), ("config.json",):
        ref.unlink()
        for name in lost:
            (run.snapshot / name).resolve().unlink()
            (run.snapshot / name).unlink()
        run.wload("load", SPEC, "--device", "null", "--no-cache")
        assert not ref.exists()
        run.wload("load", SPEC, "--device", "null")
        assert ref.read_text() == run.repo.commit
        run.wload("load", SPEC, "--device", "null", "--offline")


@flow
def how_files_are_written(stack):
    for command in (["fetch"], ["load", "--device", "null"]):
        for way in ("auto", "direct", "buffered"):
            run = Run(stack)
            done = harness.run_wload([*command, SPEC, "--io", way, "-vv"], run.environment())
            said = done.stderr.decode()
            if done.returncode == 1 and way == "direct":
                assert "refuses O_DIRECT" in said, said  # as the file system of this home does
                continue
            assert done.returncode == 0, said
            tried = re.search(r"O_DIRECT, aligned to|O_DIRECT is refused", said)
            assert bool(tried) == (way != "buffered"), said


def interrupt(run, *arguments):
    """Ctrl-C once the hub has sent a part of the large file; what was said."""
    process = harness.start_wload(arguments, run.environment())
    begun = run.server.log.wait(lambda log: log.sent_bytes > LARGE_BYTES // 4, harness.TIMEOUT_S)
    assert begun, "nothing was asked for"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=harness.TIMEOUT_S)
    assert process.returncode == -signal.SIGINT, f"exit {process.returncode}: {err}"
    assert out == b"", out
    return err.decode()


@flow
def ctrl_c_in_a_fetch(stack):
    contents = {"config.json": b"{}", "model.safetensors": harness.weights(LARGE_BYTES)}
    for command, what in ((["fetch", SPEC], "'org/model': interrupted; .+"),
                          (["bench", SPEC, "--device", "host"], "'org/model': interrupted; .+"),
                          (["load", SPEC, "--device", "null"], "the load was canceled")):
        run = Run(stack, contents, rate=8 << 20)
        said = interrupt(run, *command)
        assert re.fullmatch(f"wload: {what}\n", said), said
        assert not (run.snapshot / "model.safetensors").exists()
        sent = run.server.log.sent_bytes
        run.server.rate.bytes_per_s = None
        [told] = run.json("fetch", SPEC)["snapshots"]
        assert told["received_bytes"] < LARGE_BYTES, "what had come was not used"
        assert run.server.log.sent_bytes > sent
        assert (run.snapshot / "model.safetensors").read_bytes() == contents["model.safetensors"]


@flow
def the_line_on_a_terminal(stack):
    contents = {"config.json": b"{}", "model.safetensors": harness.weights(LARGE_BYTES)}
    run = Run(stack, contents, rate=16 << 20)
    out, said = on_terminal(run, "fetch", "--json", SPEC)
    [told] = json.loads(out)["snapshots"]
    assert said.startswith("\r") and said.endswith("\r\033[K"), said[-80:]
    lines = said.split("\r")[1:-1]
    for line in lines:
        assert re.fullmatch(r" *[0-9]+%  [0-9.]+ [KMG]?i?B of 24\.00 MiB  [0-9.]+ [GM]B/s  "
                            r"(-:--|[0-9]+:[0-9]{2}) left  [0-2] of 2 files\x1b\[K", line), line
    assert 2 < len(lines) <= told["seconds"] * 10 + 1, f"{len(lines)} in {told['seconds']} s"


@flow
def warnings_on_a_terminal(stack):
    """Whole lines above the progress, each once; elsewhere nothing is said."""
    contents = {"config.json": b"{}", "model.safetensors": harness.weights(LARGE_BYTES)}
    busy = table.once(table.reply(429, Retry_After="0"), table.CDN)
    rules = [table.rule({"set": {"X-HF-Warning": "old; upgrade, please"}}, {"listener": "hub"})]
    run = Run(stack, contents, rules=rules, rate=32 << 20)
    run.wload("fetch", SPEC)
    run.server.rules.add(busy)
    out, said = on_terminal(run, "fetch", SPEC, "--force", HF_HUB_DOWNLOAD_TIMEOUT="no number")
    same(out, re.escape(str(run.snapshot)))
    assert "% " in said, "no progress was shown"
    same(screen(said), "cache: HF_HUB_DOWNLOAD_TIMEOUT is no number of seconds .+: passed over",
         "http: the hub warns: upgrade, please", "http: '.+': too many requests, all wait for 1 s",
         f"{SPEC}: 2 files, .+")
    gone = {"HF_ENDPOINT": "http://127.0.0.1:1"}
    same(screen(on_terminal(run, "fetch", SPEC, **gone)[1]),
         "cache: the hub could not be asked: .+", f"{SPEC}: 2 files, .+")
    _, said = on_terminal(run, "load", SPEC, "--device", "null", HF_HUB_CACHE="/dev/null/hub")
    same(screen(said), "http: the hub warns: .+", "cache: the cache is off for this load: .+")


@flow
def a_component_that_cannot_be_loaded(stack):
    """It is told without being asked for, and again where its weights were never downloaded."""
    listed = {"_class_name": "Pipeline", "unet": ["diffusers", "UNet2DConditionModel"],
              "vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", "DDIMScheduler"]}
    run = Run(stack, {"model_index.json": json.dumps(listed).encode(),
                      "unet/diffusion_pytorch_model.safetensors": harness.weights(1 << 20),
                      "vae/config.json": b"{}", "vae/diffusion_pytorch_model.bin": b"pickled",
                      "scheduler/scheduler_config.json": b"{}"})
    note = (r"component '.+/vae' has no weights in safetensors, only diffusion_pytorch_model\.bin: "
            "passed over")
    for options in ["--no-cache"], [], ["--offline"], ["--repeat", "3"]:
        told = run.json("load", SPEC, "--device", "null", *options, err=f"warning: {note}")
        assert re.fullmatch(note, told["model_note"]) and told["tensors"] == 2, told
    same(screen(on_terminal(run, "load", SPEC, "--device", "null")[1]), f"spec: {note}")
    said = harness.run_wload(["load", SPEC, "--device", "null", "-v"], run.environment()).stderr
    assert len(re.findall(note, said.decode())) == 1, said


def main():
    failed = 0
    for name, function in FLOWS:
        if len(sys.argv) > 1 and sys.argv[1] not in name:
            continue
        try:
            with contextlib.ExitStack() as stack:
                function(stack)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"== {name}\n{traceback.format_exc()}", file=sys.stderr)
    print(f"{len(FLOWS)} flows, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
