#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: of a model that is named `wload bench` also measures the way from the hub, beside a plain
# download of the same files, and how long finding it takes; and `wload compare` knows these rows.
# Method: a small model, first in a plain directory with no hub in reach, as any build can have it;
# then behind `wload serve` on loopback, with a token, and with a known speed.
set -euo pipefail

work=$(mktemp -d)
server=
stop_server() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap 'stop_server; rm -rf "$work"' EXIT
cd "$work"
mkdir -p home tmp plain/org
unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_HUB_OFFLINE TRANSFORMERS_OFFLINE AIM_CACHE_PATH HF_TOKEN
unset HUGGING_FACE_HUB_TOKEN HF_HUB_DISABLE_SYMLINKS http_proxy HTTP_PROXY all_proxy ALL_PROXY
export HOME=$work/home HF_HOME=$work/home TMPDIR=$work/tmp HF_ENDPOINT=http://127.0.0.1:9
"$WLOAD" synth plain/org/model --preset llama --size 8M --shards 2 --seed 7 >/dev/null

# judge REPORT EXPRESSION...: each must hold for `report`, of which rows["NAME"] gives a row.
judge() {
    python3 - "$@" <<'PYTHON'
import json
import pathlib
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    report = json.load(file)
rows = {row["name"]: row for row in report["rows"]}
files_bytes = sum(path.stat().st_size for path in pathlib.Path("plain/org/model").iterdir())
for expression in sys.argv[2:]:
    if not eval(f"({expression})"):
        sys.exit(f"does not hold: {expression}\n{json.dumps(report, indent=1)}")
PYTHON
}

# serve OPTION...: HF_ENDPOINT is then where the model is served.
serve() {
    local line

    stop_server
    exec {answers}< <(exec "$WLOAD" serve "$@" org/model=plain/org/model)
    server=$!
    read -r -u "$answers" line
    HF_ENDPOINT=$(grep -o 'http://[^ ]*[0-9]' <<<"$line")
    export HF_ENDPOINT
}

# ---- No hub in reach, and in some builds none at all ----

WLOAD_CACHE=plain "$WLOAD" bench org/model --runs 1 --device host --json report.json >table
judge report.json \
    'list(rows)[-6:] == ["network", "download+load", "first", "cache", "resolve hit",
                         "resolve miss"]' \
    'len(rows["network"]["absent"]) > 10' \
    'rows["network"]["absent"] == rows["download+load"]["absent"]' \
    '"pairs" in rows["cache"] and rows["cache"]["io"]["direct_bytes"] == 0' \
    'all(0 < rows[name]["milliseconds"]["min"] <= rows[name]["milliseconds"]["median"] <=
         rows[name]["milliseconds"]["max"] for name in ("resolve hit", "resolve miss"))' \
    'rows["resolve hit"]["looks"] == 10'
grep -Eq '^network +absent: ' table
grep -Eq '^download\+load +absent: ' table
grep -Eq '^resolve miss +[0-9.]+ ms, ' table
[[ -z $(ls tmp) ]]
# A path is no name.
"$WLOAD" bench plain/org/model --runs 1 --device host --only '*e*' --json - >path.json
judge path.json '"cache" not in rows and "network" not in rows and "resolve hit" not in rows'

# ---- compare ----

# doctor EXPRESSION: the milliseconds `ms` of looking become that.
doctor() {
    python3 - "$1" <<'PYTHON'
import json
import sys

with open("report.json", encoding="utf-8") as file:
    report = json.load(file)
for row in report["rows"]:
    if row["name"] == "resolve hit":
        row["milliseconds"]["median"] = eval(sys.argv[1], {"ms": row["milliseconds"]["median"]})
with open("new.json", "w", encoding="utf-8") as file:
    json.dump(report, file)
PYTHON
}

"$WLOAD" compare report.json report.json >out
grep -Eq '^resolve hit .* ms .* same$' out
grep -Eq '^cache .* same$' out
doctor 'ms + 0.9'
"$WLOAD" compare report.json new.json >out
grep -Eq '^resolve hit .* same$' out
doctor '2 * ms + 5'
"$WLOAD" compare new.json report.json >out
grep -Eq '^resolve hit .* better$' out
rc=0
"$WLOAD" compare report.json new.json --json >compared.json || rc=$?
[[ $rc == 3 ]]
judge compared.json 'rows["resolve hit"]["verdict"] == "regression"' 'report["regressions"] == 1' \
    'rows["resolve hit"]["change_percent"] > 100'

# A build without a network, or one that cannot serve, ends here.
if grep -q 'made without' table || [[ $("$WLOAD" serve /dev/null 2>&1) == *'made without'* ]]; then
    exit
fi

