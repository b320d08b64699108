"""What scheduling answers: where a pod can go, and for every node where it cannot, which fields stand in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Reason(Enum):
    """Why a node is refused; the value is upstream's text, without the name of the resource where one belongs to it."""

    UNSCHEDULABLE = "node(s) were unschedulable"
    NODE_NAME = "node(s) didn't match the requested node name"
    TAINT = "node(s) had untolerated taint(s)"
    NODE_AFFINITY = "node(s) didn't match Pod's node affinity/selector"
    NODE_NAMES = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
    PORTS = "node(s) didn't have free ports for the requested pod ports"
    TOO_MANY_PODS = "Too many pods"
    INSUFFICIENT = "Insufficient"
    SPREAD_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"
    SPREAD = "node(s) didn't match pod topology spread constraints"
    POD_AFFINITY = "node(s) didn't match pod affinity rules"
    POD_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
    EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"

    @property
    def helped_by_eviction(self) -> bool:
        """Whether the reason can go away when pods leave the node (upstream: Unschedulable, not Unresolvable)."""
        return self in _HELPED_BY_EVICTION


_HELPED_BY_EVICTION = frozenset(
    {
        Reason.PORTS,
        Reason.TOO_MANY_PODS,
        Reason.INSUFFICIENT,
        Reason.SPREAD,
        Reason.POD_ANTI_AFFINITY,
        Reason.EXISTING_ANTI_AFFINITY,
    }
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why one node is refused, and the fields in conflict (paths in the pod and in the node).

    `resource` is set for `Reason.INSUFFICIENT`, with the amounts in units (cpu: thousandths): what the pod asks for,
    what other pods on the node hold, and what the node has.
    """

    node: str
    reason: Reason
    pod_fields: tuple[str, ...] = ()
    node_fields: tuple[str, ...] = ()
    resource: str = ""
    requested: int = 0
    used: int = 0
    allocatable: int = 0

    @property
    def text(self) -> str:
        """Upstream's words."""
        return f"{self.reason.value} {self.resource}" if self.reason is Reason.INSUFFICIENT else self.reason.value

    @property
    def helped_by_eviction(self) -> bool:
        """Whether evicting pods from the node could remove it: never when the pod asks for more than the node has."""
        if self.reason is Reason.INSUFFICIENT and self.requested > self.allocatable:
            return False
        return self.reason.helped_by_eviction


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a pod can go now.

    `feasible` are the nodes that pass every filter and `best` those of them with the highest score, both sorted by
    name; upstream takes one of `best` at random, this project the first. Without a feasible node `message` is what
    upstream writes into the PodScheduled condition, `obstacles` say why (node by node), and `preemptible` names the
    nodes that would take the pod if their pods of lower priority were evicted.
    """

    feasible: tuple[str, ...] = ()
    best: tuple[str, ...] = ()
    message: str = ""
    scores: Mapping[str, int] = field(default_factory=dict)
    obstacles: tuple[Obstacle, ...] = ()
    preemptible: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fit:
    """Which nodes would take the pod if they were empty; every obstacle on those that would not."""

    nodes: tuple[str, ...]
    obstacles: tuple[Obstacle, ...]

    def __bool__(self) -> bool:
        return bool(self.nodes)
