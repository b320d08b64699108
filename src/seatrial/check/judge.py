"""Asking every property about a system and gathering the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from seatrial.check import candidates, repairs
from seatrial.check.budget import ORDINARY, Budget
from seatrial.check.edits import Changes
from seatrial.check.properties import FAMILIES, STATIC, Parameter, Question, Value, family, references
from seatrial.check.repairs import Cure
from seatrial.check.system import System
from seatrial.check.verdicts import Answer, Assumption, Report, Verdict
from seatrial.kube.objects import JsonObject, Node

if TYPE_CHECKING:
    from seatrial.check.story import Run

_OF_THE_FILES = Assumption("nodes", "given", "machines are those of the files")
NAMES = tuple(name for names in FAMILIES.values() for name in names)


def matching(pattern: str) -> tuple[str, ...]:
    """The properties that a shell pattern names."""
    return tuple(name for name in NAMES if fnmatchcase(name, pattern))


def parameters() -> dict[str, Parameter]:
    """The assumptions that a user may set, by name."""
    known = (item for name in FAMILIES for item in family(name).ASSUMPTIONS.items())
    return {name: meaning for name, meaning in known if isinstance(meaning, Parameter)}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The report, and for each of its verdicts the changes that cure it."""

    report: Report
    cures: tuple[tuple[Cure, ...], ...]
    runs: Mapping[tuple[str, str], Run]
    """The moves of each counterexample that is a run, by property and subject."""


def judge(
    system: System,
    only: Sequence[str] = ("*",),
    *,
    budget: Budget = ORDINARY,
    closed: bool = False,
    context: Sequence[JsonObject] = (),
) -> Report:
    """The report on all properties whose name matches one of `only` (shell patterns)."""
    return judgement(system, only, budget=budget, closed=closed, context=context).report


def judgement(
    system: System,
    only: Sequence[str] = ("*",),
    *,
    budget: Budget = ORDINARY,
    given: Mapping[str, Value] | None = None,
    closed: bool = False,
    context: Sequence[JsonObject] = (),
    repairing: bool = True,
) -> Judgement:
    """The report and the changes that cure what is refuted; `given` are assumptions by name.

    `context` are objects that are known to be there besides the system; `closed` says that nothing else is. Without
    `repairing` no cures are looked for, which can take longer than the verdicts.
    """
    wanted = frozenset(name for pattern in only for name in matching(pattern))
    nodes, where = _machines(system, wanted)
    question = Question(system, nodes, where, budget, given or {}, closed=closed, context=tuple(context))
    asked = ask(question, wanted)
    runs = dict(question.runs)  # of the system as it is: the search for repairs asks about others
    search = None
    verdicts = []
    cures = []
    for verdict in asked:
        found: list[Cure] = []
        if repairing and verdict.verdict is Answer.REFUTED:
            search = search or repairs.Search(_with_machines(question), ask, frozenset(NAMES), _proposed)
            found = search.cures(verdict)
        verdicts.append(repairs.told(verdict, found))
        cures.append(tuple(found))
    used = dict.fromkeys(name for verdict in verdicts for name in verdict.assumptions)
    texts: dict[str, str | Parameter] = {}
    for name, answered in FAMILIES.items():
        if wanted.intersection(answered):
            texts.update(family(name).ASSUMPTIONS)
    assumptions = tuple(where if name == where.name else _told(name, texts, question.given) for name in used)
    expects = references.expected(question) if references.NAME in wanted else ()
    report = Report(kubernetes=system.version, verdicts=tuple(verdicts), assumptions=assumptions, expects=expects)
    return Judgement(report, tuple(cures), runs)


def _machines(system: System, wanted: frozenset[str]) -> tuple[tuple[Node, ...], Assumption]:
    """The machines; who asks about the files only needs none but those that they have."""
    if wanted <= {name for family in STATIC for name in FAMILIES[family]}:
        return system.all(Node), _OF_THE_FILES
    from seatrial.check import machines

    return machines.inventory(system)


def _with_machines(question: Question) -> Question:
    """The question as repairs ask it, about every property."""
    if question.machines is not _OF_THE_FILES:
        return question
    nodes, where = _machines(question.system, frozenset(NAMES))
    return replace(question, nodes=nodes, machines=where)


def ask(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    """The verdicts on the properties wanted, without repairs."""
    asked = [family(name) for name, answered in FAMILIES.items() if wanted.intersection(answered)]
    return [verdict for each in asked for verdict in each.check(question, wanted)]


def _proposed(question: Question, verdict: Verdict) -> Iterator[Changes]:
    """What the family of the property knows to try, then what one does about the fields in conflict."""
    module = family(next(name for name, answered in FAMILIES.items() if verdict.property in answered))
    known: repairs.Propose | None = getattr(module, "candidates", None)
    if known is not None:
        yield from known(question, verdict)
    yield from candidates.of(question.system, verdict)


def _told(name: str, texts: Mapping[str, str | Parameter], given: Mapping[str, Value]) -> Assumption:
    base, _, value = name.rpartition("=")
    meaning = texts.get(name) or texts[base]
    if isinstance(meaning, Parameter):
        return Assumption(name, "given" if base in given else "default", meaning.text.format(value=value))
    return Assumption(name, "default", meaning)
