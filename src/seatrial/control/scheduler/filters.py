"""The filters: which nodes can take a pod now, and every reason why one cannot.

The order is the profile's. For a message upstream stops at the first filter that refuses a node; for an explanation all
of them are asked. What a filter needs to know about the whole cluster (domains, affinity matches) is counted once per
decision, as upstream's PreFilter does, and kept up to date by `shift` when a pod comes or goes: really, for the next
equal pod, or supposedly, when preemption tries evictions out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from seatrial.control.scheduler import machines, spread, volumes
from seatrial.control.scheduler.board import Board, Site, Term, terms_of
from seatrial.control.scheduler.demand import demand, request_fields
from seatrial.control.scheduler.placement import Obstacle, Reason
from seatrial.control.scheduler.profiles import DEFAULT, Profile
from seatrial.kube.objects import Pod

Filter = Callable[[Site], tuple[Obstacle, ...]]

_RESOURCE_ORDER = {"cpu": 0, "memory": 1, "ephemeral-storage": 2}
_PASS: tuple[Obstacle, ...] = ()
_REQUIRED_NODE_AFFINITY = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
TAINT_NAMED_BEFORE = 35  # minor version
FEATURES_SINCE = 36
VOLUME_TEXT_SINCE = 33


class Filters:
    """All filters for one pod on one board. Raises `volumes.UnplaceableError` if no node can take it."""

    def __init__(self, pod: Pod, board: Board, profile: Profile = DEFAULT) -> None:
        self.pod = pod
        self._board = board
        self._profile = profile
        self._demand = demand(pod, board.minor)
        self._requests = sorted(
            (
                (name, value)
                for name, value in self._demand.requests.items()
                if not (
                    "/" in name
                    and (name in profile.ignored_resources or name.partition("/")[0] in profile.ignored_groups)
                )
            ),
            key=lambda item: (_RESOURCE_ORDER.get(item[0], 3), item[0]),
        )
        self._needs_match = bool(pod.spec.node_selector) or machines.required_terms(pod) is not None
        self._named = machines.named_nodes(pod) if "NodeAffinity" in profile.filters else None
        if self._named is not None and not self._named:
            raise volumes.UnplaceableError("pod affinity terms conflict")
        self.volumes = (
            volumes.Volumes.of(pod, board, profile.filters) if board.knows_others and volumes.needs(pod) else None
        )
        self._hard = spread.constraints(pod, "DoNotSchedule", board, profile)
        self._domains = [spread.Domains(pod, board, constraint, self._hard) for constraint in self._hard]
        self._terms = terms_of(pod, board.minor)
        self._repelled = self._pairs_repelled_by_others()
        self._attracting = self._pairs_with_all(self._terms.affinity)
        self._repelling = [self._pairs_with_all((term,)) for term in self._terms.anti_affinity]
        # Upstream leaves a filter out for the whole decision if it has nothing to do at the start: what preemption
        # supposes later does not bring it back.
        self._relates = bool(self._terms.affinity or self._terms.anti_affinity or self._repelled)
        self._features = _features(pod) if board.minor >= FEATURES_SINCE else frozenset()
        self._arrange()

    def _arrange(self) -> None:
        pod = self.pod
        filters: dict[str, tuple[Filter, ...]] = {
            "NodeName": (self._node_name,) if pod.spec.node_name else (),
            "NodeUnschedulable": (self._unschedulable,),
            "TaintToleration": (self._taints,),
            "NodeAffinity": (self._affinity,) if self._needs_match or self._profile.added_affinity is not None else (),
            "NodePorts": (self._ports,) if self._demand.ports else (),
            "NodeResourcesFit": (self._resources,),
            "PodTopologySpread": (self._spread,) if self._hard else (),
            "InterPodAffinity": (self._pod_affinity, self._pod_anti_affinity, self._existing_anti_affinity)
            if self._relates
            else (),
            "NodeDeclaredFeatures": (self._declared_features,) if self._features else (),
        }
        if self.volumes is not None:
            filters["VolumeRestrictions"] = (self._volume_restrictions,)
            filters["NodeVolumeLimits"] = (self._volume_limits,) if self.volumes.limited else ()
            filters["VolumeBinding"] = (self._volume_binding,) if self.volumes.claimed else ()
            filters["VolumeZone"] = (self._volume_zone,)
        self._order = tuple(refuses for name in self._profile.filters for refuses in filters.get(name, ()))
        self._of_the_node = tuple(refuses for refuses in self._order if refuses.__name__ not in _OF_THE_CLUSTER)
        self._of_the_cluster = tuple(refuses for refuses in self._order if refuses.__name__ in _OF_THE_CLUSTER)

    def copy(self) -> Filters:
        """The same filters, to `shift` without changing these."""
        made = object.__new__(Filters)
        made.pod, made._board, made._profile = self.pod, self._board, self._profile
        made._demand, made._requests, made._needs_match = self._demand, self._requests, self._needs_match
        made._named, made._hard, made._terms, made._features = self._named, self._hard, self._terms, self._features
        made.volumes = None if self.volumes is None else self.volumes.copy()
        made._domains = [domains.copy() for domains in self._domains]
        made._repelled = Counter(self._repelled)
        made._attracting = Counter(self._attracting)
        made._repelling = [Counter(pairs) for pairs in self._repelling]
        made._relates = self._relates
        made._arrange()
        return made

    def shift(self, sign: int, other: Pod, site: Site, *, supposed: bool = True) -> None:
        """`other` came to the node (1) or left it (-1)."""
        for domains in self._domains:
            domains.shift(sign, other, site, supposed=supposed)
        if self.volumes is not None:
            self.volumes.shift(sign, other)
        if supposed and not self._relates:
            return
        namespaces = self._board.namespaces
        for term in terms_of(other, self._board.minor).anti_affinity:
            if term.matches(self.pod, namespaces):
                _count(self._repelled, term, site, sign)
        if self._terms.affinity and all(term.matches(other, namespaces) for term in self._terms.affinity):
            for term in self._terms.affinity:
                _count(self._attracting, term, site, sign)
        for term, pairs in zip(self._terms.anti_affinity, self._repelling, strict=True):
            if term.matches(other, namespaces):
                _count(pairs, term, site, sign)
        if not supposed and self._repelled and not self._relates:
            self._relates = True
            self._arrange()

    def first(self, site: Site) -> tuple[Obstacle, ...]:
        """What the first filter that refuses the node says; empty if all let the pod pass."""
        if self._named is not None and site.name not in self._named:
            return (Obstacle(site.name, Reason.NODE_NAMES, (_REQUIRED_NODE_AFFINITY,), ("metadata.name",)),)
        for refuses in self._order:
            obstacles = refuses(site)
            if obstacles:
                return obstacles
        return _PASS

    def alone(self, site: Site) -> bool:
        """Whether the node lets the pod pass, as far as only the node and the pods on it say so."""
        if self._named is not None and site.name not in self._named:
            return False
        return not any(refuses(site) for refuses in self._of_the_node)

    def among_others(self, sites: Sequence[Site], passing: list[int]) -> list[int]:
        """Those of the sites `passing` (by index) that also pass where pods on other nodes have a say."""
        if not self._of_the_cluster:
            return passing
        return [index for index in passing if not any(refuses(sites[index]) for refuses in self._of_the_cluster)]

    def with_nominated(self, site: Site) -> tuple[Obstacle, ...]:
        """As `first`; the pods that are nominated for the node and at least as important must find it both with and
        without the pod's being there.
        """
        mine = self.pod.spec.priority or 0
        own = (self.pod.metadata.namespace, self.pod.metadata.name)
        nominated = [
            pod
            for key, pod in sorted(self._board.nominated.get(site.name, {}).items())
            if (pod.spec.priority or 0) >= mine and key != own
        ]
        if nominated:
            supposed, there = self.copy(), site.copy()
            for pod in nominated:
                there.add(pod, self._board.minor)
                supposed.shift(1, pod, there)
            obstacles = supposed.first(there)
            if obstacles:
                return obstacles
        return self.first(site)

    def every(self, site: Site) -> tuple[Obstacle, ...]:
        """What all filters say."""
        return tuple(obstacle for refuses in self._order for obstacle in refuses(site))

    def of_the_node(self, site: Site) -> tuple[Obstacle, ...]:
        """What stands in the way whatever else runs: for pod affinity and spread only the node's missing labels."""
        obstacles = [obstacle for refuses in self._of_the_node for obstacle in refuses(site)]
        missing = [c for c in self._hard if c.topology_key not in site.labels]
        if missing:
            fields = tuple(f"{constraint.path}.topologyKey" for constraint in missing)
            obstacles.append(Obstacle(site.name, Reason.SPREAD_LABEL, fields, ("metadata.labels",)))
        obstacles += (
            Obstacle(site.name, Reason.POD_AFFINITY, (f"{term.path}.topologyKey",), ("metadata.labels",))
            for term in self._terms.affinity
            if term.topology_key not in site.labels
        )
        return tuple(obstacles)

    def _unschedulable(self, site: Site) -> tuple[Obstacle, ...]:
        if not site.node.spec.unschedulable:
            return _PASS
        if machines.tolerates(self.pod.spec.tolerations, machines.UNSCHEDULABLE_TAINT):
            return _PASS
        return (Obstacle(site.name, Reason.UNSCHEDULABLE, ("spec.tolerations",), ("spec.unschedulable",)),)

    def _node_name(self, site: Site) -> tuple[Obstacle, ...]:
        if self.pod.spec.node_name in ("", site.name):
            return _PASS
        return (Obstacle(site.name, Reason.NODE_NAME, ("spec.nodeName",), ("metadata.name",)),)

    def _taints(self, site: Site) -> tuple[Obstacle, ...]:
        if not site.node.spec.taints:
            return _PASS
        index = machines.untolerated(self.pod, site.node)
        if index is None:
            return _PASS
        detail = ""
        if self._board.minor < TAINT_NAMED_BEFORE:
            taint = site.node.spec.taints[index]
            detail = f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
        return (Obstacle(site.name, Reason.TAINT, ("spec.tolerations",), (f"spec.taints[{index}]",), detail=detail),)

    def _affinity(self, site: Site) -> tuple[Obstacle, ...]:
        added = self._profile.added_affinity
        enforced = added.required_during_scheduling_ignored_during_execution if added is not None else None
        if enforced is not None and not any(
            machines.matches_term(term, site.node) for term in enforced.node_selector_terms
        ):
            return (Obstacle(site.name, Reason.ADDED_AFFINITY, (), ("metadata.labels",)),)
        if not self._needs_match:
            return _PASS
        fields = machines.affinity_conflicts(self.pod, site.node)
        return (Obstacle(site.name, Reason.NODE_AFFINITY, fields, ("metadata.labels",)),) if fields else _PASS

    def _ports(self, site: Site) -> tuple[Obstacle, ...]:
        if not any(port.conflicts(other) for port in self._demand.ports for other in site.ports):
            return _PASS
        fields = tuple(
            f"spec.{section}[{index}].ports[{place}].hostPort"
            for section, containers in (
                ("initContainers", self.pod.spec.init_containers),
                ("containers", self.pod.spec.containers),
            )
            for index, container in enumerate(containers)
            for place, port in enumerate(container.ports)
            if port.host_port and any(port.host_port == other.port for other in site.ports)
        )
        return (Obstacle(site.name, Reason.PORTS, fields),)

    def _resources(self, site: Site) -> tuple[Obstacle, ...]:
        obstacles = _PASS
        limit = site.allocatable.get("pods", 0)
        if len(site.pods) + 1 > limit:
            obstacles = (
                Obstacle(
                    site.name,
                    Reason.TOO_MANY_PODS,
                    node_fields=("status.allocatable.pods",),
                    requested=1,
                    used=len(site.pods),
                    allocatable=limit,
                ),
            )
        for name, requested in self._requests:
            allocatable, used = site.allocatable.get(name, 0), site.used.get(name, 0)
            if requested > allocatable - used:
                obstacles += (
                    Obstacle(
                        site.name,
                        Reason.INSUFFICIENT,
                        request_fields(self.pod.spec, name),
                        (f"status.allocatable.{name}",),
                        name,
                        requested,
                        used,
                        allocatable,
                    ),
                )
        return obstacles

    def _volume_restrictions(self, site: Site) -> tuple[Obstacle, ...]:
        assert self.volumes is not None
        reason = self.volumes.restrictions(site)
        return _PASS if reason is None else (Obstacle(site.name, reason, ("spec.volumes",)),)

    def _volume_limits(self, site: Site) -> tuple[Obstacle, ...]:
        assert self.volumes is not None
        found = self.volumes.limits(site)
        return _PASS if found is None else (Obstacle(site.name, found[0], ("spec.volumes",), detail=found[1]),)

    def _volume_binding(self, site: Site) -> tuple[Obstacle, ...]:
        assert self.volumes is not None
        return tuple(
            Obstacle(
                site.name,
                reason,
                ("spec.volumes",),
                ("metadata.labels",),
                detail="node(s) had volume node affinity conflict" if self._board.minor < VOLUME_TEXT_SINCE else "",
            )
            for reason in self.volumes.binding(site)
        )

    def _volume_zone(self, site: Site) -> tuple[Obstacle, ...]:
        assert self.volumes is not None
        reason = self.volumes.zone(site)
        return _PASS if reason is None else (Obstacle(site.name, reason, ("spec.volumes",), ("metadata.labels",)),)

    def _spread(self, site: Site) -> tuple[Obstacle, ...]:
        """Upstream stops at the first constraint that is not met, be it a missing label or the skew."""
        fields: list[str] = []
        for domains in self._domains:
            value = site.labels.get(domains.constraint.topology_key)
            path = domains.constraint.path
            if value is None:
                if fields:
                    break
                return (Obstacle(site.name, Reason.SPREAD_LABEL, (f"{path}.topologyKey",), ("metadata.labels",)),)
            if not domains.allows(value):
                fields.append(path)
        return (Obstacle(site.name, Reason.SPREAD, tuple(fields), ("metadata.labels",)),) if fields else _PASS

    def _pod_affinity(self, site: Site) -> tuple[Obstacle, ...]:
        if not self._terms.affinity or self._attracted(site):
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
            if term.topology_key in site.labels and pairs[term.topology_key, site.labels[term.topology_key]] > 0
        )
        return (Obstacle(site.name, Reason.POD_ANTI_AFFINITY, fields, ("metadata.labels",)),) if fields else _PASS

    def _existing_anti_affinity(self, site: Site) -> tuple[Obstacle, ...]:
        if not self._repelled or self._repelled.keys().isdisjoint(site.labels.items()):
            return _PASS
        return (Obstacle(site.name, Reason.EXISTING_ANTI_AFFINITY, ("metadata.labels",), ("metadata.labels",)),)

    def _declared_features(self, site: Site) -> tuple[Obstacle, ...]:
        if self._features <= set(site.node.status.declared_features):
            return _PASS
        return (Obstacle(site.name, Reason.FEATURES, ("spec",), ("status.declaredFeatures",)),)

    def _attracted(self, site: Site) -> bool:
        """Every term finds pods in the node's domain; or nobody matches anywhere and the pod itself would."""
        terms, labels = self._terms.affinity, site.labels
        if any(term.topology_key not in labels for term in terms):
            return False
        if all(self._attracting[term.topology_key, labels[term.topology_key]] > 0 for term in terms):
            return True
        return not self._attracting and all(term.matches(self.pod, self._board.namespaces) for term in terms)

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

    def _pairs_repelled_by_others(self) -> Counter[tuple[str, str]]:
        return Counter(
            (term.topology_key, site.labels[term.topology_key])
            for site, _, terms in self._board.concerned()
            for term in terms.anti_affinity
            if term.topology_key in site.labels and term.matches(self.pod, self._board.namespaces)
        )


