"""The properties: each module offers `check(question) -> list[Verdict]`; `PROPERTIES` lists them by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


Property = Callable[[Question], list[Verdict]]
