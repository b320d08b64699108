"""`drain/completes`: whatever node is drained, its pods can be evicted in the end.

`kubectl drain --ignore-daemonsets --delete-emptydir-data --force` asks the eviction API for every pod of the node and
repeats what a PodDisruptionBudget refuses, for ever. Asked of each budget, of the controller and the API that run:

* at rest, with as many pods as the files ask for and as few as an autoscaler may leave: is one eviction allowed?
* while a rollout whose containers crash is under way (as `rollout/rollback` supposes it): can the pods that crash be
  evicted? They guard nothing, yet a budget keeps them unless its unhealthyPodEvictionPolicy is AlwaysAllow or enough
  others are ready;
* in every layout that an install can lead to, for every node: does the drain end, with what is evicted placed
  elsewhere? Machines that are inferred get one more for that: nobody drains the only one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from seatrial.check import machines
from seatrial.check.machines import Workload
from seatrial.check.placing.budgets import Budgets, Share, selects
from seatrial.check.placing.drains import Drains, Way
from seatrial.check.placing.ground import stage, told
from seatrial.check.properties import Property, Question
from seatrial.check.system import Entry, Place
from seatrial.check.verdicts import Answer, Covered, Field, Step, Verdict
from seatrial.control import rollout
from seatrial.kube.objects import (
    DaemonSet,
    Deployment,
    Job,
    Node,
    Pod,
    PodDisruptionBudget,
    StatefulSet,
)

NAME = "drain/completes"
PROPERTIES = (
    Property(
        name=NAME,
        asks="can every node be drained, with the pods' disruption budgets?",
        formally="from every state with all pods ready, and from one in which a crashing rollout has stopped, "
        "the drain of any node reaches a state without evictable pods on it",
        premise="the system has a PodDisruptionBudget that selects pods of it",
        sometimes="a drained node has had pods of the budget",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {
    "drain/options": "drains ignore DaemonSets, and delete local data and pods without a controller",
    "others/as-written": "other workloads stand where the order of the files puts them",
    "nodes/one-more": "there is one machine more than the pods need, or none could be drained",
    "containers/healthy": "containers of the files' templates start, pass their probes, stay up",
    "rollout/broken-template": "containers of the changed template crash before they are ready, every time",
}
LARGEST = 500
"""Of more pods the layouts are not looked at."""
MOST = 5_000
"""Of more pods not even the evictions at rest."""
_OWNERS = (Pod, *machines.WORKLOADS)
RETRIES = "kubectl asks again every 5 s"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A budget and the pods it selects: workloads and how many pods each is to have."""

    entry: Entry
    budget: PodDisruptionBudget
    owners: tuple[tuple[Entry, int], ...]

    @property
    def field(self) -> Place:
        name = "maxUnavailable" if self.budget.spec.max_unavailable is not None else "minAvailable"
        return self.entry.place("spec", name)

    def shares(self, sizes: Mapping[str, int] = {}, but: Entry | None = None) -> tuple[Share, ...]:
        """All of its pods ready; `sizes` says otherwise than the files how many a workload has."""
        found = []
        for entry, count in self.owners:
            if entry is not but:
                typed = entry.typed
                assert isinstance(typed, _OWNERS)
                size = sizes.get(str(entry.key), count)
                found.append(Share(typed if isinstance(typed, Pod) else resized(typed, size), size))
        return tuple(found)


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    budgets = Budgets(question.system)
    nodes = question.nodes if question.system.of("Node") else (*question.nodes, one_more(question.nodes))
    verdicts = []
    for guarded in guards(question, budgets):
        base = Verdict(
            property=NAME,
            subject=str(guarded.entry.key),
            verdict=Answer.PROVED,
            message="",
            method="exploration",
            assumptions=(question.machines.name, "drain/options", "others/as-written", "containers/healthy"),
        )
        if not guarded.owners:
            message = "it selects no pods of the system, so it keeps nobody from draining a node"
            verdicts.append(msgspec.structs.replace(base, message=message, method="lookup", assumptions=()))
            continue
        if sum(count for _, count in guarded.owners) > MOST:
            message = f"it selects more than {MOST} pods, which are not looked at one by one"
            verdicts.append(msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message, method="lookup"))
            continue
        verdicts.append(
            _overlap(base, guarded, budgets)
            or _at_rest(question, base, guarded, budgets)
            or _crashing(base, guarded, budgets)
            or _large(base, guarded)
            or _drains(question, base, guarded, nodes)
        )
    return verdicts


