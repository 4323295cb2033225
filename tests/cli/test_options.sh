#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: sizes, numbers and devices on the command line are read as documented, and nothing else is.
# Method: a value that is accepted lets the command go on to a model that is not there (exit 1); a
# refused one is a usage error (exit 2).  The manual names every option of every command.
set -euo pipefail

if [ -z "${WLOAD:-}" ]; then
    echo "skipped: this build has no program"
    exit 77
fi
cd /

# expect EXIT OPTION VALUE...: `wload load OPTION VALUE` ends so, with one line on stderr.
expect() {
    local want=$1 option=$2 value line got
    shift 2
    for value in "$@"; do
        got=0
        line=$("$WLOAD" load "$option" "$value" missing.safetensors 2>&1) || got=$?
        if [ "$got" != "$want" ] || [ "$(wc -l <<<"$line")" != 1 ]; then
            echo "$option '$value': exit $got, not $want: $line" >&2
            exit 1
        fi
    done
}

expect 1 --chunk 65536 65536B 64K 64KiB 0.5M 0.0625M 8M 8MiB 1G 1024M 0001M
expect 2 --chunk '' K 8 64k 64KB 8MB 8Mi 8M8 1.5M 65536.0 .5M 0.M 0x10000 -8M +8M ' 8M' '8M ' 2G \
    8MM 18446744073709551616 16777216T 1e6 8M. 0.0000001T
expect 1 --staging 64K 96K 1.5G 1.234567G 64G
expect 2 --staging 0 63K 65G 99999999999999999999
expect 1 --queue-depth 1 1024 0008
expect 2 --queue-depth 0 1025 '' -1 4294967297 8.0 8K
expect 1 --device auto host null cuda cuda:0 cuda:15 hip hip:1
expect 2 --device '' gpu CUDA cuda: cuda:x cuda:-1 cuda:4294967296 cuda:0:0 auto:0 host:0 null:0
expect 1 --io auto direct buffered
expect 2 --io '' Auto mmap
expect 1 --reader auto uring pread
expect 2 --reader '' io_uring

manual=$(sed 's/\\-/-/g' "$WLOAD_SOURCE/docs/wload.1")
for command in load inspect fetch resolve verify bench compare synth doctor; do
    options=$("$WLOAD" "$command" --help | grep -o -- '--[a-z-]*' | sort -u)
    [ "$(wc -w <<<"$options")" -gt 1 ]
    for option in $options; do
        [ "$option" = --help ] && continue
        if ! grep -q -e "$option\b" <<<"$manual"; then
            echo "the manual does not know $option of $command" >&2
            exit 1
        fi
    done
done
