#!/usr/bin/env bash
# fetch.sh FOLDER SET PACKAGE... : the Debian packages with all that they depend on, unpacked under FOLDER/SET and
# installed nowhere; of a SET whose name begins with "only-", the packages alone. apt works on lists and a status of its
# own under FOLDER/apt, so that neither the machine's sources nor what it has installed make a difference, and no rights
# are needed. What is there already is not fetched again.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
set_name=$2
shift 2
root=$folder/$set_name
[ "$(cat "$root.packages" 2>/dev/null)" != "$*" ] || exit 0

view=$folder/apt
archives=$view/archives/$set_name
rm -rf "$root" "$root.packages" "$archives"
mkdir -p "$view"/{etc,lists/partial} "$archives/partial" "$root"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=http://deb.debian.org
: > "$view/status"
cat > "$view/etc/sources.list" <<EOF
deb [signed-by=$keys] $mirror/debian bookworm main
deb [signed-by=$keys] $mirror/debian bookworm-updates main
deb [signed-by=$keys] $mirror/debian-security bookworm-security main
deb [signed-by=$keys] $mirror/debian bookworm-backports main
deb [signed-by=$keys] $mirror/debian trixie main
EOF
# Kernel and emulator are those of the backports. Of trixie one package is taken, the driver of the camera that a program
# feeds: bookworm's is too old for the kernel.
cat > "$view/etc/preferences" <<EOF
Package: src:linux:any src:linux-signed-amd64:any src:linux-signed-arm64:any src:qemu src:seabios
Pin: release n=bookworm-backports
Pin-Priority: 990

Package: *
Pin: release n=trixie
Pin-Priority: -1

Package: v4l2loopback-dkms
Pin: release n=trixie
Pin-Priority: 990
EOF
apt_get() {
    apt-get -qq -o Dir::Etc="$view/etc" -o Dir::Etc::sourcelist=sources.list -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null -o Dir::State="$view" -o Dir::State::lists="$view/lists" \
        -o Dir::State::status="$view/status" -o Dir::Cache="$view" -o Dir::Cache::archives="$archives" \
        -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
        -o APT::Install-Recommends=false -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=true \
        -o Acquire::Retries=3 -o Acquire::Languages=none -o Acquire::PDiffs=false "$@" >&2
}
# Lists are good for a day.
[ -n "$(find "$view/lists" -maxdepth 1 -name '*_Packages*' -mmin -1440)" ] || apt_get update
echo "hardware: fetching $*" >&2
case $set_name in
    only-*) (cd "$archives" && apt_get download "$@") ;;
    *) apt_get --yes --download-only install "$@" ;;
esac
for package in "$archives"/*.deb; do
    case $package in
        # The machine's own C library serves: programs must not see two.
        */libc6_*_amd64.deb) ;;
        *) dpkg-deb -x "$package" "$root" ;;
    esac
done
rm -rf "$archives"
printf '%s' "$*" > "$root.packages"
