#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: Ctrl-C in the middle of a load or of synth ends it by that signal, after one line and with
# nothing on standard output; synth leaves nothing behind.
# Method: a file of a terabyte, all hole, takes minutes; send the signal once the work has begun.
set -euo pipefail

if [ -z "${WLOAD:-}" ]; then
    echo "skipped: this build has no program"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$WLOAD" synth model --size 8M >/dev/null
header='{"hole":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}'
printf "\\x$(printf %02x ${#header})\\0\\0\\0\\0\\0\\0\\0%s" "$header" >endless.safetensors
truncate -s $((8 + ${#header} + 1099511627776)) endless.safetensors

fail() {
    echo "$*" >&2
    exit 1
}

# The shell's jobs are born with SIGINT ignored; env gives it back.
start() {
    env --default-signal=INT,TERM "$WLOAD" "$@" >out 2>err &
    pid=$!
}

# caught: whether it is the program by now, and catches the signals; it does so while it reads.
caught() {
    local status
    status=$(cat "/proc/$pid/status") || fail "the load has ended by itself"
    [[ $status =~ ^Name:[[:space:]]+wload && $status =~ SigCgt:[[:space:]]+([0-9a-f]+) ]] &&
        [ $((0x${BASH_REMATCH[1]} & 0x4002)) = $((0x4002)) ]
}

for signal in INT TERM; do
    start load endless.safetensors --device null --json -v
    until caught; do :; done
    kill -s "$signal" "$pid"
    got=0
    wait "$pid" || got=$?
    [ "$got" = $((128 + $(kill -l "$signal"))) ] || fail "a load after SIG$signal: exit $got"
    [ ! -s out ] || fail "a load after SIG$signal wrote to standard output"
    [[ $(tail -n 1 err) == wload:*"memory untouched" ]] || fail "SIG$signal: $(cat err)"
done

# One that is ignored stays so: nohup and the like.
(trap '' INT && exec "$WLOAD" load model --device null --repeat 100 >out 2>err) &
pid=$!
until [[ $(cat "/proc/$pid/comm") == wload ]]; do
    kill -0 "$pid" || fail "the load has ended by itself"
done
kill -s INT "$pid"
got=0
wait "$pid" || got=$?
[[ $got = 0 && -s out ]] || fail "an ignored SIGINT ended the load: exit $got"

start synth new --size 1G
until [ -e new/model.safetensors.incomplete ]; do
    kill -0 "$pid" || fail "synth was too quick to be interrupted"
done
kill -s INT "$pid"
got=0
wait "$pid" || got=$?
[ "$got" = 130 ] || fail "synth after SIGINT: exit $got"
[[ ! -s out && $(wc -l <err) = 1 ]] || fail "synth after SIGINT wrote: $(cat out err)"
[ ! -e new ] || fail "synth after SIGINT left $(find new)"
