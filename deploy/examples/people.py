#!/usr/bin/env python3
"""Adds people from a CSV file, all or none: columns name, external_id, groups (separated by ;).

A row whose external_id exists updates that person. With --check nothing is written."""

import argparse
import hashlib

import rollcall_client
from rollcall.v1 import gallery_pb2

CHUNK_SIZE_BYTES = 256 << 10


def run(client, arguments):
    with open(arguments.csv, "rb") as file:
        table = file.read()
    config = gallery_pb2.ImportPeopleConfig(validate_only=arguments.check)
    if not arguments.check:
        config.request_id = rollcall_client.request_id("people", hashlib.sha256(table).hexdigest())

    def parts():
        yield gallery_pb2.ImportPeopleRequest(config=config)
        for start in range(0, len(table), CHUNK_SIZE_BYTES):
            yield gallery_pb2.ImportPeopleRequest(data=table[start:start + CHUNK_SIZE_BYTES])

    done = client.call(client.gallery.ImportPeople, parts(), deadline_s=600)
    would = "would be " if arguments.check else ""
    print(f"{done.created} {would}created, {done.updated} {would}updated, {done.unchanged} unchanged, "
          f"{done.groups_created} groups {would}created")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", help="UTF-8, UTF-16 or Windows-1252")
    parser.add_argument("--check", action="store_true", help="check everything, write nothing")
    rollcall_client.main(run, parser)
