"""The ReplicaSet controller: as many pods as asked for, the least useful ones deleted first.

The observation is the store itself, so upstream's expectations are not needed; its slow start of creations is a matter
of whoever executes the writes. The order of deletion is upstream's `ActivePodsWithRanks`.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from functools import cmp_to_key

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.ownership import (
    available_at,
    claim,
    controller_reference,
    is_active,
    is_available,
    is_ready,
    ready_since,
)
from seatrial.control.writes import Create, Delete, RecordEvent, UpdateStatus, Write
from seatrial.kube import selectors
from seatrial.kube.objects import ContainerStatus, Object, ObjectMeta, Pod, PodSpec, PodStatus, ReplicaSet
from seatrial.kube.objects.workloads import ReplicaSetStatus

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
BURST = 500
"""Creations or deletions in one decision, upstream's `BurstReplicas`."""

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    assert isinstance(subject, ReplicaSet)
    wanted = 1 if subject.spec.replicas is None else subject.spec.replicas
    pods = seen.all(Pod)
    candidates = [pod for pod in pods if is_active(pod) and _concerns(subject, pod)]
    mine, claims = claim(subject, subject.spec.selector, candidates)
    writes: list[Write] = list(claims)
    if subject.metadata.deletion_timestamp is None:
        missing = wanted - len(mine)
        if missing > 0:
            for _ in range(min(missing, BURST)):
                writes.append(Create(_pod(subject)))
                writes.append(RecordEvent(subject, "Normal", "SuccessfulCreate", "Created pod: {created}"))
        elif missing < 0:
            for pod in victims(mine, pods, min(-missing, BURST), seen.now):
                writes.append(Delete(pod))
                name = pod.metadata.name
                writes.append(RecordEvent(subject, "Normal", "SuccessfulDelete", f"Deleted pod: {name}"))
    terminating = sum(
        1
        for pod in pods
        if pod.metadata.deletion_timestamp is not None
        and _is_controlled_by(pod, subject)
        and pod.status.phase not in {"Succeeded", "Failed"}
    )
    status = _status(subject, mine, terminating, seen.now)
    if status != subject.status:
        writes.append(UpdateStatus(subject, replace(subject, status=status)))
    return Decision(tuple(writes), _wake_at(subject, mine, seen.now))


def victims(mine: list[Pod], related: tuple[Pod, ...], count: int, now: datetime) -> list[Pod]:
    """The `count` pods of `mine` that are missed least. `related` are all pods of the same Deployment."""
    if count >= len(mine):
        return mine
    on_node = Counter(pod.spec.node_name for pod in related if is_active(pod))

    def compare(one: Pod, other: Pod) -> int:
        return _compare(one, other, on_node, now)

    return sorted(mine, key=cmp_to_key(compare))[:count]


def _compare(one: Pod, other: Pod, on_node: Counter[str], now: datetime) -> int:
    """Negative when `one` goes first. Not a key: ages of one power of two are told apart by uid at once."""

    def first(pod: Pod) -> tuple[int, ...]:
        return (
            bool(pod.spec.node_name),
            _PHASES.get(pod.status.phase, 0),
            is_ready(pod),
            _deletion_cost(pod),
            -on_node[pod.spec.node_name],
        )

    def then(pod: Pod) -> tuple[int, ...]:
        return (
            -max((status.restart_count for status in pod.status.container_statuses), default=0),
            -max((status.restart_count for status in pod.status.init_container_statuses), default=0),
        )

    if first(one) != first(other):
        return -1 if first(one) < first(other) else 1
    if is_ready(one) and (ready_since(one) != ready_since(other)):
        return _compare_ages(one, ready_since(one), other, ready_since(other), now)
    if then(one) != then(other):
        return -1 if then(one) < then(other) else 1
    created = one.metadata.creation_timestamp, other.metadata.creation_timestamp
    if created[0] != created[1]:
        return _compare_ages(one, created[0], other, created[1], now)
    return _compare_texts(one.metadata.uid, other.metadata.uid)


