# SPDX-License-Identifier: Apache-2.0
"""The table of test_faults.py: what the server does, and what wload must make of it."""
import dataclasses

import harness  # which finds fault_server
from fault_server import Repo

FILE_BYTES = 1 << 20
CONTENTS = {"config.json": b'{"model_type": "llama"}', "empty.txt": b"",
            "sub/folder/vocab.txt": b"one\ntwo\n",
            "model.safetensors": harness.weights(FILE_BYTES)}
MODEL = Repo("org/model", CONTENTS)
LARGE = Repo("org/large", {"model.safetensors": harness.weights(12 << 20, 1)})  # in several ranges
BLOCKS = Repo("org/blocks", {"model.safetensors": harness.weights(3 << 20, 2)})  # in one range
HASH = MODEL.files["model.safetensors"].hash
OTHER_HASH = "ab" * 32
MANY = Repo("org/many", {f"d{i % 7}/f{i}": b"%d" % i for i in range(1100)})

INFO = "^/api/models/org/model(/revision/[^/]+)?$"
TREE = "^/api/models/org/model/tree/"
RESOLVE = "/resolve/.*/model.safetensors"
CDN = {"listener": "cdn"}
RESUMED = {"listener": "cdn", "range": "bytes=[1-9]"}
ANONYMOUS = {"HF_TOKEN": None}
IMPATIENT = {"HF_HUB_DOWNLOAD_TIMEOUT": str(harness.PACE)}


@dataclasses.dataclass
class Case:
    name: str
    rules: tuple = ()
    says: str = ""  # a regular expression: exit 1 and one line that it matches; "": all is well
    repo: Repo = MODEL
    spec: str = ""                 # "": the repository
    arguments: tuple = ()          # of wload fetch
    environment: dict = dataclasses.field(default_factory=dict)
    # {listener and path: requests at least and at most}
    counts: dict = dataclasses.field(default_factory=dict)
    server: dict = dataclasses.field(default_factory=dict)
    keeps: bool = False     # what has come so far is kept for the next try,
    drops: str = ""         # but not of this file
    publishes: tuple = ()   # files that are there although the fetch failed; None: any
    is_loud: bool = True    # run it also with -vv
    also: object = None     # called with the run


def rule(action, match=None, **when):
    return {"match": match or {}, "action": action, **when}


def once(action, match=None, first=0):
    return rule(action, match, first=first, times=1)


def reply(status, body="", **headers):
    return {"status": status, "body": body,
            "headers": {name.replace("_", "-"): value for name, value in headers.items()}}


def on(path, method="GET"):
    return {"listener": "hub", "path": path, "method": method}


def cut(size, how):
    return {"cut": size, "how": how}


def tree(*entries):
    """A repository that claims to have these entries."""
    return Repo("org/model", CONTENTS, tree=list(entries))


def entry(path, content=b"x", **changes):
    return Repo("x/y", {"f": content}).files["f"].entry(path) | changes


def large_entry(**changes):
    return MODEL.files["model.safetensors"].entry("model.safetensors") | changes


def large_lfs(**changes):
    return large_entry(lfs=large_entry()["lfs"] | changes)


# ---- Answers that a later try makes good -------------------------------------------------------

ALL_ONCE = {"cdn": (2, 2)}

