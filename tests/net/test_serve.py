#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `wload serve` is the hub that clients know: the same addresses, headers, JSON and errors,
each byte of a range right, nothing outside of what it serves, and never a client that waits for
another.

Method: a cache and plain directories of every layout, made by hand, and a server over them; each
answer is compared with what the content and the protocol say it must be.  Hostile targets go over
a raw socket.  Directories change while the server runs.
"""
import base64
import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import sys
import tempfile
import time
import urllib.parse

import harness

if not harness.WLOAD:
    harness.skip("this build has no program")

TOKEN = harness.TOKEN
DEADLINE_S = 60 * harness.PACE
COMMIT, OLD, DATA = "1" * 40, "2" * 40, "3" * 40
LARGE = random.Random(1).randbytes(3 << 20)
SMALL = b'{"model_type": "test"}'
SECRET = b"this must not be served"
NAMED = "sub dir/\u00e9 #1?.txt"  # a path that needs every kind of escape


def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def pointer_of(data):
    return (f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}\n"
            f"size {len(data)}\n").encode()


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


class Cache:
    """In the layout of the hub."""

    def __init__(self, root):
        self.root = root

    def add(self, folder, commit, path, data, is_large=False):
        """A file of a snapshot: a link to its blob."""
        name = sha256(data) if is_large else git_hash(data)
        put(self.root / folder / "blobs" / name, data)
        return self.link(folder, commit, path, f"blobs/{name}")

    def link(self, folder, commit, path, target):
        link = self.root / folder / "snapshots" / commit / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("../" * (2 + path.count("/")) + target)
        return link

    def ref(self, folder, name, commit):
        put(self.root / folder / "refs" / name, commit.encode())


class Server:
    def __init__(self, *arguments, **environment):
        home = tempfile.gettempdir()
        self.process = harness.start_wload(["serve", *map(str, arguments)],
                                           harness.environment("", home, **environment))
        line = self.process.stdout.readline().decode()
        if not line and b"this build cannot serve" in (said := self.process.stderr.read()):
            self.process.wait()
            harness.skip(said.decode().strip())
        assert line.startswith("Serving "), f"{line!r} {self.process.communicate()}"
        self.count = int(line.split()[1])
        self.url = line.split()[-1]
        self.address = (urllib.parse.urlsplit(self.url).hostname,
                        urllib.parse.urlsplit(self.url).port)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.stop(strict=kind is None)

    def stop(self, number=signal.SIGTERM, strict=True):
        self.process.send_signal(number)
        _, self.said = self.process.communicate(timeout=DEADLINE_S)
        assert not strict or self.process.returncode == 0, (self.process.returncode, self.said)

    def connect(self):
        return contextlib.closing(http.client.HTTPConnection(*self.address, timeout=DEADLINE_S))

    def ask(self, target, method="GET", body=None, **headers):
        with self.connect() as connection:
            return ask(connection, target, method, body, **headers)

    def json(self, target, **headers):
        status, _, body = self.ask(target, **headers)
        assert status == 200, (target, status, body)
        return json.loads(body)


def ask(connection, target, method="GET", body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def until(condition, what):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, what


def make_cache(root):
    cache, model = Cache(root), "models--org--model"
    put(root / "CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n")
    cache.add(model, COMMIT, "config.json", SMALL)
    cache.add(model, COMMIT, "model.safetensors", LARGE, is_large=True)
    cache.add(model, COMMIT, NAMED, b"named")
    cache.add(model, COMMIT, "empty", b"")
    cache.add(model, OLD, "config.json", b"{}")
    cache.ref(model, "main", COMMIT)
    cache.ref(model, "refs/pr/1", OLD)
    cache.ref(model, "lost", "9" * 40)
    # Shared blobs: one link more on the way.
    shared = sha256(b"xet") + ".bin"
    put(root / "blobs" / shared[:2] / shared, b"shared")
    (root / model / "blobs" / sha256(b"shared")).symlink_to(f"../../blobs/{shared[:2]}/{shared}")
    cache.link(model, COMMIT, "shared.bin", f"blobs/{sha256(b'shared')}")
    # Without links: a file itself, its hash in the listing; that of another size is not believed.
    put(root / model / "snapshots" / COMMIT / "listed.txt", b"listed")
    put(root / model / "snapshots" / COMMIT / "stale.txt", b"stale")
    put(root / model / "trees" / f"{COMMIT}.json", json.dumps({"format_version": 1, "files": {
        "listed.txt": {"size": 6, "blob_id": "a" * 40},
        "stale.txt": {"size": 6, "blob_id": "b" * 40}}}).encode())
    # What must not be served.
    secret = put(root.parent / "secret.txt", SECRET)
    for name in ("out", "safetensors"):
        (root / model / "snapshots" / COMMIT / name).symlink_to(
            secret if name == "out" else "../../../../secret.txt")
    (root / model / "snapshots" / COMMIT / "folder").symlink_to(root.parent)
    cache.link(model, COMMIT, "dangling", f"blobs/{'c' * 64}")
    os.mkfifo(root / model / "snapshots" / COMMIT / "fifo")
    put(root / model / "snapshots" / COMMIT / ".git" / "config", SECRET)
    cache.add("datasets--org--data", DATA, "data.txt", b"data")
    cache.ref("datasets--org--data", "main", DATA + "\n")
    cache.add("models--old", COMMIT, "config.json", SMALL)
    cache.ref("models--old", "main", COMMIT)
    (root / "models--no--snapshots").mkdir()
    return cache


# In the order of the list; none of the others.
FILES = {"config.json": SMALL, "empty": b"", "listed.txt": b"listed", "model.safetensors": LARGE,
         "shared.bin": b"shared", "stale.txt": b"stale", NAMED: b"named"}
HASHES = {"model.safetensors": sha256(LARGE), "shared.bin": sha256(b"shared"),
          "listed.txt": "a" * 40}
TREE = f"/api/models/org/model/tree/{COMMIT}"


def hash_of(path):
    return HASHES.get(path) or git_hash(FILES[path])


def check_info(server):
    info = server.json("/api/models/org/model")
    assert info["id"] == "org/model" and info["sha"] == COMMIT, info
    assert [info[name] for name in ("private", "gated", "disabled")] == [False] * 3, info
    assert info["siblings"] == [{"rfilename": path} for path in FILES], info
    for revision in ("main", COMMIT):
        assert server.json(f"/api/models/org/model/revision/{revision}") == info
    assert server.json("/api/models/org/model/revision/refs%2Fpr%2F1")["sha"] == OLD
    assert server.json("/api/datasets/org/data")["sha"] == DATA
    assert server.json("/api/models/old")["id"] == "old"
    blobs = server.json("/api/models/org/model?blobs=true")["siblings"]
    for sibling, (path, data) in zip(blobs, FILES.items(), strict=True):
        assert sibling == {"rfilename": path, **blob_of(path, data, "blobId", "sha256")}, sibling


def blob_of(path, data, id_name, hash_name):
    if len(hash_of(path)) == 40:
        return {id_name: hash_of(path), "size": len(data)}
    pointer = pointer_of(data)
    return {id_name: git_hash(pointer), "size": len(data),
            "lfs": {hash_name: sha256(data), "size": len(data), "pointerSize": len(pointer)}}


def check_tree(server):
    whole = server.json(TREE + "?recursive=True&expand=False")
    folder = whole.pop(-2)
    assert folder["type"] == "directory" and folder["path"] == "sub dir", folder
    assert whole == [{"type": "file", "path": path, **blob_of(path, data, "oid", "oid")}
                     for path, data in FILES.items()], whole
    top = server.json(TREE)
    assert top == whole[:-1] + [folder], top
    assert server.json(TREE + "/sub%20dir") == whole[-1:]
    assert server.ask(TREE + "/config.json")[0] == 404
    refs = server.json("/api/models/org/model/refs?include_prs=1")
    assert refs["branches"] == [{"name": "main", "ref": "refs/heads/main",
                                 "targetCommit": COMMIT}], refs
    assert refs["pullRequests"] == [{"name": "1", "ref": "refs/pr/1", "targetCommit": OLD}], refs
    assert "pullRequests" not in server.json("/api/models/org/model/refs")
    wanted = [("paths", path) for path in ("config.json", "nope", "sub dir", NAMED)]
    form = urllib.parse.urlencode(wanted + [("expand", "False")])
    listed = json.dumps({"paths": [path for _, path in wanted]})
    for body, kind in ((form, "application/x-www-form-urlencoded"), (listed, "application/json")):
        status, _, found = server.ask("/api/models/org/model/paths-info/main", "POST", body,
                                      Content_Type=kind)
        assert status == 200 and json.loads(found) == [whole[0], folder, whole[-1]], found


def address_of(path, revision="main"):
    return f"/org/model/resolve/{revision}/{urllib.parse.quote(path)}"


def check_content(server):
    with server.connect() as connection:  # all on one
        for path, data in FILES.items():
            for method in ("HEAD", "GET"):
                status, headers, body = ask(connection, address_of(path), method)
                assert status == 200 and body == (data if method == "GET" else b""), path
                assert headers["Content-Length"] == str(len(data)), (path, headers)
                assert headers["X-Repo-Commit"] == COMMIT, (path, headers)
                etag = f'"{hash_of(path)}"'
                large = (etag, str(len(data))) if len(etag) == 66 else (None, None)
                assert headers["ETag"] == etag and headers["Accept-Ranges"] == "bytes", headers
                assert (headers["X-Linked-Etag"], headers["X-Linked-Size"]) == large, headers
                assert not any("xet" in name.lower() for name in headers), headers
    assert server.ask(address_of("config.json", "refs%2Fpr%2F1"))[2] == b"{}"
    assert server.ask("/datasets/org/data/resolve/main/data.txt")[2] == b"data"
    assert server.ask("/old/resolve/main/config.json")[2] == SMALL


def check_ranges(server):
    size, target, etag = len(LARGE), address_of("model.safetensors"), f'"{sha256(LARGE)}"'
    parts = {"bytes=0-0": (0, 1), "bytes=5-9": (5, 10), f"bytes={size - 1}-": (size - 1, size),
             "bytes=-7": (size - 7, size), "bytes=100-99999999999999999999999": (100, size),
             f"bytes=-{size * 2}": (0, size), "Bytes= 1-2 ": (1, 3), "bytes=0-": (0, size)}
    for header, (first, end) in parts.items():
        status, headers, body = server.ask(target, Range=header, If_Range=etag)
        assert status == 206 and body == LARGE[first:end], (header, status, len(body))
        assert headers["Content-Range"] == f"bytes {first}-{end - 1}/{size}", headers
        assert headers["ETag"] == etag and headers["X-Repo-Commit"] == COMMIT, headers
    for header in (f"bytes={size}-", "bytes=-0", "bytes=99999999999999999999-"):
        status, headers, _ = server.ask(target, Range=header)
        assert (status, headers["Content-Range"]) == (416, f"bytes */{size}"), (header, status)
    for header in ("bytes=2-1", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-1,3-4", "bytes=0"):
        assert server.ask(target, Range=header)[::2] == (200, LARGE), header
    assert server.ask(target, Range="bytes=0-1", If_Range='"' + "0" * 64 + '"')[0] == 200
    assert server.ask(address_of("empty"), Range="bytes=0-")[0] == 416
    for known in (etag, f'"x", W/{etag}', "*"):
        status, headers, body = server.ask(target, If_None_Match=known)
        assert (status, body, headers["ETag"]) == (304, b"", etag), (known, status)
    assert server.ask(target, If_None_Match='"other"')[0] == 200


def check_errors(server):
    missing = {
        "/api/models/no/such": "RepoNotFound", "/no/such/resolve/main/x": "RepoNotFound",
        "/api/datasets/org/model": "RepoNotFound", "/api/models/no/snapshots": "RepoNotFound",
        "/api/models/org--model": "RepoNotFound", "/api/models/..%2F..": "RepoNotFound",
        "/api/models/org/model/revision/nope": "RevisionNotFound",
        "/api/models/org/model/revision/lost": "RevisionNotFound",
        f"/org/model/resolve/{'8' * 40}/x": "RevisionNotFound",
        "/org/model/resolve/..%2Fblobs/x": "RevisionNotFound",
        address_of("nope"): "EntryNotFound", address_of("sub dir"): "EntryNotFound",
        address_of("../config.json"): "EntryNotFound", address_of(""): "EntryNotFound",
        address_of("out"): "EntryNotFound", address_of("safetensors"): "EntryNotFound",
        address_of("folder/secret.txt"): "EntryNotFound", address_of("fifo"): "EntryNotFound",
        address_of("dangling"): "EntryNotFound", address_of(".git/config"): "EntryNotFound",
        TREE + "/nope": "EntryNotFound"}
    for target, code in missing.items():
        status, headers, body = server.ask(target)
        assert (status, headers["X-Error-Code"]) == (404, code), (target, status, headers, body)
        assert headers["X-Error-Message"] == json.loads(body)["error"], (target, body)
        assert (code == "EntryNotFound") == (headers["X-Repo-Commit"] == COMMIT), target
    for target in ("/", "/api/whoami-v2", "/api/models/a/b/c/d", "/org/model"):
        assert server.ask(target)[0] == 404, target
    for method in ("PUT", "DELETE", "POST", "OPTIONS"):
        status, headers, _ = server.ask(address_of("config.json"), method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD"), (method, status)
    assert server.ask("/api/models/org/model/paths-info/main")[0] == 405
    large = server.ask("/api/models/org/model/paths-info/main", "POST", "paths=" + "x" * (5 << 20))
    assert large[0] == 413, large


def check_hostile(server):
    """Whatever comes, it is refused, nothing leaks, and the next one is answered."""
    draw = random.Random(7)
    targets = [address_of("config.json") + tail
               for tail in ("%", "%0", "%zz", "%00", "?a=%", "?%=1")]
    targets += ["/org/model/resolve/main/" + up + "secret.txt" for up in
                ("../" * 4, "..%2F" * 4, "%2e%2e/" * 4, "..%5c" * 4, "folder/")]
    targets += ["http://other/healthz", "*", "//", "/" * 3000, "/api/models/" + "a/" * 3000,
                "/org/model/resolve/main/" + "a" * 20000, "/org/model/resolve/\x7f\x1b[31m/x",
                TREE + "?cursor=" + "%ff" * 900, "/api/models/org/model/tree/%ff%fe"]
    targets += ["/" + "".join(draw.choices("%2fF.0/aresolvtmpidq?&=-\\", k=draw.randrange(80)))
                for _ in range(300)]
    for target in targets:
        with socket.create_connection(server.address, timeout=DEADLINE_S) as raw:
            raw.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: raw.recv(65536), b""))  # noqa: B023
        assert SECRET not in answer, target
        status = answer.split(b" ", 2)[1] if answer else b"400"
        assert status.startswith(b"4") or (status == b"200" and "?" in target), (target, answer)
    assert server.ask("/healthz")[0] == 200


def check_pages(home):
    paths = sorted(f"{folder}{i:04}.txt" for folder in ("", "a/", "a-b/", "a/b/", "c/d/e/")
                   for i in range(500))
    for path in paths:
        put(home / "org" / "many" / path, path.encode())
    with Server(home) as server:
        for query, files, folders in (("?recursive=true", paths, 6), ("", paths[:500], 3),
                                      ("/a?recursive=true", 1000, 1), ("/a%2Fb", 500, 0)):
            found, target = [], f"/api/models/org/many/tree/main{query}"
            while target:
                status, headers, body = server.ask(target)
                page, target = json.loads(body), None
                assert status == 200 and 0 < len(page) <= 1000, (query, status, len(page))
                assert len(page) == 1000 or not headers["Link"], (query, len(page))
                if headers["Link"]:
                    link = headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
                    assert link.startswith(server.url + "/"), link
                    target = link.removeprefix(server.url)
                found += page
            names = [entry["path"] for entry in found if entry["type"] == "file"]
            assert names == files or len(names) == files, (query, len(names))
            assert len(found) - len(names) == folders, (query, len(found))
            assert len({entry["path"] for entry in found}) == len(found), query
        assert len(server.json("/api/models/org/many")["siblings"]) == len(paths)
        # The next page is at the origin that the client sees, which may be a proxy's.
        for scheme, said in (("https", "https"), ("https", "HTTPS, http"), ("http", "http"),
                             ("http", "http, https"), ("http", "httpsx"), ("http", "")):
            link = server.ask("/api/models/org/many/tree/main?recursive=true", Host="hub.test:81",
                              X_Forwarded_Proto=said)[1]["Link"]
            assert link.startswith(f"<{scheme}://hub.test:81/api/models/org/many/tree/"), link


def check_paths(home):
    """Folders by name are those of the tree, and nobody asks for more than is answered at once."""
    for path in ("a/1", "a/b/2", "a-b/3", "c/4"):
        put(home / "org" / "nested" / path, path.encode())
    (home / "org" / "nested" / "void" / "empty").mkdir(parents=True)
    target = "/api/models/org/nested/paths-info/main"
    with Server(home) as server:
        def folders():
            tree = server.json("/api/models/org/nested/tree/main?recursive=true")
            return {entry["path"]: entry for entry in tree if entry["type"] == "directory"}

        def ask_for(paths):
            form = server.ask(target, "POST", urllib.parse.urlencode({"paths": paths}, True))
            listed = server.ask(target, "POST", json.dumps({"paths": paths}),
                                Content_Type="application/json")
            assert form[::2] == listed[::2], (form, listed)
            return form[0], json.loads(form[2])

        before = folders()
        assert list(before) == ["a-b", "a", "a/b", "c"], before
        assert len({entry["oid"] for entry in before.values()}) == 4, before
        assert ask_for([*before, "void", "", "a/", "/a", "b"]) == (200, list(before.values()))
        assert server.ask("/api/models/org/nested/tree/main/void")[0] == 404
        put(home / "org" / "nested" / "a" / "b" / "2", b"changed")
        changed = [path for path, entry in folders().items() if entry != before[path]]
        assert changed == ["a", "a/b"], changed
        status, found = ask_for(["c"] * 1000)
        assert (status, found) == (200, [before["c"]] * 1000), (status, found)
        status, refusal = ask_for(["c"] * 1001)
        assert status == 413 and "1000" in refusal["error"], (status, refusal)


def check_token(cache):
    with Server("--cache-dir", cache, "-v", WLOAD_SERVE_TOKEN=TOKEN) as server:
        target = address_of("config.json") + f"?token={TOKEN}"
        basic = base64.b64encode(f"u:{TOKEN}".encode()).decode()
        for given in (None, "Bearer", "Bearer ", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
                      f"Bearer  {TOKEN}", f"Basic {basic}"):
            for path in (target, "/api/models/org/model", "/api/models/no/such", "/nothing"):
                status, headers, _ = server.ask(path, **({"Authorization": given} if given else {}))
                assert status == 401 and headers["WWW-Authenticate"] == "Bearer", (given, status)
                told = headers["X-Error-Code"], headers["X-Error-Message"]
                assert told == ((None, "Invalid credentials in Authorization header") if given else
                                ("RepoNotFound", "This server wants a token")), (given, told)
        for given in (f"Bearer {TOKEN}", f"bearer {TOKEN}"):
            assert server.ask(target, Authorization=given)[::2] == (200, SMALL), given
        assert server.ask("/healthz")[0] == 200
        with socket.create_connection(server.address, timeout=DEADLINE_S) as raw:
            raw.sendall(b"GET /\x1b[31m HTTP/1.0\r\n\r\n")
            assert raw.recv(65536)
        server.stop()
        said = server.said.decode()
        assert TOKEN not in said and "token=" not in said, said
        assert f"GET {address_of('config.json')} 200 {len(SMALL)}\n" in said, said
        assert "GET /\\x1B[31m 401 " in said and "\x1b" not in said, said


def check_changes(home, cache):
    """What comes, changes and goes while the server runs."""
    plain = home / "plain"
    weights = put(plain / "org" / "first" / "model.safetensors", LARGE)
    noted = put(plain / "org" / "first" / "noted.txt", b"noted")
    note = put(plain / "org" / "first" / ".cache" / "huggingface" / "download" /
               "noted.txt.metadata", f"{COMMIT}\n{'d' * 40}\n{time.time() + 1}\n".encode())
    with Server("--cache-dir", cache.root, plain) as server:
        assert server.count == 4, server.count
        first = server.json("/api/models/org/first")
        assert [entry["rfilename"] for entry in first["siblings"]] == [weights.name, noted.name]
        assert server.ask("/org/first/resolve/main/noted.txt")[1]["ETag"] == f'"{"d" * 40}"'
        note.unlink()
        target = f"/org/first/resolve/{first['sha']}/{weights.name}"
        assert server.ask(target)[2] == LARGE
        # Another content in place, of the same size: another commit, and the old one is gone.
        other = bytes(reversed(LARGE))
        os.utime(put(weights, other), ns=(1, 1))
        status, headers, body = server.ask("/org/first/resolve/main/model.safetensors")
        assert body == other and headers["ETag"] == f'"{sha256(other)}"', headers
        assert headers["X-Repo-Commit"] != first["sha"]
        status, headers, _ = server.ask(target)
        assert (status, headers["X-Error-Code"]) == (404, "RevisionNotFound"), status
        # New ones, and one that goes.
        put(plain / "org" / "second" / "config.json", SMALL)
        assert server.ask("/org/second/resolve/main/config.json")[2] == SMALL
        (plain / "org" / "second" / "config.json").unlink()
        assert server.json("/api/models/org/second")["siblings"] == []
        (plain / "org" / "second").rmdir()
        assert server.ask("/api/models/org/second")[0] == 404
        # A clock too coarse to tell: the folder has the same time before and after.
        later = time.time_ns() + 10 ** 12
        for i in range(2):
            put(plain / "org" / "coarse" / f"{i}.txt", b"")
            os.utime(plain / "org" / "coarse", ns=(later, later))
            assert len(server.json("/api/models/org/coarse")["siblings"]) == i + 1
        cache.add("models--org--new", COMMIT, "config.json", SMALL)
        assert server.ask(f"/org/new/resolve/{COMMIT}/config.json")[2] == SMALL
        assert server.ask("/org/new/resolve/main/config.json")[0] == 404
        cache.ref("models--org--new", "main", COMMIT)
        added = cache.add("models--org--new", COMMIT, "a/b.txt", b"b")
        assert server.ask("/org/new/resolve/main/a/b.txt")[2] == b"b"
        added.resolve().unlink()
        assert server.ask("/org/new/resolve/main/a/b.txt")[0] == 404
        assert len(server.json("/api/models/org/new")["siblings"]) == 1


def has_open(server, path):
    fds = pathlib.Path(f"/proc/{server.process.pid}/fd")
    with contextlib.suppress(FileNotFoundError):
        return any(os.path.realpath(fd) == str(path) for fd in fds.iterdir())
    return False


def check_hashing(home):
    """A terabyte is hashed for minutes: nobody else waits, nor does the end."""
    model = put(home / "org" / "model" / "config.json", SMALL).parent
    with Server(home) as server:
        commit = server.json("/api/models/org/model")["sha"]
        endless = put(home / "org" / "endless" / "model.safetensors", b"")
        os.truncate(endless, 1 << 40)
        added = put(model / "model.safetensors", b"")
        os.truncate(added, 1 << 40)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(server.ask, f"/api/models/org/{name}")
                       for name in ("endless", "endless", "model")]
            for path in (endless, added):
                until(lambda: has_open(server, path), path)  # noqa: B023
            assert server.ask("/healthz")[0] == 200
            target = f"/org/model/resolve/{commit}/config.json"
            assert server.ask(target)[::2] == (200, SMALL)
            assert not any(future.done() for future in waiting)
            server.stop(signal.SIGINT)
            for future in waiting:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    assert future.result()[0] == 503, future.result()
    # The same before it is ready.
    process = harness.start_wload(["serve", str(home)], harness.environment("", home))
    server.process = process
    until(lambda: has_open(server, endless) or has_open(server, added), "at start")
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, said) == (0, b"", b""), (process.returncode, out, said)


def check_many(home, cache):
    """Ranges by many clients at once, while the plain directory grows."""
    put(home / "org" / "plain" / "model.safetensors", LARGE)
    targets = ("/org/plain/resolve/main/model.safetensors", address_of("model.safetensors"))

    def read(server, seed):
        draw = random.Random(seed)
        with server.connect() as connection:
            for _ in range(20):
                first = draw.randrange(len(LARGE))
                end = min(len(LARGE), first + draw.randrange(1, 1 << 18))
                status, _, body = ask(connection, draw.choice(targets),
                                      Range=f"bytes={first}-{end - 1}")
                assert status == 206 and body == LARGE[first:end], (status, len(body))

    with Server("--cache-dir", cache.root, home) as server, \
            concurrent.futures.ThreadPoolExecutor(64) as pool:
        reads = [pool.submit(read, server, seed) for seed in range(64)]
        for i in range(20):
            put(home / "org" / "plain" / f"{i}.txt", b"%d" % i)
            assert len(server.json("/api/models/org/plain")["siblings"]) == i + 2
        for future in reads:
            future.result()


def check_slow(cache):
    """Each connection has its own pace, and none waits for the pause of another."""
    latency_s, clients = 0.5, 8
    with Server("--cache-dir", cache.root, "--latency", 500, "--max-rate", "8M") as server, \
            concurrent.futures.ThreadPoolExecutor(clients) as pool:
        begin = time.monotonic()
        target, size = address_of("model.safetensors"), len(LARGE)
        for future in [pool.submit(server.ask, target) for _ in range(clients)]:
            assert future.result()[2] == LARGE
        took = time.monotonic() - begin
        least = latency_s + 0.9 * size / (8 << 20)  # the first bytes go at once
        assert took >= least, took
        assert took < clients * least / 2 * harness.PACE, took
        status, headers, body = server.ask(target, Range="bytes=7-9")
        assert (status, body) == (206, LARGE[7:10]), status
        assert server.ask(target, "HEAD")[1]["Content-Length"] == str(size)


def check_program(home, cache):
    def run(*arguments):
        done = harness.run_wload(["serve", *map(str, arguments)], harness.environment("", home))
        assert done.stdout == b"" and done.stderr.count(b"\n") == 1, done
        return done.returncode, done.stderr

    for option, value in (("--port", "65536"), ("--port", "x"), ("--latency", "-1"),
                          ("--max-rate", "0"), ("--token", ""), ("--token", "a b")):
        assert run(option, value)[0] == 2, (option, value)
    assert run("no name=" + str(cache.root))[0] == 2
    for missing in (home / "missing", home / "secret.txt"):
        assert run(missing)[0] == 1
    assert run()[0] == 1  # the environment's cache, which is missing
    with Server(HF_HUB_CACHE=str(cache.root)) as server:
        assert server.count >= 3 and server.url.startswith("http://127.0.0.1:")
        code, said = run("--cache-dir", cache.root, "--port", server.address[1])
        assert code == 1 and b"EADDRINUSE" in said, said
    model = put(home / "a model" / "config.json", SMALL).parent
    assert run(model)[0] == 1  # no name for a repository
    with Server(f"me/mine={model}", put(home / "one" / "config.json", SMALL).parent) as server:
        assert server.count == 2
        for repo in ("me/mine", "local/one"):
            assert server.ask(f"/{repo}/resolve/main/config.json")[2] == SMALL, repo
    # A pipeline's folders are no models, and what has no models is told.
    pipeline = put(home / "models" / "acme" / "pipe" / "model_index.json", b"{}").parent
    put(pipeline / "unet" / "config.json", SMALL)
    with Server(pipeline.parents[1]) as server:
        assert server.count == 1
        assert server.ask("/acme/pipe/resolve/main/unet/config.json")[2] == SMALL
        server.stop()
        assert server.said == b"", server.said
    (home / "empty").mkdir()
    for arguments, layout in (([pipeline.parent], b"as ORG/NAME"),
                              (["--cache-dir", home / "empty"], b"models--ORG--NAME")):
        with Server(*arguments) as server:
            assert server.count == 0
            assert server.ask("/api/models/pipe/unet")[0] == 404
            server.stop()
            assert f"'{arguments[-1]}'".encode() in server.said, server.said
            assert layout in server.said.splitlines()[-1], server.said
    with Server("--cache-dir", cache.root, "--host", "0.0.0.0") as server:
        server.stop()
        assert b"--token" in server.said, server.said


def check_places(home):
    """A repository counts once, in however many places it is; what is left out is told, and how to
    give it: then it is not."""
    models, elsewhere = home / "models", home / "elsewhere"
    for path in ("org/model", "org/sp ace", "org/bad..name", "a--b/x", "alone", ".hidden/x",
                 "org/.hidden"):
        put(models / path / "config.json", SMALL)
    put(elsewhere / "away" / "config.json", SMALL)
    (models / "org" / "away").symlink_to(elsewhere / "away")
    (models / "far").symlink_to(elsewhere)
    (models / "org" / "dangling").symlink_to("nothing")
    (models / "org" / "no model").mkdir()
    cache, linked = Cache(home / "cache"), home / "linked"
    cache.add("models--org--model", COMMIT, "config.json", SMALL)
    cache.add("models--org--cached", COMMIT, "config.json", SMALL)
    Cache(linked).add("models--org--other", COMMIT, "config.json", SMALL)
    (linked / "models--org--cached").symlink_to(cache.root / "models--org--cached")
    left_out = {models / "org" / "sp ace": "no ORG/NAME", models / "alone": "no ORG/NAME",
                models / "org" / "bad..name": "no ORG/NAME", models / "a--b" / "x": "no ORG/NAME",
                models / "org" / "away": "as org/away=DIR", models / "far" / "away": "far/away=DIR",
                linked / "models--org--cached": "with --cache-dir"}

    def serve(count, told, *places):
        with Server(*places) as server:
            assert server.count == count, (server.count, places)
            for path in ("alone/config.json", "far/away", "org/away", "a--b/x", "org/.hidden"):
                assert server.ask(f"/api/models/{path}")[0] == 404, path
            server.stop()
            said = sorted(server.said.decode().splitlines())
        assert len(said) == len(told), (said, told)
        for line, path in zip(said, sorted(map(str, told)), strict=True):
            assert line.startswith(f"wload: warning: '{path}' is not served: "), (line, path)
            assert left_out[pathlib.Path(path)] in line, (line, path)

    plain = [path for path in left_out if models in path.parents]
    serve(1, plain, models)
    serve(1, plain * 2, models, models, f"org/model={models / 'org' / 'model'}")
    serve(1, [linked / "models--org--cached"], "--cache-dir", linked)
    serve(3, plain, models, "--cache-dir", linked, "--cache-dir", cache.root)
    given = [f"me/{i}={path}" for i, path in enumerate(plain)]
    serve(1 + len(plain), [], models, *given)


def check_fetch(home, cache):
    """wload as a client of itself."""
    if harness.run_wload(["fetch", "--help"], {}).returncode != 0:
        return
    with Server("--cache-dir", cache.root, WLOAD_SERVE_TOKEN=TOKEN) as server:
        done = harness.run_wload(["fetch", "hf://org/model", "--include", "*.safetensors",
                                  "--include", "config.json", "--include", "sub dir/"],
                                 harness.environment(server.url, home / "client"))
        assert done.returncode == 0, done.stderr.decode()
        # No token, a wrong one, and one that cannot be read: one line each says which.
        for changes, says in (({"HF_TOKEN": None}, b"log in with"),
                              ({"HF_TOKEN": "hf_other"}, b"the token is not valid"),
                              ({"HF_TOKEN": None, "HF_TOKEN_PATH": str(home)}, b"no token: ")):
            env = harness.environment(server.url, home / "other", **changes)
            done = harness.run_wload(["fetch", "hf://org/model"], env)
            assert done.returncode == 1 and says in done.stderr, done
            assert done.stderr.count(b"\n") == 1 and b"may read" not in done.stderr, done
    snapshot = home / "client" / "hub" / "models--org--model" / "snapshots" / COMMIT
    for path in ("model.safetensors", "config.json", NAMED):
        assert (snapshot / path).read_bytes() == FILES[path], path


def main():
    with tempfile.TemporaryDirectory() as work:
        home = pathlib.Path(work)
        cache = make_cache(home / "cache")
        with Server("--cache-dir", cache.root) as server:
            for check in (check_info, check_tree, check_content, check_ranges, check_errors,
                          check_hostile):
                check(server)
        check_pages(home / "pages")
        check_paths(home / "paths")
        check_token(cache.root)
        check_changes(home, cache)
        check_hashing(home / "hashing")
        check_many(home / "many", cache)
        check_slow(cache)
        check_program(home, cache)
        check_places(home / "places")
        check_fetch(home, cache)


if __name__ == "__main__":
    sys.exit(main())
