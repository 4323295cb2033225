#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: whatever a hub or its CDN does, `wload fetch` ends as it should: with the right exit code,
one line that says what is wrong, a cache that is right, and the token and the signed addresses
nowhere.

Method: each row of fault_cases.py is a fault server of its own and a fetch from it into a cache of
its own, once quiet and once with -vv; the functions below do the same for what takes several
steps, and for `wload load`.  After every run the cache is judged, what was printed is searched for
secrets, and so are the requests that the CDN got.  Many run side by side, for most of them wait.
`test_faults.py TEXT` runs those alone whose name holds the text.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import harness

harness.need_program()

import cache_judge  # noqa: E402
import fault_cases as table  # noqa: E402
from fault_server import Repo  # noqa: E402
from hub_run import Run, hashes, judge_failed, run_all, run_flow  # noqa: E402


# ---- The table ---------------------------------------------------------------------------------

def run_case(case, *options):
    with contextlib.ExitStack() as stack:
        run = Run(stack, [case.repo], case.rules, **case.server)
        spec = case.spec or f"hf://{case.repo.name}"
        run.fetch(spec, *case.arguments, *options, code=1 if case.says else 0, says=case.says,
                  **case.environment)
        if not case.says:
            run.judge(case.repo)
        else:
            judge_failed(run, case)
        for where, (least, most) in case.counts.items():
            listener, _, path = where.partition(" ")
            count = run.count(listener, path)
            assert least <= count <= most, f"{count} requests of {where}, not {least} to {most}"


# ---- What takes several steps ------------------------------------------------------------------

FLOWS = []


def flow(function):
    FLOWS.append((function.__name__.replace("_", " "), function))
    return function


@flow
def the_judge_finds_what_is_wrong(stack):
    run = Run(stack, [table.MODEL])
    run.fetch("hf://org/model")
    repo = run.cache / "models--org--model"
    link = repo / "snapshots" / table.MODEL.commit / "config.json"
    target = os.readlink(link)
    blob = repo / "blobs" / os.path.basename(target)
    damages = [
        (lambda: (run.cache / "wload.tmp").touch(), (run.cache / "wload.tmp").unlink),
        (lambda: (repo / "version").touch(), (repo / "version").unlink),
        (lambda: (repo / "blobs/half").touch(), (repo / "blobs/half").unlink),
        (lambda: (repo / "refs/main").write_text(f"{table.MODEL.commit}\n"),
         lambda: (repo / "refs/main").write_text(table.MODEL.commit)),
        (lambda: relink(link, blob), lambda: relink(link, target)),
        (lambda: blob.rename(blob.with_suffix(".x")), lambda: blob.with_suffix(".x").rename(blob)),
        (lambda: blob.write_bytes(b"{}"),
         lambda: blob.write_bytes(table.CONTENTS["config.json"])),
    ]
    for number, (damage, repair) in enumerate(damages):
        damage()
        assert list(cache_judge.findings(run.cache)), f"damage {number} was not seen"
        repair()
        assert not list(cache_judge.findings(run.cache)), f"repair {number}"
    left_over = repo / "blobs" / f"{table.HASH}.01234567.incomplete"
    left_over.touch()
    run.judge(table.MODEL, may_have_partials=True)
    try:
        run.judge(table.MODEL)
    except AssertionError:
        return
    raise AssertionError("a partial file was not seen")


def relink(link, target):
    link.unlink()
    link.symlink_to(target)


@flow
def a_pinned_commit_asks_once(stack):
    run = Run(stack, [table.MODEL])
    pinned = f"hf://org/model@{table.MODEL.commit}"
    run.fetch(pinned)
    asked = len(run.server.log.requests())
    assert run.count("hub", table.INFO) == 0 and run.count("hub", table.TREE) == 1
    run.fetch(pinned)
    assert len(run.server.log.requests()) == asked, "the second fetch asked"
    run.judge(table.MODEL, ref=None)
    # The listing alone is enough to bring back a file that is gone.
    os.unlink(run.cache / "models--org--model" / "blobs" / table.HASH)
    run.fetch(pinned)
    assert run.count("hub", table.TREE) == 1, "the listing was not kept"
    run.judge(table.MODEL, ref=None)


