"""The dependency graph of a system: what refers to what, who talks to whom, what is missing and what goes in circles.

Nodes are the objects of the input, and what it refers to and does not have. Arrows are the references that were looked
up (`check/references`) and the dependencies that were read from commands, probes and configuration
(`check/dependencies`), each with its evidence. A cycle is one of waiting: pods that wait for, or are ready only with, a
Service whose pods wait in turn; merely to name each other is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from seatrial.check.properties import Question, references
from seatrial.check.reading import dependencies
from seatrial.check.reading.templates import templates
from seatrial.check.references.inventory import TEMPLATES
from seatrial.check.system import Place

SORTS: Final[Mapping[str, frozenset[str]]] = {
    "workload": frozenset(TEMPLATES),
    "network": frozenset(("Service", "Ingress", "NetworkPolicy", "EndpointSlice", "Endpoints", "Gateway", "HTTPRoute")),
    "config": frozenset(("ConfigMap", "Secret")),
    "storage": frozenset(("PersistentVolumeClaim", "PersistentVolume", "StorageClass", "CSIDriver")),
    "access": frozenset(("ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")),
}
_UNTOLD: Final = ("metadata.namespace", "kind")
"""References that every object has: a picture of them shows nothing."""

_PARTS: Final = ("endpoints", "key", "port", "what")
"""Expectations that are about a part of an object."""


@dataclass(frozen=True, slots=True)
class Node:
    """An object; `there` says whether the input has it, otherwise it is `missing` or expected from outside."""

    name: str
    sort: str
    there: str = "input"
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Arrow:
    """`label` is the field that refers, or what one does with the other; `unmet` if it leads to what is missing."""

    source: str
    target: str
    label: str
    evidence: tuple[Place, ...]
    words: str = ""
    """The text that names the target, of a dependency that was inferred."""
    unmet: bool = False
    cycle: bool = False


@dataclass(slots=True)
class Graph:
    nodes: dict[str, Node] = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)
    cycles: tuple[tuple[str, ...], ...] = ()


def build(question: Question) -> Graph:
    """The graph of a system."""
    graph = Graph()
    for entry in question.system.entries:
        name = str(entry.key)
        graph.nodes.setdefault(name, Node(name, _sort(entry.key.kind), place=entry.place()))
    found = references.look(question)
    arrows: dict[tuple[str, str, str], Arrow] = {}

    def add(source: str, target: str, label: str, place: Place, words: str = "", *, unmet: bool = False) -> None:
        known = arrows.get((source, target, label))
        evidence = tuple(dict.fromkeys((*(known.evidence if known else ()), place)))
        arrows[source, target, label] = Arrow(source, target, label, evidence, known.words if known else words, unmet)

    for link in found.links:
        if link.place.path not in _UNTOLD and link.entry is not link.target:
            add(str(link.entry.key), str(link.target.key), _label(link.place.path), link.place)
    for each in found.outside:
        if each.place.path not in _UNTOLD and each.what.partition(" ")[0] not in _PARTS:
            graph.nodes.setdefault(each.what, Node(each.what, _sort(each.what.partition(" ")[0]), "outside"))
            add(str(each.entry.key), each.what, _label(each.place.path), each.place)
    for defect in found.defects:
        if defect.missing and defect.places[0].path not in _UNTOLD:
            sort = _sort(defect.missing.partition(" ")[0])
            graph.nodes.setdefault(defect.missing, Node(defect.missing, sort, "missing"))
            place = defect.places[0]
            add(str(defect.entry.key), defect.missing, _label(place.path), place, unmet=True)
    waiting: dict[str, set[str]] = {}
    pods = templates(question.system)
    for edge in dependencies.edges(question.system):
        source, target = str(edge.source.key), str(edge.target)
        if edge.target.entry is None:
            graph.nodes.setdefault(target, Node(target, _sort(edge.target.kind), "missing"))
        place = edge.holder.place(*edge.path)
        add(source, target, edge.means.value, place, edge.evidence, unmet=edge.target.entry is None)
        if edge.means is not dependencies.Means.USES and edge.target.entry is not None:
            waiting.setdefault(source, set()).add(target)
            for behind in dependencies.backers(edge.target, pods):
                waiting.setdefault(target, set()).add(str(behind.key))
    graph.cycles = cycles(waiting)
    around = {name: number for number, cycle in enumerate(graph.cycles) for name in cycle}
    graph.arrows = [
        Arrow(a.source, a.target, a.label, a.evidence, a.words, a.unmet, cycle=True)
        if a.target in waiting.get(a.source, ()) and a.source in around and around[a.source] == around.get(a.target)
        else a
        for a in arrows.values()
    ]
    return graph


def cycles(edges: Mapping[str, Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """The strongly connected components with an edge inside (Tarjan's algorithm, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found = []
    for root in edges:
        if root in index:
            continue
        work = [(root, iter(sorted(edges.get(root, ()))))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, following = work[-1]
            child = next(following, None)
            if child is not None:
                if child not in index:
                    index[child] = low[child] = len(index)
                    stack.append(child)
                    on_stack.add(child)
                    work.append((child, iter(sorted(edges.get(child, ())))))
                elif child in on_stack:
                    low[node] = min(low[node], index[child])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == index[node]:
                component: list[str] = []
                while not component or component[-1] != node:
                    component.append(stack.pop())
                    on_stack.discard(component[-1])
                if len(component) > 1 or node in edges.get(node, ()):
                    found.append(tuple(sorted(component)))
    return tuple(found)


def _sort(kind: str) -> str:
    return next((sort for sort, kinds in SORTS.items() if kind in kinds), "workload" if kind == "pods" else "other")


def _label(path: str) -> str:
    """The field that refers: the last part of its path that is no plain `name`."""
    parts = [part.partition("[")[0] for part in path.split(".")]
    while len(parts) > 1 and parts[-1] in ("name", "key", "number", "port", "claimName", "secretName"):
        parts.pop()
    return parts[-1]
