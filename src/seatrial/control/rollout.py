"""How many replicas each ReplicaSet of a Deployment should have: upstream's arithmetic, on numbers only.

Percentages of surge round up, those of unavailability down, so a rollout can always exceed the size a little and never
falls below the bound; when both come to 0, one pod may be unavailable, or nothing could ever move. Every bound counts
`spec.replicas` (what was asked for) upwards and `status.availableReplicas` (what was seen) downwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor


@dataclass(frozen=True, slots=True)
class Sizes:
    """One ReplicaSet in numbers. `max_replicas` is its max-replicas annotation, 0 where absent; order is age."""

    name: str
    replicas: int
    available: int = 0
    max_replicas: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """A Deployment's size and how far a rollout may leave it."""

    replicas: int
    max_surge: int
    max_unavailable: int

    @property
    def min_available(self) -> int:
        return self.replicas - self.max_unavailable

    @property
    def max_total(self) -> int:
        return self.replicas + self.max_surge


def scaled(value: int | str | None, total: int, *, round_up: bool) -> int:
    """`value`, which may be a percentage of `total`. Text that is no percentage counts as 0, as upstream does."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"([+-]?[0-9]+)%", value, re.ASCII)
    if found is None:
        return 0
    exact = Fraction(int(found[1]) * total, 100)
    return ceil(exact) if round_up else floor(exact)


def bounds(replicas: int, surge: int | str | None, unavailable: int | str | None) -> Bounds:
    """What a RollingUpdate of `replicas` may do (upstream: `ResolveFenceposts`)."""
    max_surge = scaled(surge, replicas, round_up=True)
    max_unavailable = scaled(unavailable, replicas, round_up=False)
    if max_surge == 0 and max_unavailable == 0:
        max_unavailable = 1
    return Bounds(replicas, max_surge, min(max_unavailable, replicas))


def new_size(limits: Bounds, new: int, total: int) -> int:
    """How large the new ReplicaSet becomes while `total` replicas, its own included, are asked for."""
    if total >= limits.max_total:
        return new
    return new + min(limits.max_total - total, limits.replicas - new)


def old_sizes(limits: Bounds, old: Sequence[Sizes], new: Sizes) -> dict[str, int]:
    """The old ReplicaSets (oldest first) that shrink, and to what: unhealthy replicas first, then as many as may go."""
    total = sum(sizes.replicas for sizes in old) + new.replicas
    sizes_now = {sizes.name: sizes.replicas for sizes in old}
    removable = total - limits.min_available - (new.replicas - new.available)
    if sum(sizes_now.values()) == 0 or removable <= 0:
        return {}
    cleaned = 0
    for sizes in old:
        if cleaned >= removable:
            break
        if sizes.available > sizes.replicas > 0:
            return {}  # just resized, its counts are still of before: upstream, too, gives up here until they are not
        unhealthy = min(removable - cleaned, sizes.replicas - sizes.available)
        if sizes.replicas and unhealthy > 0:
            sizes_now[sizes.name] -= unhealthy
            cleaned += unhealthy
    spare = sum(sizes.available for sizes in (*old, new)) - limits.min_available
    for sizes in old:
        if spare <= 0:
            break
        gone = min(sizes_now[sizes.name], spare)
        sizes_now[sizes.name] -= gone
        spare -= gone
    return {sizes.name: sizes_now[sizes.name] for sizes in old if sizes_now[sizes.name] != sizes.replicas}


def proportional(limits: Bounds, sets: Sequence[Sizes], status_replicas: int) -> Mapping[str, int]:
    """How a change of the Deployment's size is shared among its active ReplicaSets (oldest first) in mid-rollout."""
    allowed = limits.max_total if limits.replicas > 0 else 0
    change = allowed - sum(sizes.replicas for sizes in sets)
    if change == 0 or not sets:
        return {sizes.name: sizes.replicas for sizes in sets}
    # Of equally large ones, the newest grows first and the oldest shrinks first.
    by_age = list(reversed(sets)) if change > 0 else list(sets)
    ordered = sorted(by_age, key=lambda sizes: -sizes.replicas)
    result: dict[str, int] = {}
    added = 0
    for sizes in ordered:
        part = _share(limits, sizes, status_replicas, change, added)
        result[sizes.name] = sizes.replicas + part
        added += part
    largest = ordered[0].name
    result[largest] = max(0, result[largest] + change - added)
    return result


def _share(limits: Bounds, sizes: Sizes, status_replicas: int, change: int, added: int) -> int:
    left = change - added
    if sizes.replicas == 0 or left == 0:
        return 0
    if limits.replicas == 0:
        fraction = -sizes.replicas
    else:
        before = sizes.max_replicas or status_replicas
        if before == 0:
            return 0
        fraction = _round(Fraction(sizes.replicas * limits.max_total, before)) - sizes.replicas
    return min(fraction, left) if change > 0 else max(fraction, left)


def _round(value: Fraction) -> int:
    return ceil(value - Fraction(1, 2)) if value < 0 else floor(value + Fraction(1, 2))
