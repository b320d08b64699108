"""Nodes lost and back, beside the real thing: the recorded timeline again, with the same moves at the same seconds.

Compared are each object's settled states and every event, in order, and when they came: within 1.5 s, since both poll.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from seatrial.control import nodelifecycle, tainteviction
from seatrial.kube.objects import Key, Node, Object, Pod, parse
from seatrial.kube.objects.nodes import Taint
from tests.control.harness import START, Harness

RECORDING = Path(__file__).parent / "recordings" / "node-loss.txt"
Line = tuple[float, str]


class Replay(Harness):
    def __init__(self) -> None:
        super().__init__((*nodelifecycle.CONTROLLERS, tainteviction.CONTROLLER))
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": nodelifecycle.LEASES}})
        self.alive: set[str] = set()
        self.lines: list[Line] = []
        self._known: dict[str, str] = {}

    @property
    def second(self) -> float:
        return (self.now - START).total_seconds()

    def move(self, words: list[str]) -> None:
        match words:
            case ["join", *names]:
                for name in names:
                    self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
            case ["post", name, status]:
                self.alive.add(name)
                now = self.now.isoformat()
                ready = {"type": "Ready", "status": status, "lastHeartbeatTime": now, "lastTransitionTime": now}
                posted = parse({"apiVersion": "v1", "kind": "Node", "status": {"conditions": [ready]}})
                assert isinstance(posted, Node)
                self._put_node(replace(self.get(Node, name, ""), status=posted.status))
            case ["pod", name, node, *tolerated_s]:
                self._pod(name, node, *tolerated_s)
            case ["lose", *names]:
                self._renew()  # the last time, earlier in this second
                self.alive -= set(names)
            case ["taint", name]:
                self._respec(name, taints=(Taint(key="k", effect="NoExecute"),))
            case ["untaint", name]:
                self._respec(name, taints=())
            case ["cordon", name]:
                self._respec(name, unschedulable=True)
            case ["delete", name]:
                self.delete(Key("Node", "", name))

    def go_on_to(self, second: float) -> None:
        while self.second < second:
            self._renew()
            self.settle()
            self._note()
            self.now += timedelta(seconds=1)

    def _renew(self) -> None:
        for name in self.alive:
            spec = {"holderIdentity": name, "renewTime": self.now.isoformat()}
            meta = {"name": name, "namespace": nodelifecycle.LEASES}
            self.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec})

    def _put_node(self, node: Node) -> None:
        self.objects[node.key] = node

    def _respec(self, name: str, **fields: object) -> None:
        node = self.get(Node, name, "")
        self._put_node(replace(node, spec=replace(node.spec, **fields)))

    def _pod(self, name: str, node: str, tolerated_s: str = "") -> None:
        keys = (nodelifecycle.UNREACHABLE, nodelifecycle.NOT_READY) if tolerated_s else ("",)
        seconds = {"effect": "NoExecute", "tolerationSeconds": int(tolerated_s)} if tolerated_s else {}
        tolerations = [{"key": key, "operator": "Exists", **seconds} for key in keys]
        ready = {"type": "Ready", "status": "True"}
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"nodeName": node, "tolerations": tolerations, "containers": [{"name": "a", "image": "x"}]},
                "status": {"phase": "Running", "conditions": [ready]},
            }
        )

    def _note(self) -> None:
        self.lines += [(self.second, f"event: {event}") for event in self.events]
        self.events.clear()
        states = {f"node {node.metadata.name}": _node_state(node) for node in self.all(Node)}
        states |= {f"pod {pod.metadata.name}": _pod_state(pod) for pod in self.all(Pod)}
        states |= {who: "gone" for who in self._known if who not in states}
        self.lines += [
            (self.second, f"{who}: {state}") for who, state in states.items() if self._known.get(who) != state
        ]
        self._known = states


def _ready(obj: Object) -> str:
    assert isinstance(obj, Node | Pod)
    return next((each.status for each in obj.status.conditions if each.type == "Ready"), "-")


def _node_state(node: Node) -> str:
    taints = sorted(f"{taint.key.rpartition('/')[2]}:{taint.effect}" for taint in node.spec.taints)
    return " ".join([_ready(node), *taints])


def _pod_state(pod: Pod) -> str:
    marks = [each.type for each in pod.status.conditions if each.type == "DisruptionTarget"]
    return " ".join([_ready(pod), *marks, *(["deleted"] if pod.metadata.deletion_timestamp else [])])


def recorded() -> Iterator[Line]:
    for line in RECORDING.read_text().splitlines():
        if not line.startswith("#"):
            second, _, what = line.strip().partition(" ")
            yield float(second), what


def test_the_recorded_losses_go_as_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodelifecycle, "PERIOD", timedelta(seconds=1))
    monkeypatch.setattr(nodelifecycle, "STARTUP_GRACE", timedelta(seconds=10))
    monkeypatch.setattr(nodelifecycle, "grace", lambda minor: timedelta(seconds=8))
    replay, expected = Replay(), []
    for second, what in recorded():
        if what.startswith(">"):
            replay.go_on_to(second)
            replay.move(what.split()[1:])
        else:
            expected.append((second, what))
    replay.go_on_to(replay.second + 5)

    assert _stories(replay.lines).keys() == _stories(expected).keys()
    for who, story in _stories(expected).items():
        ours = _stories(replay.lines)[who]
        assert [what for _, what in ours] == [what for _, what in story], who
        late = [(what, at, found) for (at, what), (found, _) in zip(story, ours, strict=True) if abs(at - found) > 1.5]
        assert not late, who


def _stories(lines: list[Line]) -> dict[str, list[Line]]:
    """The lines about each object, and those of each event, in order."""
    stories: dict[str, list[Line]] = {}
    for second, what in lines:
        who = what if what.startswith("event") else what.partition(":")[0]
        stories.setdefault(who, []).append((second, what))
    return stories
