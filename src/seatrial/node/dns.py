"""The cluster's DNS: Services and pods by name, everything else from the machine's own resolvers.

`Zone.answer` is pure of sockets: a query and the cluster's objects in, an answer or None (ask others) out. What a name
leads to is decided in `control.names`; a name that exists without records of the asked type is answered empty, not
NXDOMAIN (musl gives up on the whole look-up otherwise).
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.control import names
from seatrial.kube.objects import Service
from seatrial.node.api import ClusterObjects

if TYPE_CHECKING:
    from dnslib import DNSRecord  # type: ignore[import-untyped]  # dnslib publishes no types

TTL_S = 5
"""CoreDNS's default in clusters; short, because endpoints move."""
FORWARD_TIMEOUT_S = 4.0


class Zone:
    """Answers from the cluster's objects."""

    def __init__(self, cluster: ClusterObjects, domain: str = "cluster.local") -> None:
        self.domain = domain
        self._cluster = cluster

    def answer(self, query: DNSRecord) -> DNSRecord | None:
        """The answer to `query`, or None if the name is not the cluster's."""
        from dnslib import AAAA, CNAME, PTR, QTYPE, RCODE, RR, SOA, SRV, A

        name = str(query.q.qname).rstrip(".").lower()
        kind = QTYPE[query.q.qtype]
        if name.endswith(".in-addr.arpa"):
            host = self._reverse(name)
            if host is None:
                return None
            reply = query.reply()
            reply.add_answer(RR(query.q.qname, QTYPE.PTR, rdata=PTR(host + "."), ttl=TTL_S))
            return reply
        if name != self.domain and not name.endswith("." + self.domain):
            return None
        reply = query.reply()
        reply.header.ra = 1
        reply.header.aa = 1
        found = names.find(name, self._cluster, self.domain)
        if found is None:
            reply.header.rcode = RCODE.NXDOMAIN
        else:
            for record in found:
                if isinstance(record, str) and record.endswith("."):
                    reply.add_answer(RR(query.q.qname, QTYPE.CNAME, rdata=CNAME(record), ttl=TTL_S))
                elif isinstance(record, str):
                    version = ipaddress.ip_address(record).version
                    if kind in ("A", "ANY") and version == 4:
                        reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=A(record), ttl=TTL_S))
                    elif kind in ("AAAA", "ANY") and version == 6:
                        reply.add_answer(RR(query.q.qname, QTYPE.AAAA, rdata=AAAA(record), ttl=TTL_S))
                elif kind in ("SRV", "ANY"):
                    port, target, address = record
                    reply.add_answer(RR(query.q.qname, QTYPE.SRV, rdata=SRV(0, 100, port, target + "."), ttl=TTL_S))
                    reply.add_ar(RR(target + ".", QTYPE.A, rdata=A(address), ttl=TTL_S))
        if not reply.rr:
            times = (1, 7200, 1800, 86400, TTL_S)
            soa = SOA(f"ns.dns.{self.domain}.", f"hostmaster.{self.domain}.", times)
            reply.add_auth(RR(self.domain + ".", QTYPE.SOA, rdata=soa, ttl=TTL_S))
        return reply

    def _reverse(self, name: str) -> str | None:
        address = ".".join(reversed(name[: -len(".in-addr.arpa")].split(".")))
        for service in self._cluster.all(Service):
            if service.spec.cluster_ip == address:
                return f"{service.metadata.name}.{service.metadata.namespace}.svc.{self.domain}"
        return None


def host_resolvers(path: Path = Path("/etc/resolv.conf")) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The machine's own name servers and search domains."""
    servers: list[str] = []
    searches: list[str] = []
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return (), ()
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            servers.append(words[1])
        elif words and words[0] == "search":
            searches = words[1:]
    return tuple(servers), tuple(searches)


class DnsServer:
    """UDP and TCP on one address. `start` when the address exists; `close` ends every task."""

    def __init__(self, zone: Zone, upstreams: Sequence[str]) -> None:
        self._zone = zone
        self._upstreams = tuple(upstreams)
        self._tasks: set[asyncio.Task[None]] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self, address: str, port: int = 53) -> int:
        """Listen; returns the port (chosen by the kernel if `port` is 0)."""
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=(address, port))
        actual: int = self._udp.get_extra_info("sockname")[1]
        self._tcp = await asyncio.start_server(self._serve_tcp, address, actual)
        return actual

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def received(self, data: bytes, sender: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._reply_udp(data, sender))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply_udp(self, data: bytes, sender: tuple[str, int]) -> None:
        reply = await self.resolve(data)
        if reply is not None and self._udp is not None and not self._udp.is_closing():
            self._udp.sendto(reply if len(reply) <= 1232 else _truncated(reply), sender)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = struct.unpack("!H", await reader.readexactly(2))[0]
                reply = await self.resolve(await reader.readexactly(size))
                if reply is None:
                    break
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def resolve(self, data: bytes) -> bytes | None:
        """The reply to one query on the wire; None if it is not a query at all."""
        from dnslib import RCODE, DNSRecord
        from dnslib.dns import DNSError  # type: ignore[import-untyped]  # dnslib publishes no types

        try:
            query = DNSRecord.parse(data)
        except (DNSError, ValueError, IndexError):
            return None
        if not query.questions:
            return None
        reply = self._zone.answer(query)
        if reply is not None:
            return bytes(reply.pack())
        for upstream in self._upstreams:
            answer = await _ask(upstream, data)
            if answer is not None:
                return answer
        failed = query.reply()
        failed.header.rcode = RCODE.SERVFAIL
        return bytes(failed.pack())


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.received(data, addr)


class _Question(asyncio.DatagramProtocol):
    def __init__(self, data: bytes, answer: asyncio.Future[bytes]) -> None:
        self._data, self._answer = data, answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        transport.sendto(self._data)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == self._data[:2] and not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


async def _ask(upstream: str, data: bytes) -> bytes | None:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Question(data, answer), remote_addr=(upstream, 53))
    except OSError:
        return None
    try:
        return await asyncio.wait_for(answer, FORWARD_TIMEOUT_S)
    except (TimeoutError, OSError):
        return None
    finally:
        transport.close()


def _truncated(reply: bytes) -> bytes:
    """The reply's header and question with TC set: ask again by TCP."""
    from dnslib import DNSRecord

    short = DNSRecord.parse(reply)
    short.rr, short.auth, short.ar = [], [], []
    short.header.tc = 1
    return bytes(short.pack())
