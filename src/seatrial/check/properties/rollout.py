"""The properties of rollouts: install each workload, change its template, look at every order.

`rollout/converges`: every fair run ends with all pods of the newest template available.
`rollout/available`: after the change, no reachable state has fewer available pods than wanted - maxUnavailable.
`rollout/rollback`: after a change to a template whose containers crash, taken back at any moment, every fair run ends
with all pods of the first template available.

Deployments, StatefulSets and DaemonSets are explored each by itself (`rollouts`).
A workload without replicas has nothing to roll out; a paused Deployment is explored like any other: its install never
ends. With the strategy OnDelete, or below a partition, pods change only when somebody deletes them: nothing is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from seatrial.check import explore, machines, quotas, story
from seatrial.check.budget import Budget
from seatrial.check.edits import REMOVED, Change, Changes
from seatrial.check.model.space import State
from seatrial.check.properties import Property, Question
from seatrial.check.rollouts import ROLLBACK, UPGRADE, Revision, Rollout, Setting, Workload
from seatrial.check.system import Entry, Path
from seatrial.check.verdicts import Answer, Covered, Verdict
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    JsonObject,
    Node,
    StatefulSet,
    to_wire,
)

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
    "others/steady": "other workloads are installed and do not roll out",
    "controllers/fresh": "controllers see the current state, no lagging cache",
    "rollout/template-change": "one rollout follows, to a template of the same needs",
    "rollout/broken-template": "containers of the changed template crash before they are ready, every time",
    "storage/binds": "claims are bound and volumes attach wherever their pods go",
    "ties/sampled": "of pods that only names tell apart 60 choices were tried",
}
ALWAYS = ("nodes/fail=0", "others/steady", "controllers/fresh")
ASSUMED = {
    UPGRADE: (*ALWAYS, "containers/healthy", "rollout/template-change"),
    ROLLBACK: (*ALWAYS, "containers/healthy", "rollout/broken-template"),
}


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
    counted = tuple(quotas.counting(each, others) for each in quotas.of_namespace(question.system, namespace))
    limits = quotas.ranges(question.system, namespace)
    return Setting(workload, nodes, plan, tuple(others), counted, named, limits=limits, minor=minor)


def run(asked: Setting, budget: Budget) -> Exploration:
    rollout = Rollout(asked)
    graph = explore.explore(rollout.model, budget)
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
    """The verdicts wanted. What was explored once is remembered, for most of an edited system stays as it was."""
    verdicts: list[Verdict] = []
    for plan, names in ((UPGRADE, (CONVERGES, AVAILABLE)), (ROLLBACK, (ROLLS_BACK,))):
        if not wanted.intersection(names):
            continue
        asked = setting(question, workload, question.nodes, plan)
        key = (asked.asked, id(entry), question.machines.name)
        if key not in question.known:
            # The entry is kept with the verdicts, so that no other can get its identity.
            question.known[key] = (entry, _explored(question, entry, asked))
        verdicts += [verdict for verdict in question.known[key][1] if verdict.property in wanted]
    return verdicts


def _explored(question: Question, entry: Entry, asked: Setting) -> tuple[Verdict, ...]:
    found = run(asked, question.budget.about(str(entry.key)))
    sometimes = {"storage/binds": _claims(asked.workload), "ties/sampled": found.rollout.sampled_ties}
    assumptions = (question.machines.name, *ASSUMED[asked.plan], *(name for name, holds in sometimes.items() if holds))
    base = Verdict(
        property=ROLLS_BACK,
        subject=str(entry.key),
        verdict=Answer.PROVED,
        message="",
        method="exploration",
        covered=Covered(len(found.graph.edges), found.graph.transitions),
        assumptions=assumptions,
    )
    if asked.plan is ROLLBACK:
        return (_rolls_back(question, entry, found, base),)
    return (
        _converges(question, entry, found, msgspec.structs.replace(base, property=CONVERGES)),
        _available(question, entry, found, msgspec.structs.replace(base, property=AVAILABLE)),
    )


def _claims(workload: Workload) -> bool:
    if isinstance(workload, StatefulSet) and workload.spec.volume_claim_templates:
        return True
    volumes = workload.spec.template.spec.volumes
    return any(volume.persistent_volume_claim is not None or volume.ephemeral is not None for volume in volumes)


def _tell(
    question: Question, base: Verdict, found: Exploration, target: int, endless: explore.Endless | None
) -> story.Story:
    subject = found.rollout.setting.workload.metadata.name
    told = story.tell(found.rollout.model, found.graph, target, endless, subject=subject, census=found.rollout.census)
    question.runs[base.property, base.subject] = told.run
    return told


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
    told = _tell(question, base, found, found.endless.entry, found.endless)
    after = found.rollout.changes(found.graph.states[found.endless.entry])
    reason = told.reason
    if isinstance(workload, Deployment) and workload.spec.paused:
        reason = f"it is paused, and a paused Deployment creates no ReplicaSet; {reason}"
    what = "the first install works, but the next rollout never ends" if after else "the install never ends"
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=f"{what}: {reason}",
        places=(entry.place("spec"),),
        trace=told.steps,
        loop=told.loop,
    )


def _available(question: Question, entry: Entry, found: Exploration, base: Verdict) -> Verdict:
    workload = found.rollout.setting.workload
    wanted = _wanted(workload, question.nodes)
    needed = wanted - machines.resolved_unavailable(workload, wanted)
    if found.short is not None:
        told = _tell(question, base, found, found.short, None)
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
    told = _tell(question, base, found, found.endless.entry, found.endless)
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=f"a rollout that crashes cannot be taken back without deleting pods by hand: {told.reason}",
        places=(entry.place("spec"),),
        trace=told.steps,
        loop=told.loop,
    )


def _unknown(found: Exploration, base: Verdict) -> Verdict:
    message = f"the budget ({found.graph.spent}) ran out; nothing was found in {len(found.graph.edges)} states"
    return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)


def candidates(question: Question, verdict: Verdict) -> Iterator[Changes]:
    """What a person would change about the workload, the smallest edit first; at last one machine more."""
    entry = next(each for each in question.system.entries if str(each.key) == verdict.subject)
    workload = entry.typed
    assert isinstance(workload, Deployment | StatefulSet | DaemonSet)
    if isinstance(workload, Deployment) and workload.spec.paused:
        yield (Change(entry, ("spec", "paused"), False),)
        return
    if isinstance(workload, Deployment) and workload.spec.strategy.rolling_update is not None:
        rolling: Path = ("spec", "strategy", "rollingUpdate")
        missing = Change(entry, (*rolling, "maxUnavailable"), 1)
        yield (missing,)
        yield (Change(entry, (*rolling, "maxSurge"), 0), missing)
    if isinstance(workload, StatefulSet) and workload.spec.pod_management_policy != "Parallel":
        yield (Change(entry, ("spec", "podManagementPolicy"), "Parallel"),)
    affinity = workload.spec.template.spec.affinity
    apart = affinity.pod_anti_affinity if affinity else None
    if apart is not None and apart.required_during_scheduling_ignored_during_execution:
        at: Path = ("spec", "template", "spec", "affinity", "podAntiAffinity")
        terms = to_wire(apart)["requiredDuringSchedulingIgnoredDuringExecution"]
        preferred = [{"weight": 100, "podAffinityTerm": term} for term in terms]
        yield (
            Change(entry, (*at, "requiredDuringSchedulingIgnoredDuringExecution"), REMOVED),
            Change(entry, (*at, "preferredDuringSchedulingIgnoredDuringExecution"), preferred),
        )
    if not isinstance(workload, DaemonSet) and (count := machines.replicas(workload)) > 1:
        yield (Change(entry, ("spec", "replicas"), count - 1),)
    if found := question.system.of("Node"):
        yield (Change(found[-1], (), _one_more(found[-1])),)


def _one_more(node: Entry) -> JsonObject:
    metadata = node.written["metadata"]
    name = f"{metadata['name']}-more"
    labels = {**(metadata.get("labels") or {}), "kubernetes.io/hostname": name}
    return {**node.written, "metadata": {**metadata, "name": name, "labels": labels}}
