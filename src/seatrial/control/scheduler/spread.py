"""Topology spread: how many matching pods each domain holds, which nodes count, and who may be counted.

Semantics: upstream's PodTopologySpread. Terminating pods are not counted; a selector without requirements counts
nothing though it matches the pod itself; a node counts for a constraint only if it has the topology keys of all of the
pod's constraints of that kind and passes the constraint's node policies (affinity honoured, taints ignored by default).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seatrial.control.scheduler import machines
from seatrial.control.scheduler.board import HOSTNAME, ZONE, Board, Site, with_label_keys
from seatrial.kube import selectors
from seatrial.kube.objects import LabelSelector, Pod

# With no constraints of its own a pod is spread by upstream's system defaults: topology key and maxSkew.
SYSTEM_DEFAULTS = ((HOSTNAME, 3), (ZONE, 5))


@dataclass(frozen=True, slots=True)
class Constraint:
    """A spread constraint of one pod. `owner` set: it counts the pods of that controller instead of a selector's."""

    path: str
    topology_key: str
    max_skew: int
    selector: LabelSelector | None = None
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False
    owner: str = ""

    def counts(self, pod: Pod, other: Pod) -> bool:
        if other.metadata.deletion_timestamp is not None or other.metadata.namespace != pod.metadata.namespace:
            return False
        if self.owner:
            controller = other.metadata.controller
            return controller is not None and controller.uid == self.owner
        if self.selector is None or not (self.selector.match_labels or self.selector.match_expressions):
            return False
        return selectors.matches(self.selector, other.metadata.labels)

    def number(self, pod: Pod, site: Site) -> int:
        return sum(1 for other in site.pods if self.counts(pod, other))

    def includes(self, pod: Pod, site: Site) -> bool:
        if self.honor_affinity and machines.affinity_conflicts(pod, site.node):
            return False
        return not self.honor_taints or machines.untolerated(pod, site.node) is None


def constraints(pod: Pod, when_unsatisfiable: str) -> tuple[Constraint, ...]:
    """The pod's own constraints of one kind: DoNotSchedule or ScheduleAnyway."""
    return tuple(
        Constraint(
            path=f"spec.topologySpreadConstraints[{index}]",
            topology_key=given.topology_key,
            max_skew=given.max_skew,
            selector=with_label_keys(given.label_selector, pod.metadata.labels, given.match_label_keys),
            min_domains=1 if given.min_domains is None else given.min_domains,
            honor_affinity=given.node_affinity_policy != "Ignore",
            honor_taints=given.node_taints_policy == "Honor",
        )
        for index, given in enumerate(pod.spec.topology_spread_constraints)
        if (given.when_unsatisfiable or "DoNotSchedule") == when_unsatisfiable
    )


def system_defaults(pod: Pod) -> tuple[Constraint, ...]:
    """Upstream selects by the pod's Services and controller; here the pods of its controller stand for them."""
    owner = pod.metadata.controller
    if owner is None:
        return ()
    return tuple(Constraint(path="", topology_key=key, max_skew=skew, owner=owner.uid) for key, skew in SYSTEM_DEFAULTS)


def has_keys(site: Site, wanted: Sequence[Constraint]) -> bool:
    labels = site.labels
    return all(constraint.topology_key in labels for constraint in wanted)


@dataclass(frozen=True, slots=True)
class Domains:
    """A DoNotSchedule constraint with the number of matching pods in each of its domains."""

    constraint: Constraint
    numbers: dict[str, int]
    itself: int  # 1 if the pod to place would count

    @classmethod
    def of(cls, pod: Pod, board: Board, constraint: Constraint, hard: Sequence[Constraint]) -> Domains:
        numbers: dict[str, int] = {}
        for site in board.sites:
            if has_keys(site, hard) and constraint.includes(pod, site):
                value = site.labels[constraint.topology_key]
                numbers[value] = numbers.get(value, 0) + constraint.number(pod, site)
        return cls(constraint, numbers, int(selectors.matches(constraint.selector, pod.metadata.labels)))

    @property
    def least(self) -> int | None:
        """The number of the emptiest domain (0 while there are fewer than minDomains); None without any domain."""
        if len(self.numbers) < self.constraint.min_domains:
            return 0
        return min(self.numbers.values(), default=None)

    def allows(self, value: str) -> bool:
        least = self.least
        return least is None or self.numbers.get(value, 0) + self.itself - least <= self.constraint.max_skew
