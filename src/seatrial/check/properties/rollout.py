"""The properties of rollouts: install each workload, change its template, look at every order.

`rollout/converges`: every fair run ends with all pods of the newest template available.
`rollout/available`: after the change, no reachable state has fewer available pods than wanted - maxUnavailable.
`rollout/rollback`: after a change to a template whose containers crash, taken back at any moment, every fair run ends
with all pods of the first template available.

Deployments, StatefulSets and DaemonSets are explored each by itself (`rollouts`).
Fields in conflict are those whose change cures. Such a change is a proved repair only if, with it, both properties hold
for every workload and every pod fits; one after which only what was refuted before is still refuted says so.
A workload without replicas has nothing to roll out; a paused Deployment is explored like any other: its install never
ends. With the strategy OnDelete, or below a partition, pods change only when somebody deletes them: nothing is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from seatrial.check import explore, machines, story
from seatrial.check.model.pool import NOW
from seatrial.check.model.space import State
from seatrial.check.properties import Property, Question, schedule
from seatrial.check.rollouts import ROLLBACK, UPGRADE, Revision, Rollout, Setting, Workload
from seatrial.check.system import Entry, Path, Place, System
from seatrial.check.verdicts import Answer, Covered, Edit, Repair, Verdict
from seatrial.control import quota, relations
from seatrial.control.writes import UpdateStatus
from seatrial.kube.objects import DaemonSet, Deployment, Node, Pod, ResourceQuota, StatefulSet, to_wire

CONVERGES = "rollout/converges"
AVAILABLE = "rollout/available"
ROLLS_BACK = "rollout/rollback"
LARGEST = 500
"""Of a workload of more pods even the first states are too many."""
_PREMISE = "the system has a Deployment, a StatefulSet or a DaemonSet that asks for pods and rolls out by itself"
PROPERTIES = (
    Property(
        name=CONVERGES,
        asks="does the install, and then one change of the template, end with all pods new and available?",
        formally="every fair run satisfies GF done: all wanted pods are of the newest template and available",
        premise=_PREMISE,
        sometimes="some run reaches done",
    ),
    Property(
        name=AVAILABLE,
        asks="do enough pods stay available while a change of the template rolls out?",
        formally="in every state after the change: available >= wanted - maxUnavailable",
        premise=_PREMISE,
        sometimes="some state lies after the change",
    ),
    Property(
        name=ROLLS_BACK,
        asks="does taking back a change whose containers crash bring the first template back?",
        formally="every fair run with the change, taken back at any moment, satisfies GF done for the first template",
        premise=_PREMISE,
        sometimes="some run reaches done after the reversal",
    ),
)
NAMES = (CONVERGES, AVAILABLE, ROLLS_BACK)
ASSUMPTIONS = {
    "nodes/fail=0": "no node fails",
    "containers/healthy": "containers of the files' templates start, pass their probes, stay up",
    "controllers/prompt": "ReplicaSets report before the next container moves",
    "others/steady": "other workloads are installed and do not roll out",
    "controllers/fresh": "controllers see the current state, no lagging cache",
    "rollout/template-change": "one rollout follows, to a template of the same needs",
    "rollout/broken-template": "containers of the changed template crash before they are ready, every time",
    "storage/binds": "claims are bound and volumes attach wherever their pods go",
    "ties/sampled": "ties of over four different pods: 24 orders tried",
}
ALWAYS = ("nodes/fail=0", "others/steady", "controllers/fresh", "controllers/prompt")
ASSUMED = {
    UPGRADE: (*ALWAYS, "containers/healthy", "rollout/template-change"),
    ROLLBACK: (*ALWAYS, "containers/healthy", "rollout/broken-template"),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A change that a person would make, and the field it changes."""

    edits: tuple[tuple[Path, Any], ...]
    workload: Workload
    extra_node: bool = False


@dataclass(slots=True)
class Exploration:
    rollout: Rollout
    graph: explore.Graph[State, Any]
    endless: explore.Endless | None
    short: int | None
    """The first state with too few available pods."""
    rolls: int
    """How many states lie after a change of the user's: a proof about none of them would be empty."""
    ends: int
    """How many states have the last template everywhere."""

    @property
    def holds(self) -> bool:
        return self.graph.complete and self.endless is None and self.short is None and self.ends > 0


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for entry in question.system.entries:
        workload = entry.typed
        if not isinstance(workload, Deployment | StatefulSet | DaemonSet):
            continue
        idle, large = _idle(workload, question.nodes), _wanted(workload, question.nodes) > LARGEST
        if not idle and not large:
            verdicts += _workload(question, entry, workload, wanted)
            continue
        message = idle or f"it asks for more than {LARGEST} pods, whose orders are not explored"
        answer = Answer.PROVED if idle else Answer.UNKNOWN
        verdicts += [
            Verdict(property=name, subject=str(entry.key), verdict=answer, message=message, method="lookup")
            for name in NAMES
            if name in wanted
        ]
    return verdicts


