#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: libcurl and libmicrohttpd are loaded by what needs them, and by nothing else; where one is
# absent, damaged or too old, that is said by what needs it, and all else works.
# Method: run the program where the dynamic linker does not find them (its audit interface hides
# them), and where it finds files and stubs in their place.
set -euo pipefail

if [[ -z ${WLOAD-} ]]; then
    echo "skipped: this build has no program"
    exit 77
fi
if [[ $("$WLOAD" doctor) == *'this build was made without'* ]]; then
    echo "skipped: this build uses neither, or only one of them"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset "${!HF_@}" WLOAD_CACHE AIM_CACHE_PATH
export HF_HOME=$work/home HF_ENDPOINT=http://127.0.0.1:1 WLOAD_RETRY_MS=1

fail() {
    echo "$*" >&2
    exit 1
}

# says TEXT PROGRAM...: it fails, and its only line on stderr has the text.
says() {
    local text=$1 rc=0
    shift
    "$@" >out 2>err || rc=$?
    [[ $rc == 1 && ! -s out && $(wc -l <err) == 1 ]] || fail "$*: $rc, $(cat out err)"
    grep -Fq "$text" err || fail "$*: $(cat err)"
}

# judged NAME VERDICT TEXT PROGRAM...: what `wload doctor` says of a library, with a remedy unless
# all is well; it never calls a load impossible.
judged() {
    local name=$1 verdict=$2 text=$3
    shift 3
    "$@" "$WLOAD" doctor >table
    grep -A1 "^$name " table >found
    grep -Eq "^$name +$verdict +.*$text" found || fail "$(cat found)"
    [[ $verdict == ok ]] || grep -q '^    remedy: none needed ' found || fail "no remedy"
    grep -Fxq 'a load works here' table
}

# A directory of weights, and a model in the cache.
"$WLOAD" synth model --size 256K >/dev/null
commit=0123456789abcdef0123456789abcdef01234567
repo=home/hub/models--org--name
hash=$(sha256sum model/model.safetensors)
mkdir -p $repo/{blobs,refs} $repo/snapshots/$commit
printf %s $commit >$repo/refs/main
cp model/model.safetensors "$repo/blobs/${hash%% *}"
ln -s "../../blobs/${hash%% *}" $repo/snapshots/$commit/model.safetensors

# ---- Nobody loads what it does not need ------------------------------------------------------

# loads PROGRAM...: which of the two it loads.
loads() {
    LD_DEBUG=files LD_DEBUG_OUTPUT=trace "$@" >out 2>err || true
    cat trace.* | sed -En 's/.*file=(libcurl|libmicrohttpd).*dynamically loaded.*/\1/p' | sort -u |
        tr '\n' ' '
    rm trace.*
}
local_commands=('--version' 'inspect model' 'load model' 'load org/name' 'resolve org/name'
    'verify org/name' 'fetch org/name --offline')
for command in "${local_commands[@]}"; do
    # shellcheck disable=SC2086  # words
    found=$(loads "$WLOAD" $command)
    [[ -z $found ]] || fail "wload $command loads $found"
done
[[ $(loads "$WLOAD" fetch org/other) == 'libcurl ' ]] || fail "fetch loads something else"
[[ $(loads "$WLOAD" doctor) == 'libcurl libmicrohttpd ' ]] || fail "doctor loads something else"
judged libcurl ok 'version [78]\.[0-9.]+ with [A-Za-z]' env
judged libmicrohttpd ok 'version [0-9.]+$' env

# ---- Broken ones -----------------------------------------------------------------------------

mkdir damaged older lacking
echo 'no library' | tee damaged/libcurl.so.4 >damaged/libmicrohttpd.so.12
echo 'int curl_easy_init(void);
int curl_easy_init(void) { return 0; }' >lacking.c
grep -oE '\bCALL\(\w+\)' "$WLOAD_SOURCE/base/libcurl.h" | sed -E 's/CALL\((.*)\)/\1/' >calls
(($(wc -l <calls) > 9)) || fail "no list of libcurl's calls"
grep -vx 'version_info' calls | sed 's/.*/int curl_&(void) { return 0; }/' >older.c
cat >>older.c <<'C'
struct version { int age; const char *version; unsigned number; };
const struct version *curl_version_info(int age)
{
    static const struct version old = {0, "7.80.0", 0x075000};

    (void)age;
    return &old;
}
C
for name in older lacking; do
    cc -shared -fPIC -o $name/libcurl.so.4 $name.c
done
while read -r folder text; do
    broken=(env LD_LIBRARY_PATH="$work/$folder")
    says "$text" "${broken[@]}" "$WLOAD" fetch org/other
    judged libcurl degraded "$text" "${broken[@]}"
    [[ $("${broken[@]}" "$WLOAD" resolve org/name) == */$commit ]]
done <<'ROWS'
damaged 'libcurl.so.4' does not load: 
older 'libcurl.so.4' is version 7.80.0, and 7.81.0 the oldest that will do; Debian and Ubuntu
lacking 'libcurl.so.4' has no curl_easy_cleanup: the library is too old; Debian and Ubuntu
ROWS
says "'libmicrohttpd.so.12' does not load: " env LD_LIBRARY_PATH="$work/damaged" \
    "$WLOAD" serve --port 0 model
judged libmicrohttpd degraded 'does not load' env LD_LIBRARY_PATH="$work/damaged"

# ---- Absent ones -----------------------------------------------------------------------------

if [[ -n ${WLOAD_SANITIZE-} ]]; then
    exit # sanitizers and the audit interface do not go together
fi
cat >hide.c <<'C'
#define _GNU_SOURCE
#include <link.h>
#include <stdlib.h>
#include <string.h>

unsigned la_version(unsigned version)
{
    return version;
}

/* The name that is asked for is left as it is: only that it is nowhere is new. */
char *la_objsearch(const char *name, uintptr_t *cookie, unsigned flag)
{
    const char *hidden = getenv("HIDDEN");
    const char *slash = strrchr(name, '/');

    (void)cookie;
    return flag != LA_SER_ORIG && slash && hidden && strstr(hidden, slash + 1) ? NULL
                                                                               : (char *)name;
}
C
cc -shared -fPIC -o hide.so hide.c
without=(env LD_AUDIT="$work/hide.so")
both=("${without[@]}" HIDDEN='libcurl.so.4 libcurl-gnutls.so.4 libmicrohttpd.so.12')
for command in "${local_commands[@]}"; do
    # shellcheck disable=SC2086
    "${both[@]}" "$WLOAD" $command >out || fail "wload $command fails without libcurl"
done
says "no library 'libcurl.so.4' on this machine; Debian and Ubuntu have it in libcurl4" \
    "${both[@]}" "$WLOAD" fetch org/other
says "no library 'libmicrohttpd.so.12' on this machine; Debian and Ubuntu have it in" \
    "${both[@]}" "$WLOAD" serve --port 0 model
judged libcurl absent "no library 'libcurl.so.4' on this machine" "${both[@]}"
judged libmicrohttpd absent "no library 'libmicrohttpd.so.12' on this machine" "${both[@]}"

# The other name that distributions have for it: here, another name for the same.
real=$(PATH=$PATH:/sbin ldconfig -p | awk '$1 == "libcurl.so.4" && !n++ {print $NF}')
if [[ -n $real ]]; then
    mkdir other
    ln -s "$real" other/libcurl-gnutls.so.4
    judged libcurl ok version "${without[@]}" HIDDEN=libcurl.so.4 LD_LIBRARY_PATH="$work/other"
fi
