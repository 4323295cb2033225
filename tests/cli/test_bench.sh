#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: `wload bench` reports every row beside its roof with what was really used, and
# `wload compare` tells a regression from none.
# Method: one pair per row on a small model, with and without io_uring; then compare the report
# with itself, with doctored copies, and with what is no report.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$WLOAD" synth model --preset llama --size 16M --shards 2 --seed 7 >/dev/null

# judge REPORT EXPRESSION...: each must hold for `report`, of which rows["NAME"] gives a row.
judge() {
    python3 - "$@" <<'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    report = json.load(file)
rows = {row["name"]: row for row in report["rows"]}
measured = [row for row in report["rows"] if "absent" not in row]
for expression in sys.argv[2:]:
    if not eval(f"({expression})"):
        sys.exit(f"does not hold: {expression}\n{json.dumps(report, indent=1)}")
PYTHON
}

# doctor STATEMENT: run it on the `rows` of report.json, and write new.json.
doctor() {
    python3 - "$1" <<'PYTHON'
import json
import sys

with open("report.json", encoding="utf-8") as file:
    report = json.load(file)
rows = {row["name"]: row for row in report["rows"]}
exec(sys.argv[1])
with open("new.json", "w", encoding="utf-8") as file:
    json.dump(report, file)
PYTHON
}

# fails CODE COMMAND...: it exits so, with one line on stderr and nothing on stdout.
fails() {
    local rc=0
    "${@:2}" >out 2>err || rc=$?
    if [[ $rc != "$1" || -s out || $(wc -l <err) != 1 ]]; then
        echo "exit $rc, not $1: ${*:2}" >&2
        cat out err >&2
        exit 1
    fi
}

"$WLOAD" bench model --runs 1 --json report.json 2>&1 >table | tee err
[[ ! -s err ]]
judge report.json \
    'list(rows) == ["sink cold", "sink warm", "host cold", "host warm fresh", "host warm reused",
      "device cold", "device warm"]' \
    'all(row.get("absent", "why") for row in report["rows"])' \
    'rows["sink warm"] in measured and rows["host warm reused"] in measured' \
    'all(row["percent_of_roof"]["min"] <= row["percent_of_roof"]["median"] <=
         row["percent_of_roof"]["max"] for row in measured)' \
    'all(len(row["pairs"]) == 1 for row in measured)' \
    'all(abs(row["gb_per_s"] - report["bytes"] / row["pairs"][0]["seconds"] / 1e9)
         < row["gb_per_s"] / 1e6 for row in measured)' \
    'all(abs(row["percent_of_roof"]["median"] - 100 * pair["roof_seconds"] / pair["seconds"]) < 1e-6
         for row in measured for pair in row["pairs"])' \
    'all(sum(row["io"].values()) >= report["bytes"] for row in measured)' \
    'all(pair["resident_bytes_before"] < report["bytes"] / 50 if "cold" in row["name"]
         else pair["resident_bytes_before"] > report["bytes"] * 0.98
         for row in measured for pair in row["pairs"])' \
    'rows["sink warm"]["io"]["direct_bytes"] == 0' \
    'report["machine"]["cpus"] >= 1 and report["machine"]["kernel"]' \
    '16 << 20 >= report["bytes"] > 15 << 20 and report["files"] == 2' \
    'report["roof_read_bytes"] >= report["bytes"]'
for row in 'sink cold' 'sink warm' 'host cold' 'host warm fresh' 'host warm reused' 'device cold' \
    'device warm'; do
    grep -Eq "^$row +([0-9.]+ +[0-9.]+ +[0-9.]+ |absent: )" table
done

# What is asked for is used, and the pairs of one seed come in one order.
"$WLOAD" bench model --runs 3 --seed 9 --only 'sink warm' --reader pread --io buffered --json - \
    >report.json
judge report.json 'list(rows) == ["sink warm"]' 'measured[0]["reader"] == "pread"' \
    'len(measured[0]["pairs"]) == 3' 'report["options"]["io"] == "buffered"'
