"""The search for repairs: edits that a person would make, each checked again.

Which edits are tried for a property says its family (`candidates`): a few, the smallest first. An edit is a repair if
what was refuted is not refuted with it, and everything that fails then failed before as well. It is told as proved if
nothing fails any more. The fields that a repair changes are fields in conflict: changing them alone cures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from seatrial.check import edits, machines
from seatrial.check.edits import REMOVED, Change, Changes
from seatrial.check.properties import Question
from seatrial.check.system import Place
from seatrial.check.verdicts import Answer, Edit, Repair, Verdict

MOST_TRIED = 24
"""Edits that are checked again for one verdict; families name the likeliest first."""

Ask = Callable[[Question, frozenset[str]], list[Verdict]]


@dataclass(frozen=True, slots=True)
class Cure:
    """Changes that cure a verdict, and how the system as a whole stands with them."""

    changes: Changes
    answer: Answer


def search(
    question: Question, verdict: Verdict, candidates: Iterable[Changes], ask: Ask, everything: frozenset[str]
) -> list[Cure]:
    """The candidates that cure the verdict. `ask` gives the verdicts on some properties, `everything` are all."""
    cures: list[Cure] = []
    before: frozenset[str] | None = None
    for number, changes in enumerate(candidates):
        if number == MOST_TRIED:
            break
        changed = _changed(question, changes)
        if changed is None or verdict.identity() in _failing(ask(changed, frozenset((verdict.property,)))):
            continue
        failing = _failing(ask(changed, everything))
        if failing:
            if before is None:
                before = _failing(ask(question, everything))
            if not failing < before:
                continue
        cures.append(Cure(changes, Answer.REFUTED if failing else Answer.PROVED))
    return cures


def told(verdict: Verdict, cures: Sequence[Cure]) -> Verdict:
    """The verdict with its repairs, and with the fields that cure it among its places."""
    repairs = tuple(Repair(tuple(_edit(change) for change in cure.changes), cure.answer) for cure in cures)
    found = dict.fromkeys((*verdict.places, *(_place(change) for cure in cures for change in cure.changes)))
    # `spec` says nothing beside `spec.replicas`.
    places = (a for a in found if not any(b.file == a.file and b.path.startswith(f"{a.path}.") for b in found))
    return msgspec.structs.replace(verdict, repairs=repairs, fingerprint=verdict.identity(), places=tuple(places))


def _changed(question: Question, changes: Changes) -> Question | None:
    """The question about the edited system. Inferred machines are inferred again, as they will be."""
    system = edits.applied(question.system, changes)
    if system is None:
        return None
    nodes, where = machines.inventory(system)
    return replace(question, system=system, nodes=nodes, machines=where, budget=question.budget.share(4))


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
