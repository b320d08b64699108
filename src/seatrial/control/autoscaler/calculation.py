"""How many replicas a metric asks for: numbers in, numbers out.

Quantities are integers in thousandths, as upstream compares them; its integer widths and float conversions are part of
the answer (a metric beyond 32 bits of replicas wraps or saturates), so they are spelled out here. Nothing in this file
knows a pod or a metric's name: what cannot be calculated is decided by the caller before it asks.
Semantics: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

MAX_INT32: Final = 2**31 - 1
MIN_INT32: Final = -(2**31)
MAX_INT64: Final = 2**63 - 1
MIN_INT64: Final = -(2**63)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far from 1 the ratio of usage to target may be before anything is done."""

    down: float = 0.1
    up: float = 0.1

    def holds(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Sample:
    """What one pod uses, and what it requests; `request` None is a metric of a pod that nobody knows."""

    usage: int
    request: int | None = 0


Measure = Callable[[Sequence[Sample]], float]
"""The ratio of usage to target."""


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods behind a metric. `ready` counts those whose metric counts, `measured` also strangers' metrics.

    `unready` and `missing` hold what those pods are taken to use when that decides: nothing, and the target.
    """

    ready: int
    measured: tuple[Sample, ...]
    unready: tuple[Sample, ...]
    missing: tuple[Sample, ...]


def utilization(samples: Sequence[Sample]) -> tuple[int, int] | None:
    """Usage in percent of the requests, and the average usage; None if nothing is requested by anybody known."""
    known = [sample for sample in samples if sample.request is not None]
    used, requested = total(s.usage for s in known), total(s.request or 0 for s in known)
    if requested == 0:
        return None
    return _wrapped(_quotient(_wrapped(used * 100, 64), requested), 32), _quotient(used, len(known))


def average(samples: Sequence[Sample]) -> int:
    return _quotient(total(sample.usage for sample in samples), len(samples))


def total(values: Iterable[int]) -> int:
    """The sum in 64 bits."""
    return _wrapped(sum(values), 64)


def proposal(current: int, pods: Pods, measure: Measure, tolerance: Tolerance) -> int:
    """The replicas for a metric that each pod has.

    Missing pods damp a change in either direction, unready pods only growth; when they would turn it around, or
    leave it within the tolerance, nothing changes.
    """
    ratio = measure(pods.measured)
    grows_with_unready = bool(pods.unready) and ratio > 1.0
    if not grows_with_unready and not pods.missing:
        return current if tolerance.holds(ratio) else int32(ceil(ratio * pods.ready))
    considered = list(pods.measured)
    if ratio < 1.0:
        considered += pods.missing
    elif ratio > 1.0:
        considered += [Sample(0, sample.request) for sample in pods.missing]
    if grows_with_unready:
        considered += pods.unready
    damped = measure(considered)
    if tolerance.holds(damped) or ratio < 1.0 < damped or damped < 1.0 < ratio:
        return current
    wanted = int32(ceil(damped * len(considered)))
    if (damped < 1.0 and wanted > current) or (damped > 1.0 and wanted < current):
        return current
    return wanted


def proposal_for_total(current: int, value: int, target: int, ready: int, tolerance: Tolerance) -> int:
    """The replicas for a metric of something else than pods, aimed at as a whole (target type Value)."""
    ratio = quotient(value, target)
    if current == 0:
        return int32(ceil(ratio))
    if tolerance.holds(ratio):
        return current
    exact = ratio * ready
    return MAX_INT32 if exact > MAX_INT32 else int32(ceil(exact))


def proposal_per_pod(
    replicas: int, value: int, target: int, tolerance: Tolerance, *, saturates: bool
) -> tuple[int, int]:
    """The replicas for such a metric shared out among the pods (target type AverageValue), and the share of each now.

    `replicas` is how many there are, not how many are asked for.
    """
    wanted = replicas
    if not tolerance.holds(quotient(value, float(target) * replicas)):
        exact = ceil(quotient(value, target))
        wanted = MAX_INT32 if saturates and exact > MAX_INT32 else int32(exact)
    if saturates and float(value) >= MAX_INT64:
        return wanted, MAX_INT64
    return wanted, _int64(ceil(quotient(value, replicas)))


def quotient(dividend: int, divisor: float) -> float:
    """IEEE 754 division: by zero it is infinite, or not a number."""
    if divisor == 0:
        return math.nan if dividend == 0 else math.copysign(math.inf, dividend)
    return float(dividend) / divisor


def ceil(number: float) -> float:
    return float(math.ceil(number)) if math.isfinite(number) else number


def int32(number: float) -> int:
    """Go's conversion on amd64: what does not fit is the smallest integer."""
    return int(number) if MIN_INT32 <= number <= MAX_INT32 else MIN_INT32


def _int64(number: float) -> int:
    return int(number) if MIN_INT64 <= number < MAX_INT64 else MIN_INT64


def _wrapped(number: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (number + half) % (2 * half) - half


def _quotient(dividend: int, divisor: int) -> int:
    """Integer division towards zero."""
    return dividend // divisor if (dividend < 0) == (divisor < 0) else -(-dividend // divisor)
