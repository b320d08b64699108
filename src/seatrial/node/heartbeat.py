"""How a node says that it is there: its Node object, its conditions, its lease.

As the kubelet does it: the lease is renewed every ten seconds, the status written when it changed or every five
minutes. A CSINode stands beside it for the drivers that register there, and an annotation leaves attaching to the
attach/detach controller. A node that `renews` nothing, a simulated one, holds its lease without a time
(`control.nodelifecycle` knows that as living on) and lets it go, with the time of the renewal it would have made last,
when it is lost.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control.nodelifecycle import LEASES, condition
from seatrial.control.volumes.attachment import MANAGED
from seatrial.control.writes import ConflictError, Create, RecordEvent, RefusedError, Update, UpdateStatus, Write
from seatrial.kube.objects import CSINode, Lease, Node, ObjectMeta, OwnerReference
from seatrial.kube.objects.nodes import LeaseSpec, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo
from seatrial.kube.quantities import Quantity
from seatrial.node.api import Change, ClusterObjects
from seatrial.node.runtime import Clock, Timer

logger = logging.getLogger(__name__)

RENEWAL: Final = timedelta(seconds=10)
LEASE_DURATION_S: Final = 40
REPORT: Final = timedelta(minutes=5)
_TRIES: Final = 5
"""The kubelet's `nodeStatusUpdateRetry`."""
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_PRESSURES: Final = {
    "MemoryPressure": (
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available", "NodeHasSufficientMemory"),
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available", "NodeHasInsufficientMemory"),
    ),
    "DiskPressure": (
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"),
    ),
    "PIDPressure": (
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"),
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available", "NodeHasInsufficientPID"),
    ),
}
"""Condition: reason, message and event while it is False, and while it is True."""
_ANNOTATIONS: Final = {MANAGED: "true"}


