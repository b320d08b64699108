"""A whole cluster in one process: store, API, control loop and the nodes' agents, on the real clock or a virtual one.

The same code runs on Linux and simulated: only the runtimes and the clock differ. Rules: one process per state
directory, held by a lock that the kernel drops when the process ends however it ends; `run/ready` exists exactly while
the API answers; stopping ends nothing that runs in pods, starting adopts it.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import os
import random
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from seatrial.cluster.behaviours import load_of
from seatrial.cluster.clock import RealClock
from seatrial.cluster.expiry import EventExpiry
from seatrial.cluster.loop import ControlLoop
from seatrial.cluster.metrics import Load, Metrics, SimulatedSource
from seatrial.cluster.objects import Component, Objects
from seatrial.cluster.scheduling import SchedulingLoop
from seatrial.cluster.simulated import Behaves, SimulatedRuntime, usual
from seatrial.control import scheduler, serviceaccount
from seatrial.control.addons import ADDONS, csi, vpa
from seatrial.control.addons.vpa.targets import Workloads
from seatrial.control.controller import Controller
from seatrial.control.lifecycle import static
from seatrial.control.lifecycle.configuration import DEFAULT_KUBELET, KubeletConfiguration
from seatrial.control.manager import CONTROLLERS
from seatrial.control.volumes import provisioner
from seatrial.control.writes import Create, Update
from seatrial.kube import schemas
from seatrial.kube.objects import CSIDriver, JsonObject, Object, StorageClass, VerticalPodAutoscaler
from seatrial.node.agent import NodeAgent
from seatrial.node.heartbeat import default_labels
from seatrial.node.runtime import Clock, PodRuntime
from seatrial.server import own_service
from seatrial.server.api import SUFFIX_LETTERS, Api
from seatrial.server.authority import Authority
from seatrial.server.requests import LogSource
from seatrial.server.store import Store

STANDARD_CONTROLLERS: Final = (*CONTROLLERS, scheduler.CONTROLLER)
"""The controller manager's and the scheduler: what runs in a cluster unless somebody asks for less."""

SIMULATED_CONTROLLERS: Final = (*STANDARD_CONTROLLERS, *ADDONS)
"""The same on simulated nodes, where no pod of an add-on does its own work."""


T = TypeVar("T", bound=Object)


class AlreadyRunningError(Exception):
    """Another process has this state directory."""


@dataclass(frozen=True, slots=True)
class NodeShape:
    """A node as it is to be: what it offers ({"cpu": "2", "memory": "4Gi", "pods": "110"}), its labels and taints, and
    the manifests of its static pods.
    """

    name: str
    capacity: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[JsonObject] = ()
    static_pods: Sequence[JsonObject] = ()


