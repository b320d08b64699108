"""Counting: pods that find a place in whatever order everything arrives, because there is too little to block them.

A pod that no rule relates to other pods is refused by a node only for what other pods hold there. To block a node they
must hold at least what the node has, less what the pod asks for, plus one unit, of some resource. If all other pods
together do not hold enough to block every node that suits the pod, it finds a place, whatever the scheduler chose for
them. That is a proof for any number of pods and every order, at the cost of a few sums; it says nothing where it fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.check.machines import Group
from seatrial.control import scheduler
from seatrial.control.scheduler.board import terms_of
from seatrial.control.scheduler.demand import amounts, demand
from seatrial.kube.objects import Node, Pod

_PODS = "pods"


@dataclass(frozen=True, slots=True)
class Room:
    """What counting says of a group of pods: on how many nodes it finds a place whatever the others do; whether every
    node that suits it has room for it beside all the others, so that only rules between pods can keep it off.
    """

    nodes: int
    everywhere: bool

    @property
    def always(self) -> bool:
        """It finds a place in every order."""
        return self.nodes > 0


def is_plain(pod: Pod, groups: Sequence[Group], minor: int) -> bool:
    """No rule relates the pod to others: no required affinity of its own or against it, no hard spread, no port."""
    if demand(pod, minor).ports:
        return False
    if any(each.when_unsatisfiable != "ScheduleAnyway" for each in pod.spec.topology_spread_constraints):
        return False
    mine = terms_of(pod, minor)
    if mine.affinity or mine.anti_affinity:
        return False
    # Namespaces' labels are not looked at here: a term with a namespaceSelector is taken to match.
    return not any(
        term.namespace_selector is not None or term.matches(pod, {})
        for group in groups
        for term in terms_of(group.pod, minor).anti_affinity
    )


def count(groups: Sequence[Group], nodes: Sequence[Node], standing: Sequence[Pod], minor: int) -> list[Room]:
    """For each group what counting says, with the pods that are `standing` where they are."""
    held: dict[str, dict[str, int]] = {node.metadata.name: {} for node in nodes}
    for pod in standing:
        used = held.get(pod.spec.node_name)
        if used is not None:
            for name, size in _asks(pod, minor).items():
                used[name] = used.get(name, 0) + size
    asks = [_asks(group.pod, minor) for group in groups]
    total: dict[str, int] = {}
    for group, each in zip(groups, asks, strict=True):
        for name, size in each.items():
            total[name] = total.get(name, 0) + size * group.count
    by_name = {node.metadata.name: amounts(node.status.allocatable) for node in nodes}
    found = []
    for group, mine in zip(groups, asks, strict=True):
        others = {name: total[name] - mine[name] for name in mine}
        blocking: dict[str, list[int]] = {name: [] for name in mine}
        suitable = 0
        crowded = False
        for name in scheduler.fits_ever(group.pod, nodes).nodes:
            needed = {
                resource: by_name[name].get(resource, 0) - held[name].get(resource, 0) - size + 1
                for resource, size in mine.items()
            }
            if min(needed.values()) <= 0:
                continue
            suitable += 1
            for resource, least in needed.items():
                blocking[resource].append(least)
                crowded = crowded or others[resource] >= least
        blocked = sum(_most(blocking[resource], others[resource]) for resource in mine)
        left = max(0, suitable - blocked) if is_plain(group.pod, groups, minor) else 0
        found.append(Room(left, suitable > 0 and not crowded))
    return found


def _asks(pod: Pod, minor: int) -> dict[str, int]:
    return {**demand(pod, minor).requests, _PODS: 1}


def _most(needed: list[int], load: int) -> int:
    """How many nodes a load can block at most."""
    blocked = 0
    for least in sorted(needed):
        load -= least
        if load < 0:
            break
        blocked += 1
    return blocked
