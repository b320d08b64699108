"""Upstream creates pods in batches of 1, 2, 4, ..., each side by side, and ends after one in which any was refused.

So a namespace whose quota is used up is asked once and not a thousand times, and told of as often. (`slowStartBatch` of
ReplicaSets and StatefulSets; the controllers of Jobs and DaemonSets have it in their own words.) Deletions are one
batch. A batch is a stretch of a decision's writes; `execute` is how every interpreter makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from seatrial.control.controller import Batch, Decision
from seatrial.control.writes import Refusal, RefusedError, TerminatingError, Write


def slow_start(writes: list[Write], steps: Iterable[Sequence[Write]]) -> list[Batch]:
    """Append the steps to `writes`; the batches in which they are taken."""
    starts = _append(writes, steps)
    return batched(starts, len(writes))


def at_once(writes: list[Write], steps: Iterable[Sequence[Write]]) -> list[Batch]:
    """Append the steps to `writes`; all of them are one batch."""
    starts = _append(writes, steps)
    return [(*starts, len(writes))] if len(starts) > 1 else []


def batched(starts: Sequence[int], end: int) -> list[Batch]:
    """The batches of steps that begin at `starts`, the last of which ends at `end`; one step alone needs none."""
    found = []
    first, size = 0, 1
    while first < len(starts):
        batch = starts[first : first + size]
        first, size = first + size, 2 * size
        if len(batch) > 1:
            found.append((*batch, starts[first] if first < len(starts) else end))
    return found


def _append(writes: list[Write], steps: Iterable[Sequence[Write]]) -> list[int]:
    starts = []
    for step in steps:
        starts.append(len(writes))
        writes += step
    return starts


def execute(decision: Decision, make: Callable[[Write], object]) -> tuple[Refusal, ...]:
    """Make the writes by `make`, which raises `RefusedError`; those that were refused.

    What a namespace does not take because it ends is passed over.
    """
    for stage in decision.stages():
        refused = tuple(refusal for step in stage if (refusal := _take(step, make)) is not None)
        if refused:
            return refused
    return ()


def _take(step: Sequence[Write], make: Callable[[Write], object]) -> Refusal | None:
    for write in step:
        try:
            make(write)
        except TerminatingError:
            continue
        except RefusedError as error:
            return Refusal(write, str(error))
    return None