# ---- From a hub ----

serve --token hf_NobodySeesThis
"$WLOAD" bench hf://org/model --runs 2 --device host --only 'network' --max-workers 3 \
    --token hf_NobodySeesThis --json report.json >table 2>err
judge report.json 'list(rows) == ["network"]' \
    'rows["network"]["roof"] == "plain GETs by 3 connections"' \
    'len(rows["network"]["pairs"]) == 2' 'report["options"]["connections"] == 3' \
    'all(pair["received_bytes"] == rows["network"]["bytes"] and
         0 < pair["seconds"] == pair["download_seconds"] for pair in rows["network"]["pairs"])' \
    'all(abs(pair["percent_of_roof"] - 100 * pair["roof_seconds"] / pair["seconds"]) < 1e-6
         for pair in rows["network"]["pairs"])' \
    'rows["network"]["bytes"] == files_bytes > report["bytes"]' '"reader" not in rows["network"]'
grep -Eq '^network: roof is plain GETs by 3 connections; .* downloaded and verified in ' table
"$WLOAD" bench hf://org/model --runs 1 --device host --only download+load \
    --token hf_NobodySeesThis --json alone.json >table
judge alone.json 'list(rows) == ["download+load"]' \
    'sum(rows["download+load"]["io"].values()) >= report["bytes"]' \
    'rows["download+load"]["bytes"] == report["bytes"]'
grep -Eq '^download\+load: roof is .*; .* downloaded in .* s, loaded in ' table
# Where both are wanted, one download is measured for both.
"$WLOAD" bench hf://org/model --runs 2 --device host --only network --only download+load \
    --token hf_NobodySeesThis --json both.json >table
judge both.json 'list(rows) == ["network", "download+load"]' \
    'all(one["seconds"] == two["download_seconds"] < two["seconds"] and
         0 < one["cpu_seconds"] < two["cpu_seconds"] and one["roof_seconds"] == two["roof_seconds"]
         for one, two in zip(rows["network"]["pairs"], rows["download+load"]["pairs"],
                             strict=True))' \
    'rows["network"]["percent_of_roof"]["median"] >
     rows["download+load"]["percent_of_roof"]["median"]' \
    'all(abs(row["gb_per_s"] - sum(row["bytes"] / pair["seconds"] for pair in row["pairs"]) / 2e9)
         < row["gb_per_s"] / 1e6 for row in report["rows"])' \
    'rows["network"]["bytes"] == files_bytes' 'rows["download+load"]["bytes"] == report["bytes"]' \
    '"io" not in rows["network"]' 'rows["download+load"]["reader"] in ("uring", "pread")'
"$WLOAD" bench hf://org/model --runs 2 --device host --only first --token hf_NobodySeesThis \
    --json first.json >table 2>err
judge first.json 'list(rows) == ["first"]' \
    'all(pair["received_bytes"] >= report["bytes"] and pair["seconds"] > 0 and
         "download_seconds" not in pair for pair in rows["first"]["pairs"])'
grep -Eq '^first: roof is plain GETs by 16 connections; .* downloaded while loaded, in ' table
[[ -z $(ls tmp) ]]
if grep -r hf_NobodySeesThis report.json table err; then
    echo "the token is told" >&2
    exit 1
fi
# The roof takes no token but that of the command line, and says so.
HF_TOKEN=hf_NobodySeesThis "$WLOAD" bench hf://org/model --runs 1 --only network \
    --only download+load --json - >out
judge out 'len(rows) == 2' 'all("--token" in row["absent"] for row in report["rows"])'
"$WLOAD" bench hf://org/model --runs 1 --only network --offline --json - >out
judge out 'rows["network"]["absent"] == "the network is off"'

# Both go as fast as the server lets them: 8 MiB by two connections of 4 MiB a second each.
serve --max-rate 4M
"$WLOAD" bench hf://org/model --runs 1 --only network --max-workers 2 --json - >out
judge out 'rows["network"]["pairs"][0]["roof_seconds"] > 0.7' \
    'rows["network"]["pairs"][0]["download_seconds"] > 0.7'
[[ -z $(ls tmp) ]]

# A signal in the middle of it ends it, and leaves nothing.
for row in network download+load first; do
    env --default-signal=INT "$WLOAD" bench hf://org/model --runs 9 --only "$row" \
        --max-workers 1 --json - >out 2>err &
    bench=$!
    until [[ -n $(find tmp -name '*.incomplete') ]]; do
        kill -0 "$bench"
    done
    kill -s INT "$bench"
    rc=0
    wait "$bench" || rc=$?
    [[ $rc == 130 && ! -s out && $(cat err) == 'wload: interrupted' ]]
    [[ -z $(ls tmp) ]]
done
