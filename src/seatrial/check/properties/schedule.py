"""`schedule/fits`: every pod of the steady state finds a node."""

from __future__ import annotations

from seatrial.check import machines
from seatrial.check.properties import Question
from seatrial.check.verdicts import Answer, Verdict

NAME = "schedule/fits"


def check(question: Question) -> list[Verdict]:
    bound, misfits = machines.place(question.system, question.nodes)
    assumptions = (question.machines.name, "order/as-written")
    if not misfits:
        message = f"all {len(bound)} pods find a place on {len(question.nodes)} node{'s' * (len(question.nodes) > 1)}"
        return [
            Verdict(
                property=NAME,
                subject="system",
                verdict=Answer.PROVED,
                message=message,
                method="simulation",
                assumptions=assumptions,
            )
        ]
    verdicts = []
    for misfit in misfits:
        entry = next((e for e in question.system.entries if str(e.key) == misfit.owner), None)
        verdicts.append(
            Verdict(
                property=NAME,
                subject=misfit.owner,
                verdict=Answer.REFUTED,
                message=f"pod {misfit.index + 1} finds no node: {misfit.message}",
                places=(entry.place("spec", "replicas"),) if entry else (),
                method="simulation",
                assumptions=assumptions,
            )
        )
    return verdicts
