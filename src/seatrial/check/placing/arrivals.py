"""Every order in which pods can arrive, and every choice the scheduler has among equally good nodes.

A state says which groups' pods stand on each node and how many of each group still wait. Pods of a group are alike, and
nodes that differ in name only (and that nothing calls by name) are exchanged so that states which differ in nothing
else are one. The decisions are the scheduler's own: it is told what differs between the states that it is asked about,
so that what it counted for one serves for the next. `free` supposes a scheduler that takes any node that passes the
filters: what all its orders hold, the real one's do; what none of them reaches, no placement gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from seatrial.check.explore import Graph, explore
from seatrial.check.machines import Group, numbered, on
from seatrial.check.model import symmetry
from seatrial.check.model.pool import NOW, with_metadata
from seatrial.control import scheduler
from seatrial.control.controller import NEWEST_MINOR
from seatrial.control.scheduler import Placement
from seatrial.kube.objects import Node, Object, Pod

_ARRIVED: Final = "arrived-"
_STANDING: Final = -1
Layout = tuple[tuple[int, ...], ...]
"""For every node the groups of the pods on it, sorted; a group occurs as often as it has pods there."""


@dataclass(frozen=True, slots=True)
class State:
    layout: Layout
    waiting: tuple[int, ...]
    """How many pods of each group wait for a node."""


@dataclass(frozen=True, slots=True)
class Move:
    """A pod of a group comes to a node (by index), and `victims` (groups) leave it; or it is evicted from there."""

    group: int
    node: int
    victims: tuple[int, ...] = ()
    leaves: bool = False


class Arrivals:
    """The pods of `groups` arrive among pods that are `standing`; `around` is what the scheduler looks at besides."""

    def __init__(
        self,
        nodes: Sequence[Node],
        groups: Sequence[Group],
        *,
        standing: Sequence[Pod] = (),
        around: Sequence[Object] = (),
        named: frozenset[str] = frozenset(),
        minor: int = NEWEST_MINOR,
        free: bool = False,
        alike: Sequence[Sequence[str]] | None = None,
        reborn: Mapping[int, int] | None = None,
        drained: int | None = None,
        evicts: Callable[[State, int], bool] = lambda state, group: True,
    ) -> None:
        """`alike` are nodes that can be exchanged, if that is known. What is preempted waits again, as one of the group
        that `reborn` names. `drained` is the index of a node whose pods are being evicted, as far as `evicts` allows
        for a group.
        """
        self.nodes = tuple(nodes)
        self.groups = tuple(groups)
        self.free = free
        self.initial = State(((),) * len(self.nodes), tuple(group.count for group in groups))
        self.asked = 0
        """How many decisions were asked for: what a budget counts."""
        self.evicts_standing = False
        """Whether preemption would remove a pod that stands: what follows from that is not looked at."""
        self._index = {node.metadata.name: position for position, node in enumerate(self.nodes)}
        exchanged = symmetry.groups(nodes, standing, named) if alike is None else alike
        self._alike = tuple(tuple(sorted(self._index[name] for name in names)) for names in exchanged)
        self._reborn = reborn or {}
        self._drained = drained
        self._evicts = evicts
        self._board = scheduler.Scheduler(minor=minor)
        for item in (*nodes, *around, *standing):
            self._board.change(None, item, NOW)
        self._shown: Layout = self.initial.layout
        self._placements: dict[tuple[Layout, int], Placement] = {}
        self._moves: dict[State, list[tuple[Move, State]]] = {}
        self._pods: dict[tuple[int, int, int], Pod] = {}

    def moves(self, state: State) -> list[tuple[Move, State]]:
        """What can happen next: states are in their one order of nodes."""
        found = self._moves.get(state)
        if found is None:
            found = []
            known: set[State] = set()
            for move, after in self.steps(state):
                after = self.renamed(after)
                if after not in known:
                    known.add(after)
                    found.append((move, after))
            self._moves[state] = found
        return found

    def steps(self, state: State) -> Iterator[tuple[Move, State]]:
        """The same with every node under its own name."""
        if self._drained is not None:
            for group in dict.fromkeys(state.layout[self._drained]):
                if self._evicts(state, group):
                    move = Move(group, self._drained, leaves=True)
                    yield move, self.after(state, move)
        for group, count in enumerate(state.waiting):
            if not count:
                continue
            placement = self.placement(state.layout, group)
            places = placement.feasible if self.free else placement.best
            for name in places:
                move = Move(group, self._index[name])
                yield move, self.after(state, move)
            if places or self.free:
                continue
            for name in placement.nominated:
                candidate = placement.candidate(name)
                assert candidate is not None, "what is nominated is a candidate"
                victims = tuple(sorted(_group_of(victim) for victim in candidate.victims))
                self.evicts_standing = self.evicts_standing or victims[:1] == (_STANDING,)
                move = Move(group, self._index[name], tuple(victim for victim in victims if victim != _STANDING))
                yield move, self.after(state, move)

    def after(self, state: State, move: Move) -> State:
        there = list(state.layout[move.node])
        waiting = list(state.waiting)
        if move.leaves:
            there.remove(move.group)
            waiting[move.group] += 1
            layout = list(state.layout)
            layout[move.node] = tuple(there)
            return State(tuple(layout), tuple(waiting))
        for victim in move.victims:
            there.remove(victim)
            waiting[self._reborn.get(victim, victim)] += 1
        there.append(move.group)
        waiting[move.group] -= 1
        layout = list(state.layout)
        layout[move.node] = tuple(sorted(there))
        return State(tuple(layout), tuple(waiting))

    def stranded(self, state: State) -> bool:
        """Pods wait, and none of them finds a node."""
        return any(state.waiting) and not self.moves(state)

    def renamed(self, state: State) -> State:
        if not self._alike:
            return state
        layout = list(state.layout)
        for alike in self._alike:
            for position, content in zip(alike, sorted(state.layout[index] for index in alike), strict=True):
                layout[position] = content
        return State(tuple(layout), state.waiting)

    def kind_of(self, node: int) -> int:
        """The first of the nodes that this one can be exchanged with."""
        return next((alike[0] for alike in self._alike if node in alike), node)

    def placement(self, layout: Layout, group: int) -> Placement:
        key = (layout, group)
        found = self._placements.get(key)
        if found is None:
            self.asked += 1
            self._show(layout)
            pod = numbered(self.groups[group].pod, 10**6)
            found = self._placements[key] = self._board.placement(pod)
        return found

    def pods(self, layout: Layout) -> list[Pod]:
        """The pods of a layout as objects."""
        found = []
        for node, content in enumerate(layout):
            for position, group in enumerate(content):
                found.append(self._pod(group, node, position - content.index(group)))
        return found

    def explored(
        self, budget: int, start: State | None = None, stop: Callable[[State], bool] | None = None
    ) -> Graph[State, Move]:
        """The states, until one strands a pod (or `stop` holds) or the budget of decisions is used up: incomplete."""
        first = self.renamed(start if start is not None else self.initial)
        model = _From(self, first, budget, stop or self.stranded)
        return explore(model, max_states=budget, stop=model.ends)

    def walk(self, path: Sequence[State], state: State | None = None) -> list[Move]:
        """The moves of a path of states, every node under one name throughout; `state` is the first in these names."""
        state = path[0] if state is None else state
        found = []
        for wanted in path[1:]:
            move, state = next(step for step in self.steps(state) if self.renamed(step[1]) == wanted)
            found.append(move)
        return found

    def _show(self, layout: Layout) -> None:
        """Bring the scheduler's board to this layout."""
        for node, (old, new) in enumerate(zip(self._shown, layout, strict=True)):
            if old == new:
                continue
            for group in {*old, *new}:
                before, after = old.count(group), new.count(group)
                for number in range(after, before):
                    self._board.change(self._pod(group, node, number), None, NOW)
                for number in range(before, after):
                    self._board.change(None, self._pod(group, node, number), NOW)
        self._shown = layout

    def _pod(self, group: int, node: int, number: int) -> Pod:
        key = (group, node, number)
        found = self._pods.get(key)
        if found is None:
            name, uid = f"{group}.{node}.{number}", f"{_ARRIVED}{group}.{node}.{number}"
            found = on(with_metadata(self.groups[group].pod, name=name, uid=uid), self.nodes[node].metadata.name)
            self._pods[key] = found
        return found


