"""Which of several objects a decision picks when only their drawn names tell them apart.

Names of nameless objects are drawn at random, so a tie that names break can go either way, and each outcome is a move
of its own. The names note which others they are put in order with. What is compared by name is tied in everything
before, so those compared with each other form a tied group, and of a group of which some are picked any choice could
have been made. Each is tried (and seen to come true) by ordering the group accordingly; if that is not what happens,
the decision breaks ties in some other way, and all orders are tried, up to a limit that the verdict mentions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product

Compared = set[tuple[int, int]]


class DrawnName(str):
    """The name of the object at a position; notes with which others it is put in order."""

    __slots__ = ("_compared", "position")

    _compared: Compared
    position: int

    @classmethod
    def of(cls, text: str, position: int, compared: Compared) -> DrawnName:
        name = cls(text)
        name._compared = compared
        name.position = position
        return name

    def _note(self, other: str) -> None:
        if isinstance(other, DrawnName) and self.position != other.position:
            self._compared.add((self.position, other.position))

    def __lt__(self, other: str) -> bool:
        self._note(other)
        return str.__lt__(self, other)

    def __le__(self, other: str) -> bool:
        self._note(other)
        return str.__le__(self, other)

    def __gt__(self, other: str) -> bool:
        self._note(other)
        return str.__gt__(self, other)

    def __ge__(self, other: str) -> bool:
        self._note(other)
        return str.__ge__(self, other)


def groups(compared: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The positions that were compared with each other, directly or through others."""
    found: list[set[int]] = []
    for one, other in compared:
        joined = {one, other}.union(*[group for group in found if one in group or other in group])
        found = [group for group in found if group.isdisjoint(joined)]
        found.append(joined)
    return sorted(sorted(group) for group in found)


def orders(
    things: Sequence[int], tied: Iterable[Sequence[int]], picked: frozenset[int]
) -> Iterator[tuple[list[int], tuple[int, ...]]]:
    """For every choice that could have been made instead: an order of all positions that leads to it, and the things
    (sorted, equal ones as often as they occur) that are then picked. `picked` are the positions that were."""
    choices = []
    for group in tied:
        count = sum(position in picked for position in group)
        different = {tuple(sorted(things[at] for at in chosen)): chosen for chosen in combinations(group, count)}
        choices.append([(group, chosen) for _, chosen in sorted(different.items())])
    grouped = {position for group in tied for position in group}
    alone = [things[position] for position in picked - grouped]
    for each in product(*choices):
        order = list(range(len(things)))
        after = list(alone)
        for group, chosen in each:
            rest = [position for position in group if position not in chosen]
            for place, position in zip(group, [*chosen, *rest], strict=True):
                order[place] = position
            after += [things[position] for position in chosen]
        yield order, tuple(sorted(after))
