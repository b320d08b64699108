"""`rollout/converges` and `rollout/available`: install each Deployment, change its template, look at every order.

converges: every fair run ends with all replicas of the newest template available.
available: after the install, no reachable state has fewer available pods than replicas - maxUnavailable.

Each Deployment is explored by itself; the other workloads' pods stand where the scheduler puts them (`others/steady`).
Fields in conflict are those whose change cures. Such a change is a proved repair only if, with it, both properties hold
for every Deployment and every pod fits; one after which only what was refuted before is still refuted says so.
A Deployment without replicas has nothing to roll out; a paused one is explored like any other: its install never ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec

from seatrial.check import explore, machines, story
from seatrial.check.properties import Question, schedule
from seatrial.check.system import Entry, Path, Place
from seatrial.check.verdicts import Answer, Covered, Edit, Repair, Verdict
from seatrial.check.world import State, World, available, rolled
from seatrial.control import CONTROLLERS
from seatrial.kube.objects import Deployment, Node, Pod, canonical, to_wire

CONVERGES = "rollout/converges"
AVAILABLE = "rollout/available"
ASSUMED = (
    "nodes/fail=0",
    "containers/healthy",
    "others/steady",
    "controllers/fresh",
    "controllers/prompt",
    "rollout/template-change",
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A change that a person would make, and the field it changes."""

    edits: tuple[tuple[Path, Any], ...]
    deployment: Deployment
    extra_node: bool = False


@dataclass(slots=True)
class Exploration:
    world: World
    graph: explore.Graph[State, Any]
    endless: explore.Endless | None
    short: int | None
    """The first state with too few available pods."""
    rolls: int
    """How many states lie after the user's change: a proof about none of them would be empty."""
    ends: int
    """How many states have the new template everywhere."""

    @property
    def holds(self) -> bool:
        return self.graph.complete and self.endless is None and self.short is None and self.ends > 0


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for entry in question.system.of("Deployment"):
        if not isinstance(entry.typed, Deployment):
            continue
        if machines.replicas(entry.typed) > 0:
            verdicts += _deployment(question, entry, entry.typed, wanted)
        else:
            message = "it asks for no pods (replicas: 0), so there is nothing to roll out"
            verdicts += [
                Verdict(property=name, subject=str(entry.key), verdict=Answer.PROVED, message=message, method="lookup")
                for name in (CONVERGES, AVAILABLE)
                if name in wanted
            ]
    return verdicts


def world(question: Question, deployment: Deployment, nodes: tuple[Node, ...]) -> World:
    others, _ = machines.place(question.system, nodes, without=deployment)
    text = " ".join(
        msgspec.json.encode(entry.admitted).decode() for entry in question.system.entries if entry.key.kind != "Node"
    )
    named = frozenset(node.metadata.name for node in nodes if f'"{node.metadata.name}"' in text)
    return World(deployment=deployment, nodes=nodes, controllers=CONTROLLERS, others=tuple(others), named_nodes=named)


def run(model: World, max_states: int) -> Exploration:
    graph = explore.explore(model, max_states=max_states)
    objects = model.objects
    after = {i for i, o in enumerate(objects) if isinstance(o, Deployment) and rolled(o)}
    minimum = model.deployment.spec.min_ready_seconds
    up = {i for i, o in enumerate(objects) if isinstance(o, Pod) and o.spec.node_name and available(o, minimum)}
    needed = machines.replicas(model.deployment) - machines.resolved_unavailable(model.deployment)
    short = next(
        (i for i, s in enumerate(graph.states) if s[0] in after and sum(pod in up for pod in s[2]) < needed), None
    )
    heads = {state[:2] for state in graph.states}
    goal = {head for head in heads if head[0] in after and model.complete(*head)}
    endless = explore.misses(graph, lambda state: state[:2] in goal) if graph.complete else None
    rolls = sum(state[0] in after for state in graph.states)
    ends = sum(state[:2] in goal for state in graph.states)
    return Exploration(model, graph, endless, short, rolls, ends)


