"""Sets of completion indexes, in the form in which a Job's status keeps them: `1,3-5,7`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Indexes:
    """A set of indexes as intervals (first, last): ascending, and never touching each other.

    A Job has up to 2^31 completions, so nothing here walks over single indexes.
    """

    intervals: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, indexes: Iterable[int]) -> Self:
        return cls(_joined((index, index) for index in sorted(indexes)))

    @classmethod
    def parse(cls, text: str, completions: int) -> Self:
        """The indexes below `completions` that `text` names; what is not a number is passed over."""
        found: list[tuple[int, int]] = []
        for item in filter(None, text.split(",")):
            first, _, last = item.partition("-")
            if first.isdecimal() and (last or first).isdecimal():
                low, high = int(first), min(int(last or first), completions - 1)
                if low <= high:
                    found.append((low, high))
        return cls(_joined(sorted(found)))

    def __str__(self) -> str:
        return ",".join(_text(first, last) for first, last in self.intervals)

    def __bool__(self) -> bool:
        return bool(self.intervals)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.intervals)

    def __contains__(self, index: int) -> bool:
        return any(first <= index <= last for first, last in self.intervals)

    def __or__(self, other: Indexes) -> Indexes:
        return Indexes(_joined(sorted((*self.intervals, *other.intervals))))

    def overlap(self, other: Indexes) -> int:
        """How many indexes are in both."""
        return sum(
            max(0, min(last, other_last) - max(first, other_first) + 1)
            for first, last in self.intervals
            for other_first, other_last in other.intervals
        )

    def missing(self, count: int, completions: int) -> list[int]:
        """The lowest `count` indexes below `completions` that are not in the set."""
        found: list[int] = []
        candidate = 0
        for first, last in (*self.intervals, (completions, completions)):
            found.extend(range(candidate, min(first, completions, candidate + count - len(found))))
            candidate = last + 1
        return found


def _text(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"


def _joined(intervals: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple(_merge(intervals))


def _merge(intervals: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ascending intervals, those that overlap or touch made one."""
    current: tuple[int, int] | None = None
    for first, last in intervals:
        if current is not None and first <= current[1] + 1:
            current = current[0], max(current[1], last)
        else:
            if current is not None:
                yield current
            current = first, last
    if current is not None:
        yield current
