#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A model hub and its CDN on loopback, which misbehave on order.

    with FaultServer([Repo("org/model", {"config.json": b"{}", "w.safetensors": data})]) as server:
        server.rules.add({"match": {"listener": "cdn"}, "action": {"status": 503}, "times": 1})
        ...  # HF_ENDPOINT=server.url
        server.log.requests()

Two listeners on ports of their own.  The hub answers info, tree and resolve requests and sends
large files on to the CDN with a signed address, X-Sig=..., which may expire.  Every request is
recorded with its headers, the bytes of body that went out, and `beside`: of each other answer with
a file's content that was under way when it came, [bytes on their way, bytes of it all or null].

A rule has `match` (listener "hub" or "cdn"; method; path, a regular expression that is searched
in the target; range, one for the Range header), `action`, and how often it holds: from the
`first` match on (0: at once), `times` times (absent: for ever).  Actions, which may be combined:

    status, headers, body   another answer; headers may name {hub}, {localhost}, {cdn}, {secret}
    repeat [unit, count]    a body of that, between `prefix` and `suffix`
    set {name: value}       headers of the usual answer; null: without
    etag                    of the file on the CDN, from which If-Range is judged
    cut, how                stop the body after so many bytes: "reset", "close" or "stall"
    longer                  so many bytes more than there should be; "chunked": true
    whole                   200 and everything where a range was asked for
    flip                    the byte at this offset of the file is wrong
    revoke                  403; this signed address has expired
    drop                    close the connection without an answer
    delay                   answer after so many seconds

