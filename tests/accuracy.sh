#!/usr/bin/env bash
# Compares the program with the reference implementation, and prints how accurate it is.
#
# usage: tests/accuracy.sh DIR
#
# DIR holds faces/ (labelled photographs) and reference/ (pictures_png.json, pictures.json and set.json: what
# facenet-pytorch and onnxruntime answer). Status 0 only when every bound of tests/accuracy/compare.py holds.
set -euo pipefail
[ $# -eq 1 ] && [ -d "$1/faces" ] && [ -d "$1/reference" ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dir=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
deploy/prepare.sh
command -v python3 >/dev/null || { apt-get update -qq && apt-get install -y -qq python3; } >&2
cargo build --quiet --release --locked -p edge-agent
python3 tests/accuracy/compare.py target/release/edge-agent "$dir"