_OF_THE_CLUSTER = frozenset({"_spread", "_pod_affinity", "_pod_anti_affinity", "_existing_anti_affinity"})
"""The filters whose answer for one node can change when a pod comes to another."""


def message(number_of_nodes: int, texts: Iterable[str]) -> str:
    """`0/3 nodes are available: 1 Too many pods, 2 Insufficient cpu.`, the counted reasons sorted as text."""
    counted = sorted(f"{number} {text}" for text, number in Counter(texts).items())
    return f"0/{number_of_nodes} nodes are available:" + (f" {', '.join(counted)}." if counted else "")


def _count(pairs: Counter[tuple[str, str]], term: Term, site: Site, sign: int) -> None:
    value = site.labels.get(term.topology_key)
    if value is not None:
        pairs[term.topology_key, value] += sign
        if not pairs[term.topology_key, value]:
            del pairs[term.topology_key, value]


def _features(pod: Pod) -> frozenset[str]:
    """What the kubelet of the node must say that it can do (KEP 5328)."""
    spec = pod.spec
    found = set()
    if any(
        rule.action == "RestartAllContainers"
        for container in (*spec.containers, *spec.init_containers)
        for rule in container.restart_policy_rules
    ):
        found.add("RestartAllContainersOnContainerExits")
    if any(
        mount.bind_mount_options
        for container in (*spec.containers, *spec.init_containers)
        for mount in container.volume_mounts
    ):
        found.add("VolumeBindMountOptions")
    if spec.host_network and spec.host_users is False:
        found.add("UserNamespacesHostNetworkSupport")
    return frozenset(found)
