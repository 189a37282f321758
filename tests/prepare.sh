#!/usr/bin/env bash
# Installs what the tests need beside the build: PostgreSQL, which they start themselves; strace, which kills programs at
# chosen system calls; faketime, which gives a program another clock; Python, curl and protoc, which the examples use.
# Does nothing, and asks for no rights, when all of it is there.
set -euo pipefail

packages=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || packages+=(postgresql)
command -v strace >/dev/null || packages+=(strace)
command -v faketime >/dev/null || packages+=(faketime)
# The examples for scripts: Python, and curl with protoc.
command -v curl >/dev/null || packages+=(curl)
command -v protoc >/dev/null || packages+=(protobuf-compiler)
[ -e /usr/include/google/protobuf/empty.proto ] || packages+=(libprotobuf-dev)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
[ ${#packages[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "prepare: as root, run: apt-get install ${packages[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
echo "prepare: installing ${packages[*]}" >&2
"${as_root[@]}" apt-get update -qq >&2
# The tests start servers of their own: the system's must neither be made nor run.
"${as_root[@]}" mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] \
    || echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
