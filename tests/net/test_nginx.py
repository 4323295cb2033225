#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: wload gets along with a real web server: as a CDN, as a hub made of files alone, and as a
proxy before a hub.

Method: nginx with a configuration, folders and a port of its own.  Ranges, a slow rate, few
requests per connection, compression and its own ETags are what it does that the fault server does
not.  Exit 77 where it is not installed.
"""
import contextlib
import functools
import json
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile

import harness

harness.need_program()
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
if not NGINX:
    harness.skip("nginx is not installed (nginx-light)")

import cache_judge  # noqa: E402
from fault_server import FaultServer, Repo  # noqa: E402

REPO = Repo("org/model", {"config.json": b'{"text": "' + b"x" * 5000 + b'"}', "empty.txt": b"",
                          "deep/er/notes with spaces & signs%.txt": b"text " * 1000,
                          "model.safetensors": harness.weights(24 << 20),
                          "small.safetensors": harness.weights(100 << 10, 1)})
HASHES = {path: file.hash for path, file in REPO.files.items()}

# The socket is made here and handed over, so that its port is known and nobody else's.
CONFIGURATION = """
daemon off; worker_processes 1; error_log {root}/error.log; pid {root}/pid;
events {{ worker_connections 256; }}
http {{
    access_log {root}/access.log;
    client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
    uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
    default_type application/octet-stream;
    keepalive_requests 3;
    gzip on; gzip_min_length 1; gzip_proxied any; gzip_types *;
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""


@contextlib.contextmanager
def nginx(server):
    """Its address and folder; `server` is the inside of a server block."""
    with tempfile.TemporaryDirectory() as root, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        port = listening.getsockname()[1]
        path = pathlib.Path(root, "nginx.conf")
        user = f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else ""
        path.write_text(user + CONFIGURATION.format(root=root, port=port,
                                                    server=server.format(root=root)))
        fd = listening.fileno()
        # NGINX: the descriptors that an older nginx would leave to a newer one.
        process = subprocess.Popen([NGINX, "-p", root, "-c", str(path)], pass_fds=[fd],
                                   env={"NGINX": f"{fd};"}, stderr=subprocess.PIPE)
        listening.close()
        try:
            yield f"http://127.0.0.1:{port}", pathlib.Path(root)
        finally:
            process.terminate()
            _, said = process.communicate()
        assert process.returncode == 0, said.decode()


def fetch(url, home, *arguments):
    done = harness.run_wload(["fetch", "--json", "hf://org/model", *arguments],
                             harness.environment(url, home))
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()


def lay_out(root, linked_etags):
    """A hub of plain files; returns its locations."""
    api = root / "www/api/models/org/model"
    resolve = root / "www/org/model/resolve" / REPO.commit
    for path, value in ((api / "revision/main", {"id": REPO.name, "sha": REPO.commit}),
                        (api / "tree" / REPO.commit, REPO.tree())):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    for path, file in REPO.files.items():
        (resolve / path).parent.mkdir(parents=True, exist_ok=True)
        (resolve / path).write_bytes(file.data)
    if not linked_etags:
        return
    lines = "".join(f'location "/org/model/resolve/{REPO.commit}/{path}" {{ '
                    f"add_header X-Linked-Etag '\"{file.hash}\"'; }}\n"
                    for path, file in REPO.files.items())
    (root / "etags.conf").write_text(lines)


@contextlib.contextmanager
def static_hub(linked_etags):
    with tempfile.TemporaryDirectory() as www:
        lay_out(pathlib.Path(www), linked_etags)
        include = f"include {www}/etags.conf;" if linked_etags else ""
        with nginx(f"root {www}/www; {include}") as (url, root):
            yield url, root


def as_hub(linked_etags):
    """Nothing but files: ETags of nginx's own, which are no hashes."""
    with static_hub(linked_etags) as (url, root), tempfile.TemporaryDirectory() as home:
        fetch(url, home)
        cache_judge.check(pathlib.Path(home, "hub"), "org/model", REPO.commit, HASHES)
        log = (root / "access.log").read_text()
        assert '" 206 ' in log, f"no range was asked for: {log}"


def as_cdn():
    """It has the large files by their hashes; slow, and few requests a connection."""
    with nginx("root {root}/www; limit_rate 8m;") as (url, root), \
            FaultServer([REPO], tokens=[harness.TOKEN], cdn_url=url) as server, \
            tempfile.TemporaryDirectory() as home:
        (root / "www/files").mkdir(parents=True)
        for file in REPO.files.values():
            (root / "www/files" / file.hash).write_bytes(file.data)
        fetch(server.url, home, "--max-workers", "6")
        cache_judge.check(pathlib.Path(home, "hub"), "org/model", REPO.commit, HASHES)


def as_proxy():
    """Before a hub that has a bad day."""
    with FaultServer([REPO], tokens=[harness.TOKEN], page_entries=2) as server:
        pass_on = f"location / {{{{ proxy_pass {server.url}; proxy_set_header Host $http_host; }}}}"
        server.rules.add({"match": {"listener": "cdn"}, "action": {"cut": 200000, "how": "reset"},
                          "times": 2},
                         {"match": {"path": "/tree/"}, "action": {"status": 502}, "times": 1})
        with nginx(pass_on) as (url, _), tempfile.TemporaryDirectory() as home:
            fetch(url, home)
            cache_judge.check(pathlib.Path(home, "hub"), "org/model", REPO.commit, HASHES)
        for request in server.log.requests(listener="cdn"):
            assert "authorization" not in request["headers"], request


def main():
    for part in (functools.partial(as_hub, False), functools.partial(as_hub, True), as_cdn,
                 as_proxy):
        part()
    return 0


sys.exit(main())
