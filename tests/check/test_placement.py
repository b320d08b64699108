"""Orders of arrival, against an explorer that is plainly written: named pods, named nodes, no counting, no symmetry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from seatrial.check.machines import Group, on
from seatrial.check.placing import room
from seatrial.check.placing.arrivals import TooManyError, arrange
from seatrial.check.placing.ground import Ground
from seatrial.check.properties.schedule import fits
from seatrial.control import scheduler
from seatrial.kube.objects import Node, Pod, parse_as

MOST = 1_500
Where = frozenset[tuple[str, str]]
"""Pods (by name) and their nodes."""


class TooLargeError(Exception):
    """More states than a dumb explorer should look at."""


def pod(name: str, raw: dict[str, Any]) -> Pod:
    return parse_as(Pod, {**raw, "metadata": {**raw["metadata"], "name": name, "uid": name, "namespace": "default"}})


class Dumb:
    """Every pod by name; every state is every pod's node."""

    def __init__(self, nodes: tuple[Node, ...], groups: list[Group], *, free: bool = False) -> None:
        self.nodes = nodes
        self.free = free
        self.pods = {}
        for number, group in enumerate(groups):
            for index in range(group.count):
                name = f"g{number}-{index}"
                meta = replace(group.pod.metadata, name=name, uid=name)
                self.pods[name] = replace(group.pod, metadata=meta)

    def steps(self, where: Where) -> Iterator[Where]:
        placed = dict(where)
        there = [on(self.pods[name], node) for name, node in placed.items()]
        for name, each in self.pods.items():
            if name in placed:
                continue
            found = scheduler.schedule(each, self.nodes, there, (), ())
            for node in found.feasible if self.free else found.best:
                yield where | {(name, node)}
            if found.best or self.free:
                continue
            for node in found.nominated:
                candidate = found.candidate(node)
                assert candidate is not None
                gone = {victim.metadata.name for victim in candidate.victims}
                yield frozenset(pair for pair in where if pair[0] not in gone) | {(name, node)}

    def ends(self) -> set[Where]:
        """The states from which nothing leads on."""
        todo: list[Where] = [frozenset()]
        seen = set(todo)
        ends = set()
        while todo:
            where = todo.pop()
            after = list(self.steps(where))
            if not after:
                ends.add(where)
            for each in after:
                if each not in seen:
                    seen.add(each)
                    todo.append(each)
                    if len(seen) > MOST:
                        raise TooLargeError
        return ends

    @property
    def strands(self) -> bool:
        return any(len(where) < len(self.pods) for where in self.ends())

    @property
    def has_a_placement(self) -> bool:
        return any(len(where) == len(self.pods) for where in self.ends())


