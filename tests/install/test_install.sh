#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: what `cmake --install` puts down is enough for a stranger to build with and run.
# Method: install into a prefix that the build has never heard of; build the program of
# consumer/ with find_package() and with pkg-config, against the shared and the static library;
# each must land, by name, the tensors that the installed `wload inspect` lists.  The header
# must compile alone, from the prefix, as C99 and as C++11 without a warning.
set -euo pipefail

: "${WLOAD_BUILD:?}" "${WLOAD_SOURCE:?}"
if [[ -z ${WLOAD-} ]]; then
    echo "the program is not part of this build"
    exit 77
fi
if [[ -n ${WLOAD_SANITIZE-} ]]; then
    echo "a library built with sanitizers links into such programs only"
    exit 77
fi
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
prefix=$temp/prefix
here=$WLOAD_SOURCE/tests/install/consumer
cc=(cc -std=c11 -Wall -Wextra -Wpedantic -Werror)

fail() {
    echo "$*" >&2
    exit 1
}

cmake --install "$WLOAD_BUILD" --prefix "$prefix" >/dev/null
library=$(dirname "$(find "$prefix" -name libwload.a)")
export PKG_CONFIG_PATH=$library/pkgconfig LD_LIBRARY_PATH=$library

[[ $("$prefix/bin/wload" --version) == *"$(pkg-config --modversion wload)"* ]] ||
    fail "the program's version is not pkg-config's"
grep -q '^\.T[Hh]' "$prefix/share/man/man1/wload.1" || fail "wload.1 is no manual page"
if grep -rF -e "$WLOAD_SOURCE" -e "$WLOAD_BUILD" "$library/cmake" "$library/pkgconfig"; then
    fail "the package's files point back into the build"
fi

for language in 'c -std=c99' 'c++ -std=c++11'; do
    # shellcheck disable=SC2086  # two words
    echo '#include <wload.h>' | cc -x $language -fsyntax-only -Wall -Wextra -Wpedantic -Werror \
        -I "$prefix/include" - || fail "wload.h alone does not compile as $language"
done

cmake -S "$here" -B "$temp/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$temp/build" >/dev/null
# shellcheck disable=SC2046  # options, to be split
"${cc[@]}" "$here/consumer.c" -o "$temp/pkgconfig_shared" $(pkg-config --cflags --libs wload)
# With both libraries in one place the linker prefers the shared one, unless it is told otherwise.
# shellcheck disable=SC2046
"${cc[@]}" "$here/consumer.c" -o "$temp/pkgconfig_static" \
    $(pkg-config --static --cflags --libs wload | sed 's/-lwload/-l:libwload.a/')

"$prefix/bin/wload" synth "$temp/model" --preset llama --size 4M --shards 2 --seed 1 >/dev/null
"$prefix/bin/wload" inspect "$temp/model" --json |
    python3 -c 'import json, sys
for tensor in json.load(sys.stdin)["tensors"]:
    print(tensor["name"])' |
    LC_ALL=C sort >"$temp/expected"
[[ -s $temp/expected ]] || fail "the model has no tensors"

for program in build/consumer_shared build/consumer_static pkgconfig_shared pkgconfig_static; do
    needs=$(readelf -d "$temp/$program" | grep -c 'NEEDED.*libwload' || true)
    [[ $needs == "$([[ $program == *shared ]] && echo 1 || echo 0)" ]] ||
        fail "$program links the wrong library"
    if readelf -d "$temp/$program" | grep -E 'NEEDED.*(curl|microhttpd)'; then
        fail "$program links what is loaded when it is needed"
    fi
    "$temp/$program" "$temp/model" | sed 's/ at 0x[0-9a-f]*$//' | LC_ALL=C sort >"$temp/landed"
    diff "$temp/expected" "$temp/landed" || fail "$program landed other tensors than inspect lists"
    if "$temp/$program" "$temp/nowhere" 2>"$temp/error"; then
        fail "$program: no failure without a model"
    fi
    grep -q nowhere "$temp/error" || fail "$program: its error does not name the model"
done
