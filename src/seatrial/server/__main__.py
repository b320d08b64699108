"""`python -m seatrial.server DIR [PORT]`: the API alone, without controllers and nodes, for tests and measurements."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from seatrial.server.api import Api
from seatrial.server.http import serve
from seatrial.server.pki import Pki
from seatrial.server.store import Store


async def _main(directory: Path, port: int) -> None:
    pki = Pki.ensure(directory / "pki")
    store = Store.open(directory / "seatrial.db")
    try:
        async with serve(Api(store), "127.0.0.1", port, pki) as at:
            pki.write_kubeconfig(directory / "kubeconfig", f"https://127.0.0.1:{at}")
            print(f"ready: export KUBECONFIG={directory / 'kubeconfig'}", flush=True)
            await asyncio.Event().wait()
    finally:
        store.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 6443))
