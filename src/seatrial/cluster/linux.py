"""The real machine under a cluster: what joins `node.linux`, the image store and DNS to the cluster's objects.

Rules: the network exists before a pod is adopted, pods are adopted before an agent looks; Services are compiled again
after any change of a Service or EndpointSlice, once for all the changes of one turn of the event loop.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from seatrial import image
from seatrial.cluster.cluster import Cluster
from seatrial.cluster.metrics import CountedSource, Counters
from seatrial.cluster.objects import Component
from seatrial.control import reach
from seatrial.control.lifecycle.origins import CONFIG_MIRROR
from seatrial.control.sandbox import ImageConfig
from seatrial.control.volumes import provisioner
from seatrial.kube.objects import EndpointSlice, JsonObject, PersistentVolume, Pod, Service
from seatrial.node.api import Change
from seatrial.node.dns import DnsServer, Zone, host_resolvers
from seatrial.node.linux import Image, LinuxRuntime, Machine, Network, addresses
from seatrial.node.linux.accounting import account
from seatrial.node.logs import LogOptions
from seatrial.server.requests import LogQuery


class LinuxMachine:
    """The network, the image store and the nodes' runtimes of one state directory on this machine."""

    def __init__(self, state: Path, nodes: Iterable[str]) -> None:
        self.machine = Machine(state)
        self.addresses = addresses(self.machine.id)
        self.network = Network(self.machine, self.addresses)
        self.images = StoredImages(image.Store(state / "images"))
        self.numbers = {name: number for number, name in enumerate(nodes)}
        self.runtimes: list[LinuxRuntime] = []
        self._volumes = state / "volumes"

    @property
    def service_cidr(self) -> str:
        return str(self.addresses.services)

    def node_address(self, name: str) -> str:
        return self.addresses.node(self.numbers[name])

    def runtime(self, name: str, cluster: Component) -> LinuxRuntime:
        """The runtime of one node; `machinery` makes it work."""
        runtime = LinuxRuntime(
            self.network,
            self.images,
            cluster,
            node_name=name,
            pod_cidr=str(self.addresses.pods(self.numbers[name])),
            host_ip=self.node_address(name),
        )
        self.runtimes.append(runtime)
        return runtime

    @asynccontextmanager
    async def machinery(self, cluster: Cluster) -> AsyncIterator[None]:
        """Network up, pods adopted, Services followed and names served; on leaving, pods and network stay."""
        await self.network.set_up(len(self.numbers))
        for runtime in self.runtimes:
            await runtime.adopt()
        dns = DnsServer(Zone(Component(cluster.objects, "dns")), host_resolvers()[0])
        await dns.start(self.addresses.gateway)
        following = asyncio.create_task(self._follow_services(cluster))
        removing = asyncio.create_task(self._remove_volumes(cluster))
        measuring = CountedSource(cluster.objects, cluster.clock, self._counters)
        cluster.metrics.follow(cluster.objects, measuring)
        measuring.start()
        try:
            yield
        finally:
            measuring.stop()
            following.cancel()
            removing.cancel()
            await asyncio.gather(following, removing, return_exceptions=True)
            await dns.close()
            for runtime in self.runtimes:
                await runtime.close()

    def _counters(self, uid: str, container_id: str) -> Counters | None:
        found = account(f"{self.machine.cgroup}/pod{uid}/{container_id}") if container_id else None
        return None if found is None else Counters(found.cpu_s, found.memory_bytes)

    async def _follow_services(self, cluster: Cluster) -> None:
        changed = asyncio.Event()
        changed.set()

        def on_change(change: Change) -> None:
            about = change.after or change.before
            if isinstance(about, Service | EndpointSlice) or (isinstance(about, Pod) and has_host_port(about)):
                changed.set()

        stop = cluster.objects.subscribe(on_change)
        try:
            while True:
                await changed.wait()
                changed.clear()
                objects = cluster.objects
                services = reach.service_rules(objects.all(Service), objects.all(EndpointSlice))
                await self.network.apply((*services, *reach.host_port_rules(objects.all(Pod), services)))
        finally:
            stop()

    async def _remove_volumes(self, cluster: Cluster) -> None:
        """The data of a provisioned volume goes when the volume goes, unless it is to be retained."""
        gone: asyncio.Queue[Path] = asyncio.Queue()

        def on_change(change: Change) -> None:
            volume = change.before
            if change.after is not None or not isinstance(volume, PersistentVolume) or not provisioner.is_ours(volume):
                return
            local, policy = volume.spec.local, volume.spec.persistent_volume_reclaim_policy
            if policy == "Delete" and local is not None and Path(local.path).parent == self._volumes:
                gone.put_nowait(Path(local.path))

        stop = cluster.objects.subscribe(on_change)
        try:
            while True:
                await asyncio.to_thread(shutil.rmtree, await gone.get(), ignore_errors=True)
        finally:
            stop()

    def lines(self, pod: JsonObject, query: LogQuery) -> AsyncIterator[bytes]:
        """A container's log for the API. Raises `LookupError` where it has never run."""
        options = LogOptions(
            follow=query.follow,
            timestamps=query.timestamps,
            tail_lines=query.tail_lines,
            limit_bytes=query.limit_bytes,
            since=query.since,
        )
        for runtime in self.runtimes:
            if runtime.node_name == pod.get("spec", {}).get("nodeName"):
                meta = pod["metadata"]
                uid = meta.get("annotations", {}).get(CONFIG_MIRROR) or meta["uid"]
                found = runtime.read_log(uid, query.container, options, previous=query.previous)
                if found is not None:
                    return found
        which = "previous terminated " if query.previous else ""
        raise LookupError(f'{which}container "{query.container}" in pod "{pod["metadata"]["name"]}" not found')


def has_host_port(pod: Pod) -> bool:
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    return any(port.host_port for container in containers for port in container.ports)


class StoredImages:
    """The image store as a node asks for it."""

    def __init__(self, store: image.Store) -> None:
        self._store = store

    def find(self, reference: str) -> Image | None:
        found = self._store.resolve(reference)
        if found is None:
            return None
        config = found.config
        return Image(
            digest=found.digest,
            config=ImageConfig(
                env=tuple(config.env),
                entrypoint=tuple(config.entrypoint),
                cmd=tuple(config.cmd),
                user=config.user,
                working_dir=config.workdir,
                stop_signal=config.stop_signal,
            ),
            layers=tuple(self._store.rootfs_layers(found)),
        )
