"""The cluster as one round of the descheduler sees it, and what the round has done so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from seatrial.control import disruption
from seatrial.control.addons.descheduler.policy import Policy
from seatrial.control.controller import Seen
from seatrial.control.scheduler import machines
from seatrial.control.scheduler.board import ENDED, terms_of
from seatrial.control.scheduler.demand import amounts, demand
from seatrial.control.writes import Evict, RecordEvent, Write
from seatrial.kube import selectors
from seatrial.kube.objects import Node, Pod, PodDisruptionBudget


class Outcome(Enum):
    """What became of one eviction; the limits say where to go on."""

    DONE = "done"
    REFUSED = "refused"
    NODE_LIMIT = "node limit"
    TOTAL_LIMIT = "total limit"


class Round:
    """The cluster as this round saw it, and what the round has done so far."""

    def __init__(self, policy: Policy, seen: Seen) -> None:
        self.now, self.minor = seen.now, seen.minor
        self.ready = [node for node in seen.all(Node) if is_ready(node)]
        wanted = selectors.parse(policy.node_selector)
        self.nodes = [node for node in self.ready if wanted.matches(node.metadata.labels)]
        self.writes: list[Write] = []
        self.budgets = {(each.metadata.namespace, each.metadata.name): each for each in seen.all(PodDisruptionBudget)}
        self.replicas = Counter(owner.uid for pod in seen.all(Pod) for owner in pod.metadata.owner_references)
        self._policy = policy
        self._evicted: list[Pod] = []
        self._going: set[tuple[str, str]] = set()
        self._pods: dict[str, list[Pod]] = {}
        self._used: dict[str, Counter[str]] = {}
        for pod in seen.all(Pod):
            if pod.spec.node_name and pod.status.phase not in ENDED:
                self._pods.setdefault(pod.spec.node_name, []).append(pod)
                used = self._used.setdefault(pod.spec.node_name, Counter())
                used.update({**demand(pod, self.minor).requests, "pods": 1})

    def on(self, node: Node) -> Sequence[Pod]:
        return self._pods.get(node.metadata.name, ())

    def used(self, node: Node) -> Mapping[str, int]:
        return self._used.get(node.metadata.name, {})

    def is_going(self, pod: Pod) -> bool:
        return pod.metadata.deletion_timestamp is not None or (pod.metadata.namespace, pod.metadata.name) in self._going

    def budgets_of(self, pod: Pod) -> list[PodDisruptionBudget]:
        return [each for (namespace, _), each in self.budgets.items() if namespace == pod.metadata.namespace]

    def evict(self, pod: Pod, plugin: str) -> Outcome:
        """As the API does it. A pod that is on its way can be evicted again: that asks no budget, and counts."""
        gone, policy = self._evicted, self._policy
        node, namespace = pod.spec.node_name, pod.metadata.namespace
        if reached(policy.max_no_of_pods_to_evict_total, len(gone)):
            return Outcome.TOTAL_LIMIT
        if reached(policy.max_no_of_pods_to_evict_per_node, sum(each.spec.node_name == node for each in gone)):
            return Outcome.NODE_LIMIT
        in_namespace = sum(each.metadata.namespace == namespace for each in gone)
        if reached(policy.max_no_of_pods_to_evict_per_namespace, in_namespace):
            return Outcome.REFUSED
        budget = None if self.is_going(pod) else disruption.evict(pod, self.budgets_of(pod), self.now)
        if isinstance(budget, disruption.Refused):
            return Outcome.REFUSED
        if budget is not None:
            self.budgets[namespace, budget.metadata.name] = budget
        self._evicted.append(pod)
        self._going.add((namespace, pod.metadata.name))
        message = f"pod eviction from {node} node by sigs.k8s.io/descheduler"
        self.writes += (Evict(pod), RecordEvent(pod, "Normal", plugin, message))
        return Outcome.DONE

    def fits(self, pod: Pod, node: Node) -> bool:
        """Whether the node could take the pod, by upstream's rough idea of the scheduler."""
        if node.spec.unschedulable or machines.affinity_conflicts(pod, node) or not admits(pod, node):
            return False
        if any(
            term.topology_key in node.metadata.labels
            and other.metadata.name != pod.metadata.name
            and other.metadata.namespace in (term.namespaces or {pod.metadata.namespace})
            and selectors.matches(term.selector, other.metadata.labels)
            for term in terms_of(pod, self.minor).anti_affinity
            for other in self.on(node)
        ):
            return False
        if pod.spec.node_name == node.metadata.name:
            return True
        has, used = amounts(node.status.allocatable), self.used(node)
        wanted = {**demand(pod, self.minor).requests, "pods": 1}
        return all(value <= has.get(name, 0) - used.get(name, 0) for name, value in wanted.items())

    def fits_elsewhere(self, pod: Pod, nodes: Iterable[Node]) -> bool:
        return any(self.fits(pod, node) for node in nodes if node.metadata.name != pod.spec.node_name)


def admits(pod: Pod, node: Node) -> bool:
    return machines.untolerated(pod, node) is None


def is_ready(node: Node) -> bool:
    return all(each.status == "True" for each in node.status.conditions if each.type == "Ready")


def reached(limit: int | None, number: int) -> bool:
    return limit is not None and number >= limit
