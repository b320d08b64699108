"""How far and how fast a recommendation may be followed: stabilisation windows, scaling policies, bounds.

Numbers and instants in, numbers out. What upstream's controller keeps in its process (recent recommendations, recent
scale events) is `History`, a value that every decision is given and returns. Upstream's clock moves on during a sync,
so what lies exactly one window or period back has always left it already; here time stands still during a decision,
and the same is said with `<`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from seatrial.control.autoscaler.calculation import MAX_INT32, MIN_INT32, ceil, int32
from seatrial.kube.objects.autoscaling import HPAScalingRules

DOWNSCALE_STABILISATION_S: Final = 300
"""`--horizontal-pod-autoscaler-downscale-stabilization`: the window where none is written."""
LEGACY_FACTOR: Final = 2
LEGACY_MINIMUM: Final = 4
"""Without `behavior`, one step at most doubles, or reaches four."""

WITHIN_RANGE: Final = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_FEW: Final = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_MANY: Final = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
UP_LIMIT: Final = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_LIMIT: Final = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recommendation:
    replicas: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ScaleEvent:
    """`change` is its size, never negative. `outdated`: its place may be taken, though the periods have grown since."""

    change: int
    at: datetime
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """Recent recommendations before any limit, and how often the target was scaled up and down."""

    recommendations: tuple[Recommendation, ...] = ()
    ups: tuple[ScaleEvent, ...] = ()
    downs: tuple[ScaleEvent, ...] = ()

    def recommended(self, replicas: int, now: datetime, window: timedelta) -> History:
        """A new recommendation takes the place of the last one in the list that has left the window."""
        old = [position for position, each in enumerate(self.recommendations) if now - each.at > window]
        made = Recommendation(replicas, now)
        return replace(self, recommendations=_put(self.recommendations, made, old[-1:]))

    def without_newest(self) -> History:
        """Without what the last decision added."""
        last = max((each.at for each in self.recommendations), default=None)
        return History(
            tuple(each for each in self.recommendations if each.at != last),
            tuple(each for each in self.ups if each.at != last),
            tuple(each for each in self.downs if each.at != last),
        )

    def scaled(self, before: int, after: int, now: datetime, up: HPAScalingRules, down: HPAScalingRules) -> History:
        if after > before:
            return replace(self, ups=_noted(self.ups, after - before, now, up))
        return replace(self, downs=_noted(self.downs, before - after, now, down))


@dataclass(frozen=True, slots=True)
class Bounds:
    """minReplicas and maxReplicas."""

    min: int
    max: int


def stabilise_legacy(history: History, wanted: int, now: datetime) -> tuple[int, History]:
    """Without `behavior`: the highest recommendation of the last five minutes."""
    window = timedelta(seconds=DOWNSCALE_STABILISATION_S)
    recent = [each.replicas for each in history.recommendations if now - each.at < window]
    return max([wanted, *recent]), history.recommended(wanted, now, window)


def limit_legacy(current: int, wanted: int, bounds: Bounds) -> tuple[int, tuple[str, str]]:
    fastest = max(LEGACY_FACTOR * current, LEGACY_MINIMUM)
    if wanted < bounds.min:
        return bounds.min, TOO_FEW
    if wanted > min(bounds.max, fastest):
        return (fastest, UP_LIMIT) if bounds.max > fastest else (bounds.max, TOO_MANY)
    return wanted, WITHIN_RANGE


def stabilise(
    history: History, current: int, wanted: int, up: HPAScalingRules, down: HPAScalingRules, now: datetime
) -> tuple[int, History]:
    """As near to the current size as the lowest recommendation of one window and the highest of the other allow."""
    up_window, down_window = stabilisation(up, 0), stabilisation(down, DOWNSCALE_STABILISATION_S)
    lowest = min([wanted, *(r.replicas for r in history.recommendations if now - r.at < up_window)])
    highest = max([wanted, *(r.replicas for r in history.recommendations if now - r.at < down_window)])
    return min(max(current, lowest), highest), history.recommended(wanted, now, max(up_window, down_window))


def stabilisation(rules: HPAScalingRules, default_s: int) -> timedelta:
    seconds = rules.stabilization_window_seconds
    return timedelta(seconds=default_s if seconds is None else seconds)


def limit(
    history: History,
    current: int,
    wanted: int,
    bounds: Bounds,
    up: HPAScalingRules,
    down: HPAScalingRules,
    now: datetime,
) -> tuple[int, tuple[str, str]]:
    """As far towards `wanted` as bounds and policies allow, and the reason and message that say so."""
    if wanted > current:
        fastest = max(current, _up_limit(history, current, up, now))
        allowed, why = (fastest, UP_LIMIT) if bounds.max > fastest else (bounds.max, TOO_MANY)
        if wanted > allowed:
            return allowed, why
    elif wanted < current:
        fastest = min(current, _down_limit(history, current, down, now))
        allowed, why = (fastest, DOWN_LIMIT) if bounds.min < fastest else (bounds.min, TOO_FEW)
        if wanted < allowed:
            return allowed, why
    return wanted, WITHIN_RANGE


def _up_limit(history: History, current: int, rules: HPAScalingRules, now: datetime) -> int:
    """The default policy Max means the greatest change: here the highest of the policies' limits."""
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        start = _at_period_start(history, current, policy.period_seconds, now)
        if policy.type == "Pods":
            limits.append(start + policy.value)
        else:
            limits.append(int32(ceil(start * (1 + policy.value / 100))))
    if rules.select_policy == "Min":
        return min(limits, default=MAX_INT32)
    return max(limits, default=MIN_INT32)


def _down_limit(history: History, current: int, rules: HPAScalingRules, now: datetime) -> int:
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        start = _at_period_start(history, current, policy.period_seconds, now)
        if policy.type == "Pods":
            limits.append(start - policy.value)
        else:
            limits.append(int32(start * (1 - policy.value / 100)))
    if rules.select_policy == "Min":
        return max(limits, default=MIN_INT32)
    return min(limits, default=MAX_INT32)


def _at_period_start(history: History, current: int, period_s: int, now: datetime) -> int:
    period = timedelta(seconds=period_s)

    def changed(events: Sequence[ScaleEvent]) -> int:
        return sum(event.change for event in events if now - event.at < period)

    return current - changed(history.ups) + changed(history.downs)


def _noted(
    events: tuple[ScaleEvent, ...], change: int, now: datetime, rules: HPAScalingRules
) -> tuple[ScaleEvent, ...]:
    longest = timedelta(seconds=max((policy.period_seconds for policy in rules.policies), default=0))
    marked = tuple(replace(each, outdated=each.outdated or now - each.at > longest) for each in events)
    outdated = [position for position, each in enumerate(marked) if each.outdated]
    return _put(marked, ScaleEvent(change, now), outdated[-1:])


def _put(entries: tuple[T, ...], entry: T, position: Sequence[int]) -> tuple[T, ...]:
    """`entries` with `entry` at `position`, or at the end if there is none."""
    if not position:
        return (*entries, entry)
    return (*entries[: position[0]], entry, *entries[position[0] + 1 :])
