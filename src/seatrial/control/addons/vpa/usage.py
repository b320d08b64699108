"""What the recommender remembers of containers: the usage of all of one name together, and of each the last peak.

Every measurement counts for cpu. Of memory only the highest of each 24 hours counts, for each container; a container
that was killed for want of memory counts as having used more than it could.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from seatrial.control.addons.vpa.histogram import CPU, MEMORY, MIN_WEIGHT, Histogram

INTERVAL: Final = timedelta(hours=24)
"""Of which one peak of memory counts."""
WINDOW: Final = 8 * INTERVAL
"""What was not seen for so long is forgotten."""
OOM_RATIO: Final = 1.2
OOM_LEAST: Final = 100 << 20


@dataclass(frozen=True, slots=True)
class Usage:
    """Of all containers of one name."""

    cpu: Histogram = field(default_factory=lambda: Histogram(CPU))
    memory: Histogram = field(default_factory=lambda: Histogram(MEMORY))
    first: datetime | None = None
    last: datetime | None = None
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Peaks:
    """Of one container of one pod."""

    cpu_at: datetime | None = None
    memory_at: datetime | None = None
    window_end: datetime | None = None
    memory: int = 0
    oom: int = 0
    killed_at: datetime | None = None
    """The last death for want of memory that was counted."""


def measured_cpu(usage: Usage, peaks: Peaks, milli: int, at: datetime) -> tuple[Usage, Peaks]:
    if peaks.cpu_at is not None and at <= peaks.cpu_at:
        return usage, peaks
    first = at if usage.first is None else min(usage.first, at)
    last = at if usage.last is None else max(usage.last, at)
    cpu = usage.cpu.add(milli / 1000, MIN_WEIGHT, at)
    return replace(usage, cpu=cpu, first=first, last=last, samples=usage.samples + 1), replace(peaks, cpu_at=at)


def measured_memory(
    usage: Usage, peaks: Peaks, amount: int, at: datetime, *, killed: bool = False
) -> tuple[Usage, Peaks]:
    """The window moves on with the first measurement after its end; in it a higher one takes the place of the last."""
    if not killed and peaks.memory_at is not None and at < peaks.memory_at:
        return usage, peaks
    end = at if peaks.window_end is None else peaks.window_end
    memory, highest, oom = usage.memory, peaks.memory, peaks.oom
    if at < end:
        before = max(highest, oom)
        counts = bool(before) and amount > before
        if counts:
            memory = memory.subtract(float(before), 1.0, end)
    else:
        end += (at - end) // INTERVAL * INTERVAL + INTERVAL
        highest, oom, counts = 0, 0, True
    if counts:
        memory = memory.add(float(amount), 1.0, end)
        highest, oom = (highest, amount) if killed else (amount, oom)
    known = replace(peaks, memory_at=at, window_end=end, memory=highest, oom=oom)
    return replace(usage, memory=memory), known


def killed(usage: Usage, peaks: Peaks, requested: int, at: datetime) -> tuple[Usage, Peaks]:
    """Killed for want of memory, of which it had `requested`."""
    if peaks.memory_at is not None and at < peaks.memory_at - INTERVAL:
        return usage, peaks
    used = max(requested, peaks.memory)
    needed = max(used + OOM_LEAST, int(used * OOM_RATIO))
    return measured_memory(usage, peaks, needed, at, killed=True)
