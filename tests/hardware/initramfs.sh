#!/usr/bin/env bash
# initramfs.sh FOLDER KERNEL BUSYBOX ROOT OUT "MODULE..." "FILE.ko..." SCRIPT FROM:TO... : the whole of a virtual machine's
# disk: busybox, kernel modules of FOLDER/KERNEL in the order in which they load, then those of ours, SCRIPT as what the
# machine does, and the other files; those that are programs bring the libraries with which they are linked, out of ROOT.
set -euo pipefail
folder=$(cd "$1" && pwd)
kernel=$folder/$2
busybox=$3
libraries=$4
out=$5
modules=$6
own=$7
script=$8
shift 8
tools=$folder/tools
export LD_LIBRARY_PATH=$tools/usr/lib/x86_64-linux-gnu:$tools/lib/x86_64-linux-gnu
version=$(basename "$kernel"/lib/modules/*)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{bin,dev,proc,sys,tmp,run,etc,modules}
cp "$busybox" "$tree/bin/busybox"

kmod() { (exec -a "$1" "$tools/bin/kmod" "${@:2}"); }
[ -e "$kernel/lib/modules/$version/modules.dep.bin" ] || kmod depmod -b "$kernel" "$version"
for module in $modules; do
    kmod modprobe -d "$kernel" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
    name=$(basename "${file%.xz}")
    case $file in *.xz) xz -dc "$file" > "$tree/modules/$name" ;; *) cp "$file" "$tree/modules/$name" ;; esac
    echo "$name" >> "$tree/modules/order"
done
for file in $own; do cp "$file" "$tree/modules/"; done

# The libraries that a program names, and those that they name.
bring() {
    local name file
    for name in $(readelf -d "$1" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p') \
        $(readelf -l "$1" 2>/dev/null | sed -n 's/.*program interpreter: \(.*\)\]/\1/p'); do
        case $name in
            /*) file=$libraries$name ;;
            *) for file in "$libraries"/{usr/,}lib/*-linux-gnu/"$name"; do [ -e "$file" ] && break; done ;;
        esac
        local to=/lib/$name
        case $name in /*) to=$name ;; esac
        [ -e "$tree$to" ] && continue
        mkdir -p "$tree$(dirname "$to")"
        cp -L "$file" "$tree$to"
        bring "$file"
    done
}
for pair in "$@"; do
    from=${pair%%:*}
    to=$tree${pair#*:}
    mkdir -p "$(dirname "$to")"
    cp -rL "$from" "$to"
    [ -d "$from" ] || bring "$from"
done
cp "$script" "$tree/script"
cp "$(dirname "$0")/init" "$tree/init"
chmod +x "$tree/init"
(cd "$tree" && find . | "$tools/bin/cpio" -o -H newc --quiet) > "$out"