As a program: fault_server.py NAME=DIRECTORY... [--rules JSON] [--rate BYTES] prints its addresses
as JSON and serves until its input ends; rules are added by POST /_rules, GET /_stats tells.
"""
import argparse
import hashlib
import http.server
import json
import os
import pathlib
import re
import secrets
import select
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
import urllib.parse

CHUNK_BYTES = 256 << 10
SMALL_BYTES = 32 << 10  # listings, and headers of weights
KINDS = {"models": "", "datasets": "datasets/"}
CONTENT = "^/(files|api/resolve-cache)/"


def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class File:
    """Content with its hash: SHA-256 with `is_large`, else that of the git blob."""

    def __init__(self, data, is_large):
        self.data, self.is_large = memoryview(data), is_large
        self.hash = hashlib.sha256(data).hexdigest() if is_large else git_hash(data)

    def entry(self, path):
        """As the tree API has it."""
        if not self.is_large:
            return {"type": "file", "oid": self.hash, "size": len(self.data), "path": path}
        pointer = hashlib.sha1(self.hash.encode()).hexdigest()
        return {"type": "file", "oid": pointer, "size": len(self.data), "path": path,
                "lfs": {"oid": self.hash, "size": len(self.data), "pointerSize": 134}}


class Repo:
    def __init__(self, name, contents, kind="models", commit=None, **traits):
        """`traits`: is_gated, is_disabled, is_private; tree, entries that replace the true ones."""
        self.name, self.kind = name, kind
        self.files = {path: File(data, len(data) > 64 << 10 or path.endswith(".safetensors"))
                      for path, data in contents.items()}
        listing = repr(sorted((path, file.hash) for path, file in self.files.items()))
        self.commit = commit or hashlib.sha1(listing.encode()).hexdigest()
        self.revisions = {"main": self.commit}
        self.traits = traits

    @classmethod
    def of_directory(cls, name, root):
        root = pathlib.Path(root)
        return cls(name, {str(path.relative_to(root)): path.read_bytes()
                          for path in sorted(root.rglob("*")) if path.is_file()})

    def size(self):
        return sum(len(file.data) for file in self.files.values())

    def tree(self):
        if "tree" in self.traits:
            return self.traits["tree"]
        folders = {str(parent) for path in self.files
                   for parent in pathlib.PurePosixPath(path).parents} - {"."}
        return ([{"type": "directory", "oid": self.commit, "size": 0, "path": path}
                 for path in sorted(folders)] +
                [file.entry(path) for path, file in sorted(self.files.items())])

    def find_commit(self, revision):
        known = self.revisions | {self.commit: self.commit}
        return known.get(revision)


class Rules:
    def __init__(self, rules=()):
        self.lock, self.rules = threading.Lock(), []
        self.add(*rules)

    def add(self, *rules):
        with self.lock:
            self.rules += [dict(rule, seen=0) for rule in rules]

    def take(self, request):
        """The actions for a request, in one."""
        action = {}
        with self.lock:
            for rule in self.rules:
                if not matches(rule.get("match", {}), request):
                    continue
                first = rule.get("first", 0)
                if first <= rule["seen"] < first + rule.get("times", 1 << 60):
                    action |= rule["action"]
                rule["seen"] += 1
        return action


def matches(match, request):
    return (match.get("listener", request["listener"]) == request["listener"] and
            match.get("method", request["method"]) == request["method"] and
            re.search(match.get("path", ""), request["target"]) is not None and
            re.search(match.get("range", ""), request["headers"].get("range", "")) is not None)


class Log:
    """What was asked and how many bytes of body went out."""

    def __init__(self):
        self.changed, self.entries, self.sent_bytes = threading.Condition(), [], 0
        self.under_way = []

    def begin(self, request):
        with self.changed:
            request["beside"] = [[other["leaving"], other["size"]] for other in self.under_way]
            if re.search(CONTENT, request["target"]):
                self.under_way.append(request)
            self.entries.append(request)
            self.changed.notify_all()

    def leaves(self, request, size):
        """Before it is sent, for who has the last byte may ask for more at once."""
        with self.changed:
            request["leaving"] += size
            if request["leaving"] == request["size"]:
                self.end(request)

    def left_bytes(self):
        """What was sent, and what is being."""
        with self.changed:
            return sum(request["leaving"] for request in self.entries)

    def end(self, request):
        with self.changed:
            self.under_way = [other for other in self.under_way if other is not request]

    def sent(self, request, size):
        with self.changed:
            request["sent"] += size
            self.sent_bytes += size
            self.changed.notify_all()

    def requests(self, **match):
        with self.changed:
            return [request for request in self.entries if matches(match, request)]

    def bytes(self, agent="", **match):
        return sum(request["sent"] for request in self.requests(**match)
                   if request["headers"].get("user-agent", "").startswith(agent))

    def wait(self, condition, timeout_s):
        """Until condition(log) or the time is over; tells which."""
        with self.changed:
            return self.changed.wait_for(lambda: condition(self), timeout_s)


class Rate:
    """So many bytes a second for all connections together, and none of what is large once there
    were so many."""

    def __init__(self, bytes_per_s):
        self.lock, self.bytes_per_s, self.free_at = threading.Lock(), bytes_per_s, 0.0
        self.changed, self.large_bytes, self.most_bytes = threading.Condition(), 0, None

    def hold_at(self, most_bytes):
        """None: no more."""
        with self.changed:
            self.most_bytes = most_bytes
            self.changed.notify_all()

    def wait(self, size):
        if size > SMALL_BYTES:
            with self.changed:
                self.changed.wait_for(lambda: self.most_bytes is None or
                                      self.large_bytes + size <= self.most_bytes)
                self.large_bytes += size
        if not self.bytes_per_s:
            return
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic()) + size / self.bytes_per_s
            pause = self.free_at - time.monotonic()
        if pause > 0:
            time.sleep(pause)


class Answer:
    def __init__(self, status, headers=None, body=b""):
        self.status, self.headers, self.body = status, headers or {}, memoryview(body)

    @classmethod
    def json(cls, value, headers=None):
        body = json.dumps(value).encode()
        return cls(200, {"Content-Type": "application/json"} | (headers or {}), body)

    @classmethod
    def error(cls, status, code=None, message=None, **headers):
        known = {"X-Error-Code": code, "X-Error-Message": message} | headers
        body = json.dumps({"error": message or code or "no"}).encode()
        return cls(status, {"Content-Type": "application/json"} |
                   {name: value for name, value in known.items() if value}, body)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 0

    def log_message(self, *_):
        pass

    def setup(self):
        if self.server.tls:
            self.request.settimeout(10)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass  # the client is gone

    def answer(self):
        hub = self.server.hub
        length = int(self.headers.get("Content-Length") or 0)
        posted = self.rfile.read(length)
        authority, target = re.fullmatch(r"(?:https?://([^/]*))?(.*)", self.path).groups()
        request = {"listener": self.server.name, "method": self.command, "target": target,
                   "form": "absolute" if authority else "origin", "sent": 0, "status": 0,
                   "leaving": 0, "size": None,
                   "headers": {name.lower(): value for name, value in self.headers.items()}}
        if target == "/_stats":
            self.send(request, Answer.json({"requests": hub.log.requests(),
                                            "sent_bytes": hub.log.sent_bytes}), {})
            return
        if target == "/_rules":
            hub.rules.add(*json.loads(posted))
            self.send(request, Answer(204), {})
            return
        hub.log.begin(request)
        try:
            self.answer_as_ordered(hub, request)
        finally:
            hub.log.end(request)

    def answer_as_ordered(self, hub, request):
        action = hub.rules.take(request)
        hub.ended.wait(action.get("delay", 0))
        if action.get("drop"):
            self.hang_up()
            return
        answer = hub.route(request, action) if "status" not in action else hub.made_up(action)
        for name, value in action.get("set", {}).items():
            answer.headers.pop(name, None)
            if value is not None:
                answer.headers[name] = hub.fill_in(value)
        self.send(request, answer, action)

    do_GET = do_HEAD = do_POST = answer

    def send(self, request, answer, action):
        body, size = answer.body, len(answer.body)
        extra = bytes(action.get("longer", 0))
        if self.command != "HEAD" and extra and not action.get("chunked"):
            size += len(extra)
        length = {} if action.get("chunked") else {"Content-Length": str(size)}
        if action.get("chunked"):
            length = {"Transfer-Encoding": "chunked"}
        lines = [f"HTTP/1.1 {answer.status} Status"]
        lines += [f"{name}: {value}" for name, value in (length | answer.headers).items()
                  if value is not None]
        request["status"], request["size"] = answer.status, size
        self.connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8"))
        if self.command == "HEAD" or answer.status in (204, 304):
            return
        cut = action.get("cut")
        if action.get("chunked"):
            whole = bytes(body) + extra
            body, extra = memoryview(b"%x\r\n%s\r\n0\r\n\r\n" % (len(whole), whole)), b""
        self.send_body(request, body[:cut])
        if cut is not None and cut < len(body) + len(extra):
            self.stop(action.get("how", "close"))
            return
        self.send_body(request, memoryview(extra))

    def send_body(self, request, body):
        for begin in range(0, len(body), CHUNK_BYTES):
            part = body[begin:begin + CHUNK_BYTES]
            self.server.hub.rate.wait(len(part))
            self.server.hub.log.leaves(request, len(part))
            self.connection.sendall(part)
            self.server.hub.log.sent(request, len(part))

    def stop(self, how):
        self.close_connection = True
        if how == "stall":  # until the client has had enough, or the server ends
            while not self.server.hub.ended.is_set():
                if select.select([self.connection], [], [], 0.2)[0] and not self.rfile.peek(1):
                    return
        if how == "reset":
            self.hang_up()

    def hang_up(self):
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def do_CONNECT(self):
        """A proxy's tunnel; it always leads to the hub that the server was told of."""
        hub = self.server.hub
        hub.log.begin({"listener": self.server.name, "method": "CONNECT", "target": self.path,
                       "form": "authority", "sent": 0, "status": 200,
                       "headers": {name.lower(): value for name, value in self.headers.items()}})
        self.close_connection = True
        with socket.create_connection(hub.tunnel_to) as far:
            self.connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            ends = {self.connection: far, far: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(CHUNK_BYTES)
                    if not data:
                        return
                    ends[end].sendall(data)


class Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, hub, name, tls=None):
        self.hub, self.name, self.tls = hub, name, tls
        self.accepted_count = 0
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def get_request(self):
        accepted = super().get_request()
        self.accepted_count += 1
        return accepted

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # a mistake of this file: let the test see it
            self.hub.mistakes.append(repr(error))


