#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure `wload fetch` against `hf download` and aria2c from one server, and print a table.

    network.py SMALL_MODEL LARGE_MODEL [--rounds N] [--only loopback|distant] [--place DIR]

Both cases have the server on loopback, with the files in the page cache:

    loopback   nginx, as fast as it goes
    distant    `wload serve`, with 85 MB/s for each connection and 30 ms before each answer, as
               object stores are

In each round all take turns in random order, each in a fresh process into an empty directory, once
what was written before is on the disk.  The clock runs from the process's start to its end.  Above
them is the roof: plain GETs of the same bytes by as many connections, dropped, as `wload bench`
measures it.  wload checks each file's hash in that time; the others check none.
"""
import argparse
import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import platform
import pwd
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "interop"))
import judge  # noqa: E402

WLOAD = os.environ["WLOAD"]
REPO = "local/model"
CONNECTIONS = 16
RATE, LATENCY_MS = 85_000_000, 30
WORKERS = (1, 2, 4, 8, 16, 32)
LARGE_FROM = 8  # so many connections need a large model to be measured
ARIA_CONNECTIONS_MAX = 16
KEPT = ("PATH", "HOME", "LANG")

NGINX = """
daemon off; worker_processes auto; error_log {root}/error.log; pid {root}/pid;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; sendfile_max_chunk 4m; keepalive_requests 100000;
    client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
    uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port} backlog=512;
        root {root}/www;
        {locations}
    }}
}}
"""


# ---- The servers --------------------------------------------------------------------------------

def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lay_out(model, root):
    """A hub that is made of files alone.  Returns nginx's locations."""
    hashes = {path.name: sha256(path) for path in sorted(model.iterdir())}
    commit = hashlib.sha1(repr(hashes).encode()).hexdigest()
    api = root / "www" / "api" / "models" / REPO
    info = {"id": REPO, "sha": commit, "siblings": [{"rfilename": name} for name in hashes]}
    tree = [{"type": "file", "path": name, "size": (model / name).stat().st_size,
             "oid": hashlib.sha1(sha.encode()).hexdigest(),
             "lfs": {"oid": sha, "size": (model / name).stat().st_size, "pointerSize": 134}}
            for name, sha in hashes.items()]
    for path, value in ((api / "revision" / "main", info), (api / "tree" / commit, tree)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    resolve = root / "www" / REPO / "resolve"
    resolve.mkdir(parents=True)
    (resolve / commit).symlink_to(model)
    (resolve / "main").symlink_to(model)
    return "".join(f"""location ~ ^/{REPO}/resolve/[^/]+/{re.escape(name)}$ {{
        add_header X-Repo-Commit {commit}; add_header X-Linked-Etag '"{sha}"'; }}
        """ for name, sha in hashes.items())


def wait_for(url):
    host, port = url.removeprefix("http://").split(":")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, port)):
            return
    sys.exit(f"nothing answers at {url}")


