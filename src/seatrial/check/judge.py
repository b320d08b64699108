"""Asking every property about a system and gathering the report."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from seatrial.check import machines
from seatrial.check.properties import FAMILIES, Question, family
from seatrial.check.system import System
from seatrial.check.verdicts import Assumption, Report, Verdict

NAMES = tuple(name for names in FAMILIES.values() for name in names)


def matching(pattern: str) -> tuple[str, ...]:
    """The properties that a shell pattern names."""
    return tuple(name for name in NAMES if fnmatchcase(name, pattern))


def judge(system: System, only: Sequence[str] = ("*",), *, max_states: int = 60_000) -> Report:
    """The report on all properties whose name matches one of `only` (shell patterns)."""
    wanted = frozenset(name for pattern in only for name in matching(pattern))
    nodes, where = machines.inventory(system)
    question = Question(system, nodes, where, max_states)
    verdicts: list[Verdict] = []
    texts: dict[str, str] = {}
    for name, answered in FAMILIES.items():
        if wanted.intersection(answered):
            asked = family(name)
            verdicts += asked.check(question, wanted)
            texts.update(asked.ASSUMPTIONS)
    used = dict.fromkeys(name for verdict in verdicts for name in verdict.assumptions)
    assumptions = tuple(where if name == where.name else Assumption(name, "default", texts[name]) for name in used)
    return Report(kubernetes=system.version, verdicts=tuple(verdicts), assumptions=assumptions)
