# SPDX-License-Identifier: Apache-2.0
"""Series of runs of one command into one cache, each killed with kill -9 at a moment drawn from a
seed: when the server has sent so many bytes more, or so many microseconds after the first
request.  After each kill the cache is judged; the next run must go on from what is there.  Once
the repository is whole, a new cache is begun.  WLOAD_KILLS is how many kills; the script's argument
is another seed.
"""
import os
import pathlib
import random
import signal
import sys
import tempfile

import harness  # which finds the next two
import cache_judge
from fault_server import FaultServer

AGAIN_MAX = 24 * 1000 * 1000
RATE = 160 << 20
SERVER_S = 60


def on_their_way(server):
    """Bytes that have left the server and that nobody has read: while the disk is busy, tens of MB
    wait in the sockets, and whoever is killed has never received them."""
    ports = {listener.server_address[1] for listener in server.listeners}
    count = 0
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, _, queues = line.split()[1:5]
        if ports & {int(address.split(":")[1], 16) for address in (local, remote)}:
            count += sum(int(queue, 16) for queue in queues.split(":"))
    return count


def received_since(server, left_before):
    """By a client that reads no more; up to 256 KiB a connection of it are still to be sent."""
    while True:
        left, waiting = server.log.left_bytes(), on_their_way(server)
        if server.log.left_bytes() == left:
            return left - left_before - waiting


class Series:
    """Runs into one cache until it is whole."""

    def __init__(self, repo, server, home, command, judge):
        self.repo, self.server, self.home, self.command = repo, server, home, command
        self.cache, self.kills, self.sent_before = home / "hub", 0, server.log.sent_bytes
        self.right = {path: file.hash for path, file in repo.files.items()}
        self.whole, self.judge_report, self.unread_bytes = set(), judge, 0

    def start(self):
        return harness.start_wload(self.command,
                                   harness.environment(self.server.url, self.home))

    def kill(self, process, draw):
        """At the moment drawn; False: the run was over before."""
        log, sent, asked = self.server.log, self.server.log.sent_bytes, len(self.server.log.entries)
        left = log.left_bytes()
        if draw.random() < 0.7:
            more = draw.randrange(self.repo.size() // 5)
            self.wait(process, lambda: log.sent_bytes >= sent + more)
        else:
            self.wait(process, lambda: len(log.entries) > asked)
            log.wait(lambda _: process.poll() is not None, draw.random() * 0.2)
        process.send_signal(signal.SIGSTOP)
        received = received_since(self.server, left)
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
        if process.returncode == 0:
            return False
        assert process.returncode == -signal.SIGKILL, f"{process.returncode}: {err} {out}"
        self.kills += 1
        self.unread_bytes += log.sent_bytes - sent - received
        return True

    def wait(self, process, condition):
        """The end of the process wakes nobody, so it is looked at ten times a second."""
        for _ in range(SERVER_S * 10 * harness.PACE):
            if self.server.log.wait(lambda _: condition(), 0.1) or process.poll() is not None:
                return
        raise AssertionError("it does not go on")

    def judge(self):
        """Whole blobs alone, links that resolve, and nothing lost that was there."""
        wrong = list(cache_judge.findings(self.cache))
        assert not wrong, "\n".join(wrong)
        have = cache_judge.published(self.cache, self.repo.name, self.repo.commit)
        assert have.items() <= self.right.items(), have
        assert self.whole <= set(have), f"lost: {self.whole - set(have)}"
        self.whole = set(have)

    def finish(self):
        done = harness.run_wload(self.command, harness.environment(self.server.url, self.home))
        assert done.returncode == 0 and not done.stderr, done.stderr.decode()
        self.judge_report(done.stdout)
        cache_judge.check(self.cache, self.repo.name, self.repo.commit, self.right)
        again = (self.server.log.sent_bytes - self.sent_before - self.repo.size() -
                 self.unread_bytes)
        assert again <= AGAIN_MAX * self.kills + (1 << 20), \
            f"{again} bytes were received again for {self.kills} kills"
        return again


def run(repo, command, kill_count, judge=lambda report: None):
    """`judge` gets what each run that was not killed printed."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    kill_count = int(os.environ.get("WLOAD_KILLS", kill_count))
    try:
        print(f"seed {seed}: {run_series(repo, command, kill_count, judge, random.Random(seed))}")
    except AssertionError as error:
        sys.exit(f"{error}\n(seed {seed})")


def run_series(repo, command, kill_count, judge, draw):
    kills = series_count = again = partial_count = 0
    with FaultServer([repo], rate=RATE, tokens=[harness.TOKEN]) as server:
        while kills < kill_count:
            with tempfile.TemporaryDirectory() as home:
                series = Series(repo, server, pathlib.Path(home), command, judge)
                series_count += 1
                while kills + series.kills < kill_count and series.kill(series.start(), draw):
                    partial_count += bool(cache_judge.partials(series.cache))
                    series.judge()
                again += series.finish()
                kills += series.kills
    assert partial_count > kill_count // 4, "the kills came too early or too late to prove anything"
    return (f"{kills} kills in {series_count} downloads of {repo.size() >> 20} MiB, "
            f"{partial_count} with a file half there; "
            f"{max(again, 0) / 1e6 / max(kills, 1):.1f} MB a kill received again")
