"""Replicas that follow the size of the cluster."""

from __future__ import annotations

import json

import pytest

from seatrial.control.addons import proportional
from seatrial.control.addons.proportional import Ladder, Linear
from seatrial.kube.objects import Deployment
from tests.control.harness import Harness, deployment


def autoscaler(*flags: str) -> dict[str, object]:
    image = "registry.k8s.io/cpa/cluster-proportional-autoscaler:v1.9.0"
    raw = deployment()
    container = {"name": "autoscaler", "image": image, "command": ["/cluster-proportional-autoscaler", *flags]}
    template = {"metadata": {"labels": {"app": "cpa"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "cpa"}}, "template": template}
    return {**raw, "metadata": {"name": "cpa", "namespace": "default"}, "spec": spec}


def node(name: str, cpu: str = "4", **spec: object) -> dict[str, object]:
    status = {"allocatable": {"cpu": cpu}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec, "status": status}


def parameters(**modes: object) -> dict[str, object]:
    data = {mode: json.dumps(values) for mode, values in modes.items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cpa", "namespace": "default"},
        "data": data,
    }


def with_nodes(count: int, *flags: str) -> Harness:
    cluster = Harness((proportional.CONTROLLER,))
    for number in range(count):
        cluster.apply(node(f"n{number}"))
    cluster.apply(deployment(replicas=1))
    cluster.apply(autoscaler("--target=Deployment/web", "--configmap=cpa", *flags))
    return cluster


def replicas(cluster: Harness) -> int | None:
    cluster.settle()
    return cluster.get(Deployment, "web").spec.replicas


def test_linear_takes_the_larger_of_cores_and_nodes() -> None:
    cluster = with_nodes(5)
    cluster.apply(parameters(linear={"coresPerReplica": 16, "nodesPerReplica": 2}))
    assert replicas(cluster) == 3
    cluster.apply(parameters(linear={"coresPerReplica": 4, "nodesPerReplica": 2}))
    assert replicas(cluster) == 5
    cluster.apply(parameters(linear={"coresPerReplica": 1, "max": 7}))
    assert replicas(cluster) == 7


def test_cordoned_nodes_do_not_count_unless_asked_for() -> None:
    cluster = with_nodes(2)
    cluster.apply(node("away", unschedulable=True))
    cluster.apply(parameters(linear={"nodesPerReplica": 1}))
    assert replicas(cluster) == 2
    cluster.apply(parameters(linear={"nodesPerReplica": 1, "includeUnschedulableNodes": True}))
    assert replicas(cluster) == 3


def test_one_is_no_longer_enough_with_two_nodes_if_a_single_point_of_failure_is_to_be_prevented() -> None:
    assert Linear(nodes_per_replica=10, prevent_single_point_failure=True).replicas(4, 1) == 1
    assert Linear(nodes_per_replica=10, prevent_single_point_failure=True).replicas(8, 2) == 2


@pytest.mark.parametrize(("cores", "nodes", "expected"), [(0, 0, 1), (1, 1, 1), (64, 3, 3), (600, 3, 5), (8, 9, 4)])
def test_a_ladder_takes_the_highest_step_that_is_reached(cores: int, nodes: int, expected: int) -> None:
    ladder = Ladder(cores_to_replicas=((1, 1), (64, 3), (512, 5)), nodes_to_replicas=((1, 1), (5, 4)))
    assert ladder.replicas(cores, nodes) == expected


@pytest.mark.parametrize(("nodes", "expected"), [(1, 0), (9, 0), (10, 2)])
def test_a_ladder_may_have_no_replicas_until_a_cluster_has_grown(nodes: int, expected: int) -> None:
    ladder = Ladder(nodes_to_replicas=((1, 0), (10, 2)))
    assert ladder.is_valid()
    assert ladder.replicas(64, nodes) == expected
    assert not Ladder(nodes_to_replicas=((1, -1),)).is_valid()


def test_defaults_come_from_the_flag_and_unreadable_parameters_change_nothing() -> None:
    cluster = with_nodes(4, '--default-params={"linear": {"nodesPerReplica": 1}}')
    assert replicas(cluster) == 4
    for wrong in ({"nodesPerReplica": -1}, {"nodesPerReplica": 0}, {"min": 5, "max": 2, "nodesPerReplica": 1}, "x"):
        cluster.apply(parameters(linear=wrong))
        assert replicas(cluster) == 4


def test_it_looks_again_after_its_poll_period() -> None:
    cluster = with_nodes(1, "--poll-period-seconds=30")
    cluster.settle()
    wake_at = cluster.wakes[proportional.CONTROLLER.actor, cluster.get(Deployment, "cpa").key]
    assert wake_at is not None
    assert (wake_at - cluster.now).total_seconds() == 30