RETRIED = [
    Case("429 with Retry-After, on the API", (once(reply(429, Retry_After="1"), on(INFO)),),
         counts={"hub " + INFO: (2, 2)}),
    Case("429 with RateLimit, on the tree",
         (once(reply(429, RateLimit='"api";r=0;t=0', RateLimit_Policy='"fixed window";"api";q=1'),
               on(TREE)),), counts={"hub " + TREE: (2, 2)}),
    Case("429 from the CDN", (once(reply(429, Retry_After="0"), CDN),), counts=ALL_ONCE),
    Case("429 until a date", (once(reply(429, Retry_After="Sat, 21 Nov 2099 11:00:00 GMT"), CDN),),
         counts=ALL_ONCE),
    Case("408", (once(reply(408), CDN),), counts=ALL_ONCE),
    *[Case(f"{status} from the CDN", (once(reply(status), CDN),), counts=ALL_ONCE)
      for status in (500, 502, 503, 504)],
    *[Case(f"{status} from the API", (once(reply(status), on(path)),))
      for status, path in ((500, INFO), (502, TREE), (503, RESOLVE), (504, "resolve-cache"))],
    Case("connection closed without an answer", (once({"drop": True}, CDN),), counts=ALL_ONCE),
    Case("connection of the API closed without an answer", (once({"drop": True}, on(TREE)),)),
    Case("reset in the body", (once(cut(700000, "reset"), CDN),), counts=ALL_ONCE),
    Case("reset in the body, again and again", (rule(cut(200000, "reset"), CDN, times=4),),
         counts={"cdn": (4, 6)}),
    Case("reset in a text", (once(cut(20, "reset"), on(TREE)),)),
    Case("short body", (once(cut(400000, "close"), CDN),), counts=ALL_ONCE),
    Case("short body in one of several ranges",
         (once(cut(300000, "close"), RESUMED),), repo=LARGE),
    Case("stall", (once(cut(300000, "stall"), CDN),), counts={"cdn": (2, 4)},
         environment=IMPATIENT),
    Case("stall before the first byte", (once(cut(0, "stall"), CDN),), counts={"cdn": (2, 4)},
         environment=IMPATIENT),
    Case("expired address", (once({"revoke": True}, CDN),), counts={"hub " + RESOLVE: (2, 2)}),
    Case("expired address in mid-file",
         (once(cut(500000, "close"), CDN), once({"revoke": True}, RESUMED)),
         counts={"hub " + RESOLVE: (2, 2), "cdn": (3, 3)}),
    Case("expired address of several ranges", (once({"revoke": True}, RESUMED),), repo=LARGE),
    Case("200 for a range", (rule({"whole": True}, CDN),), repo=LARGE),
    Case("200 for the rest of a file", (once(cut(500000, "close"), CDN),
                                        rule({"whole": True}, RESUMED))),
    Case("wrong content, once", (once({"flip": 600000}, CDN),), counts=ALL_ONCE),
    Case("wrong content of several blocks, once", (once({"flip": 2900000}, CDN),), repo=BLOCKS,
         counts=ALL_ONCE),
    Case("wrong content of a small file, once", (once({"flip": 3}, on("resolve-cache.*config")),)),
]

# ---- Answers that no try makes good ------------------------------------------------------------

