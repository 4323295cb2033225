#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: `wload load` reports what it did: every field, the digests, the trace, the log; and stays
# silent on standard error otherwise.
# Method: load a sharded model in several ways; compare the JSON with the files and with itself.
set -euo pipefail

if [ -z "${WLOAD:-}" ]; then
    echo "skipped: this build has no program"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$WLOAD" synth model --size 20M --shards 3 >/dev/null
"$WLOAD" inspect model --json >inspect.json

fail() {
    echo "$*" >&2
    exit 1
}

# load OPTION...: into report.json, with nothing on stderr.
load() {
    "$WLOAD" load model --json "$@" >report.json 2>err || fail "load $*: $(cat err)"
    [ ! -s err ] || fail "load $* said: $(cat err)"
}

# judge EXPRESSION...: each holds for the report `r`, of a model that inspect describes as `m`.
judge() {
    python3 - "$@" <<'PYTHON'
import hashlib
import json
import sys

r = json.load(open("report.json", encoding="utf-8"))
m = json.load(open("inspect.json", encoding="utf-8"))


def digest(tensor):
    with open(tensor["file"], "rb") as file:
        file.seek(tensor["offset"])
        return hashlib.sha256(file.read(tensor["size"])).hexdigest()


for expression in sys.argv[1:]:
    assert eval(expression), f"{expression}: {r}"
PYTHON
}

always=(
    'r["spec"] == "model" and r["variant"] is None'
    'r["seconds"] > 0 and r["runs"][0] == r["seconds"]'
    'abs(r["gb_per_s"] - r["bytes"] / r["seconds"] / 1e9) < 1e-6'
    'r["io"]["direct_bytes"] + r["io"]["buffered_bytes"] >= r["bytes"]'
    'r["reader"] in ("uring", "pread") and r["reader_note"] != ""'
    'r["resident_bytes_before"] >= 0 and r["straight_bytes"] >= 0 and r["staging_bytes"] >= 0'
    'r["peak_rss_bytes"] > 1 << 20 and r["cpu_seconds"] > 0'
    'r["wait_storage_seconds"] >= 0 and r["wait_device_seconds"] >= 0'
)
whole='r["tensors"] == m["tensor_count"] and r["bytes"] == m["bytes"]'
right='r["digests"] == {t["name"]: digest(t) for t in m["tensors"]}'

load --device host --digest
judge "${always[@]}" "$whole" "$right" 'r["device"] == "host" and r["device_index"] == 0'
load --device host --digest --reader pread --io buffered --chunk 64K --staging 64K --queue-depth 1
judge "${always[@]}" "$whole" "$right" 'r["reader"] == "pread" and r["queue_depth"] == 1' \
    'r["io"]["direct_bytes"] == 0'
load --device host --digest --repeat 3 --drop-cache
judge "${always[@]}" "$whole" "$right" 'len(r["runs"]) == 3 and min(r["runs"]) > 0' \
    'len(r["runs_cpu_seconds"]) == 3'
load --device null
judge "${always[@]}" "$whole" 'r["device"] == "null" and "digests" not in r' \
    '0 < r["staging_bytes"] <= 256 << 20'
load --device host --tensor '*layers.0.*' --tensor model.norm.weight --digest
judge "${always[@]}" 'r["tensors"] == 10 and "model.norm.weight" in r["digests"]' \
    'set(r["digests"].items()) < {(t["name"], digest(t)) for t in m["tensors"]}'

# The trace is Chrome's format; there is a read for every byte.
load --device host --trace trace.json --io buffered
python3 - <<'PYTHON'
import json

events = json.load(open("trace.json", encoding="utf-8"))["traceEvents"]
report = json.load(open("report.json", encoding="utf-8"))
reads = [event for event in events if event["name"].startswith("read")]
assert sum(event["args"]["bytes"] for event in reads) >= report["bytes"], events
assert all(event["ph"] == "X" and event["dur"] >= 0 for event in events)
PYTHON

# The log: with -v what was decided; by component in full; never mixed into the report.
"$WLOAD" load model --device host --json -v >report.json 2>err
[[ $(cut -d: -f1 err) == *plan*reader* ]] || fail "-v says: $(cat err)"
judge "${always[@]}"
grep -q '^job: .* read by .* direct, .* buffered' err || fail "-v does not say how it was read"
LD_LIBRARY_PATH=$WLOAD_DOUBLE WLOAD_DOUBLE_FAIL=cuMemHostRegister_v2:0:801 \
    "$WLOAD" load model --device cuda --json -v >report.json 2>err
grep -q '^staging: .* not pinned.*cuMemHostRegister' err || fail "-v is silent on refused pinning"
WLOAD_LOG=plan "$WLOAD" load model --device host --json >report.json 2>err
[ "$(cut -d: -f1 err | sort -u)" = plan ] || fail "WLOAD_LOG=plan says: $(cat err)"

# A name that is not text is told in JSON all the same.
cp -r model "$(printf 'mod\377el')"
"$WLOAD" load "$(printf 'mod\377el')" --device host --json >report.json
judge 'r["spec"] == "mod\\xFFel"'

# A trace that cannot be written is noticed before anything else; one that can be is left alone by a
# load that fails.
mkdir folder
for trace in nowhere/trace.json folder err/trace.json; do
    ! "$WLOAD" load no-such-model --trace $trace >out 2>err || fail "a trace went to $trace"
    [[ ! -s out && $(cat err) = "wload: cannot write '$trace': "* ]] ||
        fail "$trace: $(cat out err)"
done
cp trace.json old.json
for trace in old.json new.json; do
    ! "$WLOAD" load no-such-model --trace $trace 2>err || fail "loaded nothing"
    grep -q no-such-model err || fail "no model, a trace to $trace: $(cat err)"
done
cmp trace.json old.json
[ ! -e new.json ] || fail "a load that failed left an empty trace"

# A report that nobody reads.
got=0
"$WLOAD" load model --device host --json >&- 2>err || got=$?
[[ $got = 1 && $(wc -l <err) = 1 ]] || fail "no standard output: exit $got: $(cat err)"