def _deployment(question: Question, entry: Entry, deployment: Deployment, wanted: frozenset[str]) -> list[Verdict]:
    found = run(world(question, deployment, question.nodes), question.max_states)
    question.outcomes[_asked(found.world)] = found.holds
    assumptions = (question.machines.name, *ASSUMED, *(("ties/sampled",) if found.world.sampled_ties else ()))
    covered = Covered(len(found.graph.edges), found.graph.transitions)
    base = Verdict(
        property=CONVERGES,
        subject=str(entry.key),
        verdict=Answer.PROVED,
        message="",
        method="exploration",
        covered=covered,
        assumptions=assumptions,
    )
    verdicts = []
    if CONVERGES in wanted:
        verdicts.append(_converges(question, entry, deployment, found, base))
    if AVAILABLE in wanted:
        verdicts.append(_available(deployment, entry, found, msgspec.structs.replace(base, property=AVAILABLE)))
    return verdicts


def _converges(question: Question, entry: Entry, deployment: Deployment, found: Exploration, base: Verdict) -> Verdict:
    if not found.graph.complete:
        return _unknown(found, base)
    if found.endless is None:
        if not found.ends:
            raise AssertionError(f"no run of {entry.key} ends, and none is endless: the model is wrong")
        count = machines.replicas(deployment)
        orders = "in every order that the assumptions leave"
        message = f"installing it and changing its template ends with {count} new pods available, {orders}"
        return msgspec.structs.replace(base, message=message)
    told = story.tell(found.world, found.graph, found.endless.entry, found.endless)
    after = rolled(cast(Deployment, found.world.objects[found.graph.states[found.endless.entry][0]]))
    repairs, places = _repairs(question, entry, deployment)
    reason = told.reason
    if deployment.spec.paused:
        reason = f"it is paused, and a paused Deployment creates no ReplicaSet; {reason}"
    if repairs:
        reason = f"{reason.rstrip('.')}. Each repair was checked again for {CONVERGES}, {AVAILABLE} and {schedule.NAME}"
    what = "the first install works, but the next rollout never ends" if after else "the install never ends"
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=f"{what}: {reason}",
        places=places or (entry.place("spec"),),
        trace=told.steps,
        loop=told.loop,
        repairs=repairs,
    )


def _available(deployment: Deployment, entry: Entry, found: Exploration, base: Verdict) -> Verdict:
    needed = machines.replicas(deployment) - machines.resolved_unavailable(deployment)
    if found.short is not None:
        told = story.tell(found.world, found.graph, found.short, None)
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"during a rollout fewer than {needed} pods are available",
            places=(entry.place("spec", "strategy"),),
            trace=told.steps,
        )
    if not found.graph.complete:
        return _unknown(found, base)
    if not found.rolls:
        return msgspec.structs.replace(
            base,
            verdict=Answer.UNKNOWN,
            message="the install never ends, so no rollout was reached (see rollout/converges)",
        )
    message = f"at least {needed} of {machines.replicas(deployment)} pods stay available in every state of a rollout"
    return msgspec.structs.replace(base, message=message)


def _unknown(found: Exploration, base: Verdict) -> Verdict:
    message = f"the budget of {len(found.graph.edges)} states ran out; nothing was found in them"
    return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)


def _repairs(question: Question, entry: Entry, deployment: Deployment) -> tuple[tuple[Repair, ...], tuple[Place, ...]]:
    repairs: list[Repair] = []
    places: dict[str, Place] = {}
    for candidate in _candidates(entry, deployment):
        failing = _failing(_repaired(question, entry, candidate))
        if failing and (str(entry.key) in failing or not failing <= _failing(question)):
            continue
        edits = []
        for path, value in candidate.edits:
            place = entry.place(*path)
            if candidate.extra_node:
                machine = next((e for e in reversed(question.system.of("Node"))), None)
                place = machine.place() if machine else Place("", 0, 0, "")
                place = replace(place, path="(one more Node)")
            edits.append(Edit(place.file, place.line, place.path, value))
            places.setdefault(place.path, place)
        repairs.append(Repair(tuple(edits), Answer.REFUTED if failing else Answer.PROVED))
    return tuple(repairs), tuple(places.values())


