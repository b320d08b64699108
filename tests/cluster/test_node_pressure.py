"""Nodes short of something, and nodes that shut down, in a whole simulated cluster."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.kube.objects import Node, Pod
from seatrial.testing import Cluster, NodeShape
from tests.testing.test_clients import WEB

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME}}
spec:
  priority: 0
  terminationGracePeriodSeconds: 10
  containers: [{name: main, image: "web:1", resources: {requests: {memory: "REQUEST"}}}]
"""


def pod(name: str, request: str = "") -> str:
    text = POD.replace("NAME", name)
    return text.replace('"REQUEST"', f'"{request}"') if request else text.replace('memory: "REQUEST"', "")


def condition(cluster: Cluster, kind: str, node: str = "node-1") -> tuple[str, str, str]:
    found = cluster.get(Node, node)
    assert found is not None
    each = next(each for each in found.status.conditions if each.type == kind)
    return each.status, each.reason, each.message


def taints(cluster: Cluster, node: str = "node-1") -> list[str]:
    found = cluster.get(Node, node)
    assert found is not None
    return [f"{each.key}:{each.effect}" for each in found.spec.taints]


def phase(cluster: Cluster, name: str) -> tuple[str, str]:
    found = cluster.get(Pod, name)
    assert found is not None
    return found.status.phase, found.status.reason


