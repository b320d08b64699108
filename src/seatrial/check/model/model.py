"""The model of a system: who can move, and every state that a move leads to.

A mover looks at some slots of a state and says what it can do; what it can do is remembered by those slots, so that a
move that changed other slots costs a look-up. Some movers wait for others (`yields`): kubelets for the counts that a
controller is about to write, time for everybody. That is an assumption of the verdict, never a silent one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Protocol

from seatrial.check.model.pool import Pool
from seatrial.check.model.space import Effect, Label, Pairs, Space, State
from seatrial.kube.objects import Object


class Mover(Protocol):
    """A mover that has the attribute `remembers` keeps what it can do by itself, by less than whole slots."""

    name: str
    shown: tuple[int, ...]
    """The slots that it looks at; may grow when it is asked."""

    def effects(self, state: State) -> Sequence[Effect]:
        """What it can do."""


@dataclass(slots=True)
class _Seat:
    """A mover, whom it waits for, and what it was seen to do by the slots that it looks at."""

    mover: Mover
    look: Callable[[State], Any]
    yields: tuple[int, ...]
    remembers: bool
    at_once: bool
    known: dict[Any, Sequence[Effect]] = field(default_factory=dict)


class Model:
    """`yields` are, by name, the movers that a mover waits for; `rename` makes equal what differs in names only.

    What a mover of `at_once` can do is done before anything else. The model's author answers for that no state with
    such a move pending can do what the state after it cannot, as far as anybody asks.
    """

    def __init__(
        self,
        pool: Pool,
        space: Space,
        objects: Iterable[Object],
        facts: Iterable[Hashable],
        movers: Sequence[Mover],
        *,
        yields: Mapping[str, Iterable[str]] | None = None,
        rename: Callable[[State], State] | None = None,
        at_once: Iterable[str] = (),
    ) -> None:
        self.pool = pool
        self.space = space
        self._rename = rename
        names = [mover.name for mover in movers]
        waits = yields or {}
        hurried = frozenset(at_once)
        order = sorted(movers, key=lambda mover: (mover.name not in hurried, mover.name in waits))
        position = {mover.name: number for number, mover in enumerate(order)}
        self._seats = [
            _Seat(
                mover,
                _look(mover.shown),
                tuple(position[n] for n in waits.get(mover.name, ()) if n in names),
                getattr(mover, "remembers", False),
                mover.name in hurried,
            )
            for mover in order
        ]
        self._split: dict[int, tuple[Effect, tuple[tuple[int, Pairs], ...]]] = {}
        """Effects by identity (movers remember theirs) and their pairs by slot."""
        numbers = [*(pool.intern(item) for item in objects), *(pool.fact(value) for value in facts)]
        self.initial: State = space.state(pool.types, numbers)

    def moves(self, state: State) -> list[tuple[Label, State]]:
        rename = self._rename
        changed = self.space.changed
        split = self._split
        found: list[tuple[Label, State]] = []
        for effect in self._enabled(state):
            try:
                changes = split[id(effect)][1]
            except KeyError:
                changes = self._by_slot(effect)
            after = list(state)
            for slot, pairs in changes:
                after[slot] = changed[after[slot], pairs]
            there = tuple(after)
            found.append((effect.label, there if rename is None else rename(there)))
        return found

    def renamed(self, state: State) -> State:
        return state if self._rename is None else self._rename(state)

    def effects(self, state: State) -> list[tuple[Effect, State]]:
        """The moves of a state as effects, nothing renamed: what a story is told from."""
        found: list[tuple[Effect, State]] = []
        for effect in self._enabled(state):
            after = list(state)
            for slot, pairs in self._by_slot(effect):
                after[slot] = self.space.change(after[slot], pairs)
            found.append((effect, tuple(after)))
        return found

    def _enabled(self, state: State) -> list[Effect]:
        found: list[Effect] = []
        busy: list[bool] = []
        for seat in self._seats:
            if seat.yields and any(busy[number] for number in seat.yields):
                busy.append(True)
                continue
            if seat.remembers:
                effects = seat.mover.effects(state)
            else:
                try:
                    effects = seat.known[seat.look(state)]
                except KeyError:
                    effects = self._learn(seat, state)
            if seat.at_once and effects:
                return [effects[0]]
            busy.append(bool(effects))
            found += effects
        return found

    def _by_slot(self, effect: Effect) -> tuple[tuple[int, Pairs], ...]:
        found = self._split.get(id(effect))
        if found is None:
            found = self._split[id(effect)] = (effect, self.space.by_slot(self.pool.types, effect))
        return found[1]

    def _learn(self, seat: _Seat, state: State) -> Sequence[Effect]:
        before = seat.mover.shown
        effects = seat.mover.effects(state)
        if seat.mover.shown != before:
            seat.look = _look(seat.mover.shown)
            seat.known.clear()
        seat.known[seat.look(state)] = effects
        return effects


def _look(slots: Sequence[int]) -> Callable[[State], Any]:
    return itemgetter(*slots)
