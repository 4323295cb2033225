#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: what the program says, word by word, and its exit code.
# Method: run every golden/NAME.cmd, a line of shell, where small models and broken files lie;
# compare with NAME.stdout, NAME.stderr and NAME.exit beside it (missing: empty, empty, 0).  A line
# there that begins with "~ " is a regular expression for the whole line.
set -euo pipefail

if [ -z "${WLOAD:-}" ]; then
    echo "skipped: this build has no program"
    exit 77
fi
golden=$(cd "$(dirname "$0")" && pwd)/golden
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir bin files
ln -s "$WLOAD" bin/wload
PATH=$work/bin:$PATH

cd files
wload synth llama --size 256K >/dev/null
wload synth sharded --size 256K --shards 2 >/dev/null
wload synth pipeline --preset diffusion --size 512K >/dev/null
wload synth moe --preset moe --size 256K >/dev/null

# header FILE JSON: a safetensors file of that header and no data.
header() {
    printf "\\x$(printf %02x ${#2})\\0\\0\\0\\0\\0\\0\\0%s" "$2" >"$1"
}
header empty.safetensors '{}'
header names.safetensors \
    '{"a\u001b[2Jb\u202ec\n":{"dtype":"F4","shape":[2,0],"data_offsets":[0,0]}}'
header dtype.safetensors '{"a":{"dtype":"F7","shape":[0],"data_offsets":[0,0]}}'
header short.safetensors '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
printf '\377\377\377\377\377\377\377\177{}' >huge.safetensors
printf 'GGUF\3\0\0\0\0\0\0\0' >other.gguf
printf '{}' >tiny.safetensors
mkfifo fifo.safetensors
mkdir nothing
for name in escape lost shard_fifo shard_directory shard_device; do
    mkdir $name
    printf '{"weight_map":{"a":"b.safetensors"}}' >$name/model.safetensors.index.json
done
printf '{"weight_map":{"a":"../../etc/passwd"}}' >escape/model.safetensors.index.json
mkfifo shard_fifo/b.safetensors
mkdir shard_directory/b.safetensors
ln -s /dev/zero shard_device/b.safetensors
cp -r sharded truncated
truncate -s -1 truncated/model-00002-of-00002.safetensors

# A cache of the hub: one snapshot that is whole, and one with a damaged file.
unset "${!HF_@}" WLOAD_CACHE AIM_CACHE_PATH
commit=0123456789abcdef0123456789abcdef01234567
for repo in models--org--good models--org--bad; do
    mkdir -p cache/$repo/{blobs,refs} cache/$repo/snapshots/$commit
    printf %s $commit >cache/$repo/refs/main
    for name in model.safetensors config.json; do
        case $name in
            *.json) hash=9e26dfeeb6e641a33dae4961196235bdb965b21b && printf '{}' >blob ;;
            *) hash=$(sha256sum llama/$name) && hash=${hash%% *} && cp llama/$name blob ;;
        esac
        mv blob cache/$repo/blobs/"$hash"
        ln -s ../../blobs/"$hash" cache/$repo/snapshots/$commit/$name
    done
done
printf '[]' >cache/models--org--bad/snapshots/$commit/config.json

# same WHAT EXPECTED ACTUAL: line by line, the expected ones literal or patterns.
same() {
    local expected=() actual=() i
    [ ! -e "$2" ] || mapfile -t expected <"$2"
    mapfile -t actual <"$3"
    for ((i = 0; i < ${#expected[@]} || i < ${#actual[@]}; i++)); do
        local want=${expected[i]-} got=${actual[i]-}
        if [[ $want == "~ "* && i -lt ${#actual[@]} && $got =~ ^${want#\~ }$ ]]; then
            continue
        fi
        if [ "$want" != "$got" ] || [ "$i" -ge ${#expected[@]} ] || [ "$i" -ge ${#actual[@]} ]; then
            printf '%s line %d\n  expected: %s\n  got:      %s\n' "$1" $((i + 1)) "$want" "$got" >&2
            return 1
        fi
    done
}

cases=0
failed=0
for command in "$golden"/*.cmd; do
    name=${command%.cmd}
    want=0
    [ ! -e "$name.exit" ] || want=$(cat "$name.exit")
    got=0
    bash "$command" >"$work/stdout" 2>"$work/stderr" </dev/null || got=$?
    cases=$((cases + 1))
    if ! same "$(basename "$name"): stdout" "$name.stdout" "$work/stdout" ||
        ! same "$(basename "$name"): stderr" "$name.stderr" "$work/stderr"; then
        failed=$((failed + 1))
    elif [ "$got" != "$want" ]; then
        echo "$(basename "$name"): exit $got, not $want" >&2
        failed=$((failed + 1))
    fi
done
[ "$cases" -gt 30 ] || { echo "only $cases cases in $golden" >&2; exit 1; }
echo "$cases cases, $failed failed"
[ "$failed" -eq 0 ]
