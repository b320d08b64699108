"""A VerticalPodAutoscaler in the whole simulated cluster: measured, recommended, evicted or resized, made anew."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from seatrial.cluster.cluster import STANDARD_CONTROLLERS
from seatrial.cluster.metrics import Usage
from seatrial.cluster.virtual import VirtualCluster
from seatrial.kube.objects import Container, Pod
from seatrial.kube.quantities import Quantity

Json = dict[str, Any]
MIB = 1 << 20
LONG = timedelta(minutes=30)
"""For all pods to have been replaced, and no event to have expired."""


def definition() -> Json:
    """As short as it can be: the real one has a schema, which nothing here depends on."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    names = {"kind": "VerticalPodAutoscaler", "plural": "verticalpodautoscalers", "shortNames": ["vpa"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "verticalpodautoscalers.autoscaling.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/63797"},
        },
        "spec": {"group": "autoscaling.k8s.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def autoscaler(mode: str = "Recreate", **spec: Any) -> Json:
    return {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "updatePolicy": {"updateMode": mode, **spec.pop("updatePolicy", {})},
            **spec,
        },
    }


def deployment(replicas: int = 4, **resources: Any) -> Json:
    resources = resources or {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "app:1", "resources": resources}]},
            },
        },
    }


def load(pod: Pod, container: Container, at: datetime) -> Usage:
    return Usage(cores=0.35, memory_bytes=400 * MIB)


def cluster(*manifests: Json, **options: Any) -> VirtualCluster:
    made = VirtualCluster(nodes=4, load=load, **options)
    made.apply([definition(), *manifests])
    return made


def pods(made: VirtualCluster) -> list[Json]:
    return [each for each in made.list("v1", "Pod", "default") if not each["metadata"].get("deletionTimestamp")]


def cpu(pod: Json, part: str = "requests") -> int:
    return Quantity.parse(pod["spec"]["containers"][0]["resources"].get(part, {}).get("cpu", 0)).milli


def reasons(made: VirtualCluster) -> set[str]:
    return {each["reason"] for each in made.list("v1", "Event", "default")}


def status(made: VirtualCluster) -> Json:
    (found,) = made.list("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "default")
    known: Json = found.get("status", {})
    return known


def test_pods_that_request_too_little_are_evicted_and_made_anew_with_what_is_recommended() -> None:
    made = cluster(deployment(), autoscaler())
    made.advance(LONG)
    (recommendation,) = status(made)["recommendation"]["containerRecommendations"]
    target = Quantity.parse(recommendation["target"]["cpu"]).milli
    assert 350 * 1.15 <= target <= 350 * 1.15 * 1.05 + 20, "the end of the bucket, and 15 % more"
    assert [(each["type"], each["status"]) for each in status(made)["conditions"]] == [
        ("RecommendationProvided", "True")
    ]
    assert [cpu(pod) for pod in pods(made)] == [target] * 4
    assert [cpu(pod, "limits") for pod in pods(made)] == [2 * target] * 4, "in proportion"
    assert {"EvictedByVPA", "EvictedPod"} <= reasons(made)
    (pod, *_) = pods(made)
    assert pod["metadata"]["annotations"] == {
        "vpaObservedContainers": "app",
        "vpaUpdates": "Pod resources updated by web: container 0: "
        "memory: limit NOT set since originalLimit is nil or 0, cpu request, memory request, cpu limit",
    }


@pytest.mark.parametrize("mode", ["Off", "Initial"])
def test_what_only_recommends_evicts_nobody(mode: str) -> None:
    """With Initial, new pods get it; with Off, nobody does."""
    made = cluster(deployment(), autoscaler(mode))
    made.advance(LONG)
    assert [cpu(pod) for pod in pods(made)] == [100] * 4
    assert "EvictedByVPA" not in reasons(made)
    old = pods(made)[0]["metadata"]["name"]
    made.api.delete(made.api.kind("v1", "Pod"), "default", old)
    made.advance(timedelta(minutes=1))
    assert sorted(cpu(pod) > 100 for pod in pods(made)) == [False] * 3 + [mode == "Initial"]


def test_a_single_pod_is_left_alone_unless_it_is_said_otherwise() -> None:
    made = cluster(deployment(1), autoscaler())
    made.advance(LONG)
    assert [cpu(pod) for pod in pods(made)] == [100]
    made = cluster(deployment(1), autoscaler(updatePolicy={"minReplicas": 1}))
    made.advance(LONG)
    assert [cpu(pod) > 100 for pod in pods(made)] == [True]


def test_a_disruption_budget_holds_evictions_back() -> None:
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}},
    }
    made = cluster(deployment(), budget, autoscaler())
    made.advance(LONG)
    assert [cpu(pod) for pod in pods(made)] == [100] * 4
    assert "EvictedByVPA" not in reasons(made)


