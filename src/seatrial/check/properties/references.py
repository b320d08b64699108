"""`references/exist`: every name, key, port and selector of an object leads to something.

What refers to what is a table (`check/references/edges.py`). An answer is one of three: it leads somewhere; it dangles,
which is one verdict with its place, the consequence and what was probably meant; or it is something that others usually
bring (a Secret from a vault, a class of the platform, a CustomResourceDefinition), which is listed as expected from
outside and refuted only if the input is said to be closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from seatrial.check.properties import Property, Question
from seatrial.check.references import definitions, inventory, names, selections, within
from seatrial.check.references.found import Found, Outside
from seatrial.check.system import System
from seatrial.check.verdicts import Answer, Expectation, Verdict

NAME = "references/exist"
PROPERTIES = (
    Property(
        name=NAME,
        asks="does every name, key, port and selector lead to something?",
        formally=(
            "for every reference (from, field, to) that is required: `to` is in the input, made by the cluster or by"
            " another object, or of a kind that is provided from outside and nothing in the input is called nearly so"
        ),
        premise="always",
        sometimes="the input has an object",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {}


def look(question: Question) -> Found:
    """Every reference of the system, looked up once for all who ask about the same system."""
    known: tuple[System, Found] | None = question.known.get(Found)
    if known is not None and known[0] is question.system:
        return known[1]
    entries = question.system.entries
    found = Found(inventory.take(question.system, question.context))
    definitions.look(found, entries)
    names.look(found, entries)
    selections.look(found, entries)
    within.look(found, entries)
    question.known[Found] = (question.system, found)
    return found


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    found = look(question)
    verdicts = [
        Verdict(
            property=NAME,
            subject=str(defect.entry.key),
            verdict=Answer.REFUTED,
            message=defect.message,
            places=defect.places,
            method="lookup",
        )
        for defect in found.defects
    ]
    if question.closed:
        verdicts += [
            Verdict(
                property=NAME,
                subject=str(each.entry.key),
                verdict=Answer.REFUTED,
                message=f"{each.then}: {each.what} is not in the input, which is closed",
                places=(each.place,),
                method="lookup",
            )
            for each in found.outside
        ]
    if verdicts:
        return verdicts
    outside = len({each.what for each in found.outside})
    rest = f"; {outside} {'is' if outside == 1 else 'are'} expected from outside" if outside else ""
    return [
        Verdict(
            property=NAME,
            subject="system",
            verdict=Answer.PROVED,
            message=f"every reference of the {len(question.system.entries)} objects leads to something{rest}",
            method="lookup",
        )
    ]


def expected(question: Question) -> tuple[Expectation, ...]:
    """What the input needs and does not have, and who usually brings it."""
    return () if question.closed else tuple(_gathered(look(question).outside))


def _gathered(outside: Iterable[Outside]) -> list[Expectation]:
    by_what: dict[str, list[Outside]] = {}
    for each in outside:
        by_what.setdefault(each.what, []).append(each)
    return [
        Expectation(
            what=what,
            by=several[0].by,
            otherwise=several[0].then,
            places=tuple(dict.fromkeys(each.place for each in several)),
        )
        for what, several in sorted(by_what.items())
    ]
