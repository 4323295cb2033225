#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: sizes, numbers and devices on the command line are read as documented, and nothing else is.
# Method: a value that is accepted lets the command go on to a model that is not there (exit 1); a
# refused one is a usage error (exit 2).
#
# Goal: the manual names every option of every command, every key of the JSON that it tells of, and
# every variable of the environment.
# Method: take the options from --help, the keys from reports, the variables from the sources.
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

# ---- The manual ----

# section HEAD: of the manual, from the heading that begins so to the next.
section() {
    sed 's/\\-/-/g' "$WLOAD_SOURCE/docs/wload.1" |
        awk -v head="$1" '/^\.S[HS] / { inside = index($0, head) == 1 } inside'
}

# names WHERE TEXT WORD...: the text has each of the words.
names() {
    local word
    [ $# -gt 2 ] || { echo "nothing to look for in the manual, $1" >&2 && exit 1; }
    for word in "${@:3}"; do
        if ! grep -Eq -e "(^|[^[:alnum:]_-])$word([^[:alnum:]_-]|\$)" <<<"$2"; then
            echo "the manual, $1, does not name $word" >&2
            exit 1
        fi
    done
}

for command in load inspect fetch resolve verify serve bench compare synth doctor; do
    mapfile -t options < <("$WLOAD" "$command" --help |
        sed -nE 's/^ +(-[a-z])?(, )?(--[a-z-]+).*/\1\n\3/p' | grep -vx -e '' -e -h -e --help)
    names "$command" "$(section ".SS \"wload $command ")" "${options[@]}"
done
names COMMANDS "$(section '.SH COMMANDS')" -h --help

# Not for users: of the double of a driver, and of another tool, which is only warned of.
mapfile -t variables < <(cd "$WLOAD_SOURCE" && grep -rohE --include='*.c' \
    '"(AIM|HF|HUGGING[A-Z]*|SSL|TRANSFORMERS|WLOAD|XDG)_[A-Z_]+"' \
    base bench cache kernels loader | tr -d '"' | sort -u |
    grep -vx -e WLOAD_HIP_FORCE -e TRANSFORMERS_CACHE)
names ENVIRONMENT "$(section '.SH ENVIRONMENT')" "${variables[@]}"

# A cache with a model that is whole and one whose content is wrong.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset "${!HF_@}" WLOAD_CACHE AIM_CACHE_PATH
"$WLOAD" synth model --size 256K >/dev/null
commit=0123456789abcdef0123456789abcdef01234567
blob=$(printf '%064d' 0)
for name in good bad; do
    repo=cache/models--org--$name
    mkdir -p $repo/{blobs,refs} $repo/snapshots/$commit
    printf %s $commit >$repo/refs/main
    cp model/model.safetensors $repo/snapshots/$commit/
    cp model/model.safetensors "$repo/blobs/$blob"
done
ln -s "../../blobs/$blob" cache/models--org--bad/snapshots/$commit/bad.safetensors

# tells HEAD... -- COMMAND...: each key of the JSON that it prints is in these sections.
tells() {
    local text=
    while [ "$1" != -- ]; do
        text+=$(section "$1")
        shift
    done
    "$WLOAD" "${@:2}" --json >report.json 2>err || [ $? = 1 ]
    mapfile -t keys < <(python3 - <<'PYTHON'
import json


def keys(value, are_data=False):
    """All keys but those that are names of dtypes or tensors."""
    for item in value if isinstance(value, list) else []:
        yield from keys(item)
    for key, item in value.items() if isinstance(value, dict) else []:
        if not are_data:
            yield key
        yield from keys(item, key in ("digests", "dtypes"))


with open("report.json", encoding="utf-8") as file:
    print(*sorted(set(keys(json.load(file)))), sep="\n")
PYTHON
    )
    names "the JSON of $2" "$text" "${keys[@]}"
}

tells '.SH "JSON OF LOAD"' -- load model --device host --digest
tells '.SS "wload inspect ' -- inspect model
tells '.SS "wload fetch ' -- fetch --offline --cache-dir cache org/good org/none
tells '.SS "wload fetch ' -- fetch --offline --cache-dir cache org/good --dry-run
tells '.SS "wload fetch ' '.SS "wload resolve ' -- resolve --cache-dir cache org/good
tells '.SS "wload verify ' -- verify --cache-dir cache org/bad
