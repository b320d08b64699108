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
from seatrial.check.model.space import Effect, Label, Slot, Space, State
from seatrial.kube.objects import Object


class Mover(Protocol):
    name: str
    shown: tuple[int, ...]
    """The slots that it looks at; may grow when it is asked."""

    def effects(self, state: State) -> Sequence[Effect]:
        """What it can do."""


Moves = tuple[tuple[Label, tuple[tuple[int, Any], ...]], ...]
"""Labels, and for each the slots that change: to what, or by which pairs."""


@dataclass(slots=True)
class _Seat:
    """A mover, what it was seen to do, and whom it waits for."""

    mover: Mover
    look: Callable[[State], Any]
    yields: tuple[int, ...]
    known: dict[Any, tuple[tuple[Label, tuple[tuple[int, Slot], ...], Effect], ...]] = field(default_factory=dict)


class Model:
    """`yields` are, by name, the movers that a mover waits for; `rename` makes equal what differs in names only."""

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
    ) -> None:
        self.pool = pool
        self.space = space
        self._rename = rename
        names = [mover.name for mover in movers]
        waits = yields or {}
        order = sorted(movers, key=lambda mover: mover.name in waits)
        position = {mover.name: number for number, mover in enumerate(order)}
        self._seats = [
            _Seat(mover, _look(mover.shown), tuple(position[n] for n in waits.get(mover.name, ()) if n in names))
            for mover in order
        ]
        self._split: dict[int, tuple[Effect, tuple[tuple[int, tuple[tuple[int, int], ...]], ...]]] = {}
        """Effects by identity (movers remember theirs) and their pairs by slot."""
        numbers = [*(pool.intern(item) for item in objects), *(pool.fact(value) for value in facts)]
        self.initial: State = space.state(pool.types, numbers)

    def moves(self, state: State) -> list[tuple[Label, State]]:
        found: list[tuple[Label, State]] = []
        busy: list[bool] = []
        for seat in self._seats:
            if seat.yields and any(busy[number] for number in seat.yields):
                busy.append(True)
                continue
            key = seat.look(state)
            known = seat.known.get(key)
            if known is None:
                known = self._learn(seat, state)
            busy.append(bool(known))
            for label, changes, _ in known:
                after = list(state)
                for slot, value in changes:
                    after[slot] = value
                there = tuple(after)
                found.append((label, there if self._rename is None else self._rename(there)))
        return found

    def renamed(self, state: State) -> State:
        return state if self._rename is None else self._rename(state)

    def effects(self, state: State) -> list[tuple[Effect, State]]:
        """The moves of a state as effects, nothing renamed: what a story is told from."""
        found: list[tuple[Effect, State]] = []
        busy: list[bool] = []
        for seat in self._seats:
            if seat.yields and any(busy[number] for number in seat.yields):
                busy.append(True)
                continue
            known = seat.known.get(seat.look(state)) or self._learn(seat, state)
            busy.append(bool(known))
            for _, changes, effect in known:
                after = list(state)
                for slot, value in changes:
                    after[slot] = value
                found.append((effect, tuple(after)))
        return found

    def _by_slot(self, effect: Effect) -> tuple[tuple[int, tuple[tuple[int, int], ...]], ...]:
        found = self._split.get(id(effect))
        if found is None:
            found = self._split[id(effect)] = (effect, self.space.by_slot(self.pool.types, effect))
        return found[1]

    def _learn(self, seat: _Seat, state: State) -> tuple[tuple[Label, tuple[tuple[int, Slot], ...], Effect], ...]:
        before = seat.mover.shown
        effects = seat.mover.effects(state)
        by_slot = [(effect, self._by_slot(effect)) for effect in effects]
        touched = {slot for _, pairs in by_slot for slot, _ in pairs}
        if not touched <= set(seat.mover.shown):
            # What it changes is not among what it looks at: from now on it is, or the slots after its moves would not
            # follow from those before.
            seat.mover.shown = (*seat.mover.shown, *sorted(touched - set(seat.mover.shown)))
        if seat.mover.shown != before:
            seat.look = _look(seat.mover.shown)
            seat.known.clear()
        change = self.space.change
        known = tuple(
            (effect.label, tuple((slot, change(state[slot], pairs)) for slot, pairs in changes), effect)
            for effect, changes in by_slot
        )
        seat.known[seat.look(state)] = known
        return known


def _look(slots: Sequence[int]) -> Callable[[State], Any]:
    return itemgetter(*slots)