class Cluster:
    """`runtimes` makes a node's runtime from its name; None simulates every node with `behaves`.

    `addresses` are the nodes' own, by name; real nodes need them. `load` is what simulated containers use, if not what
    `behaves` says. `drivers` are CSI drivers that stand-ins play on simulated nodes. With a `seed` uids and generated
    names repeat from run to run. `version` is the Kubernetes version whose schemas are served and whose behaviour is
    followed. `manifests` holds a directory for each node with those of its static pods, `kubelet` is how every node is
    configured.
    """

    def __init__(
        self,
        store: Store,
        *,
        nodes: Sequence[str | NodeShape],
        controllers: Sequence[Controller],
        clock: Clock,
        version: str = schemas.NEWEST,
        seed: int | None = None,
        runtimes: Callable[[str, Component], PodRuntime] | None = None,
        addresses: Mapping[str, str] | None = None,
        behaves: Behaves = usual,
        load: Load | None = None,
        capacity: Mapping[str, str] | None = None,
        logs: LogSource | None = None,
        volumes: str = "/var/lib/seatrial/volumes",
        manifests: Path | None = None,
        drivers: Sequence[csi.Driver] = (),
        kubelet: KubeletConfiguration = DEFAULT_KUBELET,
        port: int = 6443,
        service_cidr: str = "10.96.0.0/16",
        authority: Authority | None = None,
        disabled_plugins: Collection[str] = (),
    ) -> None:
        self.clock = clock
        self.metrics = Metrics(clock)
        names = _Names(seed)
        self.api = Api(
            store,
            version=version,
            now=clock.now,
            new_uid=names.uid,
            suffix=names.suffix,
            logs=logs,
            measurements=self.metrics,
            port=port,
            service_cidr=service_cidr,
            authority=authority,
            disabled_plugins=disabled_plugins,
        )
        self.objects = Objects(self.api)
        self.metrics.follow(self.objects, SimulatedSource(self.objects, clock, load or load_of(behaves)))
        if vpa.recommender.CONTROLLER in controllers:
            self.api.pod_webhook = self._with_recommended_resources
        self._volumes = volumes
        self._version = version
        self._drivers = tuple(drivers)
        minor = int(version.partition(".")[2])
        managed = [controller for controller in controllers if controller is not scheduler.CONTROLLER]
        if serviceaccount.CONTROLLER in controllers:
            certificate = self.api.authority.certificate
            managed.append(serviceaccount.token_controller(certificate))
            if certificate:
                managed.append(serviceaccount.root_ca_publisher(certificate))
        self.loop = ControlLoop(managed, self.objects, clock, minor=minor)
        if isinstance(clock, RealClock):
            clock.on_step = self.loop.start_over_soon
        self._scheduling = (
            SchedulingLoop(self.objects, clock, minor=minor, seed=seed) if scheduler.CONTROLLER in controllers else None
        )
        self._expiry = EventExpiry(self.api, clock)
        self._shapes = [NodeShape(each) if isinstance(each, str) else each for each in nodes]
        self.runtimes: dict[str, PodRuntime] = {}
        self.agents: list[NodeAgent] = []
        for number, shape in enumerate(self._shapes, 1):
            name = shape.name
            component = Component(self.objects, "kubelet", name)
            address = (addresses or {}).get(name, _nowhere(number))
            runtime = (
                runtimes(name, component)
                if runtimes is not None
                else SimulatedRuntime(
                    clock,
                    component,
                    name=name,
                    subnet=_pod_subnet(number),
                    host_ip=address,
                    behaves=behaves,
                    capacity=shape.capacity or capacity,
                )
            )
            self.runtimes[name] = runtime
            agent = NodeAgent(
                name,
                component,
                runtime,
                clock,
                capacity=shape.capacity or capacity,
                address=address,
                renews=runtimes is not None,
                version=version,
                manifests=manifests / name if manifests is not None else None,
                configuration=kubelet,
            )
            self.agents.append(agent)
            if shape.static_pods:
                self.set_static_pods(name, shape.static_pods)

    def _with_recommended_resources(self, pod: JsonObject) -> JsonObject:
        """A new pod as the admission of the VerticalPodAutoscaler leaves it."""
        namespace = pod["metadata"]["namespace"]

        def here(kind: type[T]) -> list[T]:
            return [each for each in self.objects.all(kind) if each.metadata.namespace == namespace]

        autoscalers = here(VerticalPodAutoscaler)
        if not autoscalers:
            return pod
        workloads = Workloads([each for kind in vpa.targets.CONTROLLERS for each in here(kind)])
        return vpa.admission.admit(pod, autoscalers, workloads)

    def start(self) -> None:
        """Register the nodes, adopt the pods that run there, look at every object once."""
        standard = provisioner.storage_class(self._volumes)
        if self.objects.get(StorageClass, "", standard.metadata.name) is None:
            Component(self.objects, provisioner.PROVISIONER).apply(Create(standard))
        for driver in self._drivers:
            self.install(driver)
        self._expiry.start()
        for shape, agent in zip(self._shapes, self.agents, strict=True):
            self._prepare(shape)
            agent.start()
        self.loop.start()
        if self._scheduling is not None:
            self._scheduling.start()

    def install(self, driver: csi.Driver) -> None:
        """A CSI driver that its stand-in plays, from now on as `driver` says."""
        there = self.objects.get(CSIDriver, "", driver.name)
        after, component = driver.installed(there), Component(self.objects, "seatrial")
        if there is None:
            component.apply(Create(after))
        elif after != there:
            component.apply(Update(there, after))

    def _prepare(self, shape: NodeShape) -> None:
        """A node that has a shape of its own exists before its agent does."""
        nodes = self.api.kind("v1", "Node")
        if (shape.labels or shape.taints) and self.api.store.get("/nodes", "", shape.name) is None:
            labels = {**default_labels(shape.name), **shape.labels}
            metadata = {"name": shape.name, "labels": labels}
            self.api.create(nodes, "", {"metadata": metadata, "spec": {"taints": list(shape.taints)}})

    def fail_node(self, name: str) -> None:
        """The node is cut off: nothing is heard of it, nothing reaches it; its pods' processes go on."""
        self.agent(name).fall_silent()

    def restore_node(self, name: str) -> None:
        self.agent(name).come_back()

    def shut_down_node(self, name: str) -> None:
        """The node ends its pods as configured and goes off; `restore_node` calls it off or switches it on again."""
        self.agent(name).shut_down()

    def set_pressure(self, name: str, available: Mapping[str, str]) -> None:
        """So much is available of a simulated node's signals; of all others there is enough."""
        runtime = self.runtimes[self.agent(name).name]
        if not isinstance(runtime, SimulatedRuntime):
            raise TypeError(f"{name} is a real node: its pressure is the machine's")
        runtime.set_pressure(available)

    def set_static_pods(self, node: str, manifests: Sequence[JsonObject]) -> None:
        """These are the manifests in the node's directory from now on. Raises `ManifestError`, `LookupError`."""
        pods = [
            static.read(raw, source=str(number), node=node, version=self._version)
            for number, raw in enumerate(manifests)
        ]
        self.agent(node).static_pods.want(pods)

    def agent(self, name: str) -> NodeAgent:
        found = next((agent for agent in self.agents if agent.name == name), None)
        if found is None:
            raise LookupError(f"no node {name}; there are {', '.join(agent.name for agent in self.agents) or 'none'}")
        return found

    def stop(self) -> None:
        self.loop.stop()
        if self._scheduling is not None:
            self._scheduling.stop()
        self._expiry.stop()
        for agent in self.agents:
            agent.stop()


