"""The pod garbage collector: pods that no node will ever report on again, and ended ones when there are too many.

Every 20 seconds, once for the whole cluster, so its subject is one that there is once. A node that is not there is
asked for again after 40 seconds before its pods are taken for lost. That is remembered also if it comes meanwhile, and
asked anew as long as it has pods: if it is missing by then, they have no 40 seconds of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Delete, UpdateStatus, Write
from seatrial.kube.objects import Namespace, Node, Object, ObjectMeta, Pod, PodSpec, PodStatus
from seatrial.kube.objects.nodes import NodeSpec, NodeStatus
from seatrial.kube.objects.pods import PodCondition

PERIOD: Final = timedelta(seconds=20)
QUARANTINE: Final = timedelta(seconds=40)
MOST_TERMINATED: Final = 12500
"""`--terminated-pod-gc-threshold`."""
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
_SUBJECT: Final = "kube-system"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Memory:
    """When to look next, and the nodes that were missing, each with the time to ask for it again."""

    due: datetime
    doubted: tuple[tuple[str, datetime], ...] = ()


def reconcile(seen: Seen) -> Decision:
    pods, nodes = seen.all(Pod), {node.metadata.name: node for node in seen.all(Node)}
    memory = seen.memory if isinstance(seen.memory, _Memory) else _Memory(_next_tick(seen.now))
    work = any(_is_doomed(pod, nodes) for pod in pods) or len(_terminated(pods)) > MOST_TERMINATED
    if not work and not memory.doubted:
        return Decision()
    if seen.now < memory.due:
        return Decision(wake_at=memory.due, memory=memory)
    kept = _doubted(pods, nodes, seen.now) | {name: at for name, at in memory.doubted if at > seen.now}
    lost = {name for name, at in memory.doubted if at <= seen.now and name not in nodes}
    writes = tuple(_writes(pods, nodes, lost, seen))
    due = _next_tick(seen.now)
    if not kept and not writes:
        return Decision()
    return Decision(writes, due, _Memory(due, tuple(sorted(kept.items()))))


def _next_tick(now: datetime) -> datetime:
    """Upstream's ticks count from when the controller started; ours from a time that all agree on."""
    return now + PERIOD - (now - _EPOCH) % PERIOD


def _doubted(pods: Iterable[Pod], nodes: dict[str, Node], now: datetime) -> dict[str, datetime]:
    names = {pod.spec.node_name for pod in pods if pod.spec.node_name and pod.spec.node_name not in nodes}
    return dict.fromkeys(names, now + QUARANTINE)


def _writes(pods: tuple[Pod, ...], nodes: dict[str, Node], lost: set[str], seen: Seen) -> Iterator[Write]:
    ended = sorted(_terminated(pods), key=_age)
    surplus = {pod.metadata.uid for pod in ended[: max(0, len(ended) - MOST_TERMINATED)]}
    for pod in pods:
        if pod.spec.node_name in lost:
            target = PodCondition(
                type="DisruptionTarget",
                status="True",
                reason="DeletionByPodGC",
                message="PodGC: node no longer exists",
                last_transition_time=seen.now.replace(microsecond=0),
                observed_generation=_generation(pod, seen.minor),
            )
            yield from _remove(pod, seen.minor, target)
        elif pod.metadata.uid in surplus or _is_stuck(pod, nodes):
            yield from _remove(pod, seen.minor, None)


def _remove(pod: Pod, minor: int, condition: PodCondition | None) -> Iterator[Write]:
    """Failed, so that whoever waits for its end sees one; then gone without asking any node."""
    if not _is_terminated(pod):
        status = replace(pod.status, phase="Failed", observed_generation=_generation(pod, minor))
        if condition is not None:
            status = replace(status, conditions=_with(status.conditions, condition))
        yield UpdateStatus(pod, replace(pod, status=status))
    yield Delete(pod, grace_period_s=0)


def _with(conditions: tuple[PodCondition, ...], new: PodCondition) -> tuple[PodCondition, ...]:
    old = next((item for item in conditions if item.type == new.type), None)
    if old is None:
        return (*conditions, new)
    if old.status == new.status:
        new = replace(new, last_transition_time=old.last_transition_time)
    return tuple(new if item is old else item for item in conditions)


def _generation(pod: Pod, minor: int) -> int:
    return pod.metadata.generation if minor >= 34 else 0


def _is_doomed(pod: Pod, nodes: dict[str, Node]) -> bool:
    return _is_stuck(pod, nodes) or bool(pod.spec.node_name and pod.spec.node_name not in nodes)


def _is_stuck(pod: Pod, nodes: dict[str, Node]) -> bool:
    """Being deleted where nobody will finish it: on no node, or on one declared out of service."""
    if pod.metadata.deletion_timestamp is None:
        return False
    node = nodes.get(pod.spec.node_name)
    return not pod.spec.node_name or (node is not None and _is_out_of_service(node))


def _is_out_of_service(node: Node) -> bool:
    ready = any(item.type == "Ready" and item.status == "True" for item in node.status.conditions)
    return not ready and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)


def _is_terminated(pod: Pod) -> bool:
    return pod.status.phase in {"Succeeded", "Failed"}


def _terminated(pods: Iterable[Pod]) -> list[Pod]:
    return [pod for pod in pods if _is_terminated(pod)]


def _age(pod: Pod) -> tuple[bool, float, str]:
    """Evicted pods go first, then the oldest."""
    evicted = pod.status.phase == "Failed" and pod.status.reason == "Evicted"
    created = pod.metadata.creation_timestamp
    return not evicted, 0.0 if created is None else created.timestamp(), pod.metadata.name


def _view_of_pod(pod: Object) -> Object:
    assert isinstance(pod, Pod)
    meta = pod.metadata
    return Pod(
        metadata=ObjectMeta(
            name=meta.name, namespace=meta.namespace, uid=meta.uid, deletion_timestamp=meta.deletion_timestamp
        ),
        spec=PodSpec(node_name=pod.spec.node_name),
        status=PodStatus(phase=pod.status.phase if _is_terminated(pod) else "Running"),
    )


def _view_of_node(node: Object) -> Object:
    assert isinstance(node, Node)
    return Node(
        metadata=ObjectMeta(name=node.metadata.name, uid=node.metadata.uid),
        spec=NodeSpec(taints=tuple(taint for taint in node.spec.taints if taint.key == OUT_OF_SERVICE)),
        status=NodeStatus(
            conditions=tuple(
                type(item)(type=item.type, status=item.status)
                for item in node.status.conditions
                if item.type == "Ready"
            )
        ),
    )


CONTROLLER: Final = Controller(
    name="pod-garbage-collector",
    actor="Pod garbage collector",
    subject=Namespace,
    reads=(
        Read(Pod, Relation.ALL, wakes=False),
        Read(Pod, Relation.ALL, view=_view_of_pod),
        Read(Node, Relation.ALL, view=_view_of_node),
    ),
    reconcile=reconcile,
    concerned=lambda namespace: namespace.metadata.name == _SUBJECT,
)
