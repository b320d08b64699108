"""Topology spread: how many matching pods each domain holds, which nodes count, and who may be counted.

Semantics: upstream's PodTopologySpread. Terminating pods are not counted; a selector without requirements counts
nothing though it matches the pod itself; a node counts for a constraint only if it has the topology keys of all of the
pod's constraints of that kind and passes the constraint's node policies (affinity honoured, taints ignored by default).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seatrial.control.scheduler import machines
from seatrial.control.scheduler.board import Board, Site, with_label_keys
from seatrial.control.scheduler.profiles import Profile
from seatrial.kube import selectors
from seatrial.kube.objects import (
    LabelSelector,
    LabelSelectorRequirement,
    Pod,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from seatrial.kube.objects.pods import TopologySpreadConstraint


@dataclass(frozen=True, slots=True)
class Constraint:
    """A spread constraint of one pod, its own (`path` is set) or a default one.

    With `owner` it counts the pods of that controller instead of a selector's.
    """

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


def constraints(pod: Pod, when_unsatisfiable: str, board: Board, profile: Profile) -> tuple[Constraint, ...]:
    """The pod's own constraints of one kind (DoNotSchedule or ScheduleAnyway); without any, the profile's defaults.

    Defaults spread what the pod's Services and controller select; where these are not known the pods of its controller.
    """
    own = pod.spec.topology_spread_constraints
    if own:
        return _of_kind(own, when_unsatisfiable, pod, "spec.topologySpreadConstraints", None)
    if not any(each.when_unsatisfiable == when_unsatisfiable for each in profile.spread):
        return ()
    if not board.knows_others:
        owner = pod.metadata.controller
        return _of_kind(profile.spread, when_unsatisfiable, pod, "", None, owner.uid) if owner is not None else ()
    selector = default_selector(pod, board)
    if selector is None:
        return ()
    return _of_kind(profile.spread, when_unsatisfiable, pod, "", selector)


def default_selector(pod: Pod, board: Board) -> LabelSelector | None:
    """The pods that the pod's Services and its controller select, which default constraints spread; None: nobody."""
    labels: dict[str, str] = {}
    for service in board.all(Service):
        wanted = service.spec.selector
        if (
            wanted
            and service.metadata.namespace == pod.metadata.namespace
            and selectors.matches_labels(wanted, pod.metadata.labels)
        ):
            labels.update(wanted)
    expressions: tuple[LabelSelectorRequirement, ...] = ()
    owner = pod.metadata.controller
    if owner is not None:
        namespace = pod.metadata.namespace
        match (owner.api_version, owner.kind):
            case ("v1", "ReplicationController"):
                controller = board.get(ReplicationController, namespace, owner.name)
                labels.update(controller.spec.selector if controller else {})
            case ("apps/v1", "ReplicaSet" | "StatefulSet" as kind):
                found: ReplicaSet | StatefulSet | None = (
                    board.get(ReplicaSet, namespace, owner.name)
                    if kind == "ReplicaSet"
                    else board.get(StatefulSet, namespace, owner.name)
                )
                selector = found.spec.selector if found else None
                if selector is not None:
                    expressions = selector.match_expressions + tuple(
                        LabelSelectorRequirement(key=key, operator="In", values=(value,))
                        for key, value in selector.match_labels.items()
                    )
    if not labels and not expressions:
        return None
    return LabelSelector(match_labels=labels, match_expressions=expressions)


def _of_kind(
    given: Sequence[TopologySpreadConstraint],
    when_unsatisfiable: str,
    pod: Pod,
    path: str,
    selector: LabelSelector | None,
    owner: str = "",
) -> tuple[Constraint, ...]:
    return tuple(
        Constraint(
            path=f"{path}[{index}]" if path else "",
            topology_key=each.topology_key,
            max_skew=each.max_skew,
            selector=selector or with_label_keys(each.label_selector, pod.metadata.labels, each.match_label_keys),
            min_domains=1 if each.min_domains is None else each.min_domains,
            honor_affinity=each.node_affinity_policy != "Ignore",
            honor_taints=each.node_taints_policy == "Honor",
            owner=owner,
        )
        for index, each in enumerate(given)
        if (each.when_unsatisfiable or "DoNotSchedule") == when_unsatisfiable
    )


def has_keys(labels: Mapping[str, str], wanted: Sequence[Constraint]) -> bool:
    return all(constraint.topology_key in labels for constraint in wanted)


class Domains:
    """A DoNotSchedule constraint with the number of matching pods in each of its domains."""

    def __init__(self, pod: Pod, board: Board, constraint: Constraint, hard: Sequence[Constraint]) -> None:
        self.constraint = constraint
        self.numbers: dict[str, int] = {}
        self.itself = int(selectors.matches(constraint.selector, pod.metadata.labels))
        self._pod = pod
        self._hard = hard
        self._most: int | None = None
        self._current = False
        for site in board.sites:
            if self.includes(site):
                value = site.labels[constraint.topology_key]
                self.numbers[value] = self.numbers.get(value, 0) + constraint.number(pod, site)

    def copy(self) -> Domains:
        made = object.__new__(Domains)
        made.constraint, made.numbers, made.itself = self.constraint, dict(self.numbers), self.itself
        made._pod, made._hard = self._pod, self._hard
        made._most, made._current = self._most, self._current
        return made

    def includes(self, site: Site) -> bool:
        return has_keys(site.labels, self._hard) and self.constraint.includes(self._pod, site)

    def shift(self, sign: int, other: Pod, site: Site, *, supposed: bool) -> None:
        """`other` came to or left `site`. What is only `supposed` (by preemption) upstream counts more simply: also
        terminating pods, and with a selector without requirements all.
        """
        if supposed:
            matched = other.metadata.namespace == self._pod.metadata.namespace and selectors.matches(
                self.constraint.selector, other.metadata.labels
            )
        else:
            matched = self.constraint.counts(self._pod, other)
        if matched and self.includes(site):
            value = site.labels[self.constraint.topology_key]
            self.numbers[value] = self.numbers.get(value, 0) + sign
            self._current = False

    @property
    def least(self) -> int | None:
        """The number of the emptiest domain (0 while there are fewer than minDomains); None without any domain."""
        if len(self.numbers) < self.constraint.min_domains:
            return 0
        return min(self.numbers.values(), default=None)

    def allows(self, value: str) -> bool:
        if not self._current:
            least = self.least
            self._most = None if least is None else self.constraint.max_skew + least - self.itself
            self._current = True
        return self._most is None or self.numbers.get(value, 0) <= self._most
