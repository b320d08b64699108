"""The ground on which pods are placed, and placements in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from seatrial.check import machines
from seatrial.check.arrivals import Arrivals, Move
from seatrial.check.machines import Group
from seatrial.check.system import System
from seatrial.check.verdicts import Field, Step
from seatrial.kube.objects import Node, Object, Pod

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
