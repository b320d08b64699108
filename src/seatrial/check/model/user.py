"""What people do, as a plan: one step after the other, each when its time has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seatrial.check.model.pool import Pool
from seatrial.check.model.space import ABSENT, Effect, Space, State
from seatrial.kube.objects import Object

Objects = dict[type, tuple[Object, ...]]
Pair = tuple[Object | None, Object | None]


@dataclass(frozen=True, slots=True)
class Progress:
    """How many steps of the plan have been made."""

    made: int


@dataclass(frozen=True, slots=True)
class PlanStep:
    """`change` gives the objects before and after, or None while the step has to wait."""

    action: str
    change: Callable[[Objects], Sequence[Pair] | None]
    actor: str = "User"


class User:
    name = "user"

    def __init__(self, pool: Pool, space: Space, steps: Sequence[PlanStep], kinds: Sequence[type]) -> None:
        self._pool = pool
        self._steps = steps
        self._kinds = tuple(kinds)
        self.shown = (space.slots[Progress], *(space.slots[kind] for kind in kinds))

    def effects(self, state: State) -> list[Effect]:
        parts = [state[slot] for slot in self.shown]
        (number,) = parts[0]
        progress: Progress = self._pool[number]
        if progress.made == len(self._steps):
            return []
        step = self._steps[progress.made]
        slots = parts[1 : 1 + len(self._kinds)]
        given = {kind: tuple(self._pool[each] for each in slot) for kind, slot in zip(self._kinds, slots, strict=True)}
        pairs = step.change(given)
        if pairs is None:
            return []
        changes = [(number, self._pool.fact(Progress(progress.made + 1)))]
        for before, after in pairs:
            old = ABSENT if before is None else self._pool.intern(before)
            changes.append((old, ABSENT if after is None else self._pool.intern(after)))
        return [Effect((self.name, progress.made), tuple(changes), step.actor, step.action)]