class Heartbeat:
    """`capacity` is what the node has, e.g. {"cpu": "2", "memory": "4Gi", "pods": "110"}, `allocatable` what of it pods
    may request.
    """

    def __init__(
        self,
        name: str,
        cluster: ClusterObjects,
        clock: Clock,
        *,
        capacity: Mapping[str, str],
        address: str = "",
        renews: bool = True,
        allocatable: Callable[[Mapping[str, Quantity]], Mapping[str, Quantity]] = dict,
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._clock = clock
        self._capacity = capacity
        self._address = address
        self._renews = renews
        self._allocatable = allocatable
        self._pressures: tuple[str, ...] = ()
        self._not_ready = ""
        self._timer: Timer | None = None
        self._since: datetime | None = None
        self._reported: datetime | None = None
        self._in_use: tuple[str, ...] | None = None
        """None until it is known: what was reported before still holds."""

    def start(self) -> None:
        """Register the node, or say that it is back."""
        self._since = self._clock.now()
        node = self._cluster.get(Node, "", self._name)
        if node is None:
            meta = ObjectMeta(name=self._name, labels=default_labels(self._name), annotations=_ANNOTATIONS)
            self._apply(Create(Node(metadata=meta)))
        elif MANAGED not in node.metadata.annotations:
            annotations = {**node.metadata.annotations, **_ANNOTATIONS}
            self._apply(Update(node, replace(node, metadata=replace(node.metadata, annotations=annotations))))
        self._register_drivers()
        self._report()
        if self._renews:
            self._beat()
        else:
            self._write_lease(None)

    def node(self) -> Node:
        """The Node as the API has it; without the API's, as it would be registered."""
        found = self._cluster.get(Node, "", self._name)
        if found is not None:
            return found
        initial = Node(metadata=ObjectMeta(name=self._name, labels=default_labels(self._name)))
        return replace(initial, status=self._described(initial))

    def stop(self) -> None:
        self._since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def use(self, volumes: tuple[str, ...]) -> None:
        """These attachable volumes are mounted here or about to be: the node says so, and nobody detaches them."""
        if volumes != self._in_use:
            self._in_use = volumes
            if self._since is not None:
                self._report()

    def show(self, pressures: tuple[str, ...]) -> None:
        """The node is under these pressures and no others."""
        self._pressures = pressures
        self._contradict()

    def show_ready(self, why_not: str = "") -> None:
        """The node is ready, or is not and why."""
        self._not_ready = why_not
        self._contradict()

    def fall_silent(self) -> None:
        """Nothing is heard of the node from now on."""
        if self._since is not None and not self._renews:
            now = self._clock.now()
            self._write_lease(now - (now - self._since) % RENEWAL)
        self.stop()

    def on_change(self, change: Change) -> None:
        """Contradict whoever says that the node is not well, or who took its lease, as soon as a kubelet would."""
        node = change.after
        if self._since is None:
            return
        if isinstance(node, Node) and node.metadata.name == self._name:
            ready = condition(node, "Ready")
            if ready is None or (ready.status == "True") == bool(self._not_ready):
                self._clock.call_at(self._clock.now(), self._contradict)
        lease = change.after or change.before
        if self._renews or not isinstance(lease, Lease) or lease.metadata.name != self._name:
            return
        if change.after is None or lease.spec != self._lease(None):
            now = self._clock.now()
            self._clock.call_at(now + RENEWAL - (now - self._since) % RENEWAL, self._hold)

    def _contradict(self) -> None:
        if self._since is not None:
            self._report()

    def _hold(self) -> None:
        if self._since is not None:
            self._write_lease(None)

    def _beat(self) -> None:
        self._write_lease(self._clock.now())
        if self._reported is None or self._clock.now() >= self._reported + REPORT:
            self._report()
        self._timer = self._clock.call_at(self._clock.now() + RENEWAL, self._beat)

    def _register_drivers(self) -> None:
        node = self._cluster.get(Node, "", self._name)
        if node is not None and self._cluster.get(CSINode, "", self._name) is None:
            meta = ObjectMeta(name=self._name, owner_references=(_owner(node),))
            self._apply(Create(CSINode(metadata=meta)))

    def _write_lease(self, renewed: datetime | None) -> None:
        node = self._cluster.get(Node, "", self._name)
        if node is None:
            return
        spec = self._lease(renewed)
        lease = self._cluster.get(Lease, LEASES, self._name)
        if lease is None:
            meta = ObjectMeta(name=self._name, namespace=LEASES, owner_references=(_owner(node),))
            self._apply(Create(Lease(metadata=meta, spec=spec)))
        elif lease.spec != spec:
            self._apply(Update(lease, replace(lease, spec=spec)))

    def _lease(self, renewed: datetime | None) -> LeaseSpec:
        return LeaseSpec(holder_identity=self._name, lease_duration_seconds=LEASE_DURATION_S, renew_time=renewed)

    def _report(self) -> None:
        """Write the status; tried again while somebody else writes the Node too, and then with the next renewal."""
        for _ in range(_TRIES):
            node = self._cluster.get(Node, "", self._name)
            if node is None or self._try_to_report(node):
                return

    def _try_to_report(self, node: Node) -> bool:
        now = self._clock.now().replace(microsecond=0)
        before = {each.type: each for each in node.status.conditions}
        conditions, turned = [], []
        for kind, value, reason, message, event in self._states():
            old = before.pop(kind, None)
            same = old is not None and old.status == value
            if not same and (kind != "Ready" or old is not None):
                turned.append(event)
            conditions.append(
                NodeCondition(
                    type=kind,
                    status=value,
                    reason=reason,
                    message=message,
                    last_heartbeat_time=now,
                    last_transition_time=old.last_transition_time if old is not None and same else now,
                )
            )
        status = replace(self._described(node), conditions=(*before.values(), *conditions))
        if not self._renews and _without_heartbeats(status) == _without_heartbeats(node.status):
            return True
        if not self._apply(UpdateStatus(node, replace(node, status=status))):
            self._reported = None
            return False
        self._reported = self._clock.now()
        for event in turned:
            message = f"Node {self._name} status is now: {event}"
            self._apply(RecordEvent(node, "Normal", event, message))
        return True

    def _states(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Condition, status, reason, message, and the event when it comes to that."""
        for kind, wordings in _PRESSURES.items():
            holds = kind in self._pressures
            yield kind, str(holds), *wordings[holds]
        if self._not_ready:
            yield "Ready", "False", "KubeletNotReady", self._not_ready, "NodeNotReady"
        else:
            yield "Ready", "True", "KubeletReady", "kubelet is posting ready status", "NodeReady"

    def _described(self, node: Node) -> NodeStatus:
        """What does not change while the node lives."""
        amounts = {resource: Quantity.parse(amount) for resource, amount in self._capacity.items()}
        addresses = [NodeAddress(type="Hostname", address=self._name)]
        if self._address:
            addresses.insert(0, NodeAddress(type="InternalIP", address=self._address))
        return replace(
            node.status,
            capacity=amounts,
            allocatable=self._allocatable(amounts),
            addresses=tuple(addresses),
            volumes_in_use=node.status.volumes_in_use if self._in_use is None else self._in_use,
            node_info=NodeSystemInfo(
                architecture=_architecture(),
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

    def _apply(self, write: Write) -> bool:
        try:
            self._cluster.apply(write)
        except ConflictError:
            return False
        except RefusedError as error:
            logger.warning("node %s: %s", self._name, error)
            return False
        return True


def _owner(node: Node) -> OwnerReference:
    return OwnerReference(api_version="v1", kind="Node", name=node.metadata.name, uid=node.metadata.uid)


def default_labels(name: str) -> dict[str, str]:
    """What every node says of itself."""
    return {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": _architecture(),
    }


def _architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def _without_heartbeats(status: NodeStatus) -> NodeStatus:
    return replace(status, conditions=tuple(replace(each, last_heartbeat_time=None) for each in status.conditions))