def guards(question: Question, budgets: Budgets) -> Iterator[Guarded]:
    for entry in budgets.entries:
        budget = entry.typed
        assert isinstance(budget, PodDisruptionBudget)
        owners = []
        for other in question.system.entries:
            typed = other.typed
            if isinstance(typed, Pod) and selects(budget, typed):
                owners.append((other, 1))
            elif isinstance(typed, machines.WORKLOADS) and not isinstance(typed, DaemonSet | Job):
                count = machines.replicas(typed)
                if count > 0 and selects(budget, machines.pods_of(typed, 1)[0]):
                    owners.append((other, count))
        yield Guarded(entry, budget, tuple(owners))


def resized(workload: Workload, count: int) -> Workload:
    if isinstance(workload, DaemonSet | Job) or machines.replicas(workload) == count:
        return workload
    spec = msgspec.structs.replace(workload.spec, replicas=count)
    return msgspec.structs.replace(workload, spec=spec)


def _overlap(base: Verdict, guarded: Guarded, budgets: Budgets) -> Verdict | None:
    """Two budgets for one pod: the eviction API refuses, whatever they say."""
    shares = guarded.shares()
    for (entry, _), share in zip(guarded.owners, shares, strict=True):
        pod = share.pods()[0]
        mine = budgets.of(pod)
        if len(mine) < 2:
            continue
        others = [each for each in mine if each is not guarded.entry]
        refused = budgets.evicts(pod, shares)
        assert refused is not None, "the eviction API refuses a pod of several budgets"
        names = ", ".join(str(each.key) for each in others)
        places = tuple(each.place("spec", "selector") for each in (guarded.entry, *others))
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"no node with a pod of {entry.key} can be drained: {names} selects it, too. {refused.message}",
            places=places,
            trace=(
                Step("User", f"drains the node of a pod of {entry.key}"),
                Step("Eviction API", f"{refused.code}: {refused.message}"),
            ),
            method="simulation",
        )
    return None


def _at_rest(question: Question, base: Verdict, guarded: Guarded, budgets: Budgets) -> Verdict | None:
    """With all pods ready, no eviction is allowed."""
    scalers = machines.autoscalers(question.system)
    least: dict[str, int] = {}
    for entry, count in guarded.owners:
        key = entry.key
        scaler = scalers.get((key.kind, key.namespace, key.name))
        if scaler is not None:
            floor = 1 if scaler.spec.min_replicas is None else scaler.spec.min_replicas
            least[str(key)] = min(count, max(1, floor))
    for sizes in ({}, least) if least else ({},):
        shares = guarded.shares(sizes)
        after = budgets.status(guarded.entry, shares).status
        if after.disruptions_allowed > 0:
            continue
        entry, share = guarded.owners[0][0], shares[0]
        refused = budgets.evicts(share.pods()[0], shares)
        assert refused is not None, "without disruptions allowed a ready pod is not evicted"
        place, when = entry.place("spec", "replicas"), ""
        scaler = scalers.get((entry.key.kind, entry.key.namespace, entry.key.name)) if sizes else None
        if scaler is not None:
            when = f", once {scaler.key} has scaled to {share.ready}"
            scaling = question.system.get(scaler.kind, scaler.metadata.namespace, scaler.metadata.name)
            place = scaling.place("spec", "minReplicas") if scaling else place
        total = sum(each.ready for each in shares)
        allowed = Field(str(guarded.entry.key), "status.disruptionsAllowed", None, 0)
        needs = f"{after.current_healthy} pods are healthy and {after.desired_healthy} have to be"
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"the drain of a node with a pod of {entry.key} never ends{when}: the budget wants "
            f"{after.desired_healthy} of {total} pods healthy, so none of them may be evicted",
            places=(guarded.field, place),
            trace=(
                Step("User", f"installs the system; {total} pods of the budget are ready{when}"),
                Step("Disruption controller", f"allows no disruption: {needs}", (allowed,)),
                Step("User", f"drains the node of a pod of {entry.key}"),
                Step("Eviction API", f"refuses: {refused.message} {refused.cause}; {RETRIES}"),
            ),
            loop=3,
            method="simulation",
        )
    return None


