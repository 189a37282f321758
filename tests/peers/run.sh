#!/usr/bin/env bash
# Compares edge-agent's speed with that of other software on the same frames, in one run.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/peers/run.sh [--rounds N] [--frames DIR|FILE.mjpeg] [--min-face PX] [--keep DIR]

Prints one table: processor milliseconds a frame, one thread, of edge-agent, onnxruntime, ncnn and OpenCV dnn (the four
networks of models/, the same procedure), facenet-pytorch with torch, and face_recognition with dlib. Then versions,
counts, and whether the bounds hold. Status 0 only when they do and every peer's networks agree with onnxruntime's.

  --rounds N      interleaved rounds, each of three turns of every program [default: 7]
  --frames PATH   a folder of pictures, or JPEGs joined end to end, one with a face [default: edge-agent's own]
  --min-face PX   smallest face to look for [default: 60]
  --keep DIR      keep the Python environment in DIR and use it again; without it, it goes to a temporary folder

The environment takes some 6 gigabytes and a few minutes, as torch from PyPI brings CUDA: no smaller build of it is
there for x86, and it does not load without those libraries. Run it when the machine has nothing else to do.

  EDGE_AGENT   the program to measure [default: target/release/edge-agent, built when it is missing]
  PYTHON3      the Python, 3.11 or newer, to make the environment from [default: python3]
TEXT
}

fail_usage() { usage >&2; exit 2; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
source "$root/models/make/throw_away_venv.sh"

rounds=7 min_face=60 frames='' keep=''
while (( $# )); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --rounds | --frames | --min-face | --keep) (( $# >= 2 )) || fail_usage ;;
    *) fail_usage ;;
  esac
  case $1 in
    --rounds) rounds=$2 ;;
    --frames) frames=$2 ;;
    --min-face) min_face=$2 ;;
    --keep) keep=$2 ;;
  esac
  shift 2
done
[[ $rounds =~ ^[1-9][0-9]{0,3}$ && $min_face =~ ^[1-9][0-9]{1,3}$ ]] || fail_usage
if [[ -n $frames && ! -e $frames ]]; then echo "run.sh: $frames is not there" >&2; exit 2; fi

agent=${EDGE_AGENT:-$root/target/release/edge-agent}
if [[ ! -x $agent && -z ${EDGE_AGENT:-} ]]; then
  (cd "$root" && cargo build --quiet --release --locked -p edge-agent)
fi
[[ -x $agent ]] || { echo "run.sh: $agent is no program" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=$work/venv
if [[ -n $keep ]]; then mkdir -p "$keep"; venv=$(cd "$keep" && pwd)/venv; fi

# Complete only with the mark, which says for which packages.
mark=$(cat "$here"/requirements*.txt | sha256sum)
if [[ $(cat "$venv/complete" 2>/dev/null) != "$mark" ]]; then
  echo "installing the peers, a few minutes" >&2
  rm -rf "$venv"
  make_venv "$venv" --requirement "$here/requirements.txt"
  pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps)
  "${pip[@]}" --requirement "$here/requirements-no-deps.txt"
  # The comparison goes on without these, and says so.
  "${pip[@]}" --requirement "$here/requirements-dlib.txt" || true
  echo "$mark" > "$venv/complete"
fi

if [[ -z $frames ]]; then
  frames=$work/frame.mjpeg
  "$agent" bench --write-frame "$frames"
fi
mkdir "$work/networks"

# The two OPENBLAS variables choose slow kernels where old builds of it need them; nothing here does.
env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE -u PYTHONPATH \
  OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 \
  PYTHONWARNINGS='ignore:pkg_resources:UserWarning' \
  "$venv/bin/python" "$here/compare.py" --agent "$agent" --models "$root/models" --work "$work/networks" \
  --frames "$frames" --rounds "$rounds" --min-face "$min_face"
