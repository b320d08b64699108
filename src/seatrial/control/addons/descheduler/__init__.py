"""The descheduler (v0.36): evicts pods that would be placed otherwise today, and leaves the placing to the scheduler.

Its subject is the ConfigMap with its DeschedulerPolicy. It looks every `--descheduling-interval` of the Deployment in
the same namespace that runs it, every five minutes without one. All evictions of one round are decided on what the
round saw: budgets are spent in the decision as the eviction subresource will spend them, and an evicted pod still
holds its node's resources. Upstream goes through its maps in random order; here everything goes by name.

A policy that cannot be read, or asks for what is not modelled, evicts nothing: namespaceLabelSelector and a priority
threshold by name, storage classes to protect, usage from metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec

from seatrial.control.addons.descheduler import (
    duplicates,
    nodeaffinity,
    nodetaints,
    nodeutilization,
    topologyspread,
)
from seatrial.control.addons.descheduler.evictor import Evictor, EvictorArgs
from seatrial.control.addons.descheduler.policy import KIND, Policy, Profile, UnreadableError, interval, read
from seatrial.control.addons.descheduler.round import Round
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.writes import Write
from seatrial.kube.objects import ConfigMap, Deployment, Node, Object, Pod, PodDisruptionBudget


def has_policy(obj: Object) -> bool:
    return isinstance(obj, ConfigMap) and any(KIND in text for text in obj.data.values())


def reconcile(seen: Seen) -> Decision:
    policies = seen.subject
    assert isinstance(policies, ConfigMap)
    every = interval(seen.all(Deployment))
    last = seen.memory
    if isinstance(last, datetime) and seen.now < last + every:
        return Decision(wake_at=last + every, memory=last)
    try:
        writes = _descheduled(read(policies), seen)
    except (UnreadableError, msgspec.ValidationError, ValueError, RecursionError):
        return Decision()
    return Decision(writes, seen.now + every, memory=seen.now)


def _descheduled(policy: Policy, seen: Seen) -> tuple[Write, ...]:
    """All plugins of the kind that mends, then all that balance. All arguments are read before anything is done."""
    round_ = Round(policy, seen)
    mending = [plugin for profile in policy.profiles for plugin in _plugins(profile, round_, _DESCHEDULE)]
    balancing = [plugin for profile in policy.profiles for plugin in _plugins(profile, round_, _BALANCE)]
    if len(round_.nodes) > 1:
        for plugin in (*mending, *balancing):
            plugin()
    return tuple(round_.writes)


def _plugins(profile: Profile, round_: Round, known: Mapping[str, tuple[type[Any], Any]]) -> list[Callable[[], None]]:
    evictor = Evictor(profile.args("DefaultEvictor", EvictorArgs), round_)
    point = profile.plugins.deschedule if known is _DESCHEDULE else profile.plugins.balance
    found: list[Callable[[], None]] = []
    for name in dict.fromkeys(point.enabled):
        if name in known:
            typed, run = known[name]
            found.append(partial(run, profile.args(name, typed), evictor, round_))
    return found


_DESCHEDULE: Final[Mapping[str, tuple[type[Any], Any]]] = {
    "RemovePodsViolatingNodeAffinity": (nodeaffinity.NodeAffinityArgs, nodeaffinity.run),
    "RemovePodsViolatingNodeTaints": (nodetaints.NodeTaintsArgs, nodetaints.run),
}
_BALANCE: Final[Mapping[str, tuple[type[Any], Any]]] = {
    "LowNodeUtilization": (nodeutilization.UtilizationArgs, nodeutilization.run),
    "RemoveDuplicates": (duplicates.DuplicatesArgs, duplicates.run),
    "RemovePodsViolatingTopologySpreadConstraint": (topologyspread.SpreadArgs, topologyspread.run),
}

PLUGINS: Final = frozenset((*_DESCHEDULE, *_BALANCE, "DefaultEvictor"))
"""The plugins that do something here."""

CONTROLLER: Final = Controller(
    name="sigs.k8s.io.descheduler",
    actor="Descheduler",
    subject=ConfigMap,
    reads=(
        Read(Pod, Relation.ALL, wakes=False),
        Read(Node, Relation.ALL, wakes=False),
        Read(PodDisruptionBudget, Relation.ALL, wakes=False),
        Read(Deployment, Relation.NEIGHBOUR, wakes=False),
    ),
    reconcile=reconcile,
    concerned=has_policy,
)
