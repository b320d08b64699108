"""The properties of rollouts: install each workload, change its template, look at every order.

`rollout/converges`: every fair run ends with all pods of the newest template available.
`rollout/available`: after the change, no reachable state has fewer available pods than wanted - maxUnavailable.
`rollout/rollback`: after a change to a template whose containers crash, taken back at any moment, every fair run ends
with all pods of the first template available.
`rollout/keeps-serving`: such a change leaves some pod available, at any moment.
`rollout/bounded-surge`: the ReplicaSets of a Deployment together never ask for more than replicas + maxSurge.
`rollout/spread`: a complete rollout leaves the pods spread as their constraints demand (DoNotSchedule).

Deployments, StatefulSets and DaemonSets are explored each by itself (`rollouts`).
A workload without replicas has nothing to roll out; a paused Deployment is explored like any other: its install never
ends. With the strategy OnDelete, or below a partition, pods change only when somebody deletes them: nothing is asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from seatrial.check import explore, machines, story
from seatrial.check.model.faults import NONE, Faults
from seatrial.check.properties import Property, Question
from seatrial.check.runs import quotas
from seatrial.check.runs.rolling import Exploration, guarded, run, setting
from seatrial.check.runs.rolling import wanted as wanted_pods
from seatrial.check.runs.rollouts import EDITED, ROLLBACK, UPGRADE, Setting, Workload
from seatrial.check.system import Entry, Place
from seatrial.check.verdicts import Answer, Covered, Verdict
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    Node,
    PodDisruptionBudget,
    StatefulSet,
)

CONVERGES = "rollout/converges"
AVAILABLE = "rollout/available"
ROLLS_BACK = "rollout/rollback"
BOUNDED = "rollout/bounded-surge"
SPREAD = "rollout/spread"
KEEPS_SERVING = "rollout/keeps-serving"
WITHSTANDS = "rollout/withstands"
DISTURBED: Final = 2
"""The most pods of a workload whose rollout is explored with faults, which multiply the states."""
DISTURBANCES: Final = (
    (UPGRADE, Faults(containers=1, between_writes=True)),
    (UPGRADE, Faults(nodes=1)),
    (EDITED, NONE),
)
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
        formally=(
            "in every state after the change: available >= max(wanted - maxUnavailable, minAvailable of a "
            "PodDisruptionBudget that selects the pods)"
        ),
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
    Property(
        name=KEEPS_SERVING,
        asks="does some pod stay available while a change rolls out whose containers never get ready?",
        formally="in every state after the change, taken back at any moment: available >= 1",
        premise="a Deployment or StatefulSet of two or more pods replaces them step by step (not Recreate, OnDelete)",
        sometimes="some state lies after the change",
    ),
    Property(
        name=BOUNDED,
        asks="do the ReplicaSets of a Deployment together never ask for more pods than replicas and maxSurge allow?",
        formally="in every state: the sum of spec.replicas of the ReplicaSets <= replicas + maxSurge",
        premise="the system has a Deployment that asks for pods",
        sometimes="some state lies after the change",
    ),
    Property(
        name=WITHSTANDS,
        asks="does a rollout end all the same if something breaks meanwhile, or somebody changes the workload again?",
        formally=(
            "every fair run satisfies GF done, also if one ready container crashes and controllers stop between two "
            "writes, if one node falls silent and comes back, or if the template is changed again at any time"
        ),
        premise=f"{_PREMISE}, at most {DISTURBED} of them, in a namespace without a quota",
        sometimes="some run reaches done after the last fault",
    ),
    Property(
        name=SPREAD,
        asks="do the pods lie as their spread constraints ask once a rollout is complete?",
        formally="in every state with done, for every constraint with DoNotSchedule: most - least <= maxSkew",
        premise="a Deployment or StatefulSet has a topologySpreadConstraint with DoNotSchedule",
        sometimes="some run reaches done",
    ),
)
OF_UPGRADE = (CONVERGES, AVAILABLE, BOUNDED, SPREAD)
OF_ROLLBACK = (ROLLS_BACK, KEEPS_SERVING)
NAMES = (CONVERGES, AVAILABLE, ROLLS_BACK)
"""Those that every workload has."""
ASSUMPTIONS = {
    "nodes/fail=0": "no node fails",
    "containers/healthy": "containers of the files' templates start, pass their probes, stay up",
    "others/steady": "other workloads are installed and do not roll out",
    "controllers/fresh": "controllers see the current state, no lagging cache",
    "rollout/template-change": "one rollout follows, to a template of the same needs",
    "rollout/broken-template": "containers of the changed template crash before they are ready, every time",
    "nodes/silent-stay-so": "nodes that the files show as not ready fell silent after the install, and stay silent",
    "containers/crash<=1": "one container that was ready crashes and is started again",
    "controllers/stop": "controllers stop between two writes and come back, having lost what they kept in memory",
    "nodes/return": "one node falls silent and comes back before its pods are evicted",
    "user/edits": "somebody changes the template again, at any time",
    "storage/binds": "claims are bound and volumes attach wherever their pods go",
    "ties/sampled": "of pods that only names tell apart 60 choices were tried",
}
ALWAYS = ("nodes/fail=0", "others/steady", "controllers/fresh")
DISTURBED_BY = (
    "others/steady",
    "controllers/fresh",
    "containers/crash<=1",
    "controllers/stop",
    "nodes/return",
    "user/edits",
    "rollout/template-change",
)
ASSUMED = {
    UPGRADE: (*ALWAYS, "containers/healthy", "rollout/template-change"),
    ROLLBACK: (*ALWAYS, "containers/healthy", "rollout/broken-template"),
}


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for entry in question.system.entries:
        workload = entry.typed
        if not isinstance(workload, Deployment | StatefulSet | DaemonSet):
            continue
        idle, large = _idle(workload, question.nodes), wanted_pods(workload, question.nodes) > LARGEST
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
    if not wanted_pods(workload, nodes):
        if isinstance(workload, DaemonSet):
            return "no machine is to run it, so there is nothing to roll out"
        return "it asks for no pods (replicas: 0), so there is nothing to roll out"
    if not isinstance(workload, Deployment) and workload.spec.update_strategy.type == "OnDelete":
        return "its strategy is OnDelete: pods change when somebody deletes them, so there is no rollout"
    return ""


def _workload(question: Question, entry: Entry, workload: Workload, wanted: frozenset[str]) -> list[Verdict]:
    """The verdicts wanted. What was explored once is remembered, for most of an edited system stays as it was."""
    verdicts: list[Verdict] = []
    guard = guarded(question.system, workload)
    for plan, names in ((UPGRADE, OF_UPGRADE), (ROLLBACK, OF_ROLLBACK)):
        if not wanted.intersection(names):
            continue
        asked = setting(question, workload, question.nodes, plan)
        key = (asked.asked, id(entry), question.machines.name, guard and guard[0])
        if key not in question.known:
            # The entry is kept with the verdicts, so that no other can get its identity.
            question.known[key] = (entry, _explored(question, entry, asked, guard))
        verdicts += [verdict for verdict in question.known[key][1] if verdict.property in wanted]
    limited = quotas.of_namespace(question.system, workload.metadata.namespace)
    if WITHSTANDS in wanted and not limited and wanted_pods(workload, question.nodes) <= DISTURBED:
        verdicts += _withstands(question, entry, workload)
    return verdicts


def _withstands(question: Question, entry: Entry, workload: Workload) -> list[Verdict]:
    """Only where the undisturbed rollout ends: what does not end anyway is not the faults' doing."""
    found: list[Exploration] = []
    for plan, faults in ((UPGRADE, NONE), *DISTURBANCES):
        asked = replace(setting(question, workload, question.nodes, plan), faults=faults)
        key = (asked.asked, WITHSTANDS)
        if key not in question.known:
            question.known[key] = run(asked, question.budget.about(str(entry.key)))
        each: Exploration = question.known[key]
        if faults == NONE and plan is UPGRADE:
            if each.endless is not None or not each.graph.complete or asked.dying:
                return []
            continue
        found.append(each)
        if each.endless is not None or not each.graph.complete:
            break
    last = found[-1]
    verdict = Verdict(
        property=WITHSTANDS,
        subject=str(entry.key),
        verdict=Answer.PROVED,
        message="a rollout ends too if a container, a controller or a node fails meanwhile, or it is changed again",
        method="exploration",
        covered=Covered(sum(len(each.graph.edges) for each in found), sum(each.graph.transitions for each in found)),
        assumptions=(question.machines.name, *DISTURBED_BY),
    )
    if not last.graph.complete:
        return [_unknown(last, verdict)]
    if last.endless is None:
        return [verdict]
    told = _tell(question, verdict, last, last.endless.entry, last.endless)
    return [
        msgspec.structs.replace(
            verdict,
            verdict=Answer.REFUTED,
            message=f"a rollout that is disturbed never ends: {told.reason}",
            places=(entry.place("spec"),),
            trace=told.steps,
            loop=told.loop,
        )
    ]


