"""Running one probe or hook action once: http, tcp, exec, grpc. Messages are upstream's: people search for them.

An HTTP status from 200 to 399 is a success; redirects to the same host are followed, others count as success with a
warning, as upstream. Nothing raises: the outcome is a value.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from seatrial.control.lifecycle.facts import ProbeOutcome
from seatrial.kube.objects import Container, Probe
from seatrial.kube.objects.pods import ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, TCPSocketAction
from seatrial.node import grpc_health

MOST_REDIRECTS = 10
SHOWN_BYTES = 10 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """`warning`: a success that people should hear of; `error`: says nothing of the container."""

    success: bool
    message: str = ""
    warning: bool = False
    error: bool = False

    @property
    def as_probe(self) -> ProbeOutcome:
        if self.error:
            return ProbeOutcome.ERROR
        if self.warning:
            return ProbeOutcome.WARNING
        return ProbeOutcome.SUCCESS if self.success else ProbeOutcome.FAILURE


Execute = Callable[[Sequence[str], float], Awaitable[tuple[int, bytes]]]
"""Run a command in the container: (command, timeout in seconds) to (exit code, output). Raises `TimeoutError`."""


async def run(probe: Probe, container: Container, pod_ip: str, execute: Execute) -> Outcome:
    """Run `probe` once, within its timeout."""
    timeout_s = float(probe.timeout_seconds or 1)
    if probe.exec is not None:
        return await _exec(probe.exec, timeout_s, execute)
    if probe.http_get is not None:
        return await http_get(probe.http_get, container, pod_ip, timeout_s)
    if probe.tcp_socket is not None:
        return await tcp_connect(probe.tcp_socket, container, pod_ip, timeout_s)
    if probe.grpc is not None:
        return await grpc_check(probe.grpc, pod_ip, timeout_s)
    return Outcome(False, f"missing probe handler for container {container.name}", error=True)


async def handle(
    handler: LifecycleHandler, container: Container, pod_ip: str, timeout_s: float, execute: Execute
) -> Outcome:
    """Run a lifecycle hook, for at most `timeout_s`."""
    if handler.exec is not None:
        return await _exec(handler.exec, timeout_s, execute)
    if handler.http_get is not None:
        return await http_get(handler.http_get, container, pod_ip, timeout_s)
    if handler.sleep is not None:
        await asyncio.sleep(min(timeout_s, handler.sleep.seconds))
        return Outcome(True)
    if handler.tcp_socket is not None:
        return await tcp_connect(handler.tcp_socket, container, pod_ip, timeout_s)
    return Outcome(True)


def port_number(port: int | str | None, container: Container) -> int | None:
    """A port by number or by the name that the container declares."""
    if isinstance(port, int):
        return port
    named = next((each.container_port for each in container.ports if each.name == port), None)
    if named is None and port is not None and port.isdigit():
        return int(port)
    return named


async def _exec(action: ExecAction, timeout_s: float, execute: Execute) -> Outcome:
    try:
        code, output = await execute(action.command, timeout_s)
    except TimeoutError:
        return Outcome(False, f'command "{" ".join(action.command)}" timed out')
    except OSError as error:
        return Outcome(False, str(error))
    return Outcome(code == 0, output[:SHOWN_BYTES].decode(errors="replace"))


async def tcp_connect(action: TCPSocketAction, container: Container, pod_ip: str, timeout_s: float) -> Outcome:
    port = port_number(action.port, container)
    if port is None:
        return Outcome(False, f"couldn't find port {action.port} in container {container.name}", error=True)
    host = action.host or pod_ip
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: connect: {_reason(error)}")
    writer.close()
    return Outcome(True)


async def grpc_check(action: GRPCAction, pod_ip: str, timeout_s: float) -> Outcome:
    address = f"{pod_ip}:{action.port}"
    limit = f"{timeout_s:g}s"
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(pod_ip, action.port)
            status = await grpc_health.check(reader, writer, address, action.service)
    except TimeoutError:
        if writer is not None:
            return Outcome(False, f"timeout: health rpc did not complete within {limit}")
        return Outcome(False, _not_connected(address, limit))
    except grpc_health.CallError as error:
        if error.code == "Unimplemented":
            what = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
            return Outcome(False, f"error: {what}: {error.message}")
        return Outcome(False, f"error: health rpc probe failed: {error}")
    except OSError as error:
        if writer is None:
            return Outcome(False, _not_connected(address, limit))
        return Outcome(False, f"error: health rpc probe failed: {_reason(error)}")
    finally:
        if writer is not None:
            writer.close()
    if status != grpc_health.SERVING:
        return Outcome(False, f'service unhealthy (responded with "{status}")')
    return Outcome(True, "service healthy")


def _not_connected(address: str, limit: str) -> str:
    return f'timeout: failed to connect service "{address}" within {limit}: context deadline exceeded'


async def http_get(action: HTTPGetAction, container: Container, pod_ip: str, timeout_s: float) -> Outcome:
    port = port_number(action.port, container)
    if port is None:
        return Outcome(False, f"couldn't find port {action.port} in container {container.name}", error=True)
    host = action.host or pod_ip
    scheme = (action.scheme or "HTTP").lower()
    path = action.path if action.path.startswith("/") else "/" + action.path
    url = f"{scheme}://{host}:{port}{path}"
    headers = {"User-Agent": "kube-probe/1.37", "Accept": "*/*", "Connection": "close"}
    for header in action.http_headers:
        if header.value:
            headers[header.name.title()] = header.value
        else:
            headers.pop(header.name.title(), None)
    headers.setdefault("Host", f"{host}:{port}")
    try:
        async with asyncio.timeout(timeout_s):
            return await _follow(url, host, headers)
    except TimeoutError:
        waited = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Outcome(False, f'Get "{url}": {waited}')
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        return Outcome(False, f'Get "{url}": {_dialled(error, host, port)}')


async def _follow(url: str, host: str, headers: dict[str, str]) -> Outcome:
    for _ in range(MOST_REDIRECTS):
        status, location, body = await _request(url, headers)
        if status in (301, 302, 303, 307, 308) and location:
            url = urljoin(url, location)
            if urlsplit(url).hostname != host:
                text = f"Probe terminated redirects, Response body: {body.decode(errors='replace')}"
                return Outcome(True, text, warning=True)
            continue
        if 200 <= status < 400:
            return Outcome(True)
        return Outcome(False, f"HTTP probe failed with statuscode: {status}")
    return Outcome(False, f'Get "{url}": stopped after {MOST_REDIRECTS} redirects')


async def _request(url: str, headers: dict[str, str]) -> tuple[int, str, bytes]:
    target = urlsplit(url)
    context: ssl.SSLContext | None = None
    if target.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the kubelet does not verify either: the pod's address is what it knows
    port = target.port or (443 if context else 80)
    reader, writer = await asyncio.open_connection(target.hostname, port, ssl=context)
    try:
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
            raise ValueError(f"malformed HTTP response {first!r}")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        return int(words[1]), fields.get("location", ""), b""
    finally:
        writer.close()


def _dialled(error: Exception, host: str, port: int) -> str:
    if isinstance(error, ConnectionRefusedError) or (isinstance(error, OSError) and "Connect call" in str(error)):
        return f"dial tcp {host}:{port}: connect: {_reason(error)}"
    if isinstance(error, asyncio.IncompleteReadError):
        return "EOF"
    return _reason(error)


def _reason(error: Exception) -> str:
    import errno
    import os

    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return str(error)
