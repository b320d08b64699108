"""The properties of probes, in time.

`probe/startup-time`: no probe kills a container while its start takes no longer than the files allow (`startuptime`).
`probe/cascade`: no container is killed because something else went away: a liveness probe that asks for a dependency
restarts all replicas when the dependency is gone, and again while it comes back.

Both explore the life cycle of a pod with the one container (`podtime`): what its probes find is left open as far as the
assumptions do. Probes of one container do not concern another, so each is looked at by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from seatrial.check import explore, machines, story
from seatrial.check.properties import Parameter, Property, Question
from seatrial.check.reading import dependencies, startuptime
from seatrial.check.reading.dependencies import Edge, Means
from seatrial.check.reading.templates import Template, templates
from seatrial.check.runs.podtime import Answer as Found
from seatrial.check.runs.podtime import Label, Moment, PodTime
from seatrial.check.system import Path, Place
from seatrial.check.verdicts import Answer, Covered, Step, Verdict
from seatrial.control.lifecycle.facts import ProbeOutcome
from seatrial.kube.objects import Container, Pod, Probe

STARTUP: Final = "probe/startup-time"
CASCADE: Final = "probe/cascade"
PROPERTIES = (
    Property(
        name=STARTUP,
        asks="does every container that starts within the time that the files allow come up before a probe kills it?",
        formally="every run in which each start takes at most the allowed time satisfies F (the container serves)",
        premise="a container has a liveness or startup probe",
        sometimes="some run reaches a container that serves",
    ),
    Property(
        name=CASCADE,
        asks="do containers live on while something that they depend on is away?",
        formally="no reachable state in which a container that served is stopped for a probe that asks somebody else",
        premise="a container has a liveness probe",
        sometimes="some run reaches a container that serves",
    ),
)
ASSUMPTIONS: dict[str, str | Parameter] = {
    "start/ordinary": Parameter(5, "where the files say nothing else a process serves {value} s after its start"),
    "start/java": Parameter(30, "a Java virtual machine serves {value} s after its start"),
    "start/as-files-say": "a container may take as long to start as its files say, every time",
    "probe/own-health": "a liveness path that is not called after readiness or a dependency asks for the process alone",
    "dependency/away": Parameter(120, "what a container depends on is away for {value} s at times"),
}
_READINESS: Final = re.compile(r"(?:^|[/_.-])read(?:y|iness)", re.IGNORECASE)
_DEPENDENCY: Final = re.compile(
    r"(?:^|[/_.-])(?:db|database|redis|dependenc(?:y|ies)|deps)(?:$|[/_.?-])", re.IGNORECASE
)
_ACTORS: Final = {"node": "Node", "time": "Time", "environment": "Node"}


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    pods = templates(question.system)
    edges = dependencies.edges(question.system) if CASCADE in wanted else ()
    for template in pods:
        if STARTUP in wanted:
            verdicts += _startup(question, template)
        if CASCADE in wanted:
            verdicts += _cascade(question, template, pods, edges)
    return verdicts


def _probed(template: Template) -> Iterator[tuple[Path, Container]]:
    for where, container, ends in template.containers():
        if not ends and (container.liveness_probe is not None or container.startup_probe is not None):
            yield where, container


def _alone(template: Template, container: Container) -> Pod:
    """A pod of the template with this container only."""
    plain = msgspec.structs.replace(container, restart_policy="", lifecycle=None)
    spec = msgspec.structs.replace(template.spec, init_containers=(), containers=(plain,), volumes=())
    return Pod(metadata=msgspec.structs.replace(Pod().metadata, name="pod", namespace=template.namespace), spec=spec)


def _minor(question: Question) -> int:
    return int(question.system.version.split(".")[1])


# --- starts ---


def _startup(question: Question, template: Template) -> Iterator[Verdict]:
    states = transitions = 0
    told: list[str] = []
    assumed: dict[str, None] = {}
    unknown = ""
    for where, container in _probed(template):
        ordinary, java = (_seconds(question, name) for name in ("start/ordinary", "start/java"))
        allowed = startuptime.allowed(container, ordinary, java)
        assumed |= dict.fromkeys(_names(question, allowed))
        model = PodTime(
            _alone(template, container),
            lambda _, age_s, up, limit=allowed.seconds: _starting(age_s, up, limit),  # type: ignore[misc]
            lambda moment, name=container.name: name in moment.up,  # type: ignore[misc]
            _minor(question),
        )
        graph = explore.explore(model, question.budget, max_states=question.max_states // 10)
        states, transitions = states + len(graph.edges), transitions + graph.transitions
        if not graph.complete:
            unknown = f"the budget ({graph.spent}) ran out for container {container.name}"
            continue
        endless = explore.misses(graph, lambda moment, name=container.name: name in moment.up)  # type: ignore[misc]
        if endless is not None:
            killer, patience = _killer(container)
            trace, loop = _story(template, model, graph, endless)
            yield Verdict(
                property=STARTUP,
                subject=str(template.key),
                verdict=Answer.REFUTED,
                message=f"container {container.name} never comes up: its {killer} probe kills it {patience} s after"
                f" each start, and {allowed.why}",
                places=_places(template, where, container, killer, allowed.paths),
                trace=trace,
                loop=loop,
                method="exploration",
                covered=Covered(states, transitions),
                assumptions=tuple(assumed),
            )
            return
        told.append(f"{container.name} ({allowed.seconds} s)")
    if not told and not unknown:
        return
    many = "s" if len(told) > 1 else ""
    yield Verdict(
        property=STARTUP,
        subject=str(template.key),
        verdict=Answer.UNKNOWN if unknown else Answer.PROVED,
        message=unknown or f"no probe kills a start that takes the allowed time of container{many} {', '.join(told)}",
        method="exploration",
        covered=Covered(states, transitions),
        assumptions=tuple(assumed),
    )


def _seconds(question: Question, name: str) -> int:
    parameter = ASSUMPTIONS[name]
    assert isinstance(parameter, Parameter)
    return int(question.assumed(name, parameter))


def _names(question: Question, allowed: startuptime.Allowed) -> tuple[str, ...]:
    if not allowed.assumption:
        return ("start/as-files-say",)
    return (f"{allowed.assumption}={_seconds(question, allowed.assumption)}",)


def _starting(age_s: float, up: bool, limit_s: int) -> Sequence[Found]:
    serves = Found("comes up", ProbeOutcome.SUCCESS, up=True)
    if up or age_s >= limit_s:
        return (serves,)
    return (Found("still starts", ProbeOutcome.FAILURE, up=False), serves)


def _killer(container: Container) -> tuple[str, int]:
    """The probe that kills a container that does not come up, and how long after its start at the earliest."""
    kind, probe = "startup", container.startup_probe
    if probe is None:
        kind, probe = "liveness", container.liveness_probe
    assert probe is not None, "a container that is killed has a probe"
    return kind, probe.initial_delay_seconds + (probe.failure_threshold - 1) * probe.period_seconds


def _places(
    template: Template, where: Path, container: Container, kind: str, others: Sequence[Path]
) -> tuple[Place, ...]:
    field = f"{kind}Probe"
    names = ("initialDelaySeconds", "periodSeconds", "failureThreshold")
    paths = [(*where, field, name) for name in names]
    written = [path for path in paths if path in template.entry.positions] or [(*where, field)]
    evidence = [(*where, *path) for path in others] or []
    return tuple(template.entry.place(*path) for path in (*written, *evidence))


# --- dependencies ---


def _cascade(
    question: Question, template: Template, pods: tuple[Template, ...], edges: Sequence[Edge]
) -> Iterator[Verdict]:
    live = [(where, each) for where, each in _probed(template) if each.liveness_probe is not None]
    if not live:
        return
    own = [edge for edge in edges if edge.source.entry is template.entry]
    away_s = _seconds(question, "dependency/away")
    states = transitions = 0
    for where, container in live:
        asked = next((edge for edge in own if _asks(edge, container, pods)), None)
        if asked is None:
            asked = _by_path(container, own, pods)
        if asked is None:
            continue
        probe = container.liveness_probe
        assert probe is not None
        lasts = (probe.failure_threshold - 1) * probe.period_seconds < away_s
        model = PodTime(
            _alone(template, msgspec.structs.replace(container, startup_probe=None)),
            lambda _, __, up, fails=lasts: _away(up, fails),  # type: ignore[misc]
            lambda moment: "stops" in "".join(moment.happened),
            _minor(question),
        )
        graph = explore.explore(model, question.budget, max_states=question.max_states // 10)
        states, transitions = states + len(graph.edges), transitions + graph.transitions
        killed = next((n for n, each in enumerate(graph.states) if "stops" in "".join(each.happened)), None)
        if killed is None:
            continue
        path = ("livenessProbe", *_asked_at(asked, where, probe))
        yield Verdict(
            property=CASCADE,
            subject=str(template.key),
            verdict=Answer.REFUTED,
            message=f"when {asked.target} is away {_all(template)} restarted together: the liveness probe of"
            f" {container.name} asks for {asked.evidence}",
            places=tuple(dict.fromkeys((template.entry.place(*where, *path), asked.holder.place(*asked.path)))),
            trace=_going_away(template, asked, graph, killed),
            method="exploration",
            covered=Covered(states, transitions),
            assumptions=(f"dependency/away={away_s}",),
        )
        return
    yield Verdict(
        property=CASCADE,
        subject=str(template.key),
        verdict=Answer.PROVED,
        message="no liveness probe asks for anything but its own container, or each is patient enough",
        method="exploration" if states else "lookup",
        covered=Covered(states, transitions) if states else None,
        assumptions=("probe/own-health", f"dependency/away={away_s}"),
    )


def _all(template: Template) -> str:
    typed = template.entry.typed
    count = machines.replicas(typed) if isinstance(typed, machines.WORKLOADS) else 1
    return f"all {count} pods are" if count > 1 else "every pod is"


def _asks(edge: Edge, container: Container, pods: tuple[Template, ...]) -> bool:
    return edge.container == container.name and edge.probe == "liveness" and _elsewhere(edge, pods)


def _elsewhere(edge: Edge, pods: tuple[Template, ...]) -> bool:
    """Somebody else than the source's own pods stands behind the target."""
    return any(each.entry is not edge.source.entry for each in dependencies.backers(edge.target, pods))


