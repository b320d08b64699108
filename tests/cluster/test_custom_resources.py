"""Custom resources in the simulated cluster: owned, counted, scaled, gone with their namespace or their kind."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from seatrial.cluster.metrics import Usage
from seatrial.cluster.virtual import VirtualCluster
from seatrial.server.errors import StatusError
from seatrial.server.requests import DeleteOptions

Json = dict[str, Any]


def definition(**names: Any) -> Json:
    named = {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"], **names}
    counts = {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}}
    spec = {
        "type": "object",
        "properties": {"replicas": {"type": "integer", "minimum": 0}, "color": {"type": "string", "default": "blue"}},
    }
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": counts}}},
        "subresources": {"status": {}, "scale": scale},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{named['plural']}.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": named, "versions": [version]},
    }


def widget(name: str = "w", **spec: Any) -> Json:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


def owned(kind: str, name: str, owner: Json) -> Json:
    ref = {
        **{key: owner[key] for key in ("apiVersion", "kind")},
        **{key: owner["metadata"][key] for key in ("name", "uid")},
    }
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "ownerReferences": [{**ref, "controller": True, "blockOwnerDeletion": True}]},
    }


def conditions(raw: Json) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in raw["status"].get("conditions") or ()}


@pytest.fixture
def cluster() -> VirtualCluster:
    made = VirtualCluster()
    made.apply([definition()])
    return made


def get(cluster: VirtualCluster, name: str = "w") -> Json:
    return cluster.api.get(cluster.api.kind("example.com/v1", "Widget"), "default", name)


def crd(cluster: VirtualCluster, name: str = "widgets.example.com") -> Json:
    return cluster.api.get(cluster.api.kind("apiextensions.k8s.io/v1", "CustomResourceDefinition"), "", name)


def test_a_definition_is_named_and_established(cluster: VirtualCluster) -> None:
    found = crd(cluster)
    assert conditions(found) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert found["status"]["acceptedNames"] == found["spec"]["names"]
    assert found["status"]["storedVersions"] == ["v1"]


def test_a_name_that_is_taken_waits_until_it_is_free(cluster: VirtualCluster) -> None:
    cluster.apply([definition(plural="gadgets", singular="gadget", kind="Gadget", shortNames=["wd"])])
    found = crd(cluster, "gadgets.example.com")
    assert conditions(found) == {
        "NamesAccepted": ("False", "ShortNamesConflict"),
        "Established": ("False", "NotAccepted"),
    }
    assert found["status"]["conditions"][0]["message"] == '"wd" is already in use'
    assert cluster.api.resources.kind("example.com/v1", "Gadget") is None
    definitions = cluster.api.kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    cluster.api.delete(definitions, "", "widgets.example.com")
    cluster.advance(timedelta(seconds=1))
    assert conditions(crd(cluster, "gadgets.example.com"))["Established"] == ("True", "InitialNamesAccepted")
    assert cluster.api.resources.kind("example.com/v1", "Gadget") is not None


def test_dependents_go_with_their_owner(cluster: VirtualCluster) -> None:
    cluster.apply([widget()])
    cluster.apply([owned("ConfigMap", "settings", get(cluster))])
    cluster.api.delete(cluster.api.kind("example.com/v1", "Widget"), "default", "w")
    cluster.advance(timedelta(seconds=1))
    assert not [each for each in cluster.list("v1", "ConfigMap") if each["metadata"]["name"] == "settings"]


def test_an_owner_in_the_foreground_waits_for_its_dependents(cluster: VirtualCluster) -> None:
    cluster.apply([widget()])
    cluster.apply([owned("ConfigMap", "settings", get(cluster))])
    options = DeleteOptions(propagation="Foreground")
    left = cluster.api.delete(cluster.api.kind("example.com/v1", "Widget"), "default", "w", options)
    assert left["metadata"]["finalizers"] == ["foregroundDeletion"]
    cluster.advance(timedelta(seconds=1))
    assert not cluster.list("example.com/v1", "Widget")


def test_a_custom_resource_can_be_owned(cluster: VirtualCluster) -> None:
    cluster.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}}])
    config = cluster.api.get(cluster.api.kind("v1", "ConfigMap"), "default", "owner")
    made = owned("ConfigMap", "w", config)["metadata"]
    cluster.apply([{**widget(), "metadata": made}])
    cluster.api.delete(cluster.api.kind("v1", "ConfigMap"), "default", "owner")
    cluster.advance(timedelta(seconds=1))
    assert not cluster.list("example.com/v1", "Widget")


def test_a_deleted_definition_takes_its_objects_and_what_they_own(cluster: VirtualCluster) -> None:
    cluster.apply([widget("a"), widget("b")])
    cluster.apply([owned("ConfigMap", "settings", get(cluster, "a"))])
    definitions = cluster.api.kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    left = cluster.api.delete(definitions, "", "widgets.example.com")
    assert left["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert conditions(left)["Terminating"] == ("True", "InstanceDeletionPending")
    with pytest.raises(StatusError, match="create not allowed while custom resource definition is terminating"):
        cluster.api.create(cluster.api.kind("example.com/v1", "Widget"), "default", widget("c"))
    cluster.advance(timedelta(seconds=1))
    assert not cluster.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert cluster.api.store.all("example.com/widgets") == {}
    assert not [each for each in cluster.list("v1", "ConfigMap") if each["metadata"]["name"] == "settings"]
    with pytest.raises(StatusError, match='no matches for kind "Widget"'):
        cluster.api.kind("example.com/v1", "Widget")


def test_a_definition_waits_for_objects_with_finalizers(cluster: VirtualCluster) -> None:
    held = widget()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.apply([held])
    definitions = cluster.api.kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    cluster.api.delete(definitions, "", "widgets.example.com")
    cluster.advance(timedelta(seconds=30))
    assert conditions(crd(cluster))["Terminating"] == ("True", "InstanceDeletionInProgress")
    cluster.advance(timedelta(seconds=60))
    assert conditions(crd(cluster))["Terminating"] == ("True", "InstanceDeletionCheck")
    widgets = cluster.api.kind("example.com/v1", "Widget")
    cluster.api.patch(widgets, "default", "w", {"metadata": {"finalizers": None}})
    cluster.advance(timedelta(seconds=6))
    assert not cluster.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")


def test_a_namespace_takes_its_custom_resources(cluster: VirtualCluster) -> None:
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}])
    held = widget()
    held["metadata"] |= {"namespace": "shop", "finalizers": ["example.com/hold"]}
    cluster.apply([held])
    cluster.api.delete(cluster.api.kind("v1", "Namespace"), "", "shop")
    cluster.advance(timedelta(seconds=1))
    namespace = cluster.api.get(cluster.api.kind("v1", "Namespace"), "", "shop")
    messages = {each["type"]: each["message"] for each in namespace["status"]["conditions"]}
    assert messages["NamespaceContentRemaining"] == (
        "Some resources are remaining: widgets.example.com has 1 resource instances"
    )
    widgets = cluster.api.kind("example.com/v1", "Widget")
    cluster.api.patch(widgets, "shop", "w", {"metadata": {"finalizers": None}})
    cluster.advance(timedelta(seconds=1))
    assert "shop" not in [each["metadata"]["name"] for each in cluster.list("v1", "Namespace")]


def test_quotas_count_custom_resources(cluster: VirtualCluster) -> None:
    hard = {"count/widgets.example.com": "1"}
    cluster.apply([{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}])
    cluster.apply([widget("a")])
    assert cluster.list("v1", "ResourceQuota")[0]["status"]["used"] == {"count/widgets.example.com": "1"}
    with pytest.raises(StatusError) as refused:
        cluster.apply([widget("b")])
    assert str(refused.value) == (
        'widgets.example.com "b" is forbidden: exceeded quota: q, requested: count/widgets.example.com=1, '
        "used: count/widgets.example.com=1, limited: count/widgets.example.com=1"
    )
    cluster.api.delete(cluster.api.kind("example.com/v1", "Widget"), "default", "a")
    cluster.advance(timedelta(seconds=1))
    assert cluster.list("v1", "ResourceQuota")[0]["status"]["used"] == {"count/widgets.example.com": "0"}


def test_an_autoscaler_scales_a_custom_resource() -> None:
    cluster = VirtualCluster(load=lambda *_: Usage(cores=0.4, memory_bytes=1 << 20))
    cluster.apply([definition(), widget(replicas=1)])
    widgets = cluster.api.kind("example.com/v1", "Widget")
    status = {"status": {"replicas": 1, "selector": "app=w"}}
    cluster.api.patch(widgets, "default", "w", status, subresource="status")
    resources = {"requests": {"cpu": "200m"}}
    pod = owned("Pod", "p", get(cluster))
    pod["metadata"]["labels"] = {"app": "w"}
    pod["spec"] = {"containers": [{"name": "app", "image": "app:1", "resources": resources}]}
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "w"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w"},
            "maxReplicas": 9,
            "metrics": [{"type": "Resource", "resource": metric}],
        },
    }
    cluster.apply([pod, autoscaler])
    cluster.advance(timedelta(minutes=3))
    assert get(cluster)["spec"]["replicas"] == 4
    assert get(cluster)["spec"]["color"] == "blue"
    [found] = cluster.list("autoscaling/v2", "HorizontalPodAutoscaler")
    assert conditions(found)["AbleToScale"][0] == "True"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"kind": "Widget", "name": "absent"}, 'widgets.example.com "absent" not found'),
        ({"kind": "Gadget", "name": "w"}, 'no matches for kind "Gadget" in group "example.com"'),
        (
            {"kind": "Widget", "name": "w"},
            'Internal error occurred: the spec replicas field ".spec.replicas" does not exist',
        ),
    ],
)
def test_a_custom_resource_that_has_no_scale(cluster: VirtualCluster, target: Json, message: str) -> None:
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "w"},
        "spec": {"scaleTargetRef": {"apiVersion": "example.com/v1", **target}, "maxReplicas": 9},
    }
    cluster.apply([widget(), autoscaler])
    cluster.advance(timedelta(seconds=16))
    [found] = cluster.list("autoscaling/v2", "HorizontalPodAutoscaler")
    assert found["status"]["conditions"][0]["message"].endswith(f"current scale: {message}")


def test_a_budget_counts_the_pods_that_a_custom_resource_asks_for(cluster: VirtualCluster) -> None:
    cluster.apply([widget(replicas=4)])
    pod = owned("Pod", "p", get(cluster))
    pod["metadata"]["labels"] = {"app": "w"}
    pod["spec"] = {"containers": [{"name": "app", "image": "app:1"}]}
    selector = {"matchLabels": {"app": "w"}}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "w"},
        "spec": {"selector": selector, "maxUnavailable": "50%"},
    }
    cluster.apply([pod, budget])
    cluster.advance(timedelta(seconds=30))
    status = cluster.list("policy/v1", "PodDisruptionBudget")[0]["status"]
    assert (status["expectedPods"], status["desiredHealthy"], status["currentHealthy"]) == (4, 2, 1)


def test_a_kind_called_as_one_of_kubernetes_is_kept_apart() -> None:
    """Knative's Service has no cluster address, and deleting it leaves the real one of the same name."""
    cluster = VirtualCluster()
    service = definition(plural="services", singular="service", kind="Service", shortNames=["ksvc"])
    ports = [{"port": 80}]
    cluster.apply(
        [
            service,
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "w"}, "spec": {"ports": ports}},
            {**widget(), "kind": "Service"},
        ]
    )
    [custom] = cluster.list("example.com/v1", "Service")
    assert custom["spec"] == {"color": "blue"}
    cluster.apply([owned("ConfigMap", "settings", custom)])
    cluster.api.delete(cluster.api.kind("example.com/v1", "Service"), "default", "w")
    cluster.advance(timedelta(seconds=1))
    assert [each["metadata"]["name"] for each in cluster.list("v1", "Service")] == ["kubernetes", "w"]
    assert not [each for each in cluster.list("v1", "ConfigMap") if each["metadata"]["name"] == "settings"]
