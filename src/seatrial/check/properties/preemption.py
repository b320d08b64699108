"""`schedule/preemption-stable`: a pod is not preempted by one that the files do not rank above it.

A default PriorityClass gives its value to pods that are made from now on; those that were there before it keep 0. On
full machines a rollout or an autoscaler then makes pods that preempt older ones of workloads the files rank equal;
their replacements have the same value, so they cannot preempt back, but what is older still. Asked of every workload
without a class: all pods stand where the order of the files puts them, with the priority of before; it makes the pods
of a rollout's surge, or those that its autoscaler may ask for; the scheduler that runs decides, with every choice among
equally good nodes and every workload's pods as the youngest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec

from seatrial.check import machines
from seatrial.check.machines import Group
from seatrial.check.model.pool import LONG_AGO
from seatrial.check.placing import room
from seatrial.check.placing.arrivals import Arrivals, Layout, State
from seatrial.check.placing.ground import Ground, stage, told
from seatrial.check.properties import Property, Question
from seatrial.check.system import Entry, System
from seatrial.check.verdicts import Answer, Covered, Step, Verdict
from seatrial.control import priorities
from seatrial.kube.objects import DaemonSet, Deployment, Pod, PriorityClass

NAME = "schedule/preemption-stable"
PROPERTIES = (
    Property(
        name=NAME,
        asks="does no rollout and no scaling preempt pods of other workloads that are worth as much?",
        formally="from the layout of pods made before the default PriorityClass, newly made pods of one workload never "
        "preempt a pod of another whose class is not below theirs",
        premise="there is a default PriorityClass above 0, and a workload that names no class",
        sometimes="a pod is made under the default class",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {
    "priorities/default-later": "pods of the files were made before the default PriorityClass was",
    "others/as-written": "other workloads stand where the order of the files puts them",
}


BUDGET: Final = 20_000
"""Scheduling decisions for all workloads together."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Old pods where they stand, and what is made of them anew: group `i` comes back as group `reborn[i]`."""

    arrivals: Arrivals
    start: State
    newcomer: int
    reborn: Mapping[int, int]


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    system = question.system
    default = priorities.default(system.all(PriorityClass))
    if default is None or default.value <= 0:
        return []
    classless = [entry for entry in system.entries if _is_classless(entry)]
    if not classless:
        return []
    where = next(each for each in system.of("PriorityClass") if each.typed is default)
    base = Verdict(
        property=NAME,
        subject=str(where.key),
        verdict=Answer.PROVED,
        message="",
        method="exploration",
        assumptions=(question.machines.name, "priorities/default-later", "others/as-written"),
    )
    states = used = 0
    complete = True
    for entry in classless:
        for scene in _scenes(question, entry):
            if used > BUDGET:
                complete = False
                break
            stop = partial(_has_lost, scene)
            graph = scene.arrivals.explored(stage(question, question.nodes).ground.budget, scene.start, stop=stop)
            states += len(graph.edges)
            used += scene.arrivals.asked
            if graph.complete:
                continue
            last = graph.states[len(graph.edges)]
            if _lost(scene, last) is None:
                complete = False
                continue
            path = [graph.states[number] for number in graph.trace(len(graph.edges))]
            return [_cascade(question, where, default, entry, scene, path, base)]
    if not complete:
        message = "the budget for layouts ran out; nobody was preempted for ever in those that were looked at"
        return [msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)]
    message = "pods that are made under it preempt none of another workload that it does not rank below them"
    if default.preemption_policy == "Never":
        message = "pods that are made under it preempt nobody (preemptionPolicy: Never)"
    return [msgspec.structs.replace(base, message=message, covered=Covered(states, 0))]


def _is_classless(entry: Entry) -> bool:
    workload = entry.typed
    if not isinstance(workload, machines.WORKLOADS) or isinstance(workload, DaemonSet):
        return False
    return not machines.template_of(workload).spec.priority_class_name


def _scenes(question: Question, entry: Entry) -> Iterator[Scene]:
    """The workload makes pods, with the pods of each other workload in turn as the youngest of all."""
    system, nodes = question.system, question.nodes
    young = machines.crowd(system, nodes)
    old = machines.crowd(_before(system), nodes)
    mine = next((i for i, group in enumerate(young) if group.owner == str(entry.key)), None)
    if mine is None:
        return
    more = _newcomers(question, entry, young[mine])
    if not more:
        return
    ground = stage(question, nodes).ground
    larger = [replace(group, count=group.count + more) if i == mine else group for i, group in enumerate(young)]
    if room.count(larger, nodes, ground.standing, ground.minor)[mine].always:
        return  # what it makes finds a place, and has nobody to preempt
    layout = _layout(ground, old)
    count = len(old)
    reborn = {i: count + i for i in range(count) if young[i].pod.spec.priority != old[i].pod.spec.priority}
    for other in range(count):
        if other == mine or other not in reborn:
            continue
        aged = [replace(group, pod=_since(group, i == other)) for i, group in enumerate(old)]
        arrivals = ground.arrivals([*aged, *young], reborn=reborn)
        waiting = [0] * (2 * count)
        waiting[count + mine] = more
        yield Scene(arrivals, State(layout, tuple(waiting)), count + mine, reborn)


