#!/usr/bin/env bash
# Installs what a build needs beside Rust: a C compiler, cmake and nasm for libjpeg-turbo, libclang for the kernel's camera
# interface. Does nothing, and asks for no rights, when all of it is there.
set -euo pipefail

packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v c++ >/dev/null || packages+=(g++)
command -v make >/dev/null || packages+=(make)
command -v cmake >/dev/null || packages+=(cmake)
command -v nasm >/dev/null || packages+=(nasm)
compgen -G '/usr/lib/llvm-*/lib/libclang-[0-9]*.so*' >/dev/null || packages+=(libclang-dev)
[ ${#packages[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "prepare: as root, run: apt-get install ${packages[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
echo "prepare: installing ${packages[*]}" >&2
"${as_root[@]}" apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
