"""An autoscaler in the whole simulated cluster: programmed load, measured, followed, and seen through the API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from seatrial.cluster.metrics import Usage
from seatrial.cluster.virtual import VirtualCluster
from seatrial.kube.objects import Container, Pod
from seatrial.server.requests import Filter

CORES = 0.2
"""What each pod requests."""


def deployment(replicas: int) -> dict[str, Any]:
    container = {"name": "app", "image": "app:1", "resources": {"requests": {"cpu": f"{int(CORES * 1000)}m"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }


def autoscaler(**spec: Any) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": 50}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2,
            "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            **spec,
        },
    }


class Shop:
    """A cluster whose load is `cores`, shared by the pods that are there."""

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self.cluster = VirtualCluster(nodes=2, load=self._load)

    def _load(self, pod: Pod, container: Container, at: datetime) -> Usage:
        ready = [each for each in self.cluster.objects.all(Pod) if each.status.phase == "Running"]
        return Usage(cores=self.cores / len(ready), memory_bytes=50 << 20)

    @property
    def replicas(self) -> int:
        return int(self.cluster.list("apps/v1", "Deployment")[0]["spec"]["replicas"])

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.list("autoscaling/v2", "HorizontalPodAutoscaler")[0]["status"]
        return found

    def condition(self, name: str) -> tuple[str, str]:
        found = next(each for each in self.status["conditions"] if each["type"] == name)
        return found["status"], found["reason"]

    def until(self, holds: Callable[[], bool], *, limit_s: int) -> int:
        """Let seconds pass until something holds: how many."""
        for passed in range(limit_s):
            if holds():
                return passed
            self.cluster.advance(timedelta(seconds=1))
        raise AssertionError(f"not within {limit_s} s: {self.replicas} replicas, {self.status}")

    def events(self) -> list[str]:
        found = self.cluster.list("v1", "Event", "default")
        return [f"{e['reason']}: {e['message']}" for e in found if e["involvedObject"]["kind"] != "Pod"]


def test_load_doubles_and_halves() -> None:
    """Up within a sync or two; down only when the higher recommendation is five minutes old
    (`--horizontal-pod-autoscaler-downscale-stabilization`, 5 minutes by default).
    """
    shop = Shop(cores=0.2)
    shop.cluster.apply([deployment(2), autoscaler()])
    shop.cluster.advance(timedelta(minutes=10))
    assert shop.replicas == 2
    assert shop.status["currentMetrics"][0]["resource"]["current"] == {"averageUtilization": 50, "averageValue": "100m"}

    shop.cores = 0.4
    assert shop.until(lambda: shop.replicas == 4, limit_s=60) <= 45
    assert "SuccessfulRescale: New size: 4; reason: cpu resource utilization (percentage of request) above target" in (
        shop.events()
    )
    shop.cluster.advance(timedelta(minutes=10))
    assert shop.replicas == 4

    shop.cores = 0.2
    shop.cluster.advance(timedelta(seconds=60))
    assert shop.condition("AbleToScale") == ("True", "ScaleDownStabilized")
    assert 200 <= shop.until(lambda: shop.replicas == 2, limit_s=300) + 60 - 60 <= 285
    assert "SuccessfulRescale: New size: 2; reason: All metrics below target" in shop.events()


def test_metrics_are_missing_until_they_are_measured() -> None:
    """A container is measured once it has run for a while; until then the condition says why nothing is scaled."""
    shop = Shop(cores=2.0)
    shop.cluster.apply([deployment(2), autoscaler()])
    shop.cluster.advance(timedelta(seconds=1))
    assert shop.condition("ScalingActive") == ("False", "FailedGetResourceMetric")
    shop.until(lambda: shop.condition("ScalingActive") == ("True", "ValidMetricFound"), limit_s=360)


def test_measurements_are_served() -> None:
    """metrics.k8s.io as metrics-server serves it: read-only, of this moment, never stored."""
    shop = Shop(cores=0.3)
    shop.cluster.apply([deployment(3)])
    shop.cluster.advance(timedelta(minutes=1))
    api = shop.cluster.api
    pods = api.list(api.kind("metrics.k8s.io/v1beta1", "PodMetrics"), Filter(namespace="default")).items
    assert [each["containers"][0]["usage"] for each in pods] == [{"cpu": "100m", "memory": "50Mi"}] * 3
    assert all(each["metadata"]["labels"]["app"] == "web" and each["window"] == "15s" for each in pods)
    nodes = api.list(api.kind("metrics.k8s.io/v1beta1", "NodeMetrics")).items
    assert sorted(each["usage"]["cpu"] for each in nodes) == ["100m", "200m"]
    name = pods[0]["metadata"]["name"]
    assert api.get(api.kind("metrics.k8s.io/v1beta1", "PodMetrics"), "default", name) == pods[0]


def test_a_queue_wakes_what_was_scaled_to_zero() -> None:
    """HPAScaleToZero (KEP-2021, on by default since 1.37): an external metric takes a target to nothing and back."""
    shop = Shop(cores=0.0)
    target = {"type": "AverageValue", "averageValue": "10"}
    metrics = [{"type": "External", "external": {"metric": {"name": "queue"}, "target": target}}]
    shop.cluster.cluster.metrics.set_external("queue", 0)
    shop.cluster.apply([deployment(1), autoscaler(minReplicas=0, metrics=metrics)])
    shop.until(lambda: shop.replicas == 0, limit_s=330)
    assert shop.condition("ScaledToZero") == ("True", "ScaledToZero")
    shop.cluster.cluster.metrics.set_external("queue", 35)
    shop.until(lambda: shop.replicas == 4, limit_s=20)