@contextlib.contextmanager
def nginx(model):
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not program:
        sys.exit("nginx is not installed")
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        root.chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        user = f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else ""
        (root / "nginx.conf").write_text(
            user + NGINX.format(root=root, port=port, locations=lay_out(model, root)))
        process = subprocess.Popen([program, "-p", root, "-c", root / "nginx.conf"])
        try:
            wait_for(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def slow_server(model):
    process = subprocess.Popen([WLOAD, "serve", "--max-rate", str(RATE), "--latency",
                                str(LATENCY_MS), f"{REPO}={model}"],
                               stdout=subprocess.PIPE, text=True)
    try:
        yield re.search(r"http://\S+", process.stdout.readline()).group()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


# ---- Those who download -------------------------------------------------------------------------

class Downloads:
    """Everyone's command, from one server, into a directory of its own below `place`."""

    def __init__(self, url, model, place, hf):
        self.url, self.model, self.place, self.hf = url, model, place, hf
        self.bytes = sum(path.stat().st_size for path in model.iterdir())
        self.env = {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "HF_ENDPOINT": url, "NO_COLOR": "1", "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": ""}

    def run(self, command, **changes):
        """Seconds, and what was said."""
        os.sync()
        begin = time.perf_counter()
        done = subprocess.run(list(map(str, command)), env=self.env | changes, text=True,
                              capture_output=True, check=False)
        seconds = time.perf_counter() - begin
        if done.returncode != 0:
            sys.exit(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return seconds, done.stdout

    def check(self, root):
        """All of it is there."""
        found = sum(path.stat().st_size for path in root.rglob("*")
                    if not path.is_symlink() and path.is_file())
        if found < self.bytes:
            sys.exit(f"{root} holds {found} bytes of {self.bytes}")

    def wload(self, workers, root):
        return self.run([WLOAD, "fetch", f"hf://{REPO}", "--max-workers", workers,
                         "--cache-dir", root])[0]

    def hf_download(self, workers, root):
        return self.run([self.hf, "download", REPO, "--max-workers", workers,
                         "--cache-dir", root])[0]

    def aria2c(self, workers, root):
        count = min(workers, ARIA_CONNECTIONS_MAX)
        files = min(count, len(list(self.model.iterdir())))
        urls = root.with_name("urls")
        urls.write_text("".join(f"{self.url}/{REPO}/resolve/main/{path.name}\n"
                                for path in sorted(self.model.iterdir())))
        return self.run(["aria2c", f"-x{count}", f"-s{count}", f"-j{files if count < 16 else 16}",
                         "--file-allocation=falloc", "-q", "-d", root, "-i", urls])[0]

    def roof(self, workers, root):
        """By `wload bench`, which wants the model on this machine, too."""
        plain = root / "plain" / REPO
        plain.parent.mkdir(parents=True)
        plain.symlink_to(self.model)
        said = self.run([WLOAD, "bench", f"hf://{REPO}", "--runs", "1", "--only", "network",
                         "--device", "host", "--max-workers", workers, "--json", "-"],
                        WLOAD_CACHE=str(root / "plain"), TMPDIR=str(root))[1]
        row, = json.loads(said)["rows"]
        if "absent" in row:
            sys.exit(f"no roof: {row['absent']}")
        return row["pairs"][0]["roof_seconds"]


CONTENDERS = {"roof": Downloads.roof, "wload fetch": Downloads.wload,
              "aria2c": Downloads.aria2c, "hf download": Downloads.hf_download}


def rounds_of(downloads, workers, rounds):
    """{contender: [GB/s]}, a figure for each round."""
    found = {name: [] for name in CONTENDERS}
    for number in range(rounds):
        for name in random.sample(list(CONTENDERS), len(CONTENDERS)):
            with tempfile.TemporaryDirectory(dir=downloads.place) as directory:
                root = pathlib.Path(directory, "downloaded")
                root.mkdir()
                seconds = CONTENDERS[name](downloads, workers, root)
                if name != "roof":
                    downloads.check(root)
            found[name].append(downloads.bytes / seconds / 1e9)
            print(f"round {number + 1} of {rounds}, {workers} connections: {name}: "
                  f"{found[name][-1]:.3f} GB/s", file=sys.stderr, flush=True)
    return found


# ---- The tables ---------------------------------------------------------------------------------

def ratio(ours, theirs):
    ratios = [our / their for our, their in zip(ours, theirs)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def loopback_table(found):
    yield "| | GB/s: median | min | max | wload's speed / its |"
    yield "|---|---|---|---|---|"
    for name, speeds in found.items():
        against = "" if name == "wload fetch" else ratio(found["wload fetch"], speeds)
        yield (f"| {name} | {statistics.median(speeds):.2f} | {min(speeds):.2f} | "
               f"{max(speeds):.2f} | {against} |")


def distant_table(found_by_workers):
    yield ("| connections | limit MB/s | roof MB/s | wload MB/s | of the limit | of the roof | "
           "aria2c MB/s | hf MB/s |")
    yield "|---|---|---|---|---|---|---|---|"
    for workers, found in found_by_workers.items():
        median = {name: statistics.median(speeds) * 1000 for name, speeds in found.items()}
        limit = workers * RATE / 1e6
        yield (f"| {workers} | {limit:.0f} | {median['roof']:.0f} | {median['wload fetch']:.0f} | "
               f"{median['wload fetch'] / limit:.2f} | "
               f"{median['wload fetch'] / median['roof']:.2f} | {median['aria2c']:.0f} | "
               f"{median['hf download']:.0f} |")


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True,
                          check=True).stdout.split("\n")[0].strip()


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") / 2**30
    return f"{os.cpu_count()} x {cpu}, {memory:.0f} GiB, Linux {platform.release()}"


def say(lines):
    for line in lines:
        print(line, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("small", type=pathlib.Path)
    parser.add_argument("large", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["loopback", "distant"])
    parser.add_argument("--place", type=pathlib.Path)
    arguments = parser.parse_args()
    small, large = arguments.small.resolve(), arguments.large.resolve()
    place = arguments.place or large.parent
    hf = judge.python_of(judge.HUB).with_name("hf")
    say(["# Downloads beside others", "",
         f"{datetime.date.today()}, {machine()}; {first_line(WLOAD, '--version')}, "
         f"{judge.HUB['whole'][0]}, {first_line('aria2c', '--version')}.",
         f"Medians over {arguments.rounds} rounds.  Made by `bench/peers/network`."])
    if arguments.only != "distant":
        with nginx(large) as url:
            downloads = Downloads(url, large, place, hf)
            found = rounds_of(downloads, CONNECTIONS, arguments.rounds)
        say(["", f"## From nginx on loopback, {downloads.bytes / 1e9:.2f} GB, "
             f"{CONNECTIONS} connections", "", *loopback_table(found)])
    if arguments.only != "loopback":
        found = {}
        for workers in WORKERS:
            model = large if workers >= LARGE_FROM else small
            with slow_server(model) as url:
                found[workers] = rounds_of(Downloads(url, model, place, hf), workers,
                                           arguments.rounds)
        say(["", f"## {RATE / 1e6:.0f} MB/s for each connection, {LATENCY_MS} ms before each "
             "answer", "", *distant_table(found)])


if __name__ == "__main__":
    main()
