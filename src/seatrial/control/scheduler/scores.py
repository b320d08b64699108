"""The scores: which of the nodes that can take a pod suits it best.

Every score is brought to 0..100 and weighted as the profile says; the arithmetic (integer division, truncation, where
floats are used) is upstream's, since a difference of one decides. The formulas: docs/reference/scheduler.md. What a
score says about one node by itself is computed once and again only when pods come to that node or leave it (`shift`);
what remains for each decision is to bring the feasible nodes' numbers to scale.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from seatrial.control.scheduler import machines, spread
from seatrial.control.scheduler.board import HOSTNAME, Board, Site, terms_of
from seatrial.control.scheduler.demand import demand
from seatrial.control.scheduler.profiles import DEFAULT, Profile
from seatrial.control.scheduler.volumes import SCORED_SINCE, Volumes, broken_linear
from seatrial.kube.objects import Pod
from seatrial.kube.objects.pods import PreferredSchedulingTerm, Toleration

TOP = 100
# ImageLocality: sizes in bytes between which the score rises, the upper one for each container.
IMAGE_LEAST, IMAGE_MOST = 23 * 1024 * 1024, 1000 * 1024 * 1024
IMAGE_INIT_SINCE = 30  # minor versions
BALANCE_OF_REQUESTS_SINCE = 33
IMAGE_VOLUMES_SINCE = 36
BALANCE_GAINED_SINCE = 36


class Scores:
    """The scores of one pod on one board; `volumes` are those of its filters."""

    def __init__(self, pod: Pod, board: Board, profile: Profile = DEFAULT, volumes: Volumes | None = None) -> None:
        self._pod = pod
        self._board = board
        self._profile = profile
        self._volumes = volumes if board.minor >= SCORED_SINCE else None
        self._images = _Images(pod, board)
        self._spread = _Spread(pod, board, profile)
        self._pairs = _Pairs(pod, board, profile)
        requests = demand(pod, board.minor)
        self._fit_wanted = tuple((name, weight, requests.scored.get(name, 0)) for name, weight in profile.resources)
        self._balance_wanted = tuple((name, requests.requests.get(name, 0)) for name in profile.balanced_resources)
        self._balances = any(wanted for _, wanted in self._balance_wanted) or board.minor < BALANCE_OF_REQUESTS_SINCE
        soft = [toleration for toleration in pod.spec.tolerations if toleration.effect in ("", "PreferNoSchedule")]
        self._own: dict[str, list[int]] = {}
        for name, of in (
            ("TaintToleration", lambda site: _soft_taints(soft, site)),
            ("NodeAffinity", self._preferred),
            ("NodeResourcesFit", self._fit),
            ("NodeResourcesBalancedAllocation", self._balance),
            ("ImageLocality", self._images.score),
        ):
            if name in profile.scores:
                self._own[name] = [of(site) for site in board.sites]
        self._by_name: dict[str, Callable[[Sequence[int]], list[int]]] = {
            "TaintToleration": lambda feasible: _normalised(self._of("TaintToleration", feasible), reverse=True),
            "NodeAffinity": lambda feasible: _normalised(self._of("NodeAffinity", feasible)),
            "NodeResourcesFit": lambda feasible: self._of("NodeResourcesFit", feasible),
            "NodeResourcesBalancedAllocation": lambda feasible: self._of("NodeResourcesBalancedAllocation", feasible),
            "ImageLocality": lambda feasible: self._of("ImageLocality", feasible),
            "PodTopologySpread": self._spread.scores,
            "InterPodAffinity": self._pairs.scores,
            "VolumeBinding": self._volume_scores,
        }

    def shift(self, sign: int, other: Pod, site: Site) -> None:
        """`other` came to the node (1) or left it (-1)."""
        for name, of in (("NodeResourcesFit", self._fit), ("NodeResourcesBalancedAllocation", self._balance)):
            if name in self._own:
                self._own[name][site.index] = of(site)
        self._spread.shift(other, site, sign)
        self._pairs.shift(sign, other, site)

    def by_plugin(self, feasible: Sequence[int]) -> Mapping[str, list[int]]:
        """For each plugin the normalised score (0..100, not weighted) of each feasible node, given by index."""
        return {name: self._by_name[name](feasible) for name in self._profile.scores}

    def totals(self, feasible: Sequence[int]) -> list[int]:
        totals = [0] * len(feasible)
        for name, weight in self._profile.scores.items():
            scores = self._by_name[name](feasible)
            if any(scores):
                if weight == 1:
                    totals = [total + score for total, score in zip(totals, scores, strict=True)]
                else:
                    totals = [total + weight * score for total, score in zip(totals, scores, strict=True)]
        return totals

    def _of(self, name: str, feasible: Sequence[int]) -> list[int]:
        own = self._own[name]
        return own if len(feasible) == len(own) else [own[index] for index in feasible]

    def _fit(self, site: Site) -> int:
        total = weights = 0
        for name, weight, wanted in self._fit_wanted:
            allocatable, held = _counted(site, name, wanted)
            if not allocatable:
                continue
            requested = held + wanted
            match self._profile.strategy:
                case "MostAllocated":
                    score = min(requested, allocatable) * TOP // allocatable
                case "RequestedToCapacityRatio":
                    used = TOP if requested > allocatable else requested * TOP // allocatable
                    score = broken_linear(self._profile.shape, used)
                    if score <= 0:
                        continue
                case _:
                    score = 0 if requested > allocatable else (allocatable - requested) * TOP // allocatable
            total += score * weight
            weights += weight
        if not weights:
            return 0
        if self._profile.strategy == "RequestedToCapacityRatio":
            return math.floor(total / weights + 0.5)
        return total // weights

    def _balance(self, site: Site) -> int:
        """How much evener (or less even) the resources of a node are used with the pod than without it."""
        if not self._balances:
            return 0
        with_pod: list[float] = []
        without: list[float] = []
        for name, wanted in self._balance_wanted:
            allocatable = site.allocatable.get(name, 0)
            if not allocatable or (not wanted and _is_scalar(name)):
                continue
            held = site.used.get(name, 0)
            with_pod.append(min(1.0, (held + wanted) / allocatable))
            without.append(min(1.0, held / allocatable))
        if self._board.minor < BALANCE_GAINED_SINCE:
            return _evenness(with_pod)
        return TOP // 2 + (TOP // 2 + _evenness(with_pod) - _evenness(without)) // 2

    def _preferred(self, site: Site) -> int:
        affinity = self._pod.spec.affinity
        total = 0
        for node_affinity in (self._profile.added_affinity, affinity.node_affinity if affinity else None):
            if node_affinity is not None:
                total += sum(
                    _weight(term, site) for term in node_affinity.preferred_during_scheduling_ignored_during_execution
                )
        return total

    def _volume_scores(self, feasible: Sequence[int]) -> list[int]:
        volumes = self._volumes
        if volumes is None or not volumes.claimed:
            return [0] * len(feasible)
        return [volumes.score(self._board.sites[index], self._profile) for index in feasible]


class _Pairs:
    """InterPodAffinity: how much the pods in each (topology key, value) attract this pod, or it them."""

    def __init__(self, pod: Pod, board: Board, profile: Profile) -> None:
        self._pod, self._board, self._profile = pod, board, profile
        self._own = terms_of(pod, board.minor).preferred
        self._off = profile.ignore_preferred_of_others and not self._own
        self._pairs: Counter[tuple[str, str]] = Counter()
        if self._off:
            return
        if self._own:
            for site in board.sites:
                for other in site.pods:
                    self._count_own(1, other, site)
        for site, other, _ in board.concerned():
            self._count_theirs(1, other, site)

    def shift(self, sign: int, other: Pod, site: Site) -> None:
        if not self._off:
            self._count_own(sign, other, site)
            self._count_theirs(sign, other, site)

    def scores(self, feasible: Sequence[int]) -> list[int]:
        pairs = self._pairs
        if not pairs:
            return [0] * len(feasible)
        sites = self._board.sites
        keys = {key for key, _ in pairs}
        raw = []
        for index in feasible:
            labels = sites[index].labels
            raw.append(sum(pairs[key, labels[key]] for key in keys if key in labels and (key, labels[key]) in pairs))
        least, most = min(raw), max(raw)
        if least == most:
            return [0] * len(feasible)
        span = most - least
        return [int(TOP * ((score - least) / span)) for score in raw]

    def _count_own(self, sign: int, other: Pod, site: Site) -> None:
        for term in self._own:
            if term.topology_key in site.labels and term.matches(other, self._board.namespaces):
                self._pairs[term.topology_key, site.labels[term.topology_key]] += sign * term.weight

    def _count_theirs(self, sign: int, other: Pod, site: Site) -> None:
        terms = terms_of(other, self._board.minor)
        for term in (*terms.affinity, *terms.preferred):
            if term.topology_key in site.labels and term.matches(self._pod, self._board.namespaces):
                weight = term.weight or self._profile.hard_affinity_weight
                self._pairs[term.topology_key, site.labels[term.topology_key]] += sign * weight


class _Spread:
    """PodTopologySpread: the fewer matching pods in the node's domains, the better."""

    def __init__(self, pod: Pod, board: Board, profile: Profile) -> None:
        self._pod, self._sites = pod, board.sites
        self._soft = spread.constraints(pod, "ScheduleAnyway", board, profile)
        # Where the system's defaults hold, a node without a zone is scored by its hostname alone.
        self._strict = bool(pod.spec.topology_spread_constraints) or not profile.spread_by_system
        soft = self._soft
        self._eligible = (
            [not self._strict or spread.has_keys(site.labels, soft) for site in self._sites] if soft else []
        )
        same = len({(id(each.selector), each.owner) for each in soft}) == 1
        self._numbers: list[list[int]] = []  # by constraint, by node; one list where all count the same pods
        self._domains: list[dict[str, int]] = []  # by constraint: matching pods by value, of nodes that it includes
        self._included: list[list[bool]] = []
        for place, constraint in enumerate(soft):
            repeated = place and same
            numbers = self._numbers[0] if repeated else [constraint.number(pod, site) for site in self._sites]
            self._numbers.append(numbers)
            included = [
                eligible and constraint.topology_key != HOSTNAME and constraint.includes(pod, site)
                for eligible, site in zip(self._eligible, self._sites, strict=True)
            ]
            self._included.append(included)
            domains: dict[str, int] = {}
            for site, number, counts in zip(self._sites, numbers, included, strict=True):
                if counts:
                    value = site.labels.get(constraint.topology_key, "")
                    domains[value] = domains.get(value, 0) + number
            self._domains.append(domains)
        self._same = same

    def shift(self, other: Pod, site: Site, sign: int) -> None:
        for place, constraint in enumerate(self._soft):
            if constraint.counts(self._pod, other):
                if not place or not self._same:
                    self._numbers[place][site.index] += sign
                if self._included[place][site.index]:
                    value = site.labels.get(constraint.topology_key, "")
                    self._domains[place][value] = self._domains[place].get(value, 0) + sign

    def scores(self, feasible: Sequence[int]) -> list[int]:
        if not self._soft:
            return [0] * len(feasible)
        eligible = self._eligible
        scored = feasible if not self._strict else [index for index in feasible if eligible[index]]
        sites = self._sites
        raw: list[float] = [0.0] * len(scored)
        for constraint, numbers, domains in zip(self._soft, self._numbers, self._domains, strict=True):
            key, skew = constraint.topology_key, constraint.max_skew - 1
            if key == HOSTNAME:
                weight = math.log(len(scored) + 2)
                raw = [
                    score + (numbers[index] * weight + skew) if key in sites[index].labels else score
                    for score, index in zip(raw, scored, strict=True)
                ]
            else:
                values = [sites[index].labels.get(key) for index in scored]
                weight = math.log(len({value or "" for value in values}) + 2)
                parts = {value: domains.get(value or "", 0) * weight + skew for value in set(values)}
                raw = [
                    score if value is None else score + parts[value] for score, value in zip(raw, values, strict=True)
                ]
        rounded = [math.floor(score + 0.5) for score in raw]
        least, most = min(rounded, default=0), max(rounded, default=0)
        found = [TOP * (most + least - score) // most if most else TOP for score in rounded]
        if len(scored) == len(feasible):
            return found
        by_index = dict(zip(scored, found, strict=True))
        return [by_index.get(index, 0) for index in feasible]


class _Images:
    """ImageLocality: nodes that have the pod's images, the bigger and the more widely spread the better."""

    def __init__(self, pod: Pod, board: Board) -> None:
        spec = pod.spec
        first = spec.init_containers if board.minor >= IMAGE_INIT_SINCE else ()
        self._images = [_with_tag(container.image) for container in (*first, *spec.containers)]
        if board.minor >= IMAGE_VOLUMES_SINCE:
            self._images += [_with_tag(volume.image.reference) for volume in spec.volumes if volume.image is not None]
        self._nodes = len(board.sites)
        self._nodes_with = Counter(
            name
            for site in board.sites
            if site.node.status.images
            for name in {name for image in site.node.status.images for name in image.names}
        )

    def score(self, site: Site) -> int:
        if not site.node.status.images:
            return 0
        sizes = {name: image.size_bytes for image in site.node.status.images for name in image.names}
        total = sum(
            int(sizes[image] * (self._nodes_with[image] / self._nodes)) for image in self._images if image in sizes
        )
        most = IMAGE_MOST * len(self._images)
        return TOP * (min(max(total, IMAGE_LEAST), most) - IMAGE_LEAST) // (most - IMAGE_LEAST)


def _counted(site: Site, name: str, wanted: int) -> tuple[int, int]:
    """What a node has of a resource and what its pods hold, as scoring counts them; nothing of what does not count."""
    if not wanted and _is_scalar(name):
        return 0, 0
    held = {"cpu": site.nonzero_cpu, "memory": site.nonzero_memory}.get(name, site.used.get(name, 0))
    return site.allocatable.get(name, 0), held


def _is_scalar(name: str) -> bool:
    """Extended resources and huge pages: what a pod that does not ask for them is not scored by."""
    return name not in ("cpu", "memory", "ephemeral-storage")


def _evenness(fractions: Sequence[float]) -> int:
    deviation = 0.0
    if len(fractions) == 2:
        deviation = abs((fractions[0] - fractions[1]) / 2)
    elif len(fractions) > 2:
        total = 0.0
        for fraction in fractions:
            total += fraction
        mean = total / len(fractions)
        squares = 0.0
        for fraction in fractions:
            squares += (fraction - mean) * (fraction - mean)
        deviation = math.sqrt(squares / len(fractions))
    return int((1 - deviation) * TOP)


def _weight(term: PreferredSchedulingTerm, site: Site) -> int:
    matched = term.preference is not None and machines.matches_term(term.preference, site.node)
    return term.weight if matched else 0


def _soft_taints(tolerations: Sequence[Toleration], site: Site) -> int:
    return sum(
        1
        for taint in site.node.spec.taints
        if taint.effect == "PreferNoSchedule" and not machines.tolerates(tolerations, taint)
    )


def _with_tag(image: str) -> str:
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def _normalised(scores: list[int], *, reverse: bool = False) -> list[int]:
    """To 0..100 by the highest score; reversed, the highest becomes 0 and 0 becomes 100."""
    most = max(scores, default=0)
    if most == 0:
        return [TOP if reverse else 0] * len(scores)
    scaled = [TOP * score // most for score in scores]
    return [TOP - score for score in scaled] if reverse else scaled
