"""How long an exited container waits for its next attempt: at once, then 10 s, doubling to 300 s.

Nothing is remembered between calls: the wait before the latest attempt is read off the gap between the two latest
attempts. A start that is slow by itself could make that gap look like a longer wait, so the number of restarts bounds
it. A run of more than ten minutes (twice the longest wait, as upstream) starts the ladder again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from seatrial.control.lifecycle.facts import ContainerFact

WAITS_S = (0, 10, 20, 40, 80, 160, 300)
RESET_AFTER = timedelta(minutes=10)


def until(latest: ContainerFact, before: ContainerFact | None) -> datetime | None:
    """When the attempt after the exited `latest` may start; None: now."""
    if latest.finished_at is None:
        return None
    wait_s = WAITS_S[_rung(latest, before)]
    return latest.finished_at + timedelta(seconds=wait_s) if wait_s else None


def _rung(latest: ContainerFact, before: ContainerFact | None) -> int:
    started_at, finished_at = latest.started_at, latest.finished_at
    if started_at and finished_at and finished_at - started_at > RESET_AFTER:
        return 0
    if latest.attempt == 0:
        return 0
    if before is None or before.finished_at is None or started_at is None:
        waited = latest.attempt - 1
    else:
        gap = (started_at - before.finished_at).total_seconds()
        waited = max((rung for rung, wait_s in enumerate(WAITS_S) if wait_s <= gap), default=0)
        waited = min(waited, latest.attempt - 1)
    return min(waited + 1, len(WAITS_S) - 1)
