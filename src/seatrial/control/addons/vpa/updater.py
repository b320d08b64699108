"""The updater (v1.8): every minute, pods that differ too much from their recommendation are evicted, or resized.

An evicted pod is made anew by its controller, and the admission gives it what is recommended. Of each controller's pods
at most half are on their way at a time, and only where there are two or more. With InPlaceOrRecreate the pod is resized
where it is, and evicted only if that cannot be done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from seatrial.control import disruption
from seatrial.control.addons.vpa import targets
from seatrial.control.addons.vpa.policies import Resources, resources, update_mode
from seatrial.control.addons.vpa.priority import due
from seatrial.control.addons.vpa.targets import Workloads
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Evict, RecordEvent, Update, Write
from seatrial.kube.objects import (
    DaemonSet,
    Job,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    VerticalPodAutoscaler,
)
from seatrial.kube.objects.pods import PodCondition, ResourceRequirements

NAME: Final = "vpa-updater"
INTERVAL: Final = timedelta(minutes=1)
MIN_REPLICAS: Final = 2
TOLERANCE: Final = 0.5
IN_PLACE: Final = "vpaInPlaceUpdated"
DEFERRED_TIMEOUT: Final = timedelta(minutes=5)
IN_PROGRESS_TIMEOUT: Final = timedelta(hours=1)
_EVICTS: Final = ("Recreate", "Auto")
_RESIZES: Final = "InPlaceOrRecreate"
_PENDING, _IN_PROGRESS = "PodResizePending", "PodResizeInProgress"


@dataclass(frozen=True, slots=True)
class Memory:
    """`resizing` is since when a pod, by name, has been seen in the middle of a resize."""

    next_look: datetime
    resizing: Mapping[str, datetime] = field(default_factory=dict, hash=False)


@dataclass(slots=True)
class Group:
    """The pods of one controller: how many there should be and are, and how many this round has disrupted."""

    configured: int
    running: int
    evicted: int = 0
    resized: int = 0

    def may_lose_one(self) -> bool:
        tolerance = int(self.configured * TOLERANCE)
        alive = self.running - self.evicted - self.resized
        alone = self.configured == self.running and not tolerance and not self.evicted and not self.resized
        return alive > self.configured - tolerance or alone


def reconcile(seen: Seen) -> Decision:
    autoscaler = seen.subject
    assert isinstance(autoscaler, VerticalPodAutoscaler)
    known = seen.memory if isinstance(seen.memory, Memory) else Memory(seen.now + INTERVAL)
    if seen.refused:
        return _after_refusal(seen, autoscaler, known)
    if seen.now < known.next_look:
        return Decision(wake_at=known.next_look, memory=known)
    round_ = _Round(seen, autoscaler, known)
    if update_mode(autoscaler) in (*_EVICTS, _RESIZES):
        round_.run()
    resizing = {name: at for name, at in round_.resizing.items() if any(name == each for each in round_.live)}
    return Decision(tuple(round_.writes), seen.now + INTERVAL, Memory(seen.now + INTERVAL, resizing))


def _after_refusal(seen: Seen, autoscaler: VerticalPodAutoscaler, known: Memory) -> Decision:
    """A pod that cannot be resized is evicted instead; the others have their turn in the next round."""
    round_ = _Round(seen, autoscaler, known)
    refused = seen.refused[0].write
    if isinstance(refused, Update):
        uid = refused.before.metadata.uid
        round_.evict([pod for pod in round_.pods if pod.metadata.uid == uid])
    return Decision(tuple(round_.writes), known.next_look, known)


class _Round:
    def __init__(self, seen: Seen, autoscaler: VerticalPodAutoscaler, known: Memory) -> None:
        self.now = seen.now
        self.autoscaler = autoscaler
        self.resizing = dict(known.resizing)
        self.writes: list[Write] = []
        workloads = Workloads.seen(seen)
        autoscalers = [each for each in seen.all(VerticalPodAutoscaler) if update_mode(each) in (*_EVICTS, _RESIZES)]
        self.pods = [
            pod
            for pod in seen.all(Pod)
            if pod.metadata.deletion_timestamp is None and workloads.controlling(pod, autoscalers) == autoscaler
        ]
        self.live = {pod.metadata.name for pod in self.pods}
        self.groups = _groups(self.pods, autoscaler, workloads)
        self.budgets = {each.metadata.name: each for each in seen.all(PodDisruptionBudget)}

    def run(self) -> None:
        if update_mode(self.autoscaler) != _RESIZES:
            self.evict(due(filter(self.may_evict, self.pods), self.autoscaler, self.now))
            return
        failed = []
        for pod in due(
            [pod for pod in self.pods if self.may_resize(pod) or self.has_failed(pod)], self.autoscaler, self.now
        ):
            if self.has_failed(pod) or (self.may_resize(pod) and not self.resize(pod)):
                failed.append(pod)
        self.evict(failed)

    def group(self, pod: Pod) -> Group | None:
        return self.groups.get(_owner(pod))

    def may_evict(self, pod: Pod) -> bool:
        group = self.group(pod)
        if group is None:
            return False
        if pod.status.phase == "Pending":
            return True
        return self.has_failed(pod) if _resize_of(pod) is not None else group.may_lose_one()

    def may_resize(self, pod: Pod) -> bool:
        group = self.group(pod)
        waits = pod.status.phase == "Pending" or _resize_of(pod) is not None
        return group is not None and not waits and group.may_lose_one()

    def has_failed(self, pod: Pod) -> bool:
        """A resize under way cannot be done, or takes too long."""
        condition, group = _resize_of(pod), self.group(pod)
        if condition is None or group is None or pod.status.phase == "Pending":
            return False
        since = self.resizing.setdefault(pod.metadata.name, self.now)
        if not group.may_lose_one():
            return False
        if condition.type == _PENDING:
            return condition.reason != "Deferred" or self.now - since > DEFERRED_TIMEOUT
        return bool(condition.reason or condition.message) or self.now - since > IN_PROGRESS_TIMEOUT

    def evict(self, pods: Iterable[Pod]) -> None:
        for pod in pods:
            group = self.group(pod)
            if group is None or not self.may_evict(pod):
                continue
            budget = disruption.evict(pod, list(self.budgets.values()), self.now)
            if isinstance(budget, disruption.Refused):
                continue
            if budget is not None:
                self.budgets[budget.metadata.name] = budget
            said = "Pod was evicted by VPA Updater to apply resource recommendation."
            told = f"VPA Updater evicted Pod {pod.metadata.name} to apply resource recommendation."
            self.writes += (
                Evict(pod),
                RecordEvent(pod, "Normal", "EvictedByVPA", said),
                RecordEvent(self.autoscaler, "Normal", "EvictedPod", told),
            )
            if pod.status.phase != "Pending":
                group.evicted += 1

    def resize(self, pod: Pod) -> bool:
        """Whether there is anything to change."""
        wanted = resources(self.autoscaler, pod)
        if not wanted:
            return False
        containers = tuple(
            replace(each, resources=_with(each.resources, wanted[each.name])) if each.name in wanted else each
            for each in pod.spec.containers
        )
        resized = replace(pod, spec=replace(pod.spec, containers=containers))
        annotations = {**pod.metadata.annotations, IN_PLACE: "true"}
        annotated = replace(resized, metadata=replace(pod.metadata, annotations=annotations))
        said = "Pod was resized in place by VPA Updater."
        self.writes += (
            Update(pod, resized),
            Update(resized, annotated),
            RecordEvent(pod, "Normal", "InPlaceResizedByVPA", said),
        )
        group = self.group(pod)
        if group is not None:
            group.resized += 1
        return True


def _with(before: ResourceRequirements, found: Resources) -> ResourceRequirements:
    return replace(before, requests={**before.requests, **found.requests}, limits={**before.limits, **found.limits})


def _owner(pod: Pod) -> tuple[str, str]:
    owner = next((each for each in pod.metadata.owner_references if each.controller), None)
    return ("", "") if owner is None else (owner.kind, owner.name)


def _groups(
    pods: Sequence[Pod], autoscaler: VerticalPodAutoscaler, workloads: Workloads
) -> dict[tuple[str, str], Group]:
    """By controller; without those that have too few pods, or of which it is not known how many there should be."""
    policy = autoscaler.spec.update_policy
    least = MIN_REPLICAS if policy is None or policy.min_replicas is None else policy.min_replicas
    by_owner: dict[tuple[str, str], list[Pod]] = {}
    for pod in pods:
        by_owner.setdefault(_owner(pod), []).append(pod)
    found = {}
    for owner, mine in by_owner.items():
        configured = _configured(workloads, owner, len(mine))
        if len(mine) >= least and configured is not None:
            running = sum(pod.status.phase != "Pending" for pod in mine)
            found[owner] = Group(configured, running)
    return found


def _configured(workloads: Workloads, owner: tuple[str, str], there: int) -> int | None:
    """How many pods the controller is to have; None if it has none. Of kinds that do not say it is 0, as upstream."""
    kind, name = owner
    known = workloads.find(kind, name)
    match known:
        case Job():
            return there
        case ReplicaSet() | StatefulSet() | ReplicationController():
            return 1 if known.spec.replicas is None else known.spec.replicas or None
        case DaemonSet():
            return known.status.desired_number_scheduled or None
    known_kinds = {each.kind for each in (Job, ReplicaSet, StatefulSet, ReplicationController, DaemonSet)}
    return None if kind in known_kinds else 0


def _resize_of(pod: Pod) -> PodCondition | None:
    """The condition of a resize under way: that it waits counts before that it is being done."""
    found = {each.type: each for each in pod.status.conditions if each.status == "True"}
    return found.get(_PENDING) or found.get(_IN_PROGRESS)


CONTROLLER: Final = Controller(
    name=NAME,
    actor="VPA updater",
    subject=VerticalPodAutoscaler,
    reads=(
        Read(Pod, Relation.NEIGHBOUR, wakes=False),
        Read(VerticalPodAutoscaler, Relation.NEIGHBOUR, wakes=False),
        Read(PodDisruptionBudget, Relation.NEIGHBOUR, wakes=False),
        *targets.READS,
    ),
    reconcile=reconcile,
    hears_refusals=True,
)
