"""What is left when a machine fails: `schedule/survives` of an install, `schedule/survives-maintenance` of a drain.

The machines must be given: nobody knows which of inferred ones would fail. Asked of workloads that are to survive:
those with a budget whose minAvailable names how many pods there must be, and those with several replicas, of which one
must be left. (A budget that would not let a single pod go names no number that could survive anything, see
`drain/completes`; maxUnavailable is about voluntary disruptions only, so one pod is asked for.) A single pod without a
budget is gone with its machine until it is placed again: that is how it was written.

Where nodes carry zones, and the pods have a rule about zones, one pod must be left of a lost zone, too.

After maintenance the same number must be left that a fresh install leaves: a node is drained and let in again, and
nothing moves the pods back. That is asked only where the fresh install survives, and not where a descheduler's policy
is among the files: what it moves back is not looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from seatrial.check import machines
from seatrial.check.placing.budgets import Budgets
from seatrial.check.placing.drains import Drains, Way
from seatrial.check.placing.ground import told
from seatrial.check.properties import Parameter, Property, Question
from seatrial.check.properties.drain import Guarded, drains_of, guards
from seatrial.check.system import Entry, Place
from seatrial.check.verdicts import Answer, Covered, Step, Verdict
from seatrial.control.scheduler.board import ZONE
from seatrial.kube.objects import DaemonSet, Job, PodSpec

SURVIVES = "schedule/survives"
MAINTENANCE = "schedule/survives-maintenance"
_PREMISE = (
    "the machines are given, at least two take pods, and a workload has several replicas or a budget's minAvailable"
)
PROPERTIES = (
    Property(
        name=SURVIVES,
        asks="are enough pods left when any one machine, or zone that pods are spread over, fails?",
        formally="in every layout of an install, for every node n: pods not on n >= minAvailable, or 1 without one; "
        "for every zone: >= 1",
        premise=_PREMISE,
        sometimes="a node with pods of the workload has failed",
    ),
    Property(
        name=MAINTENANCE,
        asks="are enough pods left when a machine fails after any other was drained and let in again?",
        formally="in every layout that an install, the drain of a node and its uncordon lead to, for every node n: "
        "pods not on n >= minAvailable, or 1 without one",
        premise=f"{_PREMISE}; a fresh install survives",
        sometimes="a drained node has had pods of the workload",
    ),
)
FAIL: Final = Parameter(1, "so many nodes ({value}), or one zone, fail at a time")
ASSUMPTIONS: Mapping[str, str | Parameter] = {
    "nodes/fail": FAIL,
    "drain/options": "drains ignore DaemonSets, and delete local data and pods without a controller",
    "others/as-written": "other workloads stand where the order of the files puts them",
    "containers/healthy": "containers of the files' templates start, pass their probes, stay up",
}
TOTAL = 20_000
"""Scheduling decisions for all workloads together."""
LARGEST = 500
"""Of a workload of more pods the layouts are not looked at."""


@dataclass(frozen=True, slots=True)
class Need:
    """How many pods must be left, and the field that says so."""

    pods: int
    place: Place
    why: str


def check(question: Question, wanted: frozenset[str]) -> list[Verdict]:
    if not question.system.of("Node") or sum(not node.spec.unschedulable for node in question.nodes) < 2:
        return []
    if any("DeschedulerPolicy" in str(each.admitted.get("data")) for each in question.system.of("ConfigMap")):
        wanted = wanted - {MAINTENANCE}
    budgets = Budgets(question.system)
    guarded = tuple(guards(question, budgets))
    verdicts: list[Verdict] = []
    left = TOTAL
    for entry in question.system.entries:
        need = _need(question, entry, guarded, budgets)
        if need is not None:
            found, used = _workload(question, entry, need, guarded, wanted, left)
            verdicts += found
            left -= used
    return verdicts


def _need(question: Question, entry: Entry, guarded: Sequence[Guarded], budgets: Budgets) -> Need | None:
    workload = entry.typed
    if not isinstance(workload, machines.WORKLOADS) or isinstance(workload, DaemonSet | Job):
        return None
    if machines.template_of(workload).spec.node_name:
        return None
    count = machines.replicas(workload)
    for each in guarded:
        if each.budget.spec.min_available is None or not any(owner is entry for owner, _ in each.owners):
            continue
        if len(each.owners) > 1:
            continue  # what it names is of several workloads together
        desired = budgets.status(each.entry, each.shares()).status.desired_healthy
        if 0 < desired < count:
            return Need(desired, each.field, f"{each.entry.key} names {desired}")
    return Need(1, entry.place("spec", "replicas"), "one has to be") if count > 1 else None


def _workload(
    question: Question, entry: Entry, need: Need, guarded: Sequence[Guarded], wanted: frozenset[str], left: int
) -> tuple[list[Verdict], int]:
    """The verdicts, and how many decisions they took of those that are `left`."""
    losses = max(0, int(question.assumed("nodes/fail", FAIL)))
    base = Verdict(
        property=SURVIVES,
        subject=str(entry.key),
        verdict=Answer.PROVED,
        message="",
        method="exploration",
        assumptions=(question.machines.name, f"nodes/fail={losses}", "others/as-written", "containers/healthy"),
    )
    mine = tuple(each for each in guarded if any(owner is entry for owner, _ in each.owners))
    drains = drains_of(question, entry, mine, question.nodes)
    if drains is None:
        return [], 0
    if drains.group.count > LARGEST or left <= 0:
        message = f"it asks for more than {LARGEST} pods, whose layouts are not looked at"
        if left <= 0:
            message = f"{TOTAL} scheduling decisions were spent on the workloads before it"
        names = [name for name in (SURVIVES, MAINTENANCE) if name in wanted]
        return [
            msgspec.structs.replace(base, property=name, verdict=Answer.UNKNOWN, message=message) for name in names
        ], 0
    ways, whole = drains.installed(drains.ground.budget)
    fresh = _fresh(entry, need, drains, losses, ways, whole, base)
    found = [fresh] if SURVIVES in wanted else []
    if MAINTENANCE in wanted and fresh.verdict is Answer.PROVED:
        base = msgspec.structs.replace(base, property=MAINTENANCE, assumptions=(*base.assumptions, "drain/options"))
        found.append(_after_maintenance(entry, need, drains, losses, ways, base))
    return found, drains.used


def _fresh(
    entry: Entry, need: Need, drains: Drains, losses: int, ways: Sequence[Way], whole: bool, base: Verdict
) -> Verdict:
    for way in ways:
        for name, left, least in _losses(drains, losses, way):
            wants = need.pods if least is None else least
            if left < wants:
                return _lost(entry, need, drains, way, [*_installs(entry, way)], name, left, wants, base)
    if not whole:
        message = f"the budget for layouts ran out; in {len(ways)} of them enough pods are left"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    which = "whichever machine fails" if losses == 1 else f"whichever {losses} machines fail"
    message = f"{which}, at least {need.pods} of {drains.group.count} pods are left ({need.why})"
    return msgspec.structs.replace(base, message=message, covered=Covered(len(ways), drains.used))


def _after_maintenance(
    entry: Entry, need: Need, drains: Drains, losses: int, ways: Sequence[Way], base: Verdict
) -> Verdict:
    budget = drains.ground.budget
    complete = True
    drained = 0
    for way in ways:
        for node in drains.distinct(way.state):
            if drains.used > 3 * budget:
                complete = False
                break
            name = drains.ground.nodes[node].metadata.name
            emptied, whole = drains.drained(way, node, budget)
            complete = complete and whole
            for empty in emptied:
                if empty.state.layout[node]:
                    continue  # the drain does not end: `drain/completes`
                drained += 1
                after, whole = drains.uncordoned(empty, node, budget)
                complete = complete and whole
                for end in after:
                    steps = [
                        *_installs(entry, way),
                        Step("User", f"drains {name}"),
                        *told(empty.arrivals, empty.moves),
                        Step("User", f"uncordons {name}; nothing moves pods back to it"),
                        *told(end.arrivals, end.moves),
                    ]
                    worst = _worst(drains, losses, end)
                    if worst[1] < need.pods:
                        return _lost(entry, need, drains, end, steps, *worst, need.pods, base)
    if not complete:
        message = f"the budget for layouts ran out after {drained} drains, after each of which enough pods are left"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    message = (
        f"whichever machine fails after another was drained and let in again, at least {need.pods} of "
        f"{drains.group.count} pods are left"
    )
    return msgspec.structs.replace(base, message=message, covered=Covered(drained, drains.used))


def _installs(entry: Entry, way: Way) -> Iterator[Step]:
    yield Step("User", f"installs {entry.key.name}")
    yield from told(way.arrivals, way.moves)


def _worst(drains: Drains, losses: int, way: Way) -> tuple[str, int]:
    """The nodes whose loss takes most, and how many pods are left then."""
    layout = way.state.layout
    placed = drains.group.count - way.state.waiting[0]
    fullest = sorted(range(len(layout)), key=lambda each: -len(layout[each]))[:losses]
    names = ", ".join(drains.ground.nodes[each].metadata.name for each in fullest) or "nothing"
    return names, placed - sum(len(layout[each]) for each in fullest)


def _losses(drains: Drains, losses: int, way: Way) -> Iterator[tuple[str, int, int | None]]:
    """What can be lost, how many pods are left then, and how many have to be if the need is another one."""
    placed = drains.group.count - way.state.waiting[0]
    yield (*_worst(drains, losses, way), None)
    zones: dict[str, int] = {}
    for node, content in zip(drains.ground.nodes, way.state.layout, strict=True):
        zone = node.metadata.labels.get(ZONE)
        if zone is None:
            return
        zones[zone] = zones.get(zone, 0) + len(content)
    if losses and len(zones) > 1 and _speaks_of_zones(drains.group.pod.spec):
        zone = max(zones, key=lambda each: zones[each])
        yield f"zone {zone}", placed - zones[zone], 1


def _speaks_of_zones(spec: PodSpec) -> bool:
    apart = spec.affinity.pod_anti_affinity if spec.affinity else None
    terms = apart.required_during_scheduling_ignored_during_execution if apart else ()
    keys = [*(each.topology_key for each in spec.topology_spread_constraints), *(each.topology_key for each in terms)]
    return ZONE in keys


def _lost(
    entry: Entry,
    need: Need,
    drains: Drains,
    way: Way,
    steps: Sequence[Step],
    lost: str,
    left: int,
    wants: int,
    base: Verdict,
) -> Verdict:
    maintained = base.property == MAINTENANCE
    when = "after the maintenance of one node " if maintained else ""
    taken = drains.group.count - way.state.waiting[0] - left
    why = need.why if wants == need.pods else "one has to be"
    rules = entry.place("spec", "template", "spec", "topologySpreadConstraints")
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=f"{when}the loss of {lost} takes {taken} of {drains.group.count} pods at once: {left} "
        f"{'is' if left == 1 else 'are'} left, {why}",
        places=tuple(dict.fromkeys((need.place, entry.place("spec", "replicas"), rules))),
        trace=(
            *steps,
            Step("Fault", f"{lost} fail{'' if ', ' in lost else 's'}"),
            Step("Nobody", f"has pods of {entry.key.name} elsewhere but {left}: {why}"),
        ),
    )
