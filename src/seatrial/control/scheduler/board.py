"""The cluster as scheduling decisions see it: every node with the pods on it, what they hold, and what else counts.

A pod counts on the node that its spec names until it has ended (phase Succeeded or Failed): while it terminates it
still occupies. A board can be laid out for one decision (`Board.of`) or follow changes (`change`); it is the same value
of the observed objects either way, never a memory of decisions. `journal` lists pods that came and went, so that what
was counted for one pod can be brought up to date for the next equal one; `epoch` counts all changes beyond that.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeVar, cast

import msgspec

from seatrial.control.controller import NEWEST_MINOR
from seatrial.control.scheduler.demand import Amounts, Demand, HostPort, Memory, amounts, held
from seatrial.kube import selectors
from seatrial.kube.objects import (
    LabelSelector,
    LabelSelectorRequirement,
    Namespace,
    Node,
    Object,
    Pod,
    VolumeAttachment,
)
from seatrial.kube.objects.pods import PodAffinity, PodAffinityTerm, PodAntiAffinity

T = TypeVar("T", bound=Object)

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
NAME_LABEL = "kubernetes.io/metadata.name"  # on every namespace, set by the API server
ENDED = ("Succeeded", "Failed")
JOURNAL_MAX = 4096


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


@dataclass(slots=True, eq=False)
class Site:
    """A node, what it has, and what the pods on it hold. `index` is its place among the board's sites."""

    node: Node
    allocatable: Amounts
    index: int = 0
    pods: list[Pod] = field(default_factory=list)
    used: Amounts = field(default_factory=dict)
    nonzero_cpu: int = 0
    nonzero_memory: int = 0
    ports: set[HostPort] = field(default_factory=set)  # as upstream: a port taken twice is free when one pod leaves
    concerned: list[tuple[Pod, Terms]] = field(default_factory=list)
    name: str = field(init=False)
    labels: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.node.metadata.name
        self.labels = self.node.metadata.labels

    def add(self, pod: Pod, minor: int = NEWEST_MINOR) -> None:
        self.pods.append(pod)
        self._hold(held(pod, minor), 1)
        terms = terms_of(pod, minor)
        if terms:
            self.concerned.append((pod, terms))

    def remove(self, pod: Pod, minor: int = NEWEST_MINOR) -> None:
        self.pods = [other for other in self.pods if other is not pod]
        self._hold(held(pod, minor), -1)
        if self.concerned:
            self.concerned = [entry for entry in self.concerned if entry[0] is not pod]

    def copy(self) -> Site:
        """The same site, to be changed without changing this one."""
        return Site(
            self.node,
            self.allocatable,
            self.index,
            list(self.pods),
            dict(self.used),
            self.nonzero_cpu,
            self.nonzero_memory,
            set(self.ports),
            list(self.concerned),
        )

    def _hold(self, holds: Demand, sign: int) -> None:
        used = self.used
        for name, value in holds.requests.items():
            used[name] = used.get(name, 0) + sign * value
        self.nonzero_cpu += sign * holds.nonzero["cpu"]
        self.nonzero_memory += sign * holds.nonzero["memory"]
        if holds.ports:
            if sign > 0:
                self.ports.update(holds.ports)
            else:
                self.ports.difference_update(holds.ports)


