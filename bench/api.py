"""Requests a second of the API in process and of one HTTPS connection: `python bench/api.py`."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from seatrial.server.api import Api
from seatrial.server.http import serve
from seatrial.server.pki import Pki
from seatrial.server.requests import Filter
from seatrial.server.store import Store

COUNT = 500


def measure(name: str, action: Callable[[int], object]) -> None:
    start = time.perf_counter()
    for number in range(COUNT):
        action(number)
    print(f"{name:28} {COUNT / (time.perf_counter() - start):10.0f}/s")


async def over_https(api: Api, pki: Pki) -> None:
    async with serve(api, "127.0.0.1", 0, pki) as port:
        context = pki.client_context()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        start = time.perf_counter()
        for _ in range(COUNT):
            writer.write(b"GET /api/v1/namespaces/default/configmaps/c1 HTTP/1.1\r\nhost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        print(f"{'get over HTTPS':28} {COUNT / (time.perf_counter() - start):10.0f}/s")
        writer.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        api = Api(Store.open(Path(directory) / "x.db"), disabled_plugins=("ServiceAccount",))
        kind = api.kind("v1", "ConfigMap")
        measure(
            "create (one commit each)",
            lambda n: api.create(kind, "default", {"metadata": {"name": f"c{n}"}, "data": {"a": "b"}}),
        )
        measure("get", lambda n: api.get(kind, "default", f"c{n}"))
        measure(f"list of {COUNT}", lambda n: api.list(kind, Filter("default")))
        asyncio.run(over_https(api, Pki.ensure(Path(directory) / "pki")))
        api.store.close()


if __name__ == "__main__":
    main()
