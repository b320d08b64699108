"""The cluster as one scheduling decision sees it: every node with the pods on it and what they hold.

A pod counts on the node that its spec names until it has ended (phase Succeeded or Failed): while it terminates it
still occupies. Affinity terms and spread selectors are made ready here, with `matchLabelKeys` resolved to the pod's own
labels. The API server does that too when a pod is created; doing it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from seatrial.control.scheduler.demand import Amounts, Demand, HostPort, Memory, amounts, demand
from seatrial.kube import selectors
from seatrial.kube.objects import LabelSelector, LabelSelectorRequirement, Namespace, Node, Pod
from seatrial.kube.objects.pods import PodAffinity, PodAffinityTerm, PodAntiAffinity

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
NAME_LABEL = "kubernetes.io/metadata.name"  # on every namespace, set by the API server
ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Term:
    """One pod affinity or anti-affinity term of one pod; `path` is its field in that pod."""

    path: str
    topology_key: str
    selector: LabelSelector | None
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    weight: int = 0

    def matches(self, pod: Pod, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        namespace = pod.metadata.namespace
        if namespace not in self.namespaces and not selectors.matches(
            self.namespace_selector, namespaces.get(namespace) or {NAME_LABEL: namespace}
        ):
            return False
        return selectors.matches(self.selector, pod.metadata.labels)


@dataclass(frozen=True, slots=True)
class Terms:
    """All inter-pod terms of one pod."""

    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[Term, ...] = ()  # anti-affinity with negative weight

    def __bool__(self) -> bool:
        return bool(self.affinity or self.anti_affinity or self.preferred)


_NO_TERMS = Terms()
_TERMS = Memory()
_ALLOCATABLE = Memory()


@dataclass(slots=True)
class Site:
    """A node, what it has, and what the pods on it hold."""

    node: Node
    allocatable: Amounts
    pods: list[Pod] = field(default_factory=list)
    used: Amounts = field(default_factory=dict)
    nonzero_cpu: int = 0
    nonzero_memory: int = 0
    ports: list[HostPort] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.node.metadata.name

    @property
    def labels(self) -> Mapping[str, str]:
        return self.node.metadata.labels

    def add(self, pod: Pod, holds: Demand) -> None:
        self.pods.append(pod)
        used = self.used
        for name, value in holds.requests.items():
            used[name] = used.get(name, 0) + value
        self.nonzero_cpu += holds.nonzero["cpu"]
        self.nonzero_memory += holds.nonzero["memory"]
        if holds.ports:
            self.ports.extend(holds.ports)


@dataclass(frozen=True, slots=True)
class Board:
    """`sites` in the order of the nodes given; `concerned` are the pods with inter-pod terms, with their sites."""

    sites: tuple[Site, ...]
    concerned: tuple[tuple[Site, Pod, Terms], ...]
    namespaces: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, nodes: Sequence[Node], pods: Iterable[Pod], namespaces: Iterable[Namespace], *, but: Pod) -> Board:
        """Lays out the cluster without `but`, the pod that is to be placed."""
        sites = {node.metadata.name: Site(node, _allocatable(node)) for node in nodes}
        concerned: list[tuple[Site, Pod, Terms]] = []
        own = (but.metadata.namespace, but.metadata.name)
        for pod in pods:
            site = sites.get(pod.spec.node_name)
            if site is None or pod.status.phase in ENDED or (pod.metadata.namespace, pod.metadata.name) == own:
                continue
            site.add(pod, demand(pod))
            if pod.spec.affinity is not None:
                terms = terms_of(pod)
                if terms:
                    concerned.append((site, pod, terms))
        return cls(
            sites=tuple(sites.values()),
            concerned=tuple(concerned),
            namespaces={
                namespace.metadata.name: {NAME_LABEL: namespace.metadata.name, **namespace.metadata.labels}
                for namespace in namespaces
            },
        )


def terms_of(pod: Pod) -> Terms:
    affinity = pod.spec.affinity
    if affinity is None or (affinity.pod_affinity is None and affinity.pod_anti_affinity is None):
        return _NO_TERMS
    metadata = pod.metadata
    return _TERMS.recall((pod.spec, metadata.labels, metadata.namespace), lambda: _terms(pod))


def with_label_keys(
    selector: LabelSelector | None, labels: Mapping[str, str], same: Sequence[str], other: Sequence[str] = ()
) -> LabelSelector | None:
    """`selector`, narrowed to pods whose labels `same` are those of the pod, and `other` are not."""
    if selector is None or not (same or other):
        return selector
    narrowed = tuple(
        LabelSelectorRequirement(key=key, operator=operator, values=(labels[key],))
        for keys, operator in ((same, "In"), (other, "NotIn"))
        for key in keys
        if key in labels
    )
    return msgspec.structs.replace(selector, match_expressions=selector.match_expressions + narrowed)


def _allocatable(node: Node) -> Amounts:
    status = node.status
    return _ALLOCATABLE.recall((status.allocatable,), lambda: amounts(status.allocatable))


def _terms(pod: Pod) -> Terms:
    affinity = pod.spec.affinity
    assert affinity is not None
    attract, repel = affinity.pod_affinity or PodAffinity(), affinity.pod_anti_affinity or PodAntiAffinity()
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"

    def hard(terms: Sequence[PodAffinityTerm], section: str) -> tuple[Term, ...]:
        return tuple(
            _term(pod, term, f"spec.affinity.{section}.{required}[{index}]") for index, term in enumerate(terms)
        )

    return Terms(
        affinity=hard(attract.required_during_scheduling_ignored_during_execution, "podAffinity"),
        anti_affinity=hard(repel.required_during_scheduling_ignored_during_execution, "podAntiAffinity"),
        preferred=tuple(
            _term(
                pod,
                weighted.pod_affinity_term or PodAffinityTerm(),
                f"spec.affinity.{section}.{preferred}[{index}].podAffinityTerm",
                weight=sign * weighted.weight,
            )
            for section, sign, terms in (
                ("podAffinity", 1, attract.preferred_during_scheduling_ignored_during_execution),
                ("podAntiAffinity", -1, repel.preferred_during_scheduling_ignored_during_execution),
            )
            for index, weighted in enumerate(terms)
        ),
    )


def _term(pod: Pod, term: PodAffinityTerm, path: str, weight: int = 0) -> Term:
    own = () if term.namespaces or term.namespace_selector is not None else (pod.metadata.namespace,)
    return Term(
        path=path,
        topology_key=term.topology_key,
        selector=with_label_keys(
            term.label_selector, pod.metadata.labels, term.match_label_keys, term.mismatch_label_keys
        ),
        namespaces=frozenset(term.namespaces or own),
        namespace_selector=term.namespace_selector,
        weight=weight,
    )