def _idle(workload: Workload, nodes: tuple[Node, ...]) -> str:
    """Why there is nothing to roll out; empty if there is."""
    if not _wanted(workload, nodes):
        if isinstance(workload, DaemonSet):
            return "no machine is to run it, so there is nothing to roll out"
        return "it asks for no pods (replicas: 0), so there is nothing to roll out"
    if not isinstance(workload, Deployment) and workload.spec.update_strategy.type == "OnDelete":
        return "its strategy is OnDelete: pods change when somebody deletes them, so there is no rollout"
    return ""


def _wanted(workload: Workload, nodes: tuple[Node, ...]) -> int:
    if isinstance(workload, DaemonSet):
        return len(machines.daemons_of(workload, nodes))
    return machines.replicas(workload)


def setting(
    question: Question, workload: Workload, nodes: tuple[Node, ...], plan: tuple[Revision, ...] = UPGRADE
) -> Setting:
    others, _ = machines.place(question.system, nodes, without=workload)
    text = " ".join(
        msgspec.json.encode(entry.admitted).decode() for entry in question.system.entries if entry.key.kind != "Node"
    )
    named = frozenset(node.metadata.name for node in nodes if f'"{node.metadata.name}"' in text)
    minor = int(question.system.version.split(".")[1])
    namespace = workload.metadata.namespace
    quotas = tuple(
        _counting(each, others) for each in question.system.all(ResourceQuota) if each.metadata.namespace == namespace
    )
    return Setting(workload, nodes, plan, tuple(others), quotas, named, minor=minor)


def _counting(before: ResourceQuota, pods: Sequence[Pod]) -> ResourceQuota:
    """The quota as its controller has left it once these pods were there."""
    named = msgspec.structs.replace(before, metadata=msgspec.structs.replace(before.metadata, uid=before.metadata.name))
    seen = relations.observe(quota.CONTROLLER, named, {Pod: pods}, NOW)
    told = [write.after for write in quota.CONTROLLER.reconcile(seen).writes if isinstance(write, UpdateStatus)]
    return next((each for each in told if isinstance(each, ResourceQuota)), named)


def run(asked: Setting, max_states: int) -> Exploration:
    rollout = Rollout(asked)
    graph = explore.explore(rollout.model, max_states=max_states)
    wanted = _wanted(asked.workload, asked.nodes)
    needed = wanted - machines.resolved_unavailable(asked.workload, wanted)
    pods = rollout.space.pods
    up = {number for number in {n for s in graph.states for n in s[pods]} if rollout.available(rollout.pool[number])}
    short = None
    rolls = ends = 0
    done: dict[State, bool] = {}
    for position, state in enumerate(graph.states):
        changes = rollout.changes(state)
        if changes:
            rolls += 1
            if short is None and sum(number in up for number in state[pods]) < needed:
                short = position
        if changes == len(asked.plan):
            done[state] = rollout.done(state)
            ends += done[state]
    endless = explore.misses(graph, lambda state: done.get(state, False)) if graph.complete else None
    return Exploration(rollout, graph, endless, short, rolls, ends)


def _workload(question: Question, entry: Entry, workload: Workload, wanted: frozenset[str]) -> list[Verdict]:
    verdicts = []
    if wanted & {CONVERGES, AVAILABLE}:
        found, base = _explored(question, entry, workload, UPGRADE)
        if CONVERGES in wanted:
            verdicts.append(_converges(question, entry, found, msgspec.structs.replace(base, property=CONVERGES)))
        if AVAILABLE in wanted:
            verdicts.append(_available(question, entry, found, msgspec.structs.replace(base, property=AVAILABLE)))
    if ROLLS_BACK in wanted:
        found, base = _explored(question, entry, workload, ROLLBACK)
        verdicts.append(_rolls_back(question, entry, found, base))
    return verdicts