REFUSED = [
    Case("503 for ever", (rule(reply(503), CDN),), "503.*try again later",
         counts={"cdn": (6, 6)}, keeps=True, publishes=None),
    Case("503 of the API for ever", (rule(reply(503), on(INFO)),), "503",
         counts={"hub " + INFO: (6, 6)}),
    Case("404 from the CDN", (rule(reply(404), CDN),), "404", keeps=True, publishes=None,
         counts={"cdn": (1, 2)}),
    Case("always expired", (rule({"revoke": True}, CDN),), "403.*clock", counts={"cdn": (2, 8)},
         keeps=True, publishes=None),
    # Of six tries; on a busy machine the hub itself may be too late for one.
    Case("always stalls", (rule(cut(0, "stall"), CDN),), "nothing came for", counts={"cdn": (4, 6)},
         keeps=True, publishes=None, is_loud=False, environment=IMPATIENT),
    Case("wrong content, always", (rule({"flip": 600000}, CDN),), "hash", counts=ALL_ONCE,
         publishes=None, keeps=True, drops="model.safetensors"),
    Case("wrong content of a small file, always",
         (rule({"flip": 3}, on("resolve-cache.*config")),), "config.json.*hash", publishes=None,
         keeps=True, drops="config.json"),
    Case("redirect loop", (rule(reply(302, Location="{hub}/org/model/resolve/x/model.safetensors"),
                                on(RESOLVE)),), "redirected too often", keeps=True, publishes=None,
         counts={"hub " + RESOLVE: (2, 11)}),
    Case("redirect loop of the API", (rule(reply(307, Location="?again"), on("^/api/models")),),
         "redirected too often", counts={"hub ": (2, 11)}),
    Case("redirect without Location", (rule(reply(302), on(RESOLVE)),),
         "without an address to go to", keeps=True, publishes=None),
    Case("redirect to another scheme", (rule(reply(302, Location="file:///etc/passwd"),
                                             on(RESOLVE)),), "file:///etc/passwd.*not supported",
         keeps=True, publishes=None),
    Case("redirect to FTP", (rule(reply(302, Location="ftp://127.0.0.1/x"), on(RESOLVE)),),
         "ftp://.*not supported", keeps=True, publishes=None),
    Case("X-Linked-Etag contradicts the tree",
         (rule({"set": {"X-Linked-Etag": f'"{OTHER_HASH}"'}}, on(RESOLVE)),), OTHER_HASH[:16],
         keeps=True, publishes=None, counts={"cdn": (0, 0)}),
    Case("Content-Range begins elsewhere",
         (rule({"set": {"Content-Range": "bytes 1-100/%d" % len(CONTENTS["model.safetensors"])}},
               {"listener": "cdn", "range": "."}), once(cut(5000, "close"), CDN)),
         "asked for", keeps=True, publishes=None),
    Case("Content-Range of another total",
         (rule({"set": {"Content-Range": "bytes 0-99/100"}}, {"listener": "cdn", "range": "."}),
          once(cut(5000, "close"), CDN)), "asked for.* of 100", keeps=True, publishes=None),
    Case("Content-Range that nobody can read",
         (rule({"set": {"Content-Range": "bytes all of them"}},
               {"listener": "cdn", "range": "."}), once(cut(5000, "close"), CDN)),
         "no range that can be read", keeps=True, publishes=None),
    Case("encoded body", (rule({"set": {"Content-Encoding": "gzip"}}, CDN),), "encoded body",
         keeps=True, publishes=None),
    Case("another ETag in mid-file",
         (once(cut(500000, "close"), CDN), rule({"etag": '"other"'}, CDN, first=1)),
         "changed while it was downloaded", keeps=True, publishes=None),
    Case("disabled", says="disabled", repo=Repo("org/model", CONTENTS, is_disabled=True)),
    Case("missing repository", says="org/none.*404.*no such repository", spec="hf://org/none"),
    Case("missing repository, anonymous", says="org/none.*401.*check the name",
         spec="hf://org/none", environment=ANONYMOUS),
    Case("missing revision", says="no such revision", spec="hf://org/model@nowhere"),
    Case("missing entry", says="has no file that the patterns keep", spec="hf://org/model",
         arguments=("--include", "nope*")),
    Case("an entry that is listed and not there", says="gone.txt",
         repo=tree(entry("gone.txt"))),
    Case("gated, anonymous", says="accept its conditions at http.* and log in",
         environment=ANONYMOUS,
         repo=Repo("org/model", CONTENTS, is_gated="open"), keeps=True, publishes=None),
    Case("gated, with a token", says="accept its conditions at http", keeps=True, publishes=None,
         repo=Repo("org/model", CONTENTS, is_gated="closed")),
    Case("private, anonymous", says="org/model.*401.*HF_TOKEN", environment=ANONYMOUS,
         repo=Repo("org/model", CONTENTS, is_private=True)),
    Case("a token that is not accepted", says="the token is not valid",
         environment={"HF_TOKEN": harness.TOKEN + "No"}),
    Case("nobody there", says="127.0.0.1:1", environment={"HF_ENDPOINT": "http://127.0.0.1:1"},
         is_loud=False),
]

# ---- Answers that are no answers ---------------------------------------------------------------

GARBAGE = [
    Case("info is no JSON", (rule(reply(200, "<html>welcome</html>"), on(INFO)),), "JSON"),
    Case("tree is no JSON", (rule(reply(200, "[{]"), on(TREE)),), "page 1.*JSON"),
    Case("tree is no array", (rule(reply(200, "{}"), on(TREE)),), "no list of files"),
    Case("tree holds no objects", (rule(reply(200, "[1, null]"), on(TREE)),), "without type"),
    Case("100 MB of JSON", (rule({"status": 200, "prefix": "[", "repeat": ["0,", 50 << 20],
                                  "suffix": "0]"}, on(TREE)),), "longer", is_loud=False),
    Case("deep JSON", (rule({"status": 200, "repeat": ["[", 100000]}, on(TREE)),), "too deeply"),
    Case("an error in a page for people",
         (rule(reply(404, "<html>" + "\u001b[31m" * 1000 + "</html>"), on(INFO)),), "404"),
    Case("an error with control characters",
         (rule(reply(418, '{"error": "\\u001b[31mred\\u0007\\nline"}'), on(INFO)),), "418"),
    Case("a warning with control characters",
         (rule({"set": {"X-HF-Warning": "topic; \x1b[31mred\x07"}}, {"listener": "hub"}),)),
    Case("a huge header", (rule({"set": {"X-Huge": "x" * 400000}}, on(TREE)),), "tree/.*header"),
    Case("repeating tree pages",
         (rule({"set": {"Link": '<{hub}/api/models/org/model/tree/x?cursor=1>; rel="next"'}},
               on(TREE)),
          rule(reply(200, "[]", Link='<{hub}/api/models/org/model/tree/x?cursor=1>; rel="next"'),
               on(TREE + "x"))), "in a circle", counts={"hub " + TREE: (1, 5)}),
    Case("next page on another host",
         (rule({"set": {"Link": '<{localhost}/api/next>; rel="next"'}}, on(TREE)),),
         "localhost.*another place than the hub", counts={"hub /next": (0, 0)}),
    Case("next page on another port",
         (rule({"set": {"Link": '<{cdn}/api/next>; rel="next"'}}, on(TREE)),),
         "127.0.0.1.*another place than the hub", counts={"cdn": (0, 0)}),
    Case("the API leads elsewhere", (rule(reply(302, Location="{cdn}/api/x"), on(INFO)),),
         "another place than the hub", counts={"cdn": (0, 0)}),
    *[Case(f"commit {commit[:20]!r}",
           (rule(reply(200, '{"id": "org/model", "sha": "%s"}' % commit), on(INFO)),),
           "names no commit")
      for commit in ("../../x", "", "0" * 39, "0" * 41, "g" * 40, "A" * 40, "a/../" * 8)],
    Case("no commit", (rule(reply(200, "{}"), on(INFO)),), "names no commit"),
]

