"""A node's agent: registers the node and does for each of its pods what the life cycle decides.

It holds no opinion: after every change of a pod or its facts, and at each wake-up, it calls `lifecycle.sync`, writes
the status, records the events and hands the actions to the runtime. Rules: the status is written before the actions
start, so that nothing that happened goes unreported; an action that is under way is not asked for again until its
outcome shows in the facts or `RETRY` has passed; a conflict means that the pod changed, so it is looked at again.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from seatrial.control.lifecycle import sync
from seatrial.control.lifecycle.facts import (
    Action,
    CreateSandbox,
    PodEvent,
    PodFacts,
    RemoveFromApi,
    RemoveSandbox,
    RunProbe,
    StartContainer,
    StopContainer,
)
from seatrial.control.writes import ConflictError, Create, Delete, RecordEvent, RefusedError, UpdateStatus
from seatrial.kube.objects import Node, ObjectMeta, Pod
from seatrial.kube.objects.nodes import NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo
from seatrial.kube.quantities import Quantity
from seatrial.node.api import Change, ClusterObjects
from seatrial.node.runtime import Clock, PodRuntime, Timer

logger = logging.getLogger(__name__)

RETRY = timedelta(seconds=10)
"""How long an unanswered or failed action rests before it is asked for again (the kubelet's sync period)."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(slots=True)
class _Watched:
    """What the agent remembers of one pod."""

    pod: Pod
    asked: dict[Action, datetime] = field(default_factory=dict)
    told: set[PodEvent] = field(default_factory=set)
    timer: Timer | None = None
    queued: bool = False


class NodeAgent:
    """`capacity` is what the node offers, e.g. {"cpu": "2", "memory": "4Gi", "pods": "110"}."""

    def __init__(
        self,
        name: str,
        cluster: ClusterObjects,
        runtime: PodRuntime,
        clock: Clock,
        *,
        capacity: Mapping[str, str] | None = None,
        address: str = "",
    ) -> None:
        self.name = name
        self._cluster = cluster
        self._runtime = runtime
        self._clock = clock
        self._capacity = dict(capacity or {"cpu": "4", "memory": "8Gi", "pods": "110"})
        self._address = address
        self._pods: dict[str, _Watched] = {}
        self._stop_watching: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Register the node, adopt the pods that are bound to it and follow them from now on."""
        self._runtime.on_change = self._wake
        self._register()
        self._stop_watching = self._cluster.subscribe(self._on_change)
        for pod in self._cluster.all(Pod):
            if pod.spec.node_name == self.name:
                self._follow(pod)

    def stop(self) -> None:
        """Look at nothing any more; containers keep running."""
        self._stop_watching()
        for watched in self._pods.values():
            if watched.timer is not None:
                watched.timer.cancel()
        self._pods.clear()

    def _register(self) -> None:
        architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
        node = self._cluster.get(Node, "", self.name)
        if node is None:
            labels = {
                "kubernetes.io/hostname": self.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": architecture,
            }
            self._cluster.apply(Create(Node(metadata=ObjectMeta(name=self.name, labels=labels))))
            node = self._cluster.get(Node, "", self.name)
        assert node is not None, f"node {self.name} was created but is not there"
        now = self._clock.now().replace(microsecond=0)
        old = next((c for c in node.status.conditions if c.type == "Ready"), None)
        since = old.last_transition_time if old is not None and old.status == "True" else now
        ready = NodeCondition(
            type="Ready",
            status="True",
            reason="KubeletReady",
            message="node agent is posting ready status",
            last_heartbeat_time=now,
            last_transition_time=since,
        )
        amounts = {resource: Quantity.parse(amount) for resource, amount in self._capacity.items()}
        addresses = [NodeAddress(type="Hostname", address=self.name)]
        if self._address:
            addresses.insert(0, NodeAddress(type="InternalIP", address=self._address))
        status = msgspec.structs.replace(
            node.status,
            capacity=amounts,
            allocatable=amounts,
            addresses=tuple(addresses),
            conditions=(*(c for c in node.status.conditions if c.type != "Ready"), ready),
            node_info=NodeSystemInfo(
                architecture=architecture,
                operating_system="linux",
                kernel_version=platform.release(),
                container_runtime_version="seatrial",
                kubelet_version="v1.37.0",
                kube_proxy_version="v1.37.0",
                os_image="Linux",
                machine_id=node.metadata.uid,
                system_uuid=node.metadata.uid,
                boot_id=node.metadata.uid,
            ),
        )
        self._write_node(node, status)

    def _write_node(self, node: Node, status: NodeStatus) -> None:
        self._cluster.apply(UpdateStatus(node, msgspec.structs.replace(node, status=status)))

    def _on_change(self, change: Change) -> None:
        before, after = change.before, change.after
        if isinstance(after, Pod) and after.spec.node_name == self.name:
            self._follow(after)
        elif after is None and isinstance(before, Pod) and before.metadata.uid in self._pods:
            watched = self._pods.pop(before.metadata.uid)
            if watched.timer is not None:
                watched.timer.cancel()
            self._runtime.forget(watched.pod)

    def _follow(self, pod: Pod) -> None:
        watched = self._pods.setdefault(pod.metadata.uid, _Watched(pod))
        watched.pod = pod
        self._wake(pod.metadata.uid)

    def _wake(self, uid: str) -> None:
        """Look at the pod soon; never at once, because we may be inside a write or a runtime's call."""
        watched = self._pods.get(uid)
        if watched is not None and not watched.queued:
            watched.queued = True
            self._clock.call_at(self._clock.now(), lambda: self._look(uid))

    def _look(self, uid: str) -> None:
        watched = self._pods.get(uid)
        if watched is None:
            return
        watched.queued = False
        now = self._clock.now()
        pod, facts = watched.pod, self._runtime.facts(watched.pod)
        decision = sync(pod, facts, now)
        if decision.status != pod.status:
            try:
                self._cluster.apply(UpdateStatus(pod, msgspec.structs.replace(pod, status=decision.status)))
            except ConflictError:
                fresh = self._cluster.get(Pod, pod.metadata.namespace, pod.metadata.name)
                if fresh is not None and fresh.metadata.uid == uid:
                    self._follow(fresh)
                return
            except RefusedError as error:
                logger.warning("status: %s", error)
        for event in decision.events:
            if event not in watched.told:
                watched.told.add(event)
                try:
                    self._cluster.apply(RecordEvent(pod, event.type, event.reason, event.message))
                except (ConflictError, RefusedError) as error:
                    logger.warning("event: %s", error)
        self._perform(watched, decision.actions, facts, now)
        wakes = [at for at in (decision.wake_at, *self._retries(watched, decision.actions)) if at is not None]
        if watched.timer is not None:
            watched.timer.cancel()
            watched.timer = None
        if wakes and uid in self._pods:
            watched.timer = self._clock.call_at(max(now, min(wakes)), lambda: self._wake(uid))

    def _perform(self, watched: _Watched, actions: tuple[Action, ...], facts: PodFacts, now: datetime) -> None:
        watched.asked = {a: at for a, at in watched.asked.items() if not _answered(a, facts, at)}
        for action in actions:
            asked_at = watched.asked.get(action)
            if asked_at is not None and now < asked_at + RETRY and not isinstance(action, RemoveFromApi):
                continue
            watched.asked[action] = now
            if isinstance(action, RemoveFromApi):
                try:
                    self._cluster.apply(Delete(watched.pod, grace_period_s=0))
                except ConflictError:
                    self._wake(watched.pod.metadata.uid)
            else:
                self._runtime.perform(watched.pod, action)

    @staticmethod
    def _retries(watched: _Watched, actions: tuple[Action, ...]) -> list[datetime]:
        return [watched.asked[action] + RETRY for action in actions if action in watched.asked]


def _answered(action: Action, facts: PodFacts, asked_at: datetime) -> bool:
    """The outcome of an action shows in the facts, so that the same action would be a new one."""
    match action:
        case CreateSandbox():
            return facts.sandbox is not None
        case RemoveSandbox():
            return facts.sandbox is None
        case StartContainer(name=name, attempt=attempt):
            return any(fact.name == name and fact.attempt >= attempt for fact in facts.containers)
        case StopContainer(name=name, attempt=attempt):
            return any(f.name == name and f.attempt == attempt and f.finished_at is not None for f in facts.containers)
        case RunProbe(container=name, attempt=attempt, kind=kind):
            wanted = (name, attempt, kind)
            runs = (p for p in facts.probes if (p.container, p.attempt, p.kind) == wanted)
            return any(p.last_at is not None and p.last_at >= asked_at for p in runs)
        case RemoveFromApi():
            return False
