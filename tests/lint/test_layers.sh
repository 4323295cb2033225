#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: includes point down, and each library of others is known to few.
# Method: read every #include of the five folders against the rules below.  Without an argument,
# first show on a copy that each kind of violation is found, then check this source tree;
# with one, check only the tree there.
set -euo pipefail

# Folder: the folders whose headers it may include.  <wload.h> is open to all.
declare -A may_include=(
    [base]='base'
    [kernels]='kernels base'
    [cache]='cache base'
    [loader]='loader kernels cache base'
    [bench]='bench base'
)
# Headers of other libraries: the only folders that may include them.
declare -A known_to=(
    [cjson/]='base bench'
    [curl/]='base'
    [microhttpd.h]='bench'
    [openssl/]='base'
    [liburing.h]='base loader bench'
    [popt.h]='bench'
)

# check_include ROOT FILE LINE <HEADER>|"HEADER": says what is wrong, if anything.
check_include() {
    local root=$1 where="$2:$3" folder=${2%%/*} form=${4:0:1} header=${4:1:-1} other
    local target=${header%%/*}

    if [[ $header == wload.h ]]; then
        return
    fi
    if [[ $form == '"' ]]; then
        if [[ $header == *..* || ! -f $root/$header ]]; then
            echo "$where: \"$header\" is no path from the root of the source tree"
        elif [[ " ${may_include[$folder]} " != *" $target "* ]]; then
            echo "$where: $folder may not include \"$header\""
        fi
        return
    fi
    if [[ -f $root/$header ]]; then
        echo "$where: a header of ours goes in quotes: <$header>"
    fi
    for other in "${!known_to[@]}"; do
        if [[ $header == "$other"* && " ${known_to[$other]} " != *" $folder "* ]]; then
            echo "$where: <$header> is for ${known_to[$other]} only"
        fi
    done
}

check_tree() {
    local root=$1 file line text findings includes

    includes=$(cd "$root" && grep -rnE '^\s*#\s*include' --include='*.[ch]' "${!may_include[@]}")
    findings=$(while IFS=: read -r file line text; do
        if [[ $text =~ include[[:space:]]*(\<[^\>]+\>|\"[^\"]+\") ]]; then
            check_include "$root" "$file" "$line" "${BASH_REMATCH[1]}"
        else
            echo "$file:$line: an include that cannot be read: $text"
        fi
    done <<<"$includes")
    if [[ -n $findings ]]; then
        echo "$findings"
        return 1
    fi
}

# plant FILE INCLUDE: with that line at its end, FILE of the copy must be found at fault.
plant() {
    local file=$copy/$1 said

    cp "$file" "$copy/saved"
    printf '%s\n' "$2" >>"$file"
    said=$("$0" "$copy") && { echo "$1 may have: $2" >&2; exit 1; }
    [[ $said == "$1:"* && $said != *$'\n'* ]] || { echo "for $2 in $1: $said" >&2; exit 1; }
    mv "$copy/saved" "$file"
}

if (($# > 0)); then
    check_tree "$1"
    exit
fi
root=${WLOAD_SOURCE:-$(dirname "$0")/../..}
check_tree "$root"

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy"/{base,kernels,cache,loader,bench}
touch "$copy"/{base/b.h,kernels/k.h,cache/c.h,loader/l.h,bench/p.h}
cat >"$copy/base/b.h" <<<'#include <cjson/cJSON.h>'
cat >"$copy/kernels/k.h" <<<'#include "base/b.h"'
cat >"$copy/cache/c.h" <<<'#include "wload.h"'
printf '#include "%s"\n' loader/l.h kernels/k.h cache/c.h base/b.h >"$copy/loader/l.h"
cat >"$copy/bench/p.h" <<<'# include <popt.h>'
"$0" "$copy" || { echo "the rules refuse what they should allow" >&2; exit 1; }

plant base/b.h '#include "kernels/k.h"'
plant base/b.h '#include "loader/l.h"'
plant kernels/k.h '#include "cache/c.h"'
plant cache/c.h '#include "kernels/k.h"'
plant cache/c.h '#include "loader/l.h"'
plant loader/l.h '#include "bench/p.h"'
plant bench/p.h '#include "loader/l.h"'
plant bench/p.h '#  include "kernels/k.h"'
plant loader/l.h '#include "l.h"'
plant loader/l.h '#include "../base/b.h"'
plant loader/l.h '#include "base/absent.h"'
plant bench/p.h '#include <loader/l.h>'
plant loader/l.h '#include <popt.h>'
plant cache/c.h '#include <openssl/evp.h>'
plant cache/c.h '#include <curl/curl.h>'
plant loader/l.h '#include <cjson/cJSON.h>'
plant kernels/k.h '#include MACRO'
