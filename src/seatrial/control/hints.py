"""Hints in EndpointSlices: for whom an endpoint is meant, so that traffic stays near.

Two ways to ask for them. `spec.trafficDistribution` gives each ready endpoint its own zone (PreferClose,
PreferSameZone) or also its own node (PreferSameNode). The annotation `service.kubernetes.io/topology-mode: Auto` shares
the endpoints out to zones by the CPU of their nodes, if no endpoint then gets over 20 % more than its share; where that
cannot be done there are no hints and an event says why. The annotation wins. Rules:
https://kubernetes.io/docs/concepts/services-networking/topology-aware-routing/

Which of equal endpoints is given to another zone is chance upstream; here they are taken in order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from seatrial.kube.objects import Endpoint, Node, Service
from seatrial.kube.objects.services import EndpointHints, ForNode, ForZone
from seatrial.kube.quantities import ZERO

ZONE: Final = "topology.kubernetes.io/zone"
MODE: Final = "service.kubernetes.io/topology-mode"
OLD_MODE: Final = "service.kubernetes.io/topology-aware-hints"
SAME_NODE_SINCE: Final = 34
"""PreferSameZone and PreferSameNode are understood from this minor version on."""
CONTROL_PLANE: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_OVERLOAD: Final = 0.2
ENABLED: Final = "TopologyAwareHintsEnabled"
DISABLED: Final = "TopologyAwareHintsDisabled"

Contents = Sequence[Sequence[Endpoint]]
"""The endpoints of some slices."""


def by_annotation(service: Service) -> bool:
    annotations = service.metadata.annotations
    return annotations.get(OLD_MODE, annotations.get(MODE)) in ("Auto", "auto")


def by_distribution(service: Service, minor: int) -> bool:
    wanted = service.spec.traffic_distribution
    newer = wanted in ("PreferSameZone", "PreferSameNode") and minor >= SAME_NODE_SINCE
    return (wanted == "PreferClose" or newer) and not by_annotation(service)


def is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions is not None and endpoint.conditions.ready is True


def without(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    return tuple(each if each.hints is None else replace(each, hints=None) for each in endpoints)


def near(service: Service, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints with the hints of `trafficDistribution`; those that are not ready keep what they have."""
    nodes_too = service.spec.traffic_distribution == "PreferSameNode"
    return tuple(replace(each, hints=_near(each, nodes_too)) if is_ready(each) else each for each in endpoints)


def _near(endpoint: Endpoint, nodes_too: bool) -> EndpointHints | None:
    zones = (ForZone(name=endpoint.zone),) if endpoint.zone else ()
    nodes = (ForNode(name=endpoint.node_name),) if endpoint.node_name and nodes_too else ()
    return EndpointHints(for_zones=zones, for_nodes=nodes) if zones or nodes else None


@dataclass(frozen=True, slots=True)
class _Share:
    """How many endpoints a zone is to have."""

    least: int
    most: int
    desired: float


@dataclass(frozen=True, slots=True)
class Shared:
    """Slices' endpoints with hints by zone; or (`why`) none at all, with the reason."""

    changing: tuple[tuple[Endpoint, ...], ...]
    standing: tuple[tuple[Endpoint, ...], ...]
    why: str = ""


def share_out(changing: Contents, standing: Contents, ratios: Mapping[str, float]) -> Shared:
    """Hints for the slices that change anyway, and for those that stand still if theirs have become wrong."""
    total = sum(map(is_ready, (each for content in (*changing, *standing) for each in content)))
    shares = _shares(total, ratios)
    if isinstance(shares, str):
        return _unshared(changing, standing, shares)
    allocated: Counter[str] = Counter()
    redone = list(map(list, changing))
    where: list[int | None] = []
    for content in standing:
        counted = _counted(content, allocated, shares)
        where.append(len(redone) if counted is None else None)
        if counted is None:
            redone.append(list(content))
        else:
            allocated.update(counted)
    for content in redone:
        for position, endpoint in enumerate(content):
            if is_ready(endpoint):
                if not endpoint.zone:
                    return _unshared(changing, standing, "One or more endpoints do not have a zone specified")
                allocated[endpoint.zone] += 1
                content[position] = _for_zone(endpoint, endpoint.zone)
    _move(redone, *_giving_and_receiving(shares, allocated))
    if not allocated:
        return _unshared(changing, standing, "No hints allocated for zones")
    after = tuple(map(tuple, redone))
    return Shared(
        after[: len(changing)],
        tuple(tuple(content) if at is None else after[at] for content, at in zip(standing, where, strict=True)),
    )


