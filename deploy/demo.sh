#!/usr/bin/env bash
# Shows Rollcall at work on the portraits in deploy/demo: one person is enrolled, and every picture says who is on it
# or that nobody known is. Then the same people are enrolled at a running program, as scripts do it. Builds it first.
#
# usage: deploy/demo.sh [--for SECONDS]     stops after SECONDS at the latest
#
# Status 0 only when the enrolled person was named and the strangers were refused.
set -euo pipefail

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0"; }

seconds=600
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
mkdir -p target/demo
sheet=target/demo/sheet.png

answers=$(timeout "$seconds" target/release/edge-agent identify --gallery deploy/demo/gallery --sheet "$sheet" \
    deploy/demo/pictures/obama3.jpg deploy/demo/pictures/biden.jpg deploy/demo/pictures/astronaut.png)
echo "$answers"
echo "The pictures with their faces marked: $sheet"

expect() {
    grep -q "^deploy/demo/pictures/$1: $2 (score" <<<"$answers" && return
    echo "demo: $1 should have been answered with: $2" >&2
    exit 1
}
expect obama3.jpg "Barack Obama"
expect biden.jpg "not known"
expect astronaut.png "not known"
echo "The enrolled person was named, the strangers were refused."

data=$(mktemp -d)
coproc SERVER { exec timeout "$seconds" target/release/edge-agent run --data "$data" --address 127.0.0.1:0 2>"$data/log"; }
# Bash forgets SERVER_PID when the program has ended.
server=$SERVER_PID
trap 'kill "$server" 2>/dev/null || true; rm -rf "$data"' EXIT
read -r ready <&"${SERVER[0]}" || { cat "$data/log" >&2; exit 1; }
echo
echo "A program for scripts, $ready"
url=${ready#ready: }
target/release/edge-agent enrol deploy/demo/gallery --consent-form "demo" --data "$data" --server "${url%% *}"
kill "$server"
wait "$server"
target/release/edge-agent verify-log --data "$data"
