"""`schedule/fits`: every pod finds a node, for every number of replicas up to what an autoscaler may ask for."""

from __future__ import annotations

from collections.abc import Mapping

from seatrial.check import machines
from seatrial.check.properties import Property, Question
from seatrial.check.verdicts import Answer, Verdict

NAME = "schedule/fits"
PROPERTIES = (
    Property(
        name=NAME,
        asks="does every pod find a node, for every number of replicas up to what an autoscaler may ask for?",
        formally="place(pods(system, r)) is total for every r with replicas <= r <= maxReplicas",
        premise="always",
        sometimes="the system has a pod",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {"order/as-written": "the pods are scheduled in the order of the files"}


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    bound, misfits = machines.place(question.system, question.nodes, scaled=True)
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
        key = misfit.owner if misfit.autoscaler is None else str(misfit.autoscaler)
        entry = next((e for e in question.system.entries if str(e.key) == key), None)
        field = "replicas" if misfit.autoscaler is None else "maxReplicas"
        asked = "" if misfit.autoscaler is None else f", for which {misfit.autoscaler} may ask,"
        verdicts.append(
            Verdict(
                property=NAME,
                subject=misfit.owner,
                verdict=Answer.REFUTED,
                message=f"pod {misfit.index + 1}{asked} finds no node: {misfit.message}",
                places=(entry.place("spec", field),) if entry else (),
                method="simulation",
                assumptions=assumptions,
            )
        )
    return verdicts
