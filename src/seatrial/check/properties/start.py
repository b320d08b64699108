"""The properties of starts: from nothing, whoever is first.

`start/converges`: every pod of each workload gets ready.
`start/dependencies`: nobody waits for what can never come: a Service that no pod stands behind, or a circle.

Both are read off one run of the model (`starts`): a start only adds, so any order that ends shows how all end. Where
pods are left waiting, the edges that are not met make a graph; what has no target in it is unmet, what leads back is a
circle, and who only waits for one of these is told by `start/converges` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from seatrial.check.model.space import ABSENT, Effect, State
from seatrial.check.properties import Property, Question
from seatrial.check.reading import dependencies
from seatrial.check.reading.dependencies import Edge, Means, Need
from seatrial.check.reading.templates import Template, templates
from seatrial.check.runs import starts
from seatrial.check.system import Place
from seatrial.check.verdicts import Answer, Covered, Field, Step, Verdict
from seatrial.control.ownership import is_ready
from seatrial.kube.objects import DaemonSet, Pod, ReplicaSet, Service

CONVERGES: Final = "start/converges"
DEPENDENCIES: Final = "start/dependencies"
PROPERTIES = (
    Property(
        name=CONVERGES,
        asks="from nothing, does every pod of the workload get ready, whoever is first?",
        formally="every fair run from the empty cluster satisfies F (all wanted pods are ready or have succeeded)",
        premise="the system has an object that makes pods",
        sometimes="some pod gets ready",
    ),
    Property(
        name=DEPENDENCIES,
        asks="does everything that pods wait for before they are ready come sooner or later?",
        formally="for every edge (pod waits for target): every fair run from the empty cluster satisfies F target",
        premise="the system has an object that makes pods",
        sometimes="some wait is over, if there is one",
    ),
)
ASSUMPTIONS = {
    "containers/start": "containers start and pass probes as soon as what their commands wait for is there",
    "starts/uses": "what a container only names (in variables, configuration) it starts without",
    "starts/room": "pods find room and are admitted (schedule/fits, admission/possible)",
    "starts/outside": "hosts outside the input answer, and somebody stands behind Services without a selector",
    "starts/one-order": "a start only adds, so one order that ends shows how all end",
    f"starts/alike={starts.ALIKE}": f"of more than {starts.ALIKE} replicas {starts.ALIKE} are looked at",
}
LINKED: Final = 200
"""Beyond so many workloads that wait for each other a start takes minutes to follow."""
ALWAYS: Final = ("containers/start", "starts/uses", "starts/room", "starts/one-order")


@dataclass(slots=True)
class _Outcome:
    """How a group's start ended. `waiting`: by template number, what its pods lack."""

    group: starts.Group
    run: starts.Run
    ready: dict[int, int]
    waiting: dict[int, tuple[Edge, ...]]
    trace: tuple[Step, ...]

    @property
    def covered(self) -> Covered:
        moves = len(self.run.effects)
        return Covered(states=moves + 1, transitions=moves)


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    pods = templates(question.system)
    if not pods:
        return []
    edges = tuple(edge for edge in dependencies.edges(question.system) if edge.means is not Means.USES)
    outcomes = [_start(question, group) for group in _groups(question, pods, edges)]
    verdicts: list[Verdict] = []
    if CONVERGES in wanted:
        for outcome in outcomes:
            verdicts += (_converges(outcome, number) for number in range(len(outcome.group.templates)))
        order = {str(each.key): position for position, each in enumerate(pods)}
        verdicts.sort(key=lambda verdict: order[verdict.subject])
    if DEPENDENCIES in wanted:
        verdicts += _dependencies(outcomes, edges)
    return verdicts


