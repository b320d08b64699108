"""One line on a terminal's standard error that tells how far a check has come; nothing where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seatrial.check.budget import Budget, Progress


@contextmanager
def budget(seconds: float) -> Iterator[Budget]:
    """The budget of a check that may take so long. The line is wiped away when the check ends, or is interrupted."""
    from seatrial.check.budget import Budget

    started = time.monotonic()
    shown = False

    def tell(progress: Progress) -> None:
        nonlocal shown
        shown = True
        took = time.monotonic() - started
        text = (
            f"{progress.subject}: {progress.states:,} states, {progress.waiting:,} waiting; {took:.0f} s of {seconds:g}"
        )
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    try:
        yield Budget(until=started + seconds, clock=time.monotonic, tell=tell if sys.stderr.isatty() else None)
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