class Board:
    """Every node with its pods, and all other objects that a decision may ask for."""

    def __init__(self, minor: int = NEWEST_MINOR) -> None:
        self.minor = minor
        self.knows_others = True
        self.sites: list[Site] = []  # by name
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.nominated: dict[str, dict[tuple[str, str], Pod]] = {}  # by node: pods that preemption made room for
        self.attachments: dict[str, dict[str, VolumeAttachment]] = {}  # by node
        self.claims_in_use: Counter[tuple[str, str]] = Counter()
        self.journal: list[tuple[int, Pod, Site]] = []
        self.epoch = 0
        self._by_name: dict[str, Site] = {}
        self._placed: dict[str, dict[tuple[str, str], Pod]] = {}  # by node, whether it is there or not
        self._others: dict[type[Object], dict[tuple[str, str], Object]] = {}

    @classmethod
    def of(
        cls,
        nodes: Sequence[Node],
        pods: Iterable[Pod],
        namespaces: Iterable[Namespace] = (),
        *,
        but: Pod,
        others: Iterable[Object] | None = None,
        minor: int = NEWEST_MINOR,
    ) -> Board:
        """Lays out the cluster without `but`, the pod that is to be placed.

        `others` are all Services, ReplicaSets, volumes and so on; None means that nothing is known of them.
        """
        board = cls(minor)
        board.knows_others = others is not None
        own = (but.metadata.namespace, but.metadata.name)
        for node in nodes:
            board._by_name[node.metadata.name] = Site(node, _allocatable(node))
        board._number(sorted(board._by_name.values(), key=attrgetter("name")))
        for pod in pods:
            if (pod.metadata.namespace, pod.metadata.name) != own:
                board._put_pod(pod)
        for item in (*namespaces, *(others or ())):
            board.change(None, item)
        board.journal.clear()
        return board

    def site(self, name: str) -> Site | None:
        return self._by_name.get(name)

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        return cast("T | None", self._others.get(kind, {}).get((namespace, name)))

    def all(self, kind: type[T]) -> Iterable[T]:
        """All objects of a kind other than Node, Pod and Namespace, by namespace and name."""
        found = self._others.get(kind, {})
        return (cast(T, found[place]) for place in sorted(found))

    def change(self, before: Object | None, after: Object | None) -> None:
        """`before` (None: nothing) has become `after` (None: nothing)."""
        match after or before:
            case Pod():
                if before is not None:
                    self._take_pod(cast(Pod, before))
                if after is not None:
                    self._put_pod(cast(Pod, after))
            case Node() as node:
                self._change_node(node, after is None)
            case Namespace() as namespace:
                self.epoch += 1
                name = namespace.metadata.name
                if after is None:
                    self.namespaces.pop(name, None)
                else:
                    self.namespaces[name] = {NAME_LABEL: name, **namespace.metadata.labels}
            case Object() as item:
                self.epoch += 1
                place = (item.metadata.namespace, item.metadata.name)
                if isinstance(before, VolumeAttachment):
                    self.attachments.get(before.spec.node_name, {}).pop(before.metadata.name, None)
                if isinstance(after, VolumeAttachment):
                    self.attachments.setdefault(after.spec.node_name, {})[after.metadata.name] = after
                if after is None:
                    self._others.get(type(item), {}).pop(place, None)
                else:
                    self._others.setdefault(type(item), {})[place] = item
            case None:
                raise ValueError("a change has a side")

    def concerned(self) -> Iterable[tuple[Site, Pod, Terms]]:
        """The pods with inter-pod terms, with their sites."""
        for site in self.sites:
            for pod, terms in site.concerned:
                yield site, pod, terms

    def _put_pod(self, pod: Pod) -> None:
        name = pod.spec.node_name
        key = (pod.metadata.namespace, pod.metadata.name)
        if pod.status.phase in ENDED:
            return
        if not name:
            if pod.status.nominated_node_name:
                self.nominated.setdefault(pod.status.nominated_node_name, {})[key] = pod
            return
        self._placed.setdefault(name, {})[key] = pod
        site = self._by_name.get(name)
        if site is not None:
            site.add(pod, self.minor)
            self._note(1, pod, site)

    def _take_pod(self, pod: Pod) -> None:
        name = pod.spec.node_name
        key = (pod.metadata.namespace, pod.metadata.name)
        if not name:
            nominees = self.nominated.get(pod.status.nominated_node_name)
            if nominees is not None and nominees.pop(key, None) is not None and not nominees:
                del self.nominated[pod.status.nominated_node_name]
            return
        there = self._placed.get(name, {}).pop(key, None)
        site = self._by_name.get(name)
        if site is not None and there is not None:
            site.remove(there, self.minor)
            self._note(-1, there, site)

    def _note(self, sign: int, pod: Pod, site: Site) -> None:
        self.journal.append((sign, pod, site))
        if len(self.journal) > JOURNAL_MAX:
            self.journal.clear()
            self.epoch += 1
        if pod.spec.volumes:
            for volume in pod.spec.volumes:
                if volume.persistent_volume_claim is not None:
                    self.claims_in_use[pod.metadata.namespace, volume.persistent_volume_claim.claim_name] += sign

    def _change_node(self, node: Node, gone: bool) -> None:
        name = node.metadata.name
        site = self._by_name.get(name)
        if site is not None and not gone and site.node == node:
            return
        self.epoch += 1
        if site is not None:
            del self._by_name[name]
            self.sites.remove(site)
            for pod in site.pods:
                self._note(-1, pod, site)
        if not gone:
            site = Site(node, _allocatable(node))
            self._by_name[name] = site
            insort(self.sites, site, key=attrgetter("name"))
            for pod in self._placed.get(name, {}).values():
                site.add(pod, self.minor)
                self._note(1, pod, site)
        self._number(self.sites)

    def _number(self, sites: list[Site]) -> None:
        self.sites = sites
        for index, site in enumerate(sites):
            site.index = index


