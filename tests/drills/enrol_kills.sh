#!/usr/bin/env bash
# Drill: 300 photographs enrol from a ZIP with a CSV while the server is killed with -9 twice. Nothing may be half
# enrolled, done twice or left without a verdict. Prints time and peak memory.
#
# usage: tests/drills/enrol_kills.sh FACES_DIR     a folder with identification.csv (subset,role,person,enrol_index,image)
set -euo pipefail
faces=$(realpath "${1:?usage: tests/drills/enrol_kills.sh FACES_DIR}")
cd "$(dirname "$0")/../.."
cargo build --quiet --release --locked -p edge-agent
agent=$PWD/target/release/edge-agent
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null; rm -rf "$work"' EXIT

python3 - "$faces" "$work" <<'PY'
import csv, pathlib, sys, zipfile
faces, work = map(pathlib.Path, sys.argv[1:])
rows = [row for row in csv.DictReader(open(faces / "identification.csv")) if row["subset"] == "lfw" and row["role"] == "gallery"][:300]
with zipfile.ZipFile(work / "photos.zip", "w") as archive, open(work / "people.csv", "w", newline="") as out:
    table = csv.writer(out)
    table.writerow(["picture", "external_id", "name", "groups"])
    for row in rows:
        name = pathlib.Path(row["image"]).name
        archive.write(faces / row["image"], name)
        table.writerow([name, row["person"], row["person"].replace("_", " "), "Drill"])
print(len(rows), "photographs of", len({row["person"] for row in rows}), "people")
PY

serve() {
    # A pipe to read the ready line from; the server's own log goes to a file.
    coproc SERVER { exec /usr/bin/time -f '%M KiB peak, %e s' -o "$work/server.time" "$agent" run --data "$work/data" --address 127.0.0.1:"${port:-0}" --screen 127.0.0.1:0 2>>"$work/server.log"; }
    read -r ready <&"${SERVER[0]}"
    server=$(pgrep -P "$SERVER_PID" -x edge-agent)
    port=$(sed -n 's#.*https://[^ ]*:\([0-9]*\).*#\1#p' <<<"$ready")
}

serve
start=$(date +%s.%N)
"$agent" enrol "$work/photos.zip" --csv "$work/people.csv" --consent-form drill --json --data "$work/data" >"$work/verdicts.jsonl" 2>"$work/enrol.log" &
client=$!
for at in 100 200; do
    until [ "$(grep -c . "$work/verdicts.jsonl" || true)" -ge $at ]; do
        kill -0 $client 2>/dev/null || { cat "$work/enrol.log"; exit 1; }
        sleep 0.05
    done
    kill -9 "$server"
    echo "killed the server after $(grep -c . "$work/verdicts.jsonl") verdicts"
    wait "$SERVER_PID" || true
    serve
done
wait $client || true
echo "enrolled in $(python3 -c "import time; print(f'{time.time() - $start:.1f}')") s"
tail -1 "$work/enrol.log"
"$agent" enrol "$work/photos.zip" --csv "$work/people.csv" --json --data "$work/data" >"$work/again.jsonl" 2>"$work/again.log" || true
python3 - "$work" <<'PY'
import collections, json, pathlib, sys
work = pathlib.Path(sys.argv[1])
first, again = ([json.loads(line) for line in open(work / name)] for name in ("verdicts.jsonl", "again.jsonl"))
assert len(first) == len(again) == 300, (len(first), len(again))
assert all(line["earlier"] for line in again), "a second run did work again"
assert [(line["picture"], line["verdict"]) for line in first] == [(line["picture"], line["verdict"]) for line in again]
print("verdicts:", dict(collections.Counter(line["verdict"] for line in first)))
print("answered from an earlier verdict in the first run:", sum(line["earlier"] for line in first))
PY
kill -TERM "$server"; wait "$SERVER_PID" || true
python3 - "$work" <<'PY'
import pathlib, sqlite3, sys
db = sqlite3.connect(pathlib.Path(sys.argv[1]) / "data" / "gallery.db")
one = lambda sql: db.execute(sql).fetchone()[0]
templates, enrolled = one("select count(*) from gallery_template"), one("select count(*) from gallery_enrolment where template_id is not null")
assert templates == enrolled, (templates, enrolled)
assert one("select count(*) from gallery_enrolment") == 300
print(one("select count(*) from gallery_person"), "people,", templates, "templates, each with its verdict")
PY
echo "server after the last start: $(cat "$work/server.time")"
echo "nothing half enrolled, nothing done twice, every verdict there"
