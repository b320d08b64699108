"""How long an exited container waits for its next attempt: at once, then 10 s, doubling to 300 s.

`StartContainer` carries the wait of the restart that follows it, and the fact hands it back: nothing else is
remembered. Rules, upstream's: a run of more than ten minutes starts the ladder again; a container that this node
stopped itself (a probe, a resize) may start at once if the end before that one lies far enough back. The numbers are
the same in all versions from 1.25 to 1.37 (the faster ladder is behind a gate that is off everywhere).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from seatrial.control.lifecycle.facts import ContainerFact, Problem, StopReason

FIRST_S, MOST_S = 10, 300
RESET_AFTER = timedelta(minutes=10)
PULL_SHOWN = timedelta(seconds=1)
"""How long ErrImagePull shows before it becomes ImagePullBackOff; upstream, it is until the kubelet's next look."""


def until(latest: ContainerFact, before: ContainerFact | None) -> datetime | None:
    """When the attempt after the exited `latest` may start; None: now."""
    ended_at, wait_s = latest.finished_at, latest.back_off_s
    if ended_at is None or not wait_s or _stable(latest):
        return None
    if latest.stopped_for not in (None, StopReason.POD_ENDS):
        ended_before_at = before.finished_at if before is not None else None
        if ended_before_at is None or ended_at >= ended_before_at + timedelta(seconds=wait_s):
            return None
    return ended_at + timedelta(seconds=wait_s)


def following(latest: ContainerFact | None, before: ContainerFact | None) -> int:
    """The wait in seconds that the attempt after `latest` leaves for the one after it."""
    if latest is None:
        return 0
    if latest.stopped_for not in (None, StopReason.POD_ENDS) and before is None:
        return latest.back_off_s
    if not latest.back_off_s or _stable(latest):
        return FIRST_S
    return min(latest.back_off_s * 2, MOST_S)


def pull(problem: Problem) -> datetime | None:
    """When an image that could not be pulled is tried again; None: now, or the problem is not about an image."""
    if problem.reason != "ErrImagePull" or problem.at is None:
        return None
    return problem.at + timedelta(seconds=min(FIRST_S * 2 ** min(problem.times - 1, 10), MOST_S))


def shown_until(problem: Problem | None) -> datetime | None:
    """Until when a failed pull shows as ErrImagePull."""
    if problem is None or problem.reason != "ErrImagePull" or problem.at is None:
        return None
    return problem.at + PULL_SHOWN


def text(wait_s: int) -> str:
    """`10s`, `1m20s`, `5m0s`."""
    minutes, seconds = divmod(wait_s, 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _stable(latest: ContainerFact) -> bool:
    started_at, finished_at = latest.started_at, latest.finished_at
    return started_at is not None and finished_at is not None and finished_at - started_at > RESET_AFTER
