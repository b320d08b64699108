"""`evict/stable`: pods that are made are not ended again and again.

Asked of each workload by itself: do its pods come to be on a node that ends them (a NoExecute taint that they do not
tolerate, or for a while only; a node that does not take what names it; a full disk), and come to be there again? First
it is asked which nodes could ever do that to a pod, whatever else runs; where none can, nothing has to be explored.
Pods that name their node do not depend on each other, so one of them stands for all.

Asked of each descheduler's policy, with all workloads: does it sometimes find nothing more to evict?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from seatrial.check import explore, machines, story
from seatrial.check.endless import Recurrent, recurrent, round_trip
from seatrial.check.model import keeping
from seatrial.check.model.space import State
from seatrial.check.placing.ground import called_by_name
from seatrial.check.properties import Property, Question
from seatrial.check.runs.upkeep import ENDING, KEPT, OPTIONAL, Keep, Kept, Upkeep
from seatrial.check.system import Entry, Place
from seatrial.check.verdicts import Answer, Covered, Verdict
from seatrial.control import scheduler
from seatrial.control.addons import descheduler
from seatrial.control.addons.descheduler import policy as policies
from seatrial.control.lifecycle.origins import is_critical
from seatrial.kube.objects import ConfigMap, Node, ObjectMeta, Pod, PodDisruptionBudget

NAME: Final = "evict/stable"
LARGEST: Final = 500
PROPERTIES = (
    Property(
        name=NAME,
        asks="are pods left alone in the end, and not made and ended for ever?",
        formally="every fair run satisfies FG (no pod is evicted, refused by its node or descheduled); ties are drawn",
        premise="the system has a Deployment, StatefulSet, ReplicaSet or ReplicationController that asks for pods;"
        " for a descheduler, a DeschedulerPolicy",
        sometimes="a pod is ready, or is ended",
    ),
)
ASSUMPTIONS = {
    "disk/fills": "the disk of one node may fill up, at any time, and then stays full",
    "containers/healthy": "containers of the files' templates start, pass their probes, stay up",
    "others/steady": "other workloads are installed and do not roll out",
    "install/one-order": "the install has come to rest in one of its orders",
    "pods/end": "pods that have to go are gone before as many again have to",
    "nodes/drained": "one node may be drained and let in again, between rounds",
    "rounds/apart": "a descheduler looks when what it did before has come to rest, and pods are old enough for it",
    "ties/random": "the scheduler draws among equally good nodes, so every choice comes sooner or later",
    "ties/sampled": "ties of over four different pods: 24 orders tried",
    "storage/binds": "claims are bound and volumes attach wherever their pods go",
}
ALWAYS: Final = ("containers/healthy", "others/steady", "ties/random")


@dataclass(frozen=True, slots=True)
class Threat:
    """What ends a pod on a node that it may come to; `pressure`: if the disk there is full."""

    node: Node
    why: str
    pressure: bool = False
    crowded: bool = False
    """Because of the others there."""


@dataclass(slots=True)
class Explored:
    model: Upkeep
    graph: explore.Graph[State, Any]
    loop: Recurrent | None


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    verdicts = []
    for entry in question.system.entries:
        if isinstance(entry.typed, KEPT) and machines.replicas(entry.typed):
            verdicts.append(_of_workload(question, entry, entry.typed))
    for entry in question.system.entries:
        policy = _policy(entry)
        if policy is not None:
            verdicts.append(_of_policy(question, entry, policy))
    return verdicts


def _base(entry: Entry, *more: str) -> Verdict:
    return Verdict(
        property=NAME,
        subject=str(entry.key),
        verdict=Answer.PROVED,
        message="",
        method="exploration",
        assumptions=(*ALWAYS, *more),
    )


def run(question: Question, keep: Keep) -> Explored:
    key = ("evict", *keep.asked, question.budget)
    found = question.known.get(key)
    if found is None:
        model = Upkeep(keep)
        graph = explore.explore(model.model, question.budget.about("evictions"))
        loops = recurrent(graph, optional=lambda label: label[0] in OPTIONAL)
        loop = next((each for each in loops if any(label[0] in ENDING for _, label, _ in each.acts)), None)
        found = question.known[key] = Explored(model, graph, loop)
    assert isinstance(found, Explored)
    return found


# --- one workload ---


def _of_workload(question: Question, entry: Entry, workload: Kept) -> Verdict:
    base = _base(entry, "disk/fills")
    others, _ = machines.place(question.system, question.nodes, without=workload)
    pod = machines.placeable(question.system, machines.pods_of(workload, 1)[0])
    threats = list(_threats(question, workload, pod, others))
    if not threats:
        message = "no node to which its pods may come ends them again"
        return msgspec.structs.replace(base, message=message, method="lookup")
    count = machines.replicas(workload)
    if pod.spec.node_name and not any(threat.crowded for threat in threats):
        count = 1
    if count > LARGEST:
        message = f"it asks for more than {LARGEST} pods, whose evictions are not explored"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    keep = Keep(
        workloads=(_sized(workload, count, pod),),
        nodes=question.nodes,
        others=tuple(others),
        leaving=0 if pod.spec.node_name and count == 1 else count,
        pressure=any(threat.pressure for threat in threats),
        named_nodes=called_by_name(question.system, question.nodes),
        minor=int(question.system.version.split(".")[1]),
    )
    found = run(question, keep)
    base = _covered(base, found, "install/one-order", *(("pods/end",) if keep.leaving else ()))
    if found.loop is None:
        if not found.graph.complete:
            return _spent(base, found)
        message = f"pods that {_named(threats)} ends are placed where they stay, in the end"
        return msgspec.structs.replace(base, message=message)
    told = _tell(found, f"installs {entry.key}")
    threat = _blamed(found, threats)
    message = (
        f"its pods are made and ended again for ever on {threat.node.metadata.name}: {threat.why}; the controller makes"
        " a new one each time"
    )
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=message,
        places=_places(question, entry, pod, threat),
        trace=told.steps,
        loop=told.loop,
    )


def _covered(base: Verdict, found: Explored, *more: str) -> Verdict:
    assumptions = (*base.assumptions, *more, *(("ties/sampled",) if found.model.sampled_ties else ()))
    covered = Covered(len(found.graph.edges), found.graph.transitions)
    return msgspec.structs.replace(base, covered=covered, assumptions=tuple(dict.fromkeys(assumptions)))


def _spent(base: Verdict, found: Explored) -> Verdict:
    message = f"the budget ({found.graph.spent}) ran out; nothing was found in {len(found.graph.edges)} states"
    return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)


def _sized(workload: Kept, count: int, pod: Pod) -> Kept:
    """The workload with so many replicas, and with the priority that its pods are given."""
    template = machines.template_of(workload)
    pods = msgspec.structs.replace(template.spec, priority=pod.spec.priority)
    spec: Any = msgspec.structs.replace(
        workload.spec, replicas=count, template=msgspec.structs.replace(template, spec=pods)
    )
    return msgspec.structs.replace(workload, spec=spec)


def _threats(question: Question, workload: Kept, pod: Pod, others: Sequence[Pod]) -> Iterator[Threat]:
    """Every node that could end a pod that is on it, where the pod may come if nothing else runs."""
    minor = int(question.system.version.split(".")[1])
    bound = pod.spec.node_name
    count = machines.replicas(workload)
    feasible = {bound} if bound else set(scheduler.fits_ever(pod, question.nodes).nodes)
    nodes = [node for node in question.nodes if node.metadata.name in feasible]
    full = {node.metadata.name: keeping.under_pressure(node) for node in nodes}
    still = feasible if bound else set(scheduler.fits_ever(pod, tuple(full.values())).nodes)
    clones = machines.pods_of(workload, min(count, LARGEST + 1))[1:] if bound else []
    for node in nodes:
        name = node.metadata.name
        here = machines.on(pod, name)
        taints = [taint for taint in node.spec.taints if taint.effect == "NoExecute"]
        if taints and keeping.evicted_by_taint(here, node, minor):
            keys = ", ".join(taint.key for taint in taints)
            yield Threat(node, f"its NoExecute taint ({keys}) ends what does not tolerate it for good")
        elif bound:
            refused = keeping.refusal(here, node, others, minor)
            crowded = None if refused else keeping.refusal(here, node, [*others, *clones], minor)
            why = refused or crowded
            if why is not None:
                yield Threat(
                    node, f"the node refuses the pod: {why.reason}, {why.message}", crowded=crowded is not None
                )
        if name in still and not is_critical(pod):
            why = keeping.refusal(here, full[name], (), minor)
            if why is not None:
                text = (
                    f"when its disk is full it refuses and evicts pods ({why.reason}), and they go there all the same"
                )
                yield Threat(node, text, pressure=True)


def _named(threats: Sequence[Threat]) -> str:
    names = list(dict.fromkeys(threat.node.metadata.name for threat in threats))
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} other nodes"


def _blamed(found: Explored, threats: Sequence[Threat]) -> Threat:
    """What ends pods in the loop."""
    assert found.loop is not None
    pressed = {
        node.metadata.name
        for number in found.graph.states[found.loop.entry][found.model.space.slots[Node]]
        if keeping.pressures(node := found.model.pool[number])
    }
    if pressed:
        return next((each for each in threats if each.pressure), threats[0])
    return next((each for each in threats if not each.pressure), threats[0])


def _places(question: Question, entry: Entry, pod: Pod, threat: Threat) -> tuple[Place, ...]:
    at = ("spec", "template", "spec")
    if pod.spec.node_name:
        places = [entry.place(*at, "nodeName")]
    else:
        places = [entry.place(*at, field) for field in ("tolerations", "nodeSelector") if _has(entry, field)]
    if threat.crowded:
        places.append(entry.place("spec", "replicas"))
    machine = question.system.get("Node", "", threat.node.metadata.name)
    if machine is not None and not threat.pressure:
        places.append(machine.place("spec", "taints") if threat.node.spec.taints else machine.place("status"))
    return tuple(places) or (entry.place(*at),)


def _has(entry: Entry, field: str) -> bool:
    spec = entry.written.get("spec") or {}
    return bool(((spec.get("template") or {}).get("spec") or {}).get(field))


# --- a descheduler's policy ---


FIELDS: Final = {
    "RemoveDuplicates": (("spec", "replicas"),),
    "RemovePodsViolatingTopologySpreadConstraint": (
        ("spec", "template", "spec", "topologySpreadConstraints"),
        ("spec", "template", "spec", "affinity"),
    ),
    "LowNodeUtilization": (
        ("spec", "template", "spec", "affinity"),
        ("spec", "template", "spec", "containers", 0, "resources", "requests"),
    ),
    "RemovePodsViolatingNodeAffinity": (("spec", "template", "spec", "affinity"),),
    "RemovePodsViolatingNodeTaints": (("spec", "template", "spec", "tolerations"),),
}
"""What of a workload each plugin looks at."""


def _policy(entry: Entry) -> ConfigMap | None:
    """The policy as the descheduler is given it: in a ConfigMap, or as a file."""
    if isinstance(entry.typed, ConfigMap):
        return entry.typed if descheduler.has_policy(entry.typed) else None
    if entry.key.kind != policies.KIND:
        return None
    text = msgspec.json.encode(entry.written).decode()
    return ConfigMap(metadata=ObjectMeta(name=entry.key.name or "policy", namespace="default"), data={"policy": text})


def _of_policy(question: Question, entry: Entry, policy: ConfigMap) -> Verdict:
    base = _base(entry, "install/one-order", "rounds/apart", "nodes/drained")
    try:
        read = policies.read(policy)
    except (policies.UnreadableError, msgspec.ValidationError, ValueError, RecursionError) as error:
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=f"the policy cannot be followed: {error}")
    enabled = [
        name
        for profile in read.profiles
        for name in (*profile.plugins.deschedule.enabled, *profile.plugins.balance.enabled)
    ]
    kept = [e for e in question.system.entries if isinstance(e.typed, KEPT) and machines.replicas(e.typed)]
    pods = sum(machines.replicas(e.typed) for e in kept if isinstance(e.typed, KEPT))
    if pods > LARGEST:
        message = f"there are more than {LARGEST} pods, whose evictions are not explored"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    standing, _ = machines.standing(question.system, question.nodes)
    owned = {str(e.key) for e in kept}
    workloads = tuple(
        _sized(
            e.typed, machines.replicas(e.typed), machines.placeable(question.system, machines.pods_of(e.typed, 1)[0])
        )
        for e in kept
        if isinstance(e.typed, KEPT)
    )
    others = tuple(each for each in standing if not _is_of(each, owned))
    keep = Keep(
        workloads=workloads,
        nodes=question.nodes,
        others=others,
        budgets=question.system.all(PodDisruptionBudget),
        policies=(policy,),
        named_nodes=called_by_name(question.system, question.nodes),
        minor=int(question.system.version.split(".")[1]),
    )
    found = run(question, keep)
    base = _covered(base, found)
    if found.loop is not None:
        return _restless(question, entry, policy, kept, found, base)
    if not found.graph.complete:
        return _spent(base, found)
    unknown = [name for name in enabled if name not in descheduler.PLUGINS]
    if unknown:
        message = f"it is not known what {', '.join(unknown)} evicts; the other plugins leave pods alone in the end"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    if not found.model.installed:
        message = "the install does not come to rest, so no round was reached"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    return msgspec.structs.replace(base, message="in the end its rounds find nothing more to evict")


def _is_of(pod: Pod, owned: set[str]) -> bool:
    owner = pod.metadata.controller
    return owner is not None and f"{owner.kind} {pod.metadata.namespace}/{owner.name}" in owned


def _restless(
    question: Question, entry: Entry, policy: ConfigMap, kept: Sequence[Entry], found: Explored, base: Verdict
) -> Verdict:
    assert found.loop is not None
    told = _tell(found, f"installs {kept[0].key if len(kept) == 1 else f'{len(kept)} workloads'}")
    plugins: dict[str, None] = {}
    moved: dict[str, None] = {}
    for state, label, _ in found.loop.acts:
        if label[0] == descheduler.CONTROLLER.name:
            for plugin, owner in found.model.evictions(found.graph.states[state]):
                plugins[plugin] = moved[owner] = None
    owners = [each for each in kept if any(name.startswith(each.key.name) for name in moved)]
    names = ", ".join(str(each.key) for each in owners)
    places = [_line(entry, policy, plugin) for plugin in plugins]
    for each in owners:
        for plugin in plugins:
            for path in FIELDS.get(plugin, ()):
                place = each.place(*path)
                if place.line and place not in places:
                    places.append(place)
    message = (
        f"pods of {names} are evicted and come back for ever: what {', '.join(plugins)} evicts is placed where it is"
        " evicted again"
    )
    return msgspec.structs.replace(
        base, verdict=Answer.REFUTED, message=message, places=tuple(places), trace=told.steps, loop=told.loop
    )


def _line(entry: Entry, policy: ConfigMap, plugin: str) -> Place:
    """The line of a policy that enables the plugin. A policy in a ConfigMap is a block of text below its key."""
    if not isinstance(entry.typed, ConfigMap):
        return entry.place("profiles")
    for key, text in sorted(policy.data.items()):
        place = entry.place("data", key)
        lines = text.splitlines()
        if policies.KIND in text and len(lines) > 1 and place.line:
            at = [number for number, line in enumerate(lines, 1) if plugin in line]
            return replace(place, line=place.line + at[-1], column=1) if at else place
    return entry.place("data")


# --- telling ---


def _tell(found: Explored, install: str) -> story.Story:
    assert found.loop is not None
    states = found.graph.states
    around = round_trip(found.loop, lambda _, label, __: label[0] in ENDING)
    begin = f"{install}; {found.model.census(states[0])}" if found.model.installed else install
    return story.tell(
        found.model.model,
        found.graph,
        found.loop.entry,
        None,
        subject="",
        census=found.model.census,
        around=around,
        prelude=begin,
    )
