#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the official clients of the Hugging Face hub, today's and two of 2025, and wload share
caches and directories: each finds at the same path what the other brought, and none brings it
again.

Method: a repository with two revisions, in a cache written here by hand, is served by
`wload serve`.  Each client downloads from there as a library and as a program; wload fetches from
there.  Then each looks, without a network, at what the others left: ordinary caches, one without
links, one whose blobs are links into the store that repositories share, and plain directories.
Contents are compared byte by byte, and what must not be brought again by the identity of its
files.
"""
import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import judge
import weights

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))

import cache_judge  # noqa: E402

WLOAD = os.environ.get("WLOAD")
HERE = pathlib.Path(__file__).parent
KEPT = ("PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
TIMEOUT_S = 120
REPO = "org/model"
FOLDER = "models--org--model"
NESTED_REF = "refs/pr/1"
ABSENT = "no_such_file.json"
OLD_WARNINGS = ("CACHEDIR.TAG",)  # what a client of 2025 may find strange


def expect(condition, what):
    if not condition:
        sys.exit(f"does not hold: {what}")


# ---- The repository ------------------------------------------------------------------------------

def contents(root):
    """{revision: {name: bytes}}: main, and a pull request that changes one file and adds one."""
    rng = random.Random(20251121)
    half = {f"{part}.weight": ("U8", [size], rng.randbytes(size))
            for part, size in (("embed", 3 << 20), ("norm", 4097), ("head", (1 << 20) + 13))}
    files = {"README.md": "# Ünïcödé\n".encode(), "config.json": b'{"model_type": "test"}\n',
             "empty.txt": b"", "assets/deep/er/note with space+%41.txt": rng.randbytes(1000)}
    weight_map = {}
    for number, names in ((1, ["embed.weight"]), (2, ["norm.weight", "head.weight"])):
        shard = f"model-{number:05}-of-00002.safetensors"
        weights.write(root / shard, [(name, *half[name]) for name in names])
        files[shard] = (root / shard).read_bytes()
        weight_map |= dict.fromkeys(names, shard)
    index = {"metadata": {"total_size": sum(len(tensor[2]) for tensor in half.values())},
             "weight_map": weight_map}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    changed = files | {"config.json": b'{"model_type": "changed"}\n', "added.txt": b"new\n"}
    return {"main": files, NESTED_REF: changed}


def content_hash(name, data):
    """As the hub has it: SHA-256 of what it keeps apart, else that of the git blob."""
    if name.endswith(".safetensors"):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def commit_of(files):
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


def write_cache(cache, revisions, is_shared=False):
    """As the client lays it out; with `is_shared`, weights in the store of all repositories."""
    repo = cache / FOLDER
    store = cache / "blobs"
    (repo / "blobs").mkdir(parents=True)
    if is_shared:
        store.mkdir()
        (store / ".huggingface-shared-blobs").write_text("1\n")
    for revision, files in revisions.items():
        ref = repo / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit_of(files))
        for name, data in files.items():
            blob = repo / "blobs" / content_hash(name, data)
            if not blob.is_symlink() and not blob.exists():
                if is_shared and name.endswith(".safetensors"):
                    share_blob(store, blob, data)
                else:
                    blob.write_bytes(data)
            link = repo / "snapshots" / commit_of(files) / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))


def share_blob(store, blob, data):
    xet = hashlib.sha256(b"another hash of " + data).hexdigest()
    payload = store / xet[:2] / xet
    payload.parent.mkdir(exist_ok=True)
    payload.write_bytes(data)
    payload.chmod(0o444)
    payload.with_name(f"{xet}.refs").write_text(f"{FOLDER}/blobs/{blob.name}\n")
    blob.symlink_to(f"../../blobs/{xet[:2]}/{xet}")


# ---- The programs --------------------------------------------------------------------------------

class Place:
    """A cache, and the environment that points everybody to it."""

    def __init__(self, root, url, **changes):
        self.home, self.cache = root, root / "hub"
        self.env = {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "HOME": str(root), "HF_HOME": str(root), "HF_ENDPOINT": url, "NO_COLOR": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | changes
        root.mkdir(parents=True, exist_ok=True)

    def snapshot(self, files):
        return self.cache / FOLDER / "snapshots" / commit_of(files)


class Client:
    def __init__(self, name, packages):
        self.name, self.python = name, judge.python_of(packages)

    def ask(self, place, calls, **changes):
        done = subprocess.run([self.python, HERE / "hub_client.py"], input=json.dumps(calls),
                              env=place.env | changes, capture_output=True, text=True,
                              timeout=TIMEOUT_S, check=False)
        expect(done.returncode == 0, f"{self.name}: {calls}: {done.stderr}")
        return json.loads(done.stdout)

    def offline(self, place, calls):
        return self.ask(place, calls, HF_HUB_OFFLINE="1")

    def program(self, place, *arguments):
        """What `hf` prints."""
        done = subprocess.run([self.python.with_name("hf"), *arguments], env=place.env,
                              capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        expect(done.returncode == 0, f"{self.name}: hf {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def __str__(self):
        return self.name


def run_wload(place, *arguments, code=0):
    done = subprocess.run([WLOAD, *map(str, arguments)], env=place.env, capture_output=True,
                          text=True, timeout=TIMEOUT_S, check=False)
    expect(done.returncode == code,
           f"wload {arguments}: exit {done.returncode}, not {code}: {done.stdout}{done.stderr}")
    return done.stdout


class Server:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([WLOAD, "serve", "--port", "0", *map(str, arguments)],
                                        stdout=subprocess.PIPE, text=True)
        found = re.search(r"http://\S+", self.process.stdout.readline())
        expect(found, "wload serve prints its address first")
        self.url = found.group().rstrip("/")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        expect(self.process.wait(TIMEOUT_S) == 0, "wload serve ends well when it is told to")
        self.process.stdout.close()


# ---- What is the same everywhere -----------------------------------------------------------------

def same(root, files, who):
    """The directory holds these files and no others, but for what tools keep of it."""
    root = pathlib.Path(root)
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*")
             if path.is_file() and ".cache" not in path.relative_to(root).parts}
    expect(found == files, f"{who}: {sorted(found)} in {root} are not as they were served")


def identities(root):
    """Of all files that are not links: whoever brings one again makes another."""
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in pathlib.Path(root).rglob("*")
            if path.is_file() and not path.is_symlink() and
            not {"refs", "trees", ".locks", ".cache", ".no_exist"} & set(path.parts)}


def wload_verifies(place, files, *options):
    report = json.loads(run_wload(place, "verify", "--json", f"hf://{REPO}", *options))
    expect(report["checked_files"] == len(files) and
           not report["bad"] + report["missing"] + report["unknown"], f"wload verify: {report}")


def wload_finds(place, revisions, *options):
    """Each revision: resolved to its directory, loaded with the right tensors, all files sound."""
    for revision, files in revisions.items():
        snapshot = place.snapshot(files)
        which = ["--offline", "--revision", revision, f"hf://{REPO}", *options]
        found = run_wload(place, "resolve", *which).splitlines()
        expect(found == [str(snapshot)], f"wload resolve {revision}: {found}, not {snapshot}")
        report = json.loads(run_wload(place, "load", "--json", "--digest", "--device", "host",
                                      *which))
        expect(report["digests"] == weights.expected(snapshot), f"the tensors of {snapshot}")
        wload_verifies(place, files, "--revision", revision)


def client_finds(client, place, revisions):
    """Without a network: the snapshots, each file of them, and each again by looking only."""
    calls, want = [["scan", {}]], []
    for revision, files in revisions.items():
        snapshot = place.snapshot(files)
        which = {"repo_id": REPO, "revision": revision}
        calls += [["snapshot_download", which],
                  ["snapshot_download", which | {"revision": snapshot.name,
                                                 "local_files_only": True}]]
        want += [str(snapshot)] * 2
        for name in files:
            calls += [[function, which | {"filename": name}]
                      for function in ("hf_hub_download", "cached")]
            want += [str(snapshot / name)] * 2
    info, *found = client.offline(place, calls)
    expect(found == want, f"{client} finds {found}")
    return info


def client_scans(client, place, revisions, is_newest=True):
    """Finds them, and its scanner has nothing to say against the cache."""
    info = client_finds(client, place, revisions)
    strange = [warning for warning in info["warnings"]
               if is_newest or not any(name in warning for name in OLD_WARNINGS)]
    expect(strange == [], f"{client} scans {place.cache}: {strange}")
    want = {}
    for revision, files in revisions.items():
        want.setdefault(commit_of(files), {"refs": [], "files": sorted(files)})
        want[commit_of(files)]["refs"].append(revision)
    found = info["repos"].get(REPO, {}).get("revisions")
    expect(found == want, f"{client} scans {place.cache}: {found}")
    return info


# ---- The parts -----------------------------------------------------------------------------------

def clients_download(client, url, work, revisions):
    """From `wload serve`, as a library and as a program; then wload looks."""
    place = Place(work / f"by-{client}", url)
    calls = [["hf_hub_download", {"repo_id": REPO, "filename": "config.json"}]]
    calls += [["snapshot_download", {"repo_id": REPO, "revision": revision}]
              for revision in revisions]
    calls += [["hf_hub_download", {"repo_id": REPO, "filename": ABSENT}],
              ["cached", {"repo_id": REPO, "filename": ABSENT}],
              ["hf_hub_download", {"repo_id": REPO, "filename": "config.json", "revision": "none"}],
              ["snapshot_download", {"repo_id": "org/nowhere"}]]
    first, *answers = client.ask(place, calls)
    expect(first == str(place.snapshot(revisions["main"]) / "config.json"), f"{client}: {first}")
    for files, answer in zip(revisions.values(), answers):
        expect(answer == str(place.snapshot(files)), f"{client}: {answer}")
        same(answer, files, client)
    answers = answers[len(revisions):]
    expect(answers.pop(1) == "absent", f"{client} remembers that there is no {ABSENT}")
    errors = [answer["error"] for answer in answers]
    expect(all(re.fullmatch(pattern, error) for pattern, error in
               zip(("(Remote)?EntryNotFoundError", "RevisionNotFoundError",
                    "RepositoryNotFoundError"), errors)), f"{client}: {errors}")
    wload_finds(place, revisions)

    files = {name: data for name, data in revisions["main"].items() if name.endswith(".json")}
    other = Place(work / f"by-program-{client}", url)
    said = client.program(other, "download", REPO, "--include", "*.json").split()[-1]
    expect(said.endswith(str(other.snapshot(revisions["main"]))), f"{client}: hf says {said}")
    same(other.snapshot(revisions["main"]), files, client)
    # What is there already wload takes as it is, and brings the rest.
    before = identities(other.cache)
    report, = json.loads(run_wload(other, "fetch", "--json", f"hf://{REPO}"))["snapshots"]
    expect(report["new_files"] == len(revisions["main"]) - len(files), f"{report}")
    expect(before.items() <= identities(other.cache).items(), "wload fetched a file again")
    client_finds(client, other, {"main": revisions["main"]})


def wload_downloads(clients, newest, url, work, revisions):
    """Then each client looks, and brings nothing again."""
    place = Place(work / "by-wload", url)
    for revision in revisions:
        run_wload(place, "fetch", "--revision", revision, f"hf://{REPO}")
    cache_judge_finds = list(cache_judge.findings(place.cache))
    expect(cache_judge_finds == [], f"{cache_judge_finds}")
    before = identities(place.cache)
    for client in clients:
        client_scans(client, place, revisions, client is newest)
        *_, error, absent = client.ask(
            place, [["snapshot_download", {"repo_id": REPO, "revision": revision}]
                    for revision in revisions] +
            [["hf_hub_download", {"repo_id": REPO, "filename": ABSENT}],
             ["cached", {"repo_id": REPO, "filename": ABSENT}]])
        expect("error" in error and absent == "absent", f"{client}: {error}, {absent}")
    expect(identities(place.cache) == before, "a client fetched again what wload had brought")

    listed = newest.program(place, "cache", "ls")
    expect(REPO in listed, f"hf cache ls: {listed}")
    newest.program(place, "cache", "verify", REPO)
    wload_finds(place, revisions)


def in_part(clients, newest, url, work, revisions):
    """What is not whole is not taken for whole: wload leaves the listing that tells."""
    place = Place(work / "part", url)
    run_wload(place, "fetch", "--include", "*.json", f"hf://{REPO}")
    answer, = newest.offline(place, [["snapshot_download", {"repo_id": REPO}]])
    expect("error" in answer and answer["error"] == "IncompleteSnapshotError",
           f"{newest} takes a part for the whole: {answer}")
    for client in clients:
        json_only = {"repo_id": REPO, "allow_patterns": ["*.json"]}
        answer, = client.offline(place, [["snapshot_download", json_only]])
        expect(answer == str(place.snapshot(revisions["main"])), f"{client}: {answer}")


def without_links(newest, url, work, revisions):
    theirs = Place(work / "no-links", url, HF_HUB_DISABLE_SYMLINKS="1")
    for revision in revisions:
        newest.ask(theirs, [["snapshot_download", {"repo_id": REPO, "revision": revision}]])
    ours = Place(work / "no-links-by-wload", url, HF_HUB_DISABLE_SYMLINKS="1")
    for revision in revisions:
        run_wload(ours, "fetch", "--revision", revision, f"hf://{REPO}")
    for place in (theirs, ours):
        links = [str(path) for path in place.cache.rglob("*") if path.is_symlink()]
        expect(links == [], f"links: {links}")
        wload_finds(place, revisions)
        client_scans(newest, place, revisions)


def with_shared_store(newest, url, work, revisions):
    place = Place(work / "shared", url)
    write_cache(place.cache, revisions, is_shared=True)
    info = client_scans(newest, place, revisions)
    blobs = {content_hash(*file): len(file[1]) for files in revisions.values()
             for file in files.items()}
    expect(info["bytes"] == sum(blobs.values()), f"the scanner counts {info['bytes']} bytes")
    wload_finds(place, revisions)
    # A forced fetch puts the repository's own blob in place of the link, and leaves the store be.
    before = identities(place.cache / "blobs")
    run_wload(place, "fetch", "--force", f"hf://{REPO}")
    expect(identities(place.cache / "blobs") == before, "the shared store is as it was")
    client_scans(newest, place, revisions)
    wload_finds(place, revisions)


def local_directories(clients, url, work, revisions):
    files = revisions["main"]
    place = Place(work / "local", url)
    for client in clients:
        for maker in ("wload", client.name):
            root = place.home / f"{maker} then others, {client}"
            download = ["snapshot_download", {"repo_id": REPO, "local_dir": str(root)}]
            if maker == "wload":
                run_wload(place, "fetch", "--local-dir", root, f"hf://{REPO}")
            else:
                client.ask(place, [download])
            same(root, files, maker)
            before = identities(root)
            expect(len(before) >= len(files), f"{root}: {before}")
            client.ask(place, [download, ["hf_hub_download", download[1] | {
                "filename": "config.json"}]])
            report, = json.loads(run_wload(place, "fetch", "--json", "--local-dir", root,
                                           f"hf://{REPO}"))["snapshots"]
            expect(report["received_bytes"] == 0 and report["new_files"] == 0,
                   f"wload, after {maker}: {report}")
            expect(identities(root) == before, f"{root}: a file was brought again")
            same(root, files, "everybody")
            wload_verifies(place, files, "--local-dir", root)
            report = json.loads(run_wload(place, "load", "--json", "--digest", "--device", "host",
                                          root))
            expect(report["digests"] == weights.expected(root), f"the tensors in {root}")


def with_a_token(clients, work, revisions):
    """A wrong token is called that, and not a model that is not there."""
    find = [["snapshot_download", {"repo_id": REPO}],
            ["hf_hub_download", {"repo_id": REPO, "filename": "config.json"}]]
    with Server("--cache-dir", work / "served", "--token", "hf_right") as server:
        place = Place(work / "token", server.url)
        for client in clients:
            for answer in client.ask(place, find, HF_TOKEN="hf_wrong"):
                expect("Invalid credentials" in answer["text"] and
                       answer["error"] != "RepositoryNotFoundError", f"{client}: {answer}")
            for answer in client.ask(place, find):
                expect(answer["error"] == "RepositoryNotFoundError", f"{client}: {answer}")
        for client in clients:
            top = client.ask(place, find, HF_TOKEN="hf_right")[0]
            expect(top == str(place.snapshot(revisions["main"])), f"{client}: {top}")


def main():
    if not WLOAD:
        judge.skip("this build has no program")
    for command in (["fetch", "hf://org/none"], ["serve", "/dev/null"]):
        said = subprocess.run([WLOAD, *command], env={"HF_ENDPOINT": "http://127.0.0.1:9"},
                              capture_output=True, text=True, check=False).stderr
        if "made without" in said:
            judge.skip(said.strip())
    newest = Client("2.4.0", judge.HUB)
    clients = [newest, Client("1.1.7", judge.HUB_LATE_2025), Client("0.36.0", judge.HUB_2025)]
    with tempfile.TemporaryDirectory(dir=os.environ["WLOAD_BUILD"]) as directory:
        work = pathlib.Path(directory)
        revisions = contents(work)
        write_cache(work / "served", revisions)
        (work / "served" / ".locks").mkdir()
        with Server("--cache-dir", work / "served") as server:
            for client in clients:
                clients_download(client, server.url, work, revisions)
            wload_downloads(clients, newest, server.url, work, revisions)
            in_part(clients, newest, server.url, work, revisions)
            without_links(newest, server.url, work, revisions)
            with_shared_store(newest, server.url, work, revisions)
            local_directories(clients, server.url, work, revisions)
        with_a_token(clients, work, revisions)
    print("huggingface_hub", *clients)


if __name__ == "__main__":
    main()
