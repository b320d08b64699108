"""Nodes that refuse what does not fit them, in a whole simulated cluster."""

from __future__ import annotations

import pytest

from seatrial.kube.objects import Pod
from seatrial.testing import Cluster, NodeShape

SMALL = [NodeShape("node-1", {"cpu": "1", "memory": "1Gi", "pods": "10"})]
OUT = "Node didn't have enough resource: cpu, requested: 600, used: 600, capacity: 1000"
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 5
  containers: [{name: main, image: "web:1", resources: {requests: {cpu: 600m}}}]
"""
TEMPLATE = """\
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeName: node-1
      containers: [{name: main, image: "web:1", resources: {requests: {cpu: 600m}}}]
"""


def pod(name: str) -> str:
    return POD.replace("NAME", name)


def phases(cluster: Cluster) -> dict[str, tuple[str, str]]:
    return {each.metadata.name: (each.status.phase, each.status.reason) for each in cluster.list(Pod)}


@pytest.mark.seatrial(nodes=SMALL)
def test_of_two_pods_that_are_bound_to_one_place_the_second_fails_for_good(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.apply(pod("first") + "---\n" + pod("second"))
    seatrial_cluster.advance(30)
    assert phases(seatrial_cluster) == {"first": ("Running", ""), "second": ("Failed", "OutOfcpu")}
    refused = seatrial_cluster.get(Pod, "second")
    assert refused is not None
    assert refused.status.message == f"Pod was rejected: {OUT}"
    assert (refused.status.container_statuses, refused.status.qos_class) == ((), "Burstable")
    assert seatrial_cluster.events("second") == (f"Warning OutOfcpu {OUT}",)
    seatrial_cluster.delete("v1", "Pod", "first")
    seatrial_cluster.advance(30)
    assert phases(seatrial_cluster) == {"second": ("Failed", "OutOfcpu")}, "refused is refused"
    seatrial_cluster.apply(pod("third"))
    seatrial_cluster.advance(30)
    assert phases(seatrial_cluster)["third"] == ("Running", ""), "neither the refused nor the ended count"
    seatrial_cluster.delete("v1", "Pod", "second")
    seatrial_cluster.advance(1)
    assert "second" not in phases(seatrial_cluster)


@pytest.mark.seatrial(nodes=SMALL)
def test_a_critical_pod_waits_until_those_that_make_room_have_gone(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.behave(hangs_on_stop=True)
    seatrial_cluster.apply(pod("plain"))
    seatrial_cluster.advance(30)
    seatrial_cluster.apply(pod("critical").replace("spec:\n", "spec:\n  priorityClassName: system-node-critical\n"))
    seatrial_cluster.advance(3)
    assert phases(seatrial_cluster) == {"plain": ("Running", ""), "critical": ("Pending", "")}
    seatrial_cluster.advance(20)
    assert phases(seatrial_cluster) == {"plain": ("Failed", "Preempting"), "critical": ("Running", "")}
    plain = seatrial_cluster.get(Pod, "plain")
    assert plain is not None
    assert plain.status.message == "Preempted in order to admit critical pod"
    target = next(each for each in plain.status.conditions if each.type == "DisruptionTarget")
    text = "Pod was preempted by Kubelet to accommodate a critical pod."
    assert (target.status, target.reason, target.message) == ("True", "TerminationByKubelet", text)
    assert "Warning Preempting Preempted in order to admit critical pod" in seatrial_cluster.events("plain")


@pytest.mark.seatrial(nodes=SMALL)
def test_a_static_pod_makes_room_for_itself_or_shows_in_its_mirror_that_it_was_refused(
    seatrial_cluster: Cluster,
) -> None:
    seatrial_cluster.apply(pod("plain"))
    seatrial_cluster.advance(30)
    manifest = pod("own").replace("  nodeName: node-1\n", "")
    seatrial_cluster.static_pods("node-1", manifest + "---\n" + manifest.replace("own", "huge").replace("600m", "9"))
    seatrial_cluster.advance(60)
    found = phases(seatrial_cluster)
    assert (found["plain"], found["own-node-1"]) == (("Failed", "Preempting"), ("Running", ""))
    assert found["huge-node-1"] == ("Failed", "UnexpectedAdmissionError")


@pytest.mark.seatrial(nodes=SMALL)
def test_a_machine_that_comes_back_admits_its_pods_anew(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.apply(pod("first"))
    seatrial_cluster.advance(30)
    seatrial_cluster.shut_down_node("node-1")
    seatrial_cluster.advance(5)
    seatrial_cluster.apply(pod("late"))
    seatrial_cluster.restore_node("node-1")
    seatrial_cluster.advance(60)
    assert phases(seatrial_cluster) == {"first": ("Running", ""), "late": ("Failed", "OutOfcpu")}


@pytest.mark.seatrial(nodes=SMALL)
def test_a_replica_set_of_a_full_node_makes_pod_after_pod_and_time_goes_on(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.apply(
        f"apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {{name: web}}\nspec:\n  replicas: 2\n{TEMPLATE}"
    )
    began = seatrial_cluster.now()
    seatrial_cluster.advance(2)
    assert (seatrial_cluster.now() - began).total_seconds() == 2
    found = list(phases(seatrial_cluster).values())
    assert found.count(("Running", "")) == 1
    assert found.count(("Failed", "OutOfcpu")) > 3


@pytest.mark.seatrial(nodes=SMALL)
def test_a_daemon_set_kills_its_failed_pod_and_backs_off(seatrial_cluster: Cluster) -> None:
    seatrial_cluster.apply(pod("plain"))
    seatrial_cluster.advance(30)
    seatrial_cluster.apply(f"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: web}}\nspec:\n{TEMPLATE}")
    seatrial_cluster.advance(20)
    killed = [each for each in seatrial_cluster.events("web") if "FailedDaemonPod" in each]
    assert 2 < len(killed) < 10, "1, 2, 4, 8 s"