def _crashing(base: Verdict, guarded: Guarded, budgets: Budgets) -> Verdict | None:
    """A rollout whose containers crash has stopped, and its pods cannot be evicted."""
    for entry, count in guarded.owners:
        workload = entry.typed
        assert isinstance(workload, _OWNERS)
        state = None if isinstance(workload, Pod) else _stopped(workload, count)
        if state is None or isinstance(workload, Pod):
            continue
        ready, broken, field = state
        share = Share(workload, ready, broken)
        shares = (share, *guarded.shares(but=entry))
        refused = budgets.evicts(share.pods()[-1], shares)
        if refused is None:
            continue
        after = budgets.status(guarded.entry, shares).status
        return msgspec.structs.replace(
            base,
            verdict=Answer.REFUTED,
            message=f"while a rollout of {entry.key} crashes, the drain of a node with one of its crashing pods never "
            f"ends: {after.current_healthy} pods are healthy, the budget wants {after.desired_healthy}, and so it "
            "keeps pods that do not work, too (unhealthyPodEvictionPolicy)",
            places=(
                guarded.entry.place("spec", "unhealthyPodEvictionPolicy"),
                guarded.field,
                entry.place("spec", *field),
            ),
            trace=(
                Step("User", f"installs the system; {count} pods of {entry.key} are ready"),
                Step("User", f"changes the pod template of {entry.key} to one whose containers crash"),
                Step(
                    f"{entry.key.kind} controller",
                    f"replaces pods as far as it may: {ready} old ones are ready, {broken} new ones crash",
                ),
                Step("User", "drains the node of a pod that crashes"),
                Step("Eviction API", f"refuses: {refused.message} {refused.cause}; {RETRIES}"),
            ),
            loop=4,
            method="simulation",
            assumptions=(*base.assumptions, "rollout/broken-template"),
        )
    return None


def _stopped(workload: Workload, count: int) -> tuple[int, int, tuple[str, ...]] | None:
    """Where a rollout whose containers crash stops: ready pods, crashing pods, the field that says so."""
    if isinstance(workload, Deployment):
        if workload.spec.strategy.type == "Recreate":
            return 0, count, ("strategy", "type")
        rolling = workload.spec.strategy.rolling_update
        assert rolling is not None, "admission gives a rolling update its bounds"
        limits = rollout.bounds(count, rolling.max_surge, rolling.max_unavailable)
        left = limits.min_available
        return left, limits.max_total - left, ("strategy", "rollingUpdate", "maxUnavailable")
    if isinstance(workload, StatefulSet) and workload.spec.update_strategy.type != "OnDelete":
        rolling_set = workload.spec.update_strategy.rolling_update
        if rolling_set is not None and (rolling_set.partition or 0) >= count:
            return None
        broken = min(count, machines.resolved_unavailable(workload, count))
        return count - broken, broken, ("updateStrategy",)
    return None


def drains_of(question: Question, entry: Entry, guarded: Sequence[Guarded], nodes: tuple[Node, ...]) -> Drains | None:
    """The model of one workload's drains; None if it has no pods to place."""
    workload = entry.typed
    assert isinstance(workload, machines.WORKLOADS)
    set_up = stage(question, nodes)
    group = set_up.groups.get(str(entry.key))
    if group is None:
        return None
    others = set_up.without(question.system, workload)
    ground = replace(set_up.ground, standing=others)
    shares = {str(share.workload.key): share for each in guarded for share in each.shares(but=entry)}
    return Drains(ground, workload, group, others, Budgets(question.system), tuple(shares.values()))


def _large(base: Verdict, guarded: Guarded) -> Verdict | None:
    if sum(count for _, count in guarded.owners) <= LARGEST:
        return None
    message = f"it selects more than {LARGEST} pods, whose drains are not looked at; one of them may go at any time"
    return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)