@flow
def a_branch_that_moves(stack):
    run = Run(stack, [table.MODEL])
    run.fetch("hf://org/model")
    newer = Repo("org/model", table.CONTENTS | {"config.json": b'{"new": 1}'})
    run.server.repos["models", "org/model"] = newer
    run.server.files |= {file.hash: file for file in newer.files.values()}
    before = run.count("cdn")
    told = json.loads(run.wload("fetch", "hf://org/model", "--dry-run", "--json"))["snapshots"][0]
    assert told["missing_bytes"] == len(newer.files["config.json"].data), told
    run.fetch("hf://org/model")
    assert run.count("cdn") == before, "what had not changed was downloaded again"
    have = cache_judge.published(run.cache, "org/model", newer.commit)
    assert have == hashes(newer), have
    assert not list(cache_judge.findings(run.cache))
    # With the hub in trouble, what is here is what there is.
    run.server.rules.add(table.rule(table.reply(503), {"listener": "hub"}))
    run.wload("load", "hf://org/model", "--device", "host", "--json", says=".")


@flow
def offline(stack):
    run = Run(stack, [table.MODEL])
    for endpoint in (run.server.url, "http://127.0.0.1:1"):
        run.fetch("hf://org/model", code=1, says="network is off", HF_HUB_OFFLINE="1",
                  HF_ENDPOINT=endpoint)
        run.fetch("hf://org/model", "--offline", code=1, says="network is off",
                  HF_ENDPOINT=endpoint)
    assert run.server.log.requests() == [], "offline, and it asked"
    run.fetch("hf://org/model")
    asked = len(run.server.log.requests())
    outs = [run.wload("resolve", "hf://org/model", HF_HUB_OFFLINE="1", HF_ENDPOINT=endpoint)
            for endpoint in (run.server.url, "http://127.0.0.1:1")]
    assert outs[0] == outs[1] and table.MODEL.commit in outs[0], outs
    run.wload("load", "hf://org/model", "--device", "host", HF_HUB_OFFLINE="1")
    assert len(run.server.log.requests()) == asked, "offline, and it asked"
    run.judge(table.MODEL)


NO_HUB = [table.reply(302, Location="{cdn}/login"), table.reply(302, Location="{hub}/again?x"),
          table.reply(303), table.reply(408), table.reply(511), {"drop": True},
          table.reply(200, "<html>log in</html>"), table.reply(200, '{"sha": "main"}'),
          {"set": {"Content-Encoding": "gzip"}}]
REFUSALS = [table.reply(status) for status in (400, 401, 403, 404, 407, 418)]


@flow
def what_is_no_hub(stack):
    """A proxy or a captive portal answers: what is here is taken, and nothing of the answer."""
    run = Run(stack, [table.MODEL])
    run.fetch("hf://org/model")
    run.fetch("hf://org/model", "--local-dir", "{home}/plain")
    for trees in [*run.home.rglob("trees/*.json")]:
        trees.unlink()  # a commit alone is reason to ask
    asked = run.count("cdn")
    specs = ["hf://org/model"], [f"hf://org/model@{table.MODEL.commit}"]
    for spec in *specs, [*specs[0], "--local-dir", "{home}/plain"]:
        for action in NO_HUB + REFUSALS:
            run.server.rules.rules.clear()
            run.server.rules.add(table.rule(action, {"listener": "hub"}))
            if action in REFUSALS:
                run.fetch(*spec, code=1, says="HTTP 4")
                continue
            told, = json.loads(run.fetch(*spec, says="warning: "))["snapshots"]
            assert told["note"].startswith("the hub could not be asked: "), (spec, action, told)
    assert run.count("cdn") == asked, "it went where the answer led"
    run.judge(table.MODEL)


