"""The ReplicaSet controller: as many pods as asked for, the least useful ones deleted first.

The observation is the store itself, so upstream's expectations are not needed. The order of deletion is upstream's
`ActivePodsWithRanks`. A `Crowd` is what a ReplicaSet and a ReplicationController have in common; `manage` decides for
both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cmp_to_key, partial
from itertools import repeat
from typing import Final, NamedTuple

from msgspec.structs import replace

from seatrial.control.batches import at_once, slow_start
from seatrial.control.controller import Batch, Controller, Decision, Read, Relation, Seen
from seatrial.control.ownership import available_at, claim, is_active, is_available, is_ready, ready_since
from seatrial.control.templates import pod_from
from seatrial.control.writes import Create, Delete, RecordEvent, Refusal, UpdateStatus, Write
from seatrial.kube import selectors
from seatrial.kube.objects import ContainerStatus, Object, ObjectMeta, Pod, PodSpec, PodStatus, ReplicaSet
from seatrial.kube.objects.workloads import ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
BURST: Final = 500
"""Creations or deletions in one decision, upstream's `BurstReplicas`."""
TERMINATING_REPLICAS_MINOR: Final = 35
"""From this minor version on, status.terminatingReplicas is reported (DeploymentReplicaSetTerminatingReplicas)."""
NAMESPACE_ENDS: Final = "because it is being terminated"
"""In the API's refusal to create in a namespace that is going away: nobody needs to be told."""

_PHASES: Final = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many pods of one template: `owner` controls them and is what events are about."""

    owner: Object
    spec: ReplicaSetSpec
    status: ReplicaSetStatus

    @property
    def is_going(self) -> bool:
        return self.owner.metadata.deletion_timestamp is not None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a crowd: writes but for its status and their batches, the status, when to look again."""

    writes: tuple[Write, ...]
    batches: tuple[Batch, ...]
    status: ReplicaSetStatus
    wake_at: datetime | None


def reconcile(seen: Seen) -> Decision:
    subject = seen.subject
    assert isinstance(subject, ReplicaSet)
    # Upstream ranks by the pods of sibling ReplicaSets, and finds none, not even its own, without a common controller.
    related = seen.all(Pod) if subject.metadata.controller is not None else ()
    outcome = manage(Crowd(subject, subject.spec, subject.status), seen, related)
    status = outcome.status
    if seen.minor >= TERMINATING_REPLICAS_MINOR:
        status = replace(status, terminating_replicas=_count_terminating(subject, seen.all(Pod)))
    else:
        status = replace(status, terminating_replicas=None)
    writes = outcome.writes
    if status != subject.status:
        writes = (*writes, UpdateStatus(subject, replace(subject, status=status)))
    return Decision(writes, outcome.wake_at, batches=outcome.batches)


def manage(crowd: Crowd, seen: Seen, related: tuple[Pod, ...]) -> Outcome:
    """One decision; `related` are the pods that count when the fullest nodes are relieved first."""
    owner, spec = crowd.owner, crowd.spec
    wanted = 1 if spec.replicas is None else spec.replicas
    candidates = (pod for pod in seen.all(Pod) if is_active(pod) and _concerns(crowd, pod))
    mine, claims = claim(owner, spec.selector, candidates)
    writes: list[Write] = []
    batches: list[Batch] = []
    failure: ReplicaSetCondition | None = None
    if seen.refused:
        for refusal in seen.refused:
            events, said = _explain(crowd, refusal, seen.now)
            writes += events
            failure = failure or said
    else:
        writes += claims
        missing = 0 if crowd.is_going else wanted - len(mine)
        if missing > 0:
            told = RecordEvent(owner, "Normal", "SuccessfulCreate", "Created pod: {created}")
            step = (Create(pod_from(owner, spec.template)), told)
            batches = slow_start(writes, repeat(step, min(missing, BURST)))
        elif missing < 0:
            gone = victims(mine, related, min(-missing, BURST), seen.now)
            batches = at_once(writes, (_deletion(owner, pod) for pod in gone))
    status = _status(crowd, mine, failure, seen.now)
    return Outcome(tuple(writes), tuple(batches), status, _wake_at(spec, mine, seen.now))


