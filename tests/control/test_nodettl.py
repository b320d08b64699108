"""The annotation by which a kubelet knows how long Secrets may be remembered."""

from __future__ import annotations

from seatrial.control import nodettl
from seatrial.control.controller import Controller
from seatrial.kube.objects import Namespace, Node, ObjectMeta
from tests.control.harness import Harness


class Cluster(Harness):
    """Nodes come and go one by one; `seconds` is what the first of them is told."""

    def __init__(self, controller: Controller = nodettl.CONTROLLER) -> None:
        super().__init__([controller])
        self.create(Namespace(metadata=ObjectMeta(name="kube-node-lease")))

    def seconds(self, size: int) -> str:
        nodes = self.all(Node)
        for number in range(len(nodes), size):
            self.create(Node(metadata=ObjectMeta(name=f"node-{number:05d}")))
        for node in nodes[size:]:
            del self.objects[node.key]
        self.settle()
        told = {node.metadata.annotations.get(nodettl.ANNOTATION, "") for node in self.all(Node)}
        assert len(told) == 1, told
        return told.pop()


def test_the_larger_the_cluster_the_longer_and_near_a_bound_as_before() -> None:
    cluster = Cluster()
    sizes = (1, 100, 101, 90, 89, 100, 101, 500, 501, 450, 449, 1001, 900, 899, 2001, 1800, 1799, 1)
    assert [cluster.seconds(size) for size in sizes] == [
        *("0", "0", "15", "15", "0", "0", "15"),  # 100 nodes are few for who grows, and 90 many for who shrinks
        *("15", "30", "30", "15"),
        *("60", "60", "30"),
        *("300", "300", "60", "0"),
    ]


def test_who_starts_anew_near_a_bound_takes_the_smaller_step() -> None:
    cluster = Cluster()
    assert cluster.seconds(101) == "15"
    assert cluster.seconds(95) == "15"
    cluster.memories.clear()
    assert cluster.seconds(95) == "0"


def test_an_annotation_that_is_no_number_or_another_is_written_anew_and_others_are_kept() -> None:
    cluster = Cluster()
    for text in ("", "soon", " 0", "7", "0_0", "1" * 5000):
        annotations = {nodettl.ANNOTATION: text, "kept": "yes"}
        cluster.create(Node(metadata=ObjectMeta(name=f"n{len(text)}-{text[:2].strip()}", annotations=annotations)))
    cluster.create(Node(metadata=ObjectMeta(name="signed", annotations={nodettl.ANNOTATION: "+00"})))
    cluster.settle()
    told = {node.metadata.name: dict(node.metadata.annotations) for node in cluster.all(Node)}
    assert told.pop("signed") == {nodettl.ANNOTATION: "+00"}, "Go reads it as 0"
    assert all(annotations == {nodettl.ANNOTATION: "0", "kept": "yes"} for annotations in told.values())
