"""One call of the gRPC health checking protocol, `grpc.health.v1.Health/Check`, over plain HTTP/2, as the kubelet does.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md. The two messages are a string and a number, so they
are written and read here; HTTP/2 is `h2`'s, which is imported only once somebody has such a probe.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

PATH: Final = "/grpc.health.v1.Health/Check"
STATUSES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
SERVING: Final = "SERVING"
_CODES: Final = {
    "1": "Canceled",
    "2": "Unknown",
    "3": "InvalidArgument",
    "4": "DeadlineExceeded",
    "5": "NotFound",
    "7": "PermissionDenied",
    "8": "ResourceExhausted",
    "12": "Unimplemented",
    "13": "Internal",
    "14": "Unavailable",
    "16": "Unauthenticated",
}


class CallError(Exception):
    """The server answered with something else than a health status; `code` is gRPC's name of it."""

    retryable = True

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"rpc error: code = {code} desc = {message}")


@dataclass(slots=True)
class _Answer:
    data: bytes = b""
    status: str = ""
    message: str = ""
    over: bool = False


async def check(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str) -> str:
    """The status of `service` ("" is the server itself), e.g. "SERVING". Raises `CallError`, `OSError`."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.exceptions import ProtocolError

    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PATH),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("user-agent", "kube-probe/1.37"),
        ("te", "trailers"),
    ]
    connection.send_headers(1, headers)
    connection.send_data(1, _request(service), end_stream=True)
    answer = _Answer()
    while not answer.over:
        writer.write(connection.data_to_send())
        await writer.drain()
        received = await reader.read(65536)
        if not received:
            raise CallError("Unavailable", "error reading from server: EOF")
        try:
            for event in connection.receive_data(received):
                _take(connection, event, answer)
        except ProtocolError as error:
            raise CallError("Unavailable", f"not an HTTP/2 server: {error}") from error
    if answer.status not in ("", "0"):
        raise CallError(_CODES.get(answer.status, f"Code({answer.status})"), answer.message)
    return _status(answer.data)


def _take(connection: object, event: object, answer: _Answer) -> None:
    from h2 import events
    from h2.connection import H2Connection

    assert isinstance(connection, H2Connection)
    match event:
        case events.ResponseReceived(headers=headers) | events.TrailersReceived(headers=headers):
            fields = {str(name): str(value) for name, value in headers or ()}
            if fields.get(":status", "200") != "200":
                raise CallError("Unavailable", f"unexpected HTTP status code received from server: {fields[':status']}")
            answer.status = fields.get("grpc-status", answer.status)
            answer.message = fields.get("grpc-message", answer.message)
        case events.DataReceived(data=data, flow_controlled_length=length):
            answer.data += data or b""
            connection.acknowledge_received_data(length or 0, 1)
        case events.StreamEnded():
            answer.over = True
        case events.StreamReset() | events.ConnectionTerminated():
            raise CallError("Unavailable", "the server closed the stream")


def _request(service: str) -> bytes:
    """A length-prefixed `HealthCheckRequest`: field 1 is the service's name."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _status(data: bytes) -> str:
    """The status of a length-prefixed `HealthCheckResponse`: field 1, left out if it is 0."""
    if len(data) < 5 or data[0]:
        raise CallError("Internal", "the answer is not a health status")
    message = data[5 : 5 + int.from_bytes(data[1:5], "big")]
    number = message[1] if len(message) >= 2 and message[0] == 0x08 else 0
    return STATUSES.get(number, str(number))


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*parts, number))