@flow
def a_hub_that_lists_what_cannot_be(stack):
    """It is a hub, and what it says of a newer commit is no reason to take the one before."""
    run = Run(stack, [table.MODEL])
    run.fetch("hf://org/model")
    run.server.repos["models", "org/model"] = Repo("org/model", {"config.json": b"new"},
                                                   tree=[table.entry("../x")])
    run.fetch("hf://org/model", code=1, says="no name for a file")


def digests(repo):
    data = bytes(repo.files["model.safetensors"].data)
    length = int.from_bytes(data[:8], "little")
    return {name: hashlib.sha256(data[8 + length + tensor["data_offsets"][0]:
                                      8 + length + tensor["data_offsets"][1]]).hexdigest()
            for name, tensor in json.loads(data[8:8 + length]).items()}


@flow
def load_through_faults(stack):
    repo = Repo("org/model", table.CONTENTS | {"pytorch_model.bin": b"not wanted"})
    run = Run(stack, [repo], [table.once(table.cut(500000, "reset"), table.CDN),
                              table.once(table.reply(502), table.CDN, 1),
                              table.once({"revoke": True}, table.CDN, 2)])
    trace = f"{run.home}/trace.json"
    out = run.wload("load", "hf://org/model", "--device", "host", "--json", "--digest",
                    "--trace", trace)
    assert json.loads(out)["digests"] == digests(repo)
    cache_judge.check(run.cache, "org/model", repo.commit, hashes(table.MODEL))
    run.fetch("hf://org/model")
    run.judge(repo)


@flow
def load_of_wrong_content(stack):
    run = Run(stack, [table.MODEL], [table.rule({"flip": 600000}, table.CDN)])
    run.wload("load", "hf://org/model", "--device", "host", "--json", code=1, says="hash")
    assert list(cache_judge.findings(run.cache)) == [] and cache_judge.partials(run.cache) == []
    assert "model.safetensors" not in cache_judge.published(run.cache, "org/model",
                                                            table.MODEL.commit)


@flow
def what_came_is_kept_for_the_next(stack):
    run = Run(stack, [table.LARGE], [table.rule(table.reply(503), table.CDN, first=1)])
    run.fetch("hf://org/large", "--max-workers", "1", code=1, says="503")
    assert cache_judge.partials(run.cache) != []
    run.server.rules.rules.clear()
    run.fetch("hf://org/large")
    run.judge(table.LARGE)
    sent = run.server.log.bytes(listener="cdn")
    assert sent <= table.LARGE.size() * 1.1, f"{sent} bytes for {table.LARGE.size()}"


@flow
def a_partial_file_of_lies(stack):
    """Somebody damaged what a broken-off fetch left: found by the hash, and brought again."""
    run = Run(stack, [table.LARGE], [table.rule(table.reply(404), table.CDN, first=1)])
    run.fetch("hf://org/large", "--max-workers", "1", code=1, says="404")
    partial, = cache_judge.partials(run.cache)
    with open(partial, "r+b") as file:
        for offset in range(0, table.LARGE.size(), 100000):
            file.seek(offset)
            file.write(b"lies")
    run.server.rules.rules.clear()
    run.fetch("hf://org/large")
    run.judge(table.LARGE)


@flow
def many_files_over_pages(stack):
    run = Run(stack, [table.MANY], page_entries=300)
    run.fetch("hf://org/many")
    run.judge(table.MANY)
    assert run.count("hub", "/tree/") == 4, run.count("hub", "/tree/")


@flow
def names_that_differ_in_case(stack):
    """Two files here; a file system that takes them for one is for the unit test of listings."""
    repo = Repo("org/model", {"README": b"upper", "readme": b"lower", "A/x": b"1", "a/y": b"2"})
    run = Run(stack, [repo])
    run.fetch("hf://org/model")
    run.judge(repo)


