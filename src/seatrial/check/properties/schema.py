"""`schema/valid`: the API server of the version asked for would take every object as it is written."""

from __future__ import annotations

from seatrial.check.properties import Question
from seatrial.check.system import Place
from seatrial.check.verdicts import Answer, Verdict
from seatrial.kube import schemas

NAME = "schema/valid"


def check(question: Question) -> list[Verdict]:
    system = question.system
    known = schemas.load(system.version)
    verdicts = [_refuted(finding.place.path or "input", finding.message, finding.place) for finding in system.findings]
    for entry in system.entries:
        for problem in schemas.validate(entry.written, known):
            verdicts.append(_refuted(str(entry.key), problem.message, entry.place(*problem.path)))
    if verdicts:
        return verdicts
    message = f"the {len(system.entries)} objects follow the schemas of Kubernetes {system.version}"
    return [
        Verdict(property=NAME, subject="system", verdict=Answer.PROVED, message=message, method="schema validation")
    ]


def _refuted(subject: str, message: str, place: Place) -> Verdict:
    return Verdict(
        property=NAME,
        subject=subject,
        verdict=Answer.REFUTED,
        message=message,
        places=(place,),
        method="schema validation",
    )
