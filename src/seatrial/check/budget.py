"""How far the checker looks before it says that it does not know.

States and memory are counted, not measured: the same input is given up at the same place on every machine. Seconds are
those of a clock that is handed in, for nothing here may read one; without a clock time is no limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

STATE_BYTES: Final = 300
NUMBER_BYTES: Final = 22
TRANSITION_BYTES: Final = 110
"""What a state, each number of an object in it and a transition take, with all that is remembered because of them:
fitted from above to the resident memory of rollouts of 8 to 200 pods (`./dev bench explorer` shows one)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an exploration has come."""

    subject: str
    states: int
    waiting: int
    """States that were found and not yet looked at."""
    transitions: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What one exploration may use; `until` is a moment of the clock, and shared by all that are given it.

    `tell` is called about once a second.
    """

    states: int = 200_000
    memory_bytes: int = 250_000_000
    until: float | None = None
    clock: Callable[[], float] | None = None
    tell: Callable[[Progress], None] | None = None
    subject: str = ""
    """What is explored, for who is told."""

    def about(self, subject: str) -> Budget:
        return replace(self, subject=subject)

    def share(self, part: int) -> Budget:
        """A part of the states and the memory."""
        return replace(self, states=self.states // part, memory_bytes=self.memory_bytes // part)


ORDINARY: Final = Budget()
