#!/usr/bin/env bash
# Calls Rollcall from a shell, with curl and protoc alone (Debian: curl, protobuf-compiler, libprotobuf-dev).
#
# usage: rollcall.sh SERVICE/METHOD [REQUEST]      the request and the answer are protobuf's text format
#
#   rollcall.sh GalleryService/ListPeople 'page_size: 10'
#   rollcall.sh GalleryService/CreatePerson 'person { display_name: "Linh" external_id: "1042" }'
#   rollcall.sh AttendanceService/ListEvents 'cursor: "..."'
#
# ROLLCALL_SERVER is HOST:PORT, ROLLCALL_CA the ca.pem of its data folder, ROLLCALL_TOKEN_FILE a file with a token.
# Status 0 when it was answered; else 1, and what the server said on standard error. For calls with one answer: of a
# stream of answers use the list call that goes with it.
set -euo pipefail

[ $# -ge 1 ] && [ $# -le 2 ] && [[ $1 == */* ]] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
: "${ROLLCALL_SERVER:?HOST:PORT of the server}" "${ROLLCALL_CA:?its ca.pem}" "${ROLLCALL_TOKEN_FILE:?a file with a token}"
proto=$(cd "$(dirname "$0")/../../proto" && pwd)
method=${1##*/}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# The types of a method, as its service declares them.
types=$(sed -n "s/^ *rpc $method(\([A-Za-z.]*\)) returns (\([A-Za-z.]*\)).*/\1 \2/p" "$proto"/rollcall/v1/*.proto | head -1)
[ -n "$types" ] || { echo "rollcall: there is no call $1 with one request and one answer" >&2; exit 2; }
full_name() { case $1 in *.*) echo "$1" ;; *) echo "rollcall.v1.$1" ;; esac; }
files=("$proto"/rollcall/v1/*.proto)
convert() { protoc --proto_path="$proto" "--$1=$(full_name "$2")" "${files[@]}" google/protobuf/empty.proto; }

# A gRPC message: a zero, its length in four bytes, its bytes.
convert encode "${types% *}" <<<"${2:-}" >"$dir/message"
printf '%b' "$(printf '\\x00\\x%02x\\x%02x\\x%02x\\x%02x' \
    $(($(stat -c %s "$dir/message") >> 24 & 255)) $(($(stat -c %s "$dir/message") >> 16 & 255)) \
    $(($(stat -c %s "$dir/message") >> 8 & 255)) $(($(stat -c %s "$dir/message") & 255)))" >"$dir/request"
cat "$dir/message" >>"$dir/request"

# The token goes by a file, so that it is in no list of processes.
printf 'header = "authorization: Bearer %s"\n' "$(tr -d '[:space:]' <"$ROLLCALL_TOKEN_FILE")" |
    curl --config - --silent --show-error --http2 --tlsv1.3 --cacert "$ROLLCALL_CA" --max-time 60 \
        --header 'content-type: application/grpc' --header 'te: trailers' \
        --data-binary "@$dir/request" --dump-header "$dir/headers" --output "$dir/answer" \
        "https://${ROLLCALL_SERVER#https://}/rollcall.v1.$1" 2>"$dir/error" || true

header() { sed -n "s/^$1: *//Ip" "$dir/headers" | tr -d '\r' | tail -1; }
status=$(header grpc-status)
# A server that refuses before it has read the request ends the stream, which curl takes for a fault: the answer counts.
[ -n "$status" ] || { sed 's/^/rollcall: /' "$dir/error" >&2; exit 1; }
if [ "$status" != 0 ]; then
    message=$(header grpc-message)
    # Percent-encoded, as gRPC has it.
    printf 'rollcall: %b\n' "$(sed 's/\\/\\\\/g; s/%\([0-9A-Fa-f][0-9A-Fa-f]\)/\\x\1/g' <<<"${message:-status ${status:-unknown}}")" >&2
    exit 1
fi
tail -c +6 "$dir/answer" | convert decode "${types#* }"
