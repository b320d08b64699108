"""NoExecute taints evict pods: at once, or when the time is over for which the pod tolerates the taint.

What is remembered of a node is upstream's: for each pod when its eviction was decided on and when it is due. A later
taint does not shorten the time of an eviction that is under way, and nothing is decided about a pod again until the
node's taints or the pod's tolerations change; so a pod that is already going may be told twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Delete, RecordEvent, UpdateStatus, Write
from seatrial.kube.objects import Node, Object, ObjectMeta, Pod
from seatrial.kube.objects.nodes import NodeSpec, Taint
from seatrial.kube.objects.pods import PodCondition, PodSpec, Toleration
from seatrial.kube.times import after


@dataclass(frozen=True, slots=True)
class _Considered:
    """A pod as it was last decided about. `due` None: it stays, or it has been evicted."""

    namespace: str
    name: str
    uid: str
    tolerations: tuple[Toleration, ...]
    due: datetime | None


@dataclass(frozen=True, slots=True)
class _Memory:
    taints: tuple[Taint, ...] = ()
    pods: tuple[_Considered, ...] = ()


def _reconcile(seen: Seen) -> Decision:
    node = seen.subject
    assert isinstance(node, Node)
    before = seen.memory if isinstance(seen.memory, _Memory) else _Memory()
    taints = tuple(taint for taint in node.spec.taints if taint.effect == "NoExecute")
    considered = {each.uid: each for each in before.pods}
    writes: list[Write] = []
    now_considered = []
    pods = seen.all(Pod)
    for pod in pods:
        last = considered.pop(pod.metadata.uid, None)
        due = None if last is None else last.due
        if taints != before.taints or last is None or last.tolerations != pod.spec.tolerations:
            scheduled, due = due, _due(pod, taints, due, seen.now)
            if scheduled is not None and due != scheduled:
                writes.append(_cancelled(pod))
        if due is not None and due <= seen.now:
            writes += _evicted(pod, seen)
            due = None
        meta = pod.metadata
        now_considered.append(_Considered(meta.namespace, meta.name, meta.uid, pod.spec.tolerations, due))
    writes += [
        _cancelled(Pod(metadata=ObjectMeta(namespace=gone.namespace, name=gone.name, uid=gone.uid)))
        for gone in considered.values()
        if gone.due is not None
    ]
    wake_at = min((each.due for each in now_considered if each.due is not None), default=None)
    memory = _Memory(taints, tuple(now_considered)) if taints else None
    return Decision(tuple(writes), wake_at, memory)


def _due(pod: Pod, taints: tuple[Taint, ...], scheduled: datetime | None, now: datetime) -> datetime | None:
    if not taints:
        return None
    used = []
    for taint in taints:
        toleration = next((each for each in pod.spec.tolerations if tolerates(each, taint)), None)
        if toleration is None:
            return now
        used.append(toleration)
    seconds = [each.toleration_seconds for each in used if each.toleration_seconds is not None]
    if not seconds:
        return None
    return scheduled or after(now, max(0, min(seconds)))


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator in ("", "Equal"):
        return toleration.value == taint.value
    return toleration.operator == "Exists"


def _evicted(pod: Pod, seen: Seen) -> Iterable[Write]:
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    yield RecordEvent(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {name}")
    told = any(each.type == "DisruptionTarget" and each.status == "True" for each in pod.status.conditions)
    if seen.minor >= 26 and not told:
        target = PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="DeletionByTaintManager",
            message="Taint manager: deleting due to NoExecute taint",
            last_transition_time=seen.now.replace(microsecond=0),
            observed_generation=pod.metadata.generation if seen.minor >= 34 else 0,
        )
        others = tuple(each for each in pod.status.conditions if each.type != "DisruptionTarget")
        status = replace(pod.status, conditions=(*others, target))
        yield UpdateStatus(pod, replace(pod, status=status))
    yield Delete(pod)


def _cancelled(pod: Pod) -> RecordEvent:
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    return RecordEvent(pod, "Normal", "TaintManagerEviction", f"Cancelling deletion of Pod {name}")


def _view_of_node(node: Object) -> Object:
    assert isinstance(node, Node)
    taints = tuple(taint for taint in node.spec.taints if taint.effect == "NoExecute")
    return Node(metadata=ObjectMeta(name=node.metadata.name), spec=NodeSpec(taints=taints))


def _view_of_pod(pod: Object) -> Object:
    assert isinstance(pod, Pod)
    meta = pod.metadata
    return Pod(
        metadata=ObjectMeta(namespace=meta.namespace, name=meta.name, uid=meta.uid),
        spec=PodSpec(node_name=pod.spec.node_name, tolerations=pod.spec.tolerations),
    )


CONTROLLER: Final = Controller(
    name="taint-eviction-controller",
    actor="Taint eviction controller",
    subject=Node,
    reads=(
        Read(Pod, Relation.HOSTED, wakes=False),
        Read(Pod, Relation.HOSTED, view=_view_of_pod),
    ),
    reconcile=_reconcile,
    view=_view_of_node,
)