"$WLOAD" bench model --runs 8 --seed 9 --only 'sink warm' --json - >again.json
judge again.json '[pair["first"] for pair in measured[0]["pairs"]][:3] ==
    [pair["first"] for pair in json.load(open("report.json"))["rows"][0]["pairs"]]' \
    '{pair["first"] for pair in measured[0]["pairs"]} == {"load", "roof"}'

# Without io_uring the roof and the load read by threads.
"$WLOAD_BUILD/tests/deny_uring" EPERM "$WLOAD" bench model --runs 1 --only 'sink*' --json - \
    >denied.json
judge denied.json 'rows["sink warm"]["reader"] == "pread"' \
    'rows["sink cold"].get("absent") or "pread" in rows["sink cold"]["roof"]'

# With a GPU (its driver's double, whose bus is slow) the roof is the slower of storage and bus.
LD_LIBRARY_PATH=$WLOAD_DOUBLE WLOAD_DOUBLE_STRICT=1 WLOAD_DOUBLE_GBPS=0.2 \
    "$WLOAD" bench model --runs 1 --only 'device*' --json - >device.json
judge device.json 'rows["device warm"] in measured and rows["device warm"]["roof_has_bus"]' \
    '0 < rows["device warm"]["roof_gb_per_s"] <= 0.2' \
    'all(pair["roof_seconds"] >= pair["bus_seconds"] >= report["bytes"] / 0.2e9
         for row in measured for pair in row["pairs"])' \
    'report["machine"]["device_kind"] == "cuda"'

fails 1 "$WLOAD" bench nowhere
# Before anything is measured or a model looked for.
fails 1 "$WLOAD" bench nowhere --json no/such/folder.json
grep -Fq "cannot write 'no/such/folder.json'" err
fails 2 "$WLOAD" bench model --runs 0
fails 2 "$WLOAD" bench model --only 'no such row' --runs 1
fails 2 "$WLOAD" bench model --chunk 100000
fails 2 "$WLOAD" bench

# ---- compare ----

"$WLOAD" bench model --runs 1 --json report.json >table
"$WLOAD" compare report.json report.json >out
grep -Eq '^sink warm .* same$' out
doctor 'rows["sink warm"]["percent_of_roof"]["median"] *= 0.96'
"$WLOAD" compare report.json new.json >out
rc=0
"$WLOAD" compare report.json new.json --fail-over 3% >out || rc=$?
[[ $rc == 3 ]]
grep -Eq '^sink warm .* -4\.0% .* regression$' out
rc=0
"$WLOAD" compare report.json new.json --fail-over 3 --json >compared.json || rc=$?
[[ $rc == 3 ]]
judge compared.json 'report["regressions"] == 1' 'rows["sink warm"]["verdict"] == "regression"' \
    'rows["host warm reused"]["verdict"] == "same"' \
    'abs(rows["sink warm"]["change_percent"] + 4) < 1e-6'
"$WLOAD" compare new.json report.json --fail-over 3% >out
grep -Eq '^sink warm .* better$' out

# A row that is gone, or has become absent, is a regression; one that is new is none.
doctor 'report["rows"].remove(rows["sink warm"])'
rc=0
"$WLOAD" compare report.json new.json >out || rc=$?
[[ $rc == 3 ]]
grep -Eq '^sink warm .* missing$' out
"$WLOAD" compare new.json report.json >out
grep -Eq '^sink warm .* new$' out
doctor 'rows["sink warm"].clear(); rows["sink warm"].update(name="sink warm", absent="no luck")'
rc=0
"$WLOAD" compare report.json new.json >out || rc=$?
[[ $rc == 3 ]]

for text in '' '{' '[]' '{}' '{"rows": 1}' '{"rows": [1]}' '{"rows": [{"name": "x"}]}' \
    '{"rows": [{"name": "x", "percent_of_roof": {"median": "1"}, "gb_per_s": 1}]}'; do
    printf '%s' "$text" >bad.json
    fails 1 "$WLOAD" compare report.json bad.json
    fails 1 "$WLOAD" compare bad.json report.json
done
fails 1 "$WLOAD" compare report.json nowhere.json
fails 1 "$WLOAD" compare report.json .
fails 2 "$WLOAD" compare report.json
fails 2 "$WLOAD" compare report.json new.json --fail-over much
