"""RemovePodsViolatingTopologySpreadConstraint: of the pods that a constraint counts, those too many in a domain."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from seatrial.control.addons.descheduler.evictor import Evictor
from seatrial.control.addons.descheduler.policy import Scope
from seatrial.control.addons.descheduler.round import Round, admits
from seatrial.control.scheduler import machines
from seatrial.control.scheduler.board import with_label_keys
from seatrial.kube import selectors
from seatrial.kube.objects import LabelSelector, Pod
from seatrial.kube.objects.pods import TopologySpreadConstraint


class SpreadArgs(Scope, frozen=True):
    constraints: tuple[Literal["DoNotSchedule", "ScheduleAnyway"], ...] = ()
    topology_balance_node_fit: bool = True


def run(args: SpreadArgs, evictor: Evictor, round_: Round) -> None:
    """Of the pods that a spread constraint counts, those too many in a topology domain."""
    actions = args.constraints or ("DoNotSchedule",)
    by_namespace: dict[str, list[Pod]] = {}
    for node in round_.nodes:
        for pod in round_.on(node):
            if args.covers(pod) and evictor.may(pod):
                by_namespace.setdefault(pod.metadata.namespace, []).append(pod)
    chosen: dict[tuple[str, str], Pod] = {}
    for _, pods in sorted(by_namespace.items()):
        known: list[tuple[object, ...]] = []
        for pod in pods:
            for constraint in pod.spec.topology_spread_constraints:
                same = _identity(constraint, pod)
                if constraint.when_unsatisfiable in actions and same not in known:
                    known.append(same)
                    for each in _too_many(constraint, pod, pods, args, round_):
                        chosen[each.metadata.namespace, each.metadata.name] = each
    for _, pod in sorted(chosen.items()):
        if evictor.may_and_fits(pod):
            round_.evict(pod, "RemovePodsViolatingTopologySpreadConstraint")


def _selector(constraint: TopologySpreadConstraint, pod: Pod) -> LabelSelector | None:
    return with_label_keys(constraint.label_selector, pod.metadata.labels, constraint.match_label_keys)


def _identity(constraint: TopologySpreadConstraint, pod: Pod) -> tuple[object, ...]:
    """What makes two pods' constraints one: where they may go counts as far as the constraint honours it."""
    affinity = (pod.spec.node_selector, machines.required_terms(pod)) if _honours_affinity(constraint) else None
    tolerations = pod.spec.tolerations if constraint.node_taints_policy == "Honor" else None
    return constraint.max_skew, constraint.topology_key, _selector(constraint, pod), affinity, tolerations


def _honours_affinity(constraint: TopologySpreadConstraint) -> bool:
    return constraint.node_affinity_policy in ("", "Honor")


def _too_many(
    constraint: TopologySpreadConstraint, owner: Pod, pods: Iterable[Pod], args: SpreadArgs, round_: Round
) -> list[Pod]:
    """The pods to move from the largest domains to the smallest, for the constraint as its `owner` has it."""
    key, selector = constraint.topology_key, _selector(constraint, owner)
    eligible = [
        node
        for node in round_.nodes
        if not (_honours_affinity(constraint) and machines.affinity_conflicts(owner, node))
        and (constraint.node_taints_policy != "Honor" or admits(owner, node))
    ]
    value_of = {node.metadata.name: node.metadata.labels[key] for node in round_.nodes if key in node.metadata.labels}
    domains: dict[str, list[Pod]] = {
        value_of[node.metadata.name]: [] for node in eligible if node.metadata.name in value_of
    }
    for pod in pods:
        if (
            pod.spec.node_name in value_of
            and not round_.is_going(pod)
            and selectors.matches(selector, pod.metadata.labels)
        ):
            domains.setdefault(value_of[pod.spec.node_name], []).append(pod)
    sizes = [len(each) for each in domains.values()]
    if not sizes or max(sizes) - min(sizes) <= constraint.max_skew:
        return []
    mean = sum(sizes) / len(sizes)
    wanting = {value for value, each in domains.items() if len(each) < mean}
    room = [node for node in eligible if value_of.get(node.metadata.name) in wanting]
    ordered = [
        sorted(each, key=_steadiness) for _, each in sorted(domains.items(), key=lambda item: (len(item[1]), item[0]))
    ]
    chosen: list[Pod] = []
    first, last = 0, len(ordered) - 1
    while first < last:
        if len(ordered[last]) <= mean:
            last -= 1
        skew = len(ordered[last]) - len(ordered[first])
        above, below = math.ceil(len(ordered[last]) - mean), math.ceil(mean - len(ordered[first]))
        number = min(above, below, math.ceil((skew - constraint.max_skew) / 2))
        if skew <= constraint.max_skew or number <= 0:
            first += 1
            continue
        ordered[last].sort(key=lambda pod: round_.fits_elsewhere(pod, room))
        moved = ordered[last][-number:]
        del ordered[last][-number:]
        ordered[first] += moved
        chosen += (pod for pod in moved if not args.topology_balance_node_fit or round_.fits_elsewhere(pod, room))
    return chosen


def _steadiness(pod: Pod) -> tuple[bool, int]:
    """The last are moved first. That is the highest priority, against upstream's own comment."""
    affinity = pod.spec.affinity
    bound = bool(pod.spec.node_selector) or (affinity is not None and affinity.node_affinity is not None)
    return not bound, -1 if pod.spec.priority is None else pod.spec.priority