def _deletion(owner: Object, pod: Pod) -> tuple[Write, ...]:
    told = RecordEvent(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")
    return (Delete(pod), told)


def _explain(crowd: Crowd, refused: Refusal, now: datetime) -> tuple[list[Write], ReplicaSetCondition | None]:
    """The event and the condition that tell of a pod that the API did not create or delete."""
    message = refused.message
    match refused.write:
        case Create() if NAMESPACE_ENDS not in message:
            reason, event = "FailedCreate", f"Error creating: {message}"
        case Delete():
            reason, event = "FailedDelete", f"Error deleting: {message}"
            message = f"unable to delete pods: {message}"
        case _:
            return [], None
    condition = ReplicaSetCondition(
        type="ReplicaFailure",
        status="True",
        reason=reason,
        message=message,
        last_transition_time=now.replace(microsecond=0),
    )
    return [RecordEvent(crowd.owner, "Warning", reason, event)], condition


def victims(mine: list[Pod], related: tuple[Pod, ...], count: int, now: datetime) -> list[Pod]:
    """The `count` pods of `mine` that are missed least, while `related` are where they are."""
    if count >= len(mine):
        return mine
    on_node = Counter(pod.spec.node_name for pod in related if is_active(pod))
    ranked = [_Ranked.of(pod, on_node) for pod in mine]
    return [each.pod for each in sorted(ranked, key=cmp_to_key(partial(_compare, now)))[:count]]


class _Ranked(NamedTuple):
    """A pod and what it is compared by: before its age and after it."""

    pod: Pod
    first: tuple[int, ...]
    ready_since: datetime | None
    then: tuple[int, ...]

    @classmethod
    def of(cls, pod: Pod, on_node: Counter[str]) -> _Ranked:
        ready = is_ready(pod)
        return cls(
            pod,
            (
                bool(pod.spec.node_name),
                _PHASES.get(pod.status.phase, 0),
                ready,
                _deletion_cost(pod),
                -on_node[pod.spec.node_name],
            ),
            ready_since(pod) if ready else None,
            (
                -max((status.restart_count for status in pod.status.container_statuses), default=0),
                -max((status.restart_count for status in pod.status.init_container_statuses), default=0),
            ),
        )


def _compare(now: datetime, one: _Ranked, other: _Ranked) -> int:
    """Negative when `one` goes first. Not a key: ages of one power of two are told apart by uid at once."""
    if one.first != other.first:
        return -1 if one.first < other.first else 1
    if one.ready_since != other.ready_since:
        return _compare_ages(one.pod, one.ready_since, other.pod, other.ready_since, now)
    if one.then != other.then:
        return -1 if one.then < other.then else 1
    created = one.pod.metadata.creation_timestamp, other.pod.metadata.creation_timestamp
    if created[0] != created[1]:
        return _compare_ages(one.pod, created[0], other.pod, created[1], now)
    return _compare_texts(one.pod.metadata.uid, other.pod.metadata.uid)


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


def _concerns(crowd: Crowd, pod: Pod) -> bool:
    return _is_controlled_by(pod, crowd.owner) or selectors.matches(crowd.spec.selector, pod.metadata.labels)


def _is_controlled_by(pod: Pod, owner: Object) -> bool:
    current = pod.metadata.controller
    return current is not None and current.uid == owner.metadata.uid


def _count_terminating(subject: ReplicaSet, pods: Iterable[Pod]) -> int:
    return sum(
        pod.metadata.deletion_timestamp is not None
        and pod.status.phase not in {"Succeeded", "Failed"}
        and _is_controlled_by(pod, subject)
        and selectors.matches(subject.spec.selector, pod.metadata.labels)
        for pod in pods
    )


def _status(crowd: Crowd, mine: list[Pod], failure: ReplicaSetCondition | None, now: datetime) -> ReplicaSetStatus:
    """What was seen; a failure that is told of already keeps its words until the next success."""
    template_labels = crowd.spec.template.metadata.labels
    conditions = crowd.status.conditions
    if failure is None:
        conditions = tuple(c for c in conditions if c.type != "ReplicaFailure")
    elif all(c.type != failure.type for c in conditions):
        conditions = (*conditions, failure)
    return replace(
        crowd.status,
        replicas=len(mine),
        ready_replicas=sum(is_ready(pod) for pod in mine),
        available_replicas=sum(is_available(pod, crowd.spec.min_ready_seconds, now) for pod in mine),
        fully_labeled_replicas=sum(selectors.matches_labels(template_labels, pod.metadata.labels) for pod in mine),
        observed_generation=crowd.owner.metadata.generation,
        conditions=conditions,
    )


def _wake_at(spec: ReplicaSetSpec, mine: list[Pod], now: datetime) -> datetime | None:
    times = (available_at(pod, spec.min_ready_seconds) for pod in mine)
    return min((time for time in times if time is not None and time > now), default=None)


def view(pod: Object) -> Object:
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
            init_container_statuses=_restarts(_of_sidecars(pod)),
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


def _of_sidecars(pod: Pod) -> tuple[ContainerStatus, ...]:
    sidecars = {container.name for container in pod.spec.init_containers if container.restart_policy == "Always"}
    return tuple(status for status in pod.status.init_container_statuses if status.name in sidecars)


def _restarts(statuses: tuple[ContainerStatus, ...]) -> tuple[ContainerStatus, ...]:
    return tuple(ContainerStatus(name=status.name, restart_count=status.restart_count) for status in statuses)


CONTROLLER = Controller(
    name="replicaset-controller",
    actor="ReplicaSet controller",
    subject=ReplicaSet,
    reads=(
        Read(Pod, Relation.OWNED, view=view),
        Read(Pod, Relation.SELECTED, view=view),
        Read(Pod, Relation.SIBLING, view=_view_of_sibling),
    ),
    reconcile=reconcile,
    hears_refusals=True,
)
