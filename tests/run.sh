#!/usr/bin/env bash
# Runs every test that needs no hardware and no pictures from elsewhere: formatting, lints, unit, golden and
# whole-system tests. Installs what the build and the tests need.
set -euo pipefail
cd "$(dirname "$0")/.."
deploy/prepare.sh
tests/prepare.sh
cargo fmt --all --check
cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
cargo test --locked --workspace
