#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: bench/quickstart serves a directory whatever its name.
# Method: directories with names that no repository may have; what the script makes of each is the
# right name, and `wload serve` takes all of them.
set -euo pipefail

if [ -z "${WLOAD:-}" ]; then
    echo "skipped: this build has no program"
    exit 77
fi
work=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT

fail() {
    echo "$*" >&2
    exit 1
}

# hub_name(), without the rest of the script.
# shellcheck source=/dev/null
source <(sed -n '/^hub_name() {$/,/^}$/p' "$WLOAD_SOURCE/bench/quickstart")

long=$(printf 'n%.0s' {1..95})
names=(llama-512M llama-512M
    'my--model v1' my-model-v1
    models--org--x models-org-x
    'a - b' a-b
    ...bad..name... bad.name
    -x.- x
    .git git
    x.git-.git x
    'Ünïcödé' n-c-d
    $'two\nlines' two-lines
    "$long-x" "$long"
    "$long.git" "$long"
    "$long${long}" "${long}n"
    --- model
    _ _)
operands=()
for ((i = 0; i < ${#names[@]}; i += 2)); do
    mkdir "$work/${names[i]}"
    echo '{}' >"$work/${names[i]}/config.json"
    name=$(hub_name "$work/${names[i]}")
    [ "$name" = "local/${names[i + 1]}" ] || fail "'${names[i]}' is called '$name'"
    operands+=("$name=$work/${names[i]}")
done
[ "$(hub_name /)" = local/model ] || fail "/ is called '$(hub_name /)'"

exec {answers}< <(exec "$WLOAD" serve "${operands[@]}" 2>&1)
server=$!
read -r -u "$answers" line || fail "nothing is served"
if [[ $line == *"this build cannot serve"* ]]; then
    echo "skipped: $line"
    exit 77
fi
[[ $line == "Serving "* ]] || fail "$line"