def _repaired(question: Question, entry: Entry, candidate: Candidate) -> Question:
    """The question about the system with the change made. Inferred machines are inferred again, as they will be."""
    entries = tuple(
        replace(other, typed=candidate.deployment) if other is entry else other for other in question.system.entries
    )
    system = replace(question.system, entries=entries)
    nodes = machines.inventory(system)[0]
    if candidate.extra_node:
        nodes = (*question.nodes, _one_more(question.nodes))
    return replace(question, system=system, nodes=nodes, max_states=question.max_states // 4)


def _failing(question: Question) -> frozenset[str]:
    """The Deployments whose rollout is not shown to converge and stay available, and those whose pods do not fit."""
    failing = {f"{misfit.owner} does not fit" for misfit in machines.place(question.system, question.nodes)[1]}
    for deployment in question.system.all(Deployment):
        if machines.replicas(deployment) > 0 and not _holds(question, deployment):
            failing.add(str(deployment.key))
    return frozenset(failing)


def _holds(question: Question, deployment: Deployment) -> bool:
    model = world(question, deployment, question.nodes)
    key = _asked(model)
    found = question.outcomes.get(key)
    if found is None:
        found = question.outcomes[key] = run(model, question.max_states).holds
    return found


def _asked(model: World) -> tuple[bytes, ...]:
    """What a world is about: two worlds with the same have the same answers."""
    nodes = b"\n".join(canonical(node) for node in model.nodes)
    named = " ".join(sorted(model.named_nodes)).encode()
    return (canonical(model.deployment), nodes, named, *sorted(canonical(pod) for pod in model.others))


def _candidates(entry: Entry, deployment: Deployment) -> Iterator[Candidate]:
    spec = deployment.spec
    if spec.paused:
        resumed = msgspec.structs.replace(deployment, spec=msgspec.structs.replace(spec, paused=False))
        yield Candidate(((("spec", "paused"), False),), resumed)
        return
    rolling = spec.strategy.rolling_update
    at: Path = ("spec", "strategy", "rollingUpdate")
    if rolling is not None:
        for changes in ({"max_unavailable": 1}, {"max_surge": 0, "max_unavailable": 1}):
            strategy = msgspec.structs.replace(
                spec.strategy, rolling_update=msgspec.structs.replace(rolling, **changes)
            )
            names = {"max_unavailable": "maxUnavailable", "max_surge": "maxSurge"}
            yield Candidate(
                tuple(((*at, names[name]), value) for name, value in changes.items()),
                msgspec.structs.replace(deployment, spec=msgspec.structs.replace(spec, strategy=strategy)),
            )
    pod = spec.template.spec
    anti = pod.affinity.pod_anti_affinity if pod.affinity else None
    if anti is not None and anti.required_during_scheduling_ignored_during_execution:
        wire = to_wire(pod)
        terms = wire["affinity"]["podAntiAffinity"].pop("requiredDuringSchedulingIgnoredDuringExecution")
        preferred = [{"weight": 100, "podAffinityTerm": term} for term in terms]
        wire["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
        template = msgspec.structs.replace(spec.template, spec=_pod_spec(wire))
        where: Path = ("spec", "template", "spec", "affinity", "podAntiAffinity")
        yield Candidate(
            (((*where, "requiredDuringSchedulingIgnoredDuringExecution"), "preferred, weight 100"),),
            msgspec.structs.replace(deployment, spec=msgspec.structs.replace(spec, template=template)),
        )
    count = machines.replicas(deployment)
    if count > 1:
        yield Candidate(
            ((("spec", "replicas"), count - 1),),
            msgspec.structs.replace(deployment, spec=msgspec.structs.replace(spec, replicas=count - 1)),
        )
    yield Candidate(((("spec",), "+1"),), deployment, extra_node=True)


def _pod_spec(wire: dict[str, Any]) -> Any:
    from seatrial.kube.objects import PodSpec, parse_as

    return parse_as(PodSpec, wire)


def _one_more(nodes: tuple[Node, ...]) -> Node:
    model = nodes[-1]
    name = f"{model.metadata.name}-more"
    labels = {**model.metadata.labels, "kubernetes.io/hostname": name}
    metadata = msgspec.structs.replace(model.metadata, name=name, uid=name, labels=labels)
    return msgspec.structs.replace(model, metadata=metadata)
