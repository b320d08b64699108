"""What breaks, each so often: containers that were ready crash, nodes fall silent and come back.

A fault may happen and need not: its label begins with `FAULT`, and a fair run may put it off for ever (`is_fair`). What
mends is a move like any other. A controller that stops between two writes of a decision is `Control`'s matter; events
that a controller misses need no mover, for every move of a controller may be put off until all else has happened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from seatrial.check.model.pods import FINISHED, Outcome, Running
from seatrial.check.model.pool import NOW, Pool
from seatrial.check.model.space import FAULT, Effect, Label, Memo, Slot, Space, State
from seatrial.control import nodelifecycle
from seatrial.control.ownership import ready_since
from seatrial.control.writes import UpdateStatus
from seatrial.kube.objects import Node, Pod
from seatrial.kube.objects.nodes import NodeCondition


@dataclass(frozen=True, slots=True)
class Left:
    """How many faults may still come."""

    containers: int = 0
    nodes: int = 0


@dataclass(frozen=True, slots=True)
class Faults:
    """At most so many; `between_writes`: a controller may stop in the middle of a decision, any number of times."""

    containers: int = 0
    nodes: int = 0
    between_writes: bool = False


NONE: Final = Faults()


def is_fair(label: Label) -> bool:
    """Whether the move cannot be put off for ever."""
    return label[0] != FAULT


class Crashing:
    """A container that was ready crashes; the node starts it again, as it starts any."""

    name = "crash"

    def __init__(self, pool: Pool, space: Space, running: Running) -> None:
        self._pool = pool
        self._running = running
        self.shown: tuple[int, ...] = (space.slots[Pod], space.slots[Left], space.slots[Node])
        self._crashed = Memo(self._crash)

    def effects(self, state: State) -> list[Effect]:
        pods, (left,), nodes = (state[slot] for slot in self.shown)
        count: Left = self._pool[left]
        if not count.containers:
            return []
        fewer = self._pool.fact(replace(count, containers=count.containers - 1))
        silent = {self._pool[node].metadata.name for node in nodes if nodelifecycle.is_silent(self._pool[node])}
        found = []
        for pod in dict.fromkeys(pods):
            item: Pod = self._pool[pod]
            stays = item.metadata.deletion_timestamp is None and item.status.phase not in FINISHED
            if stays and ready_since(item) is not None and item.spec.node_name not in silent:
                what = f"a container of the pod on {item.spec.node_name} crashes"
                pairs = ((left, fewer), (pod, self._crashed[pod]))
                found.append(Effect((FAULT, (self.name, pod)), pairs, "Node", what))
        return found

    def _crash(self, pod: int) -> int:
        return self._running.come_to(pod, Outcome.CRASHED)


class Failing:
    """A node falls silent, and its pods with it; later it answers again, and so do they."""

    name = "failure"

    def __init__(self, pool: Pool, space: Space) -> None:
        self._pool = pool
        self.shown: tuple[int, ...] = (space.slots[Node], space.slots[Left], space.slots[Pod])
        self._silent = Memo(self._silenced)
        self._well = Memo(self._answering)

    def effects(self, state: State) -> list[Effect]:
        nodes, (left,), pods = (state[slot] for slot in self.shown)
        count: Left = self._pool[left]
        found = []
        for node in nodes:
            name = self._pool[node].metadata.name
            if nodelifecycle.is_silent(self._pool[node]):
                well = ((node, self._well[node]),)
                found.append(Effect((f"{self.name} ends", name), well, "Node", f"{name} answers again"))
            elif count.nodes:
                fewer = self._pool.fact(replace(count, nodes=count.nodes - 1))
                pairs = ((left, fewer), (node, self._silent[node]), *self._lost(node, pods))
                found.append(Effect((FAULT, (self.name, name)), pairs, "Node", f"{name} stops answering"))
        return found

    def _silenced(self, node: int) -> int:
        return self._with(node, "Unknown")

    def _answering(self, node: int) -> int:
        return self._with(node, "True")

    def _with(self, node: int, status: str) -> int:
        item: Node = self._pool[node]
        conditions = (
            *(each for each in item.status.conditions if each.type != "Ready"),
            NodeCondition(type="Ready", status=status),
        )
        changed = msgspec.structs.replace(item, status=msgspec.structs.replace(item.status, conditions=conditions))
        return self._pool.intern(nodelifecycle.tainted(changed, NOW))

    def _lost(self, node: int, pods: Slot) -> tuple[tuple[int, int], ...]:
        item: Node = self._pool[node]
        found = []
        for pod in pods:
            if self._pool[pod].spec.node_name == item.metadata.name:
                for write in nodelifecycle.lost(item, [self._pool[pod]], NOW):
                    if isinstance(write, UpdateStatus):
                        found.append((pod, self._pool.intern(write.after)))
        return tuple(found)