def _explored(
    question: Question, entry: Entry, asked: Setting, guard: tuple[int, PodDisruptionBudget] | None
) -> tuple[Verdict, ...]:
    workload = asked.workload
    found = run(asked, question.budget.about(str(entry.key)), guard[0] if guard else 0)
    sometimes = {
        "storage/binds": _claims(workload),
        "ties/sampled": found.rollout.sampled_ties,
        "nodes/silent-stay-so": bool(asked.dying),
    }
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

    def of(name: str) -> Verdict:
        return msgspec.structs.replace(base, property=name)

    verdicts = []
    if asked.plan is ROLLBACK:
        verdicts.append(_rolls_back(question, entry, found, of(ROLLS_BACK)))
        if _replaces_step_by_step(workload):
            verdicts.append(_keeps_serving(question, entry, found, of(KEEPS_SERVING)))
        return tuple(verdicts)
    verdicts.append(_converges(question, entry, found, of(CONVERGES)))
    verdicts.append(_available(question, entry, found, of(AVAILABLE), guard))
    if isinstance(workload, Deployment):
        verdicts.append(_bounded(question, entry, found, of(BOUNDED)))
    if _must_be_spread(workload):
        verdicts.append(_spread(question, entry, found, of(SPREAD)))
    return tuple(verdicts)


