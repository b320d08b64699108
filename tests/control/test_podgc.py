"""The pod garbage collector: nobody reports on the pods of a node that is gone."""

from __future__ import annotations

from msgspec.structs import replace

from seatrial.control import podgc
from seatrial.kube.objects import Node, ObjectMeta, Pod, PodSpec, PodStatus, Taint
from seatrial.kube.objects.config import Namespace
from seatrial.kube.objects.nodes import NodeSpec
from seatrial.kube.objects.pods import ContainerStatus
from tests.control.harness import Harness


def cluster() -> Harness:
    harness = Harness((podgc.CONTROLLER,))
    harness.create(Namespace(metadata=ObjectMeta(name="kube-system")))
    return harness


def pod(harness: Harness, name: str, node: str = "", phase: str = "Running") -> Pod:
    status = PodStatus(phase=phase, container_statuses=(ContainerStatus(name="c"),))
    made = Pod(metadata=ObjectMeta(name=name, namespace="default"), spec=PodSpec(node_name=node), status=status)
    created = harness.create(made)
    assert isinstance(created, Pod)
    return created


def held(harness: Harness, name: str, node: str = "") -> None:
    """A pod that is being deleted and that a finalizer keeps, so that its end can be seen."""
    made = pod(harness, name, node)
    meta = replace(made.metadata, finalizers=("example.com/hold",), deletion_timestamp=harness.now)
    harness.objects[made.key] = replace(made, metadata=meta)


def test_pods_of_a_node_that_is_gone_are_failed_and_deleted_after_the_quarantine() -> None:
    harness = cluster()
    made = pod(harness, "lost", "gone")
    harness.objects[made.key] = replace(made, metadata=replace(made.metadata, finalizers=("example.com/hold",)))
    harness.live(59)
    assert harness.get(Pod, "lost").status.phase == "Running"
    harness.live(2)
    lost = harness.get(Pod, "lost")
    assert (lost.status.phase, lost.metadata.deletion_timestamp is not None) == ("Failed", True)
    assert [(c.type, c.reason, c.message) for c in lost.status.conditions] == [
        ("DisruptionTarget", "DeletionByPodGC", "PodGC: node no longer exists")
    ]


def test_a_node_that_comes_back_in_time_keeps_its_pods() -> None:
    harness = cluster()
    pod(harness, "lucky", "late")
    harness.live(50)
    harness.create(Node(metadata=ObjectMeta(name="late")))
    harness.live(100)
    assert harness.get(Pod, "lucky").metadata.deletion_timestamp is None


def test_a_pod_that_is_deleted_before_it_had_a_node_is_not_waited_for() -> None:
    harness = cluster()
    held(harness, "unscheduled")
    harness.live(21)
    assert harness.get(Pod, "unscheduled").status.phase == "Failed"
    assert harness.get(Pod, "unscheduled").status.conditions == ()


def test_a_node_out_of_service_is_not_waited_for() -> None:
    harness = cluster()
    taint = Taint(key=podgc.OUT_OF_SERVICE, effect="NoExecute")
    harness.create(Node(metadata=ObjectMeta(name="broken"), spec=NodeSpec(taints=(taint,))))
    held(harness, "going", "broken")
    pod(harness, "staying", "broken")
    harness.live(21)
    assert harness.get(Pod, "going").status.phase == "Failed"
    assert harness.get(Pod, "staying").status.phase == "Running"


def test_the_oldest_of_too_many_ended_pods_go_evicted_ones_first() -> None:
    harness = cluster()
    pod(harness, "aaa-old", phase="Succeeded")
    harness.pass_time(5)
    made = pod(harness, "evicted", phase="Failed")
    harness.objects[made.key] = replace(made, status=replace(made.status, reason="Evicted"))
    for number in range(podgc.MOST_TERMINATED):
        pod(harness, f"p{number}", phase="Succeeded")
    harness.live(21)
    left = {item.metadata.name for item in harness.all(Pod)}
    assert len(left) == podgc.MOST_TERMINATED
    assert not left & {"aaa-old", "evicted"}
