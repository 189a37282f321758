# What happens inside the emulated Raspberry Pi 4B of tests/hardware.sh, run by busybox: the adapter for the Pi's own
# registers drives the lock's pin, and the kernel's pin controller says what it is. Prints like guest.sh.
pin=17
failures=0
passed() { echo "ok      $*"; }
failed() {
    echo "FAILED  $*"
    failures=$((failures + 1))
}
# What the kernel says of the pin: "gpio_out hi".
level() { grep -hoE "pin $pin .*" /sys/kernel/debug/pinctrl/*/pins | sed -n 's/.*function \([a-z_0-9]*\) in \([a-z]*\).*/\1 \2/p'; }
# expect SECONDS WHAT FUNCTION-AND-LEVEL
expect() {
    local left=$(($1 * 20))
    until [ "$(level)" = "$3" ]; do
        left=$((left - 1))
        [ $left -gt 0 ] || { failed "$2: it is $(level), not $3"; return; }
        usleep 50000
    done
    passed "$2: $3"
}

tr '\0' '\n' < /sys/firmware/devicetree/base/model
cat > /run/door.toml <<EOF
[door]
driver = "rppal"
lock = { line = $pin }
fail = "secure"
open_ms = 2000
EOF
echo "before: $(level)"
mkfifo /run/orders
edge-agent door-try --config /run/door.toml < /run/orders > /run/said 2>&1 &
tried=$!
exec 3> /run/orders
expect 20 "the lock's pin is an output and low" "gpio_out lo"
echo open >&3
expect 5 "opened, it is high" "gpio_out hi"
expect 5 "after the pulse it is low" "gpio_out lo"
echo open >&3
expect 5 "opened again, it is high" "gpio_out hi"
kill -9 $tried
expect 5 "killed with the lock released, it is low" "gpio_out lo"
exec 3>&-
sed "s/^/    /" /run/said
echo "failures: $failures"
exit $failures
