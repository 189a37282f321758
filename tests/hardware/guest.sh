# What happens inside the virtual machine of tests/hardware.sh, run by busybox. Each check prints "ok ..." or "FAILED ...".
# Times are the machine's own, in hundredths of a second.
data=/run/data
url=https://127.0.0.1:7443
camera=/dev/v4l/by-id/usb-Rollcall_test_camera-video-index0
reader=/dev/input/by-id/usb-Rollcall_test_reader-event-kbd
failures=0

passed() { echo "ok      $*"; }
failed() {
    echo "FAILED  $*"
    failures=$((failures + 1))
}
tick() {
    read -r tick _ < /proc/uptime
    tick=${tick%.*}${tick#*.}
}
# within TIME COMMAND... : whether it holds within that time; how long it took is in $took
within() {
    local limit=$1 start
    shift
    tick; start=$tick
    until "$@"; do
        tick; took=$((tick - start))
        [ "$took" -lt "$limit" ] || return 1
        usleep 20000
    done
    tick; took=$((tick - start))
}
# expect TIME WHAT COMMAND...
expect() {
    local limit=$1 what=$2
    shift 2
    if within "$limit" "$@"; then passed "$what ($took)"; else failed "$what, not within $limit"; fi
}
# never TIME WHAT COMMAND...
never() {
    local limit=$1 what=$2
    shift 2
    if within "$limit" "$@"; then failed "$what: it did after $took"; else passed "$what ($limit)"; fi
}

# The door's lines, as the simulated chip has them.
lines="lock green red buzzer contact exit fire"
make_lines() {
    local chip=/sys/kernel/config/gpio-sim/door number=0 line
    mkdir -p $chip/bank
    echo 8 > $chip/bank/num_lines
    echo rollcall-door > $chip/bank/label
    for line in $lines; do
        mkdir $chip/bank/line$number
        echo "$line" > $chip/bank/line$number/name
        number=$((number + 1))
    done
    echo 1 > $chip/live
    gpio=/sys/devices/platform/$(cat $chip/dev_name)/$(cat $chip/bank/chip_name)
}
line() {
    local number=0 line
    for line in $lines; do
        [ "$line" = "$1" ] && break
        number=$((number + 1))
    done
    echo "$gpio/sim_gpio$number"
}
is() { [ "$(cat "$(line "$1")/value")" = "$2" ]; }
pull() { echo "pull-$2" > "$(line "$1")/pull"; }

# The camera, and what udev does for it.
plug_camera() {
    insmod /modules/v4l2loopback.ko "video_nr=$1" card_label=Rollcall_test_camera exclusive_caps=1
    mkdir -p /dev/v4l/by-id
    ln -sf "../../video$1" $camera
    camera_number=$1
}
unplug_camera() {
    rm -f $camera
    rmmod v4l2loopback 2>/dev/null
}
show() {
    touched
    peripherals camera "/dev/video$camera_number" "/scenes/$1.mjpeg" "$(cat /scenes/fps)" &
    shown=$!
}
end_show() {
    touched
    kill $shown
    wait $shown
}

# configure DEVICE FORMAT
configure() {
    cat <<EOF
data_folder = "$data"
[server]
address = "127.0.0.1:7443"
[camera]
source = "v4l"
device = "$1"
format = "$2"
[readers]
badge = false
card = "$reader"
# The emulated processor reads two faces a second, and nothing opens on evidence that is older than a second.
[recognition]
frames_needed = 1
[liveness]
policy = "off"
[door]
driver = "gpiocdev"
chip = "rollcall-door"
lock = { line = "lock" }
green = { line = "green" }
red = { line = "red" }
buzzer = { line = "buzzer" }
contact = { line = "contact" }
exit = { line = "exit", active = "low", bias = "pull-up" }
fire = { line = "fire" }
fail = "secure"
open_ms = 2000
[log]
format = "json"
EOF
}
start_agent() {
    rm -f /run/out
    edge-agent --models /models run --config "$1" > /run/out 2>> /run/log &
    agent=$!
    within 6000 grep -qs ready: /run/out || failed "edge-agent does not start: $(tail -n 3 /run/log)"
}
stop_agent() {
    kill "$agent"
    wait "$agent"
}
supervisor() { ps -o pid,args | awk '/edge-agent.*[d]oor-supervisor/ { print $1; exit }'; }
# How often the log has a line with this.
logged() { grep -c "$1" /run/log; }
is_logged() { [ "$(logged "$1")" -ge "$2" ]; }
# The camera since it was last touched.
touched() { works=$(logged "the camera works") losses=$(logged "the camera is lost"); }
camera_works() { [ "$(logged "the camera works")" -gt "$works" ]; }
camera_is_lost() { [ "$(logged "the camera is lost")" -gt "$losses" ]; }
has_event() { edge-agent events --all --no-wait --data $data --server $url | grep -q "$1"; }

insmod /modules/gpio-sim.ko
make_lines

echo "-- a camera without compression"
configure /dev/video0 yuyv > /run/vivid.toml
edge-agent --models /models doctor --config /run/vivid.toml > /run/doctor
sed "s/^/    /" /run/doctor
expect 0 "doctor names the formats" grep -qE "device.*/dev/video0.*YUYV.* 640x480" /run/doctor
expect 0 "doctor counts the frames" grep -qE "camera.*YUYV 640x480: [0-9.]+ frames a second" /run/doctor
expect 0 "doctor finds the chip" grep -qE "GPIO.*rollcall-door" /run/doctor
expect 0 "doctor finds the lines free" grep -qE "line.*lock is there and free" /run/doctor

start_agent /run/vivid.toml
works=0
expect 500 "frames come from vivid" camera_works
touched
echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind
expect 200 "the camera is lost when it is pulled out" camera_is_lost
echo vivid.0 > /sys/bus/platform/drivers/vivid/bind
expect 1000 "and works again when it is plugged in" camera_works
stop_agent

echo "-- a camera that sends JPEGs"
plug_camera 10
configure $camera mjpeg > /run/terminal.toml
start_agent /run/terminal.toml
expect 0 "the door is locked" is lock 0
show nobody
expect 1000 "the camera works when something feeds it" camera_works
end_show
expect 200 "the camera is lost when nothing feeds it any more" camera_is_lost
show nobody
expect 1000 "the camera works again" camera_works
end_show
expect 200 "it is lost again" camera_is_lost
expect 500 "it is pulled out" unplug_camera
plug_camera 11
show nobody
expect 1000 "it works under another number" camera_works
end_show

echo "-- the door's inputs"
pull exit down
expect 50 "the exit button releases the lock" is lock 1
pull exit up
pull contact up
usleep 200000
pull contact down
expect 50 "the lock locks when the door was opened and closed" is lock 0
# So shortly after it was released, opening is not forced.
usleep 2500000
pull contact up
expect 100 "a forced door sounds the buzzer" is buzzer 1
pull contact down
pull fire up
expect 50 "a fire releases the lock" is lock 1
never 300 "the lock is not locked in a fire" is lock 0
pull fire down
expect 100 "the lock locks when the fire is over" is lock 0
expect 100 "these events are in the log" has_event "door FIRE_OVER"
for state in EXIT_PRESSED OPENED CLOSED FORCED FIRE; do
    has_event "door $state" || failed "no event of $state"
done

echo "-- a card reader"
mkfifo /run/cards
peripherals reader < /run/cards > /run/reader &
exec 3> /run/cards
mkdir -p /dev/input/by-id
within 500 grep -q /dev /run/reader
ln -sf "$(cat /run/reader)" $reader
expect 1500 "the card reader is found" is_logged "the card reader is there" 1
edge-agent enrol /people --data $data --server $url > /run/enrolled 2>&1
peripherals card $url $data obama 0004711234
echo 0004711234 >&3
expect 200 "a card that is somebody's releases the lock" is lock 1
expect 300 "it is locked" is lock 0
expect 100 "the entry is in the log" has_event "let in by badge, card or PIN obama"
echo 99999999 >&3
never 100 "a card that is nobody's does not" is lock 1
expect 100 "the refusal is in the log" has_event "not let in: CREDENTIAL_INVALID"

echo "-- the program dies"
release() {
    pull exit down
    within 100 is lock 1 || failed "the lock is not released"
    pull exit up
}
release
kill -STOP "$agent"
expect 300 "stopped with the lock released: it locks in time" is lock 0
kill -CONT "$agent"
release
kill -9 "$(supervisor)"
expect 100 "the lock's supervisor killed: it locks at once" is lock 0
expect 500 "another supervisor keeps the lock" is_logged "the lock is kept again" 1
release
kill -9 "$agent"
expect 300 "killed with the lock released: it locks in time" is lock 0
wait "$agent"
expect 100 "and nothing of it is left" test -z "$(supervisor)"
start_agent /run/terminal.toml
expect 100 "it starts again, locked" is lock 0

echo "-- people"
edge-agent enrol /people --consent-form "the drill's form" --data $data --server $url > /run/enrolled 2>&1
sed "s/^/    /" /run/enrolled
expect 0 "the person is enrolled at the running program" grep -q "2 ENROLLED" /run/enrolled
show walk-up
expect 3000 "the person is recognised and the lock is released" is lock 1
expect 50 "the green light is on" is green 1
end_show
expect 300 "it locks again" is lock 0
expect 100 "the recognition is in the log" has_event "recognised obama"
show stranger
never 1500 "the lock stays locked for a stranger" is lock 1
end_show
expect 100 "the stranger is in the log" has_event "a face that is not known"

stop_agent
edge-agent verify-log --data $data || failed "the log is not whole"

sed "s/^/    /" /run/log
echo "failures: $failures"
exit $failures