HOSTILE_NAMES = ("../x", "/abs", "a/../../x", "a//b", "a/", ".", "a/./b", "nul\0x", "a\nb",
                 "\x1b[2Jx", "back\\slash", "c:x", "x" * 256,
                 "/".join("y" * 200 for _ in range(30)), "")
HOSTILE = [
    *[Case(f"a file called {name[:20]!r}", says="no name for a file|NUL",
           repo=tree(entry(name)), is_loud=False)
      for name in HOSTILE_NAMES],
    Case("a file and a folder of one name", says="'a' as a file and as a folder",
         repo=tree(entry("a"), entry("a/b"))),
    Case("a file twice", says="'a' twice", repo=tree(entry("a"), entry("a"))),
    *[Case(f"{name} in a plain directory", says="would overwrite", repo=tree(entry(name)),
           arguments=("--local-dir", "{home}/plain"))
      for name in (".git/x", ".GIT/x", ".cache/huggingface/x", ".Cache/HuggingFace/download/x")],
    Case("a hash that is a path", says="no id of its git blob",
         repo=tree(entry("a", oid="../../../x"))),
    Case("a SHA-256 that is a path", says="no SHA-256",
         repo=tree(large_lfs(oid="../" * 21 + "x"))),
    Case("a hash in capitals", says="no SHA-256", repo=tree(large_lfs(oid="AB" * 32))),
    Case("a negative size", says="no size", repo=tree(entry("a", size=-1))),
    Case("a size with a fraction", says="no size", repo=tree(entry("a", size=1.5))),
    Case("a size beyond all disks", says="no size",
         repo=tree(large_entry(size=1 << 62, lfs={"oid": HASH, "size": 1 << 62,
                                                  "pointerSize": 1}))),
    Case("a size that is too large", says="the hub says it has 1048744 bytes, its listing",
         repo=tree(large_entry(size=len(CONTENTS["model.safetensors"]) + 1,
                               lfs={"oid": HASH, "size": len(CONTENTS["model.safetensors"]) + 1,
                                    "pointerSize": 1})), keeps=True),
    Case("a size that is too small", says="the hub says it has 1048744 bytes, its listing",
         repo=tree(large_entry(size=5000, lfs={"oid": HASH, "size": 5000, "pointerSize": 1})),
         keeps=True),
    Case("a small file's size that lies, without a word elsewhere",
         says="0 to 5 of 23 sent", repo=Repo("org/model", CONTENTS, tree=[
             MODEL.files["config.json"].entry("config.json") | {"size": 5}]), keeps=True),
    Case("X-Linked-Etag that is a path",
         (rule({"set": {"X-Linked-Etag": '"../../../x"'}}, on(RESOLVE)),)),
    Case("an ETag with control characters", (rule({"etag": '"\x01\x02"'}, CDN),)),
    Case("long body", (rule({"longer": 5000}, CDN),), says=r"a body of \d+ bytes for",
         keeps=True, publishes=None),
    Case("a body without an end",
         (rule({"longer": 64 << 20, "chunked": True, "whole": True}, CDN),),
         says="more bytes than it promised", keeps=True, publishes=None, is_loud=False),
]
