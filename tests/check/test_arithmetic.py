"""The arithmetic of controllers: proved for all numbers of the functions that run, refuted when these are changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import pytest

from seatrial.check import smt
from seatrial.check.arithmetic import Problem, solve
from seatrial.check.properties.arithmetic import autoscaler, budget, proportional, rolling_update
from seatrial.control import disruption, rollout
from seatrial.control.autoscaler import calculation, limits
from seatrial.kube.objects import HorizontalPodAutoscaler, parse_as

STRATEGIES = [("25%", "25%"), (1, 0), (0, 1), ("100%", 0), ("0%", "0%"), (3, "50%")]
BUDGETS = [(1, None), ("50%", None), ("100%", None), (None, 1), (None, "25%"), (None, 0), (None, "100%")]
BEHAVIOR = {
    "scaleUp": {
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 15},
            {"type": "Pods", "value": 4, "periodSeconds": 15},
        ],
        "selectPolicy": "Max",
    },
    "scaleDown": {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}], "selectPolicy": "Min"},
}
SCALERS = [{}, {"behavior": BEHAVIOR}, {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}]

with_z3 = pytest.mark.skipif(not smt.available(), reason="z3-solver (the extra `smt`) is not installed")


@pytest.fixture(params=["smt", "exploration"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "exploration":
        monkeypatch.setattr(smt, "available", lambda: False)
    elif not smt.available():
        pytest.skip("z3-solver (the extra `smt`) is not installed")
    return str(request.param)


def scaler(**spec: Any) -> HorizontalPodAutoscaler:
    raw = {"metadata": {"name": "web"}, "spec": {"minReplicas": 2, "maxReplicas": 50, "scaleTargetRef": {}, **spec}}
    return parse_as(HorizontalPodAutoscaler, raw)


@pytest.mark.parametrize(("surge", "unavailable"), STRATEGIES)
def test_a_rolling_update_keeps_its_bounds_and_ends(surge: int | str, unavailable: int | str, method: str) -> None:
    found = solve(rolling_update(surge, unavailable))
    assert (found.method, found.broken) == (method, "")
    assert found.cases > 10


@pytest.mark.parametrize(("surge", "unavailable"), STRATEGIES)
def test_a_change_of_size_is_shared_out_exactly(surge: int | str, unavailable: int | str, method: str) -> None:
    assert solve(proportional(surge, unavailable)).broken == ""


@pytest.mark.parametrize(("least", "most"), BUDGETS)
def test_a_budget_never_allows_what_it_forbids(least: int | str | None, most: int | str | None, method: str) -> None:
    assert solve(budget(least, most)).broken == ""


@pytest.mark.parametrize("spec", SCALERS)
def test_an_autoscaler_stays_within_its_bounds_and_rests(spec: dict[str, Any], method: str) -> None:
    for problem in autoscaler(scaler(**spec)):
        assert solve(problem).broken == ""


def one_too_many(limits: rollout.Bounds, new: int, total: int) -> int:
    return limits.replicas + 1


def takes_all(limits: rollout.Bounds, old: Sequence[rollout.Sizes], new: rollout.Sizes) -> dict[str, int]:
    return {each.name: 0 for each in old}


def takes_none(limits: rollout.Bounds, old: Sequence[rollout.Sizes], new: rollout.Sizes) -> dict[str, int]:
    return {}


def one_more_goes(healthy: int, desired: int, expected: int) -> int:
    return max(0, healthy - desired + 1)


def beyond(*args: Any) -> tuple[int, tuple[str, str]]:
    return args[-4 if len(args) > 3 else 1] + 1, ("", "")


@pytest.mark.parametrize(
    ("module", "name", "wrong", "problem", "broken"),
    [
        (rollout, "new_size", one_too_many, rolling_update(1, 0), {"the bound of surge", "no way back"}),
        (rollout, "old_sizes", takes_all, rolling_update(1, 0), {"availability"}),
        (rollout, "old_sizes", takes_none, rolling_update(1, 0), {"progress"}),
        (disruption, "allowed", one_more_goes, budget(1, None), {"what is left", "never below zero"}),
        (limits, "limit_legacy", beyond, autoscaler(scaler())[0], {"the bounds"}),
    ],
)
def test_a_controller_that_decides_wrongly_is_refuted_with_numbers(
    module: Any,
    name: str,
    wrong: Callable[..., Any],
    problem: Problem,
    broken: set[str],
    method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, name, wrong)
    found = solve(problem)
    assert found.broken in broken
    numbers = found.example
    assert numbers is not None
    assert all(problem.given(numbers))
    assert not problem.claims(problem.modules, numbers)[found.broken]


@with_z3
def test_the_max_replicas_annotation_has_to_be_the_controllers_own() -> None:
    """Without that premise the shares are not exact: the premise is needed, and the solver finds what breaks it."""
    problem = proportional("25%", "25%")
    bare = Problem(
        "bare",
        problem.numbers,
        problem.modules,
        lambda n: [n["set1"] >= 1, n["set2"] >= 1, n["most"] >= 1, n["replicas"] >= 1],
        problem.claims,
        multiplies=True,
    )
    assert solve(bare).broken == "the exact sum"


@with_z3
def test_the_very_code_is_run_on_terms() -> None:
    lifted = smt.lifted(rollout)
    assert lifted.old_sizes.__code__ is rollout.old_sizes.__code__
    assert lifted.bounds.__code__ is rollout.bounds.__code__


@with_z3
@pytest.mark.parametrize("percent", ["0%", "1%", "25%", "33%", "100%", "150%"])
@pytest.mark.parametrize("round_up", [True, False])
def test_terms_round_as_numbers_do(percent: str, round_up: bool) -> None:
    """Each path of the lifted function, with its symbol set to a number, gives what the function itself gives."""
    lifted = smt.lifted(rollout)
    total = smt.integer("total")
    for value in (0, 1, 2, 3, 7, 99, 10_000):
        for executor, result in smt.paths([total == value], lambda: lifted.scaled(percent, total, round_up=round_up)):
            wrong = smt.counterexample(executor, result == rollout.scaled(percent, value, round_up=round_up), {})
            assert wrong is None


@with_z3
def test_quotients_compare_and_round_as_fractions_do() -> None:
    dividend, divisor = smt.integer("dividend"), smt.integer("divisor")
    for over, under in ((7, 2), (-7, 2), (6, 3), (0, 5), (1, 3)):
        exact = Fraction(over, under)

        def run() -> tuple[Any, ...]:
            quotient = dividend / divisor
            return quotient <= 2.0, quotient >= 1.1, quotient * divisor, quotient.__ceil__(), (dividend / 2).__floor__()

        given = [dividend == over, divisor == under]
        for executor, (at_most, at_least, back, up, down) in smt.paths(given, run):
            assert smt.counterexample(executor, at_most, {}) == (None if exact <= 2 else {})
            assert smt.counterexample(executor, at_least, {}) == (None if exact >= Fraction(1.1) else {})
            assert smt.counterexample(executor, back == over, {}) is None
            assert smt.counterexample(executor, up == -((-over) // under), {}) is None
            assert smt.counterexample(executor, down == over // 2, {}) is None


@with_z3
def test_too_many_paths_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smt, "MOST_PATHS", 3)
    with pytest.raises(smt.TooHardError):
        solve(rolling_update("25%", "25%"))


def test_the_autoscalers_tolerance_matters() -> None:
    """Within it nothing changes; just beyond it something does, so that `rest` is not about nothing."""
    pods = calculation.Pods(10, (), (), ())
    allowed = calculation.Tolerance()
    assert calculation.proposal(10, pods, lambda _: 1.09, allowed) == 10
    assert calculation.proposal(10, pods, lambda _: 1.11, allowed) == 12
