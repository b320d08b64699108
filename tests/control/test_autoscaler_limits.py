"""The autoscaler's arithmetic by itself: what holds for all numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from seatrial.control.autoscaler import calculation, limits
from seatrial.control.autoscaler.calculation import MAX_INT32, MIN_INT32, Pods, Sample, Tolerance
from seatrial.control.autoscaler.limits import Bounds, History, Recommendation
from seatrial.kube.objects.autoscaling import HPAScalingPolicy, HPAScalingRules

NOW = datetime(2030, 1, 1, tzinfo=UTC)
sizes = st.integers(0, 200)
rules = st.builds(
    HPAScalingRules,
    policies=st.lists(
        st.builds(
            HPAScalingPolicy,
            type=st.sampled_from(["Pods", "Percent"]),
            value=st.integers(1, 300),
            period_seconds=st.integers(1, 1800),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    select_policy=st.sampled_from(["Max", "Min", "Disabled"]),
    stabilization_window_seconds=st.integers(0, 3600),
)
bounds = st.tuples(st.integers(0, 50), st.integers(0, 150)).map(lambda pair: Bounds(pair[0], pair[0] + pair[1]))
histories = st.lists(st.tuples(sizes, st.integers(0, 4000)), max_size=8).map(
    lambda pairs: History(tuple(Recommendation(size, NOW - timedelta(seconds=age)) for size, age in pairs))
)
usages = st.lists(st.integers(0, 10**18), min_size=1, max_size=6).map(lambda found: tuple(map(Sample, found)))


@given(histories, st.integers(1, 200), sizes, bounds, rules, rules)
def test_limits_never_overshoot_nor_turn_around(
    history: History, current: int, wanted: int, within: Bounds, up: HPAScalingRules, down: HPAScalingRules
) -> None:
    stable, _ = limits.stabilise(history, current, wanted, up, down, NOW)
    assert min(current, wanted) <= stable <= max(current, wanted)
    if within.min <= current <= within.max:
        allowed, why = limits.limit(history, current, stable, within, up, down, NOW)
        assert min(current, stable) <= allowed <= max(current, stable)
        assert within.min <= allowed <= within.max
        assert (allowed == stable) == (why == limits.WITHIN_RANGE)
        if up.select_policy == "Disabled":
            assert allowed <= current
        if down.select_policy == "Disabled":
            assert allowed >= current


@given(histories, st.integers(1, 200), sizes, bounds)
def test_without_behavior_one_step_at_most_doubles(history: History, current: int, wanted: int, within: Bounds) -> None:
    stable, _ = limits.stabilise_legacy(history, wanted, NOW)
    assert stable >= wanted
    allowed, _ = limits.limit_legacy(current, stable, within)
    assert allowed <= max(2 * current, 4, within.min)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=400), rules, rules)
def test_the_history_does_not_grow_without_end(found: list[int], up: HPAScalingRules, down: HPAScalingRules) -> None:
    """As many recommendations as fit into the longer window, whatever the number of syncs."""
    history, now = History(), NOW
    for wanted in found:
        _, history = limits.stabilise(history, 3, wanted, up, down, now)
        now += timedelta(seconds=15)
    window = max(up.stabilization_window_seconds or 0, down.stabilization_window_seconds or 0)
    assert len(history.recommendations) <= window // 15 + 2


@given(sizes, st.integers(0, 20), usages, st.integers(0, 3), st.integers(0, 3), st.integers(1, 10**15))
def test_a_proposal_is_an_answer_for_any_numbers(
    current: int, ready: int, measured: tuple[Sample, ...], unready: int, missing: int, target: int
) -> None:
    def ratio(samples: object) -> float:
        assert isinstance(samples, (list, tuple))
        return calculation.quotient(calculation.average(samples), target)

    pods = Pods(ready, measured, (Sample(0),) * unready, (Sample(target),) * missing)
    found = calculation.proposal(current, pods, ratio, Tolerance())
    assert MIN_INT32 <= found <= MAX_INT32
    if 1 - 0.1 <= ratio(measured) <= 1.1 and not missing and not (unready and ratio(measured) > 1):
        assert found == current


@given(sizes, st.integers(-(10**18), 10**18), st.integers(1, 10**18), sizes)
def test_totals_are_answered_for_any_numbers(current: int, value: int, target: int, ready: int) -> None:
    assert MIN_INT32 <= calculation.proposal_for_total(current, value, target, ready, Tolerance()) <= MAX_INT32
    wanted, _ = calculation.proposal_per_pod(current, value, target, Tolerance(), saturates=True)
    assert MIN_INT32 <= wanted <= MAX_INT32
