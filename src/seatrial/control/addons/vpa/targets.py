"""Which pods a VerticalPodAutoscaler is for: those of its target, which nothing else may control.

A pod is for one autoscaler at most: the oldest whose target is the topmost controller above the pod.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from seatrial.control.controller import Read, Relation, Seen
from seatrial.kube import selectors
from seatrial.kube.objects import (
    CronJob,
    CustomResource,
    DaemonSet,
    Deployment,
    Job,
    LabelSelector,
    Object,
    Pod,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    VerticalPodAutoscaler,
)

_WELL_KNOWN: Final[tuple[type[Object], ...]] = (
    CronJob,
    DaemonSet,
    Deployment,
    Job,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
)
CONTROLLERS: Final[tuple[type[Object], ...]] = (*_WELL_KNOWN, CustomResource)
READS: Final = tuple(Read(kind, Relation.NEIGHBOUR, wakes=False) for kind in CONTROLLERS)
_BEGIN: Final = datetime(1, 1, 1, tzinfo=UTC)


class NoTargetError(Exception):
    """The target cannot be followed; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Workloads:
    """The controllers of one namespace."""

    known: Sequence[Object]

    @classmethod
    def seen(cls, seen: Seen) -> Workloads:
        return cls([each for kind in CONTROLLERS for each in seen.all(kind)])

    def find(self, kind: str, name: str) -> Object | None:
        return next((each for each in self.known if each.identity[1] == kind and each.metadata.name == name), None)

    def above(self, obj: Object) -> Object | None:
        """The topmost controller above it."""
        found = obj
        for _ in range(len(self.known) + 1):  # owners may go in a circle
            owner = next((each for each in found.metadata.owner_references if each.controller), None)
            over = None if owner is None else self.find(owner.kind, owner.name)
            if over is None:
                break
            found = over
        return None if found is obj else found

    def selector(self, autoscaler: VerticalPodAutoscaler) -> Callable[[Pod], bool]:
        """Whether a pod is selected by the target. Raises `NoTargetError`."""
        ref = autoscaler.spec.target_ref
        if ref is None:
            missing = "targetRef not defined. If this is a v1beta1 object, switch to v1"
            raise NoTargetError(f"Cannot read targetRef. Reason: {missing}")
        target = self.find(ref.kind, ref.name)
        if target is None:
            well_known = any(kind.kind == ref.kind for kind in _WELL_KNOWN)
            key = f"{autoscaler.metadata.namespace}/{ref.name}"
            why = (
                f"{ref.kind} {key} does not exist"
                if well_known
                else f"unhandled targetRef {ref.api_version} / {ref.kind} / {ref.name}"
            )
            raise NoTargetError(f"Cannot read targetRef. Reason: {why}")
        if self.above(target) is not None:
            named = f"{ref.api_version}.{ref.kind}/{ref.name}"
            raise NoTargetError(
                f"The target {named} has a parent controller but it should point to a topmost well-known or scalable "
                "controller"
            )
        chosen = _selector(target)
        return lambda pod: chosen(pod.metadata.labels)

    def controlling(self, pod: Pod, autoscalers: Iterable[VerticalPodAutoscaler]) -> VerticalPodAutoscaler | None:
        """The autoscaler that the pod is for."""
        top = self.above(pod)
        if top is None:
            return None
        mine = [
            each
            for each in autoscalers
            if each.spec.target_ref is not None
            and (each.spec.target_ref.kind, each.spec.target_ref.name) == (top.identity[1], top.metadata.name)
        ]
        if not _selector(top)(pod.metadata.labels):
            return None
        return min(mine, key=_age, default=None)


def _age(autoscaler: VerticalPodAutoscaler) -> tuple[datetime, str]:
    return autoscaler.metadata.creation_timestamp or _BEGIN, autoscaler.metadata.name


def _selector(target: Object) -> Callable[[Mapping[str, str]], bool]:
    match target:
        case CustomResource():
            return _query("" if target.scale is None else target.scale.selector)
        case CronJob():
            found = target.spec.job_template.spec.template.metadata.labels
            return partial(selectors.matches, LabelSelector(match_labels=found))
        case DaemonSet() | Deployment() | Job() | ReplicaSet() | StatefulSet():
            return partial(selectors.matches, target.spec.selector)
        case ReplicationController() if target.spec.selector is not None:
            return partial(selectors.matches, LabelSelector(match_labels=target.spec.selector))
    return _query("")


def _query(text: str) -> Callable[[Mapping[str, str]], bool]:
    """What a query selects; an empty one and one that cannot be read select nothing."""
    try:
        parsed = selectors.parse(text)
    except ValueError:
        return lambda _: False
    return lambda labels: bool(text) and parsed.matches(labels)
