#!/usr/bin/env bash
# Drill: the disk is full while N people come in (500 unless told), then there is room again. The door must open for each
# of them, and all their events must arrive, in order (FAULTS.md 8). The disk is full for as long as that takes, some
# minutes: what an hour would add is waiting alone. The tests do 20 of it.
#
# usage: tests/drills/full_disk.sh [N]
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --quiet --release --locked -p edge-agent
ROLLCALL_WAITING_EVENTS=${1:-500} cargo test --quiet --release --locked -p rollcall-tests --test disk f007_f008 -- --nocapture