def _compare_ages(one: Pod, since: datetime | None, other: Pod, other_since: datetime | None, now: datetime) -> int:
    """The younger goes first, on a logarithmic scale (LogarithmicScaleDown): in one power of two the uid decides."""
    if since is None or other_since is None:
        return -1 if since is None else 1
    difference = _power(now - since) - _power(now - other_since)
    return difference or _compare_texts(one.metadata.uid, other.metadata.uid)


def _power(age: timedelta) -> int:
    nanoseconds = (age // timedelta(microseconds=1)) * 1000
    return nanoseconds.bit_length() - 1 if nanoseconds > 0 else -1


def _compare_texts(one: str, other: str) -> int:
    return (one > other) - (one < other)


def _deletion_cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _concerns(subject: ReplicaSet, pod: Pod) -> bool:
    return _is_controlled_by(pod, subject) or selectors.matches(subject.spec.selector, pod.metadata.labels)


def _is_controlled_by(pod: Pod, owner: Object) -> bool:
    current = pod.metadata.controller
    return current is not None and current.uid == owner.metadata.uid


def _pod(owner: ReplicaSet) -> Pod:
    template = owner.spec.template
    meta = ObjectMeta(
        generate_name=f"{owner.metadata.name}-",
        namespace=owner.metadata.namespace,
        labels=template.metadata.labels,
        annotations=template.metadata.annotations,
        finalizers=template.metadata.finalizers,
        owner_references=(controller_reference(owner),),
    )
    return Pod(metadata=meta, spec=template.spec)


def _status(owner: ReplicaSet, mine: list[Pod], terminating: int, now: datetime) -> ReplicaSetStatus:
    seconds = owner.spec.min_ready_seconds
    template_labels = owner.spec.template.metadata.labels
    return replace(
        owner.status,
        replicas=len(mine),
        ready_replicas=sum(is_ready(pod) for pod in mine),
        available_replicas=sum(is_available(pod, seconds, now) for pod in mine),
        fully_labeled_replicas=sum(selectors.matches_labels(template_labels, pod.metadata.labels) for pod in mine),
        terminating_replicas=terminating,
        observed_generation=owner.metadata.generation,
    )


def _wake_at(owner: ReplicaSet, mine: list[Pod], now: datetime) -> datetime | None:
    times = (available_at(pod, owner.spec.min_ready_seconds) for pod in mine)
    return min((time for time in times if time is not None and time > now), default=None)


def _view(pod: Object) -> Object:
    """What this controller looks at; without resourceVersion, so that a change of anything else wakes nobody."""
    assert isinstance(pod, Pod)
    return replace(
        pod,
        metadata=replace(pod.metadata, resource_version="", generation=0),
        spec=PodSpec(node_name=pod.spec.node_name),
        status=PodStatus(
            phase=pod.status.phase,
            conditions=tuple(
                replace(c, last_probe_time=None, message="") for c in pod.status.conditions if c.type == "Ready"
            ),
            container_statuses=_restarts(pod.status.container_statuses),
            init_container_statuses=_restarts(pod.status.init_container_statuses),
        ),
    )


def _view_of_sibling(pod: Object) -> Object:
    assert isinstance(pod, Pod)
    return Pod(
        metadata=ObjectMeta(
            name=pod.metadata.name,
            namespace=pod.metadata.namespace,
            uid=pod.metadata.uid,
            owner_references=pod.metadata.owner_references,
            deletion_timestamp=pod.metadata.deletion_timestamp,
        ),
        spec=PodSpec(node_name=pod.spec.node_name),
        status=PodStatus(phase="Running" if is_active(pod) else "Failed"),
    )


def _restarts(statuses: tuple[ContainerStatus, ...]) -> tuple[ContainerStatus, ...]:
    return tuple(ContainerStatus(name=status.name, restart_count=status.restart_count) for status in statuses)


CONTROLLER = Controller(
    name="replicaset-controller",
    actor="ReplicaSet controller",
    subject=ReplicaSet,
    reads=(
        Read(Pod, Relation.OWNED, view=_view),
        Read(Pod, Relation.SELECTED, view=_view),
        Read(Pod, Relation.SIBLING, view=_view_of_sibling),
    ),
    reconcile=reconcile,
)
