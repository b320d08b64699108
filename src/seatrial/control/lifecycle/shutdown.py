"""How a node that shuts down ends its pods: group after group, by priority, the lowest first.

Pure. Rules, upstream's (`pkg/kubelet/nodeshutdown` of 1.37, KEP-2000 and KEP-2712): every pod belongs to the entry with
the highest priority that is not above its own, to the lowest if all are; a group is over when all its pods have ended
or its seconds have; a pod is given its own grace period if that is shorter; static pods count like any others. New
pods are refused meanwhile. Without grace periods nothing is graceful: the machine just goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from seatrial.control.lifecycle.configuration import ShutdownGrace
from seatrial.control.lifecycle.facts import Eviction
from seatrial.kube.objects import Pod

REASON: Final = "Terminated"
MESSAGE: Final = "Pod was terminated in response to imminent node shutdown."
BEGINS: Final = "Shutdown manager detected shutdown event"
CANCELLED: Final = "Shutdown manager detected shutdown cancellation"
NOT_READY: Final = "node is shutting down"


@dataclass(frozen=True, slots=True)
class Group:
    grace: ShutdownGrace
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Shutdown:
    """A shutdown under way: the groups not over yet, and when the first of them began (None: not yet)."""

    groups: tuple[Group, ...]
    began_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What a shutdown does now. `shutdown` None: every group is over, the machine goes."""

    shutdown: Shutdown | None
    evict: tuple[tuple[Pod, Eviction], ...] = ()
    wake_at: datetime | None = None


def begin(graces: Sequence[ShutdownGrace], pods: Iterable[Pod]) -> Shutdown:
    """`pods` are those that may still run; `graces` as `KubeletConfiguration.shutdown_graces` gives them."""
    members: list[list[Pod]] = [[] for _ in graces]
    for pod in pods:
        priority = pod.spec.priority or 0
        below = [number for number, grace in enumerate(graces) if grace.priority <= priority]
        if graces:
            members[below[-1] if below else 0].append(pod)
    return Shutdown(tuple(Group(grace, tuple(own)) for grace, own in zip(graces, members, strict=True) if own))


def step(shutdown: Shutdown, ended: Callable[[Pod], bool], now: datetime) -> Step:
    """Call again whenever a pod has ended, and at `wake_at`."""
    groups, began_at = shutdown.groups, shutdown.began_at
    while groups:
        seconds = groups[0].grace.seconds
        if began_at is None:
            evict = tuple((pod, _eviction(pod, seconds, now)) for pod in groups[0].pods)
            until = now + timedelta(seconds=seconds)
            return Step(replace(shutdown, groups=groups, began_at=now), evict, until)
        until = began_at + timedelta(seconds=seconds)
        if now < until and not all(ended(pod) for pod in groups[0].pods):
            return Step(replace(shutdown, groups=groups), (), until)
        groups, began_at = groups[1:], None
    return Step(None)


def _eviction(pod: Pod, seconds: int, now: datetime) -> Eviction:
    asked_s = pod.spec.termination_grace_period_seconds
    return Eviction(REASON, MESSAGE, now, seconds if asked_s is None else min(asked_s, seconds))
