"""Add-ons in a whole simulated cluster: their configuration objects are applied, and the cluster follows them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from seatrial.cluster.cluster import STANDARD_CONTROLLERS
from seatrial.cluster.virtual import VirtualCluster
from seatrial.kube.objects import JsonObject


def workload(name: str, replicas: int, container: dict[str, Any]) -> JsonObject:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", **container}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def dns_autoscaler() -> list[JsonObject]:
    image = "registry.k8s.io/cpa/cluster-proportional-autoscaler:v1.9.0"
    command = ["/cluster-proportional-autoscaler", "--target=deployment/dns", "--configmap=dns-autoscaler"]
    parameters = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "dns-autoscaler", "namespace": "default"},
        "data": {"linear": json.dumps({"nodesPerReplica": 1})},
    }
    return [
        parameters,
        workload("dns", 1, {"image": "coredns:1"}),
        workload("cpa", 1, {"image": image, "command": command}),
    ]


def replicas(cluster: VirtualCluster) -> int:
    (dns,) = (each for each in cluster.list("apps/v1", "Deployment", "default") if each["metadata"]["name"] == "dns")
    found = dns["spec"]["replicas"]
    assert isinstance(found, int)
    return found


def test_the_proportional_autoscaler_follows_a_node_that_is_taken_away() -> None:
    """It counts the Node objects that are not cordoned, every ten seconds."""
    cluster = VirtualCluster(nodes=4)
    cluster.apply(dns_autoscaler())
    cluster.advance(timedelta(minutes=1))
    assert replicas(cluster) == 4
    cluster.api.patch(cluster.api.kind("v1", "Node"), "", "node-4", {"spec": {"unschedulable": True}})
    cluster.advance(timedelta(seconds=11))
    assert replicas(cluster) == 3


def test_a_node_that_only_falls_silent_still_counts_for_the_proportional_autoscaler() -> None:
    """Upstream looks at spec.unschedulable, not at the Ready condition."""
    cluster = VirtualCluster(nodes=4)
    cluster.apply(dns_autoscaler())
    cluster.cluster.fail_node("node-4")
    cluster.advance(timedelta(minutes=10))
    assert replicas(cluster) == 4


def test_without_add_ons_nothing_follows() -> None:
    cluster = VirtualCluster(nodes=4, controllers=STANDARD_CONTROLLERS)
    cluster.apply(dns_autoscaler())
    cluster.advance(timedelta(minutes=1))
    assert replicas(cluster) == 1