def cpu_ratios(nodes: Iterable[Node]) -> Mapping[str, float]:
    """Which part of the CPU of all ready nodes each zone has; nothing if a node does not say, or there is one zone."""
    cpu = dict.fromkeys(sorted({node.metadata.labels.get(ZONE, "") for node in nodes}), ZERO)
    counted: dict[str, int] = {}
    for node in nodes:
        labels = node.metadata.labels
        ready = any(each.type == "Ready" and each.status == "True" for each in node.status.conditions)
        if not ready or any(label in labels for label in CONTROL_PLANE):
            continue
        zone, size = labels.get(ZONE), node.status.allocatable.get("cpu", ZERO)
        if not zone or size == ZERO:
            return {}
        cpu[zone] = cpu[zone] + size
        counted[zone] = 0
    if len(counted) < 2:
        return {}
    milli = {zone: cpu[zone].milli for zone in counted}
    return {zone: size / sum(milli.values()) for zone, size in milli.items()}


def _unshared(changing: Contents, standing: Contents, why: str) -> Shared:
    return Shared(tuple(map(without, changing)), tuple(map(without, standing)), why)


def _for_zone(endpoint: Endpoint, zone: str) -> Endpoint:
    return replace(endpoint, hints=EndpointHints(for_zones=(ForZone(name=zone),)))


def _shares(total: int, ratios: Mapping[str, float]) -> dict[str, _Share] | str:
    """Each zone's share, or why there cannot be one."""
    if not ratios:
        return "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
    counts = f"({total} endpoints, {len(ratios)} zones)"
    if len(ratios) > total:
        return f"Insufficient number of endpoints {counts}"
    desired = {zone: ratio * total for zone, ratio in ratios.items()}
    least = {zone: math.ceil(size * (1 / (1 + _OVERLOAD))) for zone, size in desired.items()}
    spare = total - sum(least.values())
    if spare < 0:
        return (
            f"Unable to allocate minimum required endpoints to each zone without exceeding overload threshold {counts}"
        )
    return {zone: _Share(least[zone], least[zone] + spare, max(desired[zone], least[zone])) for zone in ratios}


def _counted(
    content: Sequence[Endpoint], allocated: Mapping[str, int], shares: Mapping[str, _Share]
) -> Counter[str] | None:
    """The hints of a slice by zone; None if they have to be given anew."""
    counted: Counter[str] = Counter()
    for endpoint in filter(is_ready, content):
        zones = endpoint.hints.for_zones if endpoint.hints is not None else ()
        if not zones or any(zone.name not in shares for zone in zones):
            return None
        counted.update(zone.name for zone in zones)
    if any(count + allocated.get(zone, 0) > shares[zone].most for zone, count in counted.items()):
        return None
    return counted


def _giving_and_receiving(
    shares: Mapping[str, _Share], allocated: Mapping[str, int]
) -> tuple[Counter[str], Counter[str]]:
    """How many endpoints each zone has to give away, and how many each is to be given."""
    beyond = {zone: allocated.get(zone, 0) - share.desired for zone, share in shares.items()}
    too_many = {zone: size for zone, size in beyond.items() if size > 0}
    too_few = {zone: -size for zone, size in beyond.items() if size < 0}
    giving: Counter[str] = Counter()
    receiving: Counter[str] = Counter()
    while too_many and too_few:
        giver = max(sorted(too_many), key=lambda zone: too_many[zone])
        taker = max(sorted(too_few), key=lambda zone: too_few[zone])
        spare, lacking = too_many[giver], too_few[taker]
        if (spare < 1 and lacking < 1) or spare < 0.5 or lacking < 0.5:
            break
        giving[giver] += 1
        receiving[taker] += 1
        too_many[giver] -= 1
        too_few[taker] -= 1
    return giving, receiving


def _move(contents: list[list[Endpoint]], giving: Counter[str], receiving: Counter[str]) -> None:
    for content in contents:
        for position, endpoint in enumerate(content):
            taker = next((zone for zone in sorted(receiving) if receiving[zone]), None)
            if taker is None or not any(giving.values()):
                return
            if is_ready(endpoint) and giving[endpoint.zone]:
                content[position] = _for_zone(endpoint, taker)
                giving[endpoint.zone] -= 1
                receiving[taker] -= 1
