#!/usr/bin/env bash
# Proves convert_checkpoint against PyTorch with random weights, and that it refuses what it must.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: prove_convert.sh

Makes a throw-away Python environment with torch, onnx and onnxruntime (on Linux several gigabytes, as torch brings
CUDA), converts random checkpoints and compares ONNX Runtime with PyTorch. Exit status 0 only if all is right.
PYTHON=/path/to/python, if set, is used instead; it needs numpy, torch, onnx and onnxruntime.
TEXT
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then usage; exit 0; fi
if (( $# != 0 )); then usage >&2; exit 2; fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/throw_away_venv.sh"

python=${PYTHON:-}
if [[ -z $python ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  make_venv "$work/venv" numpy==2.4.6 torch==2.15.0 onnx==1.23.2 onnxruntime==1.32.0 protobuf==7.36.2 ml_dtypes==0.6.0
  python=$work/venv/bin/python
fi
PYTHONDONTWRITEBYTECODE=1 "$python" "$here/prove_convert.py"
