"""gRPC probes against a server that speaks HTTP/2 (h2's other side), frame by frame as grpc-go answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection

from seatrial.control.lifecycle.facts import ProbeOutcome
from seatrial.kube.objects import Container, Probe
from seatrial.kube.objects.pods import GRPCAction
from seatrial.node import probes

HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
asked: list[bytes] = []


@asynccontextmanager
async def server(number: int | None, status: str, message: str = "") -> AsyncIterator[int]:
    """Answers every call with the health `number`, or with a bare gRPC status."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        try:
            while True:
                writer.write(connection.data_to_send())
                received = await reader.read(65536)
                if not received:
                    return
                for event in connection.receive_data(received):
                    if isinstance(event, events.DataReceived):
                        asked.append(event.data or b"")
                    if isinstance(event, events.StreamEnded):
                        trailers = [("grpc-status", status), ("grpc-message", message)]
                        if number is None:
                            connection.send_headers(1, [*HEADERS, *trailers], end_stream=True)
                            continue
                        body = bytes((8, number)) if number else b""
                        connection.send_headers(1, HEADERS)
                        connection.send_data(1, b"\0" + len(body).to_bytes(4, "big") + body)
                        connection.send_headers(1, trailers, end_stream=True)
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


async def probed(port: int, service: str = "") -> probes.Outcome:
    async def execute(*_: object) -> tuple[int, bytes]:
        raise AssertionError("nothing is executed")

    probe = Probe(grpc=GRPCAction(port=port, service=service), timeout_seconds=1)
    return await probes.run(probe, Container(name="web"), "127.0.0.1", execute)


@pytest.mark.parametrize(
    ("number", "status", "outcome", "message"),
    [
        (1, "0", ProbeOutcome.SUCCESS, "service healthy"),
        (2, "0", ProbeOutcome.FAILURE, 'service unhealthy (responded with "NOT_SERVING")'),
        (0, "0", ProbeOutcome.FAILURE, 'service unhealthy (responded with "UNKNOWN")'),
        (
            None,
            "5",
            ProbeOutcome.FAILURE,
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        ),
        (
            None,
            "12",
            ProbeOutcome.FAILURE,
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service",
        ),
    ],
)
def test_the_answer_decides_the_probe(number: int | None, status: str, outcome: ProbeOutcome, message: str) -> None:
    """Any SERVING is a success, everything else a failure with upstream's words."""

    async def story() -> probes.Outcome:
        async with server(number, status, "unknown service") as port:
            return await probed(port)

    said = asyncio.run(story())
    assert (said.as_probe, said.message) == (outcome, message)


def test_the_service_is_named_in_the_request() -> None:
    async def story() -> None:
        async with server(1, "0") as port:
            asked.clear()
            await probed(port, "shop.v1.Cart")

    asyncio.run(story())
    assert asked == [b"\0\0\0\0\x0e\x0a\x0cshop.v1.Cart"]


def test_nobody_there_and_somebody_who_speaks_something_else_are_failures() -> None:
    async def story() -> tuple[probes.Outcome, probes.Outcome]:
        async def other(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        listening = await asyncio.start_server(other, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        spoke = await probed(port)
        listening.close()
        await listening.wait_closed()
        return spoke, await probed(port)

    spoke, silent = asyncio.run(story())
    assert spoke.message.startswith("error: health rpc probe failed: ")
    assert "failed to connect service" in silent.message
    assert (spoke.success, silent.success) == (False, False)