def _replaces_step_by_step(workload: Workload) -> bool:
    if isinstance(workload, DaemonSet) or machines.replicas(workload) < 2:
        return False
    return not isinstance(workload, Deployment) or workload.spec.strategy.type != "Recreate"


def _must_be_spread(workload: Workload) -> bool:
    rules = workload.spec.template.spec.topology_spread_constraints
    return not isinstance(workload, DaemonSet) and any(rule.when_unsatisfiable != "ScheduleAnyway" for rule in rules)


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
        count = wanted_pods(workload, question.nodes)
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


def _available(
    question: Question,
    entry: Entry,
    found: Exploration,
    base: Verdict,
    guard: tuple[int, PodDisruptionBudget] | None,
) -> Verdict:
    needed = found.needed
    says = f", as PodDisruptionBudget {guard[1].metadata.name} says" if guard and guard[0] == needed else ""
    if found.short is not None:
        told = _tell(question, base, found, found.short, None)
        places = [_strategy(entry)]
        if says and guard:
            budget = question.system.get("PodDisruptionBudget", guard[1].metadata.namespace, guard[1].metadata.name)
            places += [budget.place("spec", "minAvailable")] if budget else []
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"during a rollout fewer than {needed} pods are available, where {needed} must be{says}"
            if says
            else f"during a rollout fewer than {needed} pods are available",
            places=tuple(places),
            trace=told.steps,
        )
    if (open_ := _undecided(found, base)) is not None:
        return open_
    message = f"at least {needed} of {_count(found)} pods stay available in every state of a rollout{says}"
    return msgspec.structs.replace(base, message=message)


def _count(found: Exploration) -> int:
    asked = found.rollout.setting
    dead = {node.metadata.name for node in asked.dying}
    return wanted_pods(asked.workload, tuple(node for node in asked.nodes if node.metadata.name not in dead))


def _strategy(entry: Entry) -> Place:
    return entry.place("spec", "strategy" if isinstance(entry.typed, Deployment) else "updateStrategy")


def _undecided(found: Exploration, base: Verdict) -> Verdict | None:
    if not found.graph.complete:
        return _unknown(found, base)
    if not found.rolls:
        message = "the install never ends, so no rollout was reached (see rollout/converges)"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    return None


def _bounded(question: Question, entry: Entry, found: Exploration, base: Verdict) -> Verdict:
    workload = found.rollout.setting.workload
    most = machines.replicas(workload) + machines.resolved_surge(workload)
    if found.peak.sizes > most:
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"its ReplicaSets ask for {found.peak.sizes} pods at a time, where {most} are the most",
            places=(_strategy(entry),),
            trace=_tell(question, base, found, found.peak.at, None).steps,
        )
    if (open_ := _undecided(found, base)) is not None:
        return open_
    message = (
        f"its ReplicaSets never ask for more than {most} pods together; at most {found.peak.staying} run at a time"
    )
    return msgspec.structs.replace(base, message=f"{message}, besides those that stop")


def _spread(question: Question, entry: Entry, found: Exploration, base: Verdict) -> Verdict:
    if found.skewed is not None:
        position, how = found.skewed
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"a complete rollout leaves the pods unevenly spread for good: {how}",
            places=(entry.place("spec", "template", "spec", "topologySpreadConstraints"),),
            trace=_tell(question, base, found, position, None).steps,
        )
    if (open_ := _undecided(found, base)) is not None:
        return open_
    if not found.ends:
        message = "the rollout never ends, so its end was not seen (see rollout/converges)"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    return msgspec.structs.replace(base, message="whenever a rollout is complete the pods lie as they ask to")


def _keeps_serving(question: Question, entry: Entry, found: Exploration, base: Verdict) -> Verdict:
    count = _count(found)
    if found.outage is not None:
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"a change whose containers never get ready takes away all {count} pods that work",
            places=(_strategy(entry),),
            trace=_tell(question, base, found, found.outage, None).steps,
        )
    if (open_ := _undecided(found, base)) is not None:
        return open_
    return msgspec.structs.replace(base, message="a change whose containers never get ready leaves some pods that work")


def _rolls_back(question: Question, entry: Entry, found: Exploration, base: Verdict) -> Verdict:
    workload = found.rollout.setting.workload
    if not found.graph.complete:
        return _unknown(found, base)
    if found.endless is None:
        count = wanted_pods(workload, question.nodes)
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
