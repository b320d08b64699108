"""`stop/graceful`: a pod that is taken away gets to end its hooks and its requests.

Asked of pods that a Service sends requests to. A deleted pod is handed to its life cycle (`lifecycle.sync`), which says
for how long each container may take; its preStop hook, as far as the file says how long that is, has to be over before,
or the container is killed in the middle of it, never having heard the stop signal. Without any grace it is killed at
once, with the requests that it holds.

How long a hook should wait until nobody sends requests any more is a matter of degree: endpoints are taken off within
seconds, and most servers serve on after the signal for as long (`stop/serves-on`). Only what is wrong for certain is
told.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import msgspec

from seatrial.check.model.pool import LONG_AGO, NOW
from seatrial.check.properties import Property, Question
from seatrial.check.reading import commands, startuptime
from seatrial.check.reading.templates import Template, behind, templates
from seatrial.check.system import Path
from seatrial.check.verdicts import Answer, Step, Verdict
from seatrial.control.lifecycle import sync
from seatrial.control.lifecycle.facts import (
    ContainerFact,
    ContainerPhase,
    PodFacts,
    RunPreStop,
    SandboxFact,
    StopContainer,
)
from seatrial.control.lifecycle.pods import grace_s
from seatrial.kube.objects import Container, Pod

GRACEFUL: Final = "stop/graceful"
PROPERTIES = (
    Property(
        name=GRACEFUL,
        asks="does a pod that is taken away get to end its hooks and its requests?",
        formally="in every run in which a pod is deleted: each container's hook is over, and its stop signal sent,"
        " before it is killed",
        premise="a Service sends requests to the pods of a template",
        sometimes="a container is told to stop",
    ),
)
_GRACE: Final = "terminationGracePeriodSeconds"
_LONGEST: Final = 10**9
"""Seconds; calendars end where years do."""
ASSUMPTIONS = {
    "stop/serves-on": "a container that is told to stop serves on until nobody sends to it any more: some seconds",
    "stop/hooks-short": "a preStop hook of which the file does not say how long it takes is over in time",
}


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    if GRACEFUL not in wanted:
        return []
    pods = templates(question.system)
    services = question.system.of("Service")
    minor = int(question.system.version.split(".")[1])
    serving = {id(each) for service in services for each in behind(service, pods)}
    return [verdict for each in pods if id(each) in serving for verdict in _template(each, minor)]


def _template(template: Template, minor: int) -> Iterator[Verdict]:
    given_s = grace_s(Pod(spec=template.spec))
    if given_s == 0:
        yield _refuted(
            template,
            f"when a pod is taken away its containers are killed at once ({_GRACE}: 0), and their requests cut off",
            ((*template.path, _GRACE),),
            (Step("Node", "kills the containers at once; requests that they hold are cut off"),),
        )
        return
    told: list[str] = []
    for name, left_s in _stops(template, minor):
        where, container = next((w, c) for w, c, _ in template.containers() if c.name == name)
        takes = _hook_s(container)
        told.append(name)
        if takes is None or takes[0] < left_s:
            continue
        seconds, path = takes
        yield _refuted(
            template,
            f"container {name} is killed in the middle of its preStop hook, which takes {seconds} s: the pod is given"
            f" {left_s} s, and the stop signal comes too late to be heeded",
            ((*where, "lifecycle", "preStop", *path), (*template.path, _GRACE)),
            (
                Step("Node", f"runs the preStop hook of {name}"),
                Step("Time", f"{left_s} s pass"),
                Step("Node", f"cuts the hook off, sends the stop signal, and kills {name} two seconds later"),
            ),
        )
        return
    if told:
        yield Verdict(
            property=GRACEFUL,
            subject=str(template.key),
            verdict=Answer.PROVED,
            message=f"within {given_s} s every hook is over and every container has heard that it is to stop",
            method="run",
            assumptions=("stop/serves-on", "stop/hooks-short"),
        )
    else:
        yield Verdict(
            property=GRACEFUL,
            subject=str(template.key),
            verdict=Answer.UNKNOWN,
            message="no container was seen to be stopped",
            method="run",
        )


def _stops(template: Template, minor: int) -> Iterator[tuple[str, int]]:
    """The containers that are told to stop when a pod is deleted, or whose hooks begin, and the time each is given."""
    spec = msgspec.structs.replace(template.spec, node_name="node", volumes=())
    meta = msgspec.structs.replace(
        Pod().metadata,
        name="pod",
        namespace=template.namespace,
        uid="pod",
        deletion_timestamp=NOW + timedelta(seconds=min(grace_s(Pod(spec=spec)), _LONGEST)),
        deletion_grace_period_seconds=grace_s(Pod(spec=spec)),
    )
    pod = Pod(metadata=meta, spec=spec)
    containers = tuple(
        ContainerFact(each.name, 0, ContainerPhase.EXITED if ends else ContainerPhase.RUNNING, started_at=LONG_AGO)
        for _, each, ends in template.containers()
    )
    facts = PodFacts(sandbox=SandboxFact("10.0.0.1", "10.0.0.2", LONG_AGO), containers=containers)
    for action in sync(pod, facts, NOW, minor=minor).actions:
        if isinstance(action, StopContainer | RunPreStop):
            yield action.name, action.grace_s


def _hook_s(container: Container) -> tuple[int, Path] | None:
    """For how long the preStop hook takes for certain, and the field below it that says so."""
    hook = container.lifecycle.pre_stop if container.lifecycle is not None else None
    if hook is None:
        return None
    if hook.sleep is not None:
        return hook.sleep.seconds, ("sleep", "seconds")
    if hook.exec is None:
        return None
    total, at = 0, 0
    for call in commands.calls(hook.exec.command, {}):
        if call.program == "sleep" and call.words and not call.waits:
            total, at = total + (startuptime.duration(call.words[0]) or 0), call.argument
    return (total, ("exec", "command", at)) if total else None


def _refuted(template: Template, message: str, paths: tuple[Path, ...], steps: tuple[Step, ...]) -> Verdict:
    begins = Step("User", f"rolls {template.key} out, or drains a node: one of its pods is deleted")
    return Verdict(
        property=GRACEFUL,
        subject=str(template.key),
        verdict=Answer.REFUTED,
        message=message,
        places=tuple(dict.fromkeys(template.entry.place(*path) for path in paths)),
        trace=(begins, *steps),
        method="run",
        assumptions=("stop/serves-on",),
    )
