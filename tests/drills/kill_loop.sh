#!/usr/bin/env bash
# Drill: the terminal is killed with -9 while people come in, N times (2,000 unless told). Each opening of the door must
# have its event, and no event may be there twice. The tests do 200 rounds of it.
#
# usage: tests/drills/kill_loop.sh [N]
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release --locked -p edge-agent
ROLLCALL_KILL_ROUNDS=${1:-2000} cargo test --quiet --release --locked -p rollcall-tests --test kill_loop -- --nocapture