def test_pods_are_resized_where_they_are() -> None:
    made = cluster(deployment(), autoscaler("InPlaceOrRecreate"))
    names = {pod["metadata"]["name"] for pod in pods(made)}
    made.advance(LONG)
    assert {pod["metadata"]["name"] for pod in pods(made)} == names
    assert all(cpu(pod) > 350 for pod in pods(made))
    assert all(pod["metadata"]["annotations"]["vpaInPlaceUpdated"] == "true" for pod in pods(made))
    given = pods(made)[0]["status"]["containerStatuses"][0]
    assert Quantity.parse(given["resources"]["requests"]["cpu"]).milli == cpu(pods(made)[0])
    assert given["restartCount"] == 0
    assert "InPlaceResizedByVPA" in reasons(made)
    assert "EvictedByVPA" not in reasons(made)


def test_what_cannot_be_resized_is_evicted() -> None:
    """A pod without requests is BestEffort, which a resize may not change."""
    made = cluster(deployment(4, limits={}), autoscaler("InPlaceOrRecreate"))
    made.advance(LONG)
    assert all(cpu(pod) > 350 for pod in pods(made))
    assert "EvictedByVPA" in reasons(made)


def test_a_policy_bounds_what_is_recommended() -> None:
    policies = {
        "containerPolicies": [{"containerName": "*", "maxAllowed": {"cpu": "300m"}, "controlledResources": ["cpu"]}]
    }
    made = cluster(deployment(), autoscaler(resourcePolicy=policies))
    made.advance(LONG)
    (recommendation,) = status(made)["recommendation"]["containerRecommendations"]
    assert recommendation["target"] == {"cpu": "300m"}
    assert Quantity.parse(recommendation["uncappedTarget"]["cpu"]).milli > 350
    assert [cpu(pod) for pod in pods(made)] == [300] * 4


def test_a_target_that_is_not_there_or_not_the_topmost_is_said() -> None:
    made = cluster(autoscaler())
    made.advance(timedelta(minutes=2))
    said = {each["type"]: each.get("message", "") for each in status(made)["conditions"]}
    assert said["ConfigUnsupported"] == "Cannot read targetRef. Reason: Deployment default/web does not exist"
    assert said["NoPodsMatched"] == "No pods match this VPA object"
    made.apply([deployment()])
    (owned,) = made.list("apps/v1", "ReplicaSet", "default")
    ref = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owned["metadata"]["name"]}
    made.apply([autoscaler(targetRef=ref)])
    made.advance(timedelta(minutes=2))
    said = {each["type"]: each.get("message", "") for each in status(made)["conditions"]}
    assert "has a parent controller but it should point to a topmost" in said["ConfigUnsupported"]


def test_without_add_ons_nothing_follows() -> None:
    made = cluster(deployment(), autoscaler(), controllers=STANDARD_CONTROLLERS)
    made.advance(LONG)
    assert not status(made)
    assert [cpu(pod) for pod in pods(made)] == [100] * 4