def _by_path(container: Container, own: Sequence[Edge], pods: tuple[Template, ...]) -> Edge | None:
    """A dependency of the container, if the path of its liveness probe says that it asks for those."""
    probe = container.liveness_probe
    if probe is None or probe.http_get is None or probe.http_get.host:
        return None
    path = probe.http_get.path
    if not _READINESS.search(path) and not _DEPENDENCY.search(path):
        return None
    return next(
        (e for e in own if e.container == container.name and e.means is Means.USES and _elsewhere(e, pods)), None
    )


def _asked_at(edge: Edge, where: Path, probe: Probe) -> Path:
    if edge.probe == "liveness":
        return edge.path[len(where) + 1 :]
    return ("httpGet", "path") if probe.http_get is not None else ()


def _away(up: bool, fails: bool) -> Sequence[Found]:
    serves = Found("serves", ProbeOutcome.SUCCESS, up=True)
    return (serves, Found("is away", ProbeOutcome.FAILURE, up=True)) if up and fails else (serves,)


# --- stories ---


def _story(
    template: Template, model: PodTime, graph: explore.Graph[Moment, Label], endless: explore.Endless
) -> tuple[tuple[Step, ...], int | None]:
    """The first start, how often it is repeated on the way, and the circle of the last one."""
    path = graph.trace(endless.entry)
    around = story.round_trip(graph, endless) if len(endless.component) > 1 else []
    moments = [graph.states[number] for number in path]
    first = next((n for n, moment in enumerate(moments) if _kills(moment)), len(moments) - 1)
    steps = [Step("User", f"applies {template.key}"), *_steps(moments[1 : first + 1])]
    repeated = sum(map(_kills, moments)) - 1
    if repeated > 0:
        steps.append(Step("Node", f"the same again, {repeated} times, with longer and longer back-offs"))
    if not around:
        return tuple(steps), None
    loop = len(steps)
    return (*steps, *_steps([graph.states[number] for number in around])), loop