def _explored(
    question: Question, entry: Entry, workload: Workload, plan: tuple[Revision, ...]
) -> tuple[Exploration, Verdict]:
    """The exploration, and what all verdicts on it share."""
    asked = setting(question, workload, question.nodes, plan)
    found = run(asked, question.max_states)
    question.outcomes[asked.asked] = found.holds
    sometimes = {"storage/binds": _claims(workload), "ties/sampled": found.rollout.sampled_ties}
    assumptions = (question.machines.name, *ASSUMED[plan], *(name for name, holds in sometimes.items() if holds))
    return found, Verdict(
        property=ROLLS_BACK,
        subject=str(entry.key),
        verdict=Answer.PROVED,
        message="",
        method="exploration",
        covered=Covered(len(found.graph.edges), found.graph.transitions),
        assumptions=assumptions,
    )


def _claims(workload: Workload) -> bool:
    if isinstance(workload, StatefulSet) and workload.spec.volume_claim_templates:
        return True
    volumes = workload.spec.template.spec.volumes
    return any(volume.persistent_volume_claim is not None or volume.ephemeral is not None for volume in volumes)


def _tell(found: Exploration, target: int, endless: explore.Endless | None) -> story.Story:
    subject = found.rollout.setting.workload.metadata.name
    return story.tell(found.rollout.model, found.graph, target, endless, subject=subject, census=found.rollout.census)


def _converges(question: Question, entry: Entry, found: Exploration, base: Verdict) -> Verdict:
    workload = found.rollout.setting.workload
    if not found.graph.complete:
        return _unknown(found, base)
    if found.endless is None:
        if not found.ends:
            raise AssertionError(f"no run of {entry.key} ends, and none is endless: the model is wrong")
        count = _wanted(workload, question.nodes)
        orders = "in every order that the assumptions leave"
        message = f"installing it and changing its template ends with {count} new pods available, {orders}"
        return msgspec.structs.replace(base, message=message)
    told = _tell(found, found.endless.entry, found.endless)
    after = found.rollout.changes(found.graph.states[found.endless.entry])
    repairs, places = _repairs(question, entry, workload)
    reason = told.reason
    if isinstance(workload, Deployment) and workload.spec.paused:
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


def _available(question: Question, entry: Entry, found: Exploration, base: Verdict) -> Verdict:
    workload = found.rollout.setting.workload
    wanted = _wanted(workload, question.nodes)
    needed = wanted - machines.resolved_unavailable(workload, wanted)
    if found.short is not None:
        told = _tell(found, found.short, None)
        field = "strategy" if isinstance(workload, Deployment) else "updateStrategy"
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"during a rollout fewer than {needed} pods are available",
            places=(entry.place("spec", field),),
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
    message = f"at least {needed} of {wanted} pods stay available in every state of a rollout"
    return msgspec.structs.replace(base, message=message)


def _rolls_back(question: Question, entry: Entry, found: Exploration, base: Verdict) -> Verdict:
    workload = found.rollout.setting.workload
    if not found.graph.complete:
        return _unknown(found, base)
    if found.endless is None:
        count = _wanted(workload, question.nodes)
        message = f"a change that crashes, taken back at any moment, leaves {count} pods of the template before"
        return msgspec.structs.replace(base, message=message)
    if not found.rollout.changes(found.graph.states[found.endless.entry]):
        message = "the install never ends, so there is nothing to roll back (see rollout/converges)"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    told = _tell(found, found.endless.entry, found.endless)
    repairs, places = _repairs(question, entry, workload, ROLLBACK)
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=f"a rollout that crashes cannot be taken back without deleting pods by hand: {told.reason}",
        places=places or (entry.place("spec"),),
        trace=told.steps,
        loop=told.loop,
        repairs=repairs,
    )


def _unknown(found: Exploration, base: Verdict) -> Verdict:
    message = f"the budget of {len(found.graph.edges)} states ran out; nothing was found in them"
    return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)


def _repairs(
    question: Question, entry: Entry, workload: Workload, plan: tuple[Revision, ...] = UPGRADE
) -> tuple[tuple[Repair, ...], tuple[Place, ...]]:
    repairs: list[Repair] = []
    places: dict[str, Place] = {}
    for candidate in _candidates(workload):
        repaired = _repaired(question, entry, candidate)
        if plan is not UPGRADE and not _ends(repaired, candidate.workload, plan):
            continue
        failing = _failing(repaired)
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


def _ends(question: Question, workload: Workload, plan: tuple[Revision, ...]) -> bool:
    found = run(setting(question, workload, question.nodes, plan), question.max_states)
    return found.graph.complete and found.endless is None


