"""Which pods a node does not take though they are bound to it, and what becomes of them.

A node that shuts down takes none. One under pressure takes critical pods; if memory alone is short, also those that
request something and those that tolerate it. Rejected is for good: the pod has failed, its controller makes another.
Semantics: the admission handlers of `pkg/kubelet` 1.37 (`eviction`, `nodeshutdown`, `rejectPod`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from seatrial.control import qos
from seatrial.control.lifecycle.origins import is_critical
from seatrial.control.scheduler.machines import tolerates
from seatrial.kube.objects import Pod, PodStatus
from seatrial.kube.objects.nodes import Taint

MEMORY = Taint(key="node.kubernetes.io/memory-pressure", effect="NoSchedule")
GENERATIONS_SINCE = 34


@dataclass(frozen=True, slots=True)
class Rejection:
    reason: str
    message: str


def of(pod: Pod, conditions: Collection[str], *, shutting_down: bool) -> Rejection | None:
    """`conditions` are the pressures that the node is under."""
    if conditions and not is_critical(pod):
        only_memory = set(conditions) == {"MemoryPressure"}
        if not (only_memory and (qos.of(pod) != qos.BEST_EFFORT or tolerates(pod.spec.tolerations, MEMORY))):
            return Rejection("Evicted", f"The node had condition: [{' '.join(conditions)}]. ")
    if shutting_down:
        return Rejection("NodeShutdown", "Pod was rejected as the node is shutting down.")
    return None


def status(pod: Pod, rejection: Rejection, now: datetime, *, minor: int) -> PodStatus:
    """All that is ever said of a rejected pod; conditions that are not a node's own stay."""
    return PodStatus(
        phase="Failed",
        reason=rejection.reason,
        message=f"Pod was rejected: {rejection.message}",
        qos_class=qos.of(pod),
        start_time=pod.status.start_time or now.replace(microsecond=0),
        conditions=tuple(each for each in pod.status.conditions if each.type not in _OWN),
        observed_generation=pod.metadata.generation if minor >= GENERATIONS_SINCE else 0,
        host_ip=pod.status.host_ip,
        host_ips=pod.status.host_ips,
    )


_OWN = frozenset(
    (
        "PodScheduled",
        "Ready",
        "ContainersReady",
        "Initialized",
        "PodReadyToStartContainers",
        "PodResizePending",
        "PodResizeInProgress",
        "AllContainersRestarting",
    )
)