class FaultServer:
    def __init__(self, repos, rules=(), tls=None, cdn_tls=None, rate=None, page_entries=1000,
                 tokens=(), cdn_url=None, tunnel_to=None):
        """`tls`, `cdn_tls`: (certificate, key); `cdn_url`: another server's, with files by hash."""
        self.repos = {(repo.kind, repo.name): repo for repo in repos}
        self.files = {file.hash: file for repo in repos for file in repo.files.values()}
        self.rules, self.log, self.rate = Rules(rules), Log(), Rate(rate)
        self.page_entries, self.tokens, self.tunnel_to = page_entries, set(tokens), tunnel_to
        self.secret = f"signed{secrets.token_hex(12)}"
        self.revoked, self.signed_count, self.lock = set(), 0, threading.Lock()
        self.ended, self.mistakes = threading.Event(), []
        self.listeners = [Listener(self, "hub", context(tls)), Listener(self, "cdn",
                                                                        context(cdn_tls))]
        self.url = self.listeners[0].url
        self.own_cdn_url = self.listeners[1].url
        self.cdn_url = cdn_url or self.own_cdn_url

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.ended.set()
        self.rate.hold_at(None)
        for listener in self.listeners:
            listener.shutdown()
            listener.server_close()
        if self.mistakes:
            raise AssertionError(f"the server failed: {self.mistakes}")

    def fill_in(self, text):
        names = {"{hub}": self.url, "{cdn}": self.own_cdn_url, "{secret}": self.secret,
                 "{localhost}": self.url.replace("127.0.0.1", "localhost")}
        for name, value in names.items():
            text = text.replace(name, value)
        return text

    def made_up(self, action):
        body = action.get("body", "")
        body = json.dumps(body) if not isinstance(body, str) else body
        if "repeat" in action:
            unit, count = action["repeat"]
            body = action.get("prefix", "") + unit * count + action.get("suffix", "")
        headers = {name: self.fill_in(value) for name, value in action.get("headers", {}).items()}
        return Answer(action["status"], headers, body.encode())

    def route(self, request, action):
        url = urllib.parse.urlsplit(request["target"])
        query = dict(urllib.parse.parse_qsl(url.query))
        if request["listener"] == "cdn" or url.path.startswith("/files/"):
            return self.answer_cdn(request, url.path, query, action)
        refusal = self.check_token(request)
        if refusal:
            return refusal
        api = re.fullmatch(r"/api/(models|datasets)/([^/]+(?:/[^/]+)?)"
                           r"(?:/(revision|tree)/([^/]+))?", url.path)
        resolved = re.fullmatch(r"/(datasets/|)([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url.path)
        direct = re.fullmatch(r"/api/resolve-cache/(models|datasets)/([^/]+/[^/]+)/([^/]+)/(.+)",
                              url.path)
        if api:
            return self.answer_api(request, *api.groups(), query)
        if resolved or direct:
            kind, name, revision, path = (resolved or direct).groups()
            kind = (kind.rstrip("/") or "models") if resolved else kind
            return self.answer_file(request, kind, name, urllib.parse.unquote(revision),
                                    urllib.parse.unquote(path), direct is not None, action)
        return Answer.error(404, message="no such page")

    def check_token(self, request):
        token = request["headers"].get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            return Answer.error(401, message="Invalid credentials in Authorization header")
        return None

    def find(self, request, kind, name, revision):
        """The repository and the commit, or an answer that refuses."""
        repo = self.repos.get((kind, name))
        has_token = "authorization" in request["headers"]
        if not repo or repo.traits.get("is_private") and not has_token:
            if has_token:
                return None, Answer.error(404, "RepoNotFound", "Repository not found")
            return None, Answer.error(401, message="Invalid username or password.")
        if repo.traits.get("is_disabled"):
            return None, Answer.error(403, message="Access to this resource is disabled.")
        commit = repo.find_commit(revision)
        if not commit:
            return None, Answer.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo, commit

    def answer_api(self, request, kind, name, what, revision, query):
        repo, commit = self.find(request, kind, name, urllib.parse.unquote(revision or "main"))
        if not repo:
            return commit
        entries = repo.tree()
        if what == "tree":
            first = int(query.get("cursor", 0))
            end = first + self.page_entries
            headers = {}
            if end < len(entries):
                base = f"http://{request['headers']['host']}"
                if self.url.startswith("https"):
                    base = self.url
                path = request["target"].split("?")[0]
                headers["Link"] = (f'<{base}{path}?recursive=true&expand=false&cursor={end}>; '
                                   'rel="next"')
            return Answer.json(entries[first:end], headers)
        return Answer.json({
            "_id": "0", "id": name, "modelId": name, "sha": commit, "private": False,
            "gated": "manual" if repo.traits.get("is_gated") else False, "disabled": False,
            "siblings": [{"rfilename": entry["path"]} for entry in entries
                         if entry["type"] == "file"], "tags": [], "downloads": 0, "likes": 0})

    def answer_file(self, request, kind, name, revision, path, is_direct, action):
        repo, commit = self.find(request, kind, name, revision)
        if not repo:
            return commit
        if repo.traits.get("is_gated") and "authorization" not in request["headers"]:
            return Answer.error(401, "GatedRepo", f"Access to model {name} is restricted.")
        if repo.traits.get("is_gated") == "closed":
            return Answer.error(403, "GatedRepo", f"Access to model {name} is restricted.")
        file = repo.files.get(path)
        if not file:
            return Answer.error(404, "EntryNotFound", "Entry not found",
                                **{"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit, "X-Request-Id": "request-1"}
        if file.is_large:
            with self.lock:
                self.signed_count += 1
                serial = self.signed_count
            signed = f"{self.cdn_url}/files/{file.hash}?X-Sig={self.secret}-{serial}"
            headers |= {"Location": signed,
                        "X-Linked-Etag": f'"{file.hash}"', "X-Linked-Size": str(len(file.data))}
            return Answer(302, headers, b"Found. Redirecting")
        if not is_direct:
            path = urllib.parse.quote(path)
            headers["Location"] = f"/api/resolve-cache/{kind}/{name}/{commit}/{path}"
            return Answer(307, headers, b"Temporary Redirect")
        return serve_range(request, file.data, f'"{file.hash}"', headers, action)

    def answer_cdn(self, request, path, query, action):
        signature = query.get("X-Sig", "")
        file = self.files.get(path.removeprefix("/files/"))
        if action.get("revoke"):
            with self.lock:
                self.revoked.add(signature)
        if not file or not signature.startswith(f"{self.secret}-") or signature in self.revoked:
            return Answer(403, {"Content-Type": "application/xml"},
                          b"<Error><Code>AccessDenied</Code></Error>")
        etag = action.get("etag", f'"cdn-{file.hash[:16]}"')
        return serve_range(request, file.data, etag, {}, action)


def serve_range(request, data, etag, headers, action):
    headers = headers | {"ETag": etag, "Accept-Ranges": "bytes",
                         "Content-Type": "application/octet-stream"}
    if "flip" in action:
        wrong = bytearray(data)
        wrong[action["flip"]] ^= 1
        data = memoryview(wrong)
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request["headers"].get("range", ""))
    if (not asked or action.get("whole") or
            request["headers"].get("if-range", etag) != etag):
        return Answer(200, headers, data)
    begin = int(asked[1])
    end = min(int(asked[2]) + 1 if asked[2] else len(data), len(data))
    if begin >= end:
        return Answer(416, {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
    return Answer(206, headers, data[begin:end])


def context(pair):
    if not pair:
        return None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*pair)
    return tls


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("repos", nargs="+", metavar="NAME=DIRECTORY")
    parser.add_argument("--rules", type=json.loads, default=[])
    parser.add_argument("--rate", type=int)
    parser.add_argument("--token", action="append", default=[])
    options = parser.parse_args()
    repos = [Repo.of_directory(*repo.split("=", 1)) for repo in options.repos]
    with FaultServer(repos, options.rules, rate=options.rate, tokens=options.token) as server:
        print(json.dumps({"hub": server.url, "cdn": server.own_cdn_url, "secret": server.secret,
                          "commits": {repo.name: repo.commit for repo in repos}}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
