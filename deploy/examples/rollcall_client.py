"""A client of Rollcall for scripts: gRPC over TLS with a token.

    client = rollcall_client.Client.from_arguments(arguments)
    for person in client.pages(client.gallery.ListPeople, gallery_pb2.ListPeopleRequest(), "people"):
        print(person.name, person.display_name)

Errors are `Refused`: what failed, why in one word that a script can act on (`reason`), and what it is about
(`metadata`). `make_client.sh` makes the modules under `rollcall.v1`.
"""

import argparse
import os
import random
import sys
import time
import uuid

# What goes wrong is said once, by Refused; the library would say it in its own words too.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from google.rpc import error_details_pb2, status_pb2
from rollcall.v1 import accounts_pb2_grpc, attendance_pb2_grpc, gallery_pb2_grpc, terminals_pb2_grpc

DEADLINE_S = 60
# Rollcall restarts within seconds.
PATIENCE_S = 60
MESSAGE_SIZE_BYTES = 16 << 20


class Refused(Exception):
    """A call that was not answered."""

    def __init__(self, message, reason="", metadata=None, code=None):
        super().__init__(message)
        self.reason = reason
        self.metadata = metadata or {}
        self.code = code

    def may_pass(self):
        """Whether the same call may be answered later."""
        broken = self.code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL) and not self.reason
        return broken or self.code == grpc.StatusCode.UNAVAILABLE and not isinstance(self, WrongCertificate)

    def __str__(self):
        return f"{super().__str__()} ({self.reason})" if self.reason else super().__str__()


class WrongCertificate(Refused):
    """The server is not the one whose authority was given."""


def add_arguments(parser):
    """The options that every script has."""
    parser.add_argument("--server", default=os.environ.get("ROLLCALL_SERVER"), metavar="HOST:PORT")
    parser.add_argument("--ca", default=os.environ.get("ROLLCALL_CA"), metavar="FILE",
                        help="certificate of the authority: ca.pem of the data folder")
    parser.add_argument("--token-file", default=os.environ.get("ROLLCALL_TOKEN_FILE"), metavar="FILE",
                        help="file with a token: edge-agent token create")


def main(run, parser):
    """Runs a script and says in one line why it failed."""
    add_arguments(parser)
    arguments = parser.parse_args()
    for option, value in (("--server", arguments.server), ("--ca", arguments.ca),
                          ("--token-file", arguments.token_file)):
        if not value:
            parser.error(f"{option} is missing; set it, or ROLLCALL_{option[2:].upper().replace('-', '_')}")
    try:
        sys.exit(run(Client.from_arguments(arguments), arguments))
    except Refused as refused:
        sys.exit(f"{parser.prog}: {refused}")
    except OSError as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


class Client:
    """A connection. `gallery`, `attendance`, `terminals` and `accounts` are the services."""

    def __init__(self, server, ca, token):
        self.server = server.removeprefix("https://").rstrip("/")
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(root_certificates=ca),
            grpc.access_token_call_credentials(token),
        )
        options = [
            ("grpc.max_send_message_length", MESSAGE_SIZE_BYTES),
            ("grpc.max_receive_message_length", MESSAGE_SIZE_BYTES),
            ("grpc.keepalive_time_ms", 60_000),
        ]
        self.channel = grpc.secure_channel(self.server, credentials, options)
        self.gallery = gallery_pb2_grpc.GalleryServiceStub(self.channel)
        self.attendance = attendance_pb2_grpc.AttendanceServiceStub(self.channel)
        self.terminals = terminals_pb2_grpc.TerminalServiceStub(self.channel)
        self.accounts = accounts_pb2_grpc.AccountServiceStub(self.channel)

    @classmethod
    def from_arguments(cls, arguments):
        with open(arguments.ca, "rb") as file:
            ca = file.read()
        with open(arguments.token_file, encoding="ascii") as file:
            token = file.read().strip()
        return cls(arguments.server, ca, token)

    def call(self, method, request, deadline_s=DEADLINE_S):
        """One call. Raises Refused."""
        try:
            return method(request, timeout=deadline_s)
        except grpc.RpcError as error:
            raise self.refused(error) from None

    def call_patiently(self, method, request):
        """The same, and again while the server is not there. Only for calls that may be repeated: reads, and
        creations with a request id."""
        for pause in pauses():
            try:
                return self.call(method, request)
            except Refused as refused:
                if pause is None or not refused.may_pass():
                    raise
            time.sleep(pause)

    def pages(self, method, request, field):
        """Every entry of a list, page after page."""
        while True:
            page = self.call_patiently(method, request)
            yield from getattr(page, field)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def stream(self, method, request):
        """The messages of a stream. Raises Refused when it breaks."""
        try:
            yield from method(request)
        except grpc.RpcError as error:
            raise self.refused(error) from None

    def refused(self, error):
        """What a gRPC error says, in our words."""
        details = error.details() or ""
        if "CERTIFICATE_VERIFY_FAILED" in details or "SSL_ERROR_SSL" in details:
            return WrongCertificate(
                f"{self.server} did not prove that it is the server of this authority; "
                "is --ca the ca.pem of its data folder, and its name in the certificate?",
                code=error.code())
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                for detail in status_pb2.Status.FromString(value).details:
                    info = error_details_pb2.ErrorInfo()
                    if detail.Unpack(info) and info.domain == "rollcall":
                        return Refused(details, info.reason, dict(info.metadata), error.code())
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            return Refused(f"cannot reach {self.server}: {details}", code=error.code())
        return Refused(f"{details} ({error.code().name})", code=error.code())


def pauses(patience_s=PATIENCE_S):
    """Growing pauses between tries, with jitter; None when it is time to give up."""
    waited, pause = 0.0, 0.2
    while waited < patience_s:
        jittered = pause * random.uniform(0.5, 1.5)
        waited += jittered
        yield jittered
        pause = min(pause * 2, 5.0)
    yield None


def request_id(*parts):
    """A request id made of what is asked for: the same again makes nothing twice, also after a restart."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "\0".join(("rollcall", *parts))))