@flow
def a_repository_of_nothing(stack):
    empty = Repo("org/model", {})
    run = Run(stack, [empty])
    run.fetch("hf://org/model", code=1, says="org/model")
    zero = Repo("org/zero", {"a": b"", "b/c.safetensors": b""})
    run = Run(stack, [zero])
    run.fetch("hf://org/zero")
    run.judge(zero)
    assert run.count("cdn") == 0, "a file without bytes was asked for"


@flow
def datasets_and_branches(stack):
    repo = Repo("org/data", table.CONTENTS, kind="datasets")
    repo.revisions["refs/pr/1"] = repo.commit
    run = Run(stack, [repo])
    run.fetch("hf://datasets/org/data", "--revision", "refs/pr/1")
    run.judge(repo, kind="datasets", ref="refs/pr/1")


@flow
def a_plain_directory(stack):
    run = Run(stack, [table.MODEL], [table.once(table.cut(500000, "reset"), table.CDN)])
    plain = run.home / "plain"
    run.fetch("hf://org/model", "--local-dir", "{home}/plain")
    for path, file in table.MODEL.files.items():
        assert (plain / path).read_bytes() == bytes(file.data), path
        assert not (plain / path).is_symlink(), path
    assert cache_judge.partials(plain) == [] and not run.cache.exists()
    asked = run.count("cdn")
    run.fetch("hf://org/model", "--local-dir", "{home}/plain")
    assert run.count("cdn") == asked, "what was there was downloaded again"


# ---- Where the token goes ----------------------------------------------------------------------

def redirect_weights(location):
    headers = {"Location": location, "X-Repo-Commit": table.MODEL.commit,
               "X-Linked-Etag": f'"{table.HASH}"'}
    return table.rule({"status": 302, "headers": headers}, table.on(table.RESOLVE))


@flow
def a_redirect_to_another_host_has_no_token(stack):
    address = f"/files/{table.HASH}?X-Sig={{secret}}-1"
    for target, has_token in (("{hub}", True), ("{localhost}", False), ("{cdn}", False)):
        run = Run(stack, [table.MODEL], [redirect_weights(target + address)])
        run.fetch("hf://org/model")
        run.judge(table.MODEL)
        asked = (run.server.log.requests(path="/files/"))
        assert asked, target
        for request in asked:
            assert ("authorization" in request["headers"]) == has_token, (target, request)
        for request in run.server.log.requests(path="^/api/"):
            assert request["headers"]["authorization"] == f"Bearer {harness.TOKEN}", request


@flow
def no_token_where_none_is_wanted(stack):
    for changes in (table.ANONYMOUS, {"HF_TOKEN": None, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}):
        run = Run(stack, [table.MODEL])
        run.fetch("hf://org/model", **changes)
        assert not [request for request in run.server.log.requests()
                    if "authorization" in request["headers"]]
    for token in ("two words", "line\r\nX-Injected: 1", "\x7f"):
        run = Run(stack, [table.MODEL])
        run.fetch("hf://org/model", code=1, says="token", HF_TOKEN=token)
        assert run.server.log.requests() == []


@flow
def no_token_that_nobody_would_send(stack):
    """What is here is loaded; what is not is asked for by nobody else than who was meant."""
    load = ("load", "hf://org/model", "--device", "host", "--json")
    run = Run(stack, [table.MODEL])
    run.fetch("hf://org/model")
    asked = len(run.server.log.requests())
    for wrong in ({"HF_TOKEN": "a\x01b"}, {"HF_TOKEN": None, "HF_OIDC_RESOURCE": "x"}):
        run.wload(*load, **wrong)
        weights, = run.cache.rglob("snapshots/*/model.safetensors")
        target = os.readlink(weights)
        weights.unlink()
        for arguments in (load, (*load, "--no-cache"), ("fetch", "hf://org/model"),
                          ("inspect", "hf://org/model")):
            run.wload(*arguments, code=1, says="token", **wrong)
        weights.symlink_to(target)
    assert len(run.server.log.requests()) == asked


