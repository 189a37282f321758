#!/usr/bin/env bash
# modules.sh FOLDER : builds FOLDER/modules/gpio-sim.ko and v4l2loopback.ko for the kernel that fetch.sh has unpacked under
# FOLDER/kernel, from the sources under FOLDER/only-sources and with the compiler of the kernel's own headers. Debian's
# kernel has no gpio-sim. It is the kernel's (GPL): taken from its source here and in no release of ours.
set -euo pipefail
folder=$(cd "$1" && pwd)
kernel=$folder/kernel
built=$folder/modules
version=$(basename "$kernel"/lib/modules/*)
[ "$(cat "$built/version" 2>/dev/null)" != "$version" ] || exit 0

rm -rf "$built"
mkdir -p "$built"/{gpio-sim,v4l2loopback}
source=$(echo "$folder"/only-sources/usr/src/linux-source-*.tar.xz)
name=$(basename "$source" .tar.xz)
tar -xJf "$source" -C "$built/gpio-sim" --strip-components=3 "$name/drivers/gpio/gpio-sim.c" "$name/kernel/irq/irq_sim.c"
# irq_to_desc is not for modules; this asks for the same thing.
sed -i 's/handle_simple_irq(irq_to_desc(irqnum))/generic_handle_irq(irqnum)/' "$built/gpio-sim/irq_sim.c"
mv "$built/gpio-sim/gpio-sim.c" "$built/gpio-sim/gpio.c"
printf 'obj-m := gpio-sim.o\ngpio-sim-objs := gpio.o irq_sim.o\n' > "$built/gpio-sim/Makefile"
cp "$folder"/only-sources/usr/src/v4l2loopback-*/{*.c,*.h} "$built/v4l2loopback"
printf 'obj-m := v4l2loopback.o\n' > "$built/v4l2loopback/Makefile"

# The headers find each other as if they were installed.
headers=$kernel/usr/src/linux-headers-$version
common=$kernel/usr/src/linux-headers-${version%-*}-common
sed -i "s|^include /usr/src/|include $kernel/usr/src/|" "$headers/Makefile"
for link in scripts tools; do
    ln -sfn "$kernel/usr/src/linux-kbuild-${version%-*}/$link" "$headers/$link"
    ln -sfn "$kernel/usr/src/linux-kbuild-${version%-*}/$link" "$common/$link"
done
# Without it no type information is made for the modules, which would take another tool.
rm -f "$headers/vmlinux"
export PATH=$kernel/usr/bin:$PATH LD_LIBRARY_PATH=$kernel/usr/lib/x86_64-linux-gnu:$kernel/lib/x86_64-linux-gnu
for module in gpio-sim v4l2loopback; do
    make -s -C "$headers" M="$built/$module" modules > "$built/$module/log" 2>&1 || { cat "$built/$module/log" >&2; exit 1; }
    strip -g -o "$built/$module.ko" "$built/$module/$module.ko"
done
printf '%s' "$version" > "$built/version"
