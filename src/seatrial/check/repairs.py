"""The search for repairs: edits that a person would make, each checked again.

Edits are proposed by what the fields in conflict are (`candidates`): a few, the smallest first. An edit is a repair
if what was refuted is not refuted with it, and everything that fails then failed before as well. It is told as proved
if nothing fails any more. The fields that a repair changes are fields in conflict: changing them alone cures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import msgspec

from seatrial.check import edits
from seatrial.check.budget import Budget
from seatrial.check.edits import REMOVED, Change, Changes
from seatrial.check.properties import Question
from seatrial.check.system import Path, Place
from seatrial.check.verdicts import Answer, Edit, Repair, Verdict

MOST_TRIED: Final = 24
"""Edits that are checked again for one verdict."""
MOST_SECONDS: Final = 5.0
"""What the search may take after the verdicts are there, if there is a clock."""
MOST_WORK: Final = 4_000
"""Objects and pods that are judged again in one search: each edit asks about all of the system."""

Ask = Callable[[Question, frozenset[str]], list[Verdict]]
Propose = Callable[[Question, Verdict], Iterable[Changes]]


@dataclass(frozen=True, slots=True)
class Cure:
    """Changes that cure a verdict, and how the system as a whole stands with them."""

    changes: Changes
    answer: Answer


class Search:
    """Looks among proposed edits for cures. `ask` gives the verdicts on some properties, `everything` are all."""

    def __init__(self, question: Question, ask: Ask, everything: frozenset[str], propose: Propose) -> None:
        self._question = question
        self._propose = propose
        self._ask = ask
        self._everything = everything
        from seatrial.check import machines

        workloads = (entry.typed for entry in question.system.entries if isinstance(entry.typed, machines.WORKLOADS))
        pods = sum(machines.replicas(workload) for workload in workloads)
        self._left = MOST_WORK // max(1, len(question.system.entries) + pods)
        budget = question.budget
        self._budget = budget.share(4)
        if budget.clock is not None:
            soon = budget.clock() + MOST_SECONDS
            self._budget = replace(self._budget, until=soon if budget.until is None else min(soon, budget.until))
        self._failing_before: frozenset[str] | None = None

    def cures(self, verdict: Verdict) -> list[Cure]:
        found: list[Cure] = []
        settled: set[tuple[tuple[int, Path], ...]] = set()
        for changes in islice(self._propose(self._question, verdict), max(0, min(MOST_TRIED, self._left))):
            fields = tuple((id(change.entry), change.path) for change in changes)
            if fields in settled or self._over():
                continue
            self._left -= 1
            answer = self._try(verdict, changes)
            if answer is not None:
                found.append(Cure(changes, answer))
            if answer is Answer.PROVED:
                settled.add(fields)  # one value for a field is enough
        return found

    def _try(self, verdict: Verdict, changes: Changes) -> Answer | None:
        """How the system stands with the changes; None if they cure nothing or break something else."""
        changed = _changed(self._question, changes, self._budget)
        if changed is None or verdict.identity() in _failing(self._ask(changed, frozenset((verdict.property,)))):
            return None
        failing = _failing(self._ask(changed, self._everything))
        if not failing:
            return Answer.PROVED
        if self._failing_before is None:
            self._failing_before = _failing(self._ask(self._question, self._everything))
        return Answer.REFUTED if failing < self._failing_before else None

    def _over(self) -> bool:
        until, clock = self._budget.until, self._budget.clock
        return until is not None and clock is not None and clock() > until


def told(verdict: Verdict, cures: Sequence[Cure]) -> Verdict:
    """The verdict with its repairs, and with the fields that cure it among its places."""
    repairs = tuple(Repair(tuple(_edit(change) for change in cure.changes), cure.answer) for cure in cures)
    found = dict.fromkeys((*verdict.places, *(_place(change) for cure in cures for change in cure.changes)))
    # `spec` says nothing beside `spec.replicas`.
    places = (a for a in found if not any(b.file == a.file and b.path.startswith(f"{a.path}.") for b in found))
    return msgspec.structs.replace(verdict, repairs=repairs, fingerprint=verdict.identity(), places=tuple(places))


def _changed(question: Question, changes: Changes, budget: Budget) -> Question | None:
    """The question about the edited system. Inferred machines are inferred again, as they will be."""
    system = edits.applied(question.system, changes)
    if system is None:
        return None
    from seatrial.check import machines  # with the scheduler, which most checks of files need no answer of

    nodes, where = machines.inventory(system)
    return replace(question, system=system, nodes=nodes, machines=where, budget=budget)


def _failing(verdicts: Sequence[Verdict]) -> frozenset[str]:
    return frozenset(verdict.identity() for verdict in verdicts if verdict.verdict is not Answer.PROVED)


def _place(change: Change) -> Place:
    if not change.path:
        return replace(change.entry.place(), path=f"(one more {change.entry.key.kind})")
    return change.entry.place(*change.path)


def _edit(change: Change) -> Edit:
    place = _place(change)
    to = "+1" if not change.path else None if change.value is REMOVED else change.value
    return Edit(place.file, place.line, place.path, to)
