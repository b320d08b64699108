"""autoscaling/v1: the same autoscalers, with one metric to say."""

from __future__ import annotations

from typing import Any

from seatrial.kube.objects import HorizontalPodAutoscaler, parse
from seatrial.server.api import Api
from seatrial.server.store import Store

TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


def made(api: Api, version: str, **spec: Any) -> dict[str, Any]:
    spec = {"scaleTargetRef": TARGET, "maxReplicas": 5, **spec}
    resource = api.kind(version, "HorizontalPodAutoscaler")
    return api.create(resource, "default", {"metadata": {"name": "web"}, "spec": spec})


def test_written_in_v1_read_in_v2() -> None:
    api = Api(Store.open(":memory:"))
    said = made(api, "autoscaling/v1", targetCPUUtilizationPercentage=60)
    assert said["apiVersion"] == "autoscaling/v1"
    assert said["spec"]["targetCPUUtilizationPercentage"] == 60
    raw = api.get(api.kind("autoscaling/v2", "HorizontalPodAutoscaler"), "default", "web")
    found = parse(raw)
    assert isinstance(found, HorizontalPodAutoscaler)
    assert found.spec.metrics[0].resource is not None
    assert found.spec.metrics[0].resource.target.average_utilization == 60


def test_v1_without_a_target_gets_the_default() -> None:
    """Without any metric, 80 percent of the cpu requests."""
    api = Api(Store.open(":memory:"))
    assert made(api, "autoscaling/v1")["spec"]["targetCPUUtilizationPercentage"] == 80


def test_a_v1_edit_leaves_the_rest() -> None:
    api = Api(Store.open(":memory:"))
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
    }
    made(api, "autoscaling/v2", metrics=[memory], behavior={"scaleDown": {"stabilizationWindowSeconds": 60}})
    old, new = (api.kind(f"autoscaling/v{version}", "HorizontalPodAutoscaler") for version in (1, 2))
    api.patch(old, "default", "web", {"spec": {"maxReplicas": 9, "targetCPUUtilizationPercentage": 70}})
    spec = api.get(new, "default", "web")["spec"]
    assert spec["maxReplicas"] == 9
    assert [each["resource"]["name"] for each in spec["metrics"]] == ["memory", "cpu"]
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 60
