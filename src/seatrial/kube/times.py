"""Moments that objects name: computed as Go computes them, so that no number that the API takes is too large."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


def after(moment: datetime, seconds: int) -> datetime:
    """`moment` and so many seconds, which Go keeps as 64 bits of nanoseconds: beyond 292 years they wrap."""
    nanoseconds = (seconds * 1_000_000_000 + 2**63) % 2**64 - 2**63
    try:
        return moment + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:  # the moment itself is at the end of what a timestamp can say
        return _LAST if nanoseconds > 0 else _FIRST
