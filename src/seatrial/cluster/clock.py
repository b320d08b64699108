"""The clocks: the real one; a virtual one that jumps to the next wake-up, so that an hour costs no time; and one that
follows the real one but leaps ahead while it is told that waiting would be a waste.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from seatrial.node.runtime import Timer

START = datetime(2026, 1, 1, tzinfo=UTC)


STEP: Final = timedelta(seconds=5)
"""A larger difference between the machine's clock and its ticking is a step: somebody set it, or it was suspended."""
CATCHING_UP: Final = 0.1
"""Of each second, while the machine's clock was set back and this one waits for it."""


class RealClock:
    """The machine's clock, but never back; calls happen on the running event loop.

    What was measured stays in the past: set back, this clock runs slower until the machine's has come up to it. Set
    forward, it follows at once and tells `on_step`, since nobody was silent for the time that was left out.
    """

    def __init__(
        self, wall: Callable[[], datetime] = lambda: datetime.now(UTC), ticking: Callable[[], float] = time.monotonic
    ) -> None:
        self.on_step: Callable[[], None] = lambda: None
        self._wall = wall
        self._ticking = ticking
        self._ahead = timedelta()
        self._looked = (wall(), ticking())

    def now(self) -> datetime:
        wall, ticks = self._wall(), self._ticking()
        passed = timedelta(seconds=ticks - self._looked[1])
        step = wall - self._looked[0] - passed
        self._looked = (wall, ticks)
        self._ahead = max(timedelta(), self._ahead - passed * CATCHING_UP)
        if abs(step) > STEP:
            before = self._ahead
            self._ahead = max(timedelta(), before - step)
            if step > before:
                self.on_step()
        return wall + self._ahead

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
        self.on_due: Callable[[], None] = lambda: None
        """Called when something is to be done at the present moment, for those who want to see to it at once."""
        self._now = start
        self._order = itertools.count()
        self._calls: list[tuple[datetime, int, _Call]] = []

    def now(self) -> datetime:
        return self._now

    def call_at(self, when: datetime, call: Callable[[], None]) -> Timer:
        timer = _Call(call)
        heapq.heappush(self._calls, (max(when, self._now), next(self._order), timer))
        if when <= self._now:
            self.on_due()
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

    def is_due(self) -> bool:
        """There are calls to be made at this very moment."""
        while self._calls and self._calls[0][2].call is None:
            heapq.heappop(self._calls)
        return bool(self._calls) and self._calls[0][0] <= self._now

    def run(self, duration: timedelta, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Let at most `duration` pass; stops early, and answers True, when `until` holds."""
        end = self._now + duration
        while not until():
            if not self.step(end):
                self._now = end
                return until()
        return True


class LeapingClock:
    """For people who watch a simulation: real time, plus leaps to the next call while `leaps` holds. Whoever sets the
    machine's clock does not set this one.

    `run` makes the calls; between two of them the event loop gets its turn, so that the API goes on answering.
    """

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        self.leaps: Callable[[], bool] = lambda: False
        self._ahead = max(timedelta(), ahead)
        self._began = (datetime.now(UTC), time.monotonic())
        self._order = itertools.count()
        self._calls: list[tuple[datetime, int, _Call]] = []
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        began, ticks = self._began
        return began + timedelta(seconds=time.monotonic() - ticks) + self._ahead

    def call_at(self, when: datetime, call: Callable[[], None]) -> Timer:
        timer = _Call(call)
        heapq.heappush(self._calls, (when, next(self._order), timer))
        self._changed.set()
        return timer

    def look_again(self) -> None:
        """What `leaps` says has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Make every call at its time, until cancelled."""
        while True:
            self._changed.clear()
            while self._calls and self._calls[0][2].call is None:
                heapq.heappop(self._calls)
            wait_s = (self._calls[0][0] - self.now()).total_seconds() if self._calls else None
            if wait_s is not None and wait_s > 0 and self.leaps():
                self._ahead += timedelta(seconds=wait_s)
                wait_s = 0.0
            if wait_s is None or wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
                continue
            call = heapq.heappop(self._calls)[2].call
            if call is not None:
                call()
            await asyncio.sleep(0)