class _Names:
    """Uids and suffixes of generated names, by chance or by seed."""

    def __init__(self, seed: int | None) -> None:
        self._random = random.Random(seed)

    def uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def suffix(self) -> str:
        return "".join(self._random.choices(SUFFIX_LETTERS, k=5))


def _nowhere(number: int) -> str:
    """A node's address where nobody answers: of the networks for documentation, or where these end for measurements."""
    return f"192.0.2.{number}" if number < 255 else f"198.18.{number // 256}.{number % 256}"


def _pod_subnet(number: int) -> str:
    return f"10.244.{number}" if number < 256 else f"10.{number // 256}.{number % 256}"


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
    nodes: Sequence[str | NodeShape],
    controllers: Sequence[Controller],
    stop: asyncio.Event,
    version: str = schemas.NEWEST,
    seed: int | None = None,
    behaves: Behaves = usual,
    drivers: Sequence[csi.Driver] = (),
    clock: Callable[[Store], Clock] = lambda _: RealClock(),
    shut_down: asyncio.Event | None = None,
    runtimes: Callable[[str, Component], PodRuntime] | None = None,
    machinery: Callable[[Cluster], AbstractAsyncContextManager[None]] = lambda _: nullcontext(),
    addresses: Mapping[str, str] | None = None,
    capacity: Mapping[str, str] | None = None,
    logs: LogSource | None = None,
    kubelet: KubeletConfiguration = DEFAULT_KUBELET,
    port: int = 6443,
    service_cidr: str = "10.96.0.0/16",
    advertise: str = "",
) -> None:
    """Run the cluster of a state directory until `stop` is set: the main of the control process.

    `machinery` is entered before the agents start: set up the network, adopt what runs, compile Services, serve DNS.
    `advertise` is an address at which pods reach the API too. `run/ready` then holds the API's address and
    `cluster/kubeconfig` is the way in. Once `shut_down` is set every node shuts down as configured, for at most the
    seconds in `run/grace`, and the cluster stops. Raises `AlreadyRunningError`, `StoreError`, `ServeError`.
    """
    from seatrial.server import http
    from seatrial.server.pki import Pki

    with locked(state):
        directory = state / "cluster"
        of_service = str(ipaddress.IPv4Network(service_cidr)[1])
        pki = Pki.ensure(directory / "pki", addresses=("127.0.0.1", of_service, *([advertise] if advertise else [])))
        store = Store.open(directory / "seatrial.db")
        try:
            cluster = Cluster(
                store,
                nodes=nodes,
                version=version,
                seed=seed,
                behaves=behaves,
                drivers=drivers,
                controllers=controllers,
                clock=clock(store),
                runtimes=runtimes,
                addresses=addresses,
                capacity=capacity,
                logs=logs,
                volumes=str(state / "volumes"),
                kubelet=kubelet,
                manifests=state / "manifests" if runtimes is not None else None,
                port=port,
                service_cidr=service_cidr,
                authority=Authority(pki),
            )
            also = [advertise] if advertise else []
            listening = http.serve(cluster.api, "127.0.0.1", port, pki, also=also)
            async with machinery(cluster), listening as at:
                address = f"https://127.0.0.1:{at}"
                pki.write_kubeconfig(directory / "kubeconfig", address)
                (directory / "port").write_text(f"{at}\n")
                if advertise:
                    own_service.publish(cluster.api, advertise, at)
                cluster.start()
                grace_s = sum(each.seconds for each in kubelet.shutdown_graces) if shut_down is not None else 0
                (state / "run" / "grace").write_text(f"{grace_s}\n")
                (state / "run" / "ready").write_text(f"{address}\n")
                off = asyncio.create_task(_shut_down(cluster, shut_down, stop)) if shut_down is not None else None
                try:
                    await stop.wait()
                finally:
                    if off is not None:
                        off.cancel()
                    cluster.stop()
        finally:
            store.close()


async def _shut_down(cluster: Cluster, asked: asyncio.Event, stop: asyncio.Event) -> None:
    """Once asked, shut every node down, and stop the cluster when all are off."""
    await asked.wait()
    on = {agent.name for agent in cluster.agents}

    def off(name: str) -> None:
        on.discard(name)
        if not on:
            stop.set()

    for agent in cluster.agents:
        agent.shut_down(off)