@flow
def a_password_in_the_endpoint(stack):
    run = Run(stack, [table.MODEL])
    endpoint = run.server.url.replace("http://", f"http://user:{run.server.secret}@")
    run.fetch("hf://org/model", "-vv", code=1, says="HF_ENDPOINT", HF_ENDPOINT=endpoint)
    assert run.server.log.requests() == []


def certificates(folder):
    """An authority and a server of its own: 127.0.0.1 and hub.test."""
    def openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr

    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:hub.test\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new_key, "-subj", "/CN=authority", "-keyout", "ca.key", "-out",
            "ca.pem", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
            "keyUsage=critical,keyCertSign")
    openssl("req", *new_key, "-subj", "/CN=server", "-keyout", "key", "-out", "request")
    openssl("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-extfile", "names", "-out", "certificate")
    return str(folder / "ca.pem"), (str(folder / "certificate"), str(folder / "key"))


@flow
def https(stack):
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    authority, pair = certificates(folder)
    trusting = {"SSL_CERT_FILE": authority}

    run = Run(stack, [table.MODEL], [table.once(table.cut(500000, "reset"), table.CDN)], tls=pair,
              cdn_tls=pair)
    run.fetch("hf://org/model", **trusting)
    run.judge(table.MODEL)

    run = Run(stack, [table.MODEL], tls=pair, cdn_tls=pair)
    run.fetch("hf://org/model", code=1, says="certificate")
    assert run.server.log.requests() == [], "it spoke with somebody unknown"

    # From https to http: refused, on the way to a file as on the way to a listing.
    run = Run(stack, [table.MODEL], tls=pair)
    run.fetch("hf://org/model", code=1, says="https", **trusting)
    assert run.count("cdn") == 0, "it went on over http"
    plain = run.server.url.replace("https", "http")
    run = Run(stack, [table.MODEL], [table.rule(table.reply(307, Location=plain + "/api/x"),
                                                table.on(table.TREE))], tls=pair)
    run.fetch("hf://org/model", code=1, says="http", **trusting)

    # Through a proxy there is a tunnel; the proxy sees neither token nor address.
    inner = Run(stack, [table.MODEL], tls=pair, cdn_url="https://hub.test")
    proxy = Run(stack, [], tunnel_to=("127.0.0.1", inner.server.listeners[0].server_address[1]))
    inner.fetch("hf://org/model", HF_ENDPOINT="https://hub.test", https_proxy=proxy.server.url,
                **trusting)
    inner.judge(table.MODEL)
    for request in proxy.server.log.requests():
        assert request["method"] == "CONNECT" and request["target"] == "hub.test:443", request
        assert harness.TOKEN not in str(request), request


@flow
def a_proxy_for_http(stack):
    for changes, has_token in (({}, False), ({"WLOAD_ALLOW_HTTP_TOKEN": "1"}, True)):
        run = Run(stack, [table.MODEL], cdn_url="http://cdn.test")
        run.fetch("hf://org/model", HF_ENDPOINT="http://hub.test", http_proxy=run.server.url,
                  says="token|http://hub.test", **changes)
        run.judge(table.MODEL)
        for request in run.server.log.requests():
            assert request["form"] == "absolute", request
            is_hub = request["headers"]["host"] == "hub.test"
            assert ("authorization" in request["headers"]) == (has_token and is_hub), request


# ---- All of them -------------------------------------------------------------------------------

def everything():
    for case in table.REFUSED + table.RETRIED + table.GARBAGE + table.HOSTILE:
        yield case.name, lambda case=case: run_case(case)
        if case.is_loud:
            yield f"{case.name}, -vv", lambda case=case: run_case(case, "-vv")
    for name, function in FLOWS:
        yield name, lambda function=function: run_flow(function)


sys.exit(run_all(everything()))
