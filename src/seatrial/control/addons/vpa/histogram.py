"""What a container used, as weights in buckets that grow by 5 %, newer samples weighing more than older ones.

A sample loses half of its weight every 24 hours. Instead of making old ones lighter, new ones are made heavier: by two
to the number of half-lives since `reference`, which moves on before the numbers get too large. A histogram is a value:
it is part of what the recommender remembers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from seatrial.control.addons.vpa.rounding import exp2, power

GROWTH: Final = 0.05
MIN_WEIGHT: Final = 0.1
EPSILON: Final = 0.001 * MIN_WEIGHT
"""A bucket that weighs less counts as empty."""
HALF_LIFE: Final = timedelta(hours=24)
_LARGEST_EXPONENT: Final = 100
_BEGIN: Final = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Buckets:
    """How values are put into buckets: the first is `first` wide, each next one by `GROWTH` wider, up to `most`."""

    most: float
    first: float

    @property
    def number(self) -> int:
        return math.ceil(_log(self.most * GROWTH_RATIO_LESS_ONE / self.first + 1)) + 1

    def find(self, value: float) -> int:
        if value < self.first:
            return 0
        return min(int(_log(value * GROWTH_RATIO_LESS_ONE / self.first + 1)), self.number - 1)

    def start(self, bucket: int) -> float:
        return self.first * (power(1 + GROWTH, bucket) - 1) / GROWTH_RATIO_LESS_ONE if bucket else 0.0


GROWTH_RATIO_LESS_ONE: Final = 1 + GROWTH - 1
"""Not quite `GROWTH`, as upstream calculates it: the bounds of buckets depend on it."""
CPU: Final = Buckets(most=1000.0, first=0.01)
MEMORY: Final = Buckets(most=1e12, first=1e7)


@dataclass(frozen=True, slots=True)
class Histogram:
    buckets: Buckets
    weights: Mapping[int, float] = field(default_factory=dict, hash=False)
    total: float = 0.0
    reference: datetime = _BEGIN

    def add(self, value: float, weight: float, at: datetime) -> Histogram:
        due, factor = self._due(at)
        bucket, more = self.buckets.find(value), weight * factor
        weights = {**due.weights, bucket: due.weights.get(bucket, 0.0) + more}
        return replace(due, weights=weights, total=due.total + more)

    def subtract(self, value: float, weight: float, at: datetime) -> Histogram:
        """Without a sample that was added before."""
        due, factor = self._due(at)
        bucket, less = self.buckets.find(value), weight * factor
        weights = {**due.weights, bucket: _less(due.weights.get(bucket, 0.0), less)}
        return replace(due, weights=weights, total=_less(due.total, less))

    def percentile(self, share: float) -> float:
        """The end of the bucket up to which `share` of the weight lies; the start of the last, which has no end."""
        heavy = [bucket for bucket, weight in self.weights.items() if weight >= EPSILON]
        if not heavy:
            return 0.0
        bucket, last = min(heavy), max(heavy)
        sum_so_far, threshold = 0.0, share * self.total
        while bucket < last:
            sum_so_far += self.weights.get(bucket, 0.0)
            if sum_so_far >= threshold:
                break
            bucket += 1
        return self.buckets.start(min(bucket + 1, self.buckets.number - 1))

    def _due(self, at: datetime) -> tuple[Histogram, float]:
        """The histogram that can take a sample of this time, and how heavy the sample is in it."""
        due = self if (at - self.reference) / HALF_LIFE <= _LARGEST_EXPONENT else self._shifted(at)
        return due, exp2((at - due.reference) / HALF_LIFE)

    def _shifted(self, at: datetime) -> Histogram:
        reference = _BEGIN + math.floor((at - _BEGIN) / HALF_LIFE + 0.5) * HALF_LIFE
        exponent = math.floor((self.reference - reference) / HALF_LIFE + 0.5)
        weights = {bucket: math.ldexp(weight, exponent) for bucket, weight in self.weights.items()}
        return replace(self, weights=weights, total=math.ldexp(self.total, exponent), reference=reference)


def _less(value: float, by: float) -> float:
    return value - by if value - by >= EPSILON else 0.0


def _log(value: float) -> float:
    return math.log(value) / math.log(1 + GROWTH)