def _kills(moment: Moment) -> bool:
    return any(text.startswith("stops") for text in moment.happened)


def _steps(moments: Sequence[Moment]) -> list[Step]:
    """Time and what happens then as one step, what a probe finds again and again as one."""
    steps: list[Step] = []
    for text in (text for moment in moments for text in moment.happened):
        actor = "Time" if text.endswith(" pass") else "Node"
        if steps and steps[-1].actor == actor == "Time":
            total = int(steps[-1].action.split()[0]) + int(text.split()[0])
            steps[-1] = Step(actor, f"{total} s pass")
        elif "probe:" in text and len(steps) > 1 and steps[-1].actor == "Time" and "probe:" in steps[-2].action:
            steps.pop()
            steps[-1] = _said(steps[-1], f"{steps[-1].action}; {text}")
        elif steps and steps[-1].actor == actor and "probe:" in steps[-1].action and "probe:" in text:
            steps[-1] = _said(steps[-1], f"{steps[-1].action}; {text}")
        else:
            steps.append(Step(actor, text))
    return steps


def _said(step: Step, action: str) -> Step:
    return msgspec.structs.replace(step, action=action)


def _going_away(template: Template, asked: Edge, graph: explore.Graph[Moment, Any], killed: int) -> tuple[Step, ...]:
    moments = [graph.states[number] for number in graph.trace(killed)]
    gone = next((n for n, each in enumerate(moments) if any("failure" in text for text in each.happened)), len(moments))
    return (
        Step("User", f"applies {template.key}"),
        *_steps(moments[1:gone]),
        Step("Nobody", f"answers at {asked.target}: its pods are replaced, or their node is lost"),
        *_steps(moments[gone:]),
    )
