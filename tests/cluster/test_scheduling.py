"""The scheduler in a simulated cluster, through the API: priority, preemption, gates, waiting for room, volumes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from seatrial.cluster.clock import VirtualClock
from seatrial.cluster.cluster import STANDARD_CONTROLLERS, Cluster
from seatrial.cluster.scheduling import SchedulingLoop
from seatrial.control.manager import CONTROLLERS
from seatrial.control.scheduler.profiles import read
from seatrial.server.errors import StatusError
from seatrial.server.requests import Filter
from seatrial.server.store import Store

KINDS = {
    "PodDisruptionBudget": "policy/v1",
    "PriorityClass": "scheduling.k8s.io/v1",
    "StorageClass": "storage.k8s.io/v1",
}
UNSCOPED = {"Node", "PersistentVolume", "PriorityClass", "StorageClass"}


class Story:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        capacity = {"cpu": "2", "memory": "4Gi", "pods": "110"}
        self.cluster = Cluster(
            Store.open(":memory:"),
            nodes=("a",),
            controllers=STANDARD_CONTROLLERS,
            clock=self.clock,
            seed=1,
            capacity=capacity,
        )
        self.cluster.start()
        self.api = self.cluster.api
        self.wait(5)

    def wait(self, seconds: float) -> None:
        self.clock.run(timedelta(seconds=seconds))

    def create(self, kind: str, name: str, **parts: Any) -> dict[str, Any]:
        labels = parts.pop("labels", {})
        resource = self.api.kind(KINDS.get(kind, "v1"), kind)
        namespace = "" if kind in UNSCOPED else "default"
        return self.api.create(resource, namespace, {"metadata": {"name": name, "labels": labels}, **parts})

    def pod(self, name: str, cpu: str = "1", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
        container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": cpu}}}
        made = self.create("Pod", name, labels=labels or {}, spec={"containers": [container], **spec})
        self.wait(5)
        return made

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.api.get(self.api.kind(KINDS.get(kind, "v1"), kind), "" if kind in UNSCOPED else "default", name)

    def names(self, kind: str) -> list[str]:
        found = self.api.list(self.api.kind(KINDS.get(kind, "v1"), kind), Filter()).items
        return sorted(each["metadata"]["name"] for each in found)

    def condition(self, pod: str, kind: str = "PodScheduled") -> dict[str, Any]:
        conditions = self.get("Pod", pod)["status"].get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def told(self, reason: str) -> list[str]:
        events = self.api.list(self.api.kind("v1", "Event"), Filter()).items
        return [each.get("message", "") for each in events if each["reason"] == reason]


@pytest.fixture
def story() -> Iterator[Story]:
    story = Story()
    yield story
    story.api.store.close()


def test_the_more_important_pod_takes_the_place(story: Story) -> None:
    """Pod Priority and Preemption: lower priority pods are deleted with their grace; the place is held meanwhile."""
    story.create("PriorityClass", "high", value=1000)
    story.pod("small")
    story.pod("other")
    seen: list[dict[str, Any]] = []
    story.api.subscribe(lambda _, after, __: seen.append(after or {}))
    important = story.pod("important", priorityClassName="high")
    assert (important["spec"]["priority"], important["spec"]["preemptionPolicy"]) == (1000, "PreemptLowerPriority")
    story.wait(60)
    pods = [each for each in seen if each.get("kind") == "Pod"]
    assert any(
        each["metadata"]["name"] == "important" and each["status"].get("nominatedNodeName") == "a" for each in pods
    )
    disrupted = {
        (each["metadata"]["name"], condition["reason"], condition["message"])
        for each in pods
        for condition in each["status"].get("conditions", [])
        if condition["type"] == "DisruptionTarget"
    }
    ((victim, *told),) = disrupted
    assert told == ["PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod"]
    assert victim in ("small", "other")
    assert victim not in story.names("Pod")
    assert story.get("Pod", "important")["spec"]["nodeName"] == "a"
    assert len(story.names("Pod")) == 2
    assert story.told("Preempted") == [f"Preempted by pod {important['metadata']['uid']} on node a"]
    assert len(story.told("FailedScheduling")) == 1
    assert story.told("FailedScheduling")[0].startswith("0/1 nodes are available: 1 Insufficient cpu. preemption: ")


def test_a_pod_protected_by_a_budget_is_the_last_to_go(story: Story) -> None:
    """The scheduler looks for victims whose budgets are not violated."""
    story.pod("kept", labels={"app": "kept"})
    story.pod("free", labels={"app": "free"})
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}}
    story.create("PodDisruptionBudget", "kept", spec=budget)
    story.create("PriorityClass", "high", value=1000)
    story.wait(5)
    story.pod("important", priorityClassName="high")
    story.wait(60)
    assert story.names("Pod") == ["important", "kept"]


def test_a_pod_of_a_class_that_never_preempts_waits(story: Story) -> None:
    story.create("PriorityClass", "patient", value=1000, preemptionPolicy="Never")
    story.pod("small", "2")
    story.pod("important", priorityClassName="patient")
    story.wait(120)
    assert story.condition("important")["reason"] == "Unschedulable"
    assert story.names("Pod") == ["important", "small"]
    assert "deletionTimestamp" not in story.get("Pod", "small")["metadata"]


def test_a_gated_pod_is_not_tried_until_its_gates_are_gone(story: Story) -> None:
    """KEP-3521: the API says SchedulingGated from the beginning; gates may be removed, not added."""
    made = story.pod("gated", schedulingGates=[{"name": "example.com/a"}, {"name": "example.com/b"}])
    (condition,) = made["status"]["conditions"]
    assert (condition["reason"], condition["status"]) == ("SchedulingGated", "False")
    story.wait(600)
    assert story.condition("gated")["reason"] == "SchedulingGated"
    assert story.told("FailedScheduling") == []
    pods = story.api.kind("v1", "Pod")
    more = {"spec": {"schedulingGates": [{"name": "example.com/c"}]}}
    with pytest.raises(StatusError, match=r"only deletion is allowed, but found new .* 'example\.com/c'"):
        story.api.patch(pods, "default", "gated", more)
    story.api.patch(pods, "default", "gated", {"spec": {"schedulingGates": None}})
    story.wait(5)
    assert story.get("Pod", "gated")["spec"]["nodeName"] == "a"
    assert story.condition("gated")["status"] == "True"


def test_a_pod_without_room_runs_when_a_node_comes(story: Story) -> None:
    story.pod("large", "3")
    assert story.condition("large")["reason"] == "Unschedulable"
    status = {
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    story.create("Node", "b", status=status)
    story.wait(15)
    assert story.get("Pod", "large")["spec"]["nodeName"] == "b"


def test_a_volume_is_made_where_its_first_consumer_goes(story: Story) -> None:
    """WaitForFirstConsumer: the scheduler names the node, the provisioner makes the volume, then the pod is bound."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    story.create("PersistentVolumeClaim", "data", spec=claim)
    story.wait(30)
    assert story.get("PersistentVolumeClaim", "data")["status"]["phase"] == "Pending"
    story.pod("user", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])
    story.wait(30)
    bound = story.get("PersistentVolumeClaim", "data")
    assert bound["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "a"
    assert bound["status"]["phase"] == "Bound"
    user = story.get("Pod", "user")
    assert (user["spec"]["nodeName"], user["status"]["phase"]) == ("a", "Running")


def test_a_pod_gets_the_priority_of_its_class(story: Story) -> None:
    """Priority admission: system classes exist always; the default serves pods without; unknown ones are refused."""
    assert story.names("PriorityClass") == ["system-cluster-critical", "system-node-critical"]
    assert story.pod("before")["spec"]["priority"] == 0
    assert story.pod("critical", priorityClassName="system-node-critical")["spec"]["priority"] == 2_000_001_000
    story.create("PriorityClass", "usual", value=7, globalDefault=True)
    assert story.get("Pod", "before")["spec"]["priority"] == 0
    plain = story.pod("plain", "100m")["spec"]
    assert (plain["priority"], plain["priorityClassName"]) == (7, "usual")
    with pytest.raises(StatusError, match='pods "x" is forbidden: no PriorityClass with name none was found'):
        story.pod("x", priorityClassName="none")
    with pytest.raises(StatusError, match=r"the integer value of priority \(5\) must not be provided in pod spec"):
        story.pod("x", priority=5)
    with pytest.raises(StatusError, match="PriorityClass usual is already marked as default"):
        story.create("PriorityClass", "second", value=8, globalDefault=True)
    classes = story.api.kind("scheduling.k8s.io/v1", "PriorityClass")
    with pytest.raises(StatusError, match="this is a system priority class and cannot be deleted"):
        story.api.delete(classes, "", "system-node-critical")


def test_each_profile_places_by_its_own_rules_and_speaks_under_its_own_name() -> None:
    """https://kubernetes.io/docs/reference/scheduling/config/#multiple-profiles: a pod's schedulerName picks one."""
    clock = VirtualClock()
    cluster = Cluster(Store.open(":memory:"), nodes=("a", "b"), controllers=CONTROLLERS, clock=clock, seed=1)
    cluster.start()
    packing = {"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 1}]}
    fit = {"name": "NodeResourcesFit", "args": {"scoringStrategy": packing}}
    only_fit = {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit"}]}}
    profiles: tuple[dict[str, Any], ...] = ({}, {"schedulerName": "packer", "plugins": only_fit, "pluginConfig": [fit]})
    loop = SchedulingLoop(cluster.objects, clock, minor=37, seed=1, profiles=read({"profiles": profiles}))
    clock.run(timedelta(seconds=5))
    loop.start()
    pods = cluster.api.kind("v1", "Pod")

    def create(name: str, **spec: Any) -> None:
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
        cluster.api.create(pods, "default", {"metadata": {"name": name}, "spec": {"containers": [container], **spec}})
        clock.run(timedelta(seconds=5))

    create("filler", nodeName="a")
    create("spread")
    create("packed", schedulerName="packer", nodeSelector={"kubernetes.io/os": "linux"})
    create("packed-too", schedulerName="packer")
    create("nobodys", schedulerName="nobody")
    create("nowhere", schedulerName="packer", nodeSelector={"disk": "none"})
    placed = {raw["metadata"]["name"]: raw["spec"].get("nodeName") for raw in cluster.api.list(pods, Filter()).items}
    assert placed["spread"] == "b", "the least allocated"
    assert placed["packed"] == placed["packed-too"], "the most allocated"
    assert (placed["nobodys"], placed["nowhere"]) == (None, None)
    events = cluster.api.list(cluster.api.kind("v1", "Event"), Filter()).items
    told = {
        (raw["involvedObject"]["name"], raw["reason"], raw["reportingComponent"])
        for raw in events
        if raw["reason"] in ("Scheduled", "FailedScheduling")
    }
    assert told == {
        ("spread", "Scheduled", "default-scheduler"),
        ("packed", "Scheduled", "packer"),
        ("packed-too", "Scheduled", "packer"),
        ("nowhere", "FailedScheduling", "packer"),
    }
