"""LowNodeUtilization: from nodes that are asked for too much to such that are asked for little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from seatrial.control import qos
from seatrial.control.addons.descheduler.evictor import NO_EVICTION, Evictor
from seatrial.control.addons.descheduler.policy import Count, Namespaces, Percentage, Raw
from seatrial.control.addons.descheduler.round import Outcome, Round, reached
from seatrial.control.scheduler import machines
from seatrial.control.scheduler.demand import amounts, demand
from seatrial.kube.objects import Node, Pod

_QOS: Final = ("BestEffort", "Burstable", "Guaranteed")
_BASIC: Final = ("cpu", "memory", "pods")


class EvictionLimits(Raw, frozen=True):
    node: Count | None = None


class UtilizationArgs(Raw, frozen=True):
    thresholds: Mapping[str, Percentage] = {}
    target_thresholds: Mapping[str, Percentage] = {}
    number_of_nodes: int = 0
    use_deviation_thresholds: bool = False
    evictable_namespaces: Namespaces = Namespaces()
    eviction_limits: EvictionLimits = EvictionLimits()
    metrics_utilization: None = None

    def __post_init__(self) -> None:
        low, high = self.thresholds, self.target_thresholds
        if not low or low.keys() != high.keys() or self.evictable_namespaces.include:
            raise ValueError("thresholds of different resources or none, or namespaces to include")
        if not self.use_deviation_thresholds and any(low[name] > high[name] for name in low):
            raise ValueError("thresholds that contradict each other")


def run(args: UtilizationArgs, evictor: Evictor, round_: Round) -> None:
    """From nodes that are asked for too much to such that are asked for little."""
    names = sorted({*_BASIC, *args.thresholds})
    has = {node.metadata.name: amounts(node.status.allocatable or node.status.capacity) for node in round_.nodes}
    usage = {node.metadata.name: {name: round_.used(node).get(name, 0) for name in names} for node in round_.nodes}
    percent = {
        node: {name: 100 * usage[node][name] / has[node][name] if has[node].get(name) else 0.0 for name in names}
        for node in usage
    }
    low, high = args.thresholds, args.target_thresholds
    if args.use_deviation_thresholds:
        mean = {name: sum(each[name] for each in percent.values()) / len(percent) for name in names}
        low = {name: min(100.0, max(0.0, mean[name] - value)) for name, value in low.items()}
        high = {name: min(100.0, max(0.0, mean[name] + value)) for name, value in high.items()}
    under, over = [], []
    for node in round_.nodes:
        mine = percent[node.metadata.name]
        if not node.spec.unschedulable and all(mine[name] <= value for name, value in low.items()):
            under.append(node)
        elif any(mine[name] > value for name, value in high.items()):
            over.append(node)
    if not under or len(under) <= args.number_of_nodes or len(under) == len(round_.nodes) or not over:
        return
    target = {
        node: {name: int(high.get(name, 100.0) * 0.01 * has[node].get(name, 0)) for name in names} for node in usage
    }
    left = Counter[str]()
    for each in under:
        for name in names:
            left[name] += target[each.metadata.name][name] - usage[each.metadata.name][name]
    for node in sorted(over, key=lambda node: (-sum(usage[node.metadata.name].values()), node.metadata.name)):
        uses, limit = usage[node.metadata.name], target[node.metadata.name]
        evicted = 0
        for pod in sorted(filter(evictor.may, round_.on(node)), key=_importance):
            above = any(uses[name] > limit[name] for name in names)
            if not above or min(left.values()) <= 0 or reached(args.eviction_limits.node, evicted):
                break
            allowed = args.evictable_namespaces.allow(pod.metadata.namespace)
            if not (allowed and _tolerates_one(pod, under) and evictor.fits(pod)):
                continue
            match round_.evict(pod, "LowNodeUtilization"):
                case Outcome.TOTAL_LIMIT:
                    return
                case Outcome.NODE_LIMIT:
                    break
                case Outcome.DONE:
                    evicted += 1
                    moved = {**demand(pod, round_.minor).requests, "pods": 1}
                    for name in names:
                        uses[name] -= moved.get(name, 0)
                        left[name] -= moved.get(name, 0)


def _tolerates_one(pod: Pod, nodes: Iterable[Node]) -> bool:
    """Taints of any effect count, and upstream wants as many tolerations as there are taints."""
    mine = pod.spec.tolerations
    return any(
        len(mine) >= len(node.spec.taints) and all(machines.tolerates(mine, taint) for taint in node.spec.taints)
        for node in nodes
    )


def _importance(pod: Pod) -> tuple[bool, int, int, bool]:
    quality = _QOS.index(qos.of(pod))
    return pod.spec.priority is not None, pod.spec.priority or 0, quality, NO_EVICTION in pod.metadata.annotations
