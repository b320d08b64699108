"""The VerticalPodAutoscaler's rules, one by one; whole clusters are in tests/cluster/test_vertical_autoscaling.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from seatrial.control.addons.vpa import recommender, updater
from seatrial.control.addons.vpa.histogram import CPU, Histogram
from seatrial.control.addons.vpa.priority import due
from seatrial.control.addons.vpa.recommendation import recommended
from seatrial.control.addons.vpa.usage import Peaks, Usage, killed, measured_cpu, measured_memory
from seatrial.control.controller import Decision, Seen
from seatrial.control.writes import Evict
from seatrial.kube.objects import Deployment, Object, Pod, ReplicaSet, VerticalPodAutoscaler, parse_as
from seatrial.kube.objects.verticalscaling import PodResourcePolicy

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MIB = 1 << 20
REF = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


def autoscaler(**spec: Any) -> VerticalPodAutoscaler:
    bounds = {"target": {"cpu": "1", "memory": "1Gi"}, "lowerBound": {"cpu": "500m"}, "upperBound": {"cpu": "2"}}
    status = {"recommendation": {"containerRecommendations": [{"containerName": "app", **bounds}]}}
    raw = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"targetRef": REF, **spec}, "status": status}
    return parse_as(VerticalPodAutoscaler, raw)


def pod(name: str = "a", cpu: str = "100m", memory: str = "1Gi", **status: Any) -> Pod:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "rs", "controller": True}
    metadata = {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}, "ownerReferences": [owner]}
    container = {"name": "app", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    raw = {"metadata": metadata, "spec": {"containers": [container]}, "status": {"phase": "Running", **status}}
    return parse_as(Pod, raw)


def killed_status(at: datetime, after: timedelta = timedelta(minutes=1)) -> list[dict[str, Any]]:
    end = {"exitCode": 137, "reason": "OOMKilled", "startedAt": (at - after).isoformat(), "finishedAt": at.isoformat()}
    return [{"name": "app", "lastState": {"terminated": end}}]


def test_a_sample_weighs_half_after_a_day() -> None:
    """Two old samples weigh as much as one new one: the median is the lower, a little later the higher."""
    old = Histogram(CPU).add(1.0, 1.0, NOW).add(1.0, 1.0, NOW)
    assert old.add(4.0, 1.0, NOW + timedelta(hours=23)).percentile(0.5) < 1.1
    assert old.add(4.0, 1.0, NOW + timedelta(hours=25)).percentile(0.5) > 4.0


def test_weights_stay_finite_over_years() -> None:
    histogram = Histogram(CPU)
    for day in range(0, 3000, 30):
        histogram = histogram.add(1.0, 1.0, NOW + timedelta(days=day))
    assert 0 < histogram.total < 2.0**101
    assert histogram.percentile(0.9) == pytest.approx(1.04, abs=0.06)


def test_a_day_counts_with_its_peak_of_memory_only() -> None:
    usage, peaks = Usage(), Peaks()
    for minute, amount in enumerate((300, 100, 500, 200)):
        usage, peaks = measured_memory(usage, peaks, amount * MIB, NOW + timedelta(minutes=minute))
    assert 500 * MIB < usage.memory.percentile(0.01) < 550 * MIB
    assert sum(weight > 0 for weight in usage.memory.weights.values()) == 1


def test_who_was_killed_for_want_of_memory_is_recommended_more_than_it_had() -> None:
    usage, peaks = measured_memory(Usage(), Peaks(), 400 * MIB, NOW)
    usage, peaks = measured_cpu(usage, peaks, 100, NOW)
    usage, _ = killed(usage, peaks, 500 * MIB, NOW + timedelta(minutes=1))
    (found,) = recommended({"app": usage}, PodResourcePolicy()).container_recommendations
    assert found.target["memory"].value >= 600 * MIB * 1.15


def test_a_death_is_counted_once() -> None:
    deployment = parse_as(
        Deployment,
        {"metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}},
    )
    dead = pod(containerStatuses=killed_status(NOW - timedelta(minutes=1)))
    memory = None
    totals = []
    for minute in range(3):
        seen = Seen(
            autoscaler(), {Deployment: (deployment,), Pod: (dead,)}, NOW + timedelta(minutes=minute), memory=memory
        )
        decision = recommender.reconcile(seen)
        memory = decision.memory
        assert isinstance(memory, recommender.Memory)
        totals.append(memory.usages["app"].memory.total)
    assert totals[0] > 0
    assert len(set(totals)) == 1


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (("100m", "300m"), ["a", "b"]),  # both below the lower bound, the one that differs more first
        (("300m", "100m"), ["b", "a"]),
        (("1900m", "100m"), ["b"]),  # within the bounds
        (("3", "100m"), ["b", "a"]),  # above the upper bound; who wants to grow comes first
    ],
)
def test_who_is_updated_and_in_which_order(requests: tuple[str, str], expected: list[str]) -> None:
    pods = [pod(name, cpu, startTime=NOW.isoformat()) for name, cpu in zip("ab", requests, strict=True)]
    assert [each.metadata.name for each in due(pods, autoscaler(), NOW)] == expected


@pytest.mark.parametrize(("hours", "cpu", "updated"), [(13, "800m", True), (11, "800m", False), (13, "950m", False)])
def test_within_the_bounds_only_what_is_old_and_differs_by_a_tenth(hours: int, cpu: str, updated: bool) -> None:
    started = (NOW - timedelta(hours=hours)).isoformat()
    assert bool(due([pod(cpu=cpu, startTime=started)], autoscaler(), NOW)) is updated


@pytest.mark.parametrize(("minutes", "updated"), [(9, True), (11, False)])
def test_who_was_soon_out_of_memory_is_updated_at_once(minutes: int, updated: bool) -> None:
    status = killed_status(NOW - timedelta(minutes=minutes))
    young = pod(cpu="800m", startTime=NOW.isoformat(), containerStatuses=status)
    assert bool(due([young], autoscaler(), NOW)) is updated


@pytest.mark.parametrize(
    ("wanted", "updated"), [("TargetHigherThanRequests", True), ("TargetLowerThanRequests", False)]
)
def test_requirements_say_in_which_direction_pods_may_be_evicted(wanted: str, updated: bool) -> None:
    policy = {"evictionRequirements": [{"resources": ["cpu"], "changeRequirement": wanted}]}
    assert bool(due([pod()], autoscaler(updatePolicy=policy), NOW)) is updated


@pytest.mark.parametrize(
    ("configured", "running", "gone", "may"),
    [(4, 4, 0, True), (4, 4, 1, True), (4, 4, 2, False), (4, 2, 0, False), (1, 1, 0, True), (1, 1, 1, False)],
)
def test_half_of_a_controllers_pods_stay(configured: int, running: int, gone: int, may: bool) -> None:
    assert updater.Group(configured, running, evicted=gone).may_lose_one() is may
    assert updater.Group(configured, running, resized=gone).may_lose_one() is may


@pytest.mark.parametrize(
    ("kind", "reason", "minutes", "evicted"),
    [
        ("PodResizePending", "Infeasible", 0, True),
        ("PodResizePending", "Deferred", 4, False),
        ("PodResizePending", "Deferred", 6, True),
        ("PodResizeInProgress", "Error", 0, True),
        ("PodResizeInProgress", "", 59, False),
        ("PodResizeInProgress", "", 61, True),
    ],
)
def test_a_resize_that_fails_or_takes_too_long_ends_in_an_eviction(
    kind: str, reason: str, minutes: int, evicted: bool
) -> None:
    condition = {"type": kind, "status": "True", "reason": reason}
    subject = autoscaler(updatePolicy={"updateMode": "InPlaceOrRecreate"})
    pods = (pod("a", conditions=[condition]), pod("b", cpu="1"), pod("c", cpu="1"))
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d", "controller": True}
    selector = {"matchLabels": {"app": "web"}}
    metadata = {"namespace": "default"}
    replicas = parse_as(
        ReplicaSet,
        {
            "metadata": {**metadata, "name": "web-1", "ownerReferences": [owner]},
            "spec": {"replicas": 3, "selector": selector},
        },
    )
    deployment = parse_as(Deployment, {"metadata": {**metadata, "name": "web"}, "spec": {"selector": selector}})
    objects: dict[type[Object], tuple[Object, ...]] = {
        Pod: pods,
        ReplicaSet: (replicas,),
        Deployment: (deployment,),
        VerticalPodAutoscaler: (subject,),
    }

    def look(at: datetime, memory: updater.Memory) -> Decision:
        return updater.reconcile(Seen(subject, objects, at, memory=memory))

    first = look(NOW, updater.Memory(NOW))
    assert isinstance(first.memory, updater.Memory)
    later = NOW + timedelta(minutes=minutes)
    decision = look(later, updater.Memory(later, first.memory.resizing))
    names = [write.pod.metadata.name for write in decision.writes if isinstance(write, Evict)]
    assert names == (["a"] if evicted else [])
