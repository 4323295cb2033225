#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: where the control group has little memory a load, a fetch, and a load from a hub come to
# their end, although nobody tells them how much to take.
# Method: a group of 96 MiB without swap, which is first shown to kill who takes more; in it a model
# of 512 MiB, loaded to nowhere, fetched from `wload serve` outside of the group, and loaded while
# it comes; what they took as wload and as the kernel say.
set -euo pipefail

LIMIT=$((96 << 20))
work=$(mktemp -d)
group=
server=
clean_up() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
    if [[ -n $group ]]; then
        rmdir "$group"
    fi
}
trap clean_up EXIT
cd "$work"

skip() {
    echo "skipped: $*"
    exit 77
}

fail() {
    echo "$*" >&2
    exit 1
}

[[ -n ${WLOAD:-} ]] || skip "this build has no program"
[[ -z $WLOAD_SANITIZE ]] || skip "a sanitizer's own memory would be counted"
[[ $(stat -f -c %T .) != tmpfs ]] || skip "files in $work are memory of the group"

# A group beside our own, for one that has processes has no groups below it but at the root.
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
[[ -n $own && -f /sys/fs/cgroup/cgroup.controllers ]] || skip "no control groups of version 2"
parent=/sys/fs/cgroup$(dirname "$own")
grep -qw memory "$parent/cgroup.subtree_control" 2>/dev/null ||
    skip "groups in $parent have no limit of memory"
mkdir "$parent/wload-test-$$" 2>/dev/null || skip "no group can be made in $parent"
group=$parent/wload-test-$$
{ echo $LIMIT >"$group/memory.max"; } 2>/dev/null || skip "no limit can be set in $group"
if [[ -e $group/memory.swap.max ]]; then
    echo 0 >"$group/memory.swap.max"
fi

# inside COMMAND...: in the group.
inside() {
    (echo "$BASHPID" >"$group/cgroup.procs" && exec "$@")
}

count_kills() {
    sed -n 's/^oom_kill //p' "$group/memory.events"
}

(inside true) 2>/dev/null || skip "no process can be moved to $group"
rc=0
inside python3 -c 'b"x" * (200 << 20)' 2>/dev/null || rc=$?
[[ $rc == 137 && $(count_kills) -gt 0 ]] || fail "200 MiB in a group of 96 MiB: $rc"
kills=$(count_kills)

# judge NAME: what report.json and the log in err say of a load.
judge() {
    grep -q "control group's memory limit is $LIMIT$" err || fail "$1: no word of the limit"
    python3 - "$1" $LIMIT <<'PYTHON'
import json
import sys

name, limit = sys.argv[1], int(sys.argv[2])
with open("report.json", encoding="utf-8") as file:
    report = json.load(file)
assert report["bytes"] > 500 << 20, f"{name}: {report}"
assert 0 < report["staging_bytes"] <= limit // 4, f"{name}: {report}"
PYTHON
}

mkdir home
unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_HUB_OFFLINE TRANSFORMERS_OFFLINE AIM_CACHE_PATH HF_TOKEN
unset HUGGING_FACE_HUB_TOKEN WLOAD_CACHE http_proxy HTTP_PROXY all_proxy ALL_PROXY
export HOME=$work/home HF_HOME=$work/home
"$WLOAD" synth model --preset llama --size 512M --shards 3 --seed 11 >/dev/null

for io in direct buffered; do
    for reader in uring pread; do
        # Where the kernel or the file system has no such way there is nothing to judge.
        "$WLOAD" load model --device null --io $io --reader $reader >/dev/null 2>&1 || continue
        inside "$WLOAD" load model --device null --io $io --reader $reader --json -v \
            >report.json 2>err || fail "load, $io, $reader: $(tail -n 3 err)"
        judge "load, $io, $reader"
    done
done

if [[ $("$WLOAD" serve /dev/null 2>&1; "$WLOAD" fetch org/model 2>&1) == *'made without'* ]]; then
    exit
fi
exec {answers}< <(exec "$WLOAD" serve org/model=model)
server=$!
read -r -u "$answers" line
HF_ENDPOINT=$(grep -o 'http://[^ ]*[0-9]' <<<"$line")
export HF_ENDPOINT

for io in auto buffered; do
    inside "$WLOAD" fetch org/model --io $io -v >out 2>err || fail "fetch, $io: $(tail -n 3 err)"
    grep -q "window of .*: the control group's memory limit is $LIMIT$" err ||
        fail "fetch, $io: no word of the limit"
    diff -r model "$(head -n 1 out)" || fail "fetch, $io: files differ"
    rm -r home/hub
    inside "$WLOAD" load org/model --device null --io $io --json -v >report.json 2>err ||
        fail "first load, $io: $(tail -n 3 err)"
    judge "first load, $io"
    rm -r home/hub
done
[[ $(count_kills) == "$kills" ]] || fail "somebody was killed"
