# SPDX-License-Identifier: Apache-2.0
"""A server that misbehaves, wload run against it, and many such tests side by side."""
import concurrent.futures
import contextlib
import pathlib
import re
import sys
import tempfile
import traceback

import harness  # which finds the next two
import cache_judge
from fault_server import FaultServer

AT_ONCE = 16


class Run:
    """A server, a home with a cache, and what wload said last."""

    def __init__(self, stack, repos, rules=(), **server):
        self.home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.cache = self.home / "hub"
        self.server = stack.enter_context(
            FaultServer(repos, rules, **({"tokens": [harness.TOKEN]} | server)))
        self.done = None

    def wload(self, *arguments, code=0, says="", **environment):
        """Run it; the exit code, the line on stderr and the absence of secrets are checked."""
        arguments = [argument.replace("{home}", str(self.home)) for argument in arguments]
        self.done = harness.run_wload(
            arguments, harness.environment(self.server.url, self.home, **environment))
        out, err = self.done.stdout.decode(), self.done.stderr.decode()
        self.find_secrets(out + err)
        assert self.done.returncode == code, f"exit {self.done.returncode}, not {code}: {err}"
        lines = err.splitlines()
        if code == 0 and "-vv" not in arguments:
            assert not lines or says and re.search(says, err), f"said: {err}"
        if code != 0:
            assert lines and lines[-1].startswith("wload: "), f"said: {err!r}"
            assert re.search(says, lines[-1]), f"{lines[-1]!r} has no {says!r}"
            assert "-vv" in arguments or len(lines) == 1, f"said more than a line: {err}"
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", err), f"control characters: {err!r}"
        return out

    def fetch(self, *arguments, **expected):
        return self.wload("fetch", "--json", *arguments, **expected)

    def find_secrets(self, text):
        for secret in (harness.TOKEN, self.server.secret, "X-Sig"):
            assert secret not in text, f"'{secret}' was printed: {text}"
        for path in self.home.rglob("*"):
            if path.is_file() and path.stat().st_size < 1 << 20:
                data = path.read_bytes()
                assert self.server.secret.encode() not in data, f"a signed address: {path}"
                assert harness.TOKEN.encode() not in data, f"the token: {path}"
        for request in self.server.log.requests():
            is_hub = request["listener"] == "hub" and not re.search(
                "^localhost", request["headers"].get("host", ""))
            assert is_hub or "authorization" not in request["headers"], f"the token: {request}"

    def count(self, listener, path=""):
        return len(self.server.log.requests(listener=listener, path=path))

    def judge(self, repo, **options):
        cache_judge.check(self.cache, repo.name, repo.commit, hashes(repo), **options)


def hashes(repo):
    return {path: file.hash for path, file in repo.files.items()}


def judge_failed(run, case):
    """Nothing but whole files of the repository, no ref, and partial files only where useful."""
    have = cache_judge.published(run.cache, "org/model", case.repo.commit)
    right = hashes(case.repo)
    allowed = right if case.publishes is None else {name: right[name] for name in case.publishes}
    assert have.items() <= allowed.items(), f"published: {have}"
    cache_judge.check(run.cache, case.repo.name, case.repo.commit, have, ref=None,
                      may_have_partials=case.keeps)
    dropped = [path for path in cache_judge.partials(run.cache)
               if case.drops and right[case.drops] in path]
    assert not dropped, f"left over: {dropped}"
    left = sorted(path.name for path in run.home.iterdir())
    assert set(left) <= {"hub", "plain"}, f"outside the cache: {left}"


def run_flow(function):
    with contextlib.ExitStack() as stack:
        function(stack)


def run_all(everything):
    """(name, function) each, those alone whose name holds the argument; returns the exit code."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [(name, pool.submit(function)) for name, function in everything if wanted in name]
        for name, run in runs:
            try:
                run.result()
            except Exception as error:  # the others shall be heard, too
                failed += 1
                where = traceback.extract_tb(error.__traceback__)[-1].lineno
                print(f"{name}: {type(error).__name__} at line {where}: {error}", file=sys.stderr)
    print(f"{len(runs) - failed} of {len(runs)} as they should be")
    return 1 if failed or not runs else 0
