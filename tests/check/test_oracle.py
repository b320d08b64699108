"""The checker's verdicts against a deliberately dumb explorer (`oracle`), and against the simulated cluster."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from seatrial.check.machines import ordinary
from seatrial.check.runs.rollouts import Workload
from seatrial.kube.objects import DaemonSet, Deployment, StatefulSet
from tests.check.oracle import PODS, Case, TooLargeError, answers, checked, difference, workload

MOST_STATES = 2500


def web(replicas: int, surge: int, missing: int, *, apart: bool, strategy: str = "RollingUpdate") -> Workload:
    rolling = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}} if strategy == "RollingUpdate" else {}
    pod = PODS["apart" if apart else "plain"]
    return workload(Deployment, replicas, strategy={"type": strategy, **rolling}, pod=pod)


def agree(made: Workload, count: int, missing: int) -> tuple[bool, bool]:
    case = Case(made, tuple(ordinary(index) for index in range(count)))
    expected = answers(case, missing, MOST_STATES)
    assert checked(case) == expected
    return expected.ends, expected.keeps_enough


bounds = st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(any)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(replicas=st.integers(1, 3), count=st.integers(1, 3), bounds=bounds, apart=st.booleans())
def test_agrees_with_a_dumb_explorer(replicas: int, count: int, bounds: tuple[int, int], apart: bool) -> None:
    surge, missing = bounds
    try:
        agree(web(replicas, surge, missing, apart=apart), count, missing)
    except TooLargeError:
        assume(False)


@pytest.mark.parametrize(
    ("replicas", "count", "surge", "missing", "expected"),
    [
        (1, 1, 1, 0, (False, True)),
        (1, 2, 1, 0, (True, True)),
        (2, 2, 0, 1, (True, True)),
        (2, 1, 0, 1, (False, True)),
    ],
)
def test_agrees_on_pods_that_keep_apart(
    replicas: int, count: int, surge: int, missing: int, expected: tuple[bool, bool]
) -> None:
    assert agree(web(replicas, surge, missing, apart=True), count, missing) == expected


def test_agrees_on_recreate() -> None:
    assert agree(web(1, 0, 1, apart=False, strategy="Recreate"), 1, 1) == (True, True)


def test_agrees_that_controllers_which_lag_take_no_pod_too_many() -> None:
    """No old ReplicaSet shrinks while its counts are of before it was resized."""
    assert agree(web(3, 1, 0, apart=False), 1, 0) == (True, True)


def numbered(replicas: int, *, apart: bool, kind: type[StatefulSet] | type[DaemonSet], **spec: Any) -> Workload:
    return workload(kind, replicas, pod=PODS["apart" if apart else "plain"], **spec)


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.parametrize(
    ("replicas", "count", "apart", "expected"),
    [(1, 1, False, (True, True)), (2, 1, False, (True, True)), (2, 2, True, (True, True)), (2, 1, True, (False, True))],
)
def test_agrees_on_stateful_sets(
    policy: str, replicas: int, count: int, apart: bool, expected: tuple[bool, bool]
) -> None:
    made = numbered(replicas, apart=apart, kind=StatefulSet, podManagementPolicy=policy)
    assert agree(made, count, 1) == expected


@pytest.mark.parametrize(
    ("rolling", "apart", "expected"),
    [
        ({"maxUnavailable": 1}, False, (True, True)),
        ({"maxSurge": 1, "maxUnavailable": 0}, False, (True, True)),
        ({"maxSurge": 1, "maxUnavailable": 0}, True, (False, True)),
    ],
)
def test_agrees_on_daemon_sets(rolling: dict[str, int], apart: bool, expected: tuple[bool, bool]) -> None:
    """A surge pod of a set whose pods keep apart finds its node taken by the one that it is to replace."""
    made = numbered(1, apart=apart, kind=DaemonSet, updateStrategy={"rollingUpdate": rolling})
    assert agree(made, 2, rolling["maxUnavailable"]) == expected


@pytest.mark.parametrize("part", range(4))
def test_agrees_on_random_small_systems(part: int) -> None:
    """A sample; `python -m tests.check.oracle` compares as many as it is asked to."""
    compared = 0
    for number in range(60):
        try:
            told = difference(random.Random(f"sample {part}/{number}"), 150)
        except TooLargeError:
            continue
        assert told is None, told
        compared += 1
    assert compared > 20