def test_pressure_shows_taints_evicts_one_pod_at_a_time_and_goes_after_five_minutes(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.apply(pod("first"))
    seatrial_cluster.apply(pod("second", "64Mi"))
    seatrial_cluster.settle()
    seatrial_cluster.set_pressure("node-1", memory_available="50Mi")
    while phase(seatrial_cluster, "first")[0] != "Failed":
        seatrial_cluster.advance(0.5)
    seatrial_cluster.set_pressure("node-1")
    wording = ("True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
    assert condition(seatrial_cluster, "MemoryPressure") == wording
    assert taints(seatrial_cluster) == ["node.kubernetes.io/memory-pressure:NoSchedule"]
    evicted = seatrial_cluster.get(Pod, "first")
    assert evicted is not None
    text = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
    assert (evicted.status.phase, evicted.status.reason, evicted.status.message) == ("Failed", "Evicted", text)
    target = next(each for each in evicted.status.conditions if each.type == "DisruptionTarget")
    assert (target.status, target.reason, target.message) == ("True", "TerminationByKubelet", text)
    assert phase(seatrial_cluster, "second") == ("Running", "")
    assert f"Warning Evicted {text}" in seatrial_cluster.events("first")
    events = seatrial_cluster.events("node-1")
    assert "Warning EvictionThresholdMet Attempting to reclaim memory" in events
    assert "Normal NodeHasInsufficientMemory Node node-1 status is now: NodeHasInsufficientMemory" in events
    seatrial_cluster.advance(290)
    assert condition(seatrial_cluster, "MemoryPressure")[0] == "True"
    seatrial_cluster.advance(30)
    assert condition(seatrial_cluster, "MemoryPressure") == (
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    )
    assert taints(seatrial_cluster) == []
    assert phase(seatrial_cluster, "second") == ("Running", "")


def test_pods_that_come_to_a_node_under_pressure_are_refused_unless_they_request_something(
    seatrial_cluster: Cluster,
) -> None:
    seatrial_cluster.set_pressure("node-1", memory_available="50Mi")
    seatrial_cluster.advance(10)
    bound = pod("bound").replace("spec:\n", "spec:\n  nodeName: node-1\n")
    seatrial_cluster.apply(bound)
    seatrial_cluster.advance(1)
    refused = seatrial_cluster.get(Pod, "bound")
    assert refused is not None
    text = "Pod was rejected: The node had condition: [MemoryPressure]. "
    assert (refused.status.phase, refused.status.reason, refused.status.message) == ("Failed", "Evicted", text)
    assert (refused.status.container_statuses, refused.status.conditions) == ((), ())
    assert "Warning Evicted The node had condition: [MemoryPressure]. " in seatrial_cluster.events("bound")
    seatrial_cluster.delete("v1", "Pod", "bound")
    seatrial_cluster.advance(60)
    assert seatrial_cluster.get(Pod, "bound") is None
    seatrial_cluster.set_pressure("node-1", memory_available="99Mi")
    requesting = pod("requesting", "1Mi").replace("spec:\n", "spec:\n  nodeName: node-1\n")
    seatrial_cluster.apply(requesting.replace("priority: 0", "priorityClassName: system-node-critical"))
    seatrial_cluster.advance(60)
    assert phase(seatrial_cluster, "requesting") == ("Running", "")


@pytest.mark.seatrial(nodes=[NodeShape("node-1", {"cpu": "4", "memory": "1Gi", "pods": "10"})])
def test_pods_that_use_too_much_memory_together_are_evicted_until_there_is_enough(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.behave("app=greedy", metrics={"memory": ((0, 1e6), (100, 600 << 20))})
    seatrial_cluster.behave("app=modest", metrics={"memory": ((0, 350 << 20),)})
    seatrial_cluster.apply(pod("greedy", "100Mi"))
    seatrial_cluster.apply(pod("modest", "400Mi"))
    seatrial_cluster.settle()
    seatrial_cluster.advance(90)
    assert phase(seatrial_cluster, "greedy") == phase(seatrial_cluster, "modest") == ("Running", "")
    seatrial_cluster.advance(120)
    greedy = seatrial_cluster.get(Pod, "greedy")
    assert greedy is not None
    assert greedy.status.message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 74Mi. "
        "Container main was using 600Mi, request is 100Mi, has larger consumption of memory. "
    )
    assert phase(seatrial_cluster, "modest") == ("Running", "")


def test_an_empty_dir_that_outgrows_its_limit_ends_its_pod_without_pressure(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.behave("app=full", metrics={"volume/scratch": ((0, 0), (30, 2 << 20))})
    volumes = "spec:\n  volumes: [{name: scratch, emptyDir: {sizeLimit: 1Mi}}]\n"
    seatrial_cluster.apply(pod("full").replace("spec:\n", volumes))
    seatrial_cluster.advance(60)
    full = seatrial_cluster.get(Pod, "full")
    assert full is not None
    assert full.status.message == 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '
    assert [each for each in full.status.conditions if each.type == "DisruptionTarget"] == []
    assert condition(seatrial_cluster, "DiskPressure")[0] == "False"


@pytest.mark.seatrial(nodes=2)
def test_an_evicted_pod_of_a_deployment_comes_up_elsewhere(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.apply(WEB)
    seatrial_cluster.settle()
    seatrial_cluster.set_pressure("node-1", nodefs_available="5%")
    seatrial_cluster.advance(120)
    running = [each for each in seatrial_cluster.list(Pod) if each.status.phase == "Running"]
    assert {each.spec.node_name for each in running} == {"node-2"}
    assert len(running) == 2
    assert condition(seatrial_cluster, "DiskPressure")[:2] == ("True", "KubeletHasDiskPressure")


GRACEFUL: dict[str, Any] = {"shutdownGracePeriod": "30s", "shutdownGracePeriodCriticalPods": "10s"}


@pytest.mark.seatrial(nodes=1, kubelet=GRACEFUL)
def test_a_graceful_shutdown_ends_ordinary_pods_then_critical_ones_then_the_node(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.behave("app=stubborn", hangs_on_stop=True)
    seatrial_cluster.apply(pod("stubborn").replace("Seconds: 10", "Seconds: 300"))
    seatrial_cluster.apply(pod("critical").replace("priority: 0", "priorityClassName: system-node-critical"))
    seatrial_cluster.settle()
    seatrial_cluster.shut_down_node("node-1")
    seatrial_cluster.advance(1)
    assert condition(seatrial_cluster, "Ready") == ("False", "KubeletNotReady", "node is shutting down")
    assert "Normal NodeShutdown Shutdown manager detected shutdown event" in seatrial_cluster.events("node-1")
    seatrial_cluster.apply(pod("late").replace("spec:\n", "spec:\n  nodeName: node-1\n"))
    seatrial_cluster.advance(1)
    late = seatrial_cluster.get(Pod, "late")
    assert late is not None
    assert (late.status.phase, late.status.reason) == ("Failed", "NodeShutdown")
    assert late.status.message == "Pod was rejected: Pod was rejected as the node is shutting down."
    seatrial_cluster.advance(17)
    assert phase(seatrial_cluster, "stubborn") == phase(seatrial_cluster, "critical") == ("Running", "")
    seatrial_cluster.advance(6)
    stubborn = seatrial_cluster.get(Pod, "stubborn")
    assert stubborn is not None
    text = "Pod was terminated in response to imminent node shutdown."
    assert (stubborn.status.phase, stubborn.status.reason, stubborn.status.message) == ("Failed", "Terminated", text)
    target = next(each for each in stubborn.status.conditions if each.type == "DisruptionTarget")
    assert (target.reason, target.message) == ("TerminationByKubelet", text)
    assert phase(seatrial_cluster, "critical") == ("Failed", "Terminated")
    seatrial_cluster.advance(60)
    assert "node.kubernetes.io/unreachable:NoSchedule" in taints(seatrial_cluster), "the node is off"
    seatrial_cluster.restore_node("node-1")
    seatrial_cluster.advance(10)
    assert condition(seatrial_cluster, "Ready")[:2] == ("True", "KubeletReady")


@pytest.mark.seatrial(nodes=1, kubelet=GRACEFUL)
def test_a_shutdown_can_be_called_off(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.behave("app=stubborn", hangs_on_stop=True)
    seatrial_cluster.apply(pod("stubborn"))
    seatrial_cluster.settle()
    seatrial_cluster.shut_down_node("node-1")
    seatrial_cluster.advance(1)
    seatrial_cluster.restore_node("node-1")
    seatrial_cluster.advance(60)
    assert condition(seatrial_cluster, "Ready")[0] == "True"
    assert phase(seatrial_cluster, "stubborn") == ("Failed", "Terminated"), "what was told to end ends"
    cancelled = "Normal NodeShutdown Shutdown manager detected shutdown cancellation"
    assert cancelled in seatrial_cluster.events("node-1")


def test_without_grace_periods_the_machine_just_goes_and_begins_anew(seatrial_cluster: Cluster) -> None:
    static = pod("static").replace("priority: 0", "hostNetwork: true")
    seatrial_cluster.static_pods("node-1", static)
    seatrial_cluster.apply(pod("plain"))
    seatrial_cluster.settle()
    seatrial_cluster.shut_down_node("node-1")
    seatrial_cluster.advance(5)
    assert phase(seatrial_cluster, "plain") == ("Running", ""), "nobody has noticed"
    seatrial_cluster.restore_node("node-1")
    seatrial_cluster.advance(60)
    for name in ("plain", "static-node-1"):
        found = seatrial_cluster.get(Pod, name)
        assert found is not None
        (status,) = found.status.container_statuses
        assert (found.status.phase, status.restart_count) == ("Running", 1)
        assert status.last_state is not None
        assert status.last_state.terminated is not None
        assert (status.last_state.terminated.exit_code, status.last_state.terminated.reason) == (255, "Unknown")


@pytest.mark.seatrial(nodes=1, kubelet=GRACEFUL)
def test_static_pods_begin_anew_after_a_shutdown(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.static_pods("node-1", pod("static"))
    seatrial_cluster.settle()
    seatrial_cluster.shut_down_node("node-1")
    seatrial_cluster.advance(20)
    assert phase(seatrial_cluster, "static-node-1") == ("Failed", "Terminated")
    seatrial_cluster.restore_node("node-1")
    seatrial_cluster.advance(60)
    assert phase(seatrial_cluster, "static-node-1") == ("Running", "")
