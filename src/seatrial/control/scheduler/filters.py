"""The filters: which nodes can take a pod now, and every reason why one cannot.

The order is upstream's default profile. For a message upstream stops at the first filter that refuses a node; for an
explanation all of them are asked. What a filter needs to know about the whole cluster (domains, affinity matches) is
counted once per decision, as upstream's PreFilter does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from seatrial.control.scheduler import machines, spread
from seatrial.control.scheduler.board import Board, Site, Term, terms_of
from seatrial.control.scheduler.demand import demand, request_fields
from seatrial.control.scheduler.placement import Obstacle, Reason
from seatrial.kube.objects import Pod

Filter = Callable[[Site], tuple[Obstacle, ...]]

_RESOURCE_ORDER = {"cpu": 0, "memory": 1, "ephemeral-storage": 2}
_PASS: tuple[Obstacle, ...] = ()


class Filters:
    """All filters for one pod on one board."""

    def __init__(self, pod: Pod, board: Board) -> None:
        self._pod = pod
        self._board = board
        self._demand = demand(pod)
        self._requests = sorted(
            self._demand.requests.items(), key=lambda item: (_RESOURCE_ORDER.get(item[0], 3), item[0])
        )
        self._needs_match = bool(pod.spec.node_selector) or machines.required_terms(pod) is not None
        self._named = machines.named_nodes(pod)
        self._hard = spread.constraints(pod, "DoNotSchedule")
        self._domains = [spread.Domains.of(pod, board, constraint, self._hard) for constraint in self._hard]
        self._repelled = self._pairs_repelled_by_others()
        self._terms = terms_of(pod)
        self._attracting = self._pairs_with_all(self._terms.affinity)
        self._repelling = [self._pairs_with_all((term,)) for term in self._terms.anti_affinity]
        self._alone: tuple[Filter, ...] = (
            self._unschedulable,
            self._node_name,
            self._taints,
            self._affinity,
            self._ports,
            self._resources,
        )
        # Filters that this pod gives nothing to do are left out: most pods have neither spread nor affinity.
        self._order: tuple[Filter, ...] = (
            *self._alone,
            *((self._spread,) if self._hard else ()),
            *((self._pod_affinity,) if self._terms.affinity else ()),
            *((self._pod_anti_affinity,) if self._terms.anti_affinity else ()),
            *((self._existing_anti_affinity,) if self._repelled else ()),
        )

    def first(self, site: Site) -> tuple[Obstacle, ...]:
        """What the first filter that refuses the node says; empty if all let the pod pass."""
        if self._named is not None and site.name not in self._named:
            return (
                Obstacle(
                    site.name,
                    Reason.NODE_NAMES,
                    ("spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",),
                    ("metadata.name",),
                ),
            )
        for refuses in self._order:
            obstacles = refuses(site)
            if obstacles:
                return obstacles
        return _PASS

    def every(self, site: Site) -> tuple[Obstacle, ...]:
        """What all filters say."""
        return tuple(obstacle for refuses in self._order for obstacle in refuses(site))

    def of_the_node(self, site: Site) -> tuple[Obstacle, ...]:
        """What stands in the way whatever else runs: for pod affinity and spread only the node's missing labels."""
        obstacles = [obstacle for refuses in self._alone for obstacle in refuses(site)]
        obstacles += self._missing_keys(site)
        obstacles += (
            Obstacle(site.name, Reason.POD_AFFINITY, (f"{term.path}.topologyKey",), ("metadata.labels",))
            for term in self._terms.affinity
            if term.topology_key not in site.labels
        )
        return tuple(obstacles)

    def _unschedulable(self, site: Site) -> tuple[Obstacle, ...]:
        if not site.node.spec.unschedulable:
            return _PASS
        if machines.tolerates(self._pod.spec.tolerations, machines.UNSCHEDULABLE_TAINT):
            return _PASS
        return (Obstacle(site.name, Reason.UNSCHEDULABLE, ("spec.tolerations",), ("spec.unschedulable",)),)

    def _node_name(self, site: Site) -> tuple[Obstacle, ...]:
        if self._pod.spec.node_name in ("", site.name):
            return _PASS
        return (Obstacle(site.name, Reason.NODE_NAME, ("spec.nodeName",), ("metadata.name",)),)

    def _taints(self, site: Site) -> tuple[Obstacle, ...]:
        index = machines.untolerated(self._pod, site.node)
        if index is None:
            return _PASS
        return (Obstacle(site.name, Reason.TAINT, ("spec.tolerations",), (f"spec.taints[{index}]",)),)

    def _affinity(self, site: Site) -> tuple[Obstacle, ...]:
        if not self._needs_match:
            return _PASS
        fields = machines.affinity_conflicts(self._pod, site.node)
        return (Obstacle(site.name, Reason.NODE_AFFINITY, fields, ("metadata.labels",)),) if fields else _PASS

    def _ports(self, site: Site) -> tuple[Obstacle, ...]:
        if not any(port.conflicts(other) for port in self._demand.ports for other in site.ports):
            return _PASS
        fields = tuple(
            f"spec.{section}[{index}].ports[{place}].hostPort"
            for section, containers in (
                ("initContainers", self._pod.spec.init_containers),
                ("containers", self._pod.spec.containers),
            )
            for index, container in enumerate(containers)
            for place, port in enumerate(container.ports)
            if port.host_port and any(port.host_port == other.port for other in site.ports)
        )
        return (Obstacle(site.name, Reason.PORTS, fields),)

    def _resources(self, site: Site) -> tuple[Obstacle, ...]:
        obstacles = []
        limit = site.allocatable.get("pods", 0)
        if len(site.pods) + 1 > limit:
            obstacles.append(
                Obstacle(
                    site.name,
                    Reason.TOO_MANY_PODS,
                    node_fields=("status.allocatable.pods",),
                    requested=1,
                    used=len(site.pods),
                    allocatable=limit,
                )
            )
        for name, requested in self._requests:
            allocatable, used = site.allocatable.get(name, 0), site.used.get(name, 0)
            if requested > allocatable - used:
                obstacles.append(
                    Obstacle(
                        site.name,
                        Reason.INSUFFICIENT,
                        request_fields(self._pod.spec, name),
                        (f"status.allocatable.{name}",),
                        name,
                        requested,
                        used,
                        allocatable,
                    )
                )
        return tuple(obstacles)

    def _missing_keys(self, site: Site) -> tuple[Obstacle, ...]:
        fields = tuple(
            f"{constraint.path}.topologyKey" for constraint in self._hard if constraint.topology_key not in site.labels
        )
        return (Obstacle(site.name, Reason.SPREAD_LABEL, fields, ("metadata.labels",)),) if fields else _PASS

    def _spread(self, site: Site) -> tuple[Obstacle, ...]:
        missing = self._missing_keys(site)
        if missing:
            return missing
        fields = tuple(
            domains.constraint.path
            for domains in self._domains
            if not domains.allows(site.labels[domains.constraint.topology_key])
        )
        return (Obstacle(site.name, Reason.SPREAD, fields, ("metadata.labels",)),) if fields else _PASS

    def _pod_affinity(self, site: Site) -> tuple[Obstacle, ...]:
        if self._attracted(site):
            return _PASS
        fields = tuple(
            term.path
            for term in self._terms.affinity
            if not self._attracting[term.topology_key, site.labels.get(term.topology_key, "")]
        )
        return (Obstacle(site.name, Reason.POD_AFFINITY, fields, ("metadata.labels",)),)

    def _pod_anti_affinity(self, site: Site) -> tuple[Obstacle, ...]:
        fields = tuple(
            term.path
            for term, pairs in zip(self._terms.anti_affinity, self._repelling, strict=True)
            if term.topology_key in site.labels and pairs[term.topology_key, site.labels[term.topology_key]]
        )
        return (Obstacle(site.name, Reason.POD_ANTI_AFFINITY, fields, ("metadata.labels",)),) if fields else _PASS

    def _existing_anti_affinity(self, site: Site) -> tuple[Obstacle, ...]:
        if self._repelled.isdisjoint(site.labels.items()):
            return _PASS
        return (Obstacle(site.name, Reason.EXISTING_ANTI_AFFINITY, ("metadata.labels",), ("metadata.labels",)),)

    def _attracted(self, site: Site) -> bool:
        """Every term finds pods in the node's domain; or nobody matches anywhere and the pod itself would."""
        terms, labels = self._terms.affinity, site.labels
        if any(term.topology_key not in labels for term in terms):
            return False
        if all(self._attracting[term.topology_key, labels[term.topology_key]] for term in terms):
            return True
        return not self._attracting and all(term.matches(self._pod, self._board.namespaces) for term in terms)

    def _pairs_with_all(self, terms: tuple[Term, ...]) -> Counter[tuple[str, str]]:
        """For each (topology key, value): how many pods there match all `terms` together."""
        pairs: Counter[tuple[str, str]] = Counter()
        if not terms:
            return pairs
        for site in self._board.sites:
            number = sum(1 for pod in site.pods if all(term.matches(pod, self._board.namespaces) for term in terms))
            if number:
                for term in terms:
                    if term.topology_key in site.labels:
                        pairs[term.topology_key, site.labels[term.topology_key]] += number
        return pairs

    def _pairs_repelled_by_others(self) -> frozenset[tuple[str, str]]:
        return frozenset(
            (term.topology_key, site.labels[term.topology_key])
            for site, _, terms in self._board.concerned
            for term in terms.anti_affinity
            if term.topology_key in site.labels and term.matches(self._pod, self._board.namespaces)
        )


def message(number_of_nodes: int, texts: Iterable[str]) -> str:
    """`0/3 nodes are available: 1 Too many pods, 2 Insufficient cpu.`, the counted reasons sorted as text."""
    counted = sorted(f"{number} {text}" for text, number in Counter(texts).items())
    return f"0/{number_of_nodes} nodes are available: {', '.join(counted)}."
