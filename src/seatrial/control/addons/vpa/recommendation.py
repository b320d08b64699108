"""From what containers used to what they should request: a percentile, a margin, and bounds that history narrows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from seatrial.control.addons.vpa.policies import capped, policy_of
from seatrial.control.addons.vpa.rounding import power
from seatrial.control.addons.vpa.usage import Usage
from seatrial.kube.objects.verticalscaling import (
    PodResourcePolicy,
    RecommendedContainerResources,
    RecommendedPodResources,
)
from seatrial.kube.quantities import Quantity

MARGIN: Final = 0.15
POD_MIN_CPU_MILLI: Final = 25
POD_MIN_MEMORY: Final = 250 << 20
"""What the containers of a pod get together at least."""
CONFIDENCE: Final = timedelta(hours=24)
_MOST: Final = 10**14
"""Upstream's largest amount."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """`multiplier` and `exponent` widen the bound while there is little history."""

    share: float
    multiplier: float = 0.0
    exponent: int = 1


TARGET: Final = _Bound(0.9)
LOWER: Final = _Bound(0.5, 0.001, -2)
UPPER: Final = _Bound(0.95, 1.0, 1)


def recommended(usages: Mapping[str, Usage], policy: PodResourcePolicy) -> RecommendedPodResources:
    """What the containers should request, by name. Those whose policy is Off get none."""
    wanted = {name: usage for name, usage in usages.items() if not _is_off(policy, name)}
    found = []
    for name, usage in sorted(wanted.items()):
        mine = policy_of(policy, name)
        names = ("cpu", "memory") if mine is None or mine.controlled_resources is None else mine.controlled_resources
        target, lower, upper = (_amounts(usage, bound, len(wanted), names) for bound in (TARGET, LOWER, UPPER))
        found.append(
            RecommendedContainerResources(
                container_name=name,
                target=capped(target, mine),
                lower_bound=capped(lower, mine),
                upper_bound=capped(upper, mine),
                uncapped_target=target,
            )
        )
    return RecommendedPodResources(container_recommendations=tuple(found))


def _is_off(policy: PodResourcePolicy, name: str) -> bool:
    mine = policy_of(policy, name)
    return mine is not None and mine.mode == "Off"


def _amounts(usage: Usage, bound: _Bound, containers: int, names: tuple[str, ...]) -> dict[str, Quantity]:
    share = 1.0 / containers
    cpu = _widened(_scaled(usage.cpu.percentile(bound.share), 1000.0), usage, bound)
    memory = _widened(_scaled(usage.memory.percentile(bound.share), 1.0), usage, bound)
    cpu, memory = max(cpu, _scaled(POD_MIN_CPU_MILLI, share)), max(memory, _scaled(POD_MIN_MEMORY, share))
    found = {"cpu": Quantity(cpu * 10**6), "memory": Quantity(memory * 10**9, "BinarySI")}
    return {name: found[name] for name in names if name in found}


def _widened(base: int, usage: Usage, bound: _Bound) -> int:
    amount = base + _scaled(base, MARGIN)
    if not bound.multiplier:
        return amount
    confidence = _confidence(usage)
    if not confidence:
        return _MOST if bound.exponent > 0 and amount else 0
    return _scaled(amount, power(1.0 + bound.multiplier / confidence, bound.exponent))


def _confidence(usage: Usage) -> float:
    """Days of history, by the clock or by how many minutes were measured: what is less."""
    if usage.first is None or usage.last is None:
        return 0.0
    return min((usage.last - usage.first) / CONFIDENCE, usage.samples / (CONFIDENCE / timedelta(minutes=1)))


def _scaled(amount: float, factor: float) -> int:
    return min(max(int(amount * factor), 0), _MOST)
