"""The scores: which of the nodes that can take a pod suits it best.

Every score is brought to 0..100 and weighted as in upstream's default profile; the arithmetic (integer division,
truncation, where floats are used) is upstream's, since a difference of one decides. The formulas:
docs/reference/scheduler.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from seatrial.control.scheduler import machines, spread
from seatrial.control.scheduler.board import HOSTNAME, Board, Site, terms_of
from seatrial.control.scheduler.demand import demand
from seatrial.kube.objects import Pod

TOP = 100
WEIGHTS = {
    "NodeResourcesFit": 1,
    "NodeResourcesBalancedAllocation": 1,
    "NodeAffinity": 2,
    "InterPodAffinity": 2,
    "PodTopologySpread": 2,
    "TaintToleration": 3,
    "ImageLocality": 1,
}
# A required affinity term of a pod that already runs attracts the pods that it matches with this weight.
HARD_AFFINITY_WEIGHT = 1
# ImageLocality: sizes in bytes between which the score rises, the upper one for each container.
IMAGE_LEAST, IMAGE_MOST = 23 * 1024 * 1024, 1000 * 1024 * 1024


def by_plugin(pod: Pod, board: Board, feasible: Sequence[Site]) -> Mapping[str, list[int]]:
    """For each plugin the normalised score (0..100, not weighted) of each feasible node, in their order."""
    return {
        "NodeResourcesFit": _least_allocated(pod, feasible),
        "NodeResourcesBalancedAllocation": _balanced(pod, feasible),
        "NodeAffinity": _node_affinity(pod, feasible),
        "InterPodAffinity": _inter_pod_affinity(pod, board, feasible),
        "PodTopologySpread": _topology_spread(pod, board, feasible),
        "TaintToleration": _taint_toleration(pod, feasible),
        "ImageLocality": _image_locality(pod, board, feasible),
    }


def totals(pod: Pod, board: Board, feasible: Sequence[Site]) -> list[int]:
    plugins = by_plugin(pod, board, feasible)
    return [sum(WEIGHTS[name] * scores[index] for name, scores in plugins.items()) for index in range(len(feasible))]


def _least_allocated(pod: Pod, feasible: Sequence[Site]) -> list[int]:
    nonzero = demand(pod).nonzero
    cpu, memory = nonzero["cpu"], nonzero["memory"]
    scores = []
    for site in feasible:
        shares = [
            max(0, allocatable - held) * TOP // allocatable
            for allocatable, held in (
                (site.allocatable.get("cpu", 0), site.nonzero_cpu + cpu),
                (site.allocatable.get("memory", 0), site.nonzero_memory + memory),
            )
            if allocatable
        ]
        scores.append(sum(shares) // len(shares) if shares else 0)
    return scores


def _balanced(pod: Pod, feasible: Sequence[Site]) -> list[int]:
    """How much evener (or less even) cpu and memory of a node are used with the pod than without it."""
    requests = demand(pod).requests
    wanted = [requests.get("cpu", 0), requests.get("memory", 0)]
    if not any(wanted):
        return [0] * len(feasible)
    scores = []
    for site in feasible:
        allocatable = [site.allocatable.get("cpu", 0), site.allocatable.get("memory", 0)]
        held = [site.used.get("cpu", 0), site.used.get("memory", 0)]
        with_pod = _evenness([held[0] + wanted[0], held[1] + wanted[1]], allocatable)
        scores.append(TOP // 2 + (TOP // 2 + with_pod - _evenness(held, allocatable)) // 2)
    return scores


def _evenness(held: list[int], allocatable: list[int]) -> int:
    fractions = [min(1.0, part / whole) for part, whole in zip(held, allocatable, strict=True) if whole]
    deviation = abs((fractions[0] - fractions[1]) / 2) if len(fractions) == 2 else 0.0
    return int((1 - deviation) * TOP)


def _node_affinity(pod: Pod, feasible: Sequence[Site]) -> list[int]:
    affinity = pod.spec.affinity
    node_affinity = affinity.node_affinity if affinity else None
    if node_affinity is None:
        return [0] * len(feasible)
    preferred = node_affinity.preferred_during_scheduling_ignored_during_execution
    return _normalised(
        [
            sum(
                term.weight
                for term in preferred
                if term.preference is not None and machines.matches_term(term.preference, site.node)
            )
            for site in feasible
        ]
    )


def _taint_toleration(pod: Pod, feasible: Sequence[Site]) -> list[int]:
    soft = [toleration for toleration in pod.spec.tolerations if toleration.effect in ("", "PreferNoSchedule")]
    return _normalised(
        [
            sum(
                1
                for taint in site.node.spec.taints
                if taint.effect == "PreferNoSchedule" and not machines.tolerates(soft, taint)
            )
            for site in feasible
        ],
        reverse=True,
    )


def _inter_pod_affinity(pod: Pod, board: Board, feasible: Sequence[Site]) -> list[int]:
    pairs: Counter[tuple[str, str]] = Counter()
    own = terms_of(pod).preferred
    if own:
        for site in board.sites:
            for other in site.pods:
                for term in own:
                    if term.topology_key in site.labels and term.matches(other, board.namespaces):
                        pairs[term.topology_key, site.labels[term.topology_key]] += term.weight
    for site, _, terms in board.concerned:
        for term in (*terms.affinity, *terms.preferred):
            if term.topology_key in site.labels and term.matches(pod, board.namespaces):
                pairs[term.topology_key, site.labels[term.topology_key]] += term.weight or HARD_AFFINITY_WEIGHT
    if not pairs:
        return [0] * len(feasible)
    raw = [sum(pairs[pair] for pair in site.labels.items() if pair in pairs) for site in feasible]
    least, most = min(raw), max(raw)
    if least == most:
        return [0] * len(feasible)
    return [int(TOP * ((score - least) / (most - least))) for score in raw]


def _topology_spread(pod: Pod, board: Board, feasible: Sequence[Site]) -> list[int]:
    own = bool(pod.spec.topology_spread_constraints)
    soft = spread.constraints(pod, "ScheduleAnyway") if own else spread.system_defaults(pod)
    if not soft:
        return [0] * len(feasible)
    # With constraints of its own, nodes without all their keys score 0; the system defaults spare nodes without zones.
    scored = [site for site in feasible if not own or spread.has_keys(site, soft)]
    # The system defaults all count the same pods: once is enough.
    counted = {} if own else {site.name: soft[0].number(pod, site) for site in board.sites}
    raw = {site.name: 0.0 for site in scored}
    for constraint in soft:
        key = constraint.topology_key
        if key == HOSTNAME:
            numbers = {
                site.name: counted[site.name] if counted else constraint.number(pod, site)
                for site in scored
                if key in site.labels
            }
            size = len(scored)
        else:
            domains = dict.fromkeys((site.labels.get(key, "") for site in scored), 0)
            for site in board.sites:
                value = site.labels.get(key, "")
                if value in domains and (not own or spread.has_keys(site, soft)) and constraint.includes(pod, site):
                    domains[value] += counted[site.name] if counted else constraint.number(pod, site)
            numbers = {site.name: domains[site.labels[key]] for site in scored if key in site.labels}
            size = len(domains)
        weight = math.log(size + 2)
        for name, number in numbers.items():
            raw[name] += number * weight + (constraint.max_skew - 1)
    rounded = {name: math.floor(score + 0.5) for name, score in raw.items()}
    least, most = min(rounded.values(), default=0), max(rounded.values(), default=0)
    return [
        0 if site.name not in rounded else TOP if most == 0 else TOP * (most + least - rounded[site.name]) // most
        for site in feasible
    ]


def _image_locality(pod: Pod, board: Board, feasible: Sequence[Site]) -> list[int]:
    """Nodes that have the pod's images, the bigger and the more widely spread the better."""
    if not any(site.node.status.images for site in board.sites):
        return [0] * len(feasible)
    sizes = {
        site.name: {name: image.size_bytes for image in site.node.status.images for name in image.names}
        for site in board.sites
    }
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    images = [_with_tag(container.image) for container in containers]
    nodes_with = {image: sum(1 for known in sizes.values() if image in known) for image in images}
    most = IMAGE_MOST * len(images)
    scores = []
    for site in feasible:
        known = sizes[site.name]
        total = sum(int(known[image] * (nodes_with[image] / len(sizes))) for image in images if image in known)
        scores.append(TOP * (min(max(total, IMAGE_LEAST), most) - IMAGE_LEAST) // (most - IMAGE_LEAST))
    return scores


def _with_tag(image: str) -> str:
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def _normalised(scores: list[int], *, reverse: bool = False) -> list[int]:
    """To 0..100 by the highest score; reversed, the highest becomes 0 and 0 becomes 100."""
    most = max(scores, default=0)
    if most == 0:
        return [TOP if reverse else 0] * len(scores)
    scaled = [TOP * score // most for score in scores]
    return [TOP - score for score in scaled] if reverse else scaled
