#!/usr/bin/env bash
# The terminal on hardware that is not there: the same program, unchanged, on a real kernel in a virtual machine, with a
# camera (v4l2loopback, vivid), the door's lines (gpio-sim) and a card reader (uinput) that are unplugged, plugged in and
# killed while it runs; and built for 64-bit ARM on an emulated Raspberry Pi 4B, where its adapter for the Pi's registers
# drives a pin. Everything but Rust comes from Debian's packages and is kept in target/hardware; nothing is
# installed but what a build needs, and nothing needs rights. Not part of .ci/run: it takes minutes.
#
# usage: tests/hardware.sh [vm|pi]     one of the two alone
#
# Prints a line for each check, "ok ..." or "FAILED ...", and a summary; status 0 only when none has failed. Times are the
# virtual machine's own, in hundredths of a second: it counts instructions, so that a busy host changes nothing. What the
# machines printed is in target/hardware/vm.log and pi.log.
set -euo pipefail

usage() { sed -n '2,13s/^# \{0,1\}//p' "$0"; }
parts=${1:-vm pi}
case $parts in vm | pi | "vm pi") ;; -h | --help) usage; exit 0 ;; *) usage >&2; exit 2 ;; esac

cd "$(dirname "$0")/.."
here=tests/hardware
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/hardware"
folder=$(cd "$target/hardware" && pwd)
tools=$folder/tools
# A machine does not outlive this.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
deploy/prepare.sh
"$here/fetch.sh" "$folder" tools qemu-system-x86 qemu-system-arm busybox-static cpio kmod

# emulate LOG SECONDS PROGRAM ARGUMENT... : a machine, until it says its status, its kernel gives up, or time is over.
emulate() {
    local log=$1 seconds=$2 machine
    shift 2
    LD_LIBRARY_PATH=$tools/usr/lib/x86_64-linux-gnu:$tools/lib/x86_64-linux-gnu timeout "$seconds" \
        "$tools/usr/bin/$1" -L "$tools/usr/share/qemu" -L "$tools/usr/share/seabios" -display none -nodefaults -no-reboot \
        -icount shift=0,sleep=off -rtc clock=vm -serial stdio "${@:2}" </dev/null > "$log" 2>&1 &
    machine=$!
    while kill -0 $machine 2>/dev/null; do
        if grep -aqE '^== status|Attempted to kill init|Kernel panic' "$log"; then
            # An emulated Pi cannot switch itself off.
            kill $machine 2>/dev/null || true
            break
        fi
        sleep 0.5
    done
    wait $machine 2>/dev/null || true
}

# checked NAME LOG : prints the checks of a machine; counts those that failed.
failures=0
checks=0
checked() {
    tr -d '\r' < "$2" | grep -aE '^(ok  |FAILED|-- )' | sed "s/^-- /$1: /" || true
    local passed failed
    passed=$(grep -ac '^ok  ' "$2" || true)
    failed=$(grep -ac '^FAILED' "$2" || true)
    if ! grep -aqE '^== status' "$2"; then
        echo "FAILED  $1: the machine did not come to its end; see $2"
        failed=$((failed + 1))
    fi
    checks=$((checks + passed + failed))
    failures=$((failures + failed))
}

in_a_vm() {
    "$here/fetch.sh" "$folder" kernel linux-image-amd64 linux-headers-amd64 make
    "$here/fetch.sh" "$folder" only-sources linux-source-6.12 v4l2loopback-dkms
    "$here/modules.sh" "$folder"
    cargo build --quiet --locked --release -p edge-agent
    # In the way in which the tests build them.
    cargo build --quiet --locked -p rollcall-tests --bin scene --bin peripherals
    mkdir -p "$folder/scenes"
    # In slow motion: the emulated processor reads two faces a second.
    echo 2 > "$folder/scenes/fps"
    local scene
    for scene in nobody walk-up stranger; do
        "$target/debug/scene" --fps 5 $scene "$folder/scenes/$scene.mjpeg"
    done
    mkdir -p "$folder/people/obama"
    cp "deploy/demo/gallery/Barack Obama"/*.jpg "$folder/people/obama/"
    strip -o "$folder/edge-agent" "$target/release/edge-agent"
    strip -o "$folder/peripherals" "$target/debug/peripherals"
    "$here/initramfs.sh" "$folder" kernel "$tools/bin/busybox" "" "$folder/vm.cpio" \
        "vivid videodev configfs evdev uinput" "$folder/modules/gpio-sim.ko $folder/modules/v4l2loopback.ko" \
        "$here/guest.sh" "$folder/edge-agent:/bin/edge-agent" "$folder/peripherals:/bin/peripherals" \
        "$PWD/models:/models" "$folder/people:/people" "$folder/scenes:/scenes"
    emulate "$folder/vm.log" 3600 qemu-system-x86_64 -M q35 -cpu max,-fma -m 1536 -kernel "$folder"/kernel/boot/vmlinuz-* \
        -initrd "$folder/vm.cpio" -append "console=ttyS0 panic=-1 quiet"
    checked "virtual machine" "$folder/vm.log"
}

on_a_pi() {
    "$here/fetch.sh" "$folder" kernel-arm64 linux-image-arm64:arm64
    "$here/fetch.sh" "$folder" arm64 libc6:arm64 libgcc-s1:arm64 busybox-static:arm64
    "$here/fetch.sh" "$folder" cross gcc-aarch64-linux-gnu g++-aarch64-linux-gnu
    # The standard library is not Debian's: the compiler must be the one that rust-toolchain.toml names.
    [ -d "$(rustc --print sysroot)/lib/rustlib/aarch64-unknown-linux-gnu" ] || rustup target add aarch64-unknown-linux-gnu
    "$here/aarch64.sh" "$folder" build --quiet --locked -p edge-agent
    "$folder/cross/wrapped/aarch64-linux-gnu-strip" -o "$folder/edge-agent-arm64" \
        "$target/aarch64-unknown-linux-gnu/debug/edge-agent"
    "$here/initramfs.sh" "$folder" kernel-arm64 "$folder/arm64/bin/busybox" "$folder/arm64" "$folder/pi.cpio" "configfs" "" \
        "$here/guest-pi.sh" "$folder/edge-agent-arm64:/bin/edge-agent"
    # Debian's kernel keeps programs off the registers, and Raspberry Pi's own does not; the emulator has not all of the
    # Pi's parts.
    emulate "$folder/pi.log" 900 qemu-system-aarch64 -M raspi4b -m 2G -serial null \
        -kernel "$folder"/kernel-arm64/boot/vmlinuz-* -initrd "$folder/pi.cpio" \
        -dtb "$(echo "$folder"/kernel-arm64/usr/lib/linux-image-*/broadcom/bcm2711-rpi-4-b.dtb)" \
        -append "console=ttyAMA0,115200 panic=-1 quiet iomem=relaxed clk_ignore_unused \
initcall_blacklist=brcmstb_l2_driver_init,brcmstb_i2c_driver_init"
    checked "Raspberry Pi 4B" "$folder/pi.log"
}

for part in $parts; do
    case $part in vm) in_a_vm ;; pi) on_a_pi ;; esac
done
echo "$((checks - failures)) of $checks checks passed"
[ "$failures" -eq 0 ]
