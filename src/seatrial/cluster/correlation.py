"""Which events are written, as upstream's recorder decides: like ones are summed up, and no source floods an object.

After ten events within ten minutes that differ in their message only, further ones are counted on one event whose text
starts with "(combined from similar events)". A source may send 25 events of a type about one object, then one in five
minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

ALIKE_MAX: Final = 10
ALIKE_WITHIN: Final = timedelta(minutes=10)
BURST: Final = 25
REFILL_PER_S: Final = 0.003333333460614085
"""One in five minutes; upstream's 1/300 has the precision of four bytes, and is a little more."""
_REMEMBERED_MAX: Final = 4096

T = TypeVar("T")
Source = tuple[str, str]
"""Component and host."""


@dataclass(slots=True)
class _Alike:
    messages: dict[str, None] = field(default_factory=dict)
    last_at: datetime | None = None


@dataclass(slots=True)
class _Budget:
    left: float
    at: datetime


class Correlator:
    def __init__(self) -> None:
        self._alike: dict[tuple[str, ...], _Alike] = {}
        self._budgets: dict[tuple[str, ...], _Budget] = {}
        self._counts: dict[tuple[str, ...], int] = {}

    def correlate(
        self, source: Source, uid: str, kind: str, reason: str, message: str, now: datetime
    ) -> tuple[tuple[str, ...], str, int] | None:
        """What the event is counted on, its text, and how often it was said, also when nobody wrote it.

        None if it is not written. `kind` is Normal or Warning.
        """
        alike_key = (*source, uid, kind, reason)
        alike = _recent(self._alike, alike_key) or _Alike()
        if alike.last_at is None or now - alike.last_at > ALIKE_WITHIN:
            alike.messages.clear()
        alike.messages[message] = None
        alike.last_at = now
        _remember(self._alike, alike_key, alike)
        key: tuple[str, ...] = (*alike_key, message)
        if len(alike.messages) >= ALIKE_MAX:
            del alike.messages[next(iter(alike.messages))]
            key, message = alike_key, f"(combined from similar events): {message}"
        count = (_recent(self._counts, key) or 0) + 1
        _remember(self._counts, key, count)
        return (key, message, count) if self._may_send((*source, uid, kind), now) else None

    def _may_send(self, key: tuple[str, ...], now: datetime) -> bool:
        budget = _recent(self._budgets, key) or _Budget(BURST, now)
        budget.left = min(BURST, budget.left + (now - budget.at).total_seconds() * REFILL_PER_S)
        budget.at = now
        _remember(self._budgets, key, budget)
        if budget.left < 1:
            return False
        budget.left -= 1
        return True


def _recent(known: dict[tuple[str, ...], T], key: tuple[str, ...]) -> T | None:
    return known.pop(key, None)


def _remember(known: dict[tuple[str, ...], T], key: tuple[str, ...], value: T) -> None:
    """The least recently used one goes when there are too many."""
    known[key] = value
    if len(known) > _REMEMBERED_MAX:
        del known[next(iter(known))]
