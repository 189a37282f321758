#!/usr/bin/env python3
"""Enrols a folder of photographs named EXTERNALID.jpg or EXTERNALID_2.jpg, and prints each one's verdict.

The people must be there, with consent. Run again after a break it repeats nothing: the server remembers its verdicts.
`edge-agent enrol` does more: ZIP files, CSV lists, folders for each person, people who are not there yet."""

import argparse
import pathlib
import re

import rollcall_client
from rollcall.v1 import gallery_pb2

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


def run(client, arguments):
    everything_enrolled = True
    for path in sorted(pathlib.Path(arguments.folder).iterdir()):
        if path.suffix.lower() not in PICTURES:
            continue
        external_id = re.sub(r"_\d{1,2}$", "", path.stem)
        try:
            verdict = enrol(client, external_id, path.read_bytes())
        except rollcall_client.Refused as refused:
            if refused.reason not in ("CONSENT_MISSING", "PICTURE_UNREADABLE", "LIMIT_REACHED"):
                raise
            verdict = f"{refused.reason}: {refused.args[0]}"
        everything_enrolled &= verdict.startswith("ENROLLED")
        print(f"{path.name}: {verdict}", flush=True)
    return 0 if everything_enrolled else 1


def enrol(client, external_id, picture):
    request = gallery_pb2.ListPeopleRequest(external_id=external_id)
    people = client.call_patiently(client.gallery.ListPeople, request).people
    if not people:
        return f"NOT_FOUND: nobody has the external id {external_id}"
    request = gallery_pb2.EnrolPictureRequest(person=people[0].name, picture=picture)
    enrolment = client.call_patiently(client.gallery.EnrolPicture, request).enrolment
    verdict = gallery_pb2.Verdict.Name(enrolment.verdict).removeprefix("VERDICT_")
    return f"{verdict}: {enrolment.explanation}" if enrolment.explanation else verdict


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    rollcall_client.main(run, parser)
