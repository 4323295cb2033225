#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: three lists of the public functions are one: what wload.h declares, what the version map
# names, what the shared library exports; and no internal function is visible that only its own
# file uses.
# Method: compare the lists, and look each wl_ function up among the undefined names of all object
# files of the build.  First show on copies that a difference is found.
set -euo pipefail

: "${WLOAD_BUILD:?}" "${WLOAD_SOURCE:?}"
functions_max=25
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
export LC_ALL=C

declared() {
    cc -E -P "$1" | grep -oE '\bwload_\w+ ?\(' | tr -d ' (' | sort
}

mapped() {
    grep -oE '^ +wload_\w+;' "$1" | tr -d ' ;' | sort
}

# All but the name of the version itself.
exported() {
    nm -D --defined-only "$1" | awk '$2 != "A" {sub(/@.*/, "", $3); print $3}' | sort
}

# compare HEADER MAP LIBRARY
compare() {
    declared "$1" >"$temp/declared"
    mapped "$2" >"$temp/mapped"
    exported "$3" >"$temp/exported"
    diff "$temp/declared" "$temp/mapped" && diff "$temp/declared" "$temp/exported"
}

# Internal functions that no other object file of the list asks for.
unused() {
    nm --defined-only -g "$@" 2>/dev/null | awk '$2 == "T" && $3 ~ /^wl_/ {print $3}' |
        sort -u >"$temp/defined"
    nm --undefined-only "$@" 2>/dev/null | awk '{print $2}' | sort -u >"$temp/wanted"
    comm -23 "$temp/defined" "$temp/wanted"
}

fail() {
    echo "$*" >&2
    exit 1
}

header=$WLOAD_SOURCE/include/wload.h
map=$WLOAD_SOURCE/loader/wload.map
library=$(find "$WLOAD_BUILD/loader" -name 'libwload.so')
mapfile -t objects < <(find "$WLOAD_BUILD" -name '*.o')

sed '/wload_version;/d' "$map" >"$temp/wload.map"
! compare "$header" "$temp/wload.map" "$library" >/dev/null || fail "a name less in the map passed"
sed 's/ wload_version(void);/ wload_extra(void);&/' "$header" >"$temp/wload.h"
! compare "$temp/wload.h" "$map" "$library" >/dev/null || fail "one more in the header passed"
printf 'void %s(void);\nvoid %s(void) {}\n' wl_lonely{,} | cc -x c -c -o "$temp/lonely.o" -
[[ $(unused "${objects[@]}" "$temp/lonely.o") == *wl_lonely* ]] || fail "an unused one passed"

compare "$header" "$map" "$library"
(($(declared "$header" | wc -l) <= functions_max)) || fail "more than $functions_max functions"
lonely=$(unused "${objects[@]}")
[[ -z $lonely ]] || fail "only their own files use these:" "$lonely"
