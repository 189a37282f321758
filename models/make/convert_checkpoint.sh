#!/usr/bin/env bash
# Converts a PyTorch MobileFaceNet checkpoint to ONNX and prints its manifest entry. All options: --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: convert_checkpoint.sh CHECKPOINT.pth OUT.onnx [--name NAME] [--licence TEXT] [--origin TEXT] [--colour RGB|BGR]

Makes a throw-away Python environment (numpy and onnx; no torch) and converts in it.
PYTHON=/path/to/python, if set, is used instead; it needs numpy and onnx. --help lists all options.
TEXT
}

if [[ ${1:-} == -h ]]; then usage; exit 0; fi
if (( $# == 0 )); then usage >&2; exit 2; fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/throw_away_venv.sh"

python=${PYTHON:-}
if [[ -z $python ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  make_venv "$work/venv" numpy==2.4.6 onnx==1.23.2 protobuf==7.36.2 ml_dtypes==0.6.0 typing_extensions==4.16.0
  python=$work/venv/bin/python
fi
PYTHONDONTWRITEBYTECODE=1 "$python" "$here/convert_checkpoint.py" "$@"
