"""kube-controller-manager's TTL controller: how long a kubelet may remember Secrets and ConfigMaps, by cluster size.

The annotation `node.alpha.kubernetes.io/ttl` says it in seconds, the longer the more nodes there are. The bounds of
neighbouring steps overlap, so that a cluster near one does not change its mind with every node: which step it is on is
remembered. Upstream annotates a node with that node's next change, and a kubelet changes something every five minutes;
a simulated node says nothing while nothing changes, so here all nodes learn of another step at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.control.nodelifecycle import LEASES
from seatrial.control.writes import Update
from seatrial.kube.objects import Namespace, Node, Object, ObjectMeta

ANNOTATION: Final = "node.alpha.kubernetes.io/ttl"
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Step:
    fewest: int
    most: int
    ttl_s: int


_STEPS: Final = (
    _Step(0, 100, 0),
    _Step(90, 500, 15),
    _Step(450, 1000, 30),
    _Step(900, 2000, 60),
    _Step(1800, 2**31 - 1, 300),
)


def reconcile(seen: Seen) -> Decision:
    nodes = seen.all(Node)
    step = seen.memory if isinstance(seen.memory, int) else 0
    while len(nodes) > _STEPS[step].most:
        step += 1
    while len(nodes) < _STEPS[step].fewest:
        step -= 1
    ttl_s = _STEPS[step].ttl_s
    return Decision(tuple(_told(node, ttl_s) for node in nodes if _said_s(node) != ttl_s), memory=step)


def _said_s(node: Node) -> int | None:
    text = node.metadata.annotations.get(ANNOTATION, "")
    return int(text) if _INTEGER.fullmatch(text) else None


def _told(node: Node, ttl_s: int) -> Update:
    annotations = {**node.metadata.annotations, ANNOTATION: str(ttl_s)}
    return Update(node, replace(node, metadata=replace(node.metadata, annotations=annotations)))


def _view(node: Object) -> Object:
    text = node.metadata.annotations.get(ANNOTATION)
    annotations = {} if text is None else {ANNOTATION: text}
    return Node(metadata=ObjectMeta(name=node.metadata.name, uid=node.metadata.uid, annotations=annotations))


CONTROLLER: Final = Controller(
    name="ttl-controller",
    actor="TTL controller",
    subject=Namespace,  # the one that holds the leases: a subject that there is once
    reads=(
        Read(Node, Relation.ALL, wakes=False),
        Read(Node, Relation.ALL, view=_view),
    ),
    reconcile=reconcile,
    concerned=lambda namespace: namespace.metadata.name == LEASES,
)
