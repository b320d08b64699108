"""The attach/detach controller by itself: who is asked for what and when. The test is the driver and the kubelet."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from seatrial.control.volumes import attachment
from seatrial.kube.objects import Key, Node, Pod, PodStatus, VolumeAttachment, parse_as
from seatrial.kube.objects.nodes import AttachedVolume, NodeCondition, Taint
from seatrial.kube.objects.storage import VolumeError
from tests.control.harness import Harness

UNIQUE = "kubernetes.io/csi/disk.example.com^vol-1"


class Attaching(Harness):
    def __init__(self, mode: str = "ReadWriteOnce") -> None:
        super().__init__((attachment.CONTROLLER,))
        for name in ("a", "b"):
            self.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "metadata": {"name": name, "annotations": {attachment.MANAGED: "true"}},
                    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
                }
            )
        claim = {"namespace": "default", "name": "c", "uid": "uid-c"}
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": claim,
                "spec": {"volumeName": "v"},
                "status": {"phase": "Bound"},
            }
        )
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": "v"},
                "spec": {
                    "accessModes": [mode],
                    "claimRef": {**claim, "kind": "PersistentVolumeClaim"},
                    "csi": {"driver": "disk.example.com", "volumeHandle": "vol-1"},
                },
            }
        )

    def pod(self, name: str, node: str) -> None:
        raw: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": node,
                "containers": [],
                "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}],
            },
        }
        self.apply(raw)
        self.settle()

    def attachments(self) -> dict[str, VolumeAttachment]:
        return {each.spec.node_name: each for each in self.objects.values() if isinstance(each, VolumeAttachment)}

    def answer(self, node: str, *, attached: bool = True, error: str = "") -> None:
        """The driver's word; its finalizer holds the attachment from now on."""
        found = self.attachments()[node]
        said = VolumeError(message=error) if error else None
        status = replace(found.status, attached=attached and not error, attach_error=said)
        meta = replace(found.metadata, finalizers=("driver",))
        self.objects[found.key] = replace(found, metadata=meta, status=status)
        self.live(1)

    def detached(self, node: str) -> None:
        del self.objects[self.attachments()[node].key]
        self.live(1)

    def node(self, name: str) -> Node:
        return self.get(Node, name, "")

    def on(self, name: str) -> list[str]:
        return [each.name for each in self.node(name).status.volumes_attached]

    def set(self, name: str, *, ready: bool = True, in_use: bool = False, taint: bool = False) -> None:
        node = self.node(name)
        status = replace(
            node.status,
            conditions=(NodeCondition(type="Ready", status="True" if ready else "Unknown"),),
            volumes_in_use=(UNIQUE,) if in_use else (),
        )
        taints = (Taint(key=attachment.OUT_OF_SERVICE, effect="NoExecute"),) if taint else ()
        self.objects[node.key] = replace(node, status=status, spec=replace(node.spec, taints=taints))
        self.settle()

    def gone(self, pod: str) -> None:
        del self.objects[Key("Pod", "default", pod)]
        self.settle()


def is_going(found: VolumeAttachment) -> bool:
    return found.metadata.deletion_timestamp is not None


def held() -> Attaching:
    """Attached to node a, which has it mounted; the pod is gone."""
    cluster = Attaching()
    cluster.pod("one", "a")
    cluster.set("a", in_use=True)
    cluster.answer("a")
    cluster.gone("one")
    return cluster


def test_the_attachment_is_called_as_upstream_calls_it() -> None:
    cluster = Attaching()
    cluster.pod("one", "a")
    (made,) = cluster.attachments().values()
    # sha256 of handle, driver and node name, one after the other: `printf vol-1disk.example.coma | sha256sum`
    assert made.metadata.name == "csi-479c49867bc657374421c782725624775f47c6db6e4e68eba4e4addf84b5de8e"


def test_nothing_in_use_is_detached_from_a_ready_node() -> None:
    cluster = held()
    cluster.live(3600)
    assert (cluster.on("a"), is_going(cluster.attachments()["a"])) == ([UNIQUE], False)
    cluster.set("a")
    assert (cluster.on("a"), is_going(cluster.attachments()["a"])) == ([], True)


def test_an_unready_node_has_six_minutes() -> None:
    cluster = held()
    cluster.set("a", ready=False, in_use=True)
    cluster.live(350)
    assert not is_going(cluster.attachments()["a"])
    cluster.live(11)
    assert is_going(cluster.attachments()["a"])


def test_six_minutes_that_passed_before_the_node_fell_ill_count() -> None:
    cluster = held()
    cluster.live(400)
    assert not is_going(cluster.attachments()["a"])
    cluster.set("a", ready=False, in_use=True)
    assert is_going(cluster.attachments()["a"])


def test_out_of_service_waits_for_nothing() -> None:
    cluster = held()
    cluster.set("a", in_use=True, taint=True)
    assert is_going(cluster.attachments()["a"])


