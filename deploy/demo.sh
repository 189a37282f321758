#!/usr/bin/env bash
# Shows Rollcall at work: a terminal with a camera that plays a scene made of the portraits in deploy/demo, a door that
# writes down what its lock does, and the screen at the door. One person is enrolled; he is let in each time that he
# comes, strangers are not. Builds it first.
#
# usage: deploy/demo.sh [--for SECONDS]     ends by itself after SECONDS; without it, with Ctrl-C
#
# Status 0 only when the enrolled person was named and let in, and no stranger was. target/demo has what it wrote.
set -euo pipefail

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; }

seconds=
while [ $# -gt 0 ]; do
    case $1 in
        --for) seconds=${2:?--for needs a number of seconds}; shift 2 ;;
        -h|--help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done

cd "$(dirname "$0")/.."
deploy/prepare.sh
cargo build --quiet --release --locked -p edge-agent
cargo build --quiet --release --locked -p rollcall-tests --bin scene
agent=target/release/edge-agent
demo=target/demo
rm -rf "$demo/data" "$demo/door.jsonl" "$demo/events"
mkdir -p "$demo"

"$agent" identify --gallery deploy/demo/gallery --sheet "$demo/sheet.png" \
    deploy/demo/pictures/obama3.jpg deploy/demo/pictures/biden.jpg deploy/demo/pictures/astronaut.png
echo "The pictures with their faces marked: $demo/sheet.png"
echo

for part in walk-up stranger crossing nobody; do
    target/release/scene "$part" "$demo/$part.mjpeg"
done
cat "$demo"/{nobody,walk-up,nobody,stranger,nobody,crossing}.mjpeg >"$demo/scene.mjpeg"
cat >"$demo/edge-agent.toml" <<'TOML'
[terminal]
name = "Main gate"

[camera]
source = "file"
file = "scene.mjpeg"
repeat = true

# Portraits cannot turn their heads.
[liveness]
policy = "off"

[door]
driver = "recorded"
record = "door.jsonl"
fail = "secure"
open_ms = 2000

[kiosk]
address = "127.0.0.1:0"

[server]
address = "127.0.0.1:0"
TOML

: >"$demo/ready"
"$agent" run --config "$demo/edge-agent.toml" --data "$demo/data" >"$demo/ready" 2>"$demo/log" &
server=$!
finish() {
    kill "$server" 2>/dev/null || true
    wait "$server" || true
}
trap finish EXIT
trap 'exit 130' INT TERM
until grep -q '^ready: ' "$demo/ready"; do
    kill -0 "$server" 2>/dev/null || { cat "$demo/log" >&2; exit 1; }
    sleep 0.1
done
"$agent" enrol deploy/demo/gallery --consent-form "demo" --data "$demo/data"
echo
echo "The screen at the door: $(sed 's/.*screen=//' "$demo/ready")"
echo "For scripts: $(sed 's/^ready: //' "$demo/ready")"
echo "What the log says, as it comes${seconds:+, for $seconds seconds}:"
if [ -n "$seconds" ]; then
    timeout "$seconds" "$agent" events --data "$demo/data" | tee "$demo/events" || true
else
    "$agent" events --data "$demo/data" | tee "$demo/events" || true
fi

trap - EXIT
kill "$server"
wait "$server"
opened=$(grep -c '"line":"lock","level":"released"' "$demo/door.jsonl" || true)
named=$(grep -c ' recognised Barack Obama' "$demo/events" || true)
others=$(grep ' recognised ' "$demo/events" | grep -vc ' recognised Barack Obama' || true)
refused=$(grep -c ' a face that is not known' "$demo/events" || true)
echo
echo "Barack Obama was recognised $named times, faces that are not known were refused $refused times; the lock opened $opened times."
"$agent" verify-log --data "$demo/data"
if [ "$named" -lt 1 ] || [ "$refused" -lt 1 ] || [ "$others" -gt 0 ] || [ "$opened" -lt "$named" ]; then
    echo "demo: that is not how it should be; $demo/log has more" >&2
    exit 1
fi
