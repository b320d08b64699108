"""A simulated cluster that stands still: its time passes only when it is told to, as fast as this machine computes.

For tests, measurements and trials that are run again: nothing here knows the real time or chance, so the same seed and
the same calls give the same objects, names, uids and times. Rules: what is due now happens before anything is answered;
`settle` ends when nothing that was begun is still under way (`simulation.UnderWay`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from seatrial.cluster.clock import START, VirtualClock
from seatrial.cluster.cluster import SIMULATED_CONTROLLERS, Cluster, NodeShape
from seatrial.cluster.metrics import Load, idle
from seatrial.cluster.simulated import Behaves, usual
from seatrial.cluster.simulation import PATIENCE, UnderWay
from seatrial.control.controller import Controller
from seatrial.control.lifecycle.configuration import DEFAULT_KUBELET, KubeletConfiguration
from seatrial.kube import schemas
from seatrial.kube.objects import JsonObject
from seatrial.server.authority import Authority
from seatrial.server.requests import MERGE_PATCH, STRATEGIC_PATCH, Filter
from seatrial.server.resources import storage_key
from seatrial.server.store import Store

NODE_CAPACITY: Final = {"cpu": "4", "memory": "8Gi", "pods": "110"}
_FIRST: Final = ("Namespace", "CustomResourceDefinition", "PriorityClass", "ServiceAccount", "Secret", "ConfigMap")


class VirtualCluster:
    """`nodes` is their number, their names or their shapes; `behaves` says what containers do, `load` what they use."""

    def __init__(
        self,
        *,
        nodes: int | Sequence[str | NodeShape] = 1,
        seed: int = 0,
        version: str = schemas.NEWEST,
        start: datetime = START,
        behaves: Behaves = usual,
        load: Load = idle,
        controllers: Sequence[Controller] = SIMULATED_CONTROLLERS,
        kubelet: KubeletConfiguration = DEFAULT_KUBELET,
        port: int = 6443,
        authority: Authority | None = None,
        disabled_plugins: Collection[str] = (),
    ) -> None:
        self.clock = VirtualClock(start)
        self.controllers = tuple(controllers)
        named = [f"node-{number}" for number in range(1, nodes + 1)] if isinstance(nodes, int) else nodes
        self.cluster = Cluster(
            Store.open(":memory:"),
            nodes=named,
            controllers=controllers,
            clock=self.clock,
            version=version,
            seed=seed,
            behaves=behaves,
            load=load,
            capacity=NODE_CAPACITY,
            kubelet=kubelet,
            port=port,
            authority=authority,
            disabled_plugins=disabled_plugins,
        )
        self.api = self.cluster.api
        self.objects = self.cluster.objects
        self._under_way = UnderWay(self.objects)
        self.cluster.start()
        self.advance(timedelta())

    def apply(self, manifests: Iterable[JsonObject]) -> None:
        """Create what is not there, merge into what is as kubectl does; then everything due at this moment happens."""
        for raw in sorted(manifests, key=lambda raw: _FIRST.index(raw["kind"]) if raw["kind"] in _FIRST else 99):
            resource = self.api.kind(raw["apiVersion"], raw["kind"])
            namespace = raw["metadata"].get("namespace", "default") if resource.namespaced else ""
            name = raw["metadata"].get("name", "")
            if name and self.api.store.get(storage_key(resource), namespace, name) is not None:
                how = MERGE_PATCH if resource.custom else STRATEGIC_PATCH
                self.api.patch(resource, namespace, name, raw, how)
            else:
                self.api.create(resource, namespace, raw)
            if resource.kind in ("Namespace", "CustomResourceDefinition"):
                # The namespace's default account is there before the pods that need it, the kind before its objects.
                self.advance(timedelta())
        self.advance(timedelta())

    def list(self, api_version: str, kind: str, namespace: str = "") -> list[JsonObject]:
        return self.api.list(self.api.kind(api_version, kind), Filter(namespace=namespace)).items

    def advance(self, duration: timedelta) -> None:
        self.clock.run(duration)

    def settle(self, patience: timedelta = PATIENCE) -> bool:
        """Let time pass until nothing is under way, but no longer than `patience`; whether it came to that."""
        return self.clock.run(patience, until=self.is_settled)

    def is_settled(self) -> bool:
        return not self.clock.is_due() and not self._under_way and not self.cluster.loop.restless()

    def unsettled(self) -> tuple[str, ...]:
        """What is under way, and who goes on writing without end, as a person would name it."""
        under_way = (f"{key} is not what it is to be" for key in self._under_way.names())
        return (*under_way, *self.cluster.loop.restless())