def _repaired(question: Question, entry: Entry, candidate: Candidate) -> Question:
    """The question about the system with the change made. Inferred machines are inferred again, as they will be."""
    entries = tuple(
        replace(other, typed=candidate.workload) if other is entry else other for other in question.system.entries
    )
    system = replace(question.system, entries=entries)
    nodes = machines.inventory(system)[0]
    if candidate.extra_node:
        nodes = (*question.nodes, _one_more(question.nodes))
    return replace(question, system=system, nodes=nodes, max_states=question.max_states // 4)


def _failing(question: Question) -> frozenset[str]:
    """The workloads whose rollout is not shown to converge and stay available, and those whose pods do not fit."""
    failing = {f"{misfit.owner} does not fit" for misfit in machines.place(question.system, question.nodes)[1]}
    for workload in _rolling(question.system):
        if _wanted(workload, question.nodes) > LARGEST or (
            not _idle(workload, question.nodes) and not _holds(question, workload)
        ):
            failing.add(str(workload.key))
    return frozenset(failing)


def _rolling(system: System) -> Iterator[Workload]:
    return (entry.typed for entry in system.entries if isinstance(entry.typed, Deployment | StatefulSet | DaemonSet))


def _holds(question: Question, workload: Workload) -> bool:
    asked = setting(question, workload, question.nodes)
    found = question.outcomes.get(asked.asked)
    if found is None:
        found = question.outcomes[asked.asked] = run(asked, question.max_states).holds
    return found


def _candidates(workload: Workload) -> Iterator[Candidate]:
    if isinstance(workload, Deployment) and workload.spec.paused:
        resumed = msgspec.structs.replace(workload, spec=msgspec.structs.replace(workload.spec, paused=False))
        yield Candidate(((("spec", "paused"), False),), resumed)
        return
    if isinstance(workload, Deployment):
        yield from _other_strategies(workload)
    if isinstance(workload, StatefulSet) and workload.spec.pod_management_policy != "Parallel":
        spec = msgspec.structs.replace(workload.spec, pod_management_policy="Parallel")
        at: Path = ("spec", "podManagementPolicy")
        yield Candidate(((at, "Parallel"),), msgspec.structs.replace(workload, spec=spec))
    pod = workload.spec.template.spec
    anti = pod.affinity.pod_anti_affinity if pod.affinity else None
    if anti is not None and anti.required_during_scheduling_ignored_during_execution:
        wire = to_wire(pod)
        terms = wire["affinity"]["podAntiAffinity"].pop("requiredDuringSchedulingIgnoredDuringExecution")
        preferred = [{"weight": 100, "podAffinityTerm": term} for term in terms]
        wire["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
        template = msgspec.structs.replace(workload.spec.template, spec=_pod_spec(wire))
        where: Path = ("spec", "template", "spec", "affinity", "podAntiAffinity")
        yield Candidate(
            (((*where, "requiredDuringSchedulingIgnoredDuringExecution"), "preferred, weight 100"),),
            msgspec.structs.replace(workload, spec=msgspec.structs.replace(workload.spec, template=template)),
        )
    if not isinstance(workload, DaemonSet) and (count := machines.replicas(workload)) > 1:
        fewer = msgspec.structs.replace(workload, spec=msgspec.structs.replace(workload.spec, replicas=count - 1))
        yield Candidate(((("spec", "replicas"), count - 1),), fewer)
    yield Candidate(((("spec",), "+1"),), workload, extra_node=True)


def _other_strategies(deployment: Deployment) -> Iterator[Candidate]:
    rolling = deployment.spec.strategy.rolling_update
    if rolling is None:
        return
    at: Path = ("spec", "strategy", "rollingUpdate")
    names = {"max_unavailable": "maxUnavailable", "max_surge": "maxSurge"}
    for changes in ({"max_unavailable": 1}, {"max_surge": 0, "max_unavailable": 1}):
        strategy = msgspec.structs.replace(
            deployment.spec.strategy, rolling_update=msgspec.structs.replace(rolling, **changes)
        )
        spec = msgspec.structs.replace(deployment.spec, strategy=strategy)
        edits = tuple(((*at, names[name]), value) for name, value in changes.items())
        yield Candidate(edits, msgspec.structs.replace(deployment, spec=spec))


def _pod_spec(wire: dict[str, Any]) -> Any:
    from seatrial.kube.objects import PodSpec, parse_as

    return parse_as(PodSpec, wire)


def _one_more(nodes: tuple[Node, ...]) -> Node:
    model = nodes[-1]
    name = f"{model.metadata.name}-more"
    labels = {**model.metadata.labels, "kubernetes.io/hostname": name}
    metadata = msgspec.structs.replace(model.metadata, name=name, uid=name, labels=labels)
    return msgspec.structs.replace(model, metadata=metadata)
