"""A state of a model: for every kind the numbers of its objects, sorted; and the effects that lead to the next.

A state is a tuple of slots, one for each kind of value; equal objects occur in a slot as often as there are of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from seatrial.kube.objects import Pod

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Slot = tuple[int, ...]
State = tuple[Slot, ...]
Pairs = tuple[tuple[int, int], ...]
Label = tuple[str, Hashable]
"""Who acts, and on what: two moves with one label are one thing that can be put off."""
FAULT: Final = "fault"
"""Begins the label of what may be put off for ever."""
ABSENT: Final = -1


class Memo(dict[K, V]):
    """What `compute` gives for a key, computed once."""

    __slots__ = ("_compute",)

    def __init__(self, compute: Callable[[K], V]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, key: K) -> V:
        value = self[key] = self._compute(key)
        return value


@dataclass(frozen=True, slots=True)
class Effect:
    """What one move does: pairs of numbers before and after, `ABSENT` for absence; and what a story tells about it.

    `warning` is what the actor complains of.
    """

    label: Label
    pairs: Pairs
    actor: str
    action: str = ""
    warning: str = ""


@dataclass(slots=True)
class Space:
    """Which slot holds which type."""

    types: Sequence[type]
    slots: Mapping[type, int] = field(init=False)
    changed: Memo[tuple[Slot, Pairs], Slot] = field(init=False)
    """A slot after changes to it."""

    def __post_init__(self) -> None:
        self.changed = Memo(_changed)
        self.slots = {kind: position for position, kind in enumerate(self.types)}

    @property
    def pods(self) -> int:
        return self.slots[Pod]

    def state(self, types: Sequence[type], numbers: Iterable[int]) -> State:
        """The state of these values; `types` tells a number's type."""
        found: list[list[int]] = [[] for _ in self.types]
        for number in numbers:
            found[self.slots[types[number]]].append(number)
        return tuple(tuple(sorted(slot)) for slot in found)

    def by_slot(self, types: Sequence[type], effect: Effect) -> tuple[tuple[int, Pairs], ...]:
        """The pairs of an effect, each slot's together; what no slot holds is no part of a state."""
        found: dict[int, list[tuple[int, int]]] = {}
        for old, new in effect.pairs:
            slot = self.slots.get(types[new if old == ABSENT else old])
            if slot is not None:
                found.setdefault(slot, []).append((old, new))
        return tuple((slot, tuple(pairs)) for slot, pairs in sorted(found.items()))

    def change(self, slot: Slot, pairs: Pairs) -> Slot:
        """The slot after these changes."""
        return self.changed[slot, pairs]


def _changed(what: tuple[Slot, Pairs]) -> Slot:
    slot, pairs = what
    numbers = list(slot)
    for old, new in pairs:
        if old != ABSENT:
            numbers.remove(old)
        if new != ABSENT:
            numbers.append(new)
    numbers.sort()
    return tuple(numbers)
