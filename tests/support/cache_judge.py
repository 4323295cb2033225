# SPDX-License-Identifier: Apache-2.0
"""Whether a cache in the layout of the Hugging Face hub is exactly right.

    findings(cache)         what is wrong, as lines; [] if nothing is
    check(cache, repo, ...) raises AssertionError unless the cache is right and holds what it should

Right is: each blob's content hashes to its name; each link is relative, one step, and resolves to
a blob of its own repository; each ref is the 40 digits of a commit that has a snapshot, without a
newline; nothing lies there that no tool of the field would put there.
"""
import hashlib
import json
import os
import pathlib
import re

COMMIT = re.compile(r"[0-9a-f]{40}")
BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
PARTIAL = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})\.[0-9a-f]{8}\.incomplete")
NOTE = re.compile(r"(ref|tree)\.[0-9a-f]{8}\.incomplete")  # of wload's, on its way to its folder
FOLDER = re.compile(r"(models|datasets)--[A-Za-z0-9_.-]+")
TAG = b"Signature: 8a477f597d28d172789f06886806bc55"


def content_hash(path, name):
    """Of a file, of the kind that `name` is."""
    if len(name) == 64:
        sha = hashlib.sha256()
    else:
        sha = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            sha.update(part)
    return sha.hexdigest()


def findings(cache):
    cache = pathlib.Path(cache)
    for path in sorted(cache.iterdir()) if cache.exists() else ():
        if path.name == "CACHEDIR.TAG":
            if not path.read_bytes().startswith(TAG):
                yield f"{path}: not the signature"
        elif path.name == ".locks":
            yield from judge_locks(path)
        elif FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield from judge_repo(path)
        else:
            yield f"{path}: foreign"


def judge_locks(root):
    for path in root.rglob("*"):
        if path.is_symlink() or path.is_file() and (path.stat().st_size or
                                                    not BLOB.fullmatch(path.stem) or
                                                    path.suffix != ".lock"):
            yield f"{path}: not a lock"


def judge_repo(repo):
    for path in sorted(repo.iterdir()):
        if NOTE.fullmatch(path.name):
            continue
        if path.name not in JUDGES or path.is_symlink() or not path.is_dir():
            yield f"{path}: foreign"
        else:
            yield from JUDGES[path.name](path)


def judge_blobs(root):
    for path in sorted(root.iterdir()):
        if path.is_symlink() or not path.is_file():
            yield f"{path}: not a file"
        elif BLOB.fullmatch(path.name):
            if content_hash(path, path.name) != path.name:
                yield f"{path}: the content has another hash"
        elif not PARTIAL.fullmatch(path.name):
            yield f"{path}: foreign"


def judge_snapshots(root):
    blobs = root.parent / "blobs"
    for path in sorted(root.iterdir()):
        if not COMMIT.fullmatch(path.name) or not path.is_dir() or path.is_symlink():
            yield f"{path}: not a snapshot"
            continue
        for entry in path.rglob("*"):
            if entry.is_dir() and not entry.is_symlink():
                continue
            if not entry.is_symlink():
                yield f"{entry}: not a link"
                continue
            target = os.readlink(entry)
            up = "../" * (2 + len(entry.relative_to(path).parts) - 1)
            if target != f"{up}blobs/{os.path.basename(target)}":
                yield f"{entry}: leads to {target}"
            elif not BLOB.fullmatch(os.path.basename(target)):
                yield f"{entry}: leads to no blob: {target}"
            elif not (blobs / os.path.basename(target)).is_file():
                yield f"{entry}: dangles"


def judge_refs(root):
    for path in root.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("latin-1")
            if not COMMIT.fullmatch(text):
                yield f"{path}: {text!r}"
            elif not (root.parent / "snapshots" / text).is_dir():
                yield f"{path}: no snapshot {text}"


def judge_trees(root):
    for path in root.iterdir():
        if path.suffix != ".json" or not COMMIT.fullmatch(path.stem):
            yield f"{path}: foreign"
            continue
        tree = json.loads(path.read_text())
        if tree["format_version"] != 1 or not all(
                {"size", "blob_id"} <= set(entry) for entry in tree["files"].values()):
            yield f"{path}: not a listing"


def judge_absent(root):
    for path in root.rglob("*"):
        if path.is_file() and path.stat().st_size:
            yield f"{path}: not empty"


JUDGES = {"blobs": judge_blobs, "snapshots": judge_snapshots, "refs": judge_refs,
          "trees": judge_trees, ".no_exist": judge_absent}


def folder(cache, repo, kind="models"):
    return pathlib.Path(cache) / f"{kind}--{repo.replace('/', '--')}"


def partials(cache):
    """All that is on its way: nothing of it has a final name."""
    return sorted(str(path) for path in pathlib.Path(cache).rglob("*.incomplete"))


def published(cache, repo, commit, kind="models"):
    """The files of a snapshot by name, as the hash that each link names."""
    root = folder(cache, repo, kind) / "snapshots" / commit
    return {str(path.relative_to(root)): os.path.basename(os.readlink(path))
            for path in root.rglob("*") if path.is_symlink()}


def check(cache, repo, commit, files, kind="models", ref="main", may_have_partials=False):
    """
    `files`: {name: hash} that the snapshot shall hold, these and no others; with none of them
    there may be no blob either.  `ref`: that shall name the commit; None: there shall be none.
    """
    wrong = list(findings(cache))
    have = published(cache, repo, commit, kind)
    if have != files:
        wrong.append(f"the snapshot has {have}, not {files}")
    root = folder(cache, repo, kind)
    blobs = {path.name for path in root.glob("blobs/*") if BLOB.fullmatch(path.name)}
    if blobs - set(files.values()):
        wrong.append(f"blobs of no file: {blobs - set(files.values())}")
    if not may_have_partials:
        wrong += [f"{path}: left over" for path in partials(cache)]
    refs = {str(path.relative_to(root / "refs")): path.read_text()
            for path in root.glob("refs/**/*") if path.is_file()}
    if refs != ({ref: commit} if ref else {}):
        wrong.append(f"refs are {refs}")
    assert not wrong, "\n".join(wrong)