def _groups(question: Question, pods: tuple[Template, ...], edges: tuple[Edge, ...]) -> Iterable[starts.Group]:
    """Templates that wait for each other belong together, and everybody else is alone."""
    leader = list(range(len(pods)))

    def find(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    position = {id(each.entry): number for number, each in enumerate(pods)}
    for edge in edges:
        for backer in dependencies.backers(edge.target, pods):
            leader[find(position[id(backer.entry)])] = find(position[id(edge.source.entry)])
    members: dict[int, list[int]] = {}
    for number in range(len(pods)):
        members.setdefault(find(number), []).append(number)
    minor = int(question.system.version.split(".")[1])
    services = question.system.all(Service)
    for numbers in members.values():
        chosen = tuple(pods[number] for number in numbers)
        own = tuple(edge for edge in edges if any(edge.source.entry is each.entry for each in chosen))
        daemons = any(isinstance(each.entry.typed, DaemonSet) for each in chosen)
        yield starts.Group(chosen, own, services, question.nodes if daemons else question.nodes[:1], minor)


def _start(question: Question, group: starts.Group) -> _Outcome:
    model = starts.model(group)
    budget = question.budget

    # A selector that does not match its own pods lets a controller create them without end. An ordinary start takes
    # about a dozen moves for each workload and for each pod.
    asked = sum(starts.wanted(group, number) for number in range(len(group.templates)))
    enough = 10 + 2 * asked
    most = min(question.max_states, 200 + 60 * (len(group.templates) + asked))

    def over(state: State) -> bool:
        late = budget.clock is not None and budget.until is not None and budget.clock() >= budget.until
        return late or len(state[model.space.pods]) > enough

    if len(group.templates) > LINKED:
        run = starts.Run((), model.initial, ended=False)
    else:
        run = starts.first_run(model, most, over)
    found = starts.pods(model, run.last)
    reached = starts.Reach(group, found)
    ready = dict.fromkeys(range(len(group.templates)), 0)
    waiting: dict[int, tuple[Edge, ...]] = {}
    for pod in found:
        number = group.templates.index(starts.template_of(pod, group))
        if is_ready(pod) or pod.status.phase == "Succeeded":
            ready[number] += 1
        else:
            lacks = starts.stage_of(pod, group, reached).lacks
            waiting[number] = tuple(dict.fromkeys((*waiting.get(number, ()), *lacks)))
    trace = _tell(group, model.pool.values, run) if waiting else ()
    return _Outcome(group, run, ready, waiting, trace)


def _converges(outcome: _Outcome, number: int) -> Verdict:
    template = outcome.group.templates[number]
    count, ready = starts.wanted(outcome.group, number), outcome.ready[number]
    lacks = outcome.waiting.get(number, ())
    answer, message = Answer.PROVED, ""
    places: tuple[Place, ...] = ()
    trace: tuple[Step, ...] = ()
    if not count:
        return Verdict(
            property=CONVERGES,
            subject=str(template.key),
            verdict=Answer.PROVED,
            message="it asks for no pods, so there is nothing to start",
            method="lookup",
        )
    if not outcome.run.ended:
        answer, message = Answer.UNKNOWN, _unended(outcome)
    elif ready >= count:
        many = f"{count} pods get" if count > 1 else "its pod gets"
        message = f"from nothing {many} ready, whoever is first"
    elif lacks:
        answer, trace = Answer.REFUTED, outcome.trace
        message = f"{_how_many(ready, count)} from nothing: {'; '.join(_lacking(edge) for edge in lacks[:3])}"
        places = tuple(dict.fromkeys(edge.holder.place(*edge.path) for edge in lacks))
    else:
        answer, message = Answer.UNKNOWN, f"only {ready} of {count} pods were seen to start, and why was not found"
    return Verdict(
        property=CONVERGES,
        subject=str(template.key),
        verdict=answer,
        message=message,
        places=places,
        trace=trace,
        method="exploration",
        covered=outcome.covered,
        assumptions=_assumed(outcome, [number]),
    )


def _unended(outcome: _Outcome) -> str:
    if len(outcome.group.templates) > LINKED:
        return f"more than {LINKED} workloads wait for each other; such a start is not followed"
    return f"the start did not end within {len(outcome.run.effects)} moves"


def _how_many(ready: int, count: int) -> str:
    if ready:
        return f"{ready} of {count} pods get ready"
    return "no pod ever gets ready" if count > 1 else "its pod never gets ready"


def _assumed(outcome: _Outcome, numbers: Iterable[int]) -> tuple[str, ...]:
    most = [machine for machine in numbers if starts.capped(outcome.group, machine)]
    outside = not all(outcome.group.behind_edge[id(edge)] for edge in outcome.group.edges)
    return (
        *ALWAYS,
        *(("starts/outside",) if outside else ()),
        *((f"starts/alike={starts.ALIKE}",) if most else ()),
    )


def _lacking(edge: Edge) -> str:
    who = f"the {edge.probe} probe of {edge.container}" if edge.probe else f"container {edge.container}"
    verb = "needs" if edge.probe else "waits for"
    what = {
        Need.NAME: f"{edge.evidence} to resolve",
        Need.CONNECTION: f"{edge.evidence} to take connections",
        Need.DONE: f"{edge.evidence}",
    }[edge.need]
    return f"{who} {verb} {what}"


# --- why ---


def _dependencies(outcomes: Sequence[_Outcome], edges: tuple[Edge, ...]) -> list[Verdict]:
    verdicts = [verdict for outcome in outcomes for verdict in _causes(outcome)]
    unended = [outcome for outcome in outcomes if not outcome.run.ended and outcome.group.edges]
    if verdicts:
        return verdicts
    sources = dict.fromkeys(str(edge.source.key) for edge in edges)
    if unended:
        message = _unended(unended[0])
    elif sources:
        message = f"what {_listed(list(sources))} wait{'s' * (len(sources) == 1)} for comes, whoever is first"
    else:
        message = "no pod waits for another before it is ready"
    states = sum(outcome.covered.states for outcome in outcomes)
    transitions = sum(outcome.covered.transitions for outcome in outcomes)
    assumed = dict.fromkeys(
        name for outcome in outcomes for name in _assumed(outcome, range(len(outcome.group.templates)))
    )
    return [
        Verdict(
            property=DEPENDENCIES,
            subject="system",
            verdict=Answer.UNKNOWN if unended else Answer.PROVED,
            message=message,
            method="exploration",
            covered=Covered(states, transitions),
            assumptions=tuple(assumed),
        )
    ]


def _listed(names: list[str]) -> str:
    shown = names[:4]
    more = len(names) - len(shown)
    return (
        f"{', '.join(shown)} and {more} more"
        if more
        else " and ".join((", ".join(shown[:-1]), shown[-1])[not shown[:-1] :])
    )


def _causes(outcome: _Outcome) -> Iterable[Verdict]:
    """What in the graph of unmet edges has no target, and its circles."""
    if not outcome.run.ended:
        return
    pods = outcome.group.templates
    follows: dict[int, set[int]] = {number: set() for number in outcome.waiting}
    behind: dict[tuple[int, int], list[Edge]] = {}
    for number, lacks in outcome.waiting.items():
        for edge in lacks:
            backers = [pods.index(each) for each in dependencies.backers(edge.target, pods)]
            stuck = [backer for backer in backers if backer in outcome.waiting]
            if not stuck or _no_port(edge) is not None:
                others = _of_target(edge, nobody=not backers)
                yield _verdict(outcome, [number], _unmet(edge, backers, outcome), [edge], others)
                continue
            for backer in stuck:
                follows[number].add(backer)
                behind.setdefault((number, backer), []).append(edge)
    after = {number: _closure(number, follows) for number in follows}
    told: set[int] = set()
    for number in follows:
        circle = [other for other in follows if other in after[number] and number in after[other]]
        if not circle or told.intersection(circle):
            continue
        told.update(circle)
        own = [edge for (source, backer), found in behind.items() if {source, backer} <= set(circle) for edge in found]
        own = list(dict.fromkeys(own))
        yield _verdict(outcome, circle, _circle(own), own, [place for edge in own for place in _of_target(edge)])


def _closure(number: int, follows: dict[int, set[int]]) -> set[int]:
    found: set[int] = set()
    work = [number]
    while work:
        for other in follows[work.pop()] - found:
            found.add(other)
            work.append(other)
    return found


def _unmet(edge: Edge, backers: Sequence[int], outcome: _Outcome) -> str:
    target = edge.target
    if target.entry is None:
        return f"{_lacking(edge)}, and the input has no {target}"
    if not backers:
        whom = f"called {target.host}" if target.host else "that its selector matches"
        return f"{_lacking(edge)}, and {target} has no pod {whom}"
    if (ports := _no_port(edge)) is not None:
        return f"{_lacking(edge)}, and {target} has no port {target.port} (its ports: {ports})"
    if not any(starts.wanted(outcome.group, number) for number in backers):
        return f"{_lacking(edge)}, and nobody asks for the pods behind {target}: there are to be none"
    return f"{_lacking(edge)}, and that never comes, though the pods behind {target} are ready"


def _no_port(edge: Edge) -> str | None:
    """The ports of the edge's Service, if the one that is asked for is none of them; a headless one has any."""
    service = edge.target.entry.typed if edge.target.entry is not None else None
    if edge.target.port is None or not isinstance(service, Service) or service.spec.cluster_ip == "None":
        return None
    numbers = [port.port for port in service.spec.ports]
    return None if edge.target.port in numbers else ", ".join(map(str, numbers)) or "none"


def _circle(edges: Sequence[Edge]) -> str:
    parts = []
    for edge in edges[:4]:
        service = edge.target.entry.typed if edge.target.entry is not None else None
        why = ""
        if isinstance(service, Service) and not service.spec.publish_not_ready_addresses:
            why = ", which only ready pods stand behind"
        parts.append(f"in {edge.source.key} {_lacking(edge)} ({edge.target}{why})")
    return f"the pods wait for themselves, for ever: {'; '.join(parts)}"


def _of_target(edge: Edge, *, nobody: bool = False) -> list[Place]:
    """What of the target is in the way; `nobody` stands behind it."""
    entry = edge.target.entry
    if entry is None or not isinstance(entry.typed, Service):
        return []
    spec = entry.typed.spec
    if _no_port(edge) is not None:
        return [entry.place("spec", "ports")]
    if spec.cluster_ip == "None" and not spec.publish_not_ready_addresses and not nobody:
        return [entry.place("spec", "publishNotReadyAddresses")]
    return [entry.place("spec", "selector")]


def _verdict(
    outcome: _Outcome, numbers: Sequence[int], message: str, edges: Sequence[Edge], others: Sequence[Place]
) -> Verdict:
    places = [edge.holder.place(*edge.path) for edge in edges]
    return Verdict(
        property=DEPENDENCIES,
        subject=str(outcome.group.templates[numbers[0]].key),
        verdict=Answer.REFUTED,
        message=message,
        places=tuple(dict.fromkeys((*places, *others))),
        trace=outcome.trace,
        method="exploration",
        covered=outcome.covered,
        assumptions=_assumed(outcome, numbers),
    )


# --- the story ---


def _tell(group: starts.Group, values: Sequence[object], run: starts.Run) -> tuple[Step, ...]:
    steps = [Step("User", f"applies {_listed([str(each.key) for each in group.templates])}")]
    said: list[str] = []
    changes: list[Field] = []
    actor = ""

    def close() -> None:
        if said:
            counts = {text: said.count(text) for text in said}
            texts = (text if count == 1 else f"{text} ({count} times)" for text, count in counts.items())
            steps.append(Step(actor, "; ".join(texts), tuple(changes)))

    for effect, _ in run.effects:
        texts, fields = _happens(effect, values)
        if not texts:
            continue
        if effect.actor != actor:
            close()
            actor, said, changes = effect.actor, [], []
        said += texts
        changes += fields
    close()
    steps.append(Step("Nobody", "can do anything more"))
    return tuple(steps)


def _happens(effect: Effect, values: Sequence[object]) -> tuple[list[str], list[Field]]:
    texts: list[str] = []
    fields: list[Field] = []
    for old, new in effect.pairs:
        before, after = (values[number] if number != ABSENT else None for number in (old, new))
        if before is None and isinstance(after, ReplicaSet):
            texts.append(f"creates ReplicaSet {after.metadata.name}")
        elif before is None and isinstance(after, Pod):
            texts.append(f"creates a pod of {starts.called(after)}")
        elif isinstance(before, Pod) and isinstance(after, Pod) and effect.actor in ("Node", "Scheduler"):
            texts.append(effect.action)
            if is_ready(before) != is_ready(after):
                fields.append(Field(f"Pod of {starts.called(after)}", "status.conditions[Ready]", "False", "True"))
    return texts, fields
