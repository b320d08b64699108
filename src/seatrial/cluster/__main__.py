"""`python -m seatrial.cluster`: the control process of one state directory. `seatrial up` starts it, detached."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from seatrial.cluster import process, settings
from seatrial.cluster.cluster import SIMULATED_CONTROLLERS, STANDARD_CONTROLLERS, AlreadyRunningError, serve
from seatrial.kube import schemas
from seatrial.node.linux.machine import RequirementError
from seatrial.project.toml import SettingsError
from seatrial.server.http import ServeError
from seatrial.server.store import StoreError


def node_names(count: int) -> tuple[str, ...]:
    return tuple(f"node-{number}" for number in range(1, count + 1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m seatrial.cluster")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--kubernetes", default=schemas.NEWEST)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--settings", type=Path)
    arguments = parser.parse_args()
    state = arguments.state.absolute()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(state, arguments))
    except (AlreadyRunningError, SettingsError, RequirementError, ServeError, StoreError, OSError) as error:
        print(f"seatrial: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(state: Path, arguments: argparse.Namespace) -> None:
    port = arguments.port or _last_port(state)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    shut_down = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(process.SHUT_DOWN, shut_down.set)
    names = node_names(arguments.nodes)
    given = settings.read(arguments.settings) if arguments.settings is not None else settings.Settings()
    if arguments.simulate:
        from seatrial.cluster import behaviours
        from seatrial.cluster.simulation import passing, resumed

        await serve(
            state,
            nodes=given.nodes or names,
            controllers=SIMULATED_CONTROLLERS,
            stop=stop,
            version=arguments.kubernetes,
            seed=given.seed if arguments.seed is None else arguments.seed,
            behaves=behaviours.by_rules(given.rules),
            drivers=given.drivers,
            clock=lambda store: resumed(store, given.start),
            machinery=lambda cluster: passing(cluster, given.events),
            kubelet=given.kubelet,
            port=port,
        )
        return
    from seatrial.cluster.linux import LinuxMachine
    from seatrial.node.linux import require

    require()
    machine = LinuxMachine(state, names)
    await serve(
        state,
        nodes=names,
        controllers=STANDARD_CONTROLLERS,
        stop=stop,
        shut_down=shut_down,
        version=arguments.kubernetes,
        runtimes=machine.runtime,
        machinery=machine.machinery,
        addresses={name: machine.node_address(name) for name in names},
        capacity=_capacity(state),
        kubelet=given.kubelet,
        service_cidr=machine.service_cidr,
        logs=machine,
        advertise=machine.addresses.gateway,
        port=port,
    )


def _last_port(state: Path) -> int:
    """The port this cluster had before, if it is free, so that a kubeconfig in use stays right; otherwise 0, any."""
    try:
        port = int((state / "cluster" / "port").read_text())
        with socket.create_server(("127.0.0.1", port)):
            return port
    except (OSError, ValueError):
        return 0


def _capacity(state: Path) -> dict[str, str]:
    """What each node has: this machine's processors, memory and disk, since the nodes share it."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    state.mkdir(parents=True, exist_ok=True)
    disk = os.statvfs(state)
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory_bytes // 1024}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "pods": "110",
    }


if __name__ == "__main__":
    sys.exit(main())
