#!/usr/bin/env bash
# Makes a picture of every state of the screen at the door, in three sizes and both languages: target/screens/*.png.
# They are for people to look at; what is cut off or overlaps is told, and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v chromium >/dev/null; then
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core >&2
fi
exec python3 tests/screens.py "${CARGO_TARGET_DIR:-target}/screens" "$@"
