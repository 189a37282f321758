#!/usr/bin/env bash
# Sends attendance events to a webhook from a shell, from where it was when it was last stopped; see rollcall.sh for
# how it reaches the server.
#
# usage: watch_to_webhook.sh WEBHOOK CURSOR_FILE [--once]
#
# Each event is POSTed in protobuf's text format with its name in the header Idempotency-Key. The cursor is stored after
# the webhook has answered 2xx: every event arrives at least once. --once ends when there is nothing more; otherwise it
# looks again every five seconds.
set -euo pipefail

[ $# -ge 2 ] && [ $# -le 3 ] && [ "${3:---once}" = --once ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
webhook=$1 cursor_file=$2

store_cursor() {
    printf '%s\n' "$1" >"$cursor_file.part"
    sync "$cursor_file.part"
    mv "$cursor_file.part" "$cursor_file"
}

while :; do
    cursor=$(cat "$cursor_file" 2>/dev/null || true)
    page=$("$here/rollcall.sh" AttendanceService/ListEvents "page_size: 1 cursor: \"$cursor\"")
    name=$(sed -n '/^events {/,/^}/s/^  name: "\(.*\)"$/\1/p' <<<"$page")
    next=$(sed -n 's/^next_cursor: "\(.*\)"$/\1/p' <<<"$page")
    if [ -n "$name" ]; then
        sed -n '/^events {/,/^}/p' <<<"$page" |
            curl --silent --show-error --fail --retry 5 --retry-all-errors --max-time 30 --output /dev/null \
                --header 'Content-Type: text/plain' --header "Idempotency-Key: $name" --data-binary @- "$webhook"
        store_cursor "$next"
        continue
    fi
    [ -z "$next" ] || [ "$next" = "$cursor" ] || store_cursor "$next"
    [ "${3:-}" != --once ] || exit 0
    sleep 5
done