@st.composite
def systems(draw: st.DrawFn) -> tuple[tuple[Node, ...], list[Group]]:
    zones = draw(st.sampled_from((("a", "a", "b"), ("a", "b"), ("a", "b", "c"), ("a", "a"))))
    nodes = []
    for index, zone in enumerate(zones):
        size = draw(st.sampled_from((2, 2, 3)))
        how = draw(
            st.sampled_from(({}, {}, {}, {"unschedulable": True}, {"taints": [{"key": "k", "effect": "NoSchedule"}]}))
        )
        labels = {"kubernetes.io/hostname": f"n{index}", "topology.kubernetes.io/zone": zone}
        allocatable = {"cpu": str(size), "memory": "8Gi", "pods": "10"}
        raw = {
            "metadata": {"name": f"n{index}", "labels": labels},
            "spec": how,
            "status": {"allocatable": allocatable},
        }
        nodes.append(parse_as(Node, raw))
    groups = []
    for number in range(draw(st.integers(1, 3))):
        labels = {"app": f"app-{number}"}
        spec: dict[str, Any] = {
            "containers": [
                {"name": "c", "resources": {"requests": {"cpu": draw(st.sampled_from(("500m", "1", "1500m")))}}}
            ],
            "priority": draw(st.sampled_from((0, 0, 0, 10))),
        }
        key = draw(st.sampled_from(("kubernetes.io/hostname", "topology.kubernetes.io/zone")))
        other = {"app": f"app-{draw(st.integers(0, number))}"}
        match draw(st.integers(0, 4)):
            case 0:
                terms = [{"topologyKey": key, "labelSelector": {"matchLabels": other}}]
                spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
            case 1:
                terms = [{"topologyKey": key, "labelSelector": {"matchLabels": other}}]
                spec["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
            case 2:
                rule = {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule"}
                spec["topologySpreadConstraints"] = [{**rule, "labelSelector": {"matchLabels": labels}}]
        count = draw(st.integers(1, 3))
        groups.append(
            Group(f"app-{number}", pod(f"app-{number}", {"metadata": {"labels": labels}, "spec": spec}), count, count)
        )
    assume(sum(group.count for group in groups) <= 5)
    return tuple(nodes), groups


QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def ground(nodes: tuple[Node, ...]) -> Ground:
    return Ground(nodes, (), (), frozenset(), 37)


@QUICK
@given(systems())
def test_what_some_order_leaves_over_is_what_the_dumb_explorer_leaves_over(
    system: tuple[tuple[Node, ...], list[Group]],
) -> None:
    nodes, groups = system
    found = fits(ground(nodes), groups)
    try:
        strands = Dumb(nodes, groups).strands
    except TooLargeError:
        assume(False)
        raise
    assert found.complete
    assert bool(found.left) == strands


@QUICK
@given(systems())
def test_what_counting_says_is_so_in_every_order(system: tuple[tuple[Node, ...], list[Group]]) -> None:
    nodes, groups = system
    rooms = room.count(groups, nodes, (), 37)
    assume(any(each.always for each in rooms))
    if any(group.pod.spec.priority for group in groups):
        groups = [replace_priority(group) for group in groups]  # counting is about places, not about preemption
    always = [number for number, each in enumerate(rooms) if each.always]
    try:
        ends = Dumb(nodes, groups).ends()
    except TooLargeError:
        assume(False)
        raise
    for where in ends:
        placed = [name for name, _ in where]
        for number in always:
            assert sum(name.startswith(f"g{number}-") for name in placed) == groups[number].count


def replace_priority(group: Group) -> Group:
    spec = replace(group.pod.spec, priority=0)
    return Group(group.owner, replace(group.pod, spec=spec), group.count, group.asked)


@QUICK
@given(systems())
def test_a_placement_is_found_exactly_if_there_is_one(system: tuple[tuple[Node, ...], list[Group]]) -> None:
    nodes, groups = system
    try:
        path = arrange(ground(nodes).arrivals(groups, free=True), 5_000)
        exists = Dumb(nodes, groups, free=True).has_a_placement
    except (TooLargeError, TooManyError):
        assume(False)
        raise
    assert (path is not None) == exists


def node(name: str, cpu: str = "4", **labels: str) -> Node:
    allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    meta = {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}}
    return parse_as(Node, {"metadata": meta, "status": {"allocatable": allocatable}})


def group(owner: str, count: int, cpu: str, **spec: Any) -> Group:
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]
    raw = {"metadata": {"labels": {"app": owner}}, "spec": {"containers": containers, **spec}}
    return Group(owner, pod(owner, raw), count, count)


def test_an_order_that_strands_a_pod_is_told_though_the_files_order_would_do() -> None:
    """The large pod first fits; small ones that are spread first leave it no node with room for all of it."""
    nodes = (node("n1", "4"), node("n2", "4"))
    found = fits(ground(nodes), [group("large", 1, "4"), group("small", 2, "1")])
    (left,) = found.left
    assert (left.group.owner, left.as_written) == ("large", False)
    assert "places 2 pods of small (n1: 1, n2: 1)" in left.trace[0].action


def test_nodes_that_are_alike_are_taken_together() -> None:
    """A hundred pods on a hundred nodes, each on a node of its own: one state for each number of pods."""
    rule = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}}
    nodes = tuple(node(f"n{index}") for index in range(100))
    graph = ground(nodes).arrivals([group("web", 100, "100m", affinity=apart)], free=True).explored(1_000)
    assert (graph.complete, len(graph.states)) == (True, 101)


@pytest.mark.parametrize("count", [10, 1_000, 1_000_000])
def test_counting_does_not_care_how_many_pods_there_are(count: int) -> None:
    nodes = (node("n1", "2000k"), node("n2", "2000k"))
    wide = tuple(
        replace(
            each,
            status=replace(
                each.status, allocatable={**each.status.allocatable, "pods": each.status.allocatable["cpu"]}
            ),
        )
        for each in nodes
    )
    (found,) = room.count([group("web", count, "1")], wide, (), 37)
    assert found.always
