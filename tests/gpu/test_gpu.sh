#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: what lands in a real GPU's memory is what lands on the host.
# Method: load a small model onto each GPU vendor that is here, with both readers, direct and
# buffered, in small and large chunks; compare the digests, read back from the device, with those
# of a load into host memory.
set -euo pipefail

work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "$*" >&2
    exit 1
}

# digests OPTION...: one "digest  tensor" a line.
digests() {
    "$WLOAD" load model --digest "$@" >all.txt || fail "load $* failed"
    grep -E '^[0-9a-f]{64}  ' all.txt
}

# verdict KIND: what `wload doctor` says of it.
verdict() {
    ("$WLOAD" doctor || true) |
        awk -v kind="$1" '$1 == kind { print ($2 ~ /^[0-9]+$/) ? $3 : $2; exit }'
}

# Where the kernel's driver is, ours must not find the library absent.
declare -A nodes=([cuda]=/dev/nvidiactl [hip]=/dev/kfd)
kinds=()
for kind in cuda hip; do
    found=$(verdict "$kind")
    case $found in
    ok) kinds+=("$kind") ;;
    absent) [[ ! -e ${nodes[$kind]} ]] || fail "${nodes[$kind]} is there, $kind is not" ;;
    *) fail "doctor says of $kind: '$found'" ;;
    esac
done
if ((${#kinds[@]} == 0)); then
    echo "skipped: no GPU with a driver on this machine"
    exit 77
fi

"$WLOAD" synth model --preset moe --size 96M --shards 3 --seed 7 >/dev/null
digests --device host >host.txt
(($(wc -l <host.txt) > 100)) || fail "too few tensors to compare"
for kind in "${kinds[@]}"; do
    for options in '--reader uring --io direct' '--reader uring --io buffered' \
        '--reader pread --io direct' '--reader auto --chunk 64K --queue-depth 64' \
        '--reader auto --chunk 16M --repeat 3' '--reader auto --staging 32M --drop-cache'; do
        read -ra words <<<"$options"
        digests --device "$kind" "${words[@]}" >device.txt
        cmp host.txt device.txt || fail "$kind $options: other bytes than on the host"
    done
    if "$WLOAD" load model --device "$kind:99" >/dev/null 2>error.txt; then
        fail "$kind has a device of number 99"
    fi
    (($(wc -l <error.txt) == 1)) || fail "not one line: $(cat error.txt)"
    echo "$kind: the same digests in all ways"
done
