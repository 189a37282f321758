#!/usr/bin/env bash
# aarch64.sh FOLDER CARGO-ARGUMENT... : cargo for 64-bit ARM with Debian's cross compiler, which fetch.sh has unpacked
# under FOLDER/cross, and with the headers and libraries there.
set -euo pipefail
root=$(cd "$1/cross" && pwd)
shift
tools=$root/wrapped
mkdir -p "$tools"
for tool in gcc g++ ar ranlib strip; do
    own=
    case $tool in g*) own="--sysroot='$root'" ;; esac
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" %s "$@"\n' "$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu" \
        "$root/usr/bin/aarch64-linux-gnu-$tool" "$own" > "$tools/aarch64-linux-gnu-$tool"
    chmod +x "$tools/aarch64-linux-gnu-$tool"
done
export PATH=$tools:$PATH
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CXX_aarch64_unknown_linux_gnu=aarch64-linux-gnu-g++
export AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar
# v4l's bindings are made from the target's own headers.
export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu="--sysroot=$root -I$root/usr/aarch64-linux-gnu/include"
command=$1
shift
exec cargo "$command" --target aarch64-unknown-linux-gnu "$@"
