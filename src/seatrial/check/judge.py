"""Asking every property about a system and gathering the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from seatrial.check import machines
from seatrial.check.properties import FAMILIES, Parameter, Question, Value, family
from seatrial.check.system import System
from seatrial.check.verdicts import Assumption, Report, Verdict

NAMES = tuple(name for names in FAMILIES.values() for name in names)


def matching(pattern: str) -> tuple[str, ...]:
    """The properties that a shell pattern names."""
    return tuple(name for name in NAMES if fnmatchcase(name, pattern))


def parameters() -> dict[str, Parameter]:
    """The assumptions that a user may set, by name."""
    known = (item for name in FAMILIES for item in family(name).ASSUMPTIONS.items())
    return {name: meaning for name, meaning in known if isinstance(meaning, Parameter)}


def judge(
    system: System,
    only: Sequence[str] = ("*",),
    *,
    max_states: int = 60_000,
    given: Mapping[str, Value] | None = None,
) -> Report:
    """The report on all properties whose name matches one of `only` (shell patterns); `given` are assumptions."""
    wanted = frozenset(name for pattern in only for name in matching(pattern))
    nodes, where = machines.inventory(system)
    question = Question(system, nodes, where, max_states, given or {})
    verdicts: list[Verdict] = []
    texts: dict[str, str | Parameter] = {}
    for name, answered in FAMILIES.items():
        if wanted.intersection(answered):
            asked = family(name)
            verdicts += asked.check(question, wanted)
            texts.update(asked.ASSUMPTIONS)
    used = dict.fromkeys(name for verdict in verdicts for name in verdict.assumptions)
    assumptions = tuple(where if name == where.name else _told(name, texts, question.given) for name in used)
    return Report(kubernetes=system.version, verdicts=tuple(verdicts), assumptions=assumptions)


def _told(name: str, texts: Mapping[str, str | Parameter], given: Mapping[str, Value]) -> Assumption:
    base, _, value = name.rpartition("=")
    meaning = texts.get(name) or texts[base]
    if isinstance(meaning, Parameter):
        return Assumption(name, "given" if base in given else "default", meaning.text.format(value=value))
    return Assumption(name, "default", meaning)
