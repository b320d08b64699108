"""Which pod is tried next, and when one that found no node is tried again.

Semantics: upstream's scheduling queue. The most important pod first, then the one that waits longest. After the n-th
failure a pod waits 1 s * 2^(n-1), at most 10 s, but not before something happened that could help it: each plug-in that
refused it says what could (`may_help`, upstream's queueing hints); after 5 minutes it is tried anyway.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from seatrial.control.scheduler.board import ENDED
from seatrial.control.scheduler.placement import Reason
from seatrial.kube import selectors
from seatrial.kube.objects import Key, Node, Object, Pod

FIRST_BACKOFF: Final = timedelta(seconds=1)
LAST_BACKOFF: Final = timedelta(seconds=10)
FLUSH: Final = timedelta(minutes=5)

PLUGINS: Final = {
    Reason.UNSCHEDULABLE: "NodeUnschedulable",
    Reason.NODE_NAME: "NodeName",
    Reason.TAINT: "TaintToleration",
    Reason.NODE_AFFINITY: "NodeAffinity",
    Reason.ADDED_AFFINITY: "NodeAffinity",
    Reason.NODE_NAMES: "NodeAffinity",
    Reason.PORTS: "NodePorts",
    Reason.TOO_MANY_PODS: "NodeResourcesFit",
    Reason.INSUFFICIENT: "NodeResourcesFit",
    Reason.DISK_CONFLICT: "VolumeRestrictions",
    Reason.CLAIM_IN_USE: "VolumeRestrictions",
    Reason.VOLUME_LIMIT: "NodeVolumeLimits",
    Reason.NO_DRIVER: "NodeVolumeLimits",
    Reason.VOLUME_AFFINITY: "VolumeBinding",
    Reason.NO_VOLUME: "VolumeBinding",
    Reason.NO_STORAGE: "VolumeBinding",
    Reason.VOLUME_MISSING: "VolumeBinding",
    Reason.VOLUME_ZONE: "VolumeZone",
    Reason.SPREAD_LABEL: "PodTopologySpread",
    Reason.SPREAD: "PodTopologySpread",
    Reason.POD_AFFINITY: "InterPodAffinity",
    Reason.POD_ANTI_AFFINITY: "InterPodAffinity",
    Reason.EXISTING_ANTI_AFFINITY: "InterPodAffinity",
    Reason.FEATURES: "NodeDeclaredFeatures",
    Reason.POD: "VolumeBinding",
}
"""The plug-in that gives a reason."""
_OF_PODS: Final = frozenset(
    {"NodeResourcesFit", "NodePorts", "PodTopologySpread", "InterPodAffinity", "VolumeRestrictions", "NodeVolumeLimits"}
)
_OF_VOLUMES: Final = frozenset({"VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone"})
_STORAGE_KINDS: Final = frozenset(
    {
        "PersistentVolume",
        "PersistentVolumeClaim",
        "StorageClass",
        "CSINode",
        "CSIDriver",
        "CSIStorageCapacity",
        "VolumeAttachment",
    }
)


@dataclass(slots=True)
class Waiting:
    """A pod without a node: how often it was tried and when, and what refused it since it was last woken."""

    pod: Pod
    since: datetime
    attempts: int = 0
    tried_at: datetime | None = None
    refused_by: frozenset[str] | None = None
    erred: bool = False  # the last attempt did not fail for want of a node

    @property
    def backoff_until(self) -> datetime:
        if not self.attempts or self.tried_at is None:
            return self.since
        doublings: int = 2 ** min(self.attempts - 1, 10)
        return self.tried_at + min(FIRST_BACKOFF * doublings, LAST_BACKOFF)


class Queue:
    """The pods that wait for a node. It is told what happens (`changed`, `failed`) and asked what to try (`pop`).

    With `eager` (upstream from 1.33 on) a pod in back-off is tried early when nobody else is to be.
    """

    def __init__(self, *, eager: bool = True) -> None:
        self._eager = eager
        self._waiting: dict[Key, Waiting] = {}
        self._refused: dict[Key, Waiting] = {}
        self._active: list[tuple[int, datetime, int, Key]] = []
        self._backing_off: list[tuple[datetime, int, Key]] = []
        self._queued: dict[Key, int] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, pod: Pod, now: datetime) -> None:
        """A pod that waits: a new one, or one that changed."""
        entry = self._waiting.get(pod.key)
        if entry is None:
            entry = self._waiting[pod.key] = Waiting(pod, now)
            self._push(entry, now)
            return
        before, entry.pod = entry.pod, pod
        if pod.key in self._refused and (before.spec != pod.spec or before.metadata.labels != pod.metadata.labels):
            self._push(entry, now)

    def forget(self, key: Key) -> None:
        self._waiting.pop(key, None)
        self._refused.pop(key, None)
        self._queued.pop(key, None)

    def failed(self, pod: Pod, refused_by: Iterable[str], now: datetime) -> None:
        """`pod` found no node; without plug-ins that refused it, it is tried again as soon as its back-off ends."""
        entry = self._waiting.get(pod.key)
        if entry is None:
            return
        entry.attempts += 1
        entry.tried_at = now
        entry.refused_by = frozenset(refused_by)
        entry.erred = not entry.refused_by
        if entry.erred:
            self._push(entry, now)
        else:
            self._refused[pod.key] = entry

    def changed(self, before: Object | None, after: Object | None, now: datetime) -> None:
        for entry in tuple(self._refused.values()):
            if entry.refused_by and may_help(before, after, entry.pod, entry.refused_by):
                self._push(entry, now)

    def pop(self, now: datetime) -> Pod | None:
        """The pod to try now, if there is one; it stays in the queue until it is forgotten."""
        for entry in tuple(self._refused.values()):
            if entry.tried_at is not None and now >= entry.tried_at + FLUSH:
                self._push(entry, now)
        while self._backing_off and self._backing_off[0][0] <= now:
            _, number, key = heapq.heappop(self._backing_off)
            if self._queued.get(key) == number:
                self._activate(self._waiting[key], number)
        while self._active:
            _, _, number, key = heapq.heappop(self._active)
            if self._queued.get(key) == number:
                return self._take(key)
        if self._eager:
            for _, number, key in sorted(self._backing_off):
                if self._queued.get(key) == number and not self._waiting[key].erred:
                    return self._take(key)
        return None

    def wake_at(self) -> datetime | None:
        """When a pod is due though nothing changes."""
        times = [entry.tried_at + FLUSH for entry in self._refused.values() if entry.tried_at is not None]
        times += [time for time, number, key in self._backing_off if self._queued.get(key) == number]
        return min(times, default=None)

    def _take(self, key: Key) -> Pod:
        del self._queued[key]
        return self._waiting[key].pod

    def _push(self, entry: Waiting, now: datetime) -> None:
        key = entry.pod.key
        self._refused.pop(key, None)
        number = self._queued[key] = next(self._numbers)
        if entry.backoff_until > now:
            heapq.heappush(self._backing_off, (entry.backoff_until, number, key))
        else:
            self._activate(entry, number)

    def _activate(self, entry: Waiting, number: int) -> None:
        heapq.heappush(self._active, (-(entry.pod.spec.priority or 0), entry.since, number, entry.pod.key))


def may_help(before: Object | None, after: Object | None, pod: Pod, refused_by: frozenset[str]) -> bool:
    """Whether the change could let `pod` pass one of the plug-ins that refused it."""
    match after or before:
        case Pod():
            assert before is None or isinstance(before, Pod)
            assert after is None or isinstance(after, Pod)
            return not refused_by.isdisjoint(_OF_PODS) and _pod_may_help(before, after, pod, refused_by)
        case Node():
            assert before is None or isinstance(before, Node)
            assert after is None or isinstance(after, Node)
            return _node_may_help(before, after, refused_by)
        case Object() as item if item.kind in _STORAGE_KINDS:
            return not refused_by.isdisjoint(_OF_VOLUMES)
        case Object() as item if item.kind == "Namespace":
            return "InterPodAffinity" in refused_by
    return False


def _pod_may_help(before: Pod | None, after: Pod | None, pod: Pod, refused_by: frozenset[str]) -> bool:
    was = before is not None and _occupies(before)
    is_there = after is not None and _occupies(after)
    if was and not is_there:
        if refused_by & {"NodeResourcesFit", "NodePorts", "NodeVolumeLimits", "VolumeRestrictions"}:
            return True
    elif not is_there:
        return False
    elif was:
        assert before is not None
        assert after is not None
        if before.metadata.labels == after.metadata.labels:
            return "NodeResourcesFit" in refused_by and before.spec.containers != after.spec.containers
    other = after or before
    assert other is not None
    if "InterPodAffinity" in refused_by:
        return True
    return (
        "PodTopologySpread" in refused_by
        and other.metadata.namespace == pod.metadata.namespace
        and any(
            selectors.matches(each.label_selector, side.metadata.labels)
            for each in pod.spec.topology_spread_constraints
            for side in (before, after)
            if side is not None
        )
    )


def _node_may_help(before: Node | None, after: Node | None, refused_by: frozenset[str]) -> bool:
    if after is None:
        return "PodTopologySpread" in refused_by
    if before is None:
        return bool(refused_by)
    helped = set()
    if before.status.allocatable != after.status.allocatable:
        helped.add("NodeResourcesFit")
    if before.metadata.labels != after.metadata.labels:
        helped |= {"NodeAffinity", "VolumeBinding", "VolumeZone", "PodTopologySpread", "InterPodAffinity"}
    if before.spec.taints != after.spec.taints or before.spec.unschedulable != after.spec.unschedulable:
        helped |= {"TaintToleration", "NodeUnschedulable", "PodTopologySpread"}
    if before.status.declared_features != after.status.declared_features:
        helped.add("NodeDeclaredFeatures")
    return not helped.isdisjoint(refused_by)


def _occupies(pod: Pod) -> bool:
    return bool(pod.spec.node_name) and pod.status.phase not in ENDED
