#!/usr/bin/env bash
# Converts a PyTorch MobileFaceNet checkpoint to ONNX and prints its manifest entry.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: convert_checkpoint.sh CHECKPOINT.pth OUT.onnx [--name NAME] [--licence TEXT] [--origin TEXT] [--colour RGB|BGR]

Converts a MobileFaceNet checkpoint in the layout of InsightFace_Pytorch (TreB1eN), any embedding length, to ONNX,
and prints the entry for models/manifest.toml. The checkpoint is read without running code of it. A checkpoint with
missing or left-over tensors, or of another network, is refused by the names of its keys, and nothing is written.

  --name NAME       the network's name in the manifest (default: OUT without .onnx)
  --licence TEXT    of the weights (default: "not stated"; ask their author)
  --origin TEXT     where the weights are from (default: the checkpoint's file name and sha256)
  --colour RGB|BGR  order of the colour planes that the network was trained on. The default is BGR: that is what
                    InsightFace_Pytorch trains on, tests on and takes from its camera, as OpenCV orders them.
                    Say RGB only for a checkpoint that was trained on RGB pictures. The wrong one costs accuracy
                    without an error.

The converter runs in a throw-away Python environment (numpy and onnx, no torch), made with python3 or the one named
in PYTHON3, 3.11 or newer. PYTHON=/path/to/python uses that one as it is; it needs numpy and onnx.
TEXT
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then usage; exit 0; fi
if (( $# < 2 )); then usage >&2; exit 2; fi

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
