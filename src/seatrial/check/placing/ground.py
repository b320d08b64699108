"""The ground on which pods are placed, and placements in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Final

import msgspec

from seatrial.check import machines
from seatrial.check.machines import Group, Workload
from seatrial.check.placing import room
from seatrial.check.placing.arrivals import Arrivals, Move
from seatrial.check.properties import Question
from seatrial.check.system import System
from seatrial.check.verdicts import Field, Step
from seatrial.kube.objects import Node, Object, Pod

_EXACTLY: Final = 2_000
"""Up to so many pods times workloads all others are placed anew for each."""
_STAGES: Final = 3
"""How many are kept: those with and without a machine more."""
MANY: Final = 8
"""Of more nodes than that a story says only how many there are."""
BUDGET: Final = 3_000
"""Scheduling decisions that one question may take, on up to ten nodes; on more in proportion fewer."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What pods are placed on: the machines, who stands there already, what else the scheduler looks at."""

    nodes: tuple[Node, ...]
    standing: tuple[Pod, ...]
    around: tuple[Object, ...]
    named: frozenset[str]
    minor: int

    @classmethod
    def of(cls, system: System, nodes: tuple[Node, ...]) -> Ground:
        standing, _ = machines.standing(system, nodes)
        minor = int(system.version.split(".")[1])
        return cls(nodes, tuple(standing), machines.around(system), called_by_name(system, nodes), minor)

    def arrivals(
        self,
        groups: Sequence[Group],
        *,
        nodes: Sequence[Node] = (),
        free: bool = False,
        reborn: Mapping[int, int] | None = None,
    ) -> Arrivals:
        return Arrivals(
            nodes or self.nodes,
            groups,
            standing=self.standing,
            around=self.around,
            named=self.named,
            minor=self.minor,
            free=free,
            reborn=reborn,
        )

    @property
    def budget(self) -> int:
        return max(100, BUDGET * 10 // max(10, len(self.nodes)))


@dataclass(frozen=True, slots=True)
class Stage:
    """A system on its machines, every pod where the order of the files puts it."""

    ground: Ground
    bound: tuple[Pod, ...]
    groups: Mapping[str, Group]
    """By owner, as many pods as the files ask for."""
    rooms: Mapping[str, int]
    """By owner, on how many nodes one of its pods finds a place whatever all others do."""

    def without(self, system: System, workload: Workload) -> tuple[Pod, ...]:
        """The pods of all others: in a large system where they are among all, else where they are without these."""
        if len(self.bound) * len(self.groups) <= _EXACTLY:
            return tuple(machines.place(system, self.ground.nodes, without=workload)[0])
        owner = str(workload.key)
        uids = ((pod, pod.metadata.controller) for pod in self.bound)
        return tuple(pod for pod, reference in uids if reference is None or reference.uid != owner)


def stage(question: Question, nodes: tuple[Node, ...]) -> Stage:
    """Remembered while the same system is asked about."""
    kept: list[tuple[System, tuple[Node, ...], Stage]] = question.known.setdefault("stages", [])
    for system, machines_then, found in kept:
        if system is question.system and len(nodes) == len(machines_then) and all(map(is_, nodes, machines_then)):
            return found
    system = question.system
    bound, _ = machines.place(system, nodes)
    groups = {group.owner: group for group in machines.crowd(system, nodes)}
    ground = Ground.of(system, nodes)
    counted = room.count(tuple(groups.values()), nodes, ground.standing, ground.minor)
    rooms = {owner: each.nodes for owner, each in zip(groups, counted, strict=True)}
    made = Stage(ground, tuple(bound), groups, rooms)
    del kept[:-_STAGES]
    kept.append((system, nodes, made))
    return made


def called_by_name(system: System, nodes: Sequence[Node]) -> frozenset[str]:
    """The nodes that something in the system calls by name."""
    text = " ".join(msgspec.json.encode(each.admitted).decode() for each in system.entries if each.key.kind != "Node")
    return frozenset(node.metadata.name for node in nodes if f'"{node.metadata.name}"' in text)


def told(arrivals: Arrivals, moves: Sequence[Move]) -> list[Step]:
    """Moves in words: pods of one owner that come one after the other are one step."""
    steps: list[Step] = []
    last = (-1, False)
    wheres: dict[str, int] = {}

    def close() -> None:
        if not wheres:
            return
        group, leaves = last
        total = sum(wheres.values())
        where = ", ".join(f"{name}: {count}" if total > 1 and not leaves else name for name, count in wheres.items())
        if len(wheres) > MANY:
            where = f"{len(wheres)} nodes, {min(wheres.values())} to {max(wheres.values())} on each"
        what = f"{total} pod{'s' * (total > 1)} of {arrivals.groups[group].owner}"
        steps.append(
            Step("Eviction API", f"evicts {what} from {where}")
            if leaves
            else Step("Scheduler", f"places {what} ({where})")
        )
        wheres.clear()

    for move in moves:
        if (move.group, move.leaves) != last or move.victims:
            close()
        last = (move.group, move.leaves)
        name = arrivals.nodes[move.node].metadata.name
        if move.victims:
            owner = arrivals.groups[move.group].owner
            hit = ", ".join(dict.fromkeys(arrivals.groups[victim].owner for victim in move.victims))
            fields = tuple(
                Field(f"Pod of {arrivals.groups[victim].owner}", "status.conditions[DisruptionTarget]", None, "True")
                for victim in move.victims
            )
            steps.append(
                Step("Scheduler", f"preempts {len(move.victims)} of {hit} on {name} for a pod of {owner}", fields)
            )
        wheres[name] = wheres.get(name, 0) + 1
    close()
    return steps