class _From:
    """Arrivals that begin at a state, as `explore` takes them."""

    def __init__(self, arrivals: Arrivals, initial: State, budget: int, stop: Callable[[State], bool]) -> None:
        self.initial = initial
        self._arrivals = arrivals
        self._stop = stop
        self._limit = arrivals.asked + budget

    def moves(self, state: State) -> list[tuple[Move, State]]:
        return self._arrivals.moves(state)

    def ends(self, state: State) -> bool:
        return self._arrivals.asked > self._limit or self._stop(state)


def arrange(arrivals: Arrivals, budget: int) -> list[State] | None:
    """A way to place every pod, found depth first, the largest groups first; None if there is none.

    Raises `TooManyError` when the budget of decisions is used up.
    """
    limit = arrivals.asked + budget
    path = [arrivals.renamed(arrivals.initial)]
    seen = {path[0]}
    open_moves = [iter(arrivals.moves(path[0]))]
    while open_moves:
        if not any(path[-1].waiting):
            return path
        if arrivals.asked > limit:
            raise TooManyError
        step = next(open_moves[-1], None)
        if step is None:
            open_moves.pop()
            path.pop()
        elif step[1] not in seen:
            seen.add(step[1])
            path.append(step[1])
            open_moves.append(iter(arrivals.moves(step[1])))
    return None


class TooManyError(Exception):
    """The budget is used up before there is an answer."""


def _group_of(pod: Pod) -> int:
    uid = pod.metadata.uid
    return int(uid.removeprefix(_ARRIVED).split(".")[0]) if uid.startswith(_ARRIVED) else _STANDING
