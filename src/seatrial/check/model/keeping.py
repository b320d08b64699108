"""Who ends pods that nobody asked to end: taints, nodes that do not take what is bound to them, nodes under pressure.

Each pod by itself: what the taint eviction controller and a node decide about one does not depend on others, but for
the room on a node. Time is summed up: what is due after a while is due, sooner or later. A pod that has failed and
whose owner does not count it (a ReplicaSet's) is left out of the state; there are as many as there have been failures.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from seatrial.check.model.pods import FINISHED, Behaves, Outcome, Placing, Running
from seatrial.check.model.pool import NOW, Pool, with_metadata
from seatrial.check.model.space import ABSENT, Effect, Memo, Slot, Space, State
from seatrial.check.model.symmetry import Renaming
from seatrial.check.model.writing import Execution, Named, deleted
from seatrial.control import nodelifecycle, tainteviction
from seatrial.control.addons import moves
from seatrial.control.controller import NEWEST_MINOR, Seen
from seatrial.control.lifecycle import admission, pressure, rejection
from seatrial.control.lifecycle.configuration import DEFAULT_KUBELET
from seatrial.control.lifecycle.rejection import Rejection
from seatrial.control.ownership import ready_since
from seatrial.control.writes import Propagation, Update, Write
from seatrial.kube.objects import Node, Object, Pod
from seatrial.kube.objects.nodes import NodeCondition

DISK: Final = "DiskPressure"
SIGNAL: Final = "nodefs.available"
UNCOUNTED: Final = ("ReplicaSet", "ReplicationController")
"""Whose failed pods nobody looks at."""
TAINTS: Final = "Taint eviction controller"


@dataclass(frozen=True, slots=True)
class Faults:
    """How many nodes may still come under pressure, and how many may be taken out of service for a while."""

    pressures: int = 0
    drains: int = 0


class Tainting:
    """NoExecute taints: pods that do not tolerate them go, and such that do for a while, after it.

    While `most` are on their way out the others stay (`pods/end`); with none allowed pods are gone at once.
    """

    name = tainteviction.CONTROLLER.name

    def __init__(self, pool: Pool, space: Space, minor: int = NEWEST_MINOR, *, most: int) -> None:
        self._pool = pool
        self._minor = minor
        self._most = most
        self.shown: tuple[int, ...] = (space.slots[Pod], space.slots[Node])
        self._tainted = Memo(self._with_taints)
        self._decided = Memo(self._decide)

    def effects(self, state: State) -> Sequence[Effect]:
        pods, nodes = (state[slot] for slot in self.shown)
        tainted = self._tainted[nodes]
        leaving = sum(self._pool[pod].metadata.deletion_timestamp is not None for pod in pods) if tainted else 0
        if not tainted or leaving > self._most:
            return ()
        found: list[Effect] = []
        for pod in dict.fromkeys(pods):
            node = tainted.get(self._pool[pod].spec.node_name)
            if node is not None and self._pool[pod].metadata.deletion_timestamp is None:
                found += self._decided[pod, node]
        return found

    def _with_taints(self, nodes: Slot) -> dict[str, int]:
        items = ((self._pool[number], number) for number in nodes)
        return {
            item.metadata.name: number
            for item, number in items
            if any(taint.effect == "NoExecute" for taint in item.spec.taints)
        }

    def _decide(self, key: tuple[int, int]) -> tuple[Effect, ...]:
        number, node = key
        item = self._pool.named(number, 0)
        assert isinstance(item, Pod)
        writes = evicted_by_taint(item, self._pool[node], self._minor)
        if not writes:
            return ()
        named: dict[Named, tuple[int, Object]] = {(Pod, item.metadata.namespace, item.metadata.name): (number, item)}
        execution = Execution(self._pool, named, stops_at_once=not self._most)
        for write in writes:
            execution.make(write)
        return (Effect((self.name, number), tuple(execution.pairs()), TAINTS),)


def evicted_by_taint(pod: Pod, node: Node, minor: int) -> tuple[Write, ...]:
    """What the taint eviction controller does about the pod, at once or when its time has come."""
    seen = Seen(node, {Pod: (pod,)}, NOW, minor)
    decision = tainteviction.CONTROLLER.reconcile(seen)
    if not decision.writes and decision.wake_at is not None:
        later = Seen(node, {Pod: (pod,)}, decision.wake_at, minor, memory=decision.memory)
        decision = tainteviction.CONTROLLER.reconcile(later)
    return decision.writes


class Keeping(Running):
    """Nodes that look at what is bound to them, and that end pods when their disks are full.

    `checks`: pods are bound by `nodeName`, so that nobody has looked yet whether there is room.
    """

    def __init__(
        self,
        pool: Pool,
        space: Space,
        behaves: Behaves,
        others: Sequence[Pod],
        *,
        checks: bool,
        minor: int = NEWEST_MINOR,
    ) -> None:
        super().__init__(pool, space, behaves, minor)
        self._others = tuple(others)
        self._checks = checks
        self.shown = (space.slots[Pod], space.slots[Node])
        self._nodes = Memo(self._by_name)
        self._ends = Memo(self._end)
        self._starts = Memo(self._start)

    def effects(self, state: State) -> list[Effect]:
        pods, nodes = (state[slot] for slot in self.shown)
        found: list[Effect] = []
        by_name = self._nodes[nodes]
        for pod in dict.fromkeys(pods):
            item: Pod = self._pool[pod]
            node, is_pressed, is_tainted = by_name.get(item.spec.node_name, (ABSENT, False, False))
            lives = item.metadata.deletion_timestamp is None and item.status.phase not in FINISHED
            failure: tuple[Effect, ...] = ()
            if node != ABSENT and lives:
                if ready_since(item) is not None:
                    failure = self._ends[pod] if is_pressed else ()
                elif is_pressed or is_tainted or self._checks:
                    failure = self._starts[pod, node, self._taken(pods, item.spec.node_name)]
            found += failure or self._steps[pod]
        return found

    def _by_name(self, nodes: Slot) -> dict[str, tuple[int, bool, bool]]:
        found = {}
        for number in nodes:
            node: Node = self._pool[number]
            tainted = any(taint.effect == "NoExecute" for taint in node.spec.taints)
            found[node.metadata.name] = (number, bool(pressures(node)), tainted)
        return found

    def _taken(self, pods: Slot, name: str) -> Slot:
        """The pods that the node has taken."""
        return tuple(
            number
            for number in pods
            if (item := self._pool[number]).spec.node_name == name and ready_since(item) is not None
        )

    def _start(self, key: tuple[int, int, Slot]) -> tuple[Effect, ...]:
        """What becomes of a pod that the node does not take; nothing if it does."""
        number, node, taken = key
        item: Pod = self._pool[number]
        there = [pod for p, each in enumerate(taken) if isinstance(pod := self._pool.named(each, p), Pod)]
        refused = refusal(item, self._pool[node], [*there, *self._others], self._minor)
        return () if refused is None else (self._failed(number, refused),)

    def _end(self, number: int) -> tuple[Effect, ...]:
        found = evicted_by_disk(self._pool[number])
        return () if found is None else (self._failed(number, found),)

    def _failed(self, number: int, why: Rejection) -> Effect:
        item: Pod = self._pool[number]
        owner = item.metadata.controller
        new = ABSENT
        if owner is None or owner.kind not in UNCOUNTED:
            status = rejection.status(item, why, NOW, minor=self._minor)
            new = self._pool.intern(msgspec.structs.replace(item, status=status))
        said = f"the pod on {item.spec.node_name} fails: {why.reason}, {why.message.strip()}"
        return Effect((f"{self.name} fails", number), ((number, new),), "Node", said)


def refusal(pod: Pod, node: Node, others: Sequence[Pod], minor: int) -> Rejection | None:
    """Why the node does not take the pod that is bound to it."""
    named = with_metadata(pod, name=pod.metadata.name or "new", uid=pod.metadata.uid or "new")
    there = [each for each in others if each.spec.node_name == node.metadata.name]
    return admission.admit(named, node, there, pressures=pressures(node), minor=minor).rejection


def evicted_by_disk(pod: Pod) -> Rejection | None:
    """Whether a node whose disk is full ends the pod, if it is the one that is left."""
    full = {SIGNAL: pressure.Observation(0, 100 << 30)}
    found = pressure.look(pressure.Memory(), DEFAULT_KUBELET, full, [pod], lambda _: None, NOW)
    for _, eviction in found.evict:
        return Rejection(eviction.reason, eviction.message)
    return None


class PlacingOnce(Placing):
    """The scheduler, which does not draw among nodes that nothing tells apart: each of them leads to the same state."""

    def __init__(
        self, pool: Pool, space: Space, others: Sequence[Pod], rename: Renaming | None, minor: int = NEWEST_MINOR
    ) -> None:
        super().__init__(pool, space, others, minor)
        self._rename = rename

    def effects(self, state: State) -> list[Effect]:
        found = super().effects(state)
        if self._rename is None or len(found) < 2:
            return found
        apart = self._rename.told_apart(state)
        kept: dict[tuple[Hashable, Hashable], Effect] = {}
        for effect in found:
            ((_, new),) = effect.pairs
            node = self._pool[new].spec.node_name
            kept.setdefault((effect.label, apart.get(node, node)), effect)
        return list(kept.values())


class Draining:
    """Somebody takes a node out of service when all has come to rest. That need not happen."""

    name = "maintenance"

    def __init__(self, pool: Pool, space: Space, rename: Renaming | None) -> None:
        self._pool = pool
        self._rename = rename
        self.shown: tuple[int, ...] = (space.slots[Pod], space.slots[Node], space.slots[Faults])

    def effects(self, state: State) -> list[Effect]:
        pods, nodes, (left,) = (state[slot] for slot in self.shown)
        faults: Faults = self._pool[left]
        if not faults.drains:
            return []
        apart = self._rename.told_apart(state) if self._rename is not None else {}
        found: dict[Hashable, Effect] = {}
        for number in dict.fromkeys(nodes):
            node: Node = self._pool[number]
            name = node.metadata.name
            if node.spec.unschedulable or apart.get(name, name) in found:
                continue
            gone = [pod for pod in pods if self._pool[pod].spec.node_name == name]
            pairs = [
                (number, self._pool.intern(_cordoned(node, True))),
                (left, self._pool.fact(replace(faults, drains=faults.drains - 1))),
            ]
            for pod in gone:
                after = deleted(self._pool[pod], None, Propagation.BACKGROUND)
                pairs.append((pod, ABSENT if after is None else self._pool.intern(after)))
            found[apart.get(name, name)] = Effect((self.name, number), tuple(pairs), "User", f"drains {name}")
        return list(found.values())


class Uncordoning:
    """What was taken out of service comes back when all has come to rest."""

    name = "maintenance ends"

    def __init__(self, pool: Pool, space: Space, cordoned: frozenset[str]) -> None:
        self._pool = pool
        self._cordoned = cordoned
        """The nodes that the files keep pods off."""
        self.shown: tuple[int, ...] = (space.slots[Node],)

    def effects(self, state: State) -> list[Effect]:
        found = []
        for number in dict.fromkeys(state[self.shown[0]]):
            node: Node = self._pool[number]
            if node.spec.unschedulable and node.metadata.name not in self._cordoned:
                pairs = ((number, self._pool.intern(_cordoned(node, False))),)
                said = f"uncordons {node.metadata.name}"
                found.append(Effect((self.name, number), pairs, "User", said))
        return found


def _cordoned(node: Node, unschedulable: bool) -> Node:
    for write in moves.cordon(node, unschedulable=unschedulable):
        assert isinstance(write, Update)
        assert isinstance(write.after, Node)
        return write.after
    return node


class Filling:
    """A disk that fills up, and stays full: a fault, which need not happen."""

    name = "fault"

    def __init__(self, pool: Pool, space: Space, minor: int = NEWEST_MINOR) -> None:
        self._pool = pool
        self.shown: tuple[int, ...] = (space.slots[Node], space.slots[Faults])

    def effects(self, state: State) -> list[Effect]:
        nodes, (left,) = (state[slot] for slot in self.shown)
        faults: Faults = self._pool[left]
        if not faults.pressures:
            return []
        found = []
        for number in dict.fromkeys(nodes):
            node: Node = self._pool[number]
            if pressures(node):
                continue
            pairs = (
                (number, self._pool.intern(under_pressure(node))),
                (left, self._pool.fact(replace(faults, pressures=faults.pressures - 1))),
            )
            said = f"the disk of {node.metadata.name} fills up: {DISK}"
            found.append(Effect((self.name, number), pairs, "Fault", said))
        return found


def under_pressure(node: Node) -> Node:
    """The node as it says that its disk is full, with the taint that follows."""
    others = tuple(each for each in node.status.conditions if each.type != DISK)
    told = NodeCondition(type=DISK, status="True", reason="KubeletHasDiskPressure", last_transition_time=NOW)
    status = msgspec.structs.replace(node.status, conditions=(*others, told))
    return nodelifecycle.tainted(msgspec.structs.replace(node, status=status), NOW)


def pressures(node: Node) -> tuple[str, ...]:
    kinds = ("MemoryPressure", DISK, "PIDPressure")
    return tuple(each.type for each in node.status.conditions if each.type in kinds and each.status == "True")


def healthy(pod: Pod) -> tuple[Outcome, ...]:
    """Pods start and stay up, as far as they are let."""
    return () if ready_since(pod) is not None else (Outcome.READY,)