def terms_of(pod: Pod, minor: int = NEWEST_MINOR) -> Terms:
    affinity = pod.spec.affinity
    if affinity is None or (affinity.pod_affinity is None and affinity.pod_anti_affinity is None):
        return _NO_TERMS
    metadata = pod.metadata
    return _TERMS.recall((pod.spec, metadata.labels, metadata.namespace, minor), lambda: _terms(pod, minor))


def with_label_keys(
    selector: LabelSelector | None, labels: Mapping[str, str], same: Sequence[str], other: Sequence[str] = ()
) -> LabelSelector | None:
    """`selector`, narrowed to pods whose labels `same` are those of the pod, and `other` are not.

    The API server does that when a pod is created (affinity: since 1.31); doing it again changes nothing.
    """
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


def _terms(pod: Pod, minor: int) -> Terms:
    affinity = pod.spec.affinity
    assert affinity is not None
    attract, repel = affinity.pod_affinity or PodAffinity(), affinity.pod_anti_affinity or PodAntiAffinity()
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"

    def hard(terms: Sequence[PodAffinityTerm], section: str) -> tuple[Term, ...]:
        return tuple(
            _term(pod, term, f"spec.affinity.{section}.{required}[{index}]", minor) for index, term in enumerate(terms)
        )

    return Terms(
        affinity=hard(attract.required_during_scheduling_ignored_during_execution, "podAffinity"),
        anti_affinity=hard(repel.required_during_scheduling_ignored_during_execution, "podAntiAffinity"),
        preferred=tuple(
            _term(
                pod,
                weighted.pod_affinity_term or PodAffinityTerm(),
                f"spec.affinity.{section}.{preferred}[{index}].podAffinityTerm",
                minor,
                weight=sign * weighted.weight,
            )
            for section, sign, terms in (
                ("podAffinity", 1, attract.preferred_during_scheduling_ignored_during_execution),
                ("podAntiAffinity", -1, repel.preferred_during_scheduling_ignored_during_execution),
            )
            for index, weighted in enumerate(terms)
        ),
    )


def _term(pod: Pod, term: PodAffinityTerm, path: str, minor: int, weight: int = 0) -> Term:
    own = () if term.namespaces or term.namespace_selector is not None else (pod.metadata.namespace,)
    narrowed = minor >= 31
    return Term(
        path=path,
        topology_key=term.topology_key,
        selector=with_label_keys(
            term.label_selector, pod.metadata.labels, term.match_label_keys, term.mismatch_label_keys
        )
        if narrowed
        else term.label_selector,
        namespaces=frozenset(term.namespaces or own),
        namespace_selector=term.namespace_selector,
        weight=weight,
    )
