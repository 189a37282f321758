#!/usr/bin/env python3
"""Sends every attendance event to a webhook, from where it was when it was last stopped, killed or cut off.

Each event is POSTed as JSON with its name in the header Idempotency-Key. The cursor file is replaced after the webhook
has answered 2xx, so every event arrives at least once; one whose answer was lost arrives again, under the same key."""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request

from google.protobuf import json_format
import rollcall_client
from rollcall.v1 import attendance_pb2

WEBHOOK_DEADLINE_S = 30


def run(client, arguments):
    cursor = read_cursor(arguments.cursor)
    left = arguments.stop_after
    request_filter = attendance_pb2.EventFilter(kinds=arguments.kinds)
    pauses = iter(())
    while left != 0:
        request = attendance_pb2.WatchEventsRequest(cursor=cursor, filter=request_filter)
        try:
            for message in client.stream(client.attendance.WatchEvents, request):
                pauses = iter(())
                for event in message.events:
                    send(arguments.webhook, event)
                    cursor = event.cursor
                    write_cursor(arguments.cursor, cursor)
                    left -= 1
                    if left == 0:
                        return 0
                if message.cursor and message.cursor != cursor:
                    cursor = message.cursor
                    write_cursor(arguments.cursor, cursor)
        except rollcall_client.Refused as refused:
            if not refused.may_pass():
                raise
            print(f"watch_to_webhook: {refused}; trying again", file=sys.stderr, flush=True)
            pauses = pauses if (pause := next(pauses, None)) else iter(rollcall_client.pauses(float("inf")))
            time.sleep(pause or next(pauses))
    return 0


def send(url, event):
    """POSTs one event, again until the webhook takes it."""
    body = json.dumps(json_format.MessageToDict(event, preserving_proto_field_name=True)).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": event.name}
    for pause in rollcall_client.pauses(float("inf")):
        try:
            request = urllib.request.Request(url, body, headers, method="POST")
            with urllib.request.urlopen(request, timeout=WEBHOOK_DEADLINE_S):
                return
        except (urllib.error.URLError, OSError) as error:
            print(f"watch_to_webhook: the webhook did not take {event.name}: {error}; trying again",
                  file=sys.stderr, flush=True)
        time.sleep(pause)


def read_cursor(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def write_cursor(path, cursor):
    """Replaces the file as a whole: a kill or a power cut leaves the old cursor or the new one."""
    part = f"{path}.part"
    with open(part, "w", encoding="ascii") as file:
        file.write(f"{cursor}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("webhook", help="http:// or https:// address that takes the events")
    parser.add_argument("--cursor", required=True, metavar="FILE", help="where to remember how far it is")
    parser.add_argument("--kinds", nargs="*", default=[], metavar="KIND",
                        help="only these kinds of event, such as recognised or recorded_manually")
    parser.add_argument("--stop-after", type=int, default=-1, metavar="N", help="stop after N events")
    rollcall_client.main(run, parser)