def _drains(question: Question, base: Verdict, guarded: Guarded, nodes: tuple[Node, ...]) -> Verdict:
    """Every layout, every node: does the drain end?"""
    if nodes is not question.nodes:
        base = msgspec.structs.replace(base, assumptions=(*base.assumptions, "nodes/one-more"))
    total = sum(count for _, count in guarded.owners)
    message = f"every drain of a node with some of its {total} pods ends"
    if sum(not node.spec.unschedulable for node in nodes) < 2:
        message = f"one of its {total} pods may be evicted at any time; there is no second node to go to"
        return msgspec.structs.replace(base, message=message, method="lookup")
    states = tried = used = 0
    complete = True
    counted = True
    for entry, _ in guarded.owners:
        if isinstance(entry.typed, Pod) or stage(question, nodes).rooms.get(str(entry.key), 0) > 1:
            continue  # what is evicted finds another place, whatever else stands where
        counted = False
        drains = drains_of(question, entry, (guarded,), nodes)
        if drains is None:
            continue
        ways, whole = drains.installed(drains.ground.budget)
        complete = complete and whole
        for way in ways:
            for node in drains.distinct(way.state):
                if used + drains.used > drains.ground.budget:
                    complete = False
                    break
                ends, whole = drains.drained(way, node, drains.ground.budget)
                complete = complete and whole
                tried += 1
                states += len(ends)
                stuck = next((end for end in ends if end.state.layout[node]), None)
                if stuck is not None:
                    return _stuck(base, guarded, entry, drains, way, stuck, node)
        used += drains.used
    if not complete:
        message = f"the budget for layouts ran out after {tried} drains, each of which ended"
        return msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)
    if counted:
        assumptions = tuple(name for name in base.assumptions if name != "others/as-written")
        return msgspec.structs.replace(base, message=message, method="counting", assumptions=assumptions)
    return msgspec.structs.replace(base, message=message, covered=Covered(states, tried))


def one_more(nodes: Sequence[Node]) -> Node:
    """A machine more, like the first."""
    model = nodes[0]
    name = f"node-{len(nodes)}"
    labels = {**model.metadata.labels, "kubernetes.io/hostname": name}
    metadata = msgspec.structs.replace(model.metadata, name=name, uid=name, labels=labels)
    return msgspec.structs.replace(model, metadata=metadata)


def _stuck(base: Verdict, guarded: Guarded, entry: Entry, drains: Drains, way: Way, stuck: Way, node: int) -> Verdict:
    name = drains.ground.nodes[node].metadata.name
    left = len(stuck.state.layout[node])
    ready = drains.group.count - stuck.state.waiting[0]
    placement = stuck.arrivals.placement(stuck.state.layout, 0) if stuck.state.waiting[0] else None
    waits = f"; {stuck.state.waiting[0]} evicted before find no other node: {placement.message}" if placement else ""
    refused = drains.refusal(ready)
    fields = {field for obstacle in placement.obstacles for field in obstacle.pod_fields} if placement else set()
    places = [guarded.field, entry.place("spec", "replicas")]
    places += [entry.place("spec", "template", *path_of(field)) for field in sorted(fields)]
    return msgspec.structs.replace(
        base,
        verdict=Answer.REFUTED,
        message=f"the drain of {name} never ends: {left} pod{'s' * (left > 1)} of {entry.key} may not be evicted"
        + waits,
        places=tuple(places),
        trace=(
            Step("User", "installs the system"),
            *told(way.arrivals, way.moves),
            Step("User", f"drains {name}"),
            *told(stuck.arrivals, stuck.moves),
            *([Step("Scheduler", placement.message)] if placement else []),
            Step("Eviction API", f"refuses: {refused}; {RETRIES}"),
        ),
        loop=3 + len(told(way.arrivals, way.moves)) + len(told(stuck.arrivals, stuck.moves)) - 1 + bool(placement),
    )


def path_of(text: str) -> tuple[str | int, ...]:
    """`spec.a[0].b` as a path."""
    found: list[str | int] = []
    for part in text.replace("[", ".[").split("."):
        found.append(int(part[1:-1]) if part.startswith("[") else part)
    return tuple(found)