def _before(system: System) -> System:
    """The system as it was before its default class."""

    def made(entry: Entry) -> Entry:
        if not isinstance(entry.typed, PriorityClass) or not entry.typed.global_default:
            return entry
        return replace(entry, typed=msgspec.structs.replace(entry.typed, global_default=False))

    return replace(system, entries=tuple(made(entry) for entry in system.entries))


def _newcomers(question: Question, entry: Entry, group: Group) -> int:
    workload = entry.typed
    scaler = machines.autoscalers(question.system).get((entry.key.kind, entry.key.namespace, entry.key.name))
    scaled = max(0, scaler.spec.max_replicas - group.count) if scaler is not None else 0
    surge = machines.resolved_surge(workload) if isinstance(workload, Deployment) else 0
    return min(max(scaled, surge), 20)


def _layout(ground: Ground, groups: Sequence[Group]) -> Layout:
    """Where the order of the files puts the pods; those that find no node are not there."""
    arrivals = ground.arrivals(groups)
    state = arrivals.initial
    while (step := next(iter(arrivals.steps(state)), None)) is not None:
        state = step[1]
    return state.layout


def _since(group: Group, is_young: bool) -> Pod:
    started = LONG_AGO + timedelta(hours=1) if is_young else LONG_AGO
    return msgspec.structs.replace(group.pod, status=msgspec.structs.replace(group.pod.status, start_time=started))


def _lost(scene: Scene, state: State) -> int | None:
    """The group of a pod that was preempted and waits, of another workload than the one that makes pods."""
    groups = scene.arrivals.groups
    maker = groups[scene.newcomer].owner
    return next((i for i in scene.reborn.values() if state.waiting[i] and groups[i].owner != maker), None)


def _has_lost(scene: Scene, state: State) -> bool:
    return _lost(scene, state) is not None


def _cascade(
    question: Question,
    where: Entry,
    default: PriorityClass,
    entry: Entry,
    scene: Scene,
    path: list[State],
    base: Verdict,
) -> Verdict:
    arrivals = scene.arrivals
    moves = arrivals.walk(path, scene.start)
    state = scene.start
    for move in moves:
        state = arrivals.after(state, move)
    lost = _lost(scene, state)
    assert lost is not None, "the path ends with a pod that was preempted"
    victim = arrivals.groups[lost]
    other = next(each for each in question.system.entries if str(each.key) == victim.owner)
    count = scene.start.waiting[scene.newcomer]
    first = told(arrivals, moves)
    further = 0
    while (step := next(iter(arrivals.steps(state)), None)) is not None:
        further += len(step[0].victims)
        state = step[1]
    waits = next((i for i, number in enumerate(state.waiting) if number), None)
    value = default.value
    ending = "in the end all pods have a place"
    steps = []
    if further:
        steps.append(Step("Scheduler", f"preempts {further} more that are older, one for the other"))
    if waits is not None:
        ending = f"in the end a pod of {arrivals.groups[waits].owner} waits, and can preempt nobody"
        message = arrivals.placement(state.layout, waits).message
        steps.append(Step("Scheduler", f"{arrivals.groups[waits].owner}: {message}"))
    inside = ("spec", "template", "spec", "priorityClassName")
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=f"new pods of {entry.key} preempt older ones of {victim.owner}: neither names a class, but pods made "
        f"before {default.metadata.name} have priority 0 and those made since {value}; {ending}",
        places=(where.place("globalDefault"), where.place("value"), other.place(*inside), entry.place(*inside)),
        trace=(
            Step("User", "installs the system; its pods without a class have priority 0"),
            Step("User", f"makes PriorityClass {default.metadata.name}, the default of pods made from now on"),
            Step(
                f"{entry.key.kind} controller",
                f"makes {count} more pod{'s' * (count > 1)} of {entry.key}, with priority {value}",
            ),
            *first,
            Step(
                f"{other.key.kind} controller",
                f"replaces what was preempted of {victim.owner}, with priority {value} as well",
            ),
            *steps,
        ),
    )
