#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: the same tensors land, and the program says how, where the kernel itself refuses things.
# Method: io_uring refused by a seccomp filter with EPERM and with ENOSYS, registered buffers by
# a memlock limit as an ordinary user, and a model on tmpfs; digests against an unhindered load.
set -euo pipefail

work=$(mktemp -d)
shared=
trap 'rm -rf "$work" $shared' EXIT
deny=$WLOAD_BUILD/tests/deny_uring
"$WLOAD" synth "$work/model" --preset llama --size 48M --shards 2 --seed 3 >"$work/synth.out"

# The digests and the named members of a report.
field() {
    python3 -c '
import json, sys
report = json.load(open(sys.argv[1]))
for name in sys.argv[2:]:
    print(json.dumps(report[name], sort_keys=True))' "$@"
}

fail() {
    echo "$1" >&2
    [ ! -s "$work/report" ] || head -c 600 "$work/report" >&2
    exit 1
}

same() { # NAME: the report has the digests of the unhindered load
    field "$work/report" digests tensors bytes >"$work/found"
    cmp -s "$work/expected" "$work/found" || fail "$1: other digests"
}

refused() { # NAME ERRNO: the last command failed in one line that names the errno
    if [ "$(wc -l <"$work/err")" != 1 ] || ! grep -q "$2" "$work/err"; then
        cat "$work/err" >&2
        fail "$1: not one line that names $2"
    fi
}

as_nobody() { # KIB COMMAND...: as an ordinary user who may lock so much memory
    (
        ulimit -l "$1"
        shift
        exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"
    )
}

"$WLOAD" load "$work/model" --device host --drop-cache --digest --json >"$work/report"
field "$work/report" digests tensors bytes >"$work/expected"

for errno in EPERM ENOSYS; do
    "$deny" $errno "$WLOAD" load "$work/model" --device host --drop-cache --digest --json \
        >"$work/report"
    same "io_uring refused with $errno"
    [ "$(field "$work/report" reader)" = '"pread"' ] || fail "$errno: not read by pread"
    [[ $(field "$work/report" reader_note) == *$errno* ]] || fail "$errno: the note does not say so"
    ! "$deny" $errno "$WLOAD" load "$work/model" --device host --reader uring \
        >"$work/out" 2>"$work/err" || fail "$errno: --reader uring is not an error"
    [ ! -s "$work/out" ] || fail "$errno: a failure wrote to standard output"
    refused "--reader uring under $errno" $errno
    "$deny" $errno "$WLOAD" load "$work/model" --device host -v >"$work/out" 2>"$work/err"
    grep -q "pread" "$work/err" || fail "$errno: -v does not say what was used"
done

# An ordinary user may pin only so much; the ring stays, its buffers are plain.
if [ "$(id -u)" = 0 ]; then
    chmod -R a+rX "$work"
    cp "$WLOAD" "$work/wload"
    for limit in 64 0; do
        as_nobody $limit "$work/wload" load "$work/model" --device null --json >"$work/report"
        [ "$(field "$work/report" tensors)" = "$(sed -n 2p "$work/expected")" ] ||
            fail "memlock $limit: tensors are missing"
        if [ "$(field "$work/report" reader)" = '"uring"' ]; then
            [[ $(field "$work/report" reader_note) =~ plain.*ENOMEM|buffers\ plain ]] ||
                fail "memlock $limit: the note does not say that buffers are plain"
        fi
        # Where there is no ring at all, as in many containers, the note says EPERM or ENOSYS.
        [[ $limit = 0 || $(field "$work/report" reader) = '"uring"' ||
            $(field "$work/report" reader_note) =~ EPERM|ENOSYS ]] ||
            fail "memlock $limit: the ring did not stay"
        as_nobody $limit "$work/wload" load "$work/model" --device host --digest --json \
            >"$work/report"
        same "memlock $limit"
    done
fi

if [ -d /dev/shm ] && [ -w /dev/shm ]; then
    shared=$(mktemp -d -p /dev/shm)
    cp -r "$work/model" "$shared/"
    readers=(pread)
    if [[ $("$WLOAD" doctor) =~ (^|$'\n')io_uring\ +ok\  ]]; then
        readers+=(uring)
    fi
    for io in auto buffered; do
        for reader in "${readers[@]}"; do
            "$WLOAD" load "$shared/model" --device host --io $io --reader "$reader" --digest \
                --json >"$work/report"
            same "tmpfs, --io $io --reader $reader"
        done
    done
fi