def test_a_node_that_is_gone_counts_as_it_was_last() -> None:
    cluster = held()
    del cluster.objects[Key("Node", "", "a")]
    cluster.live(350)
    assert not is_going(cluster.attachments()["a"])
    cluster.live(15)
    assert is_going(cluster.attachments()["a"])


def test_a_pod_that_comes_back_in_time_keeps_the_volume() -> None:
    cluster = held()
    cluster.live(350)
    cluster.pod("two", "a")
    cluster.gone("two")
    cluster.set("a", ready=False, in_use=True)
    cluster.live(350)
    assert not is_going(cluster.attachments()["a"]), "the wait began anew"


def test_the_other_node_is_asked_when_this_one_has_let_go() -> None:
    cluster = held()
    cluster.pod("two", "b")
    assert cluster.events[-1].startswith("Warning FailedAttachVolume Waiting for detach")
    cluster.set("a")
    cluster.live(30)
    assert list(cluster.attachments()) == ["a"], "the driver has not detached it"
    cluster.detached("a")
    assert list(cluster.attachments()) == ["b"]


def test_a_driver_that_never_detaches_is_waited_for_two_minutes() -> None:
    """Upstream then holds the volume for perhaps detached, and asks for the other node."""
    cluster = held()
    cluster.pod("two", "b")
    cluster.set("a")
    cluster.live(119)
    assert list(cluster.attachments()) == ["a"]
    cluster.live(2)
    assert sorted(cluster.attachments()) == ["a", "b"]


def test_failures_are_told_less_and_less_often() -> None:
    """Half a second after each beginning; rests of 0.5 s, 1 s, 2 s ... between: the sixth comes after 18.5 s."""
    cluster = Attaching()
    cluster.pod("one", "a")
    cluster.answer("a", error="no more slots")
    told = []
    for _ in range(20):
        cluster.live(1)
        told.append(sum("no more slots" in each for each in cluster.events))
    assert told[-1] == 6
    cluster.answer("a")
    cluster.live(60)
    assert cluster.events[-1] == 'Normal SuccessfulAttachVolume AttachVolume.Attach succeeded for volume "v" '


@pytest.mark.parametrize(("state", "wanted"), [({"running": {}}, True), ({"terminated": {}}, False)])
def test_a_pod_that_is_going_wants_its_volume_while_a_container_runs(state: dict[str, Any], wanted: bool) -> None:
    cluster = Attaching()
    cluster.pod("one", "a")
    cluster.answer("a")
    pod = cluster.get(Pod, "one")
    raw = {"phase": "Running", "containerStatuses": [{"name": "app", "state": state}]}
    status = parse_as(PodStatus, raw)
    meta = replace(pod.metadata, deletion_timestamp=cluster.now)
    cluster.objects[pod.key] = replace(pod, metadata=meta, status=status)
    cluster.settle()
    assert is_going(cluster.attachments()["a"]) is not wanted


def test_what_else_is_attached_stays_in_the_nodes_status() -> None:
    cluster = Attaching()
    node = cluster.node("a")
    other = AttachedVolume(name="kubernetes.io/csi/other^1")
    cluster.objects[node.key] = replace(node, status=replace(node.status, volumes_attached=(other,)))
    cluster.pod("one", "a")
    cluster.answer("a")
    assert cluster.on("a") == [other.name, UNIQUE]
    cluster.gone("one")
    assert cluster.on("a") == [other.name]


def test_an_attachment_that_somebody_deletes_is_made_again() -> None:
    cluster = Attaching()
    cluster.pod("one", "a")
    cluster.answer("a")
    cluster.detached("a")
    assert list(cluster.attachments()) == ["a"]
    assert cluster.on("a") == [], "until the driver has answered again nothing is safe to mount"
    cluster.answer("a")
    assert cluster.on("a") == [UNIQUE]


def test_a_driver_that_takes_its_word_back_is_asked_again() -> None:
    cluster = Attaching()
    cluster.pod("one", "a")
    cluster.answer("a")
    cluster.answer("a", error="no more slots")
    assert cluster.on("a") == []
    assert cluster.events[-1] == 'Warning FailedAttachVolume AttachVolume.Attach failed for volume "v" : no more slots'


def test_a_pod_that_has_ended_hears_how_its_attachment_went() -> None:
    cluster = Attaching()
    cluster.pod("one", "a")
    cluster.gone("one")
    cluster.answer("a")
    assert cluster.events[-1] == 'Normal SuccessfulAttachVolume AttachVolume.Attach succeeded for volume "v" '


def test_after_a_failure_the_node_may_have_it_until_it_says_something() -> None:
    """Upstream holds the volume for perhaps attached, and for mounted until the node's next word."""
    cluster = Attaching()
    cluster.pod("one", "a")
    cluster.answer("a", error="no more slots")
    cluster.gone("one")
    cluster.live(60)
    assert not is_going(cluster.attachments()["a"])
    node = cluster.node("a")
    cluster.objects[node.key] = replace(node, metadata=replace(node.metadata, resource_version="7"))
    cluster.live(15)
    assert is_going(cluster.attachments()["a"])
