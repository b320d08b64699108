"""What scheduling answers: where a pod can go, what stands in the way elsewhere, and whom eviction would hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from seatrial.kube.objects import Pod


class Reason(Enum):
    """Why a node is refused; the value is upstream's text, without the name of the resource where one belongs to it."""

    UNSCHEDULABLE = "node(s) were unschedulable"
    NODE_NAME = "node(s) didn't match the requested node name"
    TAINT = "node(s) had untolerated taint(s)"
    NODE_AFFINITY = "node(s) didn't match Pod's node affinity/selector"
    ADDED_AFFINITY = "node(s) didn't match scheduler-enforced node affinity"
    NODE_NAMES = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
    PORTS = "node(s) didn't have free ports for the requested pod ports"
    TOO_MANY_PODS = "Too many pods"
    INSUFFICIENT = "Insufficient"
    DISK_CONFLICT = "node(s) had no available disk"
    CLAIM_IN_USE = (
        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
        "already in-use by another pod"
    )
    VOLUME_LIMIT = "node(s) exceed max volume count"
    NO_DRIVER = "CSI driver is not installed on the node"
    VOLUME_AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
    NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
    NO_STORAGE = "node(s) did not have enough free storage"
    VOLUME_MISSING = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
    VOLUME_ZONE = "node(s) had no available volume zone"
    SPREAD_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"
    SPREAD = "node(s) didn't match pod topology spread constraints"
    POD_AFFINITY = "node(s) didn't match pod affinity rules"
    POD_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
    EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"
    FEATURES = "node(s) didn't match Pod's required features"
    POD = "the pod itself cannot be placed"

    @property
    def helped_by_eviction(self) -> bool:
        """Whether the reason can go away when pods leave the node (upstream: Unschedulable, not Unresolvable)."""
        return self in _HELPED_BY_EVICTION


TOO_SMALL_SINCE = 34  # minor version
_HELPED_BY_EVICTION = frozenset(
    {
        Reason.PORTS,
        Reason.TOO_MANY_PODS,
        Reason.INSUFFICIENT,
        Reason.DISK_CONFLICT,
        Reason.CLAIM_IN_USE,
        Reason.VOLUME_LIMIT,
        Reason.NO_DRIVER,
        Reason.SPREAD,
        Reason.POD_ANTI_AFFINITY,
        Reason.EXISTING_ANTI_AFFINITY,
    }
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why one node is refused, and the fields in conflict (paths in the pod and in the node).

    `resource` is set for `Reason.INSUFFICIENT`, with the amounts in units (cpu: thousandths): what the pod asks for,
    what other pods on the node hold, and what the node has. `detail` completes the text of the reasons that need it:
    the driver that is missing, the taint before 1.37, or what is wrong with the pod (then `node` is empty).
    """

    node: str
    reason: Reason
    pod_fields: tuple[str, ...] = ()
    node_fields: tuple[str, ...] = ()
    resource: str = ""
    requested: int = 0
    used: int = 0
    allocatable: int = 0
    detail: str = ""

    @property
    def text(self) -> str:
        """Upstream's words."""
        match self.reason:
            case Reason.INSUFFICIENT:
                return f"Insufficient {self.resource}"
            case Reason.NO_DRIVER:
                return f"{self.detail} {self.reason.value}"
            case Reason.POD | Reason.TAINT | Reason.VOLUME_AFFINITY if self.detail:
                return self.detail
            case _:
                return str(self.reason.value)

    def helped_by_eviction(self, minor: int) -> bool:
        """Whether evicting pods from the node is tried; since 1.34 not when the pod asks for more than the node has."""
        if self.reason is Reason.INSUFFICIENT and self.requested > self.allocatable and minor >= TOO_SMALL_SINCE:
            return False
        return self.reason.helped_by_eviction


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that would take the pod if `victims` (the most important first) left it."""

    node: str
    victims: tuple[Pod, ...]
    violations: int = 0  # victims whose eviction a PodDisruptionBudget does not allow


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a pod can go now.

    `feasible` are the nodes that pass every filter and `best` those of them with the highest score, both sorted by
    name; upstream takes one of `best` at random. Without a feasible node `message` is what upstream writes into the
    PodScheduled condition, `obstacles` say why (node by node), `preemptible` are the nodes where eviction would help
    and `nominated` those of them that preemption can choose (it draws one, too). `error` is set when the decision
    itself failed (upstream: SchedulerError); then the pod is tried again.
    """

    feasible: tuple[str, ...] = ()
    best: tuple[str, ...] = ()
    message: str = ""
    scores: Mapping[str, int] = field(default_factory=dict)
    obstacles: tuple[Obstacle, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    nominated: tuple[str, ...] = ()
    error: str = ""

    @property
    def preemptible(self) -> tuple[str, ...]:
        return tuple(candidate.node for candidate in self.candidates)

    def candidate(self, node: str) -> Candidate | None:
        return next((candidate for candidate in self.candidates if candidate.node == node), None)


@dataclass(frozen=True, slots=True)
class Fit:
    """Which nodes would take the pod if they were empty; every obstacle on those that would not."""

    nodes: tuple[str, ...]
    obstacles: tuple[Obstacle, ...]

    def __bool__(self) -> bool:
        return bool(self.nodes)


class SchedulingError(Exception):
    """A plug-in failed rather than refused: upstream reports SchedulerError and tries the pod again."""
