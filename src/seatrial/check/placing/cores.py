"""Why no placement exists: a smallest set of fields that together leave none.

Each requirement of the pods in question is dropped in turn; where there is still no placement without it, it is not to
blame and stays dropped. What is left at the end is a core: with any one of it gone there is a placement. Whether there
is one is asked of `arrange`, whose filters are the scheduler's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from msgspec.structs import replace as changed

from seatrial.check.machines import Group
from seatrial.check.placing.arrivals import Arrivals, TooManyError, arrange
from seatrial.check.system import Entry, Path, Place, System
from seatrial.kube.objects import Node, Pod, PodSpec

Builds = Callable[[Sequence[Node], Sequence[Group]], Arrivals]
BUDGET = 2_000
"""Decisions for one question whether a placement exists."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """Something that can be dropped: from the pods or from the machines."""

    places: tuple[Place, ...]
    of_pod: Callable[[Pod], Pod] | None = None
    of_node: Callable[[Node], Node] | None = None


def core(
    system: System, entry: Entry, builds: Builds, nodes: Sequence[Node], groups: Sequence[Group], owner: str
) -> tuple[Place, ...] | None:
    """The places of the fields in conflict; None if there is a placement, or no answer within the budget."""
    kept: list[Requirement] = []
    try:
        if arrange(builds(nodes, groups), BUDGET) is not None:
            return None
        for requirement in requirements(system, entry, next(g for g in groups if g.owner == owner).pod):
            less = _without(requirement, nodes, groups, owner)
            if arrange(builds(*less), BUDGET) is None:
                nodes, groups = less
            else:
                kept.append(requirement)
    except TooManyError:
        return None
    return tuple(dict.fromkeys(place for requirement in kept for place in requirement.places))


def requirements(system: System, entry: Entry, pod: Pod) -> Iterator[Requirement]:
    """What can be dropped, what people would give up last first."""
    inside: Path = () if isinstance(entry.typed, Pod) else ("spec", "template")
    spec = pod.spec

    def at(*path: str | int) -> tuple[Place, ...]:
        return (entry.place(*inside, "spec", *path),)

    if spec.node_selector:
        yield Requirement(at("nodeSelector"), _pod(node_selector={}))
    affinity = spec.affinity
    if affinity is not None:
        for name, key in (("node_affinity", "nodeAffinity"), ("pod_affinity", "podAffinity")):
            section = getattr(affinity, name)
            if section is not None and section.required_during_scheduling_ignored_during_execution:
                where = at("affinity", key, "requiredDuringSchedulingIgnoredDuringExecution")
                yield Requirement(where, _pod(affinity=changed(affinity, **{name: None})))
    apart = affinity.pod_anti_affinity if affinity else None
    if affinity is not None and apart is not None:
        for index, _ in enumerate(apart.required_during_scheduling_ignored_during_execution):
            where = at("affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution", index)
            yield Requirement(where, _without_anti_affinity(index))
    for index, rule in enumerate(spec.topology_spread_constraints):
        if rule.when_unsatisfiable != "ScheduleAnyway":
            yield Requirement(at("topologySpreadConstraints", index), _without_spread(index))
    for number, container in enumerate(spec.containers):
        for resource in container.resources.requests:
            where = at("containers", number, "resources", "requests", resource)
            yield Requirement(where, _without_request(number, resource))
        if any(port.host_port for port in container.ports):
            yield Requirement(at("containers", number, "ports"), _without_ports(number))
    for name, what in (("taints", {"taints": ()}), ("unschedulable", {"unschedulable": False})):
        marked = [each for each in system.of("Node") if (each.admitted.get("spec") or {}).get(name)]
        if marked:
            yield Requirement(tuple(each.place("spec", name) for each in marked), of_node=_node(**what))


def _without(
    requirement: Requirement, nodes: Sequence[Node], groups: Sequence[Group], owner: str
) -> tuple[Sequence[Node], Sequence[Group]]:
    if requirement.of_node is not None:
        return [requirement.of_node(node) for node in nodes], groups
    drop = requirement.of_pod
    assert drop is not None, "a requirement can be dropped somewhere"
    return nodes, [replace(each, pod=drop(each.pod)) if each.owner == owner else each for each in groups]


def _pod(**what: object) -> Callable[[Pod], Pod]:
    return lambda pod: changed(pod, spec=changed(pod.spec, **what))


def _node(**what: object) -> Callable[[Node], Node]:
    return lambda node: changed(node, spec=changed(node.spec, **what))


def _of_spec(change: Callable[[PodSpec], PodSpec]) -> Callable[[Pod], Pod]:
    return lambda pod: changed(pod, spec=change(pod.spec))


def _without_anti_affinity(index: int) -> Callable[[Pod], Pod]:
    """Terms keep their numbers, so that several can be dropped: a dropped one selects nobody."""

    def change(spec: PodSpec) -> PodSpec:
        assert spec.affinity is not None
        apart = spec.affinity.pod_anti_affinity
        assert apart is not None
        terms = list(apart.required_during_scheduling_ignored_during_execution)
        terms[index] = changed(terms[index], label_selector=None)
        apart = changed(apart, required_during_scheduling_ignored_during_execution=tuple(terms))
        return changed(spec, affinity=changed(spec.affinity, pod_anti_affinity=apart))

    return _of_spec(change)


def _without_spread(index: int) -> Callable[[Pod], Pod]:
    def change(spec: PodSpec) -> PodSpec:
        rules = list(spec.topology_spread_constraints)
        rules[index] = changed(rules[index], when_unsatisfiable="ScheduleAnyway")
        return changed(spec, topology_spread_constraints=tuple(rules))

    return _of_spec(change)


def _without_request(number: int, resource: str) -> Callable[[Pod], Pod]:
    def change(spec: PodSpec) -> PodSpec:
        containers = list(spec.containers)
        resources = containers[number].resources
        left = {name: size for name, size in resources.requests.items() if name != resource}
        containers[number] = changed(containers[number], resources=changed(resources, requests=left))
        return changed(spec, containers=tuple(containers))

    return _of_spec(change)


def _without_ports(number: int) -> Callable[[Pod], Pod]:
    def change(spec: PodSpec) -> PodSpec:
        containers = list(spec.containers)
        ports = tuple(changed(port, host_port=0) for port in containers[number].ports)
        containers[number] = changed(containers[number], ports=ports)
        return changed(spec, containers=tuple(containers))

    return _of_spec(change)
