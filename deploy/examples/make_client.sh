#!/usr/bin/env bash
# Makes what the Python examples need: an environment with grpcio, and the client that is generated from proto/.
#
# usage: deploy/examples/make_client.sh DIR      DIR is outside of the repository; it is made
#
# Then run the examples with DIR/bin/python. Needs python3 with venv (Debian: python3-venv). Run again after an update.
set -euo pipefail

[ $# -eq 1 ] && [ "${1#-}" = "$1" ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)

[ -x "$dir/bin/pip" ] || python3 -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
# Beside the libraries, so that the examples find it without being told where it is.
packages=$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$dir/bin/python" -m grpc_tools.protoc --proto_path="$here/../../proto" \
    --python_out="$packages" --grpc_python_out="$packages" "$here"/../../proto/rollcall/v1/*.proto
echo "$dir/bin/python $here/people.py --help"
