"""The timed model of autoscalers: what it sums up changes no decision, and it sees what upstream's rules prevent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial import project
from seatrial.check import judge
from seatrial.check.model.load import needed, older
from seatrial.check.model.pool import NOW
from seatrial.check.verdicts import Answer, Verdict
from seatrial.control.autoscaler import limits, metrics
from seatrial.control.autoscaler.limits import Bounds, History, Recommendation, ScaleEvent
from seatrial.control.autoscaler.targets import Target
from seatrial.kube.objects.autoscaling import HPAScalingPolicy, HPAScalingRules

SCENARIOS = Path(__file__).parents[1] / "scenarios" / "scale"


def verdict(name: str, scenario: str) -> Verdict:
    (found,) = judge.judge(project.load([SCENARIOS / scenario / "broken"]), [name]).verdicts
    return found


def test_counting_the_pods_of_a_rollout_as_the_present_size_is_a_runaway(monkeypatch: pytest.MonkeyPatch) -> None:
    """What upstream did until 1.16: the size is what is there, not what is asked for."""
    assert verdict("scale/bounded", "surge-counted").verdict is Answer.PROVED
    monkeypatch.setattr(Target, "replicas", property(lambda self: self.workload.status.replicas))
    found = verdict("scale/bounded", "surge-counted")
    assert found.verdict is Answer.REFUTED
    assert "pods of a rollout count as load" in found.message


def test_counting_the_metrics_of_pods_on_their_way_out_is_a_runaway(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict("scale/bounded", "late-metric").verdict is Answer.PROVED
    grouped: Callable[..., Any] = metrics._grouped

    def with_the_leaving(*given: Any) -> Any:
        found = grouped(*given)
        return metrics._Groups(found.ready + len(found.ignored), found.unready, found.missing, frozenset())

    monkeypatch.setattr(metrics, "_grouped", with_the_leaving)
    found = verdict("scale/bounded", "late-metric")
    assert found.verdict is Answer.REFUTED
    assert "pods of a rollout count as load" in found.message


AGES = st.integers(0, 400).map(lambda seconds: NOW - timedelta(seconds=seconds))
HISTORIES = st.builds(
    History,
    st.lists(st.builds(Recommendation, st.integers(1, 9), AGES), min_size=1, max_size=9).map(tuple),
    st.lists(st.builds(ScaleEvent, st.integers(1, 3), AGES, st.booleans()), max_size=4).map(tuple),
    st.lists(st.builds(ScaleEvent, st.integers(1, 3), AGES, st.booleans()), max_size=4).map(tuple),
)
RULES = st.builds(
    HPAScalingRules,
    policies=st.lists(
        st.builds(
            HPAScalingPolicy,
            period_seconds=st.integers(1, 90),
            type=st.sampled_from(("Pods", "Percent")),
            value=st.integers(1, 100),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    stabilization_window_seconds=st.integers(0, 300),
)


@given(
    HISTORIES, RULES, RULES, st.integers(1, 9), st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40)), max_size=6)
)
def test_what_is_left_out_of_a_history_decides_nothing(
    history: History, up: HPAScalingRules, down: HPAScalingRules, current: int, wants: list[tuple[int, int]]
) -> None:
    """Two autoscalers with the same wishes from then on, one with all its memory, one with what is needed of it."""
    window = timedelta(seconds=max(up.stabilization_window_seconds or 0, down.stabilization_window_seconds or 0))
    period = timedelta(seconds=max(policy.period_seconds for policy in (*up.policies, *down.policies)))
    whole, part = history, needed(history, window, period)
    one = other = current
    for wanted, seconds in wants:
        whole, part = (older(each, timedelta(seconds=seconds), timedelta(days=1)) for each in (whole, part))
        one, whole = follow(whole, one, wanted, up, down)
        other, part = follow(part, other, wanted, up, down)
        part = needed(part, window, period)
        assert one == other


def follow(
    history: History, current: int, wanted: int, up: HPAScalingRules, down: HPAScalingRules
) -> tuple[int, History]:
    stable, history = limits.stabilise(history, current, wanted, up, down, NOW)
    allowed, _ = limits.limit(history, current, stable, Bounds(1, 9), up, down, NOW)
    return allowed, history.scaled(current, allowed, NOW, up, down) if allowed != current else history


def test_an_autoscaler_of_the_first_version_is_one_too(tmp_path: Path) -> None:
    for file in (SCENARIOS / "nothing-requested" / "broken").iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "hpa.yaml").write_text("""
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 4
  targetCPUUtilizationPercentage: 50
""")
    (found,) = judge.judge(project.load([tmp_path]), ["scale/stable"]).verdicts
    assert found.verdict is Answer.REFUTED
    assert "missing request for cpu" in found.message


def test_an_autoscaler_that_may_ask_for_thousands_is_not_judged(tmp_path: Path) -> None:
    for file in (SCENARIOS / "nothing-requested" / "repaired").iterdir():
        (tmp_path / file.name).write_text(file.read_text().replace("maxReplicas: 8", "maxReplicas: 2000000"))
    answers = {found.verdict for found in judge.judge(project.load([tmp_path]), ["scale/*"]).verdicts}
    assert answers == {Answer.UNKNOWN}
