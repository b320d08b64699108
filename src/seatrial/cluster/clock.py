"""The two clocks: the real one, and a virtual one that jumps to the next wake-up, so that an hour costs no time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from seatrial.node.runtime import Timer

START = datetime(2026, 1, 1, tzinfo=UTC)


class RealClock:
    """The machine's clock; calls happen on the running event loop."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def call_at(self, when: datetime, call: Callable[[], None]) -> Timer:
        delay_s = max(0.0, (when - self.now()).total_seconds())
        return asyncio.get_running_loop().call_later(delay_s, call)


class _Call:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class VirtualClock:
    """Time stands still until `step` or `run`; equal times happen in the order in which they were asked for."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._order = itertools.count()
        self._calls: list[tuple[datetime, int, _Call]] = []

    def now(self) -> datetime:
        return self._now

    def call_at(self, when: datetime, call: Callable[[], None]) -> Timer:
        timer = _Call(call)
        heapq.heappush(self._calls, (max(when, self._now), next(self._order), timer))
        return timer

    def step(self, until: datetime | None = None) -> bool:
        """Jump to the next call, if there is one (not after `until`), and make it."""
        while self._calls:
            when, _, timer = self._calls[0]
            if timer.call is not None and until is not None and when > until:
                return False
            heapq.heappop(self._calls)
            if timer.call is not None:
                self._now = when
                timer.call()
                return True
        return False

    def run(self, duration: timedelta, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Let at most `duration` pass; stops early, and answers True, when `until` holds."""
        end = self._now + duration
        while not until():
            if not self.step(end):
                self._now = end
                return until()
        return True
