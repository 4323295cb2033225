#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: `wload doctor` names each probe with verdict, errno and remedy, and fails only where a load
# would.
# Method: run it here, with io_uring refused in two ways, with little locked memory, on a path that
# is not there, with a driver's double and with a driver that is broken; judge the JSON.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# judge EXPRESSION...: each must hold for the report in report.json, of which `probe` gives one.
judge() {
    python3 - "$@" <<'PYTHON'
import json
import sys

with open("report.json", encoding="utf-8") as file:
    report = json.load(file)


def probe(name, subject=None):
    found = [item for item in report["probes"] if item["name"] == name
             and subject in (None, item["subject"])]
    assert found, f"no probe {name} {subject}"
    return found[0]


for expression in sys.argv[1:]:
    if not eval(f"({expression})"):
        sys.exit(f"does not hold: {expression}\n{json.dumps(report, indent=1)}")
PYTHON
}

"$WLOAD" doctor --json >report.json
judge 'report["works"] is True' \
    '{item["name"] for item in report["probes"]} == {"io_uring", "io_uring_task_run",
      "io_uring_files", "io_uring_buffers", "io_uring_buffers_ring", "memlock", "o_direct",
      "cache", "page_cache", "huge_pages", "cgroup_memory", "numa", "open_files", "libcurl",
      "libmicrohttpd", "cuda", "hip", "gpu_kernels"}' \
    'all(item["verdict"] in ("ok", "degraded", "absent") for item in report["probes"])' \
    'all(item["text"] for item in report["probes"])' \
    'all(item["remedy"] for item in report["probes"] if item["verdict"] == "degraded")' \
    'probe("o_direct", ".")' \
    'probe("page_cache")["verdict"] == "ok"'

# The table has one line a probe, and remedies are indented.
"$WLOAD" doctor >table
grep -Eq '^o_direct \. +(ok|degraded|absent) ' table
grep -Fxq 'a load works here' table
if grep -Ev '^([a-z_]+ .*(ok|degraded|absent) |    remedy: |a load works here$|$)' table; then
    exit 1
fi

# io_uring refused: said, with the errno and the remedy; loads work without.
for error in EPERM ENOSYS; do
    "$WLOAD_BUILD/tests/deny_uring" $error "$WLOAD" doctor --json . >report.json
    judge 'report["works"] is True' \
        "probe('io_uring')['errno'] == '$error'" \
        'probe("io_uring")["verdict"] == "degraded"' \
        '"seccomp" in probe("io_uring")["text"] or "sysctl" in probe("io_uring")["remedy"]' \
        'probe("io_uring")["remedy"]' \
        'probe("io_uring_buffers")["verdict"] == "absent"'
done

# A file; a directory that has none and takes none; a path that is not there.
echo weights >"$work/file with
newline"
"$WLOAD" doctor --json file* /proc/sys >report.json
judge 'probe("o_direct", "file with\nnewline")["verdict"] in ("ok", "degraded")' \
    'probe("o_direct", "/proc/sys")["verdict"] == "absent"' \
    'probe("o_direct", "/proc/sys")["remedy"]'
[[ $("$WLOAD" doctor file* | grep -c 'newline') == 1 ]]

rc=0
"$WLOAD" doctor --json nowhere >report.json || rc=$?
[[ $rc == 1 ]]
judge 'report["works"] is False' 'probe("o_direct")["errno"] == "ENOENT"' \
    'probe("o_direct")["verdict"] == "broken"' 'probe("o_direct")["remedy"]'

# The cache is the one that loads use: there, still to be made, or nowhere to be made.
unset "${!HF_@}" HUGGINGFACE_HUB_CACHE
mkdir -p xdg/huggingface/hub
echo "no directory" >plain
XDG_CACHE_HOME=$work/xdg "$WLOAD" doctor --json >report.json
judge "probe('cache')['subject'] == '$work/xdg/huggingface/hub'" \
    'probe("cache")["verdict"] == "ok" and "can be written to" in probe("cache")["text"]' \
    'probe("o_direct", probe("cache")["subject"])'
HF_HOME=$work/xdg/a/b "$WLOAD" doctor --json >report.json
judge "probe('cache', '$work/xdg/a/b/hub')['verdict'] == 'ok'" \
    "'not there yet, can be made in \'$work/xdg\'' in probe('cache')['text']"
HF_HUB_CACHE=$work/plain/hub "$WLOAD" doctor --json >report.json
judge "probe('cache', '$work/plain/hub')['errno'] == 'ENOTDIR'" \
    'probe("cache")["verdict"] == "degraded"' 'probe("cache")["remedy"]'
[[ $(ls -A xdg xdg/huggingface/hub) == $'xdg:\nhuggingface\n\nxdg/huggingface/hub:' ]]

# A GPU (its driver's double); a driver that is there and cannot be loaded is broken, not absent.
LD_LIBRARY_PATH=$WLOAD_DOUBLE WLOAD_DOUBLE_DEVICES=2 "$WLOAD" doctor --json . >report.json
judge 'probe("cuda", "0")["verdict"] == probe("cuda", "1")["verdict"] == "ok"' \
    '"4.00 GiB" in probe("cuda", "0")["text"]' \
    'len([item for item in report["probes"] if item["name"] == "cuda"]) == 2'
echo "no library" >libcuda.so.1
rc=0
LD_LIBRARY_PATH=$work "$WLOAD" doctor --json . >report.json || rc=$?
[[ $rc == 1 ]]
judge 'probe("cuda")["verdict"] == "broken"' 'probe("cuda")["remedy"]'

# Little locked memory, as an ordinary user: degraded, and said why.
user=(setpriv --reuid 65534 --clear-groups)
if [[ -z $WLOAD_SANITIZE ]] && "${user[@]}" test -x "$WLOAD" 2>/dev/null; then
    (ulimit -l 64 && cd / && "${user[@]}" "$WLOAD" doctor --json /) >report.json
    judge 'report["works"] is True' \
        'probe("io_uring")["verdict"] != "ok" or probe("io_uring_buffers")["errno"] == "ENOMEM"' \
        'probe("io_uring")["verdict"] != "ok" or probe("memlock")["verdict"] == "degraded"'
fi

rc=0
"$WLOAD" doctor --no-such-option >out 2>err || rc=$?
[[ $rc == 2 && ! -s out && $(wc -l <err) == 1 ]]
