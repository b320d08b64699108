"""A whole cluster in one process: store, API, control loop and the nodes' agents, on the real clock or a virtual one.

The same code runs on Linux and simulated: only the runtimes and the clock differ. Rules: one process per state
directory, held by a lock that the kernel drops when the process ends however it ends; `run/ready` exists exactly while
the API answers; stopping ends nothing that runs in pods, starting adopts it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from pathlib import Path

from seatrial.cluster.clock import RealClock
from seatrial.cluster.loop import ControlLoop
from seatrial.cluster.objects import Component, Objects
from seatrial.cluster.simulated import Behaves, SimulatedRuntime, usual
from seatrial.control.controller import Controller
from seatrial.node.agent import NodeAgent
from seatrial.node.runtime import Clock, PodRuntime
from seatrial.server.api import Api, LogSource
from seatrial.server.store import Store


class AlreadyRunningError(Exception):
    """Another process has this state directory."""


class Cluster:
    """`runtimes` makes a node's runtime from its name; None simulates every node with `behaves`.

    `addresses` are the nodes' own, by name; real nodes need them.
    """

    def __init__(
        self,
        store: Store,
        *,
        nodes: Sequence[str],
        controllers: Sequence[Controller],
        clock: Clock,
        runtimes: Callable[[str, Component], PodRuntime] | None = None,
        addresses: Mapping[str, str] | None = None,
        behaves: Behaves = usual,
        capacity: Mapping[str, str] | None = None,
        logs: LogSource | None = None,
        port: int = 6443,
        service_cidr: str = "10.96.0.0/16",
    ) -> None:
        self.clock = clock
        self.api = Api(store, now=clock.now, logs=logs, port=port, service_cidr=service_cidr)
        self.objects = Objects(self.api)
        self.loop = ControlLoop(controllers, self.objects, clock)
        self.runtimes: dict[str, PodRuntime] = {}
        self.agents: list[NodeAgent] = []
        for number, name in enumerate(nodes, 1):
            component = Component(self.objects, "kubelet", name)
            address = (addresses or {}).get(
                name, f"192.0.2.{number}"
            )  # addresses kept for documentation: nobody answers there
            runtime = (
                runtimes(name, component)
                if runtimes is not None
                else SimulatedRuntime(clock, subnet=f"10.244.{number}", host_ip=address, behaves=behaves)
            )
            self.runtimes[name] = runtime
            agent = NodeAgent(
                name,
                component,
                runtime,
                clock,
                capacity=capacity,
                address=address,
            )
            self.agents.append(agent)

    def start(self) -> None:
        """Register the nodes, adopt the pods that run there, look at every object once."""
        for agent in self.agents:
            agent.start()
        self.loop.start()

    def stop(self) -> None:
        self.loop.stop()
        for agent in self.agents:
            agent.stop()


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Hold the state directory for this process; `run/pid` names it. Raises `AlreadyRunningError`."""
    run = state / "run"
    run.mkdir(parents=True, exist_ok=True)
    with (run / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = (run / "pid").read_text().strip() if (run / "pid").exists() else "unknown"
            raise AlreadyRunningError(
                f"a cluster already runs on {state} (process {pid}). Use it, stop it with `seatrial down`, "
                "or choose another directory with --state."
            ) from error
        (run / "ready").unlink(missing_ok=True)  # left by a process that was killed
        (run / "pid").write_text(f"{os.getpid()}\n")
        try:
            yield
        finally:
            (run / "ready").unlink(missing_ok=True)
            (run / "pid").unlink(missing_ok=True)


async def serve(
    state: Path,
    *,
    nodes: Sequence[str],
    controllers: Sequence[Controller],
    stop: asyncio.Event,
    clock: Callable[[Store], Clock] = lambda _: RealClock(),
    runtimes: Callable[[str, Component], PodRuntime] | None = None,
    machinery: Callable[[Cluster], AbstractAsyncContextManager[None]] = lambda _: nullcontext(),
    addresses: Mapping[str, str] | None = None,
    capacity: Mapping[str, str] | None = None,
    logs: LogSource | None = None,
    port: int = 6443,
    service_cidr: str = "10.96.0.0/16",
) -> None:
    """Run the cluster of a state directory until `stop` is set: the main of the control process.

    `machinery` is entered before the agents start: set up the network, adopt what runs, compile Services, serve DNS.
    `run/ready` then holds the API's address and `cluster/kubeconfig` is the way in. Raises `AlreadyRunningError`,
    `StoreError`, `ServeError`.
    """
    from seatrial.server import http
    from seatrial.server.pki import Pki

    with locked(state):
        directory = state / "cluster"
        pki = Pki.ensure(directory / "pki")
        store = Store.open(directory / "seatrial.db")
        try:
            cluster = Cluster(
                store,
                nodes=nodes,
                controllers=controllers,
                clock=clock(store),
                runtimes=runtimes,
                addresses=addresses,
                capacity=capacity,
                logs=logs,
                port=port,
                service_cidr=service_cidr,
            )
            async with machinery(cluster), http.serve(cluster.api, "127.0.0.1", port, pki) as at:
                address = f"https://127.0.0.1:{at}"
                pki.write_kubeconfig(directory / "kubeconfig", address)
                (directory / "port").write_text(f"{at}\n")
                cluster.start()
                (state / "run" / "ready").write_text(f"{address}\n")
                try:
                    await stop.wait()
                finally:
                    cluster.stop()
        finally:
            store.close()
