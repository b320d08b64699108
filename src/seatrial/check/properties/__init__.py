"""The properties: each module offers `check(question) -> list[Verdict]`; `PROPERTIES` lists them by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from seatrial.check.system import System
from seatrial.check.verdicts import Assumption, Verdict
from seatrial.kube.objects import Node


@dataclass(frozen=True, slots=True)
class Question:
    """What a property is asked about."""

    system: System
    nodes: tuple[Node, ...]
    machines: Assumption
    max_states: int = 60_000
    outcomes: dict[tuple[bytes, ...], bool] = field(default_factory=dict, compare=False, repr=False)
    """Whether rollouts that were explored hold, by what they were explored on: repairs ask about the same ones."""


Property = Callable[[Question], list[Verdict]]
